"""Merge requests: poll, merge, recover, and keep one refinery busy per rig (spec/rules.md section 4)."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from shared.actions import (
    ClearBeadAssignee,
    DispatchAgent,
    EscalateReviewCap,
    HookAgent,
    MergePr,
    PollPr,
    StopAgent,
    TransitionAgent,
    TransitionBead,
    UnhookAgent,
)
from shared.domain import limits
from shared.domain.notes import ReviewNotes
from shared.domain.states import SYSTEM, AgentStatus, BeadStatus, EffectKind, MergeMode, Role
from shared.domain.tick import Tick
from shared.domain.urgency import place
from shared.rules import spending
from shared.rules.base import Decision, Due, Wait
from shared.rules.beads import backoff_of, program_wait
from shared.town.live import LiveReview
from shared.town.reading import TownReader
from shared.town.rows import Agent


def poll_pull_request(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R1: every pull request in progress is polled once per interval, the one with the oldest poll first."""
    due_now: list[tuple[datetime, LiveReview]] = []
    latest = _latest_polls(town)
    for review in town.reviews:
        if review.status is not BeadStatus.IN_PROGRESS or review.pr_url is None:
            continue
        due = _next_poll(review, tick, latest)
        if due.at > tick.now:
            yield due
        else:
            last = due.since
            due_now.append((review.created_at if last is None else last, review))
    by_age = sorted(due_now, key=lambda each: (each[0], each[1].created_at, each[1].id))
    chosen, left_for_later = _taking_turns(review for _, review in by_age)
    for _, review in due_now:
        if review.pr_url is not None and review.id in chosen:
            yield PollPr(bead_id=review.id, pr_url=review.pr_url)
    if left_for_later:
        yield Due.at_least(tick.now, limits.ACTIVE_INTERVAL, rows=tuple(left_for_later), wait="poll_turn")


def _next_poll(review: LiveReview, tick: Tick, latest: Mapping[str, datetime]) -> Due:
    """When a pull request may be polled next. One without news for an hour is polled less often."""
    last = ReviewNotes.last_poll_at.of(review.metadata)
    changed = ReviewNotes.changed_at.of(review.metadata)
    is_quiet = changed is not None and last is not None and last - changed >= limits.PR_QUIET_AFTER
    interval = limits.PR_POLL_INTERVAL_LATER if is_quiet else limits.PR_POLL_INTERVAL
    due = tick.now if last is None else last + interval
    wait: Wait = "poll_interval"
    not_before = ReviewNotes.poll_not_before.of(review.metadata)
    if not_before is not None and not_before > due:
        due, wait = not_before, _held_off(review)
    # With a token that is refused, one pull request is polled for all: refused calls of one account may lock it.
    turn = latest.get(ReviewNotes.episode.of(review.metadata) or "")
    if turn is not None and turn + limits.PR_POLL_INTERVAL > due:
        due, wait = turn + limits.PR_POLL_INTERVAL, "forge_backoff"
    return Due(due, (review.id,), wait, last)


def _held_off(review: LiveReview) -> Wait:
    kind = ReviewNotes.poll_error_kind.of(review.metadata)
    return "forge_backoff" if kind not in (None, "rate_limited") else "rate_limited"


def _latest_polls(town: TownReader) -> Mapping[str, datetime]:
    """The last poll of each episode that is about a token, which all its pull requests share."""
    found: dict[str, datetime] = {}
    for review in town.reviews:
        key, last = _shared_episode(review), ReviewNotes.last_poll_at.of(review.metadata)
        if key is not None and last is not None and review.status is BeadStatus.IN_PROGRESS:
            found[key] = max(last, found.get(key, last))
    return found


def _shared_episode(review: LiveReview) -> str | None:
    key = ReviewNotes.episode.of(review.metadata)
    return key if key is not None and " * " in key else None


def _taking_turns(reviews: Iterable[LiveReview]) -> tuple[frozenset[str], list[str]]:
    """The pull requests that this tick polls, and those that wait for a later one."""
    chosen: list[str] = []
    left: list[str] = []
    tried: list[str] = []
    for review in reviews:
        key = _shared_episode(review)
        if len(chosen) >= limits.POLLS_PER_TICK or (key is not None and key in tried):
            left.append(review.id)
            continue
        chosen.append(review.id)
        tried += [] if key is None else [key]
    return frozenset(chosen), left


def merge_pull_request(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R1m: a pull request that is marked for merging is merged, one attempt at a time."""
    for review in town.reviews:
        if (
            review.status is BeadStatus.IN_PROGRESS
            and review.pr_url is not None
            and ReviewNotes.auto_merge_pending.of(review.metadata)
            and review.id not in town.blockers
            and (EffectKind.MERGE_PR, review.id) not in town.unfinished_effects
        ):
            yield MergePr(bead_id=review.id, pr_url=review.pr_url)


def reopen_stuck(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R2: a review whose refinery is dead is opened again."""
    if tick.settling:
        return
    for review in town.reviews:
        if not review.under_review or review.id in town.blockers:
            continue
        agent = town.hooks.get(review.id)
        if agent is None or agent.role is not Role.REFINERY or agent.status is not AgentStatus.DEAD:
            continue
        if not tick.stale(review.updated_at, limits.REVIEW_STUCK_AFTER):
            yield Due.later_than(
                review.updated_at, limits.REVIEW_STUCK_AFTER, rows=(agent.id, review.id), wait="review_stuck"
            )
            continue
        yield TransitionBead(bead_id=review.id, from_=BeadStatus.IN_PROGRESS, to=BeadStatus.OPEN, reason="stuck review")
        yield UnhookAgent(agent_id=agent.id, reason="stuck review")


def reopen_abandoned(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R3: a review in progress without a hooked agent is opened again."""
    if tick.settling:
        return
    for review in town.reviews:
        if not review.under_review or review.id in town.blockers or review.id in town.hooks:
            continue
        if not tick.stale(review.updated_at, limits.REVIEW_ABANDONED_AFTER):
            yield Due.later_than(
                review.updated_at, limits.REVIEW_ABANDONED_AFTER, rows=(review.id,), wait="review_abandoned"
            )
            continue
        yield TransitionBead(bead_id=review.id, from_=BeadStatus.IN_PROGRESS, to=BeadStatus.OPEN, reason="abandoned")


def fast_track(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R-ft: where code review is off, an MR with a pull request is polled without a review."""
    for review in town.reviews:
        if _unreviewed(town, review) and review.pr_url is not None:
            yield TransitionBead(
                bead_id=review.id, from_=BeadStatus.OPEN, to=BeadStatus.IN_PROGRESS, reason="reviews are off"
            )


def reject_unreviewable(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R-or: where code review is off, an MR without a pull request could never land: it fails, and its source is opened again."""
    for review in town.reviews:
        if not _unreviewed(town, review) or review.pr_url is not None or review.created_by == SYSTEM:
            continue
        yield TransitionBead(
            bead_id=review.id,
            from_=BeadStatus.OPEN,
            to=BeadStatus.FAILED,
            reason="no pull request and reviews are off",
        )
        source = town.review_sources.get(review.id)
        if source is not None and source[2] is BeadStatus.IN_REVIEW:
            yield TransitionBead(
                bead_id=source[0],
                from_=BeadStatus.IN_REVIEW,
                to=BeadStatus.OPEN,
                reason="no pull request and reviews are off",
            )
            yield ClearBeadAssignee(bead_id=source[0])


def start_babysitting(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R-bs: a babysat pull request is polled; no refinery reviews it."""
    for review in town.reviews:
        if review.status is BeadStatus.OPEN and review.pr_url is not None and review.babysat:
            yield TransitionBead(
                bead_id=review.id, from_=BeadStatus.OPEN, to=BeadStatus.IN_PROGRESS, reason="babysitting"
            )


def release_finished_refinery(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R7: a refinery that works on a closed or failed review is stopped and unhooked."""
    for agent in town.agents:
        bead = agent.hooked
        if agent.role is not Role.REFINERY or bead is None or not bead.status.terminal:
            continue
        if agent.status.busy:
            yield StopAgent(agent_id=agent.id, reason=f"the review is {bead.status}")
            yield TransitionAgent(
                agent_id=agent.id, from_=agent.status, to=AgentStatus.IDLE, reason="the review is over"
            )
            yield UnhookAgent(agent_id=agent.id, reason=f"the review is {bead.status}")


def dispatch_refinery(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R5: the refinery of each rig takes the most urgent review that is not held back, one at a time."""
    if tick.draining:
        return
    # A refinery merges, so two concurrent reviews in a rig could cause merge conflicts with each other. An MR in progress
    # without a pull request is under review, and while there is one, R5 does nothing in its rig. An MR with a pull request only
    # waits for the forge, so it does not count. Example: m1 is under review, m2 and m3 are open. R5 takes m2, the more urgent
    # one, once m1 has ended or has a pull request. If m2 is in its backoff, R5 takes m3; while the breaker is open, neither.
    by_rig: dict[str, list[LiveReview]] = {}
    for review in town.reviews:
        if review.rig_id is not None:
            by_rig.setdefault(review.rig_id, []).append(review)
    for rig_id, reviews in sorted(by_rig.items()):
        if not any(review.under_review for review in reviews):
            candidates = [each for each in reviews if _reviewable(town, each)]
            yield from _next_review(town, tick, rig_id, in_turn(candidates, tick))


def in_turn(reviews: Iterable[LiveReview], tick: Tick) -> list[LiveReview]:
    """Reviews in the order in which refineries take them: by the priority of their source, as in B1."""
    return sorted(reviews, key=lambda review: place(review, now=tick.now))


def redispatch_refinery(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R6: an idle refinery is dispatched to its review again, or unhooked if the review can only wait."""
    for agent in town.agents:
        bead = agent.hooked
        if agent.role is not Role.REFINERY or agent.status is not AgentStatus.IDLE or bead is None:
            continue
        review = town.reviews_by_id.get(bead.id)
        if review is None or review.status is not BeadStatus.IN_PROGRESS:
            continue
        can_only_wait = review.awaiting_approval or review.id in town.blockers or _only_polled(town, review)
        if can_only_wait or not spending.may_start(town, tick, review.id):
            yield UnhookAgent(agent_id=agent.id, reason="the review can only wait")
            if _only_polled(town, review):
                yield EscalateReviewCap(bead_id=review.id, attempts=review.dispatch_attempts)
            if review.pr_url is None:
                yield TransitionBead(
                    bead_id=review.id,
                    from_=BeadStatus.IN_PROGRESS,
                    to=BeadStatus.OPEN,
                    reason="the review can only wait",
                )
            continue
        yield from _tried_again(town, tick, agent, review)


def _tried_again(town: TownReader, tick: Tick, agent: Agent, review: LiveReview) -> Iterator[Decision]:
    if tick.draining:
        return
    if _at_cap(town, review):
        yield TransitionBead(
            bead_id=review.id,
            from_=BeadStatus.IN_PROGRESS,
            to=BeadStatus.FAILED,
            reason=f"refinery max dispatch attempts exceeded ({review.dispatch_attempts})",
        )
        yield UnhookAgent(agent_id=agent.id, reason="refinery max dispatch attempts exceeded")
        return
    backoff = backoff_of(review, tick, rows=(agent.id, review.id))
    if backoff is not None:
        yield backoff
    elif not tick.breaker.open:
        yield DispatchAgent(agent_id=agent.id, bead_id=review.id, rig_id=review.rig_id or agent.rig_id or "")


def _next_review(town: TownReader, tick: Tick, rig_id: str, candidates: list[LiveReview]) -> Iterator[Decision]:
    for review in candidates:
        if review.id in town.blockers:
            continue
        if _at_cap(town, review):
            yield from _given_up(review)
            continue
        wait = (
            program_wait(review, tick)
            or backoff_of(review, tick, rows=(review.id,))
            or spending.day_wait(town, tick, rows=(review.id,))
        )
        if wait is not None:
            yield wait
            continue
        if review.id in spending.overspent(town):
            continue
        if not tick.breaker.open:
            yield from _taken(town, rig_id, review)
        return


def _at_cap(town: TownReader, review: LiveReview) -> bool:
    """Whether the MR has used up its dispatch attempts."""
    return review.dispatch_attempts >= town.settings(review.rig_id).max_dispatch_attempts


def _only_polled(town: TownReader, review: LiveReview) -> bool:
    """Whether a review at its cap has a pull request: then it goes on without a refinery, and the forge decides."""
    return review.pr_url is not None and _at_cap(town, review)


def _given_up(review: LiveReview) -> Iterator[Decision]:
    """What R5 does with a review at its cap: it fails, or people review its pull request."""
    attempts = review.dispatch_attempts
    reason = f"review dispatch attempts exceeded ({attempts})"
    if review.pr_url is None:
        yield TransitionBead(bead_id=review.id, from_=BeadStatus.OPEN, to=BeadStatus.FAILED, reason=reason)
        return
    yield TransitionBead(bead_id=review.id, from_=BeadStatus.OPEN, to=BeadStatus.IN_PROGRESS, reason=reason)
    yield EscalateReviewCap(bead_id=review.id, attempts=attempts)


def _taken(town: TownReader, rig_id: str, review: LiveReview) -> Iterator[Decision]:
    refinery = _first_refinery(town, rig_id)
    if refinery is not None and (refinery.status is not AgentStatus.IDLE or refinery.hook is not None):
        return
    yield TransitionBead(
        bead_id=review.id, from_=BeadStatus.OPEN, to=BeadStatus.IN_PROGRESS, reason="review dispatched"
    )
    if refinery is not None:
        yield HookAgent(agent_id=refinery.id, bead_id=review.id)
    yield DispatchAgent(agent_id="" if refinery is None else refinery.id, bead_id=review.id, rig_id=rig_id)


def _first_refinery(town: TownReader, rig_id: str) -> Agent | None:
    refineries = [agent for agent in town.agents if agent.role is Role.REFINERY and agent.rig_id == rig_id]
    return min(refineries, key=lambda agent: (agent.created_at, agent.id), default=None)


def _reviewable(town: TownReader, review: LiveReview) -> bool:
    """Whether R5 may take an MR: it is open, not babysat and not hooked, and needs a review even if code review is off."""
    if review.status is not BeadStatus.OPEN or review.babysat or review.id in town.hooks:
        return False
    if town.settings(review.rig_id).code_review or review.parent_mode is MergeMode.REVIEW_AND_MERGE:
        return True
    return review.created_by == SYSTEM and review.pr_url is None


def _unreviewed(town: TownReader, review: LiveReview) -> bool:
    """Whether an MR is open, in a rig without code review, not babysat, and not part of a review-and-merge convoy."""
    return (
        review.status is BeadStatus.OPEN
        and not town.settings(review.rig_id).code_review
        and not review.babysat
        and review.parent_mode is not MergeMode.REVIEW_AND_MERGE
    )

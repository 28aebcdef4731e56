"""Why each live bead waits: a reason from a closed list, since when, and until when or for whom (spec/tick.md section 13)."""

from datetime import datetime

from shared.domain import limits
from shared.domain.limits import just_after
from shared.domain.notes import ReviewNotes
from shared.domain.shapes import Time, answer
from shared.domain.states import BeadStatus, Label
from shared.domain.tick import Tick
from shared.rules import convoys
from shared.rules.beads import backoff_of, busy_polecats
from shared.town.live import Issue, LiveReview, OpenConvoy
from shared.town.reading import TownReader


@answer
class WaitReason:
    """Why one bead waits. `due_at` is the next time at which a rule may act; if there is none, `actor` must act."""

    bead_id: str
    reason: str
    since: Time
    due_at: Time | None = None
    actor: str | None = None


def reasons(town: TownReader, tick: Tick) -> list[WaitReason]:
    """The reasons of all live issues and reviews that no agent is working on, and of all open convoys."""
    found = [_of_issue(town, tick, issue) for issue in town.issues]
    found += [_of_review(town, tick, review) for review in town.reviews]
    found += [_of_convoy(town, tick, convoy) for convoy in town.convoys]
    return [waiting for waiting in found if waiting is not None]


def counts(town: TownReader, tick: Tick) -> dict[str, int]:
    """How many beads wait for each reason."""
    counted: dict[str, int] = {}
    for waiting in reasons(town, tick):
        counted[waiting.reason] = counted.get(waiting.reason, 0) + 1
    return counted


def _of_issue(town: TownReader, tick: Tick, issue: Issue) -> WaitReason | None:
    if Label.TRIAGE_REQUEST in issue.labels:
        return WaitReason(issue.id, "agent_working", issue.created_at, actor="triage")
    agent = town.hooks.get(issue.id)
    if agent is not None and agent.status.busy:
        return None
    if issue.status is BeadStatus.IN_REVIEW:
        return WaitReason(
            issue.id,
            "awaiting_review",
            issue.updated_at,
            due_at=just_after(issue.updated_at + limits.REVIEW_RECOVERY_AFTER),
            actor="review",
        )
    if issue.status is BeadStatus.IN_PROGRESS and agent is None:
        return WaitReason(
            issue.id, "cooldown", issue.updated_at, due_at=just_after(issue.updated_at + limits.BEAD_LOST_AFTER)
        )
    return _of_open_issue(town, tick, issue)


def _of_open_issue(town: TownReader, tick: Tick, issue: Issue) -> WaitReason:
    if issue.rig_id is None:
        return WaitReason(issue.id, "no_rig", issue.created_at, actor="operator")
    if Label.HELD in issue.labels and issue.id not in town.hooks:
        return WaitReason(issue.id, "held", issue.created_at, actor="operator")
    if issue.id in town.staged_beads:
        return WaitReason(issue.id, "staged", issue.created_at, actor="operator")
    blocked = _blocked(town, issue.id, issue.updated_at)
    if blocked is not None:
        return blocked
    return _of_ready(town, tick, issue)


def _of_ready(town: TownReader, tick: Tick, issue: Issue) -> WaitReason:
    if tick.draining:
        return WaitReason(issue.id, "draining", issue.updated_at, actor="container")
    backoff = backoff_of(issue, tick, rows=(issue.id,))
    if backoff is not None:
        return WaitReason(issue.id, "cooldown", backoff.since or issue.updated_at, due_at=backoff.at)
    if tick.breaker.open:
        return WaitReason(issue.id, "breaker_open", tick.breaker.since or issue.updated_at, due_at=tick.breaker.due)
    limit = town.settings(issue.rig_id).max_polecats
    if limit is not None and len(busy_polecats(town, issue.rig_id)) >= limit:
        return WaitReason(issue.id, "rig_full", issue.updated_at, actor="agent")
    return WaitReason(issue.id, "cooldown", issue.updated_at, due_at=tick.now)


def _of_review(town: TownReader, tick: Tick, review: LiveReview) -> WaitReason | None:
    agent = town.hooks.get(review.id)
    if agent is not None and agent.status.busy:
        return None
    if review.rig_id is None:
        return WaitReason(review.id, "no_rig", review.created_at, actor="operator")
    blocked = _blocked(town, review.id, review.updated_at)
    if blocked is not None:
        return blocked
    if review.status is BeadStatus.IN_PROGRESS and review.pr_url is not None:
        return _of_pull_request(tick, review)
    if tick.draining:
        return WaitReason(review.id, "draining", review.updated_at, actor="container")
    backoff = backoff_of(review, tick, rows=(review.id,))
    if backoff is not None:
        return WaitReason(review.id, "cooldown", backoff.since or review.updated_at, due_at=backoff.at)
    if tick.breaker.open:
        return WaitReason(review.id, "breaker_open", tick.breaker.since or review.updated_at, due_at=tick.breaker.due)
    return WaitReason(review.id, "awaiting_review", review.updated_at, actor="refinery")


def _of_pull_request(tick: Tick, review: LiveReview) -> WaitReason:
    poll = ReviewNotes.last_poll_at.of(review.metadata)
    due = tick.now if poll is None else poll + limits.PR_POLL_INTERVAL
    limited = ReviewNotes.poll_not_before.of(review.metadata)
    if limited is not None and limited > tick.now:
        return WaitReason(review.id, "rate_limited", review.updated_at, due_at=limited)
    if review.awaiting_approval:
        since = ReviewNotes.awaiting_approval_observed_at.of(review.metadata) or review.updated_at
        return WaitReason(review.id, "awaiting_approval", since, due_at=due, actor="reviewer")
    return WaitReason(review.id, "awaiting_ci", review.updated_at, due_at=due, actor="forge")


def _of_convoy(town: TownReader, tick: Tick, convoy: OpenConvoy) -> WaitReason:
    since = convoy.updated_at
    if convoy.staged:
        return WaitReason(convoy.id, "staged", since, actor="operator")
    match convoys.stage_of(town, tick, convoy):
        case "C2" if convoy.done < convoy.total:
            return WaitReason(convoy.id, "agent_working", since, actor="agent")
        case "C2" | "C6":
            return WaitReason(convoy.id, "awaiting_review", since, actor="review")
        case "C7":
            return WaitReason(convoy.id, "awaiting_approval", since, actor="reviewer")
        case "C9":
            cooldown = convoys.cooldown_of(convoy)
            return WaitReason(convoy.id, "cooldown", since, due_at=None if cooldown is None else cooldown.at)
        case "C10" if convoy.first_rig is None:
            return WaitReason(convoy.id, "no_rig", since, actor="operator")
        case _:
            return WaitReason(convoy.id, "cooldown", since, due_at=tick.now)


def _blocked(town: TownReader, bead_id: str, since: datetime) -> WaitReason | None:
    blockers = town.blockers.get(bead_id)
    if not blockers:
        return None
    failed = [blocker for blocker in blockers if blocker.status == BeadStatus.FAILED]
    if len(failed) == len(blockers):
        return WaitReason(bead_id, "failed_dependency", since, actor=failed[0].id)
    live = next(blocker for blocker in blockers if blocker.status != BeadStatus.FAILED)
    return WaitReason(bead_id, "blocked_by", since, actor=live.id)

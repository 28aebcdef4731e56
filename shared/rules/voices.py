"""Escalations about waits that only a person can end: raised after a day, of standstills after two hours, and closed when the wait
ends (spec/rules.md section 11).
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from shared.actions import CloseEscalation, NotifyMayor, RaiseEscalation
from shared.domain.notes import BeadNotes, Metadata, ReviewNotes
from shared.domain.obstacles import NO_WORD, OBSTACLES, REVIEWS_STAND, VOICED, voiced_after, waited_text
from shared.domain.quoting import line, name
from shared.domain.states import BeadStatus, Label, Role
from shared.domain.tick import Tick
from shared.domain.times import to_text
from shared.rules import liveness, spending
from shared.rules.base import Decision, Due
from shared.town.live import Issue, LiveReview
from shared.town.reading import TownReader

OVER_BUDGET: Final = "over_budget"
"""Why an escalation about a sender that floods the town is raised, when its events are applied."""
_CONVOY_OVER: Final = "convoy_over"
_NO_PROGRAM: Final = "no_agent_program"
_MISSING: Final = "missing_blocker"
_FAULT: Final = "agent_fault"
"""Of the escalation about what kept agents from working, such as a missing key."""


class _Silence(NamedTuple):
    """A bead that waits for a person who may not know it."""

    bead_id: str
    reason: str
    since: datetime
    message: str
    metadata: Metadata


def raise_overdue(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """V1: a bead that has waited too long for a reason that only a person can end is escalated, once for each such wait."""
    first: dict[str, _Silence] = {}  # of a bead that waits for two reasons, only the one that comes first is told
    for silence in (*_of_reviews(town), *_of_beads(town), *_of_standstills(town)):
        first.setdefault(silence.bead_id, silence)
    for silence in first.values():
        episode = _episode(silence)
        if BeadNotes.voiced.of(silence.metadata) == episode:
            continue
        after = voiced_after(silence.reason)
        if not tick.stale(silence.since, after):
            yield Due.later_than(silence.since, after, rows=(silence.bead_id,), wait="nobody_told")
            continue
        yield RaiseEscalation(bead_id=silence.bead_id, reason=silence.reason, episode=episode, message=silence.message)
        yield NotifyMayor(
            subject=f"{silence.reason}:{silence.bead_id}",
            message=f"{name(silence.bead_id)} has waited for {waited_text(silence.reason)}: {silence.message}",
        )


def _episode(silence: _Silence) -> str:
    return f"{silence.reason}@{to_text(silence.since)}"


def close_ended(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """V2: an escalation that a rule raised is closed when its cause has ended."""
    for escalation in town.caused_escalations:
        if escalation.reason == spending.BUDGET_SPENT:
            ends_at = spending.end_of_day(tick, escalation.subject)
            if not spending.holds(town, tick, escalation.subject):
                yield CloseEscalation(bead_id=escalation.bead_id, reason="its cause has ended")
            elif ends_at is not None:
                yield Due(ends_at, (escalation.bead_id,), spending.BUDGET_SPENT)
            continue
        # Of a damaged row nobody knows whether the cause has ended: violation 1 names it, and the escalation stays.
        if not _holds(town, escalation.reason, escalation.subject) and not _is_damaged(town, escalation.subject):
            yield CloseEscalation(bead_id=escalation.bead_id, reason="its cause has ended")


def _is_damaged(town: TownReader, subject: str) -> bool:
    """Whether a row of that bead could not be read; for an episode, whether one of any MR could not, which may belong to it."""
    if subject in town.keys.forge_episodes:
        return town.has_unreadable_reviews
    return town.is_unreadable(subject)


def _of_reviews(town: TownReader) -> Iterator[_Silence]:
    for review in town.reviews:
        obstacle = _obstacle_of(review)
        since = ReviewNotes.obstacle_since.of(review.metadata)
        told_at_once = obstacle == "checks_unreadable" and ReviewNotes.checks_episode.of(review.metadata) is not None
        if obstacle in VOICED and since is not None and not told_at_once:
            words, detail = obstacle.replace("_", " "), ReviewNotes.obstacle_detail.of(review.metadata)
            message = words if detail is None else f"{words} ({line(detail)})"  # "by anna" alone says nothing
            yield _Silence(review.id, obstacle, since, message, review.metadata)


def _of_beads(town: TownReader) -> Iterator[_Silence]:
    """Issues, and merge requests that wait for their review; of two waits of a bead one is told."""
    for issue in town.issues:
        convoy = town.beads_of_ended_convoys.get(issue.id)
        if convoy is not None and waits_for_its_convoy(town, issue):
            since = max(issue.updated_at, town.convoys_ended_at[convoy])
            message = f"its convoy {name(convoy)} has ended: reopen it if it failed, or take the bead out of it"
            yield _Silence(issue.id, _CONVOY_OVER, since, message, issue.metadata)
        else:
            yield from _of_lacks(issue)
    for review in town.reviews:
        if review.status is BeadStatus.OPEN:
            yield from _of_lacks(review)


def _of_lacks(bead: Issue | LiveReview) -> Iterator[_Silence]:
    """A bead that waits for a bead that does not exist, or for a program that could run its agent."""
    missing = BeadNotes.awaits.of(bead.metadata)
    since = BeadNotes.no_program_since.of(bead.metadata)
    if missing:
        message = f"it depends on {', '.join(map(name, missing))}, which does not exist"
        yield _Silence(bead.id, _MISSING, bead.created_at, message, bead.metadata)
    elif since is not None:
        yield _Silence(bead.id, _NO_PROGRAM, since, "no program for agents is configured", bead.metadata)


def _of_standstills(town: TownReader) -> Iterator[_Silence]:
    """Agents that only beat, and rigs whose reviews do not move: nothing else tells of them, because a beat counts as life."""
    beads = {issue.id: issue.metadata for issue in town.issues} | {each.id: each.metadata for each in town.reviews}
    for agent in town.agents:
        since = liveness.without_a_word_since(agent)
        if since is not None and agent.hook is not None and agent.hook in beads:
            message = f"its agent {name(agent.id)} sends heartbeats and has never said what it does: look at its log, or stop it"
            yield _Silence(agent.hook, NO_WORD, since, message, beads[agent.hook])
    yield from _of_standing_rigs(town)


def _of_standing_rigs(town: TownReader) -> Iterator[_Silence]:
    """Of each rig with a refinery at work the review that the first one is hooked to, since a review of the rig has last moved."""
    moved: dict[str | None, datetime] = {}
    for review in town.reviews:
        moved[review.rig_id] = max(review.updated_at, moved.get(review.rig_id, review.updated_at))
    told: set[str | None] = set()
    for agent in town.agents:
        review_at = None if agent.hook is None else town.reviews_by_id.get(agent.hook)
        if agent.role is not Role.REFINERY or agent.hooked_at is None or review_at is None or review_at.rig_id in told:
            continue
        told.add(review_at.rig_id)
        since = max(agent.hooked_at, moved[review_at.rig_id])
        message = (
            f"no review of its rig has moved although the refinery {name(agent.id)} works: look at its log, or stop it"
        )
        yield _Silence(review_at.id, REVIEWS_STAND, since, message, review_at.metadata)


def waits_for_its_convoy(town: TownReader, issue: Issue) -> bool:
    """Whether an open issue in a closed or failed convoy is held back by nothing else that a person has decided."""
    return (
        issue.status is BeadStatus.OPEN
        and issue.rig_id is not None
        and Label.HELD not in issue.labels
        and issue.id not in town.staged_beads
    )


def _obstacle_of(review: LiveReview) -> str | None:
    """What is in the way of a pull request. Only an MR in progress has one."""
    return ReviewNotes.obstacle.of(review.metadata) if review.status is BeadStatus.IN_PROGRESS else None


def _holds(town: TownReader, reason: str, subject: str) -> bool:
    """Whether the cause of an escalation still holds. A cause without a test of its own ends with its bead."""
    if reason == OVER_BUDGET:
        return True  # a person finds out why it floods the town
    if reason == _FAULT:
        live = [*(issue.metadata for issue in town.issues), *(each.metadata for each in town.reviews)]
        return any(BeadNotes.fault.of(metadata) == subject for metadata in live)
    review = town.reviews_by_id.get(subject)
    if reason in OBSTACLES and review is not None:
        return _obstacle_of(review) == reason
    issue = town.live_issues.get(subject)
    bead = review or issue
    if reason == _CONVOY_OVER:
        return subject in town.beads_of_ended_convoys
    if reason in (NO_WORD, REVIEWS_STAND):
        episodes = {each.bead_id: _episode(each) for each in _of_standstills(town) if each.reason == reason}
        return bead is not None and episodes.get(subject) == BeadNotes.voiced.of(bead.metadata)
    if reason in (_NO_PROGRAM, _MISSING):
        note = BeadNotes.no_program_since if reason == _NO_PROGRAM else BeadNotes.awaits
        return bead is not None and bool(note.of(bead.metadata))
    if review is not None or issue is not None or any(convoy.id == subject for convoy in town.convoys):
        return True
    return subject in town.keys.forge_episodes and any(_belongs_to(each, subject) for each in town.reviews)


def _belongs_to(review: LiveReview, episode: str) -> bool:
    """Whether a pull request in progress cannot be read, or its checks cannot, for the cause of that episode."""
    notes = (ReviewNotes.episode.of(review.metadata), ReviewNotes.checks_episode.of(review.metadata))
    return review.status is BeadStatus.IN_PROGRESS and episode in notes

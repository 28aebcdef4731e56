"""Issues: dispatch the ready ones, reopen the lost ones, settle the reviewed ones (spec/rules.md section 3)."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol

from shared.actions import (
    AssignBead,
    ClearBeadAssignee,
    DispatchAgent,
    NotifyMayor,
    TransitionBead,
    UnhookAgent,
)
from shared.domain import limits
from shared.domain.limits import just_after
from shared.domain.notes import BeadNotes
from shared.domain.quoting import name
from shared.domain.states import SYSTEM, AgentStatus, BeadStatus, BeadType, DispatchOutcome, Label, Role
from shared.domain.tick import Tick
from shared.domain.urgency import place
from shared.rules import spending
from shared.rules.base import Decision, Due
from shared.town.live import Issue, LiveReview
from shared.town.reading import TownReader
from shared.town.rows import Agent, Hooked


def redispatch_hooked(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """B2: an idle polecat that is hooked to a waiting bead is dispatched again, and takes its place in the rig before B1."""
    places = _Places(town)
    for agent in town.agents:
        bead = agent.hooked
        if bead is None or not _waits_for_redispatch(agent, bead):
            continue
        cap = town.settings(bead.rig_id).max_dispatch_attempts
        if bead.dispatch_attempts >= cap:
            yield TransitionBead(
                bead_id=bead.id,
                from_=bead.status,
                to=BeadStatus.FAILED,
                reason=f"max dispatch attempts exceeded ({bead.dispatch_attempts})",
            )
            yield UnhookAgent(agent_id=agent.id, reason="max dispatch attempts exceeded")
            continue
        wait = backoff_of(bead, tick, rows=(agent.id, bead.id)) or spending.day_wait(
            town, tick, rows=(agent.id, bead.id)
        )
        if wait is not None:
            yield wait
            continue
        rig_id = bead.rig_id or agent.rig_id
        if (
            bead.id in town.beads_of_ended_convoys
            or bead.id in town.blockers
            or bead.id in spending.overspent(town)
            or tick.draining
            or tick.breaker.open
            or not places.take(rig_id)
        ):
            continue
        yield DispatchAgent(agent_id=agent.id, bead_id=bead.id, rig_id=rig_id or "")


def dispatch_ready(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """B1: every issue that can be dispatched gets a polecat, the most urgent first; after too many attempts the issue fails."""
    if tick.draining:
        return
    # B1 cannot see what B2 decided, because every rule reads the state before the pass. So it asks B2 again, and counts the
    # places that B2 takes. Example: with max_polecats 2, one polecat working and one that B2 restarts, B1 starts none.
    places = _Places(town)
    for decision in redispatch_hooked(town, tick):
        if isinstance(decision, DispatchAgent):
            places.take(decision.rig_id or None)
    for issue in in_turn(filter(town.dispatchable, town.issues), tick):
        cap = town.settings(issue.rig_id).max_dispatch_attempts
        if issue.dispatch_attempts >= cap:
            yield TransitionBead(
                bead_id=issue.id,
                from_=BeadStatus.OPEN,
                to=BeadStatus.FAILED,
                reason=f"max dispatch attempts exceeded ({issue.dispatch_attempts})",
            )
            continue
        wait = (
            program_wait(issue, tick)
            or backoff_of(issue, tick, rows=(issue.id,))
            or spending.day_wait(town, tick, rows=(issue.id,))
        )
        if wait is not None:
            yield wait
            continue
        if issue.id in spending.overspent(town) or tick.breaker.open or not places.take(issue.rig_id):
            continue
        yield DispatchAgent(agent_id="", bead_id=issue.id, rig_id=issue.rig_id or "")


def in_turn(issues: Iterable[Issue], tick: Tick) -> list[Issue]:
    """Issues in the order in which they get the places of their rigs: the most urgent first."""
    # An attempt that ended without work to review says more about the machine than about the bead. Example: on a machine that is
    # too slow for three agents, the starts of the three oldest beads are lost again and again. Each of them goes to the end of
    # its level, so that the beads that were never started get their turn.
    return sorted(issues, key=lambda issue: place(issue, now=tick.now))


def clear_stale_assignee(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """B1b: the assignee of an open issue is the agent that is hooked to it; without one, the issue has no assignee."""
    for issue in sorted(town.issues, key=lambda each: each.id):
        if issue.status is not BeadStatus.OPEN or issue.rig_id is None or Label.TRIAGE_REQUEST in issue.labels:
            continue
        if issue.assignee is None or issue.assignee == SYSTEM:
            continue
        hooked = town.hooks.get(issue.id)
        if hooked is None:
            yield ClearBeadAssignee(bead_id=issue.id)
        elif hooked.id != issue.assignee:
            yield AssignBead(bead_id=issue.id, agent_id=hooked.id)


def reopen_lost(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """B3: an issue in progress without a hooked agent is opened again; after its last attempt it fails."""
    if tick.settling:
        return
    for issue in sorted(town.issues, key=lambda each: each.id):
        if issue.status is not BeadStatus.IN_PROGRESS or issue.id in town.hooks:
            continue
        if not tick.stale(issue.updated_at, limits.BEAD_LOST_AFTER):
            yield Due.later_than(issue.updated_at, limits.BEAD_LOST_AFTER, rows=(issue.id,), wait="bead_lost")
            continue
        # "done" unhooks the agent in one event and settles the bead, so a bead in progress without a hook was usually lost.
        # But an agent that was unhooked by mistake, or whose "done" is still on its way, must not lose its work to a second
        # polecat. Example: p was dispatched for this issue and sends heartbeats; the issue stays until p is silent for
        # HEARTBEAT_LOST_AFTER, or BEAD_LOST_LATEST has passed since its last update, whichever comes first.
        owner = _owner_still_beating(town, tick, issue)
        if owner is not None and owner.last_activity_at is not None:
            silent_from = owner.last_activity_at + limits.HEARTBEAT_LOST_AFTER
            latest = issue.updated_at + limits.BEAD_LOST_LATEST
            yield Due(just_after(min(silent_from, latest)), (issue.id,), "owner_beats", owner.last_activity_at)
            continue
        yield from _reopened(town, issue)


def settle_reviewed(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """B4: an issue in review whose reviews have all ended is closed if one was merged, else opened again."""
    for issue in sorted(town.issues, key=lambda each: each.id):
        if issue.status is not BeadStatus.IN_REVIEW:
            continue
        reviews = town.in_review.get(issue.id)
        if reviews is None or reviews.live > 0:
            continue
        if not tick.stale(issue.updated_at, limits.REVIEW_RECOVERY_AFTER):
            yield Due.later_than(
                issue.updated_at, limits.REVIEW_RECOVERY_AFTER, rows=(issue.id,), wait="review_recovery"
            )
            continue
        if reviews.closed > 0:
            yield TransitionBead(
                bead_id=issue.id, from_=BeadStatus.IN_REVIEW, to=BeadStatus.CLOSED, reason="its review was merged"
            )
            continue
        yield TransitionBead(
            bead_id=issue.id, from_=BeadStatus.IN_REVIEW, to=BeadStatus.OPEN, reason="no review is left"
        )
        yield ClearBeadAssignee(bead_id=issue.id)


def report_failed_blocker(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """B5: the mayor is told once about each failed bead that blocks others."""
    held: dict[str, list[str]] = {}
    for dependent, blockers in sorted(town.blockers.items()):
        for blocker in blockers:
            if blocker.status == BeadStatus.FAILED and not blocker.notified:
                held.setdefault(blocker.id, []).append(dependent)
    for blocker_id, dependents in sorted(held.items()):
        yield NotifyMayor(
            subject=f"failed_blocker:{blocker_id}",
            message=f"bead {name(blocker_id)} failed and holds back {', '.join(map(name, dependents[:10]))}",
        )


class Dispatched(Protocol):
    """A bead whose dispatches are counted."""

    @property
    def dispatch_attempts(self) -> int:
        """The number of counted dispatches."""
        ...

    @property
    def last_dispatch_attempt_at(self) -> datetime | None:
        """The time of the last one."""
        ...


def backoff_of(bead: Dispatched, tick: Tick, *, rows: tuple[str, ...]) -> Due | None:
    """The wait before a bead may be dispatched again; None if it is over."""
    attempted_at, wait = bead.last_dispatch_attempt_at, limits.backoff(bead.dispatch_attempts)
    if attempted_at is None or tick.stale(attempted_at, wait):
        return None
    return Due.later_than(attempted_at, wait, rows=rows, wait="backoff")


def program_wait(bead: Issue | LiveReview, tick: Tick) -> Due | None:
    """The wait of a bead whose agent could not be started, or could not work, for want of a program, a key or a model; None if it
    is over or there is none.
    """
    if not bead.metadata:
        return None
    tries = max(BeadNotes.no_program_tries.of(bead.metadata), BeadNotes.fault_tries.of(bead.metadata))
    tried_at = bead.last_dispatch_attempt_at
    wait = limits.no_program_backoff(tries)
    if tries == 0 or tried_at is None or tick.stale(tried_at, wait):
        return None
    since = BeadNotes.no_program_since.of(bead.metadata) or BeadNotes.fault_since.of(bead.metadata) or tried_at
    return Due(just_after(tried_at + wait), (bead.id,), "no_agent_program", since)


def busy_polecats(town: TownReader, rig_id: str | None) -> list[Agent]:
    """The polecats of a rig that are at work: each takes one of the rig's places."""
    return [
        agent for agent in town.agents if agent.role is Role.POLECAT and agent.rig_id == rig_id and agent.status.busy
    ]


class _Places:
    """How many more polecats each rig may have at work, counted during one pass."""

    def __init__(self, town: TownReader) -> None:
        self._town = town
        self._taken: dict[str | None, int] = {}

    def take(self, rig_id: str | None) -> bool:
        """Take a place in a rig; False if the rig is full."""
        limit = self._town.settings(rig_id).max_polecats
        taken = self._taken.get(rig_id)
        if taken is None:
            taken = self._taken[rig_id] = len(busy_polecats(self._town, rig_id))
        if limit is not None and taken >= limit:
            return False
        self._taken[rig_id] = taken + 1
        return True


def _waits_for_redispatch(agent: Agent, bead: Hooked) -> bool:
    if agent.status is not AgentStatus.IDLE or agent.role is not Role.POLECAT:
        return False
    if bead.type is BeadType.MERGE_REQUEST:
        return False
    if bead.status is BeadStatus.OPEN:
        return True
    rejected = agent.last_dispatch_outcome is DispatchOutcome.REJECTED
    return bead.status is BeadStatus.IN_PROGRESS and rejected


def _owner_still_beating(town: TownReader, tick: Tick, issue: Issue) -> Agent | None:
    """The assignee, if its last dispatch was for this issue and it still sends heartbeats: its agent_done may be on the way."""
    agent = town.agents_by_id.get(issue.assignee or "")
    if agent is None or agent.last_dispatch_bead_id != issue.id:
        return None
    if tick.stale(agent.last_activity_at, limits.HEARTBEAT_LOST_AFTER):
        return None
    return agent if tick.within(issue.updated_at, limits.BEAD_LOST_LATEST) else None


def _reopened(town: TownReader, issue: Issue) -> Iterator[Decision]:
    if issue.dispatch_attempts >= town.settings(issue.rig_id).max_dispatch_attempts:
        yield TransitionBead(
            bead_id=issue.id,
            from_=BeadStatus.IN_PROGRESS,
            to=BeadStatus.FAILED,
            reason=f"agent lost, max dispatch attempts exhausted ({issue.dispatch_attempts})",
        )
    else:
        yield TransitionBead(bead_id=issue.id, from_=BeadStatus.IN_PROGRESS, to=BeadStatus.OPEN, reason="agent lost")
    yield ClearBeadAssignee(bead_id=issue.id)

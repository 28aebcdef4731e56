"""The events that end what holds a row back, the bead or agent that each is about, and who may send it.

A row that waits for other beads needs what the bead at the end of its chain needs. Cancelling the bead that comes directly
before it ends the wait too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from shared.domain.obstacles import obstacle_or_none
from shared.domain.states import AgentStatus, BeadType, Role
from shared.questions.holding import Holding
from shared.questions.reasons import (
    AT_WORK,
    ENDED_BY,
    FAILED_ENDED_BY,
    OBSTACLE_ENDED_BY,
    OF_THE_TOWN,
    POLLED_BY,
    SETTING_OF,
    senders_of,
)
from shared.questions.rows import Row
from shared.questions.waiting import Guard, Need, Waiting, WaitRoot
from shared.rules import spending
from shared.town.reading import TownReader

NAMED_AT_MOST: Final = 3
"""The maximum number of beads that are named if any of several may make room: thousands of rows may wait for the same ones."""

_CHAINED = ("blocked_by", "review_live", "landing_live", "work_unfinished")
_IN_THE_WAY = ("rig_full", "one_at_a_time", "batch_live")
_REOPENED = (BeadType.ISSUE, BeadType.MERGE_REQUEST, BeadType.CONVOY)


@dataclass(frozen=True, slots=True)
class Needs:
    """Finds the events for the rows of one town. `ahead` are the beads that each row waits for directly."""

    town: TownReader
    rows: Mapping[str, Row]
    holding: Holding

    def of(self, waiting: Waiting, row: Row, ahead: tuple[str, ...], waits: Mapping[str, Waiting]) -> tuple[Need, ...]:
        """The events that a row needs, without repetition."""
        return tuple(dict.fromkeys(self._of(waiting, row, ahead, waits)))

    def _of(self, waiting: Waiting, row: Row, ahead: tuple[str, ...], waits: Mapping[str, Waiting]) -> Iterator[Need]:
        for guard in waiting.guards:
            if guard.until is None and guard.guard in _CHAINED:
                yield from self._at_the_end(waiting.root, waits)
                yield from self._of_the_next(guard, row, ahead)
            elif guard.until is None or (guard.guard == "effect_unfinished" and row.type == BeadType.MESSAGE):
                yield from self._of_guard(guard, row)
        yield from self._of_nature(row)

    def _at_the_end(self, root: WaitRoot | None, waits: Mapping[str, Waiting]) -> Iterator[Need]:
        """The events that the root needs. The root waits for no other bead."""
        if root is None:
            return
        end = self.rows.get(root.bead_id)
        if end is None:
            yield from _events(FAILED_ENDED_BY, root.bead_id, setting=SETTING_OF["blocked_by"])
        elif root.bead_id in waits:
            yield from self._of(waits[root.bead_id], end, (), waits)
        else:
            yield from _events(AT_WORK, root.bead_id)

    def _of_the_next(self, guard: Guard, row: Row, ahead: tuple[str, ...]) -> Iterator[Need]:
        """The events that end the wait without the root: the next bead is cancelled or merged, or a failed one is reopened."""
        for event_type in ENDED_BY[guard.guard]:  # type: ignore[index] # a guard in _CHAINED is a hold or state
            if event_type == "convoy_closed":
                yield from _events((event_type,), row.id)
            elif ahead and ahead[0] in self.rows:
                if self.rows[ahead[0]].type == BeadType.CONVOY:
                    yield from _events(("convoy_closed",), ahead[0])
                yield from _events((event_type,), ahead[0])
        if guard.guard == "blocked_by":
            for failed in (each for each in ahead[:NAMED_AT_MOST] if each not in self.rows):
                yield from _events(("bead_reopened",), failed)

    def _of_guard(self, guard: Guard, row: Row) -> Iterator[Need]:
        events = self._ended_by(guard, row)
        if guard.guard in _IN_THE_WAY:
            yield from self._of_those_in_the_way(guard, events, row)
            return
        if guard.guard == "convoy_over":
            yield from self._of_ended_convoy(events, row)
            return
        if guard.guard == "approval_missing":
            for review in self.holding.unapproved(row.id):
                yield from _events(("bead_reopened",), review)
            events = ("convoy_closed",)
        for about in self._about(guard, row):
            yield from _events(events, about, setting=self._setting_of(guard, row))

    def _setting_of(self, guard: Guard, row: Row) -> str | None:
        """The setting whose change ends a guard; None if no setting does."""
        spent = (
            spending.overspent(self.town).get(self.holding.bead_of(row).id) if guard.guard == "budget_spent" else None
        )
        return SETTING_OF.get(guard.guard) if spent is None else f"budget.per_{spent.sum.kind}"

    def _of_ended_convoy(self, events: tuple[str, ...], row: Row) -> Iterator[Need]:
        """The events about an ended convoy: only a failed one can be reopened."""
        found = self.holding.ended_convoy_of(row)
        if found is not None:
            convoy, reopens = found
            yield from _events((each for each in events if reopens or each != "bead_reopened"), convoy)

    def _ended_by(self, guard: Guard, row: Row) -> tuple[str, ...]:
        is_convoy = row.type == BeadType.CONVOY
        if guard.guard == "terminal" and (row.status == "closed" or row.type not in _REOPENED):
            return ()
        if guard.guard == "no_rig" and is_convoy:
            return ENDED_BY["no_work"]
        if guard.guard == "only_an_event" and is_convoy:
            return ("convoy_closed", "bead_cancelled")
        if guard.guard == "only_an_event" and row.type == BeadType.AGENT:
            return self._of_agent(row)
        if guard.guard == "effect_unfinished" and row.type == BeadType.MESSAGE:
            return (
                ("mayor_notified",) if self.town.is_for_mayor(row.assignee) else ("nudge_result", "nudge_acknowledged")
            )
        if guard.guard == "addressee_rests":
            return self._that_make_work(row.assignee)
        obstacle = obstacle_or_none(guard.guard)
        if obstacle is not None:
            return OBSTACLE_ENDED_BY[obstacle]
        return ENDED_BY.get(guard.guard, ())  # type: ignore[call-overload,no-any-return] # a guard of a wait ends by time

    def _of_agent(self, row: Row) -> tuple[str, ...]:
        """The events that change an agent; none for an idle agent, which waits for beads."""
        if row.agent is not None and row.agent.role is Role.MAYOR:
            return self._that_make_work(row.id)
        rests = row.agent is not None and row.agent.status is AgentStatus.IDLE and row.agent.hook is None
        return () if rests else ("agent_reset",)

    def _that_make_work(self, agent_id: str | None) -> tuple[str, ...]:
        """The events after which an agent works."""
        agent = self.town.agents_by_id.get(agent_id or "")
        if agent is not None and agent.role is Role.MAYOR:
            return ("agent_reset",) if agent.status is AgentStatus.DEAD else ("agent_heartbeat", "mayor_notified")
        return ("agent_heartbeat",) if agent is not None and agent.hook is not None else ("dispatch_result",)

    def _about(self, guard: Guard, row: Row) -> tuple[str, ...]:
        """The beads that the events of a guard are about: mostly the row itself."""
        if guard.guard == "staged":
            return self.holding.staged_in(row) or (row.id,)
        if guard.guard == "missing_blocker":
            return self.holding.missing(self.holding.bead_of(row))[:NAMED_AT_MOST]
        of_mail = guard.guard == "addressee_rests" or (
            row.type == BeadType.MESSAGE and guard.guard == "effect_unfinished"
        )
        return (row.assignee or row.id,) if of_mail else (row.id,)

    def _of_those_in_the_way(self, guard: Guard, events: tuple[str, ...], row: Row) -> Iterator[Need]:
        """The events about the first beads that hold a place; if an agent holds one without a bead, its reset."""
        of_each = [each for each in events if each in (*AT_WORK, "bead_cancelled")]
        if guard.guard == "batch_live":
            yield from _events(("triage_resolved",), row.id)
        for bead in self.holding.in_the_way(guard.guard, row)[:NAMED_AT_MOST]:
            agent = self.town.hooks.get(bead)
            reports = agent is not None and agent.status is not AgentStatus.DEAD
            yield from _events((each for each in of_each if reports or each not in AT_WORK), bead)
            if agent is not None and agent.status is AgentStatus.STALLED:
                yield from _events(("agent_reset",), agent.id)
        for idler in self.holding.idlers_in_the_way(guard.guard, row)[:NAMED_AT_MOST]:
            yield from _events(("agent_reset",), idler)
        of_the_town = [each for each in events if each in OF_THE_TOWN]
        yield from _events(of_the_town, row.id, setting=self._setting_of(guard, row))

    def _of_nature(self, row: Row) -> Iterator[Need]:
        """The events that a pull request or an escalation waits for, although time acts on it too."""
        review = self.town.reviews_by_id.get(row.id)
        if review is not None and review.pr_url is not None and row.status == "in_progress":
            yield from _events(POLLED_BY, row.id)
        if any(each.bead_id == row.id for each in self.town.escalations):
            yield from _events(ENDED_BY["bumps_used_up"], row.id)


def _events(event_types: Iterable[str], about: str, *, setting: str | None = None) -> Iterator[Need]:
    for each in event_types:
        changed = setting if each == "town_configured" else None
        yield Need(each, None if each in OF_THE_TOWN else about, senders_of(each), changed)

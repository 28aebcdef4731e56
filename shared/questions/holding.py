"""What holds one row back: each wait, hold and state as a guard, with since when, until when and who can change it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Final

from shared.domain import limits
from shared.domain.states import AgentStatus, BeadStatus, DispatchOutcome, EffectKind, Role
from shared.domain.times import from_text, span_text
from shared.questions import guards
from shared.questions.foresight import Foresight
from shared.questions.lives import WaitingEvent
from shared.questions.reasons import State
from shared.questions.relaxed import Hold, under_review
from shared.questions.rows import Row
from shared.questions.since import Beginnings
from shared.questions.waiting import Guard
from shared.rules.base import Due
from shared.rules.beads import busy_polecats
from shared.town.database import Database
from shared.town.rows import Agent
from shared.town.town_keys import TownKeys

_ENDED: Final = ("exited", "not_found", "stopped", "failed", "error")
_NOT_AT_WORK: Final = (DispatchOutcome.REJECTED, DispatchOutcome.LOST)


class Holding:
    """Makes the guards of the rows of one town."""

    def __init__(self, sql: Database, foresight: Foresight, began: Beginnings) -> None:
        """Read what foresight has read, and the audit trail."""
        self._sql = sql
        self._town = foresight.town
        self._now = foresight.now
        self._foresight = foresight
        self._began = began
        self._taken: dict[str | None, list[datetime]] = {}

    def of_hold(self, hold: Hold, row: Row) -> Guard:
        """The guard that stands for a hold."""
        if hold in ("settling", "draining", "breaker_open"):
            return self._of_the_town(hold)
        made = {
            "blocked_by": self._blocked,
            "held": self._labelled,
            "rig_full": self._full,
            "one_at_a_time": self._queued,
            "review_live": self._in_review,
            "effect_unfinished": self._merging,
            "batch_live": self._batch,
        }.get(hold)
        return Guard(hold, guards.hold_text(hold), self._since(row), actor="operator") if made is None else made(row)

    def of_wait(self, due: Due, row: Row) -> Guard:
        """The guard that stands for a wait. A process that is known to have ended is not said to give signs of life."""
        ended = self._ended(due, row)
        says = guards.wait_text(due.wait)
        if ended is None:
            return Guard(due.wait, says, self._began.at_most_now(due.since or self._since(row)), due.at)
        after = span_text(limits.HEARTBEAT_LOST_AFTER)
        says = f"{ended}; its bead is taken back when its last sign of life is more than {after} old"
        return Guard("process_ended", says, self._began.at_most_now(due.since), due.at)

    def of_state(self, state: State, row: Row, says: str | None = None, *, actor: str | None) -> Guard:
        """The guard that stands for a state."""
        return Guard(state, says or guards.state_text(state), self._since(row), actor=actor)

    def next_tick(self, row: Row, at: datetime) -> Guard:
        """The guard of a row on which the next tick acts."""
        return Guard("next_tick", guards.state_text("next_tick"), self._since(row), at)

    def blockers(self, row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The live and the failed beads that block a row, each in order of id."""
        found = sorted(self._town.blockers.get(row.id, ()), key=lambda blocker: blocker.id)
        live = tuple(each.id for each in found if each.status != BeadStatus.FAILED)
        return live, tuple(each.id for each in found if each.status == BeadStatus.FAILED)

    def reviews_of(self, bead_id: str) -> tuple[str, ...]:
        """The live reviews of a bead, in order of id."""
        return self._reviews.get(bead_id, ())

    def staged_in(self, row: Row) -> str | None:
        """The first staged convoy that a bead tracks; None for a convoy, which is staged itself."""
        found = self._sql.execute(
            "SELECT m.bead_id FROM bead_dependencies d JOIN convoy_metadata m ON m.bead_id = d.depends_on_bead_id "
            "WHERE d.bead_id = :id AND d.dependency_type = 'tracks' AND m.staged = 1 ORDER BY m.bead_id LIMIT 1",
            {"id": row.id},
        ).fetchone()
        return None if found is None else str(found[0])

    def in_the_way(self, hold: str, row: Row) -> tuple[str, ...]:
        """The beads that take the place for which a row waits, in order of the agents on them."""
        if hold == "rig_full":
            return tuple(agent.hook for agent in busy_polecats(self._town, row.rig_id) if agent.hook is not None)
        now = tuple(each.id for each in self._town.reviews if each.rig_id == row.rig_id and under_review(each))
        return now or tuple(
            agent.hook
            for agent in self._town.agents
            if agent.role is Role.REFINERY and agent.rig_id == row.rig_id and agent.hook is not None
        )

    @cached_property
    def _reviews(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for review, source in sorted(self._town.review_sources.items()):
            found[source[0]] = (*found.get(source[0], ()), review)
        return found

    @cached_property
    def _settling_since(self) -> datetime | None:
        """When settling began; if the next tick will begin it, when the town was ticked for the last time."""
        stored = TownKeys(self._sql).settling_until
        if stored is not None and stored == self._foresight.settling_until:
            return self._began.at_most_now(stored - limits.SETTLE_FOR)
        return TownKeys(self._sql).last_tick_at

    def _since(self, row: Row, *others: datetime) -> datetime:
        """The latest of these times and of the move of the row into its status: it has been held back since then."""
        return self._began.latest((self._began.entered(row.id), *others))

    def _of_the_town(self, hold: Hold) -> Guard:
        """A hold that ends by itself."""
        says = guards.hold_text(hold)
        if hold == "settling":
            return Guard(hold, says, self._settling_since, self._foresight.settling_until)
        if hold == "breaker_open":
            return Guard(hold, says, self._now.breaker.since, self._foresight.breaker_until)
        drain = TownKeys(self._sql).drain
        since, until = (None, None) if drain is None else (drain.started_at, drain.ends_at)
        return Guard(hold, says, since, until, "container")

    def _labelled(self, row: Row) -> Guard:
        return Guard("held", guards.hold_text("held"), self._since(row, self._began.labelled(row.id)), actor="operator")

    def _full(self, row: Row) -> Guard:
        """A rig without a free place, since the last of its places was taken."""
        busy = busy_polecats(self._town, row.rig_id)
        if row.rig_id not in self._taken:
            self._taken[row.rig_id] = [self._began.hooked(each.id, each.hook) for each in busy if each.hook is not None]
        taken = self._taken[row.rig_id]
        actor = _listed(agent.id for agent in busy) or "agent"
        return Guard("rig_full", guards.hold_text("rig_full"), self._since(row, *taken), actor=actor)

    def _in_review(self, row: Row) -> Guard:
        actor = _listed(self.reviews_of(row.id)) or "refinery"
        return Guard("review_live", guards.hold_text("review_live"), self._since(row), actor=actor)

    def _merging(self, row: Row) -> Guard:
        until = self._foresight.effect_ends.get((EffectKind.MERGE_PR, row.id))
        return Guard("effect_unfinished", guards.hold_text("effect_unfinished"), self._since(row), until, "forge")

    def _blocked(self, row: Row) -> Guard:
        """Blocked since the first of the live blockers blocks; if all have failed, since the last of them failed."""
        live, failed = self.blockers(row)
        if not live:
            since = self._since(row, *(self._began.moved(each) for each in failed))
            names = (
                "a bead that it waits for has failed" if len(failed) == 1 else "the beads that it waits for have failed"
            )
            return Guard("blocked_by", names, since, actor=_listed(failed))
        first = min(self._began.reopened(each) or self._began.created(each) for each in live)
        return Guard(
            "blocked_by", guards.hold_text("blocked_by"), self._since(row, first), actor=_listed((*live, *failed))
        )

    def _queued(self, row: Row) -> Guard:
        """A review that waits for its refinery, with what the refinery works on now."""
        refinery = next(
            (agent for agent in self._town.agents if agent.role is Role.REFINERY and agent.rig_id == row.rig_id), None
        )
        now = self.in_the_way("one_at_a_time", row)
        says = guards.hold_text("one_at_a_time") + (f"; now on {', '.join(now)}" if now else "")
        since = self._since(row, *(self._began.entered(each) for each in now))
        return Guard("one_at_a_time", says, since, actor="refinery" if refinery is None else refinery.id)

    def _batch(self, row: Row) -> Guard:
        batch = self._town.triage_batch
        since = [] if batch is None else [batch.created_at]
        return Guard("batch_live", guards.hold_text("batch_live"), self._since(row, *since), actor="triage")

    def _ended(self, due: Due, row: Row) -> str | None:
        """What is known of the end of the process that a wait gives time to; None if it may still run."""
        agent = row.agent if due.wait == "heartbeat" else None
        if due.wait == "owner_beats":
            agent = self._town.agents_by_id.get(row.assignee or "")
        return None if agent is None else process_end(agent)


def process_end(agent: Agent) -> str | None:
    """What is known of the end of an agent's process, in a clause; None if it may still run."""
    if agent.observed_status in _ENDED:
        return f"the process of {agent.id} has ended ({agent.observed_status})"
    if agent.status is AgentStatus.DEAD or agent.last_dispatch_outcome is DispatchOutcome.LOST:
        return f"the process of {agent.id} is lost"
    if agent.last_dispatch_outcome in _NOT_AT_WORK:
        return f"the process of {agent.id} was not started"
    return None


def unreadable(table: str, problem: str, since: datetime) -> Guard:
    """The guard for a bead or agent whose row is damaged."""
    says = f"its row in {table} cannot be read ({problem}): every rule skips it until a person repairs it"
    return Guard("unreadable", says, since, actor="operator")


def of_events(events: Iterable[WaitingEvent], next_due: datetime | None) -> Iterator[Guard]:
    """One guard for each event that was not applied: the next tick tries it again, or it was poisoned."""
    for event in events:
        since = from_text(event.received_at)
        times = "once" if event.retry_count == 1 else f"{event.retry_count} times"
        said = f"{event.event_type} {event.event_id} failed {times}: {event.last_error}"
        if event.outcome is None:
            yield Guard("event_pending", f"{said}; the next tick tries it again", since, next_due)
        else:
            says = f"{said}; it is not tried again until an operator redrives it"
            yield Guard("event_poisoned", says, since, actor="operator")


def _listed(ids: Iterable[str]) -> str | None:
    return ", ".join(ids) or None

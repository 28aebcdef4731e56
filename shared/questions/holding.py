"""The guards of one row: for each wait, hold and state, since when and until when it holds the row back, and who can change it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Final

from shared.actions import DispatchAgent
from shared.domain import limits
from shared.domain.mail import effect_of
from shared.domain.notes import ReviewNotes
from shared.domain.states import AgentStatus, BeadStatus, BeadType, EffectKind, Role
from shared.domain.times import readable_time
from shared.questions import guards
from shared.questions.budget_guard import budget_guard
from shared.questions.effect_ends import OF_A_PULL_REQUEST, call_about
from shared.questions.foresight import Foresight
from shared.questions.process_ends import process_end
from shared.questions.reasons import OBSTACLE_ACTORS, State
from shared.questions.relaxed import Hold, under_review
from shared.questions.rows import Row, row_of
from shared.questions.since import Beginnings
from shared.questions.waiting import Guard
from shared.rules import RULES
from shared.rules.base import Due
from shared.rules.beads import busy_polecats
from shared.town.database import Database
from shared.town.rows import Agent
from shared.town.town_keys import TownKeys

CODE_OF: Final = {rule.name: rule.code for rule in RULES}


class Holding:
    """Makes the guards of the rows of one town."""

    def __init__(self, sql: Database, foresight: Foresight, began: Beginnings) -> None:
        """Use the town as foresight has read it, and the audit trail."""
        self._sql = sql
        self._town = foresight.town
        self._now = foresight.now
        self._foresight = foresight
        self._began = began
        self._taken: dict[str | None, list[datetime]] = {}

    def of_hold(self, hold: Hold, row: Row) -> Guard:
        """The guard that stands for a hold. An agent is held back by what holds back the bead that it is hooked to."""
        row = self.bead_of(row)
        if hold in ("settling", "draining", "breaker_open"):
            return self._of_the_town(hold)
        if hold == "budget_spent":
            return budget_guard(self._town, row.id, self._since(row))
        made = {
            "blocked_by": self._blocked,
            "missing_blocker": self._awaiting,
            "held": self._labelled,
            "rig_full": self._full,
            "one_at_a_time": self._queued,
            "review_live": self._in_review,
            "effect_unfinished": self._requested,
            "batch_live": self._batch,
            "no_rig": self._without_rig,
            "triage_exhausted": self._unanswered,
            "convoy_over": self._convoy_over,
        }.get(hold)
        return Guard(hold, guards.hold_text(hold), self._since(row), actor="operator") if made is None else made(row)

    def obstacle(self, row: Row) -> Guard | None:
        """The guard that stands for the obstacle of a pull request; None if it has none."""
        review = self._town.reviews_by_id.get(row.id)
        found = None if review is None else ReviewNotes.obstacle.of(review.metadata)
        if review is None or found is None or review.status is not BeadStatus.IN_PROGRESS:
            return None
        says = guards.obstacle_text(found, ReviewNotes.obstacle_detail.of(review.metadata))
        since = self._since(row, *filter(None, [ReviewNotes.obstacle_since.of(review.metadata)]))
        return Guard(found, says, since, actor=OBSTACLE_ACTORS[found])

    def of_wait(self, due: Due, row: Row) -> Guard:
        """The guard that stands for a wait. If the agent's process is known to have ended, the guard says so."""
        agent = self._waited_for(due, row)
        ended = None if agent is None else process_end(agent)
        if agent is None or ended is None:
            since = self._began.at_most_now(self._wait_began(due, row))
            return Guard(due.wait, guards.wait_text(due.wait), since, due.at)
        since = self._began.exited(agent.id, self._began.at_most_now(due.since))
        return Guard("process_ended", guards.released_text(ended), since, due.at)

    def of_state(self, state: State, row: Row, says: str | None = None, *, actor: str | None) -> Guard:
        """The guard that stands for a state."""
        since = self._since(row, *self._beginnings_of(state, row))
        return Guard(state, says or guards.state_text(state), since, actor=actor)

    def next_tick(self, row: Row, at: datetime) -> Guard:
        """The guard of a row on which the next tick acts."""
        return Guard("next_tick", guards.state_text("next_tick"), self._since(row), at)

    def bead_of(self, row: Row) -> Row:
        """The bead that an agent is hooked to, for the row of an agent; else the row itself."""
        if row.type != BeadType.AGENT or row.agent is None or row.agent.hook is None:
            return row
        return row_of(self._sql, self._town, row.agent.hook) or row

    def blockers(self, row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The live and the failed beads that block a row, each in order of id."""
        found = sorted((each for each in self._town.blockers.get(row.id, ()) if each.exists), key=lambda each: each.id)
        live = tuple(each.id for each in found if each.status != BeadStatus.FAILED)
        return live, tuple(each.id for each in found if each.status == BeadStatus.FAILED)

    def missing(self, row: Row) -> tuple[str, ...]:
        """The beads that a row depends on and that do not exist, in order of id."""
        return tuple(sorted(each.id for each in self._town.blockers.get(row.id, ()) if not each.exists))

    def reviews_of(self, bead_id: str) -> tuple[str, ...]:
        """The live reviews of a bead, in order of id."""
        return self._reviews.get(bead_id, ())

    def staged_in(self, row: Row) -> tuple[str, ...]:
        """The staged convoys that a bead tracks, in order of id; none for a convoy, which is staged itself."""
        found = self._sql.execute(
            "SELECT m.bead_id FROM bead_dependencies d JOIN convoy_metadata m ON m.bead_id = d.depends_on_bead_id "
            "JOIN beads c ON c.bead_id = m.bead_id AND c.type = 'convoy' "
            "WHERE d.bead_id = :id AND d.dependency_type = 'tracks' AND m.staged = 1 ORDER BY m.bead_id",
            {"id": row.id},
        ).fetchall()
        return tuple(convoy for (convoy,) in found)

    def unapproved(self, convoy_id: str) -> tuple[str, ...]:
        """The failed landings of a convoy that waited for an approval, in order of id."""
        landings = self._town.landings.get(convoy_id, ())
        failed = (each for each in landings if each.status is BeadStatus.FAILED and each.awaiting_approval)
        return tuple(sorted(each.id for each in failed))

    def asks_triage(self, row: Row) -> bool:
        """Whether a row is an open triage request."""
        return row.id in self._requests

    def in_the_way(self, hold: str, row: Row) -> tuple[str, ...]:
        """The beads that hold the place for which a row waits; if it is free, the beads to which the next tick gives it."""
        if hold == "batch_live":
            batch = self._town.triage_batch
            return () if batch is None else (batch.id,)
        if hold == "rig_full":
            busy = busy_polecats(self._town, row.rig_id)
            now = tuple(agent.hook for agent in busy if agent.hook is not None)
            return now if self._is_full(row.rig_id) else (*now, *self._starts(row, "B2", "B1"))
        now = tuple(each.id for each in self._town.reviews if each.rig_id == row.rig_id and under_review(each))
        hooked = tuple(each.hook for each in self._refineries(row.rig_id) if each.hook is not None)
        return now or hooked or (() if self.idlers_in_the_way(hold, row) else self._starts(row, "R5"))

    def idlers_in_the_way(self, hold: str, row: Row) -> tuple[str, ...]:
        """The agents that hold a place without a bead, for example a dead refinery."""
        if hold == "rig_full":
            return tuple(agent.id for agent in busy_polecats(self._town, row.rig_id) if agent.hook is None)
        if hold != "one_at_a_time":
            return ()
        first = self._refineries(row.rig_id)[:1]
        return tuple(each.id for each in first if each.hook is None and each.status is not AgentStatus.IDLE)

    def _is_full(self, rig_id: str | None) -> bool:
        limit = self._town.settings(rig_id).max_polecats
        return limit is not None and len(busy_polecats(self._town, rig_id)) >= limit

    def _refineries(self, rig_id: str | None) -> list[Agent]:
        """The refineries of a rig, in the order in which R5 chooses one."""
        found = [agent for agent in self._town.agents if agent.role is Role.REFINERY and agent.rig_id == rig_id]
        return sorted(found, key=lambda agent: (agent.created_at, agent.id))

    def _starts(self, row: Row, *codes: str) -> tuple[str, ...]:
        """The other beads of its rig that the next tick gives to an agent, by these rules."""
        starts = [
            action
            for name, action in self._foresight.first.intents
            if isinstance(action, DispatchAgent) and CODE_OF[name] in codes
        ]
        return tuple(each.bead_id for each in starts if each.rig_id == row.rig_id and each.bead_id != row.id)

    @cached_property
    def _requests(self) -> frozenset[str]:
        return frozenset(request.id for request in self._town.triage_requests)

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
        says, known = guards.hold_text(hold), self._began.at_most_now
        if hold == "settling":
            return Guard(hold, says, known(self._settling_since), self._foresight.settling_until)
        if hold == "breaker_open":
            return Guard(hold, says, known(self._now.breaker.since), self._foresight.breaker_until)
        drain = TownKeys(self._sql).drain
        since, until = (None, None) if drain is None else (drain.started_at, drain.ends_at)
        return Guard(hold, says, known(since), until, "container")

    def _labelled(self, row: Row) -> Guard:
        return Guard("held", guards.hold_text("held"), self._since(row, self._began.labelled(row.id)), actor="operator")

    def _convoy_over(self, row: Row) -> Guard:
        """Its convoy has ended: since the convoy's end, or since the bead joined or was reopened later."""
        convoy = self._town.beads_of_ended_convoys.get(row.id)
        if convoy is None:
            return Guard("convoy_over", guards.hold_text("convoy_over"), self._since(row), actor="operator")
        ended = row_of(self._sql, self._town, convoy)
        closed = ended is not None and ended.status == BeadStatus.CLOSED
        how = "closed: take the bead out of it" if closed else "failed: reopen it, or take the bead out of it"
        says = f"its convoy {convoy} is {how}"
        return Guard("convoy_over", says, self._since(row, self._began.moved(convoy)), actor=convoy)

    def ended_convoy_of(self, row: Row) -> tuple[str, bool] | None:
        """The closed or failed convoy of a bead, and whether it can be reopened; None if there is none."""
        convoy = self._town.beads_of_ended_convoys.get(row.id)
        ended = None if convoy is None else row_of(self._sql, self._town, convoy)
        return None if ended is None else (ended.id, ended.status == BeadStatus.FAILED)

    def _full(self, row: Row) -> Guard:
        """Its rig has no free place: since the last one was taken, or since another bead came first."""
        busy = busy_polecats(self._town, row.rig_id)
        if row.rig_id not in self._taken:
            self._taken[row.rig_id] = [self._began.hooked(each.id, each.hook) for each in busy if each.hook is not None]
        taken = self._taken[row.rig_id]
        if self._is_full(row.rig_id):
            actor = _listed(agent.id for agent in busy)
            return Guard("rig_full", guards.hold_text("rig_full"), self._since(row, *taken), actor=actor)
        starts = self._starts(row, "B2", "B1")
        says = f"the next tick gives the last free place of its rig to {_listed(starts)}"
        actor = _listed((*(agent.id for agent in busy), *starts))
        return Guard("rig_full", says, self._since(row, *taken, *map(self._began.entered, starts)), actor=actor)

    def _without_rig(self, row: Row) -> Guard:
        says = "none of the beads that it tracks belongs to a rig" if row.type == BeadType.CONVOY else None
        return Guard("no_rig", says or guards.hold_text("no_rig"), self._since(row), actor="operator")

    def _unanswered(self, row: Row) -> Guard:
        """Requests without an answer, since the last batch of triage ended."""
        state = self._town.triage
        ended = None if state.last_batch_id is None else self._town.updated_at(state.last_batch_id)
        since = self._since(row, *filter(None, [ended or state.last_batch_at]))
        return Guard("triage_exhausted", guards.hold_text("triage_exhausted"), since, actor="operator")

    def _in_review(self, row: Row) -> Guard:
        actor = _listed(self.reviews_of(row.id)) or "refinery"
        return Guard("review_live", guards.hold_text("review_live"), self._since(row), actor=actor)

    def _requested(self, row: Row) -> Guard:
        """A call about a pull request, or a delivery of mail, that was requested and has not been reported."""
        kind, subject = call_about(row.id, self._town.unfinished_effects), row.id
        if row.type == BeadType.MESSAGE:
            kind, subject = effect_of(self._now.town_id, row.id, for_mayor=self._town.is_for_mayor(row.assignee))
        until = self._foresight.effect_ends.get((kind, subject))
        asked = self._sql.execute(
            "SELECT MAX(created_at) FROM outbox WHERE kind = :kind AND subject = :id AND state IN ('pending', 'claimed')",
            {"kind": kind.value, "id": subject},
        ).fetchone()
        since = self._began.at_most_now(readable_time(asked[0]) or self._since(row))
        if kind in OF_A_PULL_REQUEST:
            return Guard("effect_unfinished", guards.hold_text("effect_unfinished"), since, until, "forge")
        to = "the mayor" if kind is EffectKind.NOTIFY_MAYOR else row.assignee
        return Guard("effect_unfinished", f"it is on its way to {to}", since, until, row.assignee)

    def _blocked(self, row: Row) -> Guard:
        """Blocked since the first live blocker was created or reopened; if all have failed, since the last one failed."""
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

    def _awaiting(self, row: Row) -> Guard:
        """A bead whose blocker was never created, perhaps because its id was misspelled."""
        missing = self.missing(row)
        says = f"it depends on {', '.join(missing)}, which {'does' if len(missing) == 1 else 'do'} not exist"
        return Guard("missing_blocker", says, self._since(row), actor="operator")

    def _queued(self, row: Row) -> Guard:
        """A review that waits for its refinery: what the refinery works on now, or why it takes no review."""
        refinery = next(iter(self._refineries(row.rig_id)), None)
        now = self.in_the_way("one_at_a_time", row)
        says, actor = guards.hold_text("one_at_a_time"), "refinery" if refinery is None else refinery.id
        since = self._since(row, *(self._began.entered(each) for each in now))
        if refinery is not None and self.idlers_in_the_way("one_at_a_time", row):
            says = f"its refinery {refinery.id} is {refinery.status} and has no review, so it takes no new one"
            return Guard("one_at_a_time", says, since, actor="operator")
        on_it = any(each in self._town.hooks or each in self._under_review for each in now)
        also = f"; {'it now works on' if on_it else 'the next tick starts'} {', '.join(now)}" if now else ""
        return Guard("one_at_a_time", says + also, since, actor=actor)

    @cached_property
    def _under_review(self) -> frozenset[str]:
        return frozenset(each.id for each in self._town.reviews if under_review(each))

    def _beginnings_of(self, state: State, row: Row) -> list[datetime]:
        """The times at which other beads brought a row into a state."""
        landings = self._town.landings.get(row.id, ())
        if state == "landing_live":
            live = [self._began.created(each.id) for each in landings if not each.status.terminal]
            return [min(live)] if live else []
        if state == "approval_missing":
            return [self._began.moved(each) for each in self.unapproved(row.id)]
        waits_since = TownKeys(self._sql).mayor_waiting_since
        if row.agent is not None and row.agent.status is AgentStatus.WAITING and waits_since is not None:
            return [waits_since]
        if state == "review_live" and row.type == BeadType.CONVOY:
            return [self._began.tasks_ended(row.id)]
        return []

    def _batch(self, row: Row) -> Guard:
        batch = self._town.triage_batch
        since = [] if batch is None else [batch.created_at]
        return Guard("batch_live", guards.hold_text("batch_live"), self._since(row, *since), actor="triage")

    def _wait_began(self, due: Due, row: Row) -> datetime:
        """When a wait began. A pull request waits for its turn since it could have been polled."""
        review = self._town.reviews_by_id.get(row.id)
        if due.wait != "poll_turn" or review is None:
            return due.since or self._since(row)
        last = ReviewNotes.last_poll_at.of(review.metadata)
        return self._since(row) if last is None else last + limits.PR_POLL_INTERVAL

    def _waited_for(self, due: Due, row: Row) -> Agent | None:
        """The agent whose signs of life a wait is about."""
        if due.wait == "owner_beats":
            return self._town.agents_by_id.get(row.assignee or "")
        return row.agent if due.wait == "heartbeat" else None


def _listed(ids: Iterable[str]) -> str | None:
    return ", ".join(ids) or None

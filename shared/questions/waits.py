"""Why every row of a town waits: the only mechanism behind status, explain, lists and metrics (spec/tick.md section 13).

The rules are asked (`foresight`), never imitated: which of them acts next on a row and when, and what holds it back until then.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from shared.domain.limits import just_after
from shared.domain.notes import ReviewNotes
from shared.domain.obstacles import obstacle_or_none
from shared.domain.states import BeadStatus, BeadType
from shared.domain.tick import TickInput
from shared.images import summary
from shared.questions import lives, queues
from shared.questions.broken import of_events, unreadable
from shared.questions.chains import Chains
from shared.questions.foresight import Foreseen, Foresight, Outlook
from shared.questions.holding import Holding
from shared.questions.needs import Needs
from shared.questions.reasons import ENDLESS, OF_HOLD, OF_STATE, OF_WAIT, TOO_EARLY
from shared.questions.relaxed import Hold
from shared.questions.rows import Row, live_rows, row_of
from shared.questions.since import Beginnings
from shared.questions.states import Standing, standing_of
from shared.questions.waiting import Guard, Waiting, WaitingReason
from shared.rules import convoys
from shared.rules.voices import waits_for_its_convoy
from shared.town.database import Database
from shared.town.live import OpenConvoy

_TURNS = ("poll_turn", "update_turn")
"""Waits that end when other rows have had their turn."""
_NONE: frozenset[Hold] = frozenset()
_ACTORS: Mapping[WaitingReason, str] = {
    "awaiting_ci": "forge",
    "rate_limited": "forge",
    "awaiting_approval": "reviewer",
    "awaiting_review": "refinery",
    "agent_working": "agent",
    "held": "operator",
    "no_agent_program": "operator",
    "budget_spent": "operator",
}
"""Who acts next on a row whose guard names nobody."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A waiting reason, its guard, and all guards of the row, with that guard first."""

    reason: WaitingReason | None
    guards: tuple[Guard, ...]
    rule: str | None
    due_at: datetime | None


class Waits:
    """Why each row of a town waits, as seen at `given.now`. No answer depends on which other rows are asked about."""

    def __init__(self, sql: Database, given: TickInput, *, town_id: str) -> None:
        """Read the town. Only the next tick can act, so foresight begins there."""
        self.sql = sql
        self._about = summary.before_tick(sql)
        self.foresight = _from_next_tick(sql, given, self._about, town_id=town_id)
        self.town = self.foresight.town
        self._began = Beginnings(sql, given.now)
        self._holding = Holding(sql, self.foresight, self._began)
        self.rows = live_rows(sql, self.town)
        self._chains = Chains(sql, self.town, self.rows, self._holding, self._began)
        self._needs = Needs(self.town, self.rows, self._holding)

    @cached_property
    def of_beads(self) -> Mapping[str, Waiting]:
        """Why each live bead without a working agent waits, by id, in order of creation."""
        alone = self._alone
        places = queues.places(self.town, self.foresight.now, self._unworked, alone, self._began)
        roots = self._chains.roots(alone)
        found = {
            bead_id: replace(self._with_next(each, alone), queue=places.get(bead_id), root=roots.get(bead_id))
            for bead_id, each in alone.items()
        }
        return {bead_id: self._with_needs(each, self._unworked[bead_id], found) for bead_id, each in found.items()}

    @cached_property
    def _unworked(self) -> Mapping[str, Row]:
        return {row.id: row for row in self.rows.values() if not row.worked_on}

    @cached_property
    def _alone(self) -> Mapping[str, Waiting]:
        """The same, each without what it has from the other rows: queue, root and needs."""
        return self._waits_of(self._unworked)

    def of(self, row_id: str) -> Waiting | None:
        """Why one bead or agent waits; None if it does not exist.

        An agent, a terminal bead and a bead that is worked on have no reason.
        """
        if row_id in self.of_beads:
            return self.of_beads[row_id]
        row = self.row(row_id)
        if row is None:
            return None
        bead, [waiting] = self._holding.bead_of(row), self._waits_of({row_id: row}).values()
        of_bead = self.of_beads.get(bead.id)
        return self._with_needs(replace(waiting, root=None if of_bead is None else of_bead.root), bead, self.of_beads)

    def row(self, row_id: str) -> Row | None:
        """One bead or agent of any status; None if it does not exist."""
        return self.rows.get(row_id) or row_of(self.sql, self.town, row_id)

    def counts(self) -> dict[str, int]:
        """How many live beads wait for each reason."""
        return dict(sorted(Counter(each.reason for each in self._alone.values() if each.reason is not None).items()))

    def _waits_of(self, rows: Mapping[str, Row]) -> dict[str, Waiting]:
        outlooks = self.foresight.outlooks({row.id: row.subjects for row in rows.values()})
        return {row.id: self._waiting(row, outlooks[row.id]) for row in rows.values()}

    def _waiting(self, row: Row, ahead: Outlook) -> Waiting:
        draft = self._draft(row, ahead)
        first = draft.guards[0]
        reason = draft.reason if row.live and not row.worked_on else None
        return Waiting(
            bead_id=row.id,
            reason=reason,
            since=self._since(row, first, reason),
            due_at=draft.due_at,
            actor=self._actor(row, first, reason),
            rule=draft.rule,
            guards=(*draft.guards, *of_events(self._events.get(row.id, ()), self._next_tick)),
            needs=(),
            root=None,
            queue=None,
        )

    def _with_next(self, waiting: Waiting, waits: Mapping[str, Waiting]) -> Waiting:
        """A convoy waits for the first of its beads or reviews, not for any agent."""
        first = waiting.guards[0]
        ahead = self._chains.ahead(waiting.bead_id, waits)
        if first.guard not in ("work_unfinished", "review_live") or not ahead or first.actor in ahead:
            return waiting
        return replace(waiting, actor=ahead[0], guards=(replace(first, actor=ahead[0]), *waiting.guards[1:]))

    def _since(self, row: Row, first: Guard, reason: WaitingReason | None) -> datetime:
        """When the cause began. A pull request waits for its forge since the last news of it, not since its last poll."""
        review = self.town.reviews_by_id.get(row.id)
        if review is not None and reason == "awaiting_approval":
            observed = ReviewNotes.awaiting_approval_observed_at.of(review.metadata)
            return self._began.at_most_now(observed or self._began.news_of_forge(row.id))
        if review is not None and reason == "awaiting_ci":
            return self._began.news_of_forge(row.id)
        return self._began.at_most_now(first.since or self._began.entered(row.id))

    def _with_needs(self, waiting: Waiting, row: Row, waits: Mapping[str, Waiting]) -> Waiting:
        return replace(waiting, needs=self._needs.of(waiting, row, self._chains.ahead(row.id, waits), waits))

    @property
    def _next_tick(self) -> datetime:
        """When the next tick runs, if an event waits for it."""
        now = self.foresight.now.now
        return now if self._about.next_due is None else max(now, self._about.next_due)

    def _actor(self, row: Row, first: Guard, reason: WaitingReason | None) -> str | None:
        if first.guard == "blocked_by":
            live, failed = self._holding.blockers(self._holding.bead_of(row))
            return (live or failed)[0]
        if reason == "agent_working" and self._holding.asks_triage(row):
            return "triage"
        if first.guard in ("review_recovery", "next_tick") and reason == "awaiting_review":
            return None
        if first.guard == "escalation_bump":
            return "operator"
        return first.actor or (None if reason is None else _ACTORS.get(reason))

    def _draft(self, row: Row, ahead: Outlook) -> _Draft:
        broken = self._broken.get(row.id)
        if broken is not None:
            found = lives.violations(self.sql, row.id)
            since = found[0][3] if found else self._began.entered(row.id)
            return _Draft("held", (unreadable(*broken, since),), None, None)
        act = ahead.acts[0] if ahead.acts else None
        held = self._held(row, ahead)
        obstacle = self._holding.obstacle(row)
        guards = [] if obstacle is None else [obstacle]
        guards += [self._holding.of_hold(hold, row) for hold in held]
        guards += self._time_guards(row, ahead)
        if act is None and not guards:
            return self._at_rest(standing_of(self.sql, self.town, self.foresight.now, row), row)
        first = self._first(row, held, guards, act)
        rule = act or ahead.held
        reason = self._reason(row, first, act)
        others = tuple(each for each in guards if each.guard != first.guard)
        due_at = first.until if act is None else act.at
        return _Draft(reason, (first, *others), None if rule is None else rule.rule, due_at)

    def _held(self, row: Row, ahead: Outlook) -> tuple[Hold, ...]:
        """The holds of a row, the one that is its reason first. A bead that is polled, for example, may be blocked as well."""
        own = tuple(hold for hold in ahead.holds if self._is_own(hold, row, ahead))
        holds: set[Hold] = set(own)
        if _starts_unblocked(row):
            holds |= {
                "blocked_by" if blocker.exists else "missing_blocker" for blocker in self.town.blockers.get(row.id, ())
            }
        issue = self.town.live_issues.get(row.id)
        if issue is not None and row.id in self.town.beads_of_ended_convoys and waits_for_its_convoy(self.town, issue):
            holds.add("convoy_over")  # also while the next tick tells a person about it
        if any(convoy.id == row.id and convoy.staged and not self._is_done(convoy) for convoy in self.town.convoys):
            holds.add("staged")
        endless = [hold for hold in ENDLESS if hold in holds]
        return (*endless, *(hold for hold in own if hold not in endless))

    def _is_own(self, hold: Hold, row: Row, ahead: Outlook) -> bool:
        """Whether a hold can be that of the row. Without the blockers of another row, for example, polls come in other turns."""
        due = ahead.acts[0].promised if ahead.acts else None
        if due is not None and due.wait in _TURNS and hold != "effect_unfinished":
            return False
        bead = self._holding.bead_of(row)
        if hold == "blocked_by":
            return any(self._holding.blockers(bead))
        return hold != "missing_blocker" or bool(self._holding.missing(bead))

    def _is_done(self, convoy: OpenConvoy) -> bool:
        """Whether the convoy has no task left to start: a convoy that is done closes or lands although it is staged."""
        return convoys.stage_of(self.town, self.foresight.now, convoy) != "C2" or convoy.done == convoy.total > 0

    def _time_guards(self, row: Row, ahead: Outlook) -> Iterator[Guard]:
        """The waits that have not ended, of the act that comes first and of the one that is held back."""
        told: set[str] = set()
        for act in (*ahead.acts[:1], ahead.held):
            due = None if act is None else act.promised
            if due is None or due.wait in told or due.at <= self.foresight.now.now:
                continue
            if TOO_EARLY.get(due.wait, _NONE).isdisjoint(ahead.holds):
                told.add(due.wait)
                yield self._holding.of_wait(due, row)

    def _first(self, row: Row, held: tuple[Hold, ...], guards: list[Guard], act: Foreseen | None) -> Guard:
        """The guard that is the reason: a hold that time does not end, else the guard that ends last, when the rule acts."""
        if held and held[0] in ENDLESS:
            return next(each for each in guards if each.guard == held[0])
        if act is None or self._holding.obstacle(row) is not None:
            return guards[0]
        if act.at <= self.foresight.now.now:
            return self._holding.next_tick(row, act.at)
        last = [guard for guard in guards if guard.until == act.at]
        return last[-1] if last else guards[0] if guards else self._holding.next_tick(row, act.at)

    def _reason(self, row: Row, first: Guard, act: Foreseen | None) -> WaitingReason | None:
        if first.guard == "blocked_by":
            return "blocked_by" if self._holding.blockers(self._holding.bead_of(row))[0] else "failed_dependency"
        if first.guard == "effect_unfinished" and row.type == BeadType.MESSAGE:
            return "agent_working"
        for hold, reason in OF_HOLD.items():
            if first.guard == hold:
                return reason
        obstacle = obstacle_or_none(first.guard)
        if obstacle is not None:
            return obstacle
        if self._holding.asks_triage(row):
            return "agent_working"
        due = None if act is None else act.promised
        if due is None or act is None or act.at <= self.foresight.now.now:
            return self._by_nature(row)
        reason = OF_WAIT[due.wait]
        return self._by_nature(row) if reason == "awaiting_ci" else reason

    def _by_nature(self, row: Row) -> WaitingReason:
        """What a row waits for between two acts that nothing holds back: a reviewer or a forge."""
        review = self.town.reviews_by_id.get(row.id)
        if row.status == BeadStatus.IN_REVIEW or (review is not None and review.status is BeadStatus.OPEN):
            return "awaiting_review"
        if review is None or review.pr_url is None:
            return "cooldown"
        return "awaiting_approval" if review.awaiting_approval else "awaiting_ci"

    def _at_rest(self, standing: Standing, row: Row) -> _Draft:
        guard = self._holding.of_state(standing.state, row, standing.says, actor=standing.actor)
        return _Draft(OF_STATE[standing.state], (guard,), standing.rule, None)

    @cached_property
    def _broken(self) -> Mapping[str, tuple[str, str]]:
        return {key: (table, problem) for (table, key), problem in sorted(self.town.unreadable.items())}

    @cached_property
    def _events(self) -> Mapping[str, tuple[lives.WaitingEvent, ...]]:
        return lives.unapplied_events(self.sql)


def _starts_unblocked(row: Row) -> bool:
    """Whether a rule tests the blockers of a row: dispatch of an issue, or any step of a merge request."""
    return row.type == BeadType.MERGE_REQUEST or (row.type == BeadType.ISSUE and row.status == BeadStatus.OPEN)


def counts_after(sql: Database, given: TickInput, *, town_id: str) -> dict[str, int]:
    """How many live beads wait for each reason in the image after the tick with this input."""
    return Waits(sql, replace(given, tick_no=given.tick_no + 1, new_events=()), town_id=town_id).counts()


def _from_next_tick(sql: Database, given: TickInput, about: summary.BeforeTick, *, town_id: str) -> Foresight:
    """Foresight from the next tick on: after the shortest interval and, if a rule would act, not before the town is due."""
    earliest = just_after(given.now)
    if about.last_tick_at is not None:
        earliest = max(earliest, about.last_tick_at + about.interval)
    found = Foresight(sql, replace(given, now=earliest), town_id=town_id)
    if found.first.intents and about.next_due is not None and about.next_due > earliest:
        return Foresight(sql, replace(given, now=about.next_due), town_id=town_id)
    return found

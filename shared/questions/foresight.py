"""Foresight: finds out what the rules will do with rows if nothing else happens, and what holds the rows back.

It runs the rules themselves on a town whose rows stay the same. Only the clock advances, from one time at which a rule needs
to look again to the next. No action is applied, so it finds only the first act of each rule, which is what a person asks for.
One look of the rules answers for all rows of a town together.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from shared.actions.base import Action
from shared.domain import limits
from shared.domain.limits import just_after
from shared.domain.tick import Tick, TickInput
from shared.domain.times import from_text, to_text
from shared.engine import reconcile, tick
from shared.questions.effect_ends import OF_ROWS, effect_ends
from shared.questions.named import named, rows_of
from shared.questions.relaxed import HOLDS, Hold, Occupied, RelaxedReader, occupied, relaxed_tick
from shared.rules import RULES, breaker
from shared.rules.base import Due, Rule
from shared.town.database import Database
from shared.town.town_keys import TownKeys

LOOKS: Final = 64
"""The maximum number of times that the rules are run for one row. Most rows need only a few."""

_NOTHING: Final[frozenset[Hold]] = frozenset()
_EVERYTHING: Final = frozenset(HOLDS)
_ONE_AT_A_TIME: Final = ("reviews.merge_pull_request", "housekeeping.deliver_mail")
"""The rules that request no effect for a row while an earlier one of that row is unfinished."""
_RULE_NAMED: Final = {rule.name: rule for rule in RULES}


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The act of a rule on a row at the time `at`. `promised` is the wait that ends at that time; None if there is no wait."""

    rule: str
    name: str
    action: Mapping[str, Any]
    at: datetime
    promised: Due | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """`acts` are the first acts of the rules, earliest first. `held` is the act that would come first if `holds` were lifted."""

    acts: tuple[Foreseen, ...] = ()
    held: Foreseen | None = None
    holds: tuple[Hold, ...] = ()


# Holds are found by experiment, so that this module repeats no condition of any rule. First, all holds are lifted
# (RelaxedReader). If a rule then acts earlier than before, something holds the row back. Next, each hold is put back alone,
# with all others still lifted. If that rule then acts at another time, or not at all, this hold is reported.
# Example: bead b is open, blocked by another bead, and its rig is full. Without holds, B1 would dispatch it now. With only
# `blocked_by` in place it would not, and with only `rig_full` in place it would not either, so both are reported. `paused` is
# not reported: the town is not paused, so putting it back changes nothing. A wait for time is not a hold: it is never lifted,
# and it gives the time of the act.


class Foresight:
    """What the rules will do in one town, from `given.now` on."""

    def __init__(self, sql: Database, given: TickInput, *, town_id: str) -> None:
        """Read the town once, and run the rules on it once."""
        _, self.moment = tick.current_state(sql, given, town_id=town_id)
        self.town = RelaxedReader(sql, self.moment.config, {})
        self._sql = sql
        self._stored = TownKeys(sql).breaker
        self._drain = TownKeys(sql).drain
        self.effect_ends = dict(effect_ends(sql, given.now))
        self.settling_until = self._settling_until(sql)
        self.now = self.at(given.now)
        self.first = self.look(self.town, given.now, _NOTHING)
        self._last_free: tuple[Mapping[str, Foreseen], datetime, frozenset[str]] = ({}, given.now, frozenset())

    def outlooks(self, subjects: Mapping[str, frozenset[str]], *, every_act: bool = False) -> dict[str, Outlook]:
        """What the rules will do with each subject: a name for some rows. Without `every_act`, only the first act is sought."""
        real = _Future(self, _NOTHING, Occupied(), subjects, every_act=every_act)
        before = {subject: act.at for subject, act in real.first.items()}
        taken = self._occupied()
        free = _Future(self, _EVERYTHING, taken, subjects, before=before)
        held = {
            subject: act for subject, act in free.first.items() if subject not in before or act.at < before[subject]
        }
        holding = {
            hold: self._held_by(hold, taken, held, subjects)
            for hold in HOLDS
            if held and self.town.has(hold, self.now, taken)
        }
        return {
            subject: Outlook(
                real.acts(subject), held.get(subject), tuple(hold for hold in holding if subject in holding[hold])
            )
            for subject in subjects
        }

    def _held_by(
        self, hold: Hold, taken: Occupied, held: Mapping[str, Foreseen], subjects: Mapping[str, frozenset[str]]
    ) -> frozenset[str]:
        """The subjects whose act does not happen if only this hold is in place.

        For most subjects, one run of the rules at the latest of their times gives the answer: a rule that acts then without any
        hold would also act at the earlier time of a row. For the other subjects, the rules are run at the subject's own time.
        """
        end = self._ends.get(hold)
        merges = hold == "effect_unfinished"
        asked = {
            subject: act
            for subject, act in held.items()
            if (end is None or act.at < end) and (not merges or act.name in _ONE_AT_A_TIME)
        }
        late = max((act.at for act in asked.values()), default=self.now.now)
        same = {} if merges else asked
        free = self._free_at(taken, same, subjects, late)
        back = self._acted(_EVERYTHING - {hold}, taken, same, subjects, late)
        found = free - back
        for at in sorted({act.at for subject, act in asked.items() if subject not in free}):
            there = {subject: act for subject, act in asked.items() if act.at == at and subject not in free}
            acting = self._acted(
                _EVERYTHING, taken, there, subjects, at
            )  # without rows whose turn to be polled comes later
            found |= acting - self._acted(_EVERYTHING - {hold}, taken, there, subjects, at)
        return frozenset(found)

    def _free_at(
        self, taken: Occupied, acts: Mapping[str, Foreseen], subjects: Mapping[str, frozenset[str]], at: datetime
    ) -> frozenset[str]:
        """The same without any hold. Most holds have the same acts and time, so the last answer is kept."""
        if self._last_free[:2] != (acts, at):
            self._last_free = (acts, at, self._acted(_EVERYTHING, taken, acts, subjects, at))
        return self._last_free[2]

    def _acted(
        self,
        without: frozenset[Hold],
        taken: Occupied,
        acts: Mapping[str, Foreseen],
        subjects: Mapping[str, frozenset[str]],
        at: datetime,
    ) -> frozenset[str]:
        """The subjects of these acts on which the same rule acts at a time without some holds."""
        if not acts:
            return frozenset()
        by_row = _by_row({subject: subjects[subject] for subject in acts})
        names = {act.name for act in acts.values()}
        rules = tuple(rule for rule in RULES if rule.name in names)
        found: set[str] = set()
        for name, action in self.look(self.town.lifted(without, taken), at, without, rules).intents:
            for row in rows_of(action):
                found |= {subject for subject in by_row.get(row, ()) if acts[subject].name == name}
        return frozenset(found)

    def at(self, at: datetime) -> Tick:
        """The tick that would see this town at a time."""
        draining = self._drain is not None and at <= self._drain.last_moment
        settling = self.settling_until is not None and at < self.settling_until
        moment = replace(self.moment, now=at, draining=draining, settling=settling, breaker=self._stored)
        return replace(moment, breaker=breaker.count_failures(self.town, moment))

    def look(
        self, town: RelaxedReader, at: datetime, without: frozenset[Hold], rules: tuple[Rule, ...] = RULES
    ) -> reconcile.Decisions:
        """What the rules decide at a time without some holds. In a paused town they decide nothing."""
        moment = relaxed_tick(self.at(at), without)
        if moment.paused:
            return reconcile.Decisions()
        town.next_look(frozenset(effect for effect, ends in self.effect_ends.items() if ends <= at))
        return reconcile.decide(town, moment, rules=rules)

    def turns(self) -> Iterator[datetime]:
        """The times at which something changes for the whole town."""
        yield from (end for end in self._ends.values() if end is not None)
        yield from (ends for (kind, _), ends in self.effect_ends.items() if kind in OF_ROWS)

    @cached_property
    def _ends(self) -> Mapping[Hold, datetime | None]:
        """When the holds end that end by themselves."""
        drained = None if self._drain is None else self._drain.ends_at
        return {"settling": self.settling_until, "draining": drained, "breaker_open": self.breaker_until}

    @cached_property
    def breaker_until(self) -> datetime | None:
        """When an open breaker closes: so many failures have left its window by then that too few are left."""
        if not self.now.breaker.open:
            return None
        row = self._sql.execute(
            "SELECT last_dispatch_failed_at FROM beads WHERE last_dispatch_failed_at >= :since AND status <> 'closed' "
            "ORDER BY last_dispatch_failed_at DESC LIMIT 1 OFFSET :left",
            {"since": to_text(self.now.ago(limits.BREAKER_WINDOW)), "left": limits.BREAKER_THRESHOLD - 1},
        ).fetchone()
        return None if row is None else just_after(from_text(row[0]) + limits.BREAKER_WINDOW)

    def _settling_until(self, sql: Database) -> datetime | None:
        """When settling ends. If the next tick comes after an outage, it will begin settling (spec/tick.md section 9)."""
        last = TownKeys(sql).last_tick_at
        at_work = any(agent.status == "working" for agent in self.town.agents) or any(
            review.status == "in_progress" for review in self.town.reviews
        )
        if last is not None and at_work and self.moment.now - last > limits.SETTLE_GAP:
            return self.moment.now + limits.SETTLE_FOR
        return TownKeys(sql).settling_until

    def _occupied(self) -> Occupied:
        dispatched: dict[str, tuple[str, ...]] = {}
        for name, action in self.first.intents:
            rig_id = getattr(action, "rig_id", None)
            if action.type == "dispatch_agent" and rig_id is not None:
                code = _RULE_NAMED[name].code
                dispatched[code] = (*dispatched.get(code, ()), rig_id)
        return occupied(self.town, dispatched)


def outlook(sql: Database, given: TickInput, *, town_id: str, rows: frozenset[str]) -> Outlook:
    """Find out what the rules will do with these rows of a town from `given.now` on, with the first act of every rule."""
    return Foresight(sql, given, town_id=town_id).outlooks({"": rows}, every_act=True)[""]


def mentions(value: object, rows: frozenset[str]) -> bool:
    """Whether an action in its wire form names one of these rows, directly or in a text such as `failed_blocker:ID`."""
    return not rows.isdisjoint(named(value))


@dataclass(slots=True)
class _Future:
    """The acts of the rules on each subject in one variant of a town, and the runs that find them.

    The rules run only at times at which something may change for a subject. Unless every act is searched for, a subject is done
    after its first act or at its time in `before`, and at the end of a wait only the rules that wait are run.
    """

    foresight: Foresight
    without: frozenset[Hold]
    taken: Occupied
    subjects: Mapping[str, frozenset[str]]
    every_act: bool = False
    before: Mapping[str, datetime] = field(default_factory=dict)
    first: dict[str, Foreseen] = field(default_factory=dict)
    _found: dict[str, dict[str, Foreseen]] = field(default_factory=dict)
    _promised: dict[str, dict[str, Due]] = field(default_factory=dict)
    _times: list[datetime] = field(default_factory=list)
    _asked: dict[datetime, set[tuple[str, str]] | None] = field(default_factory=dict)
    _rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rows = _by_row(self.subjects)
        start = self.foresight.now.now
        town = self.foresight.town.lifted(self.without, self.taken)
        self._look(town, start, RULES)
        for turn in self.foresight.turns():
            self._schedule(turn, start, None)
        looks = LOOKS + len(self.subjects)
        while self._times and looks and (self.every_act or len(self.first) < len(self.subjects)):
            at = heapq.heappop(self._times)
            due = self._asked[at]
            if due is None or self.every_act:
                self._look(town, at, RULES)
            else:
                names = {name for name, _ in due}
                few = town.narrowed(frozenset(row for _, row in due), competing=not names.isdisjoint(_COMPETING))
                self._look(few, at, tuple(_named_rules(names)))
            looks -= 1

    def acts(self, subject: str) -> tuple[Foreseen, ...]:
        """The acts on a subject, earliest first; acts at the same time are in the order of the rules."""
        return tuple(sorted(self._found.get(subject, {}).values(), key=lambda act: act.at))

    def _look(self, town: RelaxedReader, at: datetime, rules: tuple[Rule, ...]) -> None:
        decisions = self.foresight.look(town, at, self.without, rules)
        for name, action in decisions.intents:
            self._note(name, action, at)
        for name, due in decisions.dues:
            self._promise(name, due, at)

    def _note(self, name: str, action: Action, at: datetime) -> None:
        for row in rows_of(action):
            for subject in self._rows.get(row, ()):
                if self.every_act or subject not in self.first or self.first[subject].at == at:
                    ended = _ended(self._promised.get(subject, {}), name, at)
                    self._keep(subject, Foreseen(_RULE_NAMED[name].code, name, action.as_json(), at, ended))

    def _keep(self, subject: str, act: Foreseen) -> None:
        self._found.setdefault(subject, {}).setdefault(act.name, act)
        if subject not in self.first or act.at < self.first[subject].at:
            self.first[subject] = act

    def _promise(self, name: str, due: Due, at: datetime) -> None:
        for place, row in enumerate(due.rows):
            for subject in self._rows.get(row, ()):
                if due.wait == "poll_turn":
                    self._note_turn(subject, name, due, place)
                elif self.every_act or subject not in self.first:
                    self._promised.setdefault(subject, {})[name] = due
                    if subject not in self.before or due.at < self.before[subject]:
                        self._schedule(due.at, at, (name, row))

    def _note_turn(self, subject: str, name: str, due: Due, place: int) -> None:
        """A row whose turn comes after ticks have served the rows before it.

        Without this estimate, a town that stands still would never reach it.
        """
        turn = due.at + (place // limits.POLLS_PER_TICK) * limits.ACTIVE_INTERVAL
        self._keep(subject, Foreseen(_RULE_NAMED[name].code, name, {"type": "poll_pr"}, turn, due._replace(at=turn)))

    def _schedule(self, at: datetime, now: datetime, due: tuple[str, str] | None) -> None:
        if at <= now:
            return
        if at not in self._asked:
            self._asked[at] = set()
            heapq.heappush(self._times, at)
        known = self._asked[at]
        if due is None:
            self._asked[at] = None
        elif known is not None:
            known.add(due)


_COMPETING: Final = ("beads.redispatch_hooked", "beads.dispatch_ready", "reviews.dispatch_refinery")
"""Rules for which the rows of a rig compete for a place: the first row gets it."""

_WAITS_FOR: Final = {"convoys.cool_down_landing": "convoys.create_landing"}
"""Rules that wait on behalf of another one."""


def _named_rules(names: Iterable[str]) -> Iterator[Rule]:
    """The rules with these names and those for which they wait, in order."""
    wanted = {*names, *(_WAITS_FOR[name] for name in names if name in _WAITS_FOR)}
    return (rule for rule in RULES if rule.name in wanted)


def _by_row(subjects: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """The subjects of each row."""
    found: dict[str, tuple[str, ...]] = {}
    for subject, rows in subjects.items():
        for row in rows:
            found[row] = (*found.get(row, ()), subject)
    return found


def _ended(promised: Mapping[str, Due], rule: str, at: datetime) -> Due | None:
    """The wait that ends at that time: the rule's own, else that of another rule. For example, C9 waits on behalf of C10."""
    ended = {name: due for name, due in promised.items() if due.at == at}
    return ended.get(rule) or next(iter(ended.values()), None)

"""Foresight: finds out what the rules will do with a row if nothing else happens, and what holds them back.

It runs the rules themselves on a town whose rows stay the same. Only the clock advances, from one time at which a rule needs
to look again to the next. No action is applied, so it finds only the first act of each rule, which is what a person asks for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from shared.actions.base import Action
from shared.domain.tick import Tick, TickInput
from shared.domain.times import text_or_none, to_text
from shared.engine import reconcile, tick
from shared.questions.relaxed import HOLDS, Hold, RelaxedReader, relaxed_tick
from shared.rules import RULES
from shared.rules.base import Due, Rule
from shared.town.database import Database
from shared.town.town_keys import TownKeys

LOOKS: Final = 64
"""The rules are run for at most this many times. A row has a few; an open breaker adds one for each failure that it counts."""

_NOTHING: Final[frozenset[Hold]] = frozenset()
_EVERYTHING: Final = frozenset(HOLDS)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The act of a rule on the row at the time `at`. `promised` is the wait that ends at that time; None if there is no wait."""

    rule: str
    name: str
    action: Mapping[str, Any]
    at: datetime
    promised: Due | None

    def as_json(self) -> dict[str, Any]:
        """The act as answers show it."""
        since = None if self.promised is None else self.promised.since
        return {
            "rule": self.rule,
            "name": self.name,
            "action": dict(self.action),
            "dueAt": to_text(self.at),
            "guard": None if self.promised is None else self.promised.wait,
            "since": text_or_none(since),
        }


@dataclass(frozen=True, slots=True)
class Outlook:
    """`acts` are the first acts of all rules, earliest first. `held` is the act that would come first if `holds` were lifted."""

    acts: tuple[Foreseen, ...]
    held: Foreseen | None
    holds: tuple[Hold, ...]


# Holds are found by experiment, so that this module repeats no condition of any rule. First, all holds are lifted
# (RelaxedReader). If a rule then acts earlier than before, something holds the row back. Next, each hold is put back alone,
# with all others still lifted. If that rule then acts at another time, or not at all, this hold is reported.
# Example: bead b is open, blocked by another bead, and its rig is full. Without holds, B1 would dispatch it now. With only
# `blocked_by` in place it would not, and with only `rig_full` in place it would not either, so both are reported. `paused` is
# not reported: the town is not paused, so putting it back changes nothing. A wait for time is not a hold: it is never lifted,
# and it gives the time of the act.


def outlook(sql: Database, given: TickInput, *, town_id: str, rows: frozenset[str]) -> Outlook:
    """Find out what the rules will do with these rows of a town from `given.now` on."""
    future = _Future(sql, given, town_id, rows)
    acts = future.acts(_NOTHING)
    freed = future.acts(_EVERYTHING)
    if not freed or (acts and acts[0].at <= freed[0].at):
        return Outlook(acts, None, ())
    held = freed[0]
    rules = tuple(rule for rule in RULES if rule.name == held.name)
    holds = tuple(hold for hold in HOLDS if future.first(_EVERYTHING - {hold}, rules) != held.at)
    return Outlook(acts, held, holds)


def mentions(value: object, rows: frozenset[str]) -> bool:
    """Whether an action in its wire form names one of these rows, directly or in a text such as `failed_blocker:ID`."""
    if isinstance(value, str):
        return value in rows or (":" in value and not rows.isdisjoint(value.split(":")))
    if isinstance(value, Mapping):
        return any(mentions(part, rows) for part in value.values())
    return isinstance(value, list | tuple) and any(mentions(part, rows) for part in value)


@dataclass(frozen=True, slots=True)
class _Future:
    sql: Database
    given: TickInput
    town_id: str
    rows: frozenset[str]

    def acts(self, without: frozenset[Hold], rules: tuple[Rule, ...] = RULES) -> tuple[Foreseen, ...]:
        """The first act of each rule on the rows, earliest first; acts at the same time are in the order of the rules."""
        found: dict[str, Foreseen] = {}
        promised: dict[str, Due] = {}
        at: datetime | None = self.given.now
        for _ in range(LOOKS):
            if at is None:
                break
            moment, decisions = self._decisions(at, without, rules)
            for rule, action in self._about(decisions):
                ended = _ended(promised, rule.name, at)
                found.setdefault(rule.name, Foreseen(rule.code, rule.name, action, at, ended))
            promised |= {name: due for name, due in decisions.dues if not self.rows.isdisjoint(due.rows)}
            at = min((later for later in self._times(moment, decisions) if later > at), default=None)
        return tuple(sorted(found.values(), key=lambda act: act.at))

    def first(self, without: frozenset[Hold], rules: tuple[Rule, ...]) -> datetime | None:
        """When the first of these rules acts on the rows; None if none does by itself."""
        return next((act.at for act in self.acts(without, rules)), None)

    def _decisions(
        self, at: datetime, without: frozenset[Hold], rules: tuple[Rule, ...]
    ) -> tuple[Tick, reconcile.Decisions]:
        _, moment = tick.current_state(self.sql, replace(self.given, now=at), town_id=self.town_id)
        drain = TownKeys(self.sql).drain
        drains = moment.draining and drain is not None and at <= drain.last_moment
        moment = relaxed_tick(replace(moment, draining=drains), without)
        if moment.paused:
            return moment, reconcile.Decisions()
        reader = RelaxedReader(self.sql, moment.config, without=without, rows=self.rows)
        return moment, reconcile.decide(reader, moment, rules=rules)

    def _about(self, decisions: reconcile.Decisions) -> Iterator[tuple[Rule, Mapping[str, Any]]]:
        for name, action in decisions.intents:
            wire = _wire(action)
            if mentions(wire, self.rows):
                yield next(rule for rule in RULES if rule.name == name), wire

    def _times(self, moment: Tick, decisions: reconcile.Decisions) -> Iterator[datetime]:
        """The times at which something may change for the rows: the ends of their own waits and of town-wide waits."""
        for _, due in decisions.dues:
            if not self.rows.isdisjoint(due.rows):
                yield due.at
        settling_until, drain = TownKeys(self.sql).settling_until, TownKeys(self.sql).drain
        if settling_until is not None:
            yield settling_until
        if drain is not None:
            yield drain.ends_at
        if moment.breaker.open and moment.breaker.due is not None:
            yield moment.breaker.due


def _ended(promised: Mapping[str, Due], rule: str, at: datetime) -> Due | None:
    """The wait that ends at that time: the rule's own, else that of another rule. For example, C9 waits on behalf of C10."""
    ended = {name: due for name, due in promised.items() if due.at == at}
    return ended.get(rule) or next(iter(ended.values()), None)


def _wire(action: Action) -> Mapping[str, Any]:
    return action.as_json()

"""Compares two towns tick by tick: what only one of them did, and which rows differ since which tick."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from shared.domain import canonical
from shared.domain.report import TickReport
from shared.domain.times import from_text, to_text
from shared.history.differences import SHOWN, Difference, of_row
from shared.history.rerun import Rerun, time_of
from shared.images import touched
from shared.images.touched import RowKey
from shared.ports.town_past import JournalRow
from shared.replay.answers import ActionOfTick, PartingAnswer

StoredRow = tuple[object, ...] | None
OneSided = tuple[tuple[Any, ...], tuple[Any, ...]]
"""The elements that only history has, and those that only the changed town has."""


@dataclass(frozen=True, slots=True)
class TickDifference:
    """One tick in which the towns differ. `rows` are those that begin to differ in this tick, or differ in a new way."""

    tick_no: int
    at: datetime
    events: OneSided
    actions: OneSided
    effects: OneSided
    violations: OneSided
    rows: tuple[Difference, ...]

    def as_json(self) -> PartingAnswer:
        """The tick as a diff."""
        return {
            "tick": self.tick_no,
            "time": to_text(self.at),
            "events": {"onlyInHistory": list(self.events[0]), "onlyNow": list(self.events[1])},
            "actions": {"onlyInHistory": list(self.actions[0]), "onlyNow": list(self.actions[1])},
            "effects": {"onlyInHistory": list(self.effects[0]), "onlyNow": list(self.effects[1])},
            "violations": {"onlyInHistory": list(self.violations[0]), "onlyNow": list(self.violations[1])},
            "rows": [row.as_json() for row in self.rows],
        }

    @staticmethod
    def sums(partings: Iterable["TickDifference"]) -> tuple[dict[str, int], dict[str, int]]:
        """How many actions of each type only history has, and how many only the changed town has."""
        then: Counter[str] = Counter()
        now: Counter[str] = Counter()
        for parting in partings:
            then.update(judged["action"]["type"] for judged in parting.actions[0])
            now.update(judged["action"]["type"] for judged in parting.actions[1])
        return dict(sorted(then.items())), dict(sorted(now.items()))


# Comparing whole images after every tick would cost too much, so only rows that one of the towns has just written are compared.
# `_apart` remembers the rows that differ, with both values: a row is listed in the tick in which it begins to differ or
# differs in a new way, and not in the ticks in between. Example: a bead is open in history and in_progress in the changed
# town from tick 5 on: it is listed in tick 5 only. If history closes it in tick 9, it is listed again. Once the row is equal
# in both towns, it is forgotten.


class Comparison:
    """Compares history and the changed town, which start from the same image. Times exactly `shift` apart count as equal."""

    def __init__(self, history: Rerun, other: Rerun, shift: timedelta) -> None:
        """From now on, note which rows each of them writes."""
        self._history = history
        self._other = other
        self._shift = shift
        self._apart: dict[RowKey, tuple[StoredRow, StoredRow]] = {}
        self._watched = history.sql
        touched.watch(history.sql)
        touched.watch(other.sql)
        self.compared = 0
        self.events = 0
        self.actions: list[ActionOfTick] = []
        self.partings: list[TickDifference] = []

    @property
    def rows_apart(self) -> int:
        """The number of rows that differ now."""
        return len(self._apart)

    def rows(self) -> tuple[Difference, ...]:
        """The differences between the rows now; at most SHOWN of them."""
        return tuple(islice(self._differences(sorted(self._apart)), SHOWN))

    def compare(self, row: JournalRow, report: TickReport, *, rows_too: bool) -> None:
        """Compare a tick of history, from its journal row, with the tick of the changed town."""
        self.compared += 1
        self.events += len(report.events)
        self.actions += [
            {"tick": report.input.tick_no, "time": to_text(report.input.now), **action.as_json()}
            for action in report.actions
        ]
        then, now = row["outputs"], report.outputs()
        changed = self._newly_apart() if rows_too else []
        parting = TickDifference(
            tick_no=row["tick_no"],
            at=time_of(row),
            events=one_sided(then["events"], now["events"]),
            actions=one_sided(then["actions"], now["actions"]),
            effects=one_sided(then["effects"], now["effects"]),
            violations=one_sided(then["violations"], now["violations"]),
            rows=tuple(islice(self._differences(changed), SHOWN)),
        )
        accounts = (parting.events, parting.actions, parting.effects, parting.violations)
        if parting.rows or any(only for account in accounts for only in account):
            self.partings.append(parting)

    def _newly_apart(self) -> list[RowKey]:
        if self._history.sql is not self._watched:
            self._watched = self._history.sql
            touched.watch(self._watched)
        changed = []
        for key in sorted(touched.take(self._history.sql) | touched.take(self._other.sql)):
            then, now = touched.row_of(self._history.sql, key), touched.row_of(self._other.sql, key)
            if self._alike(then, now):
                self._apart.pop(key, None)
            elif self._apart.get(key) != (then, now):
                self._apart[key] = (then, now)
                changed.append(key)
        return changed

    def _differences(self, keys: Iterable[RowKey]) -> Iterator[Difference]:
        for table, first, second in keys:
            then, now = self._apart[(table, first, second)]
            for difference in of_row(table, f"{first} {second}".rstrip(), then, now):
                if not self._alike((difference.expected,), (difference.got,)):
                    yield difference

    def _alike(self, then: StoredRow, now: StoredRow) -> bool:
        if then == now or not self._shift or then is None or now is None:
            return then == now
        return all(left == right or _shifted(left, right, self._shift) for left, right in zip(then, now, strict=True))


def one_sided(then: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> OneSided:
    """The elements that each side has more often than the other side, in order."""
    left, right = ([canonical.dumps(each) for each in side] for side in (then, now))
    return _rest(then, left, Counter(right)), _rest(now, right, Counter(left))


def _rest(each: Sequence[dict[str, Any]], texts: list[str], others: Counter[str]) -> tuple[dict[str, Any], ...]:
    rest = []
    for value, text in zip(each, texts, strict=True):
        if others[text]:
            others[text] -= 1
        else:
            rest.append(dict(value))
    return tuple(rest)


def _shifted(then: object, now: object, shift: timedelta) -> bool:
    """Whether both are times and `shift` apart, stored as text or as the JSON of a town key."""
    try:
        return from_text(str(now).strip('"')) - from_text(str(then).strip('"')) == shift
    except ValueError:
        return False

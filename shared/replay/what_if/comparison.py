"""Compares two towns tick by tick: what only one of them did, and which rows differ since which tick."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from pydantic import ValidationError

from shared.domain import canonical
from shared.domain.errors import DamagedImage
from shared.domain.field_errors import first_error
from shared.domain.report import AppliedEvent, BrokenInvariant, JudgedAction, TickReport
from shared.domain.shapes import Time, answer, document, read
from shared.history import recorded_results
from shared.history.differences import Difference, of_row, shown
from shared.history.rerun import Rerun, time_of
from shared.images import touched
from shared.images.touched import RowKey
from shared.ports.town_past import JournalRow
from shared.replay.replayed import ActionOfTick
from shared.replay.what_if.knowledge import UnknownEffect
from shared.replay.what_if.orders import shifted
from shared.town.town_keys import SET_IN_EVERY_TICK, TownKeys

StoredRow = tuple[object, ...] | None
T = TypeVar("T")
WORK: Final = frozenset(
    {
        "agent_metadata",
        "beads",
        "bead_dependencies",
        "convoy_metadata",
        "review_metadata",
        "escalation_metadata",
        "rigs",
    }
)
"""The tables of the work itself; what differs only in the others follows from it."""
_CONFIG: Final = ("town", TownKeys.config.name, "")
_OF_EVERY_TICK: Final = frozenset(("town", name, "") for name in SET_IN_EVERY_TICK)
"""What every tick writes: a tick that only one town has differs in it anyway."""


@answer
class Attempt:
    """One attempt of an effect."""

    effect_id: str
    attempt: int


@answer
class Outputs:
    """What a tick did."""

    events: tuple[AppliedEvent, ...] = ()
    actions: tuple[JudgedAction, ...] = ()
    effects: tuple[Attempt, ...] = ()
    violations: tuple[BrokenInvariant, ...] = ()


@answer
class Parting:
    """A tick in which the two sides differ: what only one of them did, and the rows that begin to differ or differ anew.

    `unknown` are the effects of the changed town that began here and whose result is unknown. `between` means that only the
    changed town has this tick: it was due after tick `tick`, when history was not.
    """

    tick: int
    time: Time
    only_in_history: Outputs
    only_now: Outputs
    rows: tuple[Difference, ...]
    unknown: tuple[UnknownEffect, ...] = ()
    between: bool = False

    @property
    def is_told(self) -> bool:
        """Whether it differs in more than the town's own bookkeeping, and in more than results that are unknown."""
        if any(row.table in WORK for row in self.rows) or any(each.why != "never_made" for each in self.unknown):
            return True
        return any(_is_told(side) for side in (self.only_in_history, self.only_now))

    @property
    def other_outputs(self) -> bool:
        """Whether the outputs differ, or an order that an effect carries."""
        return (
            self.only_in_history != Outputs()
            or self.only_now != Outputs()
            or any(each.why == "other_order" for each in self.unknown)
        )


def _is_told(side: Outputs) -> bool:
    events = (event for event in side.events if recorded_results.attempt_of(event.event_id) is None)
    return bool(side.actions or side.violations or any(events))


def parting_of(
    row: JournalRow, report: TickReport, rows: tuple[Difference, ...], unknown: tuple[UnknownEffect, ...] = ()
) -> Parting:
    """The differences between a journal row and the tick that was run in its place. Raises DamagedImage for an unreadable row."""
    then, now = outputs_in(row), outputs_in({**row, "outputs": report.outputs()})
    return Parting(row["tick_no"], time_of(row), _without(then, now), _without(now, then), rows, unknown)


def outputs_in(row: JournalRow) -> Outputs:
    """The outputs in a journal row. Raises DamagedImage."""
    try:
        return read(Outputs, row["outputs"])
    except ValidationError as error:
        place = first_error(error).place
        hint = "`townctl doctor` checks the town; `townctl replay` shows the tick"
        raise DamagedImage(
            f"the journal row of tick {row['tick_no']} cannot be read at outputs.{place}", hint=hint
        ) from error


def _without(left: Outputs, right: Outputs) -> Outputs:
    """The elements that `left` has more often than `right`, in order."""
    return Outputs(
        _rest(left.events, right.events),
        _rest(left.actions, right.actions),
        _rest(left.effects, right.effects),
        _rest(left.violations, right.violations),
    )


def _rest(each: Sequence[T], others: Sequence[T]) -> tuple[T, ...]:
    theirs = Counter(canonical.dumps(document(one)) for one in others)
    rest = []
    for one in each:
        text = canonical.dumps(document(one))
        if theirs[text]:
            theirs[text] -= 1
        else:
            rest.append(one)
    return tuple(rest)


def counted_actions(outputs: Iterable[Outputs]) -> dict[str, int]:
    """How many actions of each type there are."""
    found = Counter(str(judged.action["type"]) for each in outputs for judged in each.actions)
    return dict(sorted(found.items()))


# Comparing whole images after every tick would cost too much, so only rows that one of the towns has just written are compared.
# `_apart` remembers the rows that differ, with both values: a row is listed in the tick in which it begins to differ or
# differs in a new way, and not in the ticks in between. Example: a bead is open in history and in_progress in the changed
# town from tick 5 on: it is listed in tick 5 only. If history closes it in tick 9, it is listed again. Once the row is equal
# in both towns, it is forgotten.


class Comparison:
    """Compares history and the changed town, which start from the same image. Times exactly `shift` apart count as equal."""

    def __init__(self, history: Rerun, other: Rerun, shift: timedelta, *, other_config: bool) -> None:
        """From now on, note which rows each of them writes. With `other_config`, the configuration differs by request."""
        self._history = history
        self._other = other
        self._shift = shift
        self._ignored = frozenset({_CONFIG}) if other_config else frozenset()
        self._apart: dict[RowKey, tuple[StoredRow, StoredRow]] = {}
        self._watched = history.sql
        touched.watch(history.sql)
        touched.watch(other.sql)
        self.compared = 0
        self.between = 0
        self.events = 0
        self.actions: list[ActionOfTick] = []
        self.partings: list[Parting] = []

    @property
    def rows_apart(self) -> int:
        """The number of rows that differ now."""
        return len(self._apart)

    def rows(self) -> tuple[Difference, ...]:
        """The differences between the rows now; at most SHOWN of them."""
        return shown(self._differences(sorted(self._apart)))

    def compare(
        self, row: JournalRow, report: TickReport, unknown: tuple[UnknownEffect, ...], *, rows_too: bool
    ) -> None:
        """Compare a tick of history, from its journal row, with the tick of the changed town."""
        self.compared += 1
        self._count(row["tick_no"], report)
        changed = self._newly_apart(self._ignored) if rows_too else []
        parting = parting_of(row, report, shown(self._differences(changed)), unknown)
        if parting.rows or parting.other_outputs:
            self.partings.append(parting)

    def add(
        self, row: JournalRow, tick: int, report: TickReport, unknown: tuple[UnknownEffect, ...], *, rows_too: bool
    ) -> None:
        """Add a tick that only the changed town has, after tick `tick` of history. `row` is any journal row close to it."""
        self.between += 1
        self._count(tick, report)
        changed = self._newly_apart(self._ignored | _OF_EVERY_TICK) if rows_too else []
        did = outputs_in({**row, "outputs": report.outputs()})
        at = report.input.now - self._shift
        parting = Parting(tick, at, Outputs(), did, shown(self._differences(changed)), unknown, between=True)
        if parting.rows or parting.other_outputs:
            self.partings.append(parting)

    def _count(self, tick: int, report: TickReport) -> None:
        self.events += len(report.events)
        self.actions += [ActionOfTick.of(tick, report.input.now, action) for action in report.actions]

    def _newly_apart(self, ignored: frozenset[RowKey]) -> list[RowKey]:
        if self._history.sql is not self._watched:
            self._watched = self._history.sql
            touched.watch(self._watched)
        changed = []
        for key in sorted((touched.take(self._history.sql) | touched.take(self._other.sql)) - ignored):
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
        return all(left == right or shifted(left, right, self._shift) for left, right in zip(then, now, strict=True))

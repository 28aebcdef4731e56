"""Runs history and the changed town side by side, tick by tick, and compares them."""

from datetime import datetime
from typing import NamedTuple

from shared.domain.limits import ACTIVE_INTERVAL
from shared.domain.restores import restore_in
from shared.domain.times import to_text
from shared.history.journal_rows import JournalRows
from shared.history.rerun import time_of
from shared.images import summary
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.replay.faithful import SegmentedReplay
from shared.replay.time_window import Window
from shared.replay.what_if import between
from shared.replay.what_if.changed_town import ChangedTown
from shared.replay.what_if.comparison import Comparison
from shared.replay.what_if.recorded_orders import orders_of


class SideBySide:
    """Runs history and the changed town tick by tick, and compares them."""

    def __init__(
        self,
        again: SegmentedReplay,
        rows: JournalRows,
        changed: ChangedTown,
        comparison: Comparison,
        *,
        past: TownPast,
        at_most: int,
    ) -> None:
        """`at_most` is how many ticks the changed town may have between those of history."""
        self._again = again
        self._rows = rows
        self._changed = changed
        self._comparison = comparison
        self._past = past
        self._at_most = at_most
        self._last: _Last | None = None
        self.codes: dict[str, None] = {}
        self.notes: list[str] = []

    def run(self, window: Window) -> Steps[None]:
        """Run every tick of history in the window, and those of the changed town between them and up to its end."""
        again, end = self._again, window.end
        while (row := self._rows.next) is not None and time_of(row) <= end and again.can_run(row):
            restore = restore_in(row)
            if restore is not None:
                self.notes.append(f"tick {restore.tick}: {restore.says()}; the what-if ends before it")
                return
            if self._last is None:
                self._last = self._beginning(row, window.start)
            self._run_between(time_of(row))
            ran = yield from again.run(row)
            then = again.claimed
            if not ran.equal:
                then = (yield from orders_of(again.running.town_id, self._past, row)) or then
            report = self._changed.run(row)
            unknown = self._changed.compared(row, then, report.effects)
            self._comparison.compare(row, report, unknown, rows_too=not again.diverged)
            self.codes[row["code_version"]] = None
            self._last = _Last(row, row["tick_no"], report.input.now, ran.next_due_at, report.next_due)
        if again.stopped is None and again.divergence is None:
            self._run_between(end + ACTIVE_INTERVAL)

    def _beginning(self, row: JournalRow, start: datetime) -> "_Last":
        """The state before the first tick: both towns are alike, so only an event that is added makes the changed one tick."""
        running = self._again.running
        due = summary.before_tick(running.sql).next_due
        return _Last(row, running.tick_no, start + self._changed.overrides.shift, due, None)

    def _run_between(self, before: datetime) -> None:
        """Run the ticks that only the changed town has before history's next one at `before`."""
        last, shift = self._last, self._changed.overrides.shift
        if last is None or not self._are_apart(last):
            return
        looks = between.HistoryLooks(self._again.running, last.due_then, before=before)
        while True:
            woken = self._changed.inputs.wakes_at(last.at)
            at = between.own_time(last.due, woken, looks, last=last.at, before=before + shift, shift=shift)
            if at is None:
                break
            if self._comparison.between >= self._at_most:
                self._note_limit(at - shift)
                break
            report = self._changed.run_between(last.row, last.tick, at)
            unknown = self._changed.compared_between(last.tick, at - shift, report.effects)
            self._comparison.add(last.row, last.tick, report, unknown, rows_too=not self._again.diverged)
            last = last._replace(at=at, due=report.next_due)
        self._last = last

    def _are_apart(self, last: "_Last") -> bool:
        """Whether the changed town may be due when history is not."""
        apart = self._comparison.rows_apart or self._again.diverged
        return bool(apart) or self._changed.inputs.wakes_at(last.at) is not None

    def _note_limit(self, at: datetime) -> None:
        if not any("ticks of its own" in each for each in self.notes):
            self.notes.append(
                f"the changed town has had {self._at_most} ticks of its own at {to_text(at)}, which is the limit: "
                "from there on it only has those of history; choose a shorter window"
            )


class _Last(NamedTuple):
    """The last tick: when the changed town had it, and when each of the two is due next. `row` is that of a tick close to it."""

    row: JournalRow
    tick: int
    at: datetime
    due_then: datetime | None
    due: datetime | None

"""One window of one town, run with the installed code, whichever code made its ticks; and the same tick by tick.

`backtest` lets the code go its own way from the start of the window: what it did otherwise in one tick is what the next tick
starts from. `beside` starts every tick from what history committed before it, so that each difference is the tick's own.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from shared.domain.errors import Refused
from shared.domain.report import ClaimedEffect, TickReport
from shared.domain.restores import restore_in
from shared.domain.shapes import Time, answer
from shared.domain.times import to_text
from shared.engine.drain import error_text
from shared.history.journal_rows import JournalRows
from shared.history.rerun import rerun, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.replay.backtest.changes import Change, changes_of
from shared.replay.starting_point import kept_since, starting_point
from shared.replay.time_window import Window
from shared.replay.what_if.changed_town import ChangedTown
from shared.replay.what_if.comparison import Parting, parting_of
from shared.replay.what_if.overrides import Overrides, RecordedEffects
from shared.replay.what_if.recorded_orders import orders_of
from shared.runner.code_version import code_version

_AS_IT_WAS: Final = Overrides()


@answer
class WindowBacktest:
    """A window of a town that the installed code ran: the changes, and which code made the recorded ticks, with their number.

    `last_tick` is the last one that was run or left out. `warm_up_ticks` led from the image that is kept to the window; they
    are not compared. `failed` says in which tick the installed code failed, and how. If a rule, step or check failed, the tick went
    on without it, as a live one does; otherwise the window ends there.
    """

    town_id: str
    from_: Time
    to: Time
    code: str
    recorded_code: Mapping[str, int]
    ticks: int
    ticks_that_differ: int
    last_tick: int
    warm_up_ticks: int
    changes: tuple[Change, ...]
    failed: str | None
    notes: tuple[str, ...]


def backtest(town_id: str, past: TownPast, wanted: Window) -> Steps[WindowBacktest]:
    """Run a window with the installed code; of a window whose beginning is not kept, the rest. Raises UnknownTown, DamagedImage."""
    notes: list[str] = []
    try:
        base, rows = yield from starting_point(town_id, past, wanted.start)
    except Refused:
        since = yield from kept_since(town_id, past)
        notes.append(f"its history is kept from {to_text(since)} on")
        if since > wanted.end:
            return _Tally().answer(town_id, Window(wanted.end, wanted.end), notes)
        wanted = Window(since, wanted.end)
        base, rows = yield from starting_point(town_id, past, since)
    recorded = yield from _rows_until(rows, wanted)
    with rerun(base) as running:
        effects = RecordedEffects.of(recorded)
        changed = ChangedTown(running, _AS_IT_WAS, effects)
        tally = _Tally()
        for row, following in zip_longest(recorded, recorded[1:]):
            restore = restore_in(row)
            if restore is not None:
                kept = yield from past.after_tick(town_id, row["tick_no"])
                if not kept:
                    notes.append(
                        f"tick {restore.tick}: {restore.says()}, whose commit is not kept: the rest is left out"
                    )
                    break
                running.restart(kept[-1])
                changed = ChangedTown(running, _AS_IT_WAS, effects)
                continue
            report = tally.ran(changed, row)
            if report is None:
                break
            # where both towns have the same image, they have given the same orders, and no commit must be read
            same = following is not None and following["prev_image_digest"] == running.digest
            orders = report.effects if same else (yield from orders_of(town_id, past, row))
            tally.compare(changed, row, report, orders, is_shown=time_of(row) >= wanted.start)
    if changed.unread:
        notes.append(f"the orders of {changed.unread} recorded effects are not kept: their recorded results were taken")
    return tally.answer(town_id, wanted, notes)


def beside(town_id: str, past: TownPast, after: int, *, most: int | None = None) -> Steps[WindowBacktest | None]:
    """Run each tick after a tick with the installed code on what was committed before it; None if there is none.

    At most `most` of them are run. A tick whose beginning is not kept is left out, and a note says so.
    Raises UnknownTown, DamagedImage.
    """
    rows = JournalRows(past, town_id)
    yield from rows.start_after(after)
    tally, notes = _Tally(), list[str]()
    first = last = rows.next
    taken = 0
    while (row := rows.next) is not None and (most is None or taken < most):
        last = row
        taken += 1
        base = yield from past.up_to_tick(town_id, row["tick_no"] - 1)
        if restore_in(row) is not None:
            notes.append(f"tick {row['tick_no']} was a restore, which runs nothing")
        elif base is None or base.tick_no != row["tick_no"] - 1:
            notes.append(f"tick {row['tick_no']}: the commit before it is not kept, so it was left out")
        else:
            with rerun(base) as running:
                changed = ChangedTown(running, _AS_IT_WAS, replace(RecordedEffects.of((row,)), results={}))
                report = tally.ran(changed, row)
                if report is not None:
                    orders = yield from orders_of(town_id, past, row)
                    tally.compare(changed, row, report, orders, is_shown=True)
        yield from rows.advance()
    if first is None or last is None:
        return None
    tally.last_tick = last["tick_no"]
    return tally.answer(town_id, Window(time_of(first), time_of(last)), notes)


def joined(earlier: WindowBacktest, later: WindowBacktest) -> WindowBacktest:
    """Two windows of a town as one. Of two failures it has the first."""
    recorded = Counter(earlier.recorded_code)
    recorded.update(later.recorded_code)
    return replace(
        later,
        from_=earlier.from_,
        recorded_code=dict(recorded),
        ticks=earlier.ticks + later.ticks,
        ticks_that_differ=earlier.ticks_that_differ + later.ticks_that_differ,
        warm_up_ticks=earlier.warm_up_ticks + later.warm_up_ticks,
        changes=earlier.changes + later.changes,
        failed=earlier.failed or later.failed,
        notes=tuple(dict.fromkeys(earlier.notes + later.notes)),
    )


class _Tally:
    """What was run, and where it differs from the record."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}
        self._partings: list[Parting] = []
        self._ticks = 0
        self._warm_up = 0
        self.last_tick = 0
        self._failed: str | None = None

    def ran(self, changed: ChangedTown, row: JournalRow) -> TickReport | None:
        """Run a tick in the place of a recorded one; None if the code failed."""
        self.last_tick = row["tick_no"]
        try:
            return changed.run(row)
        except Exception as error:  # noqa: BLE001 - the code that is tried may fail in any way, and that is an answer
            self._failed = f"tick {row['tick_no']}: {error_text(error)}"
            return None

    def compare(
        self,
        changed: ChangedTown,
        row: JournalRow,
        report: TickReport,
        orders: tuple[ClaimedEffect, ...],
        *,
        is_shown: bool,
    ) -> None:
        """Compare a tick with the recorded one, which gave these orders."""
        unknown = changed.compared(row, orders, report.effects)
        if not is_shown:
            self._warm_up += 1
            return
        self._ticks += 1
        self._code[row["code_version"]] = self._code.get(row["code_version"], 0) + 1
        if failures := _failures_of(report) - _recorded_failures(row):
            self._failed = self._failed or f"tick {row['tick_no']}: {'; '.join(sorted(failures))}"
        parting = parting_of(row, report, (), unknown)
        if parting.other_outputs:
            self._partings.append(parting)

    def answer(self, town_id: str, wanted: Window, notes: list[str]) -> WindowBacktest:
        """What was found."""
        return WindowBacktest(
            town_id=town_id,
            from_=wanted.start,
            to=wanted.end,
            code=code_version(),
            recorded_code=self._code,
            ticks=self._ticks,
            ticks_that_differ=len(self._partings),
            last_tick=self.last_tick,
            warm_up_ticks=self._warm_up,
            changes=changes_of(self._partings),
            failed=self._failed,
            notes=tuple(notes),
        )


_FAILURES: Final = {"tick.rule_failed": "rule", "tick.step_failed": "step", "tick.check_failed": "check"}


def _failures_of(report: TickReport) -> set[str]:
    """What failed in a tick that went on without it: `rule beads.dispatch_ready: ZeroDivisionError: division by zero`."""
    return {_failure(event.name, event.data) for event in report.business_events if event.name in _FAILURES}


def _recorded_failures(row: JournalRow) -> set[str]:
    events = row["outputs"].get("business_events", ())
    return {_failure(event["name"], event["data"]) for event in events if event["name"] in _FAILURES}


def _failure(kind: str, data: Mapping[str, object]) -> str:
    return f"{_FAILURES[kind]} {data['name']}: {data['error']}"


def _rows_until(rows: JournalRows, wanted: Window) -> Steps[tuple[JournalRow, ...]]:
    found: list[JournalRow] = []
    while (row := rows.next) is not None and time_of(row) <= wanted.end:
        found.append(row)
        yield from rows.advance()
    return tuple(found)

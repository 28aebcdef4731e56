"""Faithful replay: runs the recorded ticks of a window again, and proves that the result of each equals its commit.

Ticks that were made by other code are run with the installed code; that is a what-if, not a replay. Once such a tick diverges,
the state is no longer history's. Where the installed code took over again, the replay returns to history's state, if the
commit at that point is kept.
"""

import json
from dataclasses import replace
from datetime import datetime

from shared.domain.report import ClaimedEffect, TickMetrics, TickReport
from shared.domain.restores import InPlaceRestore, next_after, restore_in
from shared.domain.shapes import document
from shared.engine.tick import run as run_tick
from shared.history import recorded_results
from shared.history.differences import has_former_outputs
from shared.history.journal_rows import JournalRows
from shared.history.rerun import Rerun, input_of, rerun, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, PastImage, TownPast
from shared.questions import snapshot
from shared.questions.pages import carried
from shared.replay import time_window
from shared.replay.judging import Judgement, TickJudge, missing
from shared.replay.replayed import (
    ActionOfTick,
    Divergence,
    Replay,
    ReplayedEffect,
    ReplayedTick,
    Segment,
    SegmentKind,
    StartedFrom,
)
from shared.replay.starting_point import starting_point
from shared.replay.time_window import PageLimits, Window
from shared.runner.code_version import code_version
from shared.town import database, journal, migrations
from shared.town.town_keys import TownKeys


def replay(town_id: str, past: TownPast, wanted: Window, *, page: PageLimits = time_window.WHOLE_DAY) -> Steps[Replay]:
    """Run a window again. Raises Refused (400) if it begins before the history that is kept, UnknownTown, DamagedImage.

    Nothing is written. The replay stops at the first divergence, or when a page is full; only a full page has a cursor.
    """
    newest = yield from past.newest(town_id)
    base, rows = yield from starting_point(town_id, past, wanted.start, after=wanted.resumed_after)
    with rerun(base) as running:
        again = SegmentedReplay(running, past, rows, newest)
        told: list[ReplayedTick] = []
        warm_up, size, cursor = 0, 0, None
        page_end = min(wanted.end, wanted.start + page.span)
        while (row := (yield from again.next_until(wanted.end))) is not None and again.can_run(row):
            restore = restore_in(row)
            if restore is not None:
                ended = yield from again.follow_restore(row, restore)
                if ended is not None and wanted.has(row["tick_no"], time_of(row)):
                    told.append(ended)
                if told and again.divergence is None and (yield from again.next_until(wanted.end)) is not None:
                    cursor = time_window.cursor_of(restore.tick, restore.at)
                    again.notes.append(_goes_on(restore))
                    break
                continue
            if told and (time_of(row) > page_end or len(told) >= page.ticks or (page.size and size > page.size)):
                cursor = time_window.cursor_of(told[-1].tick, told[-1].time)
                break
            tick = yield from again.run(row)
            if not wanted.has(tick.tick, tick.time):
                warm_up += 1
                continue
            told.append(tick)
            size += carried(json.dumps(document(tick))) if page.size else 0
        again.finish()
        seen = wanted.end if cursor is None else told[-1].time
        state = snapshot.town_state(running, seen)
        return Replay(
            town_id=town_id,
            from_=wanted.start,
            to=wanted.end,
            started_from=StartedFrom(base.txid, base.tick_no, base.committed_at, warm_up),
            exact=again.exact,
            divergence=again.divergence,
            stopped=again.stopped,
            segments=tuple(again.segments),
            events_replayed=sum(len(tick.events) for tick in told),
            actions=tuple(ActionOfTick.of(tick.tick, tick.time, action) for tick in told for action in tick.actions),
            ticks=again.with_results(told),
            state_snapshot=state.snapshot,
            next_actions=snapshot.next_actions(running, seen),
            as_of=state.as_of,
            notes=(*again.notes, *map(_passed_over, past.passed_over)),
            cursor=cursor,
        )


def _passed_over(problem: str) -> str:
    return f"{problem}: this past commit was passed over, so its ticks are not compared with it"


def _goes_on(restore: InPlaceRestore) -> str:
    return f"tick {restore.tick}: {restore.says()}; the ticks after it are on the next page"


class SegmentedReplay:
    """Runs recorded ticks again and judges them, in segments of one code version each.

    `running` is the town, `claimed` the effects of its last tick with their orders. `diverged` means that the state is no longer
    history's, because the result of a tick, or only the form of its journal row
    or of its image, differs from its commit: a tick from before a change of the schema is run after the migration.
    """

    def __init__(self, running: Rerun, past: TownPast, rows: JournalRows, newest: PastImage) -> None:
        """Run `rows` on `running`, and compare with what is kept in `past`."""
        self.running = running
        self._judge = TickJudge(past, newest, running)
        self._past = past
        self._rows = rows
        self._newest = newest
        with database.opened(newest.image) as sql:
            self._restores = TownKeys(sql).restores
        self.diverged = False
        self.claimed: tuple[ClaimedEffect, ...] = ()
        self.results: recorded_results.EffectResults = {}
        self.segments: list[Segment] = []
        self.divergence: Divergence | None = None
        self.stopped: str | None = None
        self.notes: list[str] = []

    @property
    def exact(self) -> bool:
        """Whether every tick was made by the installed code and equals its record."""
        return (
            self.divergence is None
            and self.stopped is None
            and all(segment.kind == "replay" and segment.equal for segment in self.segments)
        )

    def next_until(self, end: datetime) -> Steps[JournalRow | None]:
        """The next row that was recorded at most at `end`; None if there is none.

        Ticks that a restore discarded may be of a later time than the restore. They are passed over.
        """
        row = self._rows.next
        if row is None or time_of(row) <= end:
            return row
        restore = next_after(self._restores, row["tick_no"], until=end)
        if restore is None:
            return None
        yield from self._rows.start_after(restore.tick - 1)
        return self._rows.next

    def follow_restore(self, row: JournalRow, restore: InPlaceRestore) -> Steps[ReplayedTick | None]:
        """Continue from the commit of a restore in place. If it is not kept, `stopped` says so."""
        yield from self._rows.advance()
        judged = yield from self._judge.judged_restore(row, self._rows.next, restore)
        if judged is None:
            self.stopped = (
                f"tick {restore.tick}: {restore.says()}, and the new commit is not kept: start at a later time"
            )
            return None
        self.diverged, self.divergence = False, judged.divergence
        report = TickReport(
            self.running.town_id, input_of(row), quiet=False, metrics=TickMetrics(), next_due=restore.at
        )
        return replace(_replayed(report, self.running.digest, judged), restore=restore)

    def can_run(self, row: JournalRow) -> bool:
        """Whether a row can be run. If not, `divergence` or `stopped` says why."""
        if self.divergence is not None or self.stopped is not None:
            return False
        if restore_in(row) is not None:
            return True
        expected = self.running.tick_no + 1
        if row["tick_no"] != expected:
            self.divergence = missing(expected, row["tick_no"] - 1, time_of(row))
            return False
        if row["code_version"] != code_version() and migrations.pending(self.running.sql):
            self.stopped = self._why_not_runnable(row)
        return self.stopped is None

    def _why_not_runnable(self, row: JournalRow) -> str | None:
        """Why the installed code cannot run a tick from before a change of the schema; None if it can."""
        try:
            with database.opened(self.running.image) as copy:
                run_tick(copy, input_of(row), town_id=self.running.town_id)
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is the same
            return (
                f"tick {row['tick_no']} was made by code {row['code_version']} before the schema changed "
                f"({', '.join(migrations.pending(self.running.sql))}), and the installed code cannot run it "
                f"({type(error).__name__}): replay up to the tick before it with that release, or start at a later time"
            )
        return None

    def run(self, row: JournalRow) -> Steps[ReplayedTick]:
        """Run a row and judge it."""
        same_code = row["code_version"] == code_version()
        if same_code and self.diverged:
            yield from self._follow_history_again(row["tick_no"] - 1)
        diverged = self.diverged
        migrated = () if same_code else migrations.pending(self.running.sql)
        report = self.running.run(input_of(row))
        self.claimed = report.effects
        digest, outputs = self.running.digest, journal.outputs_of(report)
        yield from self._rows.advance()
        self.results |= recorded_results.in_row(row)
        if diverged:
            judged = self._judge.judged_by_outputs(row, outputs)
        else:
            judged = yield from self._judge.judged(
                row, self._rows.next, outputs, same_code=same_code, migrated=migrated
            )
            reshaped = bool(migrated) or has_former_outputs(row)
            self.diverged = judged.equal is False or (not same_code and reshaped)
        self.divergence = judged.divergence
        self._count(row, judged.equal, "replay" if same_code and not diverged else "what_if")
        return _replayed(report, digest, judged)

    def finish(self) -> None:
        """End the run. A journal that ends before the newest tick is a divergence."""
        if self._rows.next is None and self.divergence is None and self.running.tick_no < self._newest.tick_no:
            self.divergence = missing(
                self.running.tick_no + 1, self._newest.tick_no, self._newest.tick_at or self._newest.committed_at
            )

    def with_results(self, told: list[ReplayedTick]) -> tuple[ReplayedTick, ...]:
        """These ticks with the recorded results of their effects."""
        claimed = [effect for tick in told for effect in tick.effects]
        late = [effect for effect in claimed if (effect.effect_id, effect.attempt) not in self.results]
        results = self.results | recorded_results.of_today(self._newest.image, late)
        return tuple(tick.with_results(results) for tick in told)

    def _follow_history_again(self, tick_no: int) -> Steps[None]:
        """Continue from history's state after a tick, if it is kept: there the installed code took over from other code."""
        kept = yield from self._past.after_tick(self.running.town_id, tick_no)
        if kept:
            self.running.restart(kept[-1])
            self.diverged = False
        elif not any("is not kept" in note for note in self.notes):
            self.notes.append(
                f"the commit of tick {tick_no} is not kept: the following ticks continue from the what-if"
            )

    def _count(self, row: JournalRow, equal: bool | None, kind: SegmentKind) -> None:
        """Count a tick in its segment. The result of a segment is the worst of its ticks: different, then unknown, then equal."""
        last = self.segments[-1] if self.segments else None
        number, code = row["tick_no"], row["code_version"]
        if last is None or (last.code_version, last.kind) != (code, kind):
            self.segments.append(Segment(number, number, code, kind, equal))
            return
        both = (last.equal, equal)
        worst = False if False in both else None if None in both else True
        self.segments[-1] = Segment(last.first_tick, number, code, kind, worst)


def _replayed(report: TickReport, digest: str, judged: Judgement) -> ReplayedTick:
    given = report.input
    return ReplayedTick(
        tick=given.tick_no,
        tick_id=given.tick_id,
        time=given.now,
        code_version=given.code_version,
        events=report.events,
        actions=report.actions,
        effects=tuple(ReplayedEffect.of(effect) for effect in report.effects),
        violations=report.violations,
        next_due_at=report.next_due,
        digest=digest,
        equal=judged.equal,
        compared_by=judged.proof,
        differences=judged.differences,
        note=judged.note,
    )

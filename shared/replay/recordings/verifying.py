"""Verifies a recording: every tick is run again with the installed code and compared with the record.

The code version of a tick is part of its input, so another version alone changes nothing: every difference is a difference
in behaviour. The results are always computed anew: digests from the pages, rows from the writes of the tick.
"""

from collections.abc import Iterator
from typing import Literal

from shared.domain.errors import DamagedImage, SchemaMismatch, TownError
from shared.domain.report import AppliedEvent, BrokenInvariant, Claim, JudgedAction, TickMetrics, TickReport
from shared.domain.shapes import Time, answer
from shared.domain.tick import TickInput
from shared.history.differences import ABSENT, SHOWN, Difference, has_former_outputs, of_outputs, shown
from shared.history.rerun import Rerun, input_of, rerun, time_of
from shared.images import dump
from shared.questions import snapshot
from shared.questions.snapshot import AsOf, StateSnapshot, TownState
from shared.replay.judging import missing
from shared.replay.recordings import changes
from shared.replay.recordings.file_format import RecordedTick, Recording, base_digest, page_marks
from shared.replay.replayed import Divergence
from shared.replay.what_if.comparison import Parting, parting_of
from shared.runner.code_version import code_version
from shared.town import database, journal, migrations

CHANGED = "the tick was run again from its record, and its result differs"
BASE_CHANGED = "the image in the recording was changed"
NO_INPUT = "the input of the tick is incomplete"
FAILED = "the tick failed"


@answer
class RecordedBy:
    """The versions of code and SQLite that made a recording, and how many texts it masks."""

    code_version: str
    sqlite_version: str
    masked: int


@answer
class VerifiedTick:
    """What a recorded tick did this time."""

    tick: int
    time: Time
    events: tuple[AppliedEvent, ...]
    actions: tuple[JudgedAction, ...]
    effects: tuple[Claim, ...]
    violations: tuple[BrokenInvariant, ...]
    metrics: TickMetrics


@answer
class Verified:
    """The answer about a recording: `exact` if everything is as recorded. `partings` are the ticks that differ, as a diff.

    After the first difference the remaining ticks still run with their recorded inputs, to show its consequences. The state is
    null if the image in the recording was changed.
    """

    town_id: str
    first_tick: int
    last_tick: int
    recorded_by: RecordedBy
    exact: bool
    compared_by: Literal["image", "rows"]
    divergence: Divergence | None
    partings: tuple[Parting, ...]
    events_replayed: int
    ticks: tuple[VerifiedTick, ...]
    state_snapshot: StateSnapshot | None
    as_of: AsOf | None
    notes: tuple[str, ...]


def verify(recording: Recording) -> Verified:
    """Run the recorded ticks again. Whatever is wrong with the image or an input is reported as a divergence, not raised."""
    broken = _of_base(recording)
    if broken is not None:
        return _answer(recording, broken)
    try:
        with rerun(recording.base) as running:
            again = _Verification(recording, running)
            again.run_all()
            seen = again.reports[-1].input.now if again.reports else recording.base_at
            return _answer(recording, again.divergence, again, snapshot.town_state(running, seen))
    except Exception as error:  # noqa: BLE001 - a forged image may make any reader of its rows fail
        problem = error.message if isinstance(error, TownError) else f"{type(error).__name__}: {error}"
        difference = Difference("image", f"after tick {recording.base_tick}", "*", "a town", problem)
        return _answer(recording, Divergence(recording.base_tick, recording.base_at, (difference,), BASE_CHANGED))


class _Verification:
    """Runs the recorded ticks and compares each with the record."""

    def __init__(self, recording: Recording, running: Rerun) -> None:
        self._recording = recording
        self._running = running
        self.reports: list[TickReport] = []
        self.partings: list[Parting] = []
        self.divergence: Divergence | None = None
        self.notes: list[str] = []

    def run_all(self) -> None:
        """Run all recorded ticks. A missing tick is a divergence."""
        changes.watch(self._running)
        due = self._recording.base_tick + 1
        for tick in self._recording.ticks:
            if tick.row["tick_no"] != due:
                self._differs(missing(due, tick.row["tick_no"] - 1, time_of(tick.row)))
                return
            if not self._run(tick):
                return
            due += 1
        if due <= self._recording.last_tick:
            at = self.reports[-1].input.now if self.reports else self._recording.base_at
            self._differs(missing(due, self._recording.last_tick, at))

    def _run(self, tick: RecordedTick) -> bool:
        """Run one tick and compare it; False if the next one cannot be run."""
        number, at = tick.row["tick_no"], self._recording.base_at
        if self._stops_at_a_migration(tick):
            return False
        try:
            given = input_of(tick.row)
            at = given.now
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            column = f"inputs.{error.args[0]}" if isinstance(error, KeyError) else "inputs"
            got = ABSENT if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
            self._differs(Divergence(number, at, (Difference("ticks", str(number), column, "a value", got),), NO_INPUT))
            return False
        report = self._report_of(given)
        if report is None:
            return False
        self.reports.append(report)
        found = _first(self._differences(tick, report))
        if found:
            self._differs(Divergence(number, at, found, CHANGED))
            self._compare(tick, report, found)
        return True

    def _compare(self, tick: RecordedTick, report: TickReport, found: tuple[Difference, ...]) -> None:
        """Show the tick as a diff, if the outputs in the recording can be read; the differences are complete without it."""
        try:
            self.partings.append(parting_of(tick.row, report, found))
        except DamagedImage as error:
            self.notes.append(f"{error.message}: the tick is not shown as a diff")

    def _report_of(self, given: TickInput) -> TickReport | None:
        try:
            return self._running.run(given)
        except Exception as error:  # noqa: BLE001 - any error of a changed tick is reported as a difference
            got = f"{type(error).__name__}: {error}"
            difference = Difference("ticks", str(given.tick_no), "*", "a tick", got)
            self._differs(Divergence(given.tick_no, given.now, (difference,), FAILED))
            return None

    def _differences(self, tick: RecordedTick, report: TickReport) -> Iterator[Difference]:
        """The differences in rows, then those in outputs; digests only if nothing else shows what differs."""
        running, told = self._running, set()
        account = (*changes.differences(running, tick.changes, changes.of_tick(running)),)
        account += () if report.quiet else of_outputs(tick.row, journal.outputs_of(report))
        for difference in account:
            if str(difference) not in told:
                told.add(str(difference))
                yield difference
        if told or self.divergence is not None:
            return  # after the states have diverged, their digests always differ
        number = str(tick.row["tick_no"])
        rows = dump.logical_digest(running.sql)
        if rows != tick.logical_digest:
            yield Difference("image", f"after tick {number}", "logical digest", tick.logical_digest, rows)
        same_bytes = _same_sqlite(self._recording) and not has_former_outputs(tick.row)
        if same_bytes and running.digest != tick.image_digest:
            yield Difference("image", f"after tick {number}", "image digest", tick.image_digest, running.digest)

    def _stops_at_a_migration(self, tick: RecordedTick) -> bool:
        """Whether the next tick cannot be run because the recording has an older schema. A tick that migrated when it was
        recorded does so again and can be run.
        """
        pending = migrations.pending(self._running.sql)
        if not pending or ("town", "schema_version", "") in tick.changes:
            return False
        number = tick.row["tick_no"]
        reason = f"the recording is older than a schema change ({', '.join(pending)}): verify it with the release that made it"
        old, new = database.schema_version(self._running.sql), database.SCHEMA_VERSION
        difference = Difference("town", "schema_version", "value", old, new)
        self._differs(Divergence(number, time_of(tick.row), (difference,), reason))
        return True

    def _differs(self, divergence: Divergence) -> None:
        """Keep the first divergence."""
        self.divergence = self.divergence or divergence


def _answer(
    recording: Recording,
    divergence: Divergence | None,
    again: _Verification | None = None,
    state: TownState | None = None,
) -> Verified:
    """The answer; without `again` if no tick could be run."""
    reports = [] if again is None else again.reports
    return Verified(
        town_id=recording.town_id,
        first_tick=recording.base_tick + 1,
        last_tick=recording.last_tick,
        recorded_by=RecordedBy(recording.code_version, recording.sqlite_version, recording.masked),
        exact=divergence is None,
        compared_by="image" if _same_sqlite(recording) else "rows",
        divergence=divergence,
        partings=() if again is None else tuple(again.partings),
        events_replayed=sum(len(report.events) for report in reports),
        ticks=tuple(_verified(report) for report in reports),
        state_snapshot=None if state is None else state.snapshot,
        as_of=None if state is None else state.as_of,
        notes=(*_notes(recording), *(() if again is None else again.notes)),
    )


def _verified(report: TickReport) -> VerifiedTick:
    return VerifiedTick(
        tick=report.input.tick_no,
        time=report.input.now,
        events=report.events,
        actions=report.actions,
        effects=report.effects,
        violations=report.violations,
        metrics=report.metrics,
    )


def _of_base(recording: Recording) -> Divergence | None:
    """The divergence if the image in a recording was changed; None if it is intact."""
    try:
        digest, marks = base_digest(recording), page_marks(recording.image)
        if digest == recording.image_digest and marks == recording.page_marks:
            database.require_sound(recording.image)
            return None
    except (SchemaMismatch, DamagedImage) as error:
        unreadable = (Difference("image", f"after tick {recording.base_tick}", "*", "a town", error.message),)
        return Divergence(recording.base_tick, recording.base_at, unreadable, BASE_CHANGED)
    pages = max(len(marks), len(recording.page_marks))
    wanted, got = _padded(recording.page_marks, pages), _padded(marks, pages)
    found = tuple(
        Difference("image", f"page {number}", "bytes", left, right)
        for number, (left, right) in enumerate(zip(wanted, got, strict=True), start=1)
        if left != right
    )
    found = found or (Difference("image", "all pages", "image digest", recording.image_digest, digest),)
    return Divergence(recording.base_tick, recording.base_at, found[:SHOWN], BASE_CHANGED)


def _first(found: Iterator[Difference]) -> tuple[Difference, ...]:
    """The first differences in rows, and the first differences in the journal, which come last."""
    rows: list[Difference] = []
    told: list[Difference] = []
    for difference in found:
        (told if difference.table == "ticks" else rows).append(difference)
    return (*shown(rows), *shown(told))


def _padded(marks: tuple[str, ...], length: int) -> tuple[str, ...]:
    return (*marks, *("(no such page)",) * (length - len(marks)))


def _notes(recording: Recording) -> tuple[str, ...]:
    notes = []
    if not _same_sqlite(recording):
        notes.append(
            f"only rows are compared, not bytes: the recording was made with SQLite {recording.sqlite_version}, and this is "
            f"SQLite {database.SQLITE_VERSION}, which may lay out pages differently"
        )
    if recording.code_version != code_version():
        notes.append(f"recorded by code {recording.code_version}; the installed code is {code_version()}")
    return tuple(notes)


def _same_sqlite(recording: Recording) -> bool:
    return recording.sqlite_version == database.SQLITE_VERSION

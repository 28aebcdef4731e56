"""Verifies a recording: every tick is run again with the installed code and compared with the record.

The code version of a tick is part of its input, so another version alone changes nothing: every difference is a difference
in behaviour. The results are always computed anew: digests from the pages, rows from the writes of the tick.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.errors import SchemaMismatch, TownError
from shared.domain.report import TickReport
from shared.domain.shapes import document
from shared.domain.tick import TickInput
from shared.domain.times import to_text
from shared.history.differences import ABSENT, SHOWN, Difference, of_outputs
from shared.history.rerun import Rerun, input_of, rerun, time_of
from shared.images import dump
from shared.questions import snapshot
from shared.questions.snapshot import TownState
from shared.replay.judging import missing
from shared.replay.recordings import changes
from shared.replay.recordings.file_format import RecordedTick, Recording, base_digest, page_marks
from shared.replay.replayed import Divergence
from shared.replay.what_if.comparison import TickDifference, one_sided
from shared.runner.code_version import code_version
from shared.town import database, journal, migrations

CHANGED = "the tick was run again from its record, and its result differs"
BASE_CHANGED = "the image in the recording was changed"
NO_INPUT = "the input of the tick is incomplete"
FAILED = "the tick failed"


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of verifying a recording. `partings` are the ticks that differ, as a diff.

    After the first difference the remaining ticks still run with their recorded inputs, to show its consequences.
    """

    recording: Recording
    ticks: tuple[TickReport, ...]
    divergence: Divergence | None
    partings: tuple[TickDifference, ...]
    state: TownState | None
    notes: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether everything is as recorded."""
        return self.divergence is None

    def as_json(self) -> dict[str, Any]:
        """The answer of `townctl replay FILE`."""
        return {
            "townId": self.recording.town_id,
            "firstTick": self.recording.base_tick + 1,
            "lastTick": self.recording.last_tick,
            "recordedBy": {
                "codeVersion": self.recording.code_version,
                "sqliteVersion": self.recording.sqlite_version,
                "masked": self.recording.masked,
            },
            "exact": self.exact,
            "comparedBy": "image" if _same_sqlite(self.recording) else "rows",
            "divergence": None if self.divergence is None else self.divergence.as_json(),
            "partings": [parting.as_json() for parting in self.partings],
            "eventsReplayed": sum(len(report.events) for report in self.ticks),
            "ticks": [
                {"tick": report.input.tick_no, "time": to_text(report.input.now), **report.outputs()}
                for report in self.ticks
            ],
            "stateSnapshot": None if self.state is None else document(self.state.snapshot),
            "asOf": None if self.state is None else document(self.state.as_of),
            "notes": list(self.notes),
        }


def verify(recording: Recording) -> Verified:
    """Run the recorded ticks again. A damaged image or input is reported as a divergence, not raised."""
    broken = _of_base(recording)
    if broken is not None:
        return Verified(recording, (), broken, (), None, _notes(recording))
    try:
        with rerun(recording.base) as running:
            again = _Verification(recording, running)
            again.run_all()
            seen = again.reports[-1].input.now if again.reports else recording.base_at
            state = snapshot.town_state(running, seen)
            notes = (*_notes(recording), *again.notes)
            return Verified(recording, tuple(again.reports), again.divergence, tuple(again.partings), state, notes)
    except TownError as error:
        difference = Difference("image", f"after tick {recording.base_tick}", "*", "a town", error.message)
        broken = Divergence(recording.base_tick, recording.base_at, (difference,), BASE_CHANGED)
        return Verified(recording, (), broken, (), None, _notes(recording))


class _Verification:
    """Runs the recorded ticks and compares each with the record."""

    def __init__(self, recording: Recording, running: Rerun) -> None:
        self._recording = recording
        self._running = running
        self.reports: list[TickReport] = []
        self.partings: list[TickDifference] = []
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
        found = _shown(self._differences(tick, report))
        if found:
            self._differs(Divergence(number, at, found, CHANGED))
            self.partings.append(_parting(tick, report, found))
        return True

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
        if _same_sqlite(self._recording) and running.digest != tick.image_digest:
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


def _of_base(recording: Recording) -> Divergence | None:
    """The divergence if the image in a recording was changed; None if it is intact."""
    try:
        digest, marks = base_digest(recording), page_marks(recording.image)
    except SchemaMismatch as error:
        unreadable = (Difference("image", f"after tick {recording.base_tick}", "*", "a town", error.message),)
        return Divergence(recording.base_tick, recording.base_at, unreadable, BASE_CHANGED)
    if digest == recording.image_digest and marks == recording.page_marks:
        return None
    pages = max(len(marks), len(recording.page_marks))
    wanted, got = _padded(recording.page_marks, pages), _padded(marks, pages)
    found = tuple(
        Difference("image", f"page {number}", "bytes", left, right)
        for number, (left, right) in enumerate(zip(wanted, got, strict=True), start=1)
        if left != right
    )
    found = found or (Difference("image", "all pages", "image digest", recording.image_digest, digest),)
    return Divergence(recording.base_tick, recording.base_at, found[:SHOWN], BASE_CHANGED)


def _shown(found: Iterator[Difference]) -> tuple[Difference, ...]:
    """The first differences in rows, and the first differences in the journal, which come last."""
    rows: list[Difference] = []
    told: list[Difference] = []
    for difference in found:
        (told if difference.table == "ticks" else rows).append(difference)
    return (*rows[:SHOWN], *told[:SHOWN])


def _padded(marks: tuple[str, ...], length: int) -> tuple[str, ...]:
    return (*marks, *("(no such page)",) * (length - len(marks)))


def _parting(tick: RecordedTick, report: TickReport, found: tuple[Difference, ...]) -> TickDifference:
    then: Mapping[str, Any] = tick.row["outputs"]
    now = report.outputs()
    return TickDifference(
        tick_no=tick.row["tick_no"],
        at=report.input.now,
        events=one_sided(then["events"], now["events"]),
        actions=one_sided(then["actions"], now["actions"]),
        effects=one_sided(then["effects"], now["effects"]),
        violations=one_sided(then["violations"], now["violations"]),
        rows=found,
    )


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

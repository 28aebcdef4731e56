"""`townctl record`, and the replay of the file that it writes: recorded ticks that can be verified anywhere."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import Force, TownName, is_ago, require_new, window_asked, write_whole
from infra.townctl.context import TheContext
from infra.townctl.output import FOUND, OK, Answer, plain
from infra.townctl.summaries import action_line, code_of, event_line
from infra.townctl.wording import quantity
from infra.ui.short_ids import short
from shared.adapters import outside_files
from shared.domain.errors import DamagedImage, Refused
from shared.domain.shapes import answer, document
from shared.domain.times import to_text
from shared.history.differences import Difference
from shared.history.journal_rows import ticks_text
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.replay.recordings import file_format, making, verifying
from shared.replay.recordings.verifying import Verified
from shared.replay.replayed import Divergence
from shared.replay.starting_point import kept_since
from shared.replay.what_if.comparison import Parting

_PARTINGS_SHOWN: Final = 20
_DIFFERENCES_SHOWN: Final = 20


@answer
class WrittenFile:
    """A recording that was written: the file, its size in bytes, its ticks, and how many texts it masks."""

    file: str
    bytes: int
    first_tick: int
    last_tick: int
    masked: int


@answer
class RecordedWindow:
    """The answer of `townctl record`: the recording, or the problem because of which there is none."""

    town_id: str
    recording: WrittenFile | None
    problem: str | None = None
    divergence: Divergence | None = None


@answer
class ReplayedFile:
    """The answer of `townctl replay FILE`: what the replay of the recording found, or how the file is damaged."""

    file: str
    damage: str | None
    verified: Verified | None


def record(
    town_id: TownName,
    file: Annotated[Path, Parameter(help="The file to write; its name usually ends in .recording.")],
    /,
    *,
    from_: Annotated[
        str, Parameter(name="--from", help="The start, inclusive: 2026-01-10T12:00:00Z, or how long ago: 1h.")
    ],
    to: Annotated[str | None, Parameter(help="The end, inclusive; default: now.")] = None,
    force: Force = False,
    context: TheContext,
) -> Answer:
    """Write the ticks of a window to one file that can be replayed anywhere, without the texts that people wrote.

    The window is replayed first. If the replay diverges from history, nothing is written and the exit code is 1.
    """
    require_new(file, force=force, what="file")
    store = context.store()
    context.require_towns(store, town_id)
    wanted = window_asked(from_, to, now=context.clock_of(store, town_id).now)
    objects = context.objects()
    past = StoredPast(objects, objects)
    if is_ago(from_):  # who wrote how long ago means at most all that is kept
        wanted = replace(wanted, start=max(wanted.start, drive(kept_since(town_id, past))))
    made = drive(making.record(town_id, past, wanted))
    if made.recording is None:
        return _not_recorded(RecordedWindow(town_id, None, made.problem, made.history.divergence))
    body = file_format.to_bytes(made.recording)
    write_whole(file, body, what="file")
    last = made.recording.last_tick
    written = WrittenFile(str(file), len(body), made.recording.base_tick + 1, last, made.recording.masked)
    line = (
        f"wrote {ticks_text(written.first_tick, last)} of town {town_id} to {file}: "
        f"{quantity(written.bytes, 'byte')}, {quantity(written.masked, 'masked text')}; "
        f"to verify it anywhere: townctl replay {file}"
    )
    return Answer(RecordedWindow(town_id, written), (line,))


def _not_recorded(unproven: RecordedWindow) -> Answer:
    lines: list[RenderableType] = [Text(plain(f"nothing was written: {unproven.problem}"), style="bold")]
    if unproven.divergence is not None:
        lines += _differences(unproven.divergence.differences)
    return Answer(unproven, tuple(lines), FOUND)


def replay_file(path: Path, *, largest: int = file_format.LARGEST) -> Answer:
    """Replay a recording of at most `largest` bytes, packed or unpacked. Exit code 1 if it diverges or the file is damaged.

    Raises Refused.
    """
    try:
        body = outside_files.start_of(path, largest + 1)
    except OSError as error:
        hint = "give a file that `townctl record` wrote, or a town and --from"
        raise Refused(f"cannot read {path}: {error.strerror or error}", status=400, path="file", hint=hint) from error
    if len(body) > largest:
        hint = "if you trust the file, allow more with --largest MIB"
        raise Refused(f"{path} is larger than {largest >> 20} MiB", status=413, path="file", hint=hint)
    try:
        verified = verifying.verify(file_format.from_bytes(body, path.name, largest=largest))
    except DamagedImage as damage:
        damaged = ReplayedFile(str(path), damage.message, None)
        return Answer(damaged, (Text(plain(damage.message), style="bold"),), FOUND)
    shown = document(ReplayedFile(str(path), None, verified))
    return Answer(shown, tuple(view(verified)), OK if verified.exact else FOUND)


def view(verified: Verified) -> Iterator[RenderableType]:
    """A verified recording for people: the proof, or a diff of the ticks that diverge."""
    ticks = f"{ticks_text(verified.first_tick, verified.last_tick)} of {verified.town_id}"
    if verified.divergence is None:
        proof = "byte for byte" if verified.compared_by == "image" else "row for row"
        events = quantity(verified.events_replayed, "event")
        yield Text(f"{ticks}: {events}, every tick is as it was recorded, {proof}")
    else:
        divergence = verified.divergence
        yield Text(f"{ticks}: DIVERGES FROM THE RECORDING", style="bold")
        yield Text(plain(f"first difference in tick {divergence.tick}: {divergence.reason}"), style="bold")
        yield from _differences(divergence.differences)
        yield from _partings(verified.partings)
    for note in verified.notes:
        yield Text(plain(note))


def _differences(differences: Sequence[Difference]) -> Iterator[RenderableType]:
    """Each difference as recorded (`-`) and as replayed (`+`), one below the other: long values often differ only at their end."""
    for each in differences[:_DIFFERENCES_SHOWN]:
        yield Text(plain(f"  {each.table} {each.key} {each.column}"))
        yield Text(plain(f"    - {each.expected}"))
        yield Text(plain(f"    + {each.got}"))
    if len(differences) > _DIFFERENCES_SHOWN:
        yield Text(f"  and {len(differences) - _DIFFERENCES_SHOWN} more; --json shows all of them")


def _partings(partings: Sequence[Parting]) -> Iterator[RenderableType]:
    for parting in partings[:_PARTINGS_SHOWN]:
        rows = quantity(len(parting.rows), "different value")
        yield Text(f"tick {parting.tick} at {to_text(parting.time)}: {rows}")
        yield from (Text(line) for line in diff_of(parting))
    if len(partings) > _PARTINGS_SHOWN:
        yield Text(f"and {quantity(len(partings) - _PARTINGS_SHOWN, 'more tick')}; --json shows all of them")


def diff_of(parting: Parting) -> Iterator[str]:
    """The outputs of one tick that only the recording has (`-`) or that only the replay has (`+`), one line each."""
    for sign, side in (("-", parting.only_in_history), ("+", parting.only_now)):
        for event in side.events:
            yield plain(f"  {sign} {event_line(event)}")
        for judged in side.actions:
            yield plain(f"  {sign} {code_of(judged.rule)} {judged.rule} {action_line(judged)}")
        for effect in side.effects:
            yield plain(f"  {sign} effect {short(effect.effect_id)} attempt {effect.attempt}")
        for broken in side.violations:
            yield plain(f"  {sign} violation {broken.invariant}: {broken.message}")

"""`townctl record`, and the replay of the file that it writes: recorded ticks that can be verified anywhere."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import TownName, time_of, write_whole
from infra.townctl.context import TheContext
from infra.townctl.output import FOUND, OK, Answer, plain, short
from infra.townctl.summaries import action_line, code_of
from infra.townctl.wording import quantity
from shared.domain.answers import DifferenceAnswer
from shared.domain.errors import DamagedImage, Refused
from shared.history.journal_rows import ticks_text
from shared.history.retained_past import StoredPast
from shared.intake.asked_time import time_in
from shared.ports.steps import drive
from shared.replay.recordings import file_format, making, verifying
from shared.replay.replayed import Divergence
from shared.replay.time_window import window_of

_PARTINGS_SHOWN: Final = 20
_DIFFERENCES_SHOWN: Final = 20
_SIDES: Final = (("-", "onlyInHistory"), ("+", "onlyNow"))


def record(
    town_id: TownName,
    file: Annotated[Path, Parameter(help="The file to write; its name usually ends in .recording.")],
    /,
    *,
    from_: Annotated[str, Parameter(name="--from", help="The start, inclusive: 2026-01-10T12:00:00Z.")],
    to: Annotated[str | None, Parameter(help="The end, inclusive; default: now.")] = None,
    context: TheContext,
) -> Answer:
    """Write the ticks of a window to one file that can be replayed anywhere, without the texts that people wrote.

    The window is replayed first. If the replay diverges from history, nothing is written and the exit code is 1.
    """
    store = context.store()
    context.require_towns(store, town_id)
    now = context.clock_of(store, town_id).now()
    wanted = window_of(time_in(from_, "from", name="--from"), time_of(to, what="to") or now, now=now)
    objects = context.objects()
    made = drive(making.record(town_id, StoredPast(objects, objects), wanted))
    if made.recording is None:
        return _not_recorded(town_id, made.problem, made.history.divergence)
    body = file_format.to_bytes(made.recording)
    write_whole(file, body, what="file")
    document = {
        "townId": town_id,
        "file": str(file),
        "bytes": len(body),
        "firstTick": made.recording.base_tick + 1,
        "lastTick": made.recording.last_tick,
        "masked": made.recording.masked,
    }
    line = (
        f"wrote {ticks_text(made.recording.base_tick + 1, made.recording.last_tick)} of town {town_id} to {file}: "
        f"{quantity(len(body), 'byte')}, {quantity(made.recording.masked, 'masked text')}; "
        f"to verify it anywhere: townctl replay {file}"
    )
    return Answer(document, (line,))


def _not_recorded(town_id: str, problem: str | None, divergence: Divergence | None) -> Answer:
    found = None if divergence is None else divergence.as_json()
    lines: list[RenderableType] = [Text(plain(f"nothing was written: {problem}"), style="bold")]
    if found is not None:
        lines += _differences(found["differences"])
    document = {"townId": town_id, "file": None, "problem": problem, "divergence": found}
    return Answer(document, tuple(lines), FOUND)


def replay_file(path: Path) -> Answer:
    """Replay a recording. Exit code 1 if it diverges or the file is damaged. Raises Refused."""
    try:
        body = path.read_bytes()
    except OSError as error:
        hint = "give a file that `townctl record` wrote, or a town and --from"
        raise Refused(f"cannot read {path}: {error.strerror or error}", status=400, path="file", hint=hint) from error
    try:
        verified = verifying.verify(file_format.from_bytes(body, path.name))
    except DamagedImage as damage:
        document = {"file": str(path), "exact": False, "damage": damage.message}
        return Answer(document, (Text(plain(damage.message), style="bold"),), FOUND)
    document = {"file": str(path), **verified.as_json()}
    return Answer(document, tuple(view(document)), OK if verified.exact else FOUND)


def view(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A verified recording for people: the proof, or a diff of the ticks that diverge."""
    first, last = document["firstTick"], document["lastTick"]
    ticks = f"{ticks_text(first, last)} of {document['townId']}"
    events = quantity(document["eventsReplayed"], "event")
    if document["exact"]:
        proof = "byte for byte" if document["comparedBy"] == "image" else "row for row"
        yield Text(f"{ticks}: {events}, every tick is as it was recorded, {proof}")
    else:
        divergence = document["divergence"]
        yield Text(f"{ticks}: DIVERGES FROM THE RECORDING", style="bold")
        yield Text(plain(f"first difference in tick {divergence['tick']}: {divergence['reason']}"), style="bold")
        yield from _differences(divergence["differences"])
        yield from _partings(document["partings"])
    for note in document["notes"]:
        yield Text(plain(note))


def _differences(differences: list[DifferenceAnswer]) -> Iterator[RenderableType]:
    """Each difference as recorded (`-`) and as replayed (`+`), in full length: long values often differ only at their end."""
    for each in differences[:_DIFFERENCES_SHOWN]:
        yield Text(plain(f"  {each['table']} {each['key']} {each['column']}"))
        yield Text(plain(f"    - {each['expected']}"))
        yield Text(plain(f"    + {each['got']}"))
    if len(differences) > _DIFFERENCES_SHOWN:
        yield Text(f"  and {len(differences) - _DIFFERENCES_SHOWN} more; --json shows all of them")


def _partings(partings: list[Mapping[str, Any]]) -> Iterator[RenderableType]:
    for parting in partings[:_PARTINGS_SHOWN]:
        rows = quantity(len(parting["rows"]), "different value")
        yield Text(f"tick {parting['tick']} at {parting['time']}: {rows}")
        yield from (Text(line) for line in diff_of(parting))
    if len(partings) > _PARTINGS_SHOWN:
        yield Text(f"and {quantity(len(partings) - _PARTINGS_SHOWN, 'more tick')}; --json shows all of them")


def diff_of(parting: Mapping[str, Any]) -> Iterator[str]:
    """The outputs of one tick that only the recording has (`-`) or that only the replay has (`+`), one line each."""
    for sign, side in _SIDES:
        for event in parting["events"][side]:
            yield plain(f"  {sign} event {event['event_type']} {event['event_id']}: {event['outcome']}")
        for judged in parting["actions"][side]:
            yield plain(f"  {sign} {code_of(judged['rule'])} {judged['rule']} {action_line(judged)}")
        for effect in parting["effects"][side]:
            yield plain(f"  {sign} effect {short(effect['effect_id'])} attempt {effect['attempt']}")
        for broken in parting["violations"][side]:
            yield plain(f"  {sign} violation {broken['invariant']}: {broken['message']}")

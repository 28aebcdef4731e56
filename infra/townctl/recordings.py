"""`townctl record` and the replay of a file: ticks of a town to take along, and the proof that they come out the same."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.answers import FOUND, OK, Answer, plain, short
from infra.townctl.desk import Desk, TheDesk, TownName
from infra.townctl.past import write_whole
from infra.townctl.words import action_line, code_of
from shared.domain.answers import DifferenceAnswer
from shared.domain.errors import DamagedImage, Refused
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.replay.recordings import file_format, making, verifying
from shared.replay.time_window import window_of

_PARTINGS_SHOWN: Final = 20
_DIFFERENCES_SHOWN: Final = 20
_SIDES: Final = (("-", "onlyInHistory"), ("+", "onlyNow"))


def record(
    town_id: TownName,
    file: Annotated[Path, Parameter(help="The file to write, by custom with the ending .recording.")],
    /,
    *,
    from_: Annotated[str, Parameter(name="--from", help="The beginning: 2026-01-10T12:00:00Z. It belongs to it.")],
    to: Annotated[str | None, Parameter(help="The end, which belongs to it too; else now.")] = None,
    desk: TheDesk,
) -> Answer:
    """Write the ticks of a window into one file that can be replayed anywhere, without what people wrote.

    The window is replayed first; nothing is written if it is not proven to be what happened, and the exit code is 1.
    """
    store = desk.store()
    now = desk.clock_of(store, town_id).now()
    wanted = window_of(from_, to or now.isoformat(), now=now, restore_window=desk.around(store).restore_window)
    objects = desk.kept()
    made = drive(making.record(town_id, StoredPast(objects, objects), wanted))
    if made.recording is None:
        divergence = made.history.divergence
        lines: list[RenderableType] = [Text(plain(f"nothing was written: {made.problem}"), style="bold")]
        if divergence is not None:
            lines += _differences(divergence.as_json()["differences"])
        found = None if divergence is None else divergence.as_json()
        problem = {"townId": town_id, "file": None, "problem": made.problem, "divergence": found}
        return Answer(problem, tuple(lines), FOUND)
    body = file_format.to_bytes(made.recording)
    write_whole(file, body, path="file")
    document = {
        "townId": town_id,
        "file": str(file),
        "bytes": len(body),
        "firstTick": made.recording.base_tick + 1,
        "lastTick": made.recording.last_tick,
        "masked": made.recording.masked,
    }
    line = (
        f"{file}: ticks {document['firstTick']} to {document['lastTick']} of {town_id}, {len(body)} bytes, "
        f"{made.recording.masked} texts masked; to verify it anywhere: townctl replay {file}"
    )
    return Answer(document, (line,))


def replay_file(desk: Desk, path: Path) -> Answer:
    """Run a recording again. Exit code 1 if it comes out otherwise or the file is damaged. Raises Refused."""
    del desk  # a recording needs no town and no clock
    try:
        body = path.read_bytes()
    except OSError as error:
        hint = "name a file that `townctl record` has written, or a town with --from"
        raise Refused(f"cannot read {path}: {error.strerror or error}", status=400, path="file", hint=hint) from error
    try:
        verified = verifying.verify(file_format.from_bytes(body, path.name))
    except DamagedImage as damage:
        document = {"file": str(path), "exact": False, "damage": damage.message}
        return Answer(document, (Text(plain(damage.message), style="bold"),), FOUND)
    document = {"file": str(path), **verified.as_json()}
    return Answer(document, tuple(view(document)), OK if verified.exact else FOUND)


def view(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A verified recording for people: what is proven, or where it parts, as a diff."""
    first, last = document["firstTick"], document["lastTick"]
    ticks = f"ticks {first} to {last} of {document['townId']}"
    events = f"{document['eventsReplayed']} events"
    if document["exact"]:
        proof = "byte for byte" if document["comparedBy"] == "image" else "row for row"
        yield Text(f"{ticks}: {events}, every tick came out as it was recorded, {proof}")
    else:
        divergence = document["divergence"]
        yield Text(f"{ticks}: NOT AS RECORDED", style="bold")
        yield Text(plain(f"first difference in tick {divergence['tick']}: {divergence['reason']}"), style="bold")
        yield from _differences(divergence["differences"])
        yield from _partings(document["partings"])
    for note in document["notes"]:
        yield Text(plain(note))


def _differences(differences: list[DifferenceAnswer]) -> Iterator[RenderableType]:
    """Each place, with what was recorded (`-`) and what is now (`+`), uncut: long values often differ at their end."""
    for each in differences[:_DIFFERENCES_SHOWN]:
        yield Text(plain(f"  {each['table']} {each['key']} {each['column']}"))
        yield Text(plain(f"    - {each['expected']}"))
        yield Text(plain(f"    + {each['got']}"))
    if len(differences) > _DIFFERENCES_SHOWN:
        yield Text(f"  and {len(differences) - _DIFFERENCES_SHOWN} more (--json shows them)")


def _partings(partings: list[Mapping[str, Any]]) -> Iterator[RenderableType]:
    for parting in partings[:_PARTINGS_SHOWN]:
        yield Text(f"tick {parting['tick']} at {parting['time']}: {len(parting['rows'])} values differ")
        yield from (Text(line) for line in diff_of(parting))
    if len(partings) > _PARTINGS_SHOWN:
        yield Text(f"and {len(partings) - _PARTINGS_SHOWN} more ticks (--json shows them)")


def diff_of(parting: Mapping[str, Any]) -> Iterator[str]:
    """What one tick did (`-`) and does now (`+`), a line each."""
    for sign, side in _SIDES:
        for event in parting["events"][side]:
            yield plain(f"  {sign} event {event['event_type']} {event['event_id']}: {event['outcome']}")
        for judged in parting["actions"][side]:
            yield plain(f"  {sign} {code_of(judged['rule'])} {judged['rule']} {action_line(judged)}")
        for effect in parting["effects"][side]:
            yield plain(f"  {sign} effect {short(effect['effect_id'])} attempt {effect['attempt']}")
        for broken in parting["violations"][side]:
            yield plain(f"  {sign} violation {broken['invariant']}: {broken['message']}")

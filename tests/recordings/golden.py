"""The golden recordings as files: where they lie, how one is made of a story, what is said when one comes out otherwise."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from infra.townctl.recordings import diff_of
from shared.adapters.memory_objects import MemoryObjects
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.replay.recordings import file_format, making
from shared.replay.recordings.file_format import RecordedTick, Recording
from shared.replay.recordings.verifying import Verified
from shared.replay.time_window import Window
from tests.recordings.stories import STORIES, told
from tests.towns import MS, TOWN, T
from tests.worlds import World

FOLDER: Final = Path(__file__).parent
TAMPERED: Final = "tampered"
NAMES: Final = (*STORIES, TAMPERED)
_TAMPERED_STORY: Final = "cancelled"
_TICKS_SHOWN: Final = 5
_DIFFERENCES_SHOWN: Final = 8
ACCEPT: Final = "if this is what you want: make recordings-accept, and commit the files"


def path_of(name: str) -> Path:
    """Where a recording lies."""
    return FOLDER / f"{name}{file_format.SUFFIX}"


def read(name: str) -> Recording:
    """A recording of the repository."""
    return file_format.from_bytes(path_of(name).read_bytes(), name)


def made(name: str) -> Recording:
    """The recording of a story, told now with the code that is installed."""
    if name == TAMPERED:
        return tampered(made(_TAMPERED_STORY))
    world = told(STORIES[name])
    recorded = drive(making.record(TOWN, past_of(world), Window(T + MS, world.clock.now())))
    assert recorded.recording is not None, recorded.problem
    return recorded.recording


def past_of(world: World) -> StoredPast:
    """What is kept of a world in memory."""
    assert isinstance(world.objects, MemoryObjects)
    return StoredPast(world.objects, world.objects)


def tampered(genuine: Recording) -> Recording:
    """Somebody makes the past look as if another priority had been asked for."""
    ticks = list(genuine.ticks)
    for position, tick in enumerate(ticks):
        text = json.dumps(tick.row["inputs"])
        if "critical" in text:
            ticks[position] = replace(tick, row={**tick.row, "inputs": json.loads(text.replace("critical", "low"))})
            return replace(genuine, ticks=tuple(ticks))
    raise AssertionError("nobody asks for a priority in this story")


def same_story(old: Recording, new: Recording) -> bool:
    """Whether two recordings tell the same, whatever versions of the code they were made by."""
    return _content(old) == _content(new)


def complaint(name: str, verified: Verified) -> str:
    """What a developer reads whose change makes a recording come out otherwise; history is `-`, what happens now `+`."""
    return "\n".join(_lines(name, verified))


def _lines(name: str, verified: Verified) -> Iterator[str]:
    divergence = verified.divergence
    if divergence is None:
        yield f"{name}: every tick came out as it was recorded"
        return
    yield f"{name}: tick {divergence.tick} does not come out as it was recorded: {divergence.reason}"
    for difference in divergence.differences[:_DIFFERENCES_SHOWN]:
        yield f"    {difference}"
    if len(divergence.differences) > _DIFFERENCES_SHOWN:
        yield f"    and {len(divergence.differences) - _DIFFERENCES_SHOWN} more"
    shown = 0
    for parting in verified.partings:
        lines = list(diff_of(parting))
        if lines and shown < _TICKS_SHOWN:
            shown += 1
            yield f"  tick {parting.tick}"
            yield from lines
    yield f"  {len(verified.partings)} of {len(verified.ticks)} ticks come out otherwise"
    yield f"  {ACCEPT}"


def _content(one: Recording) -> list[Any]:
    return [one.base_tick, one.last_tick, *(_told(tick) for tick in one.ticks)]


def _told(tick: RecordedTick) -> Any:
    inputs = {name: value for name, value in tick.row["inputs"].items() if name != "prev_image_digest"}
    return tick.row["now"], inputs, tick.row["outputs"], tick.logical_digest

"""Recordings cut into single ticks, each with the image that stands before it: one tick is then judged alone."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import cache
from typing import Any

from shared.domain.times import from_text
from shared.history.rerun import Rerun, input_of
from shared.images import image_digest
from shared.ports.town_past import journal_row
from shared.replay.recordings.file_format import Recording, page_marks
from tests.recordings import golden


@cache
def slices(name: str) -> tuple[Recording, ...]:
    """One recording for each tick of a golden one."""
    whole = golden.read(name)
    found = []
    with closing(Rerun(whole.base)) as running:
        at = whole.base_at
        for tick in whole.ticks:
            found.append(
                replace(
                    whole,
                    image=running.image,
                    image_digest=image_digest.of_image(running.image),
                    page_marks=page_marks(running.image),
                    base_tick=running.tick_no,
                    base_at=at,
                    last_tick=tick.row["tick_no"],
                    ticks=(tick,),
                )
            )
            running.run(input_of(tick.row))
            at = from_text(tick.row["now"])
    return tuple(found)


def given(one: Recording, position: int = 0, **inputs: Any) -> Recording:
    """The recording with other inputs of one tick; what came of it is still history."""
    tick = one.ticks[position]
    return with_row(one, {"inputs": {**tick.row["inputs"], **inputs}}, position)


def with_row(one: Recording, columns: Mapping[str, Any], position: int = 0) -> Recording:
    """The recording with other columns in one journal row."""
    ticks = list(one.ticks)
    ticks[position] = replace(ticks[position], row=journal_row({**ticks[position].row, **columns}))
    return replace(one, ticks=tuple(ticks))

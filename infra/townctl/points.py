"""`townctl points`: the commits that a town can be restored to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.arguments import TownName, require_limit
from infra.townctl.output import Answer, plain, table
from infra.townctl.place import ThePlace
from infra.townctl.summaries import settings_words
from infra.townctl.wording import quantity
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.questions.filters import POINTS_AT_MOST

if TYPE_CHECKING:
    from shared.questions.point_list import PointList

_A_TICK: Final = 2**53


def points(
    town_id: TownName,
    /,
    *,
    limit: Annotated[int, Parameter(help=f"The maximum number of restore points, 1 to {POINTS_AT_MOST}.")] = 20,
    before: Annotated[
        str | None,
        Parameter(
            help="Only commits from before a tick (its number) or an event (its id); the first one goes back behind it."
        ),
    ] = None,
    place: ThePlace,
) -> Answer:
    """List the newest commits that a town can be restored to, with the settings that each changed, and their total number."""
    require_limit(limit, POINTS_AT_MOST)
    tick = None if before is None else _tick_of(place, town_id, before)
    found = place.points(town_id, limit=limit, before=tick)
    changed: dict[int, list[str]] = {}
    for event in found.settings:
        changed.setdefault(event.tick, []).append(settings_words(event))
    is_mixed = len({(point.kind, point.epoch) for point in found.points}) > 1
    more = ("kept as", "restores before") if is_mixed else ()
    rows = [
        (
            point.txid,
            to_text(point.time),
            point.tick,
            plain("; ".join(changed.get(point.tick or 0, ()))),
            point.size,
            *((point.kind, point.epoch) if is_mixed else ()),
        )
        for point in found.points
    ]
    shown = f"{len(found.points)} of {quantity(found.total, 'restore point')}"
    return Answer(
        found,
        (
            table("txid", "time", "tick", "settings changed", "bytes", *more, rows=rows),
            Text(shown),
            *(_back_to(found, tick) if tick is not None and found.points else ()),
            *map(Text, found.notes),
        ),
    )


def _tick_of(place: ThePlace, town_id: str, word: str) -> int:
    """The tick that a word names: its number, or the id of an event that it processed. Raises Refused."""
    if word.isascii() and word.isdecimal() and 0 < int(word) < _A_TICK:
        return int(word)
    tick = place.event(town_id, word).event.tick
    if tick is None:
        hint = f"`townctl event show {town_id} {word}` says what is known of it"
        raise Refused(f"no tick is known that processed event {word}", status=404, path="before", hint=hint)
    return tick


def _back_to(found: PointList, tick: int) -> Iterator[Text]:
    town, txid = found.town_id, found.points[0].txid
    yield Text(f"commit {txid} is the newest from before tick {tick}; to look at it or to go back to it:")
    yield Text(f"  townctl restore {town} --txid {txid} --to {town}.db")
    yield Text(f"  townctl restore {town} --txid {txid} --in-place")

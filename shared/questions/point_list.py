"""The commits that a town can be restored to, newest first, and how many there are."""

from typing import Final, Literal

from shared.domain.shapes import Time, answer
from shared.ports.steps import Steps
from shared.storage.restore import Archive

POINTS: Final = 20
POINTS_AT_MOST: Final = 200


@answer
class Point:
    """A commit that can be restored. `tick` is null if only a spill or snapshot is left, because neither records it."""

    txid: int
    time: Time
    size: int
    kind: Literal["head", "spill", "snapshot"]
    tick: int | None


@answer
class PointList:
    """The newest restore points, newest first; `total` is the number of all of them."""

    town_id: str
    points: tuple[Point, ...]
    total: int


def points(archive: Archive, *, limit: int = POINTS) -> Steps[PointList]:
    """The newest restore points of a town. Raises UnknownTown."""
    found = yield from archive.points(limit=limit)
    total = yield from archive.count_points()
    shown = tuple(Point(each.txid, each.time, each.size, each.kind, each.tick_no) for each in found)
    return PointList(archive.town_id, shown, total)

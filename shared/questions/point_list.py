"""The commits that a town can be restored to, newest first, and their number."""

from shared.domain.shapes import answer
from shared.ports.steps import Steps
from shared.questions.filters import POINTS
from shared.storage.restore import KeptPast, RestorePoint


@answer
class PointList:
    """The newest restore points, newest first; `total` counts all restore points of the town.

    Points with a smaller `epoch` are from before a restore in place. `notes` say it if the newest commit cannot be read.
    """

    town_id: str
    points: tuple[RestorePoint, ...]
    total: int
    notes: tuple[str, ...] = ()


def points(kept: KeptPast, *, limit: int = POINTS) -> Steps[PointList]:
    """The newest restore points of a town. Raises UnknownTown."""
    found = yield from kept.points(limit=limit)
    total = yield from kept.count_points()
    return PointList(kept.town_id, tuple(found), total, (yield from kept.lost()))

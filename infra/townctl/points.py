"""`townctl points`: the commits that a town can be restored to."""

from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.arguments import TownName, require_limit
from infra.townctl.output import Answer, table
from infra.townctl.place import ThePlace
from infra.townctl.wording import quantity
from shared.domain.times import to_text
from shared.questions.filters import POINTS_AT_MOST


def points(
    town_id: TownName,
    /,
    *,
    limit: Annotated[int, Parameter(help=f"The maximum number of restore points, 1 to {POINTS_AT_MOST}.")] = 20,
    place: ThePlace,
) -> Answer:
    """List the newest commits that a town can be restored to, and their total number."""
    require_limit(limit, POINTS_AT_MOST)
    found = place.points(town_id, limit=limit)
    rows = [
        (point.txid, to_text(point.time), point.tick, point.size, point.kind, point.epoch) for point in found.points
    ]
    shown = f"{len(found.points)} of {quantity(found.total, 'restore point')}"
    return Answer(
        found,
        (
            table("txid", "time", "tick", "bytes", "kept as", "restores before", rows=rows),
            Text(shown),
            *map(Text, found.notes),
        ),
    )

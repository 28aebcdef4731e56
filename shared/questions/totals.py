"""How many beads of a list there are in all, so that a page can say of how many it shows some."""

import sqlite3
from itertools import product
from typing import Final

from shared.domain.states import BeadStatus, BeadType
from shared.questions.filters import BeadFilter
from shared.questions.pages import LOOKED_AT_MOST

LIVE: Final = tuple(status.value for status in BeadStatus if not status.terminal)
STATUSES: Final = tuple(status.value for status in BeadStatus)
TYPES: Final = tuple(kind.value for kind in BeadType if kind is not BeadType.AGENT)
_OF_KIND: Final = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM beads b WHERE b.type = :type AND b.status = :status "
    "AND (:rig IS NULL OR b.rig_id = :rig) LIMIT :most)"
)
_OF_CONVOY: Final = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id "
    "WHERE d.depends_on_bead_id = :convoy AND d.dependency_type = 'tracks' AND b.type = :type AND b.status = :status "
    "AND (:rig IS NULL OR b.rig_id = :rig) LIMIT :most)"
)


def types_of(wanted: BeadFilter) -> tuple[str, ...]:
    """The types that match. Without a filter, agents are left out."""
    return TYPES if wanted.type is None else (wanted.type,)


def statuses_of(wanted: BeadFilter) -> tuple[str, ...]:
    """The statuses that match."""
    return LIVE if wanted.status == "live" else STATUSES if wanted.status is None else (wanted.status,)


def total_of(sql: sqlite3.Connection, wanted: BeadFilter) -> int | None:
    """How many beads of an image match; None if there are more than LOOKED_AT_MOST, or if texts or labels would have to be read."""
    if wanted.text is not None or wanted.label is not None:
        return None
    query, total = _OF_KIND if wanted.convoy is None else _OF_CONVOY, 0
    for kind, status in product(types_of(wanted), statuses_of(wanted)):
        most = LOOKED_AT_MOST + 1 - total
        given = {"type": kind, "status": status, "rig": wanted.rig, "convoy": wanted.convoy, "most": most}
        total += sql.execute(query, given).fetchone()[0]
        if total > LOOKED_AT_MOST:
            return None
    return total

"""Lists of beads and convoys, closed ones too, newest first; in pages, because a town keeps a hundred thousand closed beads.

Each kind of bead is read in the order of its index, and the kinds are merged. So a page reads only the rows that it looks at.
"""

import heapq
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

from shared.domain.shapes import answer
from shared.domain.states import BeadStatus, BeadType
from shared.ports.steps import Steps
from shared.ports.town_store import TownStore
from shared.questions.pages import LIMIT, LOOKED_AT_MOST, cursor_of, place_of
from shared.town import database

StatusFilter = Literal["live", "open", "in_progress", "in_review", "closed", "failed"]
TypeFilter = Literal["issue", "message", "escalation", "merge_request", "convoy", "molecule", "agent"]
ConvoyState = Literal["failed", "landed", "staged", "active"]

_LIVE: Final = tuple(status.value for status in BeadStatus if not status.terminal)
_STATUSES: Final = tuple(status.value for status in BeadStatus)
_TYPES: Final = tuple(kind.value for kind in BeadType if kind is not BeadType.AGENT)
_COLUMNS: Final = (
    "b.bead_id, b.type, b.status, b.title, b.rig_id, b.parent_bead_id, b.assignee_agent_bead_id, b.priority, b.labels, "
    "b.created_at, b.updated_at, b.closed_at"
)
_OF_KIND: Final = (
    f"SELECT {_COLUMNS}, b.body FROM beads b WHERE b.type = :type AND b.status = :status "  # noqa: S608 - a constant
    "AND (b.created_at, b.bead_id) < (:created_at, :bead_id) ORDER BY b.created_at DESC, b.bead_id DESC"
)
_OF_CONVOY: Final = (
    f"SELECT {_COLUMNS}, b.body FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id "  # noqa: S608 - as above
    "WHERE d.depends_on_bead_id = :convoy AND d.dependency_type = 'tracks' "
    "AND (b.created_at, b.bead_id) < (:created_at, :bead_id) ORDER BY b.created_at DESC, b.bead_id DESC"
)
_AFTER_EVERYTHING: Final = ("~", "")  # no time begins with a tilde


@dataclass(frozen=True, slots=True)
class BeadFilter:
    """Which beads are wanted: all of these at once. Without `type`, all but the agents. `text` is looked for in id, title, body."""

    status: StatusFilter | None = None
    type: TypeFilter | None = None
    convoy: str | None = None
    rig: str | None = None
    label: str | None = None
    text: str | None = None


@answer
class BeadEntry:
    """A bead, for lists. Labels that are not a JSON list of texts are left out."""

    bead_id: str
    type: str
    status: str
    title: str
    rig_id: str | None
    parent_bead_id: str | None
    assignee_agent_bead_id: str | None
    priority: str
    labels: tuple[str, ...]
    created_at: str
    updated_at: str
    closed_at: str | None


@answer
class BeadList:
    """A page of beads, newest first. `next` is the `cursor` of the next page, null on the last one.

    A page may have fewer beads than the limit, even none, while `next` leads on: then its filter took few of those it looked at.
    """

    town_id: str
    beads: tuple[BeadEntry, ...]
    next: str | None


@answer
class ConvoyEntry:
    """A convoy, for lists, with its state: failed, landed (closed), staged or active. `total` and `done` count its beads."""

    bead_id: str
    status: str
    state: ConvoyState
    title: str
    staged: bool
    total: int
    done: int
    merge_mode: str | None
    feature_branch: str | None
    created_at: str
    landed_at: str | None


@answer
class ConvoyList:
    """A page of convoys, live or not, newest first. `next` is the `cursor` of the next page, null on the last one."""

    town_id: str
    convoys: tuple[ConvoyEntry, ...]
    next: str | None


def beads(
    town_id: str, store: TownStore, wanted: BeadFilter, *, limit: int = LIMIT, cursor: str | None = None
) -> Steps[BeadList]:
    """A page of the beads that are wanted. Raises Refused (422) for a wrong cursor, UnknownTown."""
    place = _place(cursor)
    image = yield from store.load(town_id)
    with database.opened(image.content) as sql:
        database.check_identity(sql, town_id)
        found, following = _page(sql, wanted, limit=limit, place=place)
    return BeadList(town_id, tuple(found), following)


def convoys(town_id: str, store: TownStore, *, limit: int = LIMIT, cursor: str | None = None) -> Steps[ConvoyList]:
    """A page of the town's convoys. Raises Refused (422) for a wrong cursor, UnknownTown."""
    place = _place(cursor)
    image = yield from store.load(town_id)
    with database.opened(image.content) as sql:
        database.check_identity(sql, town_id)
        found, following = _page(sql, BeadFilter(type="convoy"), limit=limit, place=place)
        shown = tuple(_convoy(sql, bead) for bead in found)
    return ConvoyList(town_id, shown, following)


def _place(cursor: str | None) -> tuple[str, str]:
    if cursor is None:
        return _AFTER_EVERYTHING
    created_at, bead_id = place_of(cursor, str, str)
    return created_at, bead_id


def _page(
    sql: sqlite3.Connection, wanted: BeadFilter, *, limit: int, place: tuple[str, str]
) -> tuple[list[BeadEntry], str | None]:
    """The next beads after a place that are wanted, and the cursor of the page after them."""
    found: list[BeadEntry] = []
    last = place
    for looked_at, (bead, body) in enumerate(_newest_first(sql, wanted, place)):
        if len(found) == limit or looked_at == LOOKED_AT_MOST:
            return found, cursor_of(last)
        last = (bead.created_at, bead.bead_id)
        if _fits(bead, body, wanted):
            found.append(bead)
    return found, None


def _newest_first(
    sql: sqlite3.Connection, wanted: BeadFilter, place: tuple[str, str]
) -> Iterator[tuple[BeadEntry, str | None]]:
    """The beads of the wanted types and statuses after a place. Rows are read as they are needed."""
    start = {"created_at": place[0], "bead_id": place[1]}
    types = _TYPES if wanted.type is None else (wanted.type,)
    statuses = _LIVE if wanted.status == "live" else _STATUSES if wanted.status is None else (wanted.status,)
    if wanted.convoy is not None:
        rows = map(_read, sql.execute(_OF_CONVOY, {**start, "convoy": wanted.convoy}))
        yield from ((bead, body) for bead, body in rows if bead.type in types and bead.status in statuses)
        return
    kinds = [
        map(_read, sql.execute(_OF_KIND, {**start, "type": kind, "status": status}))
        for kind, status in product(types, statuses)
    ]
    yield from heapq.merge(*kinds, key=lambda read: (read[0].created_at, read[0].bead_id), reverse=True)


def _read(row: tuple[str, ...]) -> tuple[BeadEntry, str | None]:
    (
        bead_id,
        kind,
        status,
        title,
        rig_id,
        parent,
        assignee,
        priority,
        labels,
        created_at,
        updated_at,
        closed_at,
        body,
    ) = row
    bead = BeadEntry(
        bead_id=bead_id,
        type=kind,
        status=status,
        title=title,
        rig_id=rig_id,
        parent_bead_id=parent,
        assignee_agent_bead_id=assignee,
        priority=priority,
        labels=_labels(labels),
        created_at=created_at,
        updated_at=updated_at,
        closed_at=closed_at,
    )
    return bead, body


def _labels(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except ValueError:
        return ()
    return tuple(label for label in found if isinstance(label, str)) if isinstance(found, list) else ()


def _fits(bead: BeadEntry, body: str | None, wanted: BeadFilter) -> bool:
    if wanted.rig is not None and bead.rig_id != wanted.rig:
        return False
    if wanted.label is not None and wanted.label not in bead.labels:
        return False
    if wanted.text is None:
        return True
    sought = wanted.text.casefold()
    return any(sought in each.casefold() for each in (bead.bead_id, bead.title, body or ""))


def _convoy(sql: sqlite3.Connection, bead: BeadEntry) -> ConvoyEntry:
    row = sql.execute(
        "SELECT staged, total_beads, closed_beads, merge_mode, feature_branch, landed_at "
        "FROM convoy_metadata WHERE bead_id = :id",
        {"id": bead.bead_id},
    ).fetchone()
    staged, total, done, merge_mode, branch, landed_at = row or (0, 0, 0, None, None, None)
    return ConvoyEntry(
        bead_id=bead.bead_id,
        status=bead.status,
        state=_state(bead.status, staged=bool(staged)),
        title=bead.title,
        staged=bool(staged),
        total=total,
        done=done,
        merge_mode=merge_mode,
        feature_branch=branch,
        created_at=bead.created_at,
        landed_at=landed_at,
    )


def _state(status: str, *, staged: bool) -> ConvoyState:
    if status == BeadStatus.FAILED:
        return "failed"
    if status == BeadStatus.CLOSED:
        return "landed"
    return "staged" if staged else "active"

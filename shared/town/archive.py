"""The archive of a town: beads that have ended leave the image with all that belongs to them, and come back when they are named.

It works as with journal rows. A block of the families that may leave is published from committed state; the tick that is told so
(`TickInput.archived`) removes those that still may leave and have not changed. So every bead is always in the image or in a block.
Before a tick, the runner looks up the ids that its new events name and the image does not know. What it finds is part of the tick's
input (`TickInput.returned`) and is put back before anything else, so that every event meets the beads that it would have met.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from shared.domain import canonical, limits
from shared.domain.config import TownConfig
from shared.domain.errors import RowUnreadable
from shared.domain.images import ArchiveBlock, Record
from shared.domain.notes import BeadNotes
from shared.domain.states import BeadStatus
from shared.domain.tick import Archived
from shared.domain.times import from_text
from shared.town import database, families, lookup
from shared.town.columns import columns_of
from shared.town.families import Horizons
from shared.town.rows import object_of
from shared.town.town import Town
from shared.town.town_keys import TownKeys

FORMAT: Final = 1
_OF_A_BEAD: Final = "bead_id IN (SELECT value FROM json_each(:ids))"
_TABLES: Final[Mapping[str, tuple[str, str]]] = {
    "bead_dependencies": (
        f"{_OF_A_BEAD} OR depends_on_bead_id IN (SELECT value FROM json_each(:ids))",  # noqa: S608 - constants
        "bead_id, depends_on_bead_id",
    ),
    "bead_events": (_OF_A_BEAD, "seq"),
    "review_metadata": (_OF_A_BEAD, "bead_id"),
    "convoy_metadata": (_OF_A_BEAD, "bead_id"),
    "escalation_metadata": (_OF_A_BEAD, "bead_id"),
    "usage_sums": (
        "kind IN ('bead', 'convoy') AND subject IN (SELECT value FROM json_each(:ids))",
        "kind, subject",
    ),
    "beads": (_OF_A_BEAD, "bead_id"),
}
"""Which rows of each table belong to a family, and their order. The beads come last, because the other rows refer to them."""


def block_to_publish(sql: sqlite3.Connection) -> ArchiveBlock | None:
    """The families that leave the committed image next; None if there are too few, or it is not the time to look.

    It depends only on the image, so that every worker that starts from it makes the same block.
    """
    if database.schema_version(sql) != database.SCHEMA_VERSION:
        return None
    keys = TownKeys(sql)
    now = keys.last_tick_at
    if now is None or not _is_time_to_look(sql, keys.tick_no, now):
        return None
    until = Horizons.at(now, TownConfig.model_validate(keys.config))
    if not families.worth_a_look(sql, until):
        return None
    ready = families.ready(sql, until)
    late = any(families.is_late(family, until) for family in ready)
    if not late and sum(len(family.bead_ids) for family in ready) < limits.ARCHIVE_BEADS:
        return None
    return _block_of(sql, [family.bead_ids for family in ready])


def _is_time_to_look(sql: sqlite3.Connection, tick_no: int, now: datetime) -> bool:
    """Looking takes as long as a tick or more, so a town that ticks often looks only now and then."""
    if tick_no % limits.ARCHIVE_LOOK_EVERY == 0:
        return True
    before = sql.execute("SELECT now FROM ticks WHERE tick_no = :n", {"n": tick_no - 1}).fetchone()
    return before is None or now - from_text(before[0]) >= limits.ARCHIVE_LOOK_IF_RARE


def _block_of(sql: sqlite3.Connection, ready: Iterable[Sequence[str]]) -> ArchiveBlock | None:
    records: list[str] = []
    bead_ids: list[str] = []
    size = 0
    for members in ready:
        text = canonical.dumps(record_of(sql, members))
        if records and (
            len(bead_ids) + len(members) > limits.ARCHIVE_BEADS_AT_MOST or size + len(text) > limits.ARCHIVE_BLOCK_BYTES
        ):
            break
        records.append(text)
        bead_ids += members
        size += len(text)
    if not records:
        return None
    body = f'{{"families":[{",".join(records)}],"format":{FORMAT}}}'
    return ArchiveBlock(tuple(sorted(bead_ids)), body.encode())


def record_of(sql: sqlite3.Connection, bead_ids: Sequence[str]) -> Record:
    """The rows of these beads, whole."""
    ids = canonical.dumps(list(bead_ids))
    record: dict[str, Any] = {}
    for table, (which, order) in _TABLES.items():
        columns = columns_of(table)
        found = sql.execute(
            f"SELECT {', '.join(columns)} FROM {table} WHERE {which} ORDER BY {order}",  # noqa: S608 - constants
            {"ids": ids},
        )
        rows = [
            {name: value for name, value in zip(columns, row, strict=True) if value is not None}
            for row in found.fetchall()
        ]
        if table == "beads":
            rows = [_marked(sql, row) for row in rows]
        if rows:
            record[table] = rows
    return record


def _marked(sql: sqlite3.Connection, row: dict[str, Any]) -> dict[str, Any]:
    """A bead's row; `assigned` says that its assignee is an agent, which may be deleted in the meantime."""
    assignee = row.get("assignee_agent_bead_id")
    return {**row, "assigned": True} if assignee is not None and _is_agent(sql, assignee) else row


def bead_ids_in(record: Record) -> tuple[str, ...]:
    """The ids of the beads of a family, ascending."""
    return tuple(row["bead_id"] for row in record["beads"])


class Leaving:
    """The families that are published and may leave in this tick, as they were when it began."""

    def __init__(self, town: Town, archived: Archived, until: Horizons) -> None:
        """`until` are the horizons from which the published block was made."""
        self._town = town
        self._until = until
        self._index = archived.index
        published = frozenset(archived.bead_ids)
        self._before: dict[tuple[str, ...], str] = {}
        for family in families.ready(town.sql, until):
            if published.issuperset(family.bead_ids):
                self._before[family.bead_ids] = self._text(family.bead_ids)

    def remove(self) -> int:
        """Remove those that still may leave and have not changed in this tick; returns how many beads."""
        town, removed = self._town, 0
        unchanged = [
            family.bead_ids
            for family in families.ready(town.sql, self._until)
            if family.bead_ids in self._before and self._before[family.bead_ids] == self._text(family.bead_ids)
        ]
        for bead_ids in unchanged:  # only now, because removing one changes those that depend on it
            try:
                with database.savepoint(town.sql):
                    _remove(town.sql, bead_ids)
                    removed += len(bead_ids)
            except RowUnreadable as error:
                town.note_unreadable(error)
        if removed:
            town.keys.archive_index = self._index
            town.keys.back_from_archive = town.keys.back_from_archive.difference(*unchanged)
        return removed

    def _text(self, bead_ids: Sequence[str]) -> str:
        return canonical.dumps(record_of(self._town.sql, bead_ids))


def leaving(town: Town, archived: Archived | None, *, judged_at: datetime | None) -> Leaving | None:
    """The families that may leave in this tick. `judged_at`: the time of the tick before, from whose image they are published."""
    if archived is None or judged_at is None:
        return None
    return Leaving(town, archived, Horizons.at(judged_at, town.tick.config))


def _remove(sql: sqlite3.Connection, bead_ids: Sequence[str]) -> None:
    """Delete the rows of a family. Beads outside that depend on one of it await it: an edge needs both of its ends."""
    here = {"ids": canonical.dumps(list(bead_ids))}
    outside = sql.execute(
        "SELECT bead_id, depends_on_bead_id FROM bead_dependencies WHERE depends_on_bead_id IN "
        "(SELECT value FROM json_each(:ids)) AND bead_id NOT IN (SELECT value FROM json_each(:ids)) "
        "ORDER BY bead_id, depends_on_bead_id",
        here,
    ).fetchall()
    for dependent, bead_id in outside:
        _change_awaits(sql, dependent, more=bead_id)
    for table, (which, _) in _TABLES.items():
        sql.execute(f"DELETE FROM {table} WHERE {which}", here)  # noqa: S608 - constants


def put_back(sql: sqlite3.Connection, records: Sequence[Record]) -> int:
    """Insert the beads of these families that the image lacks, whole; returns how many. A transaction must be open.

    What is gone in the meantime is left out: a rig that was removed, an agent that was deleted.
    """
    absent = [row for record in records for row in record["beads"] if not _exists(sql, row["bead_id"])]
    rows = {row["bead_id"]: row for row in absent}
    for bead_id in sorted(rows):
        _insert(sql, "beads", _present(sql, rows[bead_id]))
    for bead_id in sorted(rows):
        parent = rows[bead_id].get("parent_bead_id")
        if parent is not None and _exists(sql, parent):
            sql.execute(
                "UPDATE beads SET parent_bead_id = :parent WHERE bead_id = :id", {"id": bead_id, "parent": parent}
            )
    for record in records:
        for table in ("review_metadata", "convoy_metadata", "escalation_metadata", "bead_events"):
            for row in record.get(table, ()):
                if row["bead_id"] in rows:
                    _insert(sql, table, row)
        for row in record.get("usage_sums", ()):
            if row["subject"] in rows:
                _insert(sql, "usage_sums", row)
    edges = [row for record in records for row in record.get("bead_dependencies", ())]
    _put_back_edges(sql, rows, edges)
    keys = TownKeys(sql)
    keys.back_from_archive = keys.back_from_archive.union(rows)
    return len(rows)


def _put_back_edges(sql: sqlite3.Connection, rows: Mapping[str, Any], edges: Sequence[Mapping[str, str]]) -> None:
    """Insert the edges whose ends both exist. A returned bead awaits the others, and what awaited it depends on it again."""
    for edge in sorted(edges, key=lambda edge: (edge["bead_id"], edge["depends_on_bead_id"])):
        bead_id, other = edge["bead_id"], edge["depends_on_bead_id"]
        if bead_id not in rows and other not in rows:
            continue
        if _exists(sql, bead_id) and _exists(sql, other):
            _insert(sql, "bead_dependencies", edge)
        elif bead_id in rows:
            _change_awaits(sql, bead_id, more=other)
    waiting = [bead_id for (bead_id,) in sql.execute(_AWAITING).fetchall()] if rows else []
    for bead_id in waiting:
        awaited = _awaits(sql, bead_id)
        if bead_id not in rows and rows.keys().isdisjoint(awaited):
            continue
        for other in awaited:
            if _exists(sql, other):
                edge = {"bead_id": bead_id, "depends_on_bead_id": other, "dependency_type": "blocks"}
                _insert(sql, "bead_dependencies", edge)
                _change_awaits(sql, bead_id, no_more=other)


_AWAITING: Final = "SELECT bead_id FROM beads WHERE instr(metadata, '\"awaits\"') > 0 ORDER BY bead_id"


def _present(sql: sqlite3.Connection, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a bead as it is now: without its parent for the moment, and without what no longer exists."""
    found = {name: value for name, value in row.items() if name not in ("parent_bead_id", "assigned")}
    rig = sql.execute("SELECT created_at FROM rigs WHERE id = :id", {"id": row.get("rig_id")}).fetchone()
    if rig is None or rig[0] > row["updated_at"]:  # removed; a later one of that id is another rig
        found.pop("rig_id", None)
    if row.get("assigned") and not _is_agent(sql, row["assignee_agent_bead_id"]):
        del found["assignee_agent_bead_id"]
    return found


def _insert(sql: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    """Insert a row with the columns that it has; those that a later schema added get their defaults."""
    names = sorted(row)
    sql.execute(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES (:{', :'.join(names)}) ON CONFLICT DO NOTHING",  # noqa: S608
        dict(row),
    )


def _change_awaits(
    sql: sqlite3.Connection, bead_id: str, *, more: str | None = None, no_more: str | None = None
) -> None:
    """Change the ids that a bead awaits: add one, or remove one. Raises RowUnreadable."""
    metadata = _metadata(sql, bead_id)
    awaits = [*BeadNotes.awaits.of(metadata), *([] if more is None else [more])]
    left = tuple(dict.fromkeys(each for each in awaits if each != no_more))
    name, value = BeadNotes.awaits.to(left)
    changed = {**metadata, name: value} if left else {key: each for key, each in metadata.items() if key != name}
    sql.execute(
        "UPDATE beads SET metadata = :metadata WHERE bead_id = :id",
        {"id": bead_id, "metadata": canonical.dumps(changed)},
    )


def _awaits(sql: sqlite3.Connection, bead_id: str) -> tuple[str, ...]:
    try:
        return BeadNotes.awaits.of(_metadata(sql, bead_id))
    except RowUnreadable:
        return ()


def _metadata(sql: sqlite3.Connection, bead_id: str) -> dict[str, object]:
    (text,) = sql.execute("SELECT metadata FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()
    try:
        return object_of(text)
    except ValueError as error:
        raise RowUnreadable("beads", bead_id, str(error)) from error


def _exists(sql: sqlite3.Connection, bead_id: str) -> bool:
    return sql.execute("SELECT 1 FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone() is not None


def _is_agent(sql: sqlite3.Connection, agent_id: str) -> bool:
    found = sql.execute("SELECT 1 FROM agent_metadata WHERE bead_id = :id", {"id": agent_id}).fetchone()
    return found is not None


def unknown(sql: sqlite3.Connection, bead_ids: Iterable[str]) -> list[str]:
    """Those of these ids that no bead in the image has, each once, in order."""
    asked = list(dict.fromkeys(bead_ids))
    known = lookup.existing(sql, asked)
    return [bead_id for bead_id in asked if bead_id not in known]


def worked_on(sql: sqlite3.Connection, agent_ids: Iterable[str]) -> list[str]:
    """The beads for which generations of these agents have reported what they used: they may still report more."""
    found = sql.execute(
        "SELECT DISTINCT bead_id FROM agent_usage WHERE bead_id IS NOT NULL "
        "AND agent_id IN (SELECT value FROM json_each(:ids)) ORDER BY bead_id",
        {"ids": canonical.dumps(sorted(agent_ids))},
    )
    return [row[0] for row in found.fetchall()]


def awaited_with(sql: sqlite3.Connection, bead_ids: Iterable[str]) -> list[str]:
    """The ids that the families of these beads, as far as they are in the image, await: one that is reopened depends on them."""
    found: list[str] = []
    for bead_id in families.members(sql, lookup.existing(sql, list(bead_ids))):
        found += _awaits(sql, bead_id)
    return found


def may_wait(record: Record) -> bool:
    """Whether a bead of an archived family may wait for others again: it failed, and can be reopened."""
    return any(row["status"] != BeadStatus.CLOSED for row in record["beads"])


def awaited_in(record: Record) -> list[str]:
    """The ids that beads of an archived family depend on and that are not among them."""
    own = set(bead_ids_in(record))
    found = [edge["depends_on_bead_id"] for edge in record.get("bead_dependencies", ()) if edge["bead_id"] in own]
    for row in record["beads"]:
        try:
            found += BeadNotes.awaits.of(object_of(row["metadata"]))
        except ValueError:
            continue
    return [bead_id for bead_id in found if bead_id not in own]

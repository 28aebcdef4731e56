"""The rows of an image in a fixed order, and their digest, which does not depend on the SQLite version that wrote the pages.

The logical digest is defined in spec/data-model.md 1.12.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from shared.domain import canonical
from shared.town.columns import TABLES, columns_of, key_of

CAUSES_FIRST: Final = (
    "town_events",
    "known_events",
    "beads",
    "agent_metadata",
    "review_metadata",
    "convoy_metadata",
    "escalation_metadata",
    "bead_dependencies",
    "agent_nudges",
    "agent_usage",
    "usage_sums",
    "rigs",
    "open_violations",
    "outbox",
    "bead_events",
    "town",
    "ticks",
)
"""Every table, in the order in which differences are reported: first the causes (events), then the state, then the journal."""


def columns_in(sql: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The columns of a table, `ticks` included, that this image has: in an image of an older schema some or all are missing."""
    if (
        sql.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = :name", {"name": table}).fetchone()
        is None
    ):
        return ()
    there = {column[0] for column in sql.execute(f"SELECT * FROM {table} LIMIT 0").description}  # noqa: S608 - constants
    return tuple(name for name in columns_of(table) if name in there)


def by_key(
    sql: sqlite3.Connection, table: str, columns: tuple[str, ...] | None = None
) -> dict[str, tuple[object, ...]]:
    """All rows of a table, `ticks` included, by the text of their key, with these columns or with all that the image has."""
    there, key = columns_in(sql, table), ", ".join(key_of(table))
    if not there:
        return {}
    shown = ", ".join(there if columns is None else columns)
    width = key.count(",") + 1
    found = sql.execute(f"SELECT {key}, {shown} FROM {table} ORDER BY {key}")  # noqa: S608 - constants
    return {" ".join(str(part) for part in row[:width]): tuple(row[width:]) for row in found}


def rows(sql: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """All rows of a table in key order, with the columns of `columns_in`."""
    columns, order = ", ".join(columns_in(sql, table)), TABLES[table][1]
    if columns:
        yield from sql.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")  # noqa: S608 - constants


def logical_digest(sql: sqlite3.Connection) -> str:
    """The SHA-256 of every row of every table that the image has except `ticks`, in key order."""
    digest = hashlib.sha256()
    for table in TABLES:
        if not columns_in(sql, table):
            continue
        digest.update(f"{table}\n".encode())
        for row in rows(sql, table):
            digest.update(canonical.dumps(list(row)).encode() + b"\n")
    return digest.hexdigest()

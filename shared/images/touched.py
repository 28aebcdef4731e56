"""Records which rows ticks write on a private copy. Its triggers are temporary, so the town's own pages stay unchanged."""

import sqlite3
from typing import Final

from shared.images import dump
from shared.town.columns import TABLES, columns_of

RowKey = tuple[str, str, str]
"""Table, key, and the second part of the key; '' if the key has one part."""

_VERBS: Final = (("INSERT", ("new",)), ("UPDATE", ("old", "new")), ("DELETE", ("old",)))


def watch(sql: sqlite3.Connection) -> None:
    """From now on, record the keys of all rows that are written, in every table but `ticks`."""
    sql.execute("CREATE TEMP TABLE touched (name TEXT, first TEXT, second TEXT)")
    for table, (_, key) in TABLES.items():
        if not dump.columns_in(sql, table):
            continue
        for verb, sides in _VERBS:
            notes = " ".join(f"INSERT INTO touched VALUES ('{table}', {_key_of(key, side)});" for side in sides)  # noqa: S608
            sql.execute(f"CREATE TEMP TRIGGER touched_{table}_{verb} AFTER {verb} ON main.{table} BEGIN {notes} END")


def take(sql: sqlite3.Connection) -> set[RowKey]:
    """The keys that were recorded since the last call."""
    found = {(row[0], row[1], row[2]) for row in sql.execute("SELECT name, first, second FROM touched").fetchall()}
    sql.execute("DELETE FROM touched")
    return found


def row_of(sql: sqlite3.Connection, key: RowKey) -> tuple[object, ...] | None:
    """The row with this key, with the columns of `columns_of`; None if it does not exist.

    A column that an image of an older schema lacks is NULL, as it is after the migration.
    """
    table, first, second = key
    there, names = dump.columns_in(sql, table), TABLES[table][1]
    if not there:
        return None
    columns = ", ".join(name if name in there else "NULL" for name in columns_of(table))
    where = " AND ".join(f"{name.strip()} = ?" for name in names.split(","))
    parts = (first, second)[: names.count(",") + 1]
    found = sql.execute(f"SELECT {columns} FROM {table} WHERE {where}", parts).fetchone()  # noqa: S608 - constants
    return None if found is None else tuple(found)


def _key_of(key: str, side: str) -> str:
    names = [f"{side}.{name.strip()}" for name in key.split(",")]
    return ", ".join((*names, "''")[:2])

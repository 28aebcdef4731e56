"""Rewrites an image row by row into a new one, so that no byte of an old page remains, in a free page or between rows."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from shared.images import dump
from shared.images.pages import page_size_of
from shared.town import database
from shared.town.columns import TABLES

DumpedRow = dict[str, Any]


def rewritten(image: bytes, change: Callable[[str, DumpedRow], DumpedRow]) -> bytes:
    """A new image with the same schema, whose rows are the results of `change(table, row)`, in key order.

    The same rows give the same bytes. Raises SchemaMismatch if the image is not a database.
    """
    old = database.open_image(image)
    new = sqlite3.connect(":memory:", isolation_level=None)
    try:
        new.execute(f"PRAGMA page_size = {page_size_of(image)}")
        for pragma in ("application_id", "user_version"):
            new.execute(f"PRAGMA {pragma} = {int(old.execute(f'PRAGMA {pragma}').fetchone()[0])}")
        new.execute("PRAGMA foreign_keys = OFF")
        new.execute("PRAGMA ignore_check_constraints = ON")
        new.execute("BEGIN")
        for (statement,) in old.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
        ).fetchall():
            new.execute(statement)
        for table in (*TABLES, "ticks"):
            columns = dump.columns_in(old, table)
            insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - constants
            for row in dump.by_key(old, table).values():
                made = change(table, dict(zip(columns, row, strict=True)))
                new.execute(insert, [made[column] for column in columns])
        new.execute("COMMIT")
        return new.serialize()
    finally:
        new.close()
        database.close(old)


def all_rows(image: bytes) -> Mapping[str, list[DumpedRow]]:
    """Every row of every table, `ticks` included, in key order."""
    with database.opened(image) as sql:
        return {
            table: [
                dict(zip(dump.columns_in(sql, table), row, strict=True)) for row in dump.by_key(sql, table).values()
            ]
            for table in (*TABLES, "ticks")
        }

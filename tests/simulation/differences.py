"""Where two images differ, in words: table, key, column, or else the first byte."""

from typing import Any

from shared.town import database
from shared.town.columns import TABLES


def first_difference(left: bytes, right: bytes) -> str:
    """The first row that is not the same in both images; the first byte if all rows are."""
    for table in (*TABLES, "ticks"):
        mine, theirs = _rows(left, table), _rows(right, table)
        for key in sorted({*mine, *theirs}, key=str):
            if mine.get(key) != theirs.get(key):
                return f"{table} {key}: {mine.get(key)} and {theirs.get(key)}"
    place = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    return f"equal rows, but {len(left)} and {len(right)} bytes that differ from byte {place} on"


def _rows(image: bytes, table: str) -> dict[Any, Any]:
    columns, key = TABLES.get(table, ("tick_no, tick_id, now, inputs, outputs", "tick_no"))
    width = len(key.split(","))
    with database.opened(image) as sql:
        rows = sql.execute(f"SELECT {key}, {columns} FROM {table} ORDER BY {key}").fetchall()
    return {row[:width]: row[width:] for row in rows}

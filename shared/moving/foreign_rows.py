"""Rows of an import before they are checked, and reading them from an untrusted SQLite file."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from shared.domain.errors import Refused
from shared.domain.shapes import answer
from shared.moving import export

MAGIC: Final = b"SQLite format 3\0"
NO_TOWN_HINT: Final = "name a file that `townctl export` wrote, or a SQLite file with the tables of a town"
_WRITE_VERSION_AT: Final = 18
_ROLLBACK_JOURNAL: Final = b"\1\1"
_INSTRUCTIONS: Final = 1_000_000
_ROUNDS: Final = 500
_LONGEST_VALUE: Final = 64 << 20
_UNREADABLE: Final = (sqlite3.Error, OverflowError, UnicodeDecodeError)
"""The errors of reading. Even SQLite's own message about a damaged file may fail to decode."""


@dataclass(frozen=True, slots=True)
class GivenRow:
    """A row as it was given. `place` is its place in the file, for rows without a readable key."""

    table: str
    place: str
    values: Mapping[str, object]


@answer
class NotRead:
    """A problem of an import, and its outcome: the value was stored nevertheless, or only the column or the whole row was left out.

    `column` is empty if the problem concerns the whole row or table; `key` is empty if it concerns the table.
    """

    table: str
    key: str
    column: str
    why: str
    outcome: Literal["kept", "column left out", "row left out"] = "row left out"


def of_database(content: bytes) -> Iterator[GivenRow | NotRead]:
    """The rows of a town's tables in a SQLite file, including journal rows. Raises Refused if the file has no such tables.

    Only plain tables are read. No view, virtual table or function in the file is ever executed.
    """
    sql = sqlite3.connect(":memory:", isolation_level=None)
    try:
        tables = _tables(sql, content)
        for table in (*export.TABLES, "ticks"):
            if tables.get(table, ("", False))[1]:
                yield from _rows(sql, table)
                del tables[table]
        for name, is_plain in sorted(tables.values()):
            if is_plain:
                yield from _left_out(sql, name)
            else:
                yield NotRead(name[:100], "", "", "views and virtual tables are not read")
    finally:
        sql.close()


def _tables(sql: sqlite3.Connection, content: bytes) -> dict[str, tuple[str, bool]]:
    """For each name in lower case, as SQLite compares names: the name as written, and whether it is a plain table."""
    # A file in WAL mode cannot be opened from memory. Its log is not part of the file, so the mode does not matter.
    content = content[:_WRITE_VERSION_AT] + _ROLLBACK_JOURNAL + content[_WRITE_VERSION_AT + 2 :]
    try:
        sql.deserialize(content)
        sql.text_factory = bytes
        sql.execute("PRAGMA cell_size_check = ON")
        names = sql.execute(
            "SELECT name, type, type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' FROM sqlite_master "
            "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).fetchall()
    except _UNREADABLE as error:
        raise Refused(f"the SQLite file cannot be read: {error}", status=400, path="file", hint=NO_TOWN_HINT) from error
    texts = [(name.decode(errors="replace"), kind, bool(is_plain)) for name, kind, is_plain in names]
    # Views with other names than a town's tables contain no data of their own.
    wanted = [each for each in texts if each[1] == b"table" or each[0].lower() in (*export.TABLES, "ticks")]
    found = {name.lower(): (name, is_plain) for name, _, is_plain in wanted}
    if not found.get("beads", ("", False))[1]:
        raise Refused("the SQLite file has no table named beads", status=400, path="file", hint=NO_TOWN_HINT)
    rounds = 0

    def enough() -> int:
        nonlocal rounds
        rounds += 1
        return int(rounds > _ROUNDS)

    sql.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    sql.set_progress_handler(enough, _INSTRUCTIONS)
    sql.set_authorizer(_only_reads)
    return found


def _only_reads(action: int, first: str | None, *_: object) -> int:
    reads = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    return sqlite3.SQLITE_OK if reads or first == "table_info" else sqlite3.SQLITE_DENY


def _rows(sql: sqlite3.Connection, table: str) -> Iterator[GivenRow | NotRead]:
    number = 0
    try:
        # table_info does not list generated columns, so their expressions are never evaluated.
        names = [row[1].decode(errors="replace") for row in sql.execute(f"PRAGMA table_info({table})").fetchall()]
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        for row in sql.execute(f"SELECT {quoted} FROM {table}"):  # noqa: S608 - quoted, and one of our own names
            number += 1
            values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
            yield GivenRow(table, f"row {number}", values)
    except _UNREADABLE as error:
        why = f"the table cannot be read after its row {number}: {error}"
        yield NotRead(table, f"row {number + 1}", "", why)


def _left_out(sql: sqlite3.Connection, table: str) -> Iterator[NotRead]:
    """Report a table that towns do not have, with the number of its rows, if it has any."""
    quoted = '"' + table.replace('"', '""') + '"'
    try:
        rows = sum(1 for _ in sql.execute(f"SELECT 1 FROM {quoted}"))  # noqa: S608 - quoted
    except _UNREADABLE as error:
        yield NotRead(table[:100], "", "", f"towns have no such table, and it cannot be read: {error}")
        return
    if rows:
        yield NotRead(table[:100], "1 row" if rows == 1 else f"{rows} rows", "", "towns have no such table")


def _plain(value: object) -> object:
    """The value as text; bytes if it is not valid UTF-8, which no column accepts."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value

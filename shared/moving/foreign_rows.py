"""Rows from outside, before anything is known of them; and how they are read from a SQLite file that nobody trusts."""

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.domain.errors import Refused
from shared.moving import export

MAGIC: Final = b"SQLite format 3\0"
NO_TOWN_HINT: Final = "name a file that `townctl export` wrote, or a SQLite file with the tables of a town"
_WRITE_VERSION_AT: Final = 18
_ROLLBACK_JOURNAL: Final = b"\1\1"
_INSTRUCTIONS: Final = 1_000_000
_ROUNDS: Final = 500
_LONGEST_VALUE: Final = 64 << 20
_UNREADABLE: Final = (sqlite3.Error, OverflowError, UnicodeDecodeError)
"""SQLite's own message about a damaged file may be no text."""


@dataclass(frozen=True, slots=True)
class GivenRow:
    """One row as it came: `place` says where it stood, for rows without a readable key."""

    table: str
    place: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotRead:
    """What could not be read: `kept` says that the value stands in the new town all the same, as it came.

    Without a `column` the whole row is left out, or the whole place if there is no `key` either.
    """

    table: str
    key: str
    column: str
    why: str
    kept: bool = False
    row_kept: bool = False

    def as_json(self) -> dict[str, Any]:
        """For answers: `outcome` is kept, column left out, or row left out."""
        outcome = "kept" if self.kept else "column left out" if self.row_kept else "row left out"
        return {"table": self.table, "key": self.key, "column": self.column, "why": self.why, "outcome": outcome}


def of_database(content: bytes) -> Iterator[GivenRow | NotRead]:
    """The rows of all tables of a town in a SQLite file, journal rows too. Raises Refused if there are no such tables.

    Only plain reads of plain tables are possible on the file: no view, virtual table or function of it is carried out.
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
                yield NotRead(name[:100], "", "", "it is a view or a virtual table, and these are not read")
    finally:
        sql.close()


def _tables(sql: sqlite3.Connection, content: bytes) -> dict[str, tuple[str, bool]]:
    """By name in lower case, as SQLite tells tables apart: the name as it is written, and whether it is a plain table."""
    # A file in WAL mode cannot be opened from memory; its log is not here, so the mode means nothing.
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
    # A view of another name than a town's tables holds nothing of its own.
    wanted = [each for each in texts if each[1] == b"table" or each[0].lower() in (*export.TABLES, "ticks")]
    found = {name.lower(): (name, is_plain) for name, _, is_plain in wanted}
    if not found.get("beads", ("", False))[1]:
        raise Refused("the SQLite file has no table beads", status=400, path="file", hint=NO_TOWN_HINT)
    rounds = 0

    def enough() -> int:
        nonlocal rounds
        rounds += 1
        return int(rounds > _ROUNDS)

    sql.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    sql.set_progress_handler(enough, _INSTRUCTIONS)
    sql.set_authorizer(_only_reads)
    return found


def _only_reads(action: int, first: str | None, *_: Any) -> int:
    reads = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    return sqlite3.SQLITE_OK if reads or first == "table_info" else sqlite3.SQLITE_DENY


def _rows(sql: sqlite3.Connection, table: str) -> Iterator[GivenRow | NotRead]:
    number = 0
    try:
        # A generated column is not named there, so its expression is never worked out.
        names = [row[1].decode(errors="replace") for row in sql.execute(f"PRAGMA table_info({table})").fetchall()]
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        for row in sql.execute(f"SELECT {quoted} FROM {table}"):  # noqa: S608 - quoted, and one of our own names
            number += 1
            values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
            yield GivenRow(table, f"row {number}", values)
    except _UNREADABLE as error:
        why = f"the table cannot be read behind its row {number}: {error}"
        yield NotRead(table, f"row {number + 1}", "", why)


def _left_out(sql: sqlite3.Connection, table: str) -> Iterator[NotRead]:
    """What a table holds that no town has: how many rows are left out, if there are any."""
    quoted = '"' + table.replace('"', '""') + '"'
    try:
        rows = sum(1 for _ in sql.execute(f"SELECT 1 FROM {quoted}"))  # noqa: S608 - quoted
    except _UNREADABLE as error:
        yield NotRead(table[:100], "", "", f"a town has no such table, and it cannot be read: {error}")
        return
    if rows:
        yield NotRead(table[:100], f"{rows} rows", "", "a town has no such table")


def _plain(value: Any) -> Any:
    """Text that is no UTF-8 stays bytes, which no column takes."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value

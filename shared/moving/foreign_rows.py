"""Rows of an import before they are checked, and reading them from an untrusted SQLite file."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from shared.domain.errors import Refused
from shared.domain.shapes import answer
from shared.moving import export
from shared.town import schemas
from shared.town.columns import columns_of

MAGIC: Final = b"SQLite format 3\0"
NO_TOWN_HINT: Final = "name a file that `townctl export` wrote, or a SQLite file with the tables of a town"
_WRITE_VERSION_AT: Final = 18
_ROLLBACK_JOURNAL: Final = b"\1\1"
_INSTRUCTIONS: Final = 10_000
_FEWEST_ROUNDS: Final = 1000
_BYTES_PER_ROUND: Final = 16 << 10
BYTES_PER_ROW: Final = 512
MOST_PROBLEMS: Final = 200_000
"""Problems that one import reports: enough for several in each row of a large town."""
LARGEST: Final = 64 << 20
"""Bytes of a file, unless the reader says otherwise."""

_KNOWN: Final = {table: frozenset(columns_of(table)) for table in (*export.TABLES, "ticks")}


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


def of_database(content: bytes, *, largest: int = LARGEST) -> Iterator[GivenRow | NotRead]:
    """The rows of a town's tables in a SQLite file, including journal rows. Raises Refused if the file has no such tables.

    Only plain tables are read. No view, virtual table, trigger or function in the file is ever executed, and the time of all
    reading together is limited by the size of the file.
    """
    sql = sqlite3.connect(":memory:", isolation_level=None)
    schemas.harden(sql)
    amount = Amount(rows=max(largest, len(content)) // BYTES_PER_ROW, size=2 * len(content))
    try:
        tables = _tables(sql, content)
        for table in (*export.TABLES, "ticks"):
            if tables.get(table, ("", False))[1]:
                yield from _rows(sql, table, amount)
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
    readable = bytearray(content)
    readable[_WRITE_VERSION_AT : _WRITE_VERSION_AT + 2] = _ROLLBACK_JOURNAL
    try:
        sql.deserialize(readable)
        del readable
        sql.text_factory = bytes
        with schemas.reading_schema(sql):
            named = sql.execute(
                "SELECT name, type, rootpage FROM sqlite_schema WHERE type IN ('table', 'view')"
            ).fetchall()
    except schemas.UNREADABLE as error:
        raise Refused(f"the SQLite file cannot be read: {error}", status=400, path="file", hint=NO_TOWN_HINT) from error
    found: dict[str, tuple[str, bool]] = {}
    for written, kind, page in named:
        name = written.decode(errors="replace") if isinstance(written, bytes) else str(written)
        is_plain = kind == b"table" and isinstance(page, int) and page > 0  # a virtual table has no page
        # Views with other names than a town's tables contain no data of their own.
        if not name.lower().startswith("sqlite_") and (kind == b"table" or name.lower() in (*export.TABLES, "ticks")):
            found[name.lower()] = (name, is_plain)
    if not found.get("beads", ("", False))[1]:
        raise Refused("the SQLite file has no table named beads", status=400, path="file", hint=NO_TOWN_HINT)
    rounds = iter(range(_FEWEST_ROUNDS + len(content) // _BYTES_PER_ROUND))
    sql.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * len(content))
    sql.set_progress_handler(lambda: next(rounds, None) is None, _INSTRUCTIONS)
    sql.set_authorizer(_only_reads)
    return found


def _only_reads(action: int, first: str | None, *_: object) -> int:
    reads = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    return sqlite3.SQLITE_OK if reads or first == "table_info" else sqlite3.SQLITE_DENY


@dataclass(slots=True)
class Amount:
    """How many rows, how many bytes of their values, and how many columns that a town lacks, may still be read.

    A damaged file may show the same pages again and again, and a forged one may have thousands of columns in each row.
    """

    rows: int
    size: int
    strange: int = MOST_PROBLEMS

    def take(self, *, size: int, strange: int) -> None:
        """Count a row with `size` bytes in its values and `strange` columns that a town lacks. Raises Refused if it is too much."""
        self.rows -= 1
        self.size -= size
        self.strange -= strange
        if self.rows < 0:
            raise too_many_rows()
        if self.size < 0:
            raise Refused(
                "the values in the SQLite file are larger than the file: it is damaged or forged",
                status=400,
                path="file",
                hint="check it with `sqlite3 FILE 'PRAGMA integrity_check'`, and copy it again",
            )
        if self.strange < 0:
            raise too_many_problems()


def strange_names(table: str, names: Iterable[str]) -> int:
    """How many of these columns the table of a town lacks. The rows of a table that towns lack are not kept: 0."""
    known = _KNOWN.get(table)
    return 0 if known is None else sum(name not in known for name in names)


def too_many_problems() -> Refused:
    """The refusal of a file in which hardly anything is a town's."""
    hint = "name a file that `townctl export` wrote, or leave out the columns and values that a town does not have"
    message = f"the file has more than {MOST_PROBLEMS} values that a town cannot have"
    return Refused(message, status=400, path="file", hint=hint)


def too_many_rows() -> Refused:
    """The refusal of a file with more rows than a town of the largest accepted size has."""
    hint = "if you trust the file, allow more with --largest MIB; each MiB allows 2048 rows"
    return Refused("the file has too many rows for its largest accepted size", status=413, path="file", hint=hint)


def _rows(sql: sqlite3.Connection, table: str, amount: Amount) -> Iterator[GivenRow | NotRead]:
    number = 0
    try:
        # table_info does not list generated columns, so their expressions are never evaluated.
        names = [row[1].decode(errors="replace") for row in sql.execute(f"PRAGMA table_info({table})").fetchall()]
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
        # An index may be forged, and may contain the results of expressions.
        strange = strange_names(table, names)
        for row in sql.execute(f"SELECT {quoted} FROM {table} NOT INDEXED"):  # noqa: S608 - quoted, and our own name
            amount.take(size=sum(len(value) for value in row if isinstance(value, bytes)), strange=strange)
            number += 1
            values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
            yield GivenRow(table, f"row {number}", values)
    except schemas.UNREADABLE as error:
        why = f"the table cannot be read after its row {number}: {error}"
        yield NotRead(table, f"row {number + 1}", "", why)


def _left_out(sql: sqlite3.Connection, table: str) -> Iterator[NotRead]:
    """Report a table that towns do not have, with the number of its rows, if it has any."""
    quoted = '"' + table.replace('"', '""') + '"'
    try:
        rows = sum(1 for _ in sql.execute(f"SELECT 1 FROM {quoted} NOT INDEXED"))  # noqa: S608 - quoted
    except schemas.UNREADABLE as error:
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

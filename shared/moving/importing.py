"""Makes a new, paused town from foreign rows. It stores all that the schema accepts, and reports each problem.

A value that the schema refuses is left out: only its column if that may be empty, else the whole row, because the town would
act on an invented value. A row that the schema accepts but no rule can read is kept as it is: rules skip it, and invariant 1
reports it. If something is missing, correct the file and import it again under another id.

`imported_keys` describes the town keys. If the exported town has run, its unfinished effects are expired, so that they are not
called again, and each agent gets a new generation, so that no process of the old installation can report. A town that is paused
since it was created or imported has started nothing, so effects and generations are kept: exporting an import and importing it
again gives the same rows. One that was paused by the brake has run.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.domain import canonical, limits
from shared.domain.times import from_text
from shared.images import first_image
from shared.moving import checkup, export, imported_keys
from shared.moving.fencing import cut_off_the_old_installation
from shared.moving.foreign_rows import MOST_PROBLEMS, GivenRow, NotRead, too_many_problems
from shared.moving.numbering import numbered, stored_time
from shared.town.columns import TABLES, key_of
from shared.town.town_keys import TownKeys

JSON_COLUMNS: Final = frozenset(
    {"config", "labels", "metadata", "models", "payload", "active_tools", "checkpoint", "result", "value"}
)
_TIMES: Final = re.compile(r".*_at|auto_merge_ready_since|not_before|claimed_until|deadline")
_TOLD_AS_THEY_CAME: Final = frozenset({("agent_metadata", "last_event_at"), ("town_events", "created_at")})
"""Times as a producer wrote them: any text is valid there."""
_LONGEST: Final = (
    ("beads", "bead_id", 64, "characters"),
    ("rigs", "id", 64, "characters"),
    ("beads", "title", limits.FIELD_SIZE, "bytes"),
    ("beads", "body", limits.BODY_SIZE, "bytes"),
)
_REPOSITORY: Final = re.compile(r"https://\S+|ssh://\S+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:\S+")
_CREDENTIALS: Final = re.compile(
    r"(?<=^https://)[^/@\s]*@|(?<=^http://)[^/@\s]*@|(?<=^ssh://)(?P<user>[^/@:\s]*):[^/@\s]*@"
)
_AHEAD_AT_MOST: Final = timedelta(days=366)
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class ImportedImage:
    """The image of the new town, its tick number and time, the number of rows by table, and what could not be imported."""

    image: bytes
    tick_no: int
    last_tick_at: datetime | None
    rows: Mapping[str, int]
    journal_rows: int
    not_read: tuple[NotRead, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: str
    required: bool
    default: bool
    in_key: bool


@dataclass(slots=True)
class _Import:
    """The state of an import."""

    sql: sqlite3.Connection
    missed: list[NotRead] = field(default_factory=list)
    columns: dict[str, dict[str, _Column]] = field(default_factory=dict)

    def report(self, *problems: NotRead) -> None:
        """Remember problems. Raises Refused for more than anybody could read, each of which takes memory."""
        self.missed += problems
        if len(self.missed) > MOST_PROBLEMS:
            raise too_many_problems()

    def columns_of(self, table: str) -> dict[str, _Column]:
        """The columns of a table of the new town, by name."""
        if table not in self.columns:
            key = key_of(table)
            self.columns[table] = {
                name: _Column(name, kind, bool(notnull), default is not None, name in key)
                for _, name, kind, notnull, default, _ in self.sql.execute(f"PRAGMA table_info({table})")
            }
        return self.columns[table]


def imported(town_id: str, given: Iterable[GivenRow | NotRead], *, now: datetime) -> ImportedImage:
    """Make a town from these rows. Raises Refused if their schema is newer. Unfinished effects expire at `now`."""
    by_table: dict[str, list[GivenRow]] = {table: [] for table in (*export.TABLES, "ticks")}
    sql = sqlite3.connect(":memory:", isolation_level=None)
    run = _Import(sql)
    try:
        for row in given:
            if isinstance(row, NotRead):
                run.report(row)
            elif row.table in by_table:
                by_table[row.table].append(row)
            else:
                run.report(NotRead(row.table[:100], row.place, "", "towns have no such table"))
        keys, missed = imported_keys.read(by_table["town"])
        run.report(*missed, *_doubtful_time(keys, now))
        sql.deserialize(first_image.found(town_id, paused=True))
        sql.execute("BEGIN")
        _store_keys(sql, keys)
        for table in export.TABLES:
            if table != "town":
                rows, problems = numbered(table, by_table[table])
                run.report(*problems)
                for row in rows:
                    _store(run, row)
        _mend_references(run)
        _go_on_counting(sql)
        if not keys.get(TownKeys.paused.name, False) or keys.get(TownKeys.brake.name) is not None:
            cut_off_the_old_installation(sql, now)
        sql.execute("COMMIT")
        run.report(*_unreadable(sql))
        image, stored = sql.serialize(), TownKeys(sql)
        counts = checkup.row_counts(sql)
        del counts["ticks"]
        return ImportedImage(
            image, stored.tick_no, stored.last_tick_at, counts, len(by_table["ticks"]), tuple(run.missed)
        )
    finally:
        sql.close()


def _doubtful_time(keys: dict[str, object], now: datetime) -> Iterator[NotRead]:
    """Drop the time of the last tick if it is more than a year in the future. Otherwise the town continues from that time,
    even if it is ahead of our clock.
    """
    last = keys.get(TownKeys.last_tick_at.name)
    if last is not None and from_text(last) > now + _AHEAD_AT_MOST:
        del keys[TownKeys.last_tick_at.name]
        why = f"{last} is more than a year in the future; the town starts at the present time"
        yield NotRead("town", TownKeys.last_tick_at.name, "value", why)


def _store_keys(sql: sqlite3.Connection, keys: Mapping[str, object]) -> None:
    stored = TownKeys(sql)
    for key, value in imported_keys.carried(keys):
        stored.store(key, value)


def _store(run: _Import, row: GivenRow) -> None:
    """Store a row without the columns that cannot be stored, or report why the row cannot be stored at all."""
    columns = run.columns_of(row.table)
    key = _key(row, columns)
    values: dict[str, object] = {}
    for name, value in row.values.items():
        if name not in columns:
            shown = name[:100]
            run.report(NotRead(row.table, key, shown, "the table has no such column", "column left out"))
            continue
        fitted, why = _fitted(row.table, columns[name], value)
        if (row.table, name) == ("rigs", "git_url") and isinstance(fitted, str):
            fitted = _without_credentials(run, key, fitted)
        if fitted is None and columns[name].default and columns[name].required:
            run.report(NotRead(row.table, key, name, "it has no value; the default is used", "column left out"))
        elif fitted is not _NOTHING:
            values[name] = fitted
        elif not _miss(run, row.table, key, columns[name], why):
            return
    # The schema is the judge, and SQLite reports one violated constraint at a time. So the row is inserted again and again,
    # each time without the column that was refused, until it is stored or a required column is refused. Example: an agent with
    # last_dispatch_outcome "maybe" and status "resting" first loses the outcome, which may be empty, and is then left out as
    # a whole, because the town would act on an invented status.
    while (refusal := _refusal(run.sql, row.table, values)) is not None:
        column = _blamed(refusal, columns)
        if column is None or column.name not in values:
            why = "an earlier row has the same key" if _is_double_key(refusal, columns) else refusal
            run.report(NotRead(row.table, key, "" if column is None else column.name, why))
            return
        if not _miss(run, row.table, key, column, refusal):
            return
        del values[column.name]


def _without_credentials(run: _Import, rig_id: str, git_url: str) -> str:
    """A repository's address without the password or token in it, because addresses are shown to agents and people."""
    clean = _CREDENTIALS.sub(lambda found: f"{found['user']}@" if found["user"] else "", git_url)
    if clean != git_url:
        why = "the credentials in the address were removed: store them with townctl secret set"
        run.report(NotRead("rigs", rig_id, "git_url", why, "kept"))
    elif not _REPOSITORY.fullmatch(git_url):
        why = "it is not an https or ssh address of a repository"
        run.report(NotRead("rigs", rig_id, "git_url", why, "kept"))
    return clean


def _miss(run: _Import, table: str, key: str, column: _Column, why: str) -> bool:
    """Report a value that cannot be stored; returns whether the row can be stored without it."""
    without = not column.required and not column.in_key
    run.report(NotRead(table, key, column.name, why, "column left out" if without else "row left out"))
    return without


def _refusal(sql: sqlite3.Connection, table: str, values: Mapping[str, object]) -> str | None:
    """Insert a row. Returns the reason why SQLite refused it; None if the row was stored."""
    names = list(values)
    into = f"({', '.join(names)}) VALUES ({', '.join('?' * len(names))})" if names else "DEFAULT VALUES"
    try:
        sql.execute(f"INSERT INTO {table} {into}", [values[name] for name in names])
    except sqlite3.Error as error:
        return " ".join(str(error).split())[:300]
    return None


def _blamed(refusal: str, columns: Mapping[str, _Column]) -> _Column | None:
    """The column that SQLite's message names; None if it names the key or several columns."""
    told = refusal.partition(": ")[2] or refusal
    named = [name for name in re.findall(r"[a-z_]+", told.partition(" IN")[0]) if name in columns]
    if not named or _is_double_key(refusal, columns):
        return None
    return columns[named[0]] if len(set(named)) == 1 else None


def _is_double_key(refusal: str, columns: Mapping[str, _Column]) -> bool:
    if not refusal.startswith("UNIQUE"):
        return False
    named = {part.rpartition(".")[2] for part in refusal.partition(": ")[2].split(", ")}
    return named == {column.name for column in columns.values() if column.in_key}


def _key(row: GivenRow, columns: Mapping[str, _Column]) -> str:
    parts = [row.values.get(column.name) for column in columns.values() if column.in_key]
    readable = all(isinstance(part, str | int) for part in parts)
    return " ".join(str(part) for part in parts)[:200] if readable else row.place


def _fitted(table: str, column: _Column, value: object) -> tuple[object, str]:
    """The value in the form that the column accepts, or _NOTHING and the reason."""
    if value is None:
        return (_NOTHING, "a value is required") if column.required and not column.default else (None, "")
    if column.kind == "INTEGER":
        if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
            value = int(value)
        if not isinstance(value, int):
            return _NOTHING, f"a whole number is required, not {_described(value)}"
        return (value, "") if abs(value) <= imported_keys.LARGEST else (_NOTHING, "the number is too large")
    if column.name in JSON_COLUMNS and isinstance(value, dict | list):
        return canonical.dumps(value), ""
    if not isinstance(value, str):
        return _NOTHING, f"a text is required, not {_described(value)}"
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        return _NOTHING, "the text contains U+0000 or a lone surrogate"
    if _TIMES.fullmatch(column.name) and (table, column.name) not in _TOLD_AS_THEY_CAME:
        return stored_time(value), ""
    return value, ""


def _described(value: object) -> str:
    kinds = {bytes: "bytes that are not text", bool: "true or false", int: "a number", float: "a number", str: "a text"}
    return kinds.get(type(value), "a list or an object")


def _mend_references(run: _Import) -> None:
    """Remove references to rows that do not exist: only the reference if it is optional, else the row."""
    for table in export.TABLES:
        columns = run.columns_of(table)
        key = " || ' ' || ".join(column.name for column in columns.values() if column.in_key)
        for _, _, parent, name, target, *_ in run.sql.execute(f"PRAGMA foreign_key_list({table})").fetchall():
            where = f"{name} IS NOT NULL AND {name} NOT IN (SELECT {target} FROM {parent})"  # noqa: S608 - our own names
            query = f"SELECT {key}, {name} FROM {table} WHERE {where} ORDER BY 1"  # noqa: S608 - our own names
            for row_key, wanted in run.sql.execute(query).fetchall():
                _miss(run, table, str(row_key), columns[name], f"{parent} has no row {wanted[:100]!r}")
            if columns[name].required or columns[name].in_key:
                run.sql.execute(f"DELETE FROM {table} WHERE {where}")  # noqa: S608 - our own names
            else:
                run.sql.execute(f"UPDATE {table} SET {name} = NULL WHERE {where}")  # noqa: S608 - our own names


def _go_on_counting(sql: sqlite3.Connection) -> None:
    """Set the next sequence numbers above all those in use."""
    keys = TownKeys(sql)
    events: int = sql.execute(
        "SELECT MAX((SELECT COALESCE(MAX(seq), 0) FROM town_events), (SELECT COALESCE(MAX(seq), 0) FROM known_events))"
    ).fetchone()[0]
    audit_rows: int = sql.execute("SELECT COALESCE(MAX(seq), 0) FROM bead_events").fetchone()[0]
    keys.next_seq = max(keys.next_seq, events + 1)
    keys.next_audit_seq = max(keys.next_audit_seq, audit_rows + 1)


def _unreadable(sql: sqlite3.Connection) -> Iterator[NotRead]:
    """Report rows that rules cannot read, and texts that are longer than an event may write."""
    defects = checkup.defects(sql)
    told = {defect.subject for defect in defects if defect.check == "values"}
    for defect in defects:
        table, _, key = defect.subject.partition(" ")
        if defect.check == "values":
            column, _, why = defect.text.partition(" ")
            yield NotRead(table, key, column, why, "kept")
        elif defect.subject not in told:
            yield NotRead(table, key, "", defect.text, "kept")
    for table, column, longest, unit in _LONGEST:
        key = TABLES[table][1]
        length = f"LENGTH({column})" if unit == "characters" else f"LENGTH(CAST({column} AS BLOB))"
        query = f"SELECT {key}, {length} FROM {table} WHERE {length} > :longest ORDER BY {key}"  # noqa: S608 - constants
        for row_key, size in sql.execute(query, {"longest": longest}).fetchall():
            why = f"it has {size} {unit}; an event may write at most {longest}"
            yield NotRead(table, row_key[:200], column, why, "kept")

"""A full check of an image, row by row, which would take too long for a tick. `townctl doctor` and imports use it.

It reads the whole town and changes nothing.
"""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from pydantic import ValidationError

from shared.domain import strict_json
from shared.domain.config import TownConfig
from shared.domain.errors import RowUnreadable
from shared.domain.field_errors import first_error
from shared.domain.times import from_text
from shared.history.journal_rows import ticks_text
from shared.images import dump
from shared.town import database
from shared.town.columns import TABLES
from shared.town.rows import (
    AGENT_COLUMNS,
    AGENT_TABLES,
    BEAD_COLUMNS,
    REVIEW_COLUMNS,
    RIG_COLUMNS,
    agent_of,
    bead_of,
    review_of,
    rig_of,
)
from shared.town.town_keys import TownKeys

_WHOLE_ROWS: Final[dict[str, tuple[str, Callable[[tuple[object, ...]], object]]]] = {
    "rigs": (f"SELECT {RIG_COLUMNS} FROM rigs g ORDER BY g.id", rig_of),  # noqa: S608 - constants
    "beads": (f"SELECT {BEAD_COLUMNS} FROM beads b ORDER BY b.bead_id", bead_of),  # noqa: S608 - constants
    "agent_metadata": (f"SELECT {AGENT_COLUMNS} FROM {AGENT_TABLES} ORDER BY a.bead_id", agent_of),  # noqa: S608 - constants
    "review_metadata": (f"SELECT {REVIEW_COLUMNS} FROM review_metadata r ORDER BY r.bead_id", review_of),  # noqa: S608 - constants
}
_JSON_COLUMNS: Final = frozenset(
    {"value", "config", "labels", "metadata", "payload", "active_tools", "models", "inputs", "outputs"}
)
_MAY_BE_ANYTHING: Final = frozenset({("town_events", "payload")})
"""The payload of a stored event may be any text: an unreadable event is poisoned, not repaired."""


@dataclass(frozen=True, slots=True)
class Defect:
    """Something that is wrong with an image: the check that found it, where it is, and what it is."""

    check: str
    subject: str
    text: str


def defects(sql: sqlite3.Connection) -> list[Defect]:
    """Everything that is wrong with an open image."""
    found = [*_structure(sql)]
    if found:
        return found  # rows that are read from a damaged file mean nothing
    return [*_rows(sql), *_values(sql), *_keys(sql), *_journal(sql)]


def row_counts(sql: sqlite3.Connection) -> dict[str, int]:
    """The number of rows in each table, all of which are checked."""
    return {
        table: sql.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - constants
        for table in (*TABLES, "ticks")
        if dump.columns_in(sql, table)
    }


def content_sizes(sql: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """The number of rows and the characters of their texts in each table, the largest first."""
    found: dict[str, tuple[int, int]] = {}
    for table in (*TABLES, "ticks"):
        columns = dump.columns_in(sql, table)
        if columns:
            size = " + ".join(f"COALESCE(LENGTH({column}), 0)" for column in columns)
            rows, characters = sql.execute(f"SELECT COUNT(*), COALESCE(SUM({size}), 0) FROM {table}").fetchone()  # noqa: S608 - constants
            found[table] = (rows, characters)
    return dict(sorted(found.items(), key=lambda each: -each[1][1]))


def busy_agents(sql: sqlite3.Connection) -> dict[str, int | None]:
    """The generation of every agent that may have a process, by agent id. For the mayor it is None (any generation), because
    no dispatch numbers the mayor's sessions. A waiting mayor may have a process too.
    """
    return dict(
        sql.execute(
            "SELECT bead_id, CASE role WHEN 'mayor' THEN NULL ELSE generation END FROM agent_metadata "
            "WHERE status IN ('working', 'stalled', 'waiting') ORDER BY bead_id"
        ).fetchall()
    )


def _structure(sql: sqlite3.Connection) -> Iterator[Defect]:
    """Check pages, indexes and references. The connection's authorizer is removed for the two pragmas, and set again."""
    sql.set_authorizer(None)
    try:
        for (line,) in sql.execute("PRAGMA integrity_check").fetchall():
            if line != "ok":
                yield Defect("integrity", "image", str(line))
        for table, row, parent, _ in sql.execute("PRAGMA foreign_key_check").fetchall():
            yield Defect("foreign keys", table, f"row {row} refers to a row of {parent} that does not exist")
    finally:
        database.restrict(sql)


def _rows(sql: sqlite3.Connection) -> Iterator[Defect]:
    """Check that the readers of rules and events can read all rows."""
    for table, (query, read) in _WHOLE_ROWS.items():
        for row in sql.execute(query).fetchall():
            try:
                read(row)
            except RowUnreadable as error:
                yield Defect("rows", f"{error.table} {error.key}", error.problem)
            except ValueError as error:
                yield Defect("rows", f"{table} {row[0]}", str(error))


def _values(sql: sqlite3.Connection) -> Iterator[Defect]:
    """Check the times and the JSON in all columns of all tables."""
    tables = {**{table: key for table, (_, key) in TABLES.items()}, "ticks": "tick_no"}
    for table, order in tables.items():
        names = ("tick_no", "now", "inputs", "outputs") if table == "ticks" else dump.columns_in(sql, table)
        columns = ", ".join(names)
        if not columns:
            continue
        for row in sql.execute(f"SELECT {columns} FROM {table} ORDER BY {order}"):  # noqa: S608 - constants
            for name, value in zip(names, row, strict=True):
                problem = _problem_with(table, name, value)
                if problem is not None:
                    yield Defect("values", f"{table} {row[0]}", f"{name} {problem}")


def _problem_with(table: str, name: str, value: Any) -> str | None:
    if value is None or (table, name) in _MAY_BE_ANYTHING:
        return None
    try:
        if name.endswith("_at") or name == "now":
            from_text(value)
        elif name in _JSON_COLUMNS:
            strict_json.stored(value)
    except ValueError as error:
        return f"cannot be read: {error}"
    return None


def _keys(sql: sqlite3.Connection) -> Iterator[Defect]:
    """Check the configuration, which every tick reads."""
    try:
        TownConfig.model_validate(TownKeys(sql).config)
    except ValidationError as error:
        yield Defect("config", "town", f"the stored configuration is not valid at {first_error(error).place}")
    except ValueError as error:
        yield Defect("config", "town", str(error))


def _journal(sql: sqlite3.Connection) -> Iterator[Defect]:
    """Check that the journal has no gaps and ends with the last tick."""
    numbers = [row[0] for row in sql.execute("SELECT tick_no FROM ticks ORDER BY tick_no")]
    last = TownKeys(sql).tick_no
    if numbers and numbers[-1] != last:
        yield Defect("journal", "ticks", f"its last row is tick {numbers[-1]}, but the last tick of the town is {last}")
    for before, after in pairwise(numbers):
        if after != before + 1:
            yield Defect("journal", "ticks", f"missing: {ticks_text(before + 1, after - 1)}")

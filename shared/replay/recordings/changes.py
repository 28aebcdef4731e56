"""The writes of one tick, row by row: how a recording stores them and compares them with those of a rerun."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from shared.domain import canonical, strict_json
from shared.domain.errors import DamagedImage
from shared.history.differences import Difference, of_row, of_values
from shared.history.rerun import Rerun
from shared.images import dump, touched
from shared.images.touched import RowKey
from shared.town import database, journal, packed_rows
from shared.town.columns import columns_of

Changes = dict[RowKey, dict[str, Any] | None]
"""By row: the columns with a new value; for a new row, all columns that are not null; None for a deleted row."""

_ORDER: Final = {table: place for place, table in enumerate(dump.CAUSES_FIRST)}


def watch(running: Rerun) -> None:
    """From now on, note which rows the ticks of a rerun write."""
    touched.watch(running.sql)


def of_tick(running: Rerun) -> Changes:
    """The writes of the last tick of a watched rerun."""
    with database.opened(running.before) as before:
        keys = touched.take(running.sql) | _journal_keys(before, running.sql)
        found: Changes = {}
        for key in sorted(keys, key=_cause_first):
            then, now = row_of(before, key), row_of(running.sql, key)
            if then != now:
                found[key] = _change(key, then, now)
        return found


def differences(running: Rerun, expected: Changes, got: Changes) -> Iterator[Difference]:
    """Where the writes of the last tick differ from the expected ones: causes first, the journal last."""
    with database.opened(running.before) as before:
        for key in sorted({*expected, *got}, key=_cause_first):
            if expected.get(key, {}) == got.get(key, {}):
                continue
            then = row_of(before, key)
            wanted = then if key not in expected else _after(key, then, expected[key])
            found = then if key not in got else _after(key, then, got[key])
            name = f"{key[1]} {key[2]}".rstrip()
            if key[0] != "ticks":
                yield from of_row(key[0], name, wanted, found)
                continue
            for difference in of_row("ticks", name, _in_full(wanted), _in_full(found)):
                yield from _in_the_journal(difference)


def row_of(sql: database.Database, key: RowKey) -> tuple[object, ...] | None:
    """The row of a key, including rows of `ticks`; None if it does not exist."""
    if key[0] != "ticks":
        return touched.row_of(sql, key)
    return dump.by_key(sql, "ticks").get(key[1])


def as_json(changes: Changes) -> list[list[Any]]:
    """The changes as a recording stores them."""
    return [[table, first, second, columns] for (table, first, second), columns in changes.items()]


def from_json(given: Iterable[Any]) -> Changes:
    """The inverse of `as_json`. Raises DamagedImage for an unknown table or column."""
    found: Changes = {}
    for table, first, second, columns in given:
        if not isinstance(first, str) or not isinstance(second, str) or not isinstance(columns, dict | None):
            raise DamagedImage("a change is not a key and its columns")
        if table not in _ORDER or not set(columns or ()) <= set(columns_of(table)):
            raise DamagedImage(f"it has changes of an unknown table or column: {table} {sorted(columns or ())}"[:200])
        found[(table, first, second)] = columns
    return found


def _journal_keys(before: database.Database, after: database.Database) -> set[RowKey]:
    """The keys of added and deleted journal rows. The journal is not watched, because its rows are never changed."""
    return {("ticks", str(number), "") for number in journal.numbers(before) ^ journal.numbers(after)}


def _change(key: RowKey, then: tuple[object, ...] | None, now: tuple[object, ...] | None) -> dict[str, Any] | None:
    if now is None:
        return None
    columns = columns_of(key[0])
    old = then or (None,) * len(columns)
    return {name: new for name, was, new in zip(columns, old, now, strict=True) if was != new}


def _after(key: RowKey, then: tuple[object, ...] | None, change: dict[str, Any] | None) -> tuple[object, ...] | None:
    if change is None:
        return None
    columns = columns_of(key[0])
    old = then or (None,) * len(columns)
    return tuple(change.get(name, was) for name, was in zip(columns, old, strict=True))


def _in_full(row: tuple[object, ...] | None) -> tuple[object, ...] | None:
    """A journal row with the documents that it had before it was packed; the row as it is if it cannot be read."""
    if row is None:
        return None
    cells = dict(zip(columns_of("ticks"), row, strict=True))
    try:
        whole = packed_rows.unpacked(*(strict_json.stored(str(cells[name])) for name in ("inputs", "outputs")))
    except (ValueError, TypeError):
        return row
    cells |= zip(("inputs", "outputs"), map(canonical.dumps, whole), strict=True)
    return tuple(cells.values())


def _in_the_journal(difference: Difference) -> Iterator[Difference]:
    """Compare the documents of a journal row value by value. The column is then a path."""
    if difference.column not in ("inputs", "outputs"):
        yield difference
        return
    try:
        wanted, found = strict_json.stored(str(difference.expected)), strict_json.stored(str(difference.got))
    except ValueError:
        yield difference
        return
    yield from of_values(difference.table, difference.key, difference.column, wanted, found)


def _cause_first(key: RowKey) -> tuple[int, str, str]:
    return (_ORDER[key[0]], key[1], key[2])

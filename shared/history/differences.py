"""Finds where two states, or two outputs of one tick, differ: by table, key and column, with both values."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from shared.domain import canonical, strict_json
from shared.domain.shapes import answer
from shared.images import dump
from shared.ports.town_past import JournalRow
from shared.town import database
from shared.town.columns import columns_of
from shared.town.town_keys import SET_IN_EVERY_TICK

SHOWN: Final = 50
_TEXT_SHOWN: Final = 500
ABSENT: Final = "(no such row)"

_DOCUMENTS: Final = frozenset({("town", "value"), ("rigs", "config")})
_SCHEMA_ROW: Final = ("town", "schema_version")
_FORMER_OUTPUTS: Final = frozenset({"waiting_counts"})  # until 0.1: how many beads waited for each reason


@answer
class Difference:
    """A column of a row that differs from what is expected; `*` stands for the whole row.

    If only one side has the row, the other shows `(no such row)`.
    """

    table: str
    key: str
    column: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.table} {self.key} {self.column}: expected {_cut(self.expected)!r}, got {_cut(self.got)!r}"


def shown(found: Iterable[Difference], *, limit: int = SHOWN) -> tuple[Difference, ...]:
    """The first differences, at most `limit`, as answers show them: long texts are cut."""
    return tuple(replace(each, expected=_cut(each.expected), got=_cut(each.got)) for each in islice(found, limit))


def of_images(expected: bytes, got: bytes) -> tuple[Difference, ...]:
    """The first differences between two images: causes before consequences, the journal last.

    If a migration lies between them, only what both schemas have is compared.
    """
    wanted, found = database.open_image(expected), database.open_image(got)
    try:
        return shown(_of_towns(wanted, found))
    finally:
        database.close(wanted)
        database.close(found)


def done_by_a_tick(before: bytes, after: bytes) -> tuple[Difference, ...]:
    """What a tick changed in the rows of a town, at most SHOWN columns: settings and other JSON of the town and its rigs by path.

    The tick's own row of the journal and the town keys that every tick sets are left out.
    """
    wanted, found = database.open_image(before), database.open_image(after)
    try:
        return shown(_by_path(each for each in _of_towns(wanted, found) if not _is_of_every_tick(each)))
    finally:
        database.close(wanted)
        database.close(found)


def of_outputs(row: JournalRow, got: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Where the outputs of a tick first differ from those in its journal row. The column is a path into `outputs`.

    Outputs that only earlier releases stored are left out. A figure that an earlier release did not count is taken as 0, so
    only a tick in which this release counts something there differs.
    """
    expected = {name: value for name, value in row["outputs"].items() if name not in _FORMER_OUTPUTS}
    counted, now_counted = expected.get("metrics"), got.get("metrics")
    if isinstance(counted, Mapping) and isinstance(now_counted, Mapping):
        expected["metrics"] = {**{name: 0 for name in now_counted if name not in counted}, **counted}
    return shown(of_values("ticks", str(row["tick_no"]), "outputs", expected, got))


def has_former_outputs(row: JournalRow) -> bool:
    """Whether an earlier release made this row, with outputs that no tick stores any more: the bytes of its image differ."""
    return not _FORMER_OUTPUTS.isdisjoint(row["outputs"])


def of_values(table: str, key: str, column: str, expected: object, got: object) -> Iterator[Difference]:
    """Where two JSON values in a column differ. The column is then a path into the value."""
    for path, wanted, seen in _paths(column, expected, got):
        yield Difference(table, key, path, wanted, seen)


def of_row(
    table: str,
    key: str,
    expected: tuple[object, ...] | None,
    got: tuple[object, ...] | None,
    *,
    columns: tuple[str, ...] | None = None,
) -> Iterator[Difference]:
    """Where two states of a row differ. None stands for a row that does not exist."""
    columns = columns or columns_of(table)
    if expected is None or got is None:
        yield Difference(table, key, "*", _whole(columns, expected), _whole(columns, got))
        return
    for column, left, right in zip(columns, expected, got, strict=True):
        if left != right:
            yield Difference(table, key, column, left, right)


def _whole(columns: tuple[str, ...], row: tuple[object, ...] | None) -> str:
    if row is None:
        return ABSENT
    return canonical.dumps({name: value for name, value in zip(columns, row, strict=True) if value is not None})


def _of_towns(expected: database.Database, got: database.Database) -> Iterator[Difference]:
    migrated = database.schema_version(expected) != database.schema_version(got)
    for table in dump.CAUSES_FIRST:
        both = set(dump.columns_in(expected, table)) & set(dump.columns_in(got, table))
        columns = tuple(name for name in columns_of(table) if name in both)
        wanted, found = (dump.by_key(side, table, columns) for side in (expected, got))
        for key in sorted({*wanted, *found}):
            if wanted.get(key) != found.get(key) and not (migrated and (table, key) == _SCHEMA_ROW):
                yield from of_row(table, key, wanted.get(key), found.get(key), columns=columns)


def _is_of_every_tick(each: Difference) -> bool:
    return each.table == "ticks" or (each.table == "town" and each.key in SET_IN_EVERY_TICK)


def _by_path(found: Iterable[Difference]) -> Iterator[Difference]:
    for each in found:
        if (each.table, each.column) in _DOCUMENTS and isinstance(each.expected, str) and isinstance(each.got, str):
            old, new = strict_json.stored(each.expected), strict_json.stored(each.got)
            yield from of_values(each.table, each.key, each.column, old, new)
        else:
            yield each


def _paths(path: str, expected: object, got: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(expected, dict) and isinstance(got, Mapping):
        for name in sorted({*expected, *got}):
            yield from _paths(f"{path}.{name}", expected.get(name), got.get(name))
    elif isinstance(expected, list) and isinstance(got, list | tuple):
        for position in range(max(len(expected), len(got))):
            left = expected[position] if position < len(expected) else None
            right = got[position] if position < len(got) else None
            yield from _paths(f"{path}[{position}]", left, right)
    elif expected != got:
        yield path, expected, got


def _cut(value: object) -> object:
    if isinstance(value, dict | list):
        value = canonical.dumps(value)
    return value[:_TEXT_SHOWN] + "…" if isinstance(value, str) and len(value) > _TEXT_SHOWN else value

"""Turns rows of the database into entries of answers, according to the types of the fields.

A status must not fail because a row is damaged: that is when it is needed most. So an unreadable time becomes null, and an
unknown value of an enumeration is shown as stored; invariant 1 reports such rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from shared.domain.times import readable_time

T = TypeVar("T")
_Reader = tuple[str, Callable[[Any], Any]]


def lines_of(shape: Callable[..., T], rows: Iterable[Sequence[Any]]) -> tuple[T, ...]:
    """Every row as a line."""
    return tuple(line_of(shape, row) for row in rows)


def line_of(shape: Callable[..., T], row: Sequence[Any], **others: Any) -> T:
    """One row as a line. Its cells are the first fields of the shape, in order; `others` are the rest."""
    readers = _readers(shape)
    cells = {name: None if cell is None else read(cell) for (name, read), cell in zip(readers, row, strict=False)}
    return shape(**cells, **others)


def columns_of(shape: Any) -> tuple[str, ...]:
    """The names of the fields."""
    return tuple(field.name for field in fields(shape))


@cache
def _readers(shape: Any) -> tuple[_Reader, ...]:
    """How the cell of each field is read."""
    kinds = get_type_hints(shape)
    return tuple((name, _reading(kinds[name])) for name in columns_of(shape))


def _reading(kind: Any) -> Callable[[Any], Any]:
    for each in get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,):
        if each is datetime:
            return readable_time
        if each is bool:
            return bool
        if each is str:
            return str
        if isinstance(each, type) and issubclass(each, StrEnum):
            return partial(_member, {str(member): member for member in each})
    return lambda cell: cell


def _member(members: Mapping[str, StrEnum], word: str) -> str:
    return members.get(word, word)

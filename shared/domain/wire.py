"""Frozen dataclasses as JSON objects under the same names in snake_case: orders and start files, which other programs read too.

It needs no library, because `town-agent` reads a start file on every call and must start fast. Reading is strict: a value of a
wrong type is an error that names its place. Unknown keys are kept in `rest` and written again: a newer town may add keys, and a
control server of an older image must pass them on to its agent.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T", bound="WireObject")
_Reader = Callable[[object, str], object]

_IN_WORDS: Final[Mapping[type, str]] = {str: "a text", int: "a whole number", bool: "true or false"}


class Unfit(ValueError):
    """A JSON value does not have the required form. The text names the place: `bead.labels.0: a text is required`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireObject:
    """Base of the dataclasses that are JSON objects. `rest` holds the keys that this version does not know."""

    rest: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The JSON object."""
        unsaid = self._unsaid()
        given = ((name, getattr(self, name)) for name in _form(type(self)).readers)
        return {
            **self.rest,
            **{name: _plain(value) for name, value in given if value is not None or name not in unsaid},
        }

    def _unsaid(self) -> frozenset[str]:
        """The keys that are left out instead of null."""
        return frozenset()


def read(shape: type[T], said: object, place: str = "") -> T:
    """The object in a JSON value. Raises Unfit."""
    if not isinstance(said, dict):
        raise Unfit(f"{place}: an object is required" if place else "a JSON object is required")
    form, before = _form(shape), f"{place}." if place else ""
    values = {name: reader(said[name], before + name) for name, reader in form.readers.items() if name in said}
    missing = next((name for name in form.required if name not in values), None)
    if missing is not None:
        raise Unfit(f"{before}{missing} is missing")
    return shape(rest={name: value for name, value in said.items() if name not in form.readers}, **values)


class _Form(NamedTuple):
    readers: Mapping[str, _Reader]
    required: tuple[str, ...]


def _form(shape: Any) -> _Form:  # mypy does not believe that the class of a dataclass is hashable
    return _form_of(shape)


@cache
def _form_of(shape: Any) -> _Form:
    hints, own = get_type_hints(shape), [each for each in fields(shape) if each.name != "rest"]
    return _Form(
        {each.name: _reader(hints[each.name]) for each in own},
        tuple(each.name for each in own if each.default is MISSING and each.default_factory is MISSING),
    )


def _reader(hint: Any) -> _Reader:  # a type annotation is a value of any type
    """The reader of a field with this annotation."""
    if hint is object:
        return lambda value, _: value
    if get_origin(hint) in (Union, UnionType):
        (given,) = (each for each in get_args(hint) if each is not NoneType)
        return partial(_nullable, _reader(given))
    if get_origin(hint) is tuple:
        return partial(_list, _reader(get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, WireObject):
        return partial(read, hint)
    if get_origin(hint) is Mapping:
        return _object
    return partial(_word, hint) if issubclass(hint, StrEnum) else partial(_scalar, hint)


def _nullable(reader: _Reader, value: object, place: str) -> object:
    return None if value is None else reader(value, place)


def _list(reader: _Reader, value: object, place: str) -> object:
    if not isinstance(value, list):
        raise Unfit(f"{place}: a list is required")
    return tuple(reader(each, f"{place}.{at}") for at, each in enumerate(value))


def _object(value: object, place: str) -> object:
    if not isinstance(value, dict):
        raise Unfit(f"{place}: an object is required")
    return value


def _word(vocabulary: type[StrEnum], value: object, place: str) -> object:
    words = [each.value for each in vocabulary]
    if value not in words:
        raise Unfit(f"{place}: one of {', '.join(words)} is required")
    return vocabulary(value)


def _scalar(wanted: type, value: object, place: str) -> object:
    if type(value) is not wanted:
        raise Unfit(f"{place}: {_IN_WORDS[wanted]} is required")
    return value


def _plain(value: object) -> object:
    """A field's value as JSON."""
    if isinstance(value, WireObject):
        return value.as_json()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value.value if isinstance(value, StrEnum) else value

"""How every answer is defined: as a frozen dataclass, whose JSON has the same fields in camelCase.

`--json`, HTTP and the OpenAPI document are made from the dataclass, and `read` turns an API's JSON back into it. So no shape is
written down twice. A field called `row` holds columns of the database under their own names; its content is not renamed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final, TypeVar, dataclass_transform

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter, WithJsonSchema
from pydantic.alias_generators import to_camel

from shared.domain.times import from_text, to_text

T = TypeVar("T")


def _name(field: str) -> str:
    """The name of a field in JSON: camelCase. A field whose name Python reserves has a trailing underscore, such as `from_`."""
    return to_camel(field.rstrip("_"))


_CONFIG: Final = ConfigDict(alias_generator=_name, arbitrary_types_allowed=False, populate_by_name=True)
_AS_NAMED: Final = ConfigDict(arbitrary_types_allowed=False)

Time = Annotated[
    datetime,
    BeforeValidator(lambda given: from_text(given) if isinstance(given, str) else given),
    PlainSerializer(to_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time in an answer. It is written as everywhere else: UTC, with milliseconds."""


@dataclass_transform(frozen_default=True)
def answer(shape: type[T]) -> type[T]:
    """Make a class a frozen dataclass that `document` and `read` can turn into JSON and back."""
    shape.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined] # the name under which pydantic looks for it
    return dataclass(frozen=True, slots=True)(shape)


@dataclass_transform(frozen_default=True)
def posted(shape: type[T]) -> type[T]:
    """The same for posted events: their JSON keeps the field names in snake_case, because agents of every version use them."""
    shape.__pydantic_config__ = _AS_NAMED  # type: ignore[attr-defined] # as above
    return dataclass(frozen=True, slots=True)(shape)


def adapter(shape: Any) -> TypeAdapter[Any]:
    """The adapter of an answer type.

    It is made on first use, because making it takes some milliseconds, which a start cannot spare.
    """
    return _made(shape)


def document(value: Any) -> dict[str, Any]:
    """The JSON document of an answer."""
    # no warnings: an unknown value of an enumeration comes from a damaged row and is shown as stored
    made: dict[str, Any] = adapter(type(value)).dump_python(value, mode="json", by_alias=True, warnings=False)
    return made


def read(shape: type[T], said: Mapping[str, Any]) -> T:
    """The answer in a JSON document. Fields that this version does not know are ignored. Raises ValidationError."""
    found: T = adapter(shape).validate_python(said)
    return found


@cache
def _made(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)

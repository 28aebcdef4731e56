"""Query parameters: each route declares its own; unknown, repeated and invalid ones are refused with a hint."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.domain.errors import Refused
from shared.domain.field_errors import first_error
from shared.domain.times import parse_iso

Q = TypeVar("Q", bound="Query")

_NUMBER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_MOST_PARAMETERS: Final = 50


class Query(BaseModel):
    """The query parameters of a route that takes none; others derive from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _whole(given: object) -> object:
    if isinstance(given, str) and not _NUMBER.fullmatch(given):
        raise PydanticCustomError("whole_number", "a whole number is required")
    return given


def _moment(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return parse_iso(given)
    except (ValueError, OverflowError):
        raise PydanticCustomError("time", "not an ISO 8601 time with an offset") from None


Whole = Annotated[int, BeforeValidator(_whole)]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
AnId = Annotated[str, Field(min_length=1, max_length=64)]
Generation = Annotated[
    Whole | None,
    Field(ge=1, le=2**53 - 1, description="The number of the agent's start; default: that of the token", examples=[3]),
]
Cursor = Annotated[
    str | None,
    Field(
        description="The `next` of the previous page; omit it for the first page",
        examples=["WyIyMDI2LTAxLTEwVDEyOjAwOjAwLjAwMFoiLCJiMSJd"],
    ),
]


def query_of(event: Mapping[str, Any], shape: type[Q]) -> Q:
    """The query of an HTTP API event. Raises Refused (422), which names the parameter."""
    known = tuple(shape.model_fields)
    given: dict[str, str] = {}
    for name, value in _pairs(str(event.get("rawQueryString") or "")):
        if name not in known:
            raise _unknown(name, known)
        if name in given:
            hint = f"send `{name}` once"
            raise Refused(f"the parameter {name} is given twice", status=422, path=name, hint=hint)
        given[name] = value
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        first = first_error(error)
        name = str(first.path[0]) if first.path else ""
        field = shape.model_fields[name]
        examples = field.examples or ()
        hint = f"{field.description}, for example {name}={examples[0]}" if examples else f"{field.description}"
        raise Refused(f"{name}: {first.message}", status=422, path=name, hint=hint) from None


def _pairs(text: str) -> list[tuple[str, str]]:
    hint = "send each parameter once, as UTF-8 text in percent encoding"
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except UnicodeDecodeError:
        raise Refused("the query is not UTF-8 text", status=422, path="query", hint=hint) from None
    except ValueError:
        raise Refused("the query has too many parameters", status=422, path="query", hint=hint) from None


def _unknown(name: str, known: tuple[str, ...]) -> Refused:
    from difflib import get_close_matches  # noqa: PLC0415 - only a refusal needs it

    shown = name if name.isprintable() and len(name) <= 64 else ascii(name[:64])
    close = get_close_matches(name[:64], known, n=1)
    takes = f"the parameters are: {', '.join(known)}" if known else "this route takes no parameters"
    hint = f"did you mean `{close[0]}`? {takes}" if close else takes
    return Refused(f"unknown parameter {shown}", status=422, path=shown, hint=hint)

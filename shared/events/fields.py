"""The kinds of fields that payloads are made of (spec/events.md section 1, rules 4 and 5).

Every text refuses U+0000. A text over its size limit is refused with the error type TOO_LARGE, which ingest answers
with 413; every other error is answered with 400. Nothing is coerced: a number is not text, `"true"` is not a boolean.
"""

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from shared.domain import canonical, limits
from shared.domain.repositories import is_local
from shared.domain.times import parse_iso, whole_milliseconds

TOO_LARGE: Final = "too_large"
"""The pydantic error type of a text over its limit."""

_LARGEST_INTEGER: Final = 2**63 - 1
_ID: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,64}$"


class Part(BaseModel):
    """Base of objects inside a payload: as strict as the payload itself."""

    # Built on first use, as the events are.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


def _storable(text: str) -> bytes:
    """The text as UTF-8, if it is a text that a town can store."""
    if "\0" in text:
        raise PydanticCustomError("nul_in_text", "U+0000 is not allowed in text")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("lone_surrogate", "a lone surrogate is not valid text") from None


def _text_of_at_most(limit: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if len(_storable(text)) > limit:
            raise PydanticCustomError(TOO_LARGE, "at most {limit} bytes of UTF-8", {"limit": limit})
        return text

    return check


def _status_message(text: str) -> str:
    message = text.strip()
    if not message:
        raise PydanticCustomError("blank_text", "at least one character that is not blank")
    if len(message) > limits.STATUS_MESSAGE:
        raise PydanticCustomError(TOO_LARGE, "at most {limit} characters", {"limit": limits.STATUS_MESSAGE})
    return message


def _id(given: object) -> object:
    """Refuses a text that is no id in words; the pattern alone, which the JSON schema has, would be a riddle."""
    if isinstance(given, str) and not re.fullmatch(_ID, given):
        raise PydanticCustomError("no_id", "an id has 1 to 64 characters and no control characters")
    return given


def _time(given: object) -> object:
    if isinstance(given, datetime):
        return given
    if not isinstance(given, str):
        raise PydanticCustomError("time_type", "a time is ISO 8601 text")
    try:
        return parse_iso(given)
    except (ValueError, OverflowError):
        raise PydanticCustomError("time_text", "an ISO 8601 time with an offset is required") from None


def _plain_json(value: object) -> object:
    """The value, if a town can store it: no U+0000, no lone surrogate, no NaN, no integer of more than 64 bits."""
    if isinstance(value, str):
        _storable(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _plain_json(key)
            _plain_json(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _plain_json(inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("not_a_number", "NaN and Infinity are not JSON")
    elif isinstance(value, int) and not -_LARGEST_INTEGER - 1 <= value <= _LARGEST_INTEGER:
        raise PydanticCustomError("integer_range", "an integer has at most 64 bits")
    return value


def _tools(tools: tuple[object, ...]) -> tuple[object, ...]:
    if len(canonical.dumps(list(tools)).encode()) > limits.FIELD_SIZE:
        raise PydanticCustomError(TOO_LARGE, "at most {limit} bytes of JSON", {"limit": limits.FIELD_SIZE})
    return tools


def _checkpoint(value: object) -> object:
    if value is None:
        raise PydanticCustomError("no_checkpoint", "a text, a list or an object is required")
    if len(canonical.dumps(value).encode()) > limits.BODY_SIZE:
        raise PydanticCustomError(TOO_LARGE, "at most {limit} bytes of JSON", {"limit": limits.BODY_SIZE})
    return value


def _https_url(url: str) -> str:
    if url[:8].lower() != "https://":
        raise PydanticCustomError("https_url", "an address that starts with https:// is required")
    return url


_HTTPS_REPOSITORY: Final = re.compile(r"https://[^\s/@]+/\S+")
_SSH_REPOSITORY: Final = re.compile(r"ssh://([^\s/@:]+@)?[^\s/@]+/\S+")
_SCP_REPOSITORY: Final = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:(?!//)\S+")


def _git_url(url: str) -> str:
    """Accept https, ssh (also in the short form git@host:path) and local addresses; refuse one with a password or token."""
    if is_local(url):
        return url
    if not any(form.fullmatch(url) for form in (_HTTPS_REPOSITORY, _SSH_REPOSITORY, _SCP_REPOSITORY)):
        raise PydanticCustomError(
            "git_url",
            "an https or ssh address of a repository without credentials is required; a path only where agents are local",
        )
    return url


FreeText = Annotated[str, AfterValidator(_text_of_at_most(limits.FIELD_SIZE))]
"""Text of at most 4 KiB; may be empty."""
NonEmptyText = Annotated[str, Field(min_length=1), AfterValidator(_text_of_at_most(limits.FIELD_SIZE))]
"""Text of 1 character to 4 KiB."""
BodyText = Annotated[str, AfterValidator(_text_of_at_most(limits.BODY_SIZE))]
"""A bead's body: at most 32 KiB."""
StatusMessage = Annotated[str, AfterValidator(_text_of_at_most(limits.EVENT_SIZE)), AfterValidator(_status_message)]
"""1 to 280 characters after trimming; the value is the trimmed text."""
IdText = Annotated[str, Field(pattern=_ID), BeforeValidator(_id)]
"""An id as in the envelope: 1 to 64 characters, no control characters."""
Ids = Annotated[tuple[IdText, ...], Field(strict=False)]
"""A list of ids."""
Generation = Annotated[int, Field(ge=1, le=_LARGEST_INTEGER)]
"""A counter from 1: the generation of an agent, which is its fencing token, or the attempt of an effect."""
Integer = Annotated[int, Field(ge=-_LARGEST_INTEGER - 1, le=_LARGEST_INTEGER)]
"""Any integer of 64 bits."""
Time = Annotated[AwareDatetime, BeforeValidator(_time), AfterValidator(whole_milliseconds)]
"""ISO 8601 text with an offset, as an aware time of whole milliseconds."""
Texts = Annotated[tuple[FreeText, ...], Field(strict=False)]
"""A list of texts."""
JsonList = Annotated[tuple[object, ...], Field(strict=False), AfterValidator(_plain_json), AfterValidator(_tools)]
"""A list of anything that a town can store, of at most 4 KiB of JSON."""
Checkpoint = Annotated[object, AfterValidator(_plain_json), AfterValidator(_checkpoint)]
"""Anything but null that a town can store, of at most 32 KiB of JSON."""
JsonObject = Annotated[dict[str, object], AfterValidator(_plain_json)]
"""An object of anything that a town can store."""
HttpsUrl = Annotated[str, AfterValidator(_text_of_at_most(limits.FIELD_SIZE)), AfterValidator(_https_url)]
"""An address that starts with https://."""
GitUrl = Annotated[str, AfterValidator(_text_of_at_most(limits.FIELD_SIZE)), AfterValidator(_git_url)]
"""The https or ssh address of a repository without credentials, or an absolute path or file:// address."""
PriorityName = Literal["low", "medium", "high", "critical"]
"""Priority of a bead, severity of an escalation."""

"""Reads the times in requests. A time needs an offset; a date alone could mean the start or the end of a day, and is refused."""

from datetime import UTC, datetime, time
from typing import Final

from shared.domain.errors import Refused
from shared.domain.times import parse_iso

FORM: Final = "2026-01-10T12:00:00Z"
"""The form of a time, as errors and help show it."""
_SHOWN: Final = 40


def time_in(given: object, path: str, *, name: str | None = None) -> datetime:
    """The time in a value of a request. Raises Refused (400), which names the value (`name`, else `path`) and the right form."""
    name = name or path
    if not isinstance(given, str):
        hint = f'write it in quotation marks, as in "{FORM}"'
        raise Refused(f"{name} must be a text with a time, as in {FORM}", status=400, path=path, hint=hint)
    try:
        return parse_iso(given)
    except (ValueError, OverflowError) as error:
        problem, hint = _mistake(given)
        raise Refused(f"{name} {problem}: {given[:_SHOWN]!r}", status=400, path=path, hint=hint) from error


def _mistake(given: str) -> tuple[str, str]:
    """What is wrong with a time that cannot be read, and what to write instead."""
    try:
        without_offset = datetime.fromisoformat(given)
    except ValueError:
        return "is not an ISO 8601 time", f"write date, time and offset, as in {FORM}"
    if without_offset.tzinfo is not None:
        return "is not a time between the years 1 and 9999 in UTC", f"write a time as in {FORM}"
    in_utc = f"{without_offset.replace(tzinfo=UTC).isoformat().removesuffix('+00:00')}Z"
    if without_offset.time() == time() and ":" not in given:
        return "is a date without a time", f"write {in_utc} for midnight UTC"
    return "is a time without an offset", f"write {in_utc} for UTC, or add another offset, such as +01:00"

"""Times and spans as people read them: relative in the text, absolute beside it."""

from datetime import datetime, timedelta
from typing import Final

_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


def span(length: timedelta) -> str:
    """A length in at most two units: `8 s`, `13 min`, `3 h 46 min`, `1 d 4 h`."""
    seconds = max(length, timedelta(0)) // _SECOND
    if length < _MINUTE:
        return f"{seconds} s"
    if length < _HOUR:
        return f"{seconds // 60} min"
    if length < _DAY:
        return _two(seconds // 3600, "h", seconds % 3600 // 60, "min")
    return _two(seconds // 86_400, "d", seconds % 86_400 // 3600, "h")


def exact(length: timedelta) -> str:
    """A length to the second where that says something: `7 min 03 s`, `41 s`, `2 h 10 min`."""
    seconds = max(length, timedelta(0)) // _SECOND
    if _MINUTE <= length < _HOUR:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return span(length)


def left(length: timedelta) -> str:
    """What is left until something happens: `0:18`, `12:40`; from an hour on as `span` says it; `due` when it is over."""
    seconds = -(-length // _SECOND)
    if seconds <= 0:
        return "due"
    return f"{seconds // 60}:{seconds % 60:02}" if length < _HOUR else span(length)


def clock(at: datetime) -> str:
    """The time of day: `18:22:10`."""
    return f"{at:%H:%M:%S}"


def absolute(at: datetime) -> str:
    """The whole time in UTC with milliseconds, for tooltips."""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"


def _two(many: int, unit: str, few: int, small: str) -> str:
    return f"{many} {unit} {few} {small}" if few else f"{many} {unit}"

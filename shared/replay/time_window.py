"""The window of a replay, and the pages of its answer (spec/tick.md section 11)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.domain.errors import Refused
from shared.domain.limits import just_after
from shared.domain.times import from_text, parse_iso, to_text

MISSING: Final = "Missing required fields: from, to (ISO timestamps)"
UNREADABLE: Final = "Invalid date format. Use ISO 8601 timestamps."
_OFFSET_HINT: Final = "write a time with its offset, such as 2026-01-10T12:00:00Z"


@dataclass(frozen=True, slots=True)
class PageLimits:
    """The limits of one answer: time, ticks, and bytes of JSON (None for no limit)."""

    span: timedelta = timedelta(hours=24)
    ticks: int = 2_000
    size: int | None = None


WHOLE_DAY: Final = PageLimits()
HTTP_SIZE: Final = 1_500_000
HTTP: Final = PageLimits(size=HTTP_SIZE)
"""Keeps an HTTP answer below the 6 MB that Lambda allows: it contains the actions twice, and the state in addition."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time window that includes both ends. `resumed_after` is the last tick of the previous page."""

    start: datetime
    end: datetime
    resumed_after: int | None = None


def window_of(
    start: object, end: object, *, now: datetime, restore_window: timedelta, cursor: str | None = None
) -> Window:
    """The window between two ISO 8601 times with offset; with a `cursor`, the rest of it.

    Raises Refused (400) with the messages that the specification prescribes.
    """
    if start in (None, "") or end in (None, ""):
        raise Refused(MISSING, status=400, path="from" if start in (None, "") else "to", hint=_OFFSET_HINT)
    first, last = time_in(start, "from"), time_in(end, "to")
    if first > now:
        raise Refused(
            f"from is in the future: {to_text(first)}; the present time is {to_text(now)}",
            status=400,
            path="from",
            hint="only the past can be replayed; a dry run shows what comes next",
        )
    if first > last:
        raise Refused("from is later than to", status=400, path="from", hint="swap from and to")
    if last > now:
        raise Refused(
            f"to is in the future: {to_text(last)}; the present time is {to_text(now)}",
            status=400,
            path="to",
            hint="only the past can be replayed; a dry run shows what comes next",
        )
    if first < now - restore_window:
        raise too_old(now - restore_window)
    return Window(first, last) if cursor is None else _resumed(cursor, first, last)


def cursor_of(tick_no: int, at: datetime) -> str:
    """The cursor with which a caller gets the page after this tick."""
    return f"{tick_no}@{to_text(at)}"


def too_old(since: datetime) -> Refused:
    """The error for a window that begins before the kept history."""
    return Refused(
        f"from is too early: this town can be replayed from {to_text(since)} on",
        status=400,
        path="from",
        hint=f"set `from` to {to_text(since)} or later",
    )


def _resumed(cursor: str, start: datetime, end: datetime) -> Window:
    number, _, at = cursor.partition("@")
    try:
        after, reached = int(number), from_text(at)
    except ValueError:
        after, reached = -1, start
    if after < 0 or not start <= reached <= end:
        raise Refused(
            f"not a cursor of this window: {cursor[:80]!r}",
            status=400,
            path="cursor",
            hint="pass the cursor of the previous answer, with the same from and to",
        )
    return Window(just_after(reached), end, after)


def time_in(given: object, path: str) -> datetime:
    """The time in a value of a request. Raises Refused (400)."""
    try:
        return parse_iso(given) if isinstance(given, str) else parse_iso("")
    except (ValueError, OverflowError) as error:
        raise Refused(UNREADABLE, status=400, path=path, hint=_OFFSET_HINT) from error

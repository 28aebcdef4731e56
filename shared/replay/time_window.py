"""The window that a person asks to see again, and the pages in which it is answered (spec/tick.md section 11)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.domain.errors import Refused
from shared.domain.limits import just_after
from shared.domain.times import from_text, parse_iso, to_text

MISSING: Final = "Missing required fields: from, to (ISO timestamps)"
UNREADABLE: Final = "Invalid date format. Use ISO 8601 timestamps."
_OFFSET_HINT: Final = "write a time with its offset, as in 2026-01-10T12:00:00Z"


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How much one answer holds at most: time, ticks, and bytes of JSON (None: whatever they are)."""

    span: timedelta = timedelta(hours=24)
    ticks: int = 2_000
    size: int | None = None


WHOLE_DAY: Final = PageLimits()
HTTP_SIZE: Final = 1_500_000
HTTP: Final = PageLimits(size=HTTP_SIZE)
"""An HTTP answer stays under the 6 MB that Lambda allows: actions stand in it twice, and the state beside the ticks."""


@dataclass(frozen=True, slots=True)
class Window:
    """Both ends belong to it. `resumed_after` is the tick that the last page ended with."""

    start: datetime
    end: datetime
    resumed_after: int | None = None


def window_of(
    start: object, end: object, *, now: datetime, restore_window: timedelta, cursor: str | None = None
) -> Window:
    """The window between two ISO 8601 times with offset; with `cursor`, what is left of it.

    Raises Refused (400) with the texts of the specification.
    """
    if start in (None, "") or end in (None, ""):
        raise Refused(MISSING, status=400, path="from" if start in (None, "") else "to", hint=_OFFSET_HINT)
    first, last = _time(start, "from"), _time(end, "to")
    if first > last:
        raise Refused("from is later than to", status=400, path="from", hint="exchange them")
    if last > now:
        raise Refused(
            f"to lies in the future: {to_text(last)}, and it is {to_text(now)}",
            status=400,
            path="to",
            hint="only what has happened can be replayed; a dry run shows what comes next",
        )
    if first < now - restore_window:
        raise too_old(now - restore_window)
    return Window(first, last) if cursor is None else _resumed(cursor, first, last)


def cursor_of(tick_no: int, at: datetime) -> str:
    """What a caller hands back to get the page after this tick."""
    return f"{tick_no}@{to_text(at)}"


def too_old(since: datetime) -> Refused:
    """The window begins before anything that can be run again."""
    return Refused(
        f"from lies before what is kept: this town can be replayed from {to_text(since)} on",
        status=400,
        path="from",
        hint=f"ask from {to_text(since)} on",
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
            hint="hand back the cursor of the last answer, with the same from and to",
        )
    return Window(just_after(reached), end, after)


def _time(given: object, path: str) -> datetime:
    try:
        return parse_iso(given) if isinstance(given, str) else parse_iso("")
    except (ValueError, OverflowError) as error:
        raise Refused(UNREADABLE, status=400, path=path, hint=_OFFSET_HINT) from error

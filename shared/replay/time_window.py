"""The window of a replay, and the pages of its answer (spec/tick.md section 11)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.domain.errors import Refused
from shared.domain.limits import just_after
from shared.domain.times import from_text, to_text


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

    def has(self, tick_no: int, at: datetime) -> bool:
        """Whether a tick that was reached belongs to the window, and not to the way to it."""
        return at >= self.start if self.resumed_after is None else tick_no > self.resumed_after


def window_of(start: datetime, end: datetime, *, now: datetime, cursor: str | None = None) -> Window:
    """The window between two times; with a `cursor`, the rest of it. Raises Refused (400)."""
    if start > now:
        raise _in_the_future("from", start, now)
    if start > end:
        raise Refused("from is later than to", status=400, path="from", hint="swap from and to")
    if end > now:
        raise _in_the_future("to", end, now)
    return Window(start, end) if cursor is None else _resumed(cursor, start, end)


def cursor_of(tick_no: int, at: datetime) -> str:
    """The cursor with which a caller gets the page after this tick."""
    return f"{tick_no}@{to_text(at)}"


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


def _in_the_future(path: str, at: datetime, now: datetime) -> Refused:
    return Refused(
        f"{path} is in the future: {to_text(at)}; the present time is {to_text(now)}",
        status=400,
        path=path,
        hint="only the past can be replayed; a dry run shows what comes next",
    )

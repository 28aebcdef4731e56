"""The times that somebody types to go to: a time of day, how long ago, or a whole time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from infra.townctl.arguments import past_time_of
from shared.domain.errors import Refused

FORMS: Final = "14:10, 20 min ago, yesterday 14:10, 2026-01-10T12:00:00Z"
"""Times that can be typed. Those without a date are in UTC, as the page shows them."""
_CLOCK: Final = re.compile(
    r"(?P<day>yesterday|today)?\s*(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(:(?P<second>[0-5]\d))?", re.IGNORECASE
)
_SHOWN: Final = 40


def time_typed(text: str, now: datetime) -> datetime:
    """The time that a text means at the time `now` of the town. Raises Refused (400), which names the forms that work."""
    typed = text.strip()
    clock = _CLOCK.fullmatch(typed)
    if clock is not None:
        return _of_the_day(clock, now)
    try:
        return past_time_of(typed, what="at", now=lambda: now)
    except Refused as refused:
        problem = f"“{typed[:_SHOWN]}” is not a time, so nothing was changed."
        raise Refused(problem, status=400, path="at", hint=f"For example: {FORMS}.") from refused


def _of_the_day(clock: re.Match[str], now: datetime) -> datetime:
    """The newest such time of day that is over, or that of the day that is named."""
    hour, minute, second = int(clock["hour"]), int(clock["minute"]), int(clock["second"] or 0)
    found = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    day = (clock["day"] or "").lower()
    if day == "yesterday" or (not day and found > now):
        return found - timedelta(days=1)
    return found

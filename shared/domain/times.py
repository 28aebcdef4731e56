"""Times as the database stores them: UTC text of exactly 24 characters, so that sorting the texts sorts the times."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from shared.domain.limits import MILLISECOND

_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


def to_text(at: datetime) -> str:
    """`2026-01-10T12:00:00.000Z` for an aware time in any zone. Microseconds are cut off."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


@lru_cache(maxsize=8192)
def from_text(text: str) -> datetime:
    """The aware UTC time of a stored text. Raises ValueError if the text is not exactly in the stored form.

    Cached, because a tick reads mostly the same few hundred times as the tick before it.
    """
    if len(text) != 24 or not _TEXT.fullmatch(text):
        raise ValueError(f"not a stored time: {text[:40]!r}")
    return datetime.fromisoformat(text)


def time_or_none(text: str | None) -> datetime | None:
    """A stored time that may be missing. Raises ValueError for a text that is not in the stored form."""
    return None if text is None else from_text(text)


def readable_time(value: object) -> datetime | None:
    """The time if `value` is a stored time, else None. For places that may hold any value, such as metadata."""
    try:
        return from_text(value) if isinstance(value, str) else None
    except ValueError:
        return None


def text_or_none(at: datetime | None) -> str | None:
    """The stored form of a time that may be missing."""
    return None if at is None else to_text(at)


def span_text(span: timedelta) -> str:
    """A duration in words: `2 h 30 min`, `24 h`, `1 min 30 s`. Units with 0 are left out."""
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if count]
    return " ".join(parts) or "0 s"


def long_span_text(span: timedelta) -> str:
    """The same, but in whole days from two days on: `3652 days`."""
    return f"{span.days} days" if span >= timedelta(days=2) else span_text(span)


def parse_iso(text: str) -> datetime:
    """An ISO 8601 time with an offset, as people and producers write it. Raises ValueError if there is no offset."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"a time needs an offset, as in 2026-01-10T12:00:00Z: {text[:40]!r}")
    return whole_milliseconds(at.astimezone(UTC))


def whole_milliseconds(at: datetime) -> datetime:
    """The same time without microseconds: a town's times are whole milliseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def to_milliseconds(at: datetime) -> int:
    """Milliseconds since 1970, as in inbox keys and LTX headers."""
    return (at - _EPOCH) // MILLISECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """The aware UTC time for a number of milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

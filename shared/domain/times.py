"""Times as the database keeps them: UTC text of exactly 24 characters, so that text order is time order."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from shared.domain.limits import MILLISECOND

_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


def to_text(at: datetime) -> str:
    """`2026-01-10T12:00:00.000Z` for an aware time in any zone; microseconds are cut off."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


@lru_cache(maxsize=8192)
def from_text(text: str) -> datetime:
    """The aware UTC time of a stored text. Raises ValueError if it is not exactly in the stored form.

    Remembered, because a tick reads the same few hundred times as the tick before it.
    """
    if len(text) != 24 or not _TEXT.fullmatch(text):
        raise ValueError(f"not a stored time: {text[:40]!r}")
    return datetime.fromisoformat(text)


def time_or_none(text: str | None) -> datetime | None:
    """A stored time that may be missing. Raises ValueError if it is there and not in the stored form."""
    return None if text is None else from_text(text)


def readable_time(value: object) -> datetime | None:
    """A stored time in a place where anything may stand, such as metadata; None for every other value."""
    try:
        return from_text(value) if isinstance(value, str) else None
    except ValueError:
        return None


def text_or_none(at: datetime | None) -> str | None:
    """The stored form of a time that may be missing."""
    return None if at is None else to_text(at)


def span_text(span: timedelta) -> str:
    """A span as texts name it: `2 h 30 min`, `24 h`, `1 min 30 s`. Units that count 0 are left out."""
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if count]
    return " ".join(parts) or "0 s"


def parse_iso(text: str) -> datetime:
    """An ISO 8601 time with offset, as people and producers write it. Raises ValueError without an offset."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"a time needs an offset, as in 2026-01-10T12:00:00Z: {text[:40]!r}")
    return whole_milliseconds(at.astimezone(UTC))


def whole_milliseconds(at: datetime) -> datetime:
    """The same time without its microseconds: the finest time that a town knows is a millisecond."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def to_milliseconds(at: datetime) -> int:
    """Milliseconds since 1970, as inbox keys and LTX headers carry them."""
    return (at - _EPOCH) // MILLISECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """The aware UTC time of a count of milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

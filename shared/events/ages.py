"""Producers' times as ages (spec/events.md 1, rule 11): a producer's clock may be wrong by any amount, and still measures spans."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.domain import limits
from shared.domain.times import from_text, readable_time


class Dated(Protocol):
    """An event with the time of its receipt and that of its producer."""

    @property
    def created_at(self) -> str:
        """`occurred_at`, or the receipt if the producer gave none."""
        ...

    @property
    def received_at(self) -> str:
        """The receipt."""
        ...


def on_our_clock(event: Dated, told: datetime) -> datetime:
    """When it happened that a producer dates with `told`: as long before the receipt as `told` is before its `occurred_at`.

    Never later than the receipt. An event without `occurred_at` does not say how old `told` is: then `told` itself counts.
    """
    received = from_text(event.received_at)
    occurred = readable_time(event.created_at) or received
    age = max(occurred - told, timedelta(0))
    try:
        return received - age
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def on_our_clock_if_plausible(event: Dated, told: datetime) -> datetime:
    """The same; but without `occurred_at`, a time that is older than any event may be says only that the clock is wrong."""
    at = on_our_clock(event, told)
    received = from_text(event.received_at)
    if event.created_at == event.received_at and received - at > limits.EVENT_RETENTION:
        return received
    return at

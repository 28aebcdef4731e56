"""The town's dispatch circuit breaker (spec/rules.md section 2): too many beads that fail to start pause dispatching."""

from collections.abc import Iterator
from dataclasses import replace

from shared.actions import NotifyMayor
from shared.domain import limits
from shared.domain.limits import just_after
from shared.domain.tick import Breaker, Tick
from shared.domain.times import span_text
from shared.rules.base import Decision, Due
from shared.town.reading import TownReader


def count_failures(town: TownReader, tick: Tick) -> Breaker:
    """Phase 7: the breaker as it is from now on; every rule of the pass uses this value."""
    failures, oldest = town.failed_starts(tick.ago(limits.BREAKER_WINDOW))
    is_open = failures >= limits.BREAKER_THRESHOLD
    due = None if oldest is None else just_after(oldest + limits.BREAKER_WINDOW)
    before = tick.breaker
    if is_open == before.open:
        return replace(before, failures=failures, due=due, turned=False)
    return Breaker(
        open=is_open,
        since=tick.now,
        episode=before.episode + (1 if is_open else 0),
        failures=failures,
        turned=True,
        due=due,
    )


def dispatch_failures(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """CB: while it is open, look again when the oldest counted failure leaves the window."""
    if tick.breaker.open and tick.breaker.due is not None:
        yield Due(tick.breaker.due, (), "breaker_open", tick.breaker.since)


def announce(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """B-end: one message when the breaker opens, one when it closes, none in between."""
    if not tick.breaker.turned:
        return
    word = "open" if tick.breaker.open else "closed"
    message = (
        f"dispatch paused: {tick.breaker.failures} beads failed to start in {span_text(limits.BREAKER_WINDOW)}"
        if tick.breaker.open
        else "dispatch resumed"
    )
    yield NotifyMayor(subject=f"breaker:{tick.breaker.episode}:{word}", message=message)

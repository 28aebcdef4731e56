"""The town's dispatch circuit breaker (spec/rules.md section 2): when too many beads fail to start, dispatching pauses."""

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
    """Phase 7: the breaker as every rule of this pass sees it."""
    # The breaker has no half-open state and no timer. It is open exactly while at least BREAKER_THRESHOLD beads have a failed
    # start within BREAKER_WINDOW, so it closes by itself as failures grow old. Example: 20 failures between 12:00 and
    # 12:05 open it at 12:05; at 12:30:00.001 the first one has left the window and 19 remain, so it closes. A bead that
    # was closed in the meantime no longer counts, and a bead counts once, however often it failed.
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
    """CB: while the breaker is open, run again when the oldest counted failure leaves the window."""
    if tick.breaker.open and tick.breaker.due is not None:
        yield Due(tick.breaker.due, (), "breaker_open", tick.breaker.since)


def announce(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """B-end: tell the mayor when the breaker opens and when it closes, once each."""
    if not tick.breaker.turned:
        return
    word = "open" if tick.breaker.open else "closed"
    message = (
        f"dispatch paused: {tick.breaker.failures} beads failed to start in {span_text(limits.BREAKER_WINDOW)}"
        if tick.breaker.open
        else "dispatch resumed"
    )
    yield NotifyMayor(subject=f"breaker:{tick.breaker.episode}:{word}", message=message)

"""Simulated time: what is to happen, in order. Whole milliseconds; nothing real passes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from shared.domain.times import from_text

BEGINNING = from_text("2026-01-10T12:00:00.000Z")
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
CALM_PASS_SECONDS = 20
"""The pause between two looks at the towns, once the world is calm; at least."""


class Scheduler:
    """A heap of things to do. What is due at the same millisecond happens in the order in which it was planned."""

    def __init__(self) -> None:
        self.now = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def after(self, milliseconds: int, do: Callable[[], None]) -> None:
        heappush(self._heap, (self.now + max(milliseconds, 0), next(self._order), do))

    def run(self, *, until: int, enough: Callable[[], bool]) -> None:
        """Let things happen until that time, or until it is enough."""
        while self._heap and self._heap[0][0] <= until and not enough():
            self.now, _, do = heappop(self._heap)
            do()
        if not enough():
            self.now = until

    def time(self, *, skew: int = 0) -> datetime:
        """The time on a clock that is so many milliseconds ahead."""
        return BEGINNING + timedelta(milliseconds=self.now + skew)


class SkewedClock:
    """The Clock port of one host."""

    def __init__(self, scheduler: Scheduler, skew: int) -> None:
        self._scheduler = scheduler
        self.skew = skew
        self.usual = skew
        """What the skew is again after a jump."""

    def now(self) -> datetime:
        return self._scheduler.time(skew=self.skew)

    def sleep(self, seconds: float) -> None:
        """The driver has let the time pass already."""

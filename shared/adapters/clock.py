"""The clocks, and the only readings of real time in the project.

A town knows one time: that of its clock. `SystemClock` is the wall clock. `ScaledClock` runs faster (or slower) than
the wall, so that a demonstration shows in a minute what takes an hour, with no constant of the specification changed:
ninety seconds of silence are still ninety seconds, of that clock. Agents run in processes of their own and must live
in the same time as the town; therefore a clock can be written as a line of text, handed over in the environment, and
read back.

Waiting for an operating system (a process that is to end, a lock that is to be free) has nothing to do with the time
of a town. `wait_for` and `Budget` measure it in real seconds, on a clock that never jumps.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.domain import times
from shared.ports.clock import Clock

CLOCK_VARIABLE: Final = "TOWN_CLOCK"
"""Environment variable in which an agent finds the line of its town's clock; missing or `system` is the wall clock."""

_SYSTEM_TEXT: Final = "system"


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The wall clock of this machine."""

    def now(self) -> datetime:
        """The present time, aware, UTC, in whole milliseconds."""
        return times.whole_milliseconds(datetime.now(UTC))

    def sleep(self, seconds: float) -> None:
        """Wait for so many real seconds."""
        time.sleep(max(0.0, seconds))

    def to_text(self) -> str:
        """The line from which `from_text` makes this clock again."""
        return _SYSTEM_TEXT


@dataclass(frozen=True, slots=True)
class ScaledClock:
    """A clock that showed `epoch` when the wall (seconds since 1970) showed `wall_epoch`, and runs `speed` times as
    fast.
    """

    epoch: datetime
    wall_epoch: float
    speed: float

    def __post_init__(self) -> None:
        """Refuse a clock that stands still, runs backwards or has no zone."""
        if not 0 < self.speed < float("inf"):
            raise ValueError(f"the speed of a clock must be a number above 0, not {self.speed}: use 1 for real time")
        if self.epoch.tzinfo is None:
            raise ValueError("the epoch of a clock needs a zone: use an aware datetime in UTC")

    @classmethod
    def starting_now(cls, *, speed: float) -> "ScaledClock":
        """A clock that shows the right time at this moment and leaves it at `speed`."""
        wall = time.time()
        return cls(epoch=datetime.fromtimestamp(wall, UTC), wall_epoch=wall, speed=speed)

    def now(self) -> datetime:
        """The present time of this clock, aware, UTC, in whole milliseconds."""
        passed = timedelta(seconds=(time.time() - self.wall_epoch) * self.speed)
        return times.whole_milliseconds((self.epoch + passed).astimezone(UTC))

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""
        time.sleep(max(0.0, seconds) / self.speed)

    def to_text(self) -> str:
        """The line from which `from_text` makes this clock again, to the microsecond."""
        return f"scaled {self.epoch.astimezone(UTC).isoformat()} {self.wall_epoch!r} {self.speed!r}"


def from_text(text: str) -> Clock:
    """The clock of a line written by `to_text`; empty text is the wall clock. Raises ValueError for any other text."""
    words = text.split()
    if words in ([], [_SYSTEM_TEXT]):
        return SystemClock()
    if len(words) != 4 or words[0] != "scaled":
        raise ValueError(f"not a clock: {text[:80]!r}; {CLOCK_VARIABLE} holds `system` or a line written by to_text()")
    return ScaledClock(epoch=datetime.fromisoformat(words[1]), wall_epoch=float(words[2]), speed=float(words[3]))


class Budget:
    """So many real seconds from its making; what a call may spend on waiting in all its parts together."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, *, at_most: float = float("inf")) -> float:
        """The real seconds that are left, never below 0."""
        return max(0.0, min(self._end - time.monotonic(), at_most))


def wait_for(holds: Callable[[], bool], *, seconds: float, every: float = 0.01) -> bool:
    """Look every few real milliseconds until `holds()`, for at most so many real seconds; say whether it came to
    hold.

    It looks at least once, also with no time left.
    """
    budget = Budget(seconds)
    while not holds():
        if budget.left() == 0:
            return False
        time.sleep(every)
    return True

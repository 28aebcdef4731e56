"""The clocks of towns, and waiting in real time.

Everything in a town uses the town's clock. `SystemClock` is real time. `ScaledClock` runs faster or slower, so that a
demonstration can show an hour in a minute without changing any constant of the specification: 90 seconds of silence are still
90 seconds of that clock. Agents run in processes of their own and must use the same clock as their town. Therefore a clock can
be written as a line of text, passed in the environment, and read back.

A wait for the operating system (for a process to end, for a lock to be released) does not depend on the town's clock.
`wait_for` and `Budget` measure it in real seconds, on a clock that never jumps.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.domain import times
from shared.ports.clock import Clock

CLOCK_VARIABLE: Final = "TOWN_CLOCK"
"""The environment variable that passes the town's clock to agents, as a line of text. Missing or `system` means real time."""

_SYSTEM_TEXT: Final = "system"


@dataclass(frozen=True, slots=True)
class SystemClock:
    """Real time, from this machine's clock."""

    def now(self) -> datetime:
        """The current time: aware, in UTC, in whole milliseconds."""
        return times.whole_milliseconds(datetime.now(UTC))

    def sleep(self, seconds: float) -> None:
        """Wait for this many real seconds."""
        time.sleep(max(0.0, seconds))

    def to_text(self) -> str:
        """The line from which `from_text` recreates this clock."""
        return _SYSTEM_TEXT


@dataclass(frozen=True, slots=True)
class ScaledClock:
    """A clock that showed `epoch` at the real time `wall_epoch` (seconds since 1970), and runs `speed` times as fast."""

    epoch: datetime
    wall_epoch: float
    speed: float

    def __post_init__(self) -> None:
        """Reject a clock that stands still, runs backwards or has no time zone."""
        if not 0 < self.speed < float("inf"):
            raise ValueError(
                f"the speed of a clock must be a finite number greater than 0, not {self.speed}; 1 is real time"
            )
        if self.epoch.tzinfo is None:
            raise ValueError("the epoch of a clock needs a time zone: use an aware datetime in UTC")

    @classmethod
    def starting_now(cls, *, speed: float) -> "ScaledClock":
        """A clock that shows the real time now and then runs at `speed`."""
        wall = time.time()
        return cls(epoch=datetime.fromtimestamp(wall, UTC), wall_epoch=wall, speed=speed)

    def now(self) -> datetime:
        """The current time of this clock: aware, in UTC, in whole milliseconds."""
        passed = timedelta(seconds=(time.time() - self.wall_epoch) * self.speed)
        return times.whole_milliseconds((self.epoch + passed).astimezone(UTC))

    def sleep(self, seconds: float) -> None:
        """Wait for this many seconds of this clock."""
        time.sleep(max(0.0, seconds) / self.speed)

    def to_text(self) -> str:
        """The line from which `from_text` recreates this clock, to the microsecond."""
        return f"scaled {self.epoch.astimezone(UTC).isoformat()} {self.wall_epoch!r} {self.speed!r}"


def from_text(text: str) -> Clock:
    """The clock in a line written by `to_text`; an empty text is real time. Raises ValueError for any other text."""
    words = text.split()
    if words in ([], [_SYSTEM_TEXT]):
        return SystemClock()
    if len(words) != 4 or words[0] != "scaled":
        raise ValueError(
            f"not a clock: {text[:80]!r}; {CLOCK_VARIABLE} must hold `system` or a line written by to_text()"
        )
    return ScaledClock(epoch=datetime.fromisoformat(words[1]), wall_epoch=float(words[2]), speed=float(words[3]))


def monotonic_seconds() -> float:
    """Seconds of a clock that is never set. On most systems it stands still while the machine sleeps."""
    return time.monotonic()


class Budget:
    """The real seconds, starting now, that all parts of a call together may spend on waiting."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, *, at_most: float = float("inf")) -> float:
        """The real seconds that are left, never less than 0."""
        return max(0.0, min(self._end - time.monotonic(), at_most))


def wait_for(holds: Callable[[], bool], *, seconds: float, every: float = 0.01) -> bool:
    """Check `holds()` every few milliseconds, for at most `seconds` real seconds; returns whether it became true.

    Checks at least once, even if no time is left.
    """
    budget = Budget(seconds)
    while not holds():
        if budget.left() == 0:
            return False
        time.sleep(every)
    return True

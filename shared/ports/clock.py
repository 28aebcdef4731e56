"""The clock port: the current time, and waiting."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The clock of a town. Only entry points, the runner and adapters read it; a tick is given the time as input.

    The clock may run faster than real time (`townctl demo`). It may jump: a reading can be earlier than the one before. The
    runner ensures that tick times increase; code that measures a duration treats a negative one as zero.
    """

    def now(self) -> datetime:
        """The current time: aware, in UTC, in whole milliseconds. Never raises."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for this many seconds of this clock; return at once if the number is not positive. Never raises."""
        ...

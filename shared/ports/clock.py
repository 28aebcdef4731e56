"""The clock port: the present time, and waiting."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The wall clock. Only entry points, the worker's edge and adapters read it."""

    def now(self) -> datetime:
        """The present time, aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""
        ...

"""Waiting for a model that is rate limited, overloaded or unreachable: at most 30 minutes of the town's clock without an answer."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from shared.ports.clock import Clock

AT_MOST: Final = timedelta(minutes=30)
_FIRST: Final = timedelta(seconds=5)
_LONGEST: Final = timedelta(minutes=2)
_LOOK_SECONDS: Final = 0.1


class ModelWait:
    """How long the model has not answered."""

    def __init__(self, clock: Clock, stopped: threading.Event) -> None:
        self._clock = clock
        self._stopped = stopped
        self._since: datetime | None = None
        self._tries = 0

    def failed(self) -> None:
        """The model did not answer, for a reason that passes."""
        if self._since is None:
            self._since = self._clock.now()

    def answered(self) -> None:
        """The model answers again."""
        self._since, self._tries = None, 0

    @property
    def is_over(self) -> bool:
        """Whether it has been waited for long enough."""
        return self._since is not None and self._clock.now() - self._since >= AT_MOST

    def next_delay(self, retry_after: timedelta | None) -> timedelta | None:
        """How long to wait before the next try; None if the model would have to be waited for too long."""
        self.failed()
        delay = retry_after if retry_after is not None else min(_FIRST * 2**self._tries, _LONGEST)
        self._tries = min(self._tries + 1, 10)
        since = self._since or self._clock.now()
        return None if self._clock.now() + delay - since > AT_MOST else delay

    def wait(self, delay: timedelta, *, meanwhile: Callable[[], None]) -> None:
        """Wait that long, or until the agent is stopped. `meanwhile` is called again and again."""
        wait_until(self._clock, self._clock.now() + delay, self._stopped, meanwhile=meanwhile)


def wait_until(
    clock: Clock, end: datetime, stopped: threading.Event, *, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Wait until this time of the town's clock, or until the agent is stopped."""
    while clock.now() < end and not stopped.wait(_LOOK_SECONDS):
        meanwhile()

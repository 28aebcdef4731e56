"""How often one agent, or one link, may ask one kind of thing: counted in memory, by each environment of a function for itself.

So it is no exact limit but a wall: what one asker can cost is bounded, however many functions answer it.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from shared.domain.errors import Refused

WINDOW: Final = timedelta(minutes=10)
_MOST_ASKERS: Final = 10_000


@dataclass
class Pace:
    """The requests of the last ten minutes by asker, of whom each may send `most`. `hint` says how to need fewer.

    `whose` is what an asker is.
    """

    most: int
    hint: str
    whose: str = "agent"
    asked: dict[tuple[object, ...], deque[datetime]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def require(self, *asker: object, now: datetime) -> None:
        """Count a request of an asker, who is told by all of these together. Raises Refused (429) if there were too many."""
        with self._lock:
            times = self.asked.pop(asker, deque())
            while times and not timedelta(0) <= now - times[0] < WINDOW:
                times.popleft()
            self.asked[asker] = times  # who asked last is the last one
            if len(self.asked) > _MOST_ASKERS:
                self.asked.pop(next(iter(self.asked)))
            if len(times) >= self.most:
                raise Refused(
                    f"more than {self.most} requests in 10 minutes for one {self.whose}", status=429, hint=self.hint
                )
            times.append(now)

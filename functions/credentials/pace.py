"""How often an agent may ask for a credential: counted in memory, by each environment of the function for itself."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from shared.domain.errors import Refused

MOST: Final = 30
"""A helper of git asks a few times an hour, because it keeps what it got."""
WINDOW: Final = timedelta(minutes=10)
_MOST_AGENTS: Final = 10_000


@dataclass
class Pace:
    """The requests of the last ten minutes by agent."""

    asked: dict[tuple[str, str], deque[datetime]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def require(self, town_id: str, agent_id: str, now: datetime) -> None:
        """Count a request. Raises Refused (429) if there were too many."""
        with self._lock:
            times = self.asked.pop((town_id, agent_id), deque())
            while times and not timedelta(0) <= now - times[0] < WINDOW:
                times.popleft()
            self.asked[town_id, agent_id] = times  # the agent that asked last is the last one
            if len(self.asked) > _MOST_AGENTS:
                self.asked.pop(next(iter(self.asked)))
            if len(times) >= MOST:
                hint = "keep a credential until shortly before it expires, and ask once for all commands of git"
                raise Refused(f"more than {MOST} requests in 10 minutes for one agent", status=429, hint=hint)
            times.append(now)

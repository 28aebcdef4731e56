"""The life of a process that is ended from outside, and what it may still begin: one derivation for every function.

A Lambda is cut off at its time-out, wherever it stands. Nothing is lost by that, but a claimed effect whose answer nobody
hears is held back for minutes. So each kind of work has a last moment at which it may begin:

    ends_at - turn                  a town: its whole run, with whatever is slow in it, should fit
    ends_at - ENDING                a commit
    ends_at - ENDING - time-out     an effect: its answer must still be heard, however slow it is

The turn differs between the functions, because they do different things with a town that turns out to be slow:

- The dispatcher has 58 s and runs only what is quick. A town that is slower than its turn is not committed and goes to a
  worker, so a turn is short: else a quarter of each minute would be wasted.
- A worker has 180 s, and nobody is there to take a slow town over. Its turn holds the slowest observation and the slowest
  effect one after the other.
- Retention deletes versions and cannot stop in the middle of a town without doing the same listing again a day later; its
  900 s allow for a long turn.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.domain import limits
from shared.domain.effect_allowances import ALLOWANCE

ENDING: Final = timedelta(seconds=4)
"""What follows the last commit or answer: results and markers are written, the queue and the summary line are told."""

SLOWEST_EFFECT: Final = max(allowance.timeout for allowance in ALLOWANCE.values())
"""The longest time that any effect may take, the start of an agent."""

DISPATCHER_TURN: Final = timedelta(seconds=6) + ENDING
"""A tick of a town that has nothing slow to wait for: load, inbox, tick, commit."""

WORKER_TURN: Final = timedelta(seconds=16) + limits.OBSERVE_WITHIN + SLOWEST_EFFECT + ENDING
"""A tick of a large town, its look at agents that do not answer, and an effect as slow as effects may be."""

RETENTION_TURN: Final = timedelta(seconds=56) + ENDING
"""Listing the versions of a town with a long past, and deleting those that no restore point needs."""


@dataclass(frozen=True, slots=True)
class Life:
    """When this process ends, and how long before that it begins no town any more."""

    ends_at: datetime
    turn: timedelta

    @property
    def begin_town_until(self) -> datetime:
        """From this moment on no town is begun."""
        return self.ends_at - self.turn

    @property
    def begin_commit_until(self) -> datetime:
        """After this moment no commit is begun."""
        return self.ends_at - ENDING

    def begin_effect_until(self, timeout: timedelta) -> datetime:
        """After this moment no effect with that time-out is begun."""
        return self.ends_at - ENDING - timeout

"""When a process with a fixed end may still begin a town, a commit or an effect: the same rule for every function.

A Lambda is stopped at its timeout, whatever it is doing. Nothing is lost, but a claimed effect whose answer does not arrive
is held back for minutes. So each kind of work has a last moment at which it may begin:

    ends_at - turn                  a town: its whole run should fit, slow parts included
    ends_at - ENDING                a commit
    ends_at - ENDING - timeout      an effect: its answer must arrive in time, however slow it is

The turn differs between the functions, because they treat slow towns differently:

- The dispatcher has 58 s and runs only quick towns. A tick whose effects might not end in time is not committed, and its town
  goes to a worker. So the turn is short: a longer one would leave more of each minute unused.
- A worker has 180 s, and no other process takes over its slow towns. Its turn allows for the slowest observation followed by
  the slowest effect.
- Retention has 900 s, which allow for a long turn. If it stops in the middle of a town, it must list the same versions again a
  day later.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.domain import limits
from shared.domain.effect_allowances import ALLOWANCE

ENDING: Final = timedelta(seconds=4)
"""The time after the last commit or answer, to write results and markers, update the queue and write the summary line."""

SLOWEST_EFFECT: Final = max(allowance.timeout for allowance in ALLOWANCE.values())
"""The longest timeout of any effect: that of starting an agent."""

DISPATCHER_TURN: Final = timedelta(seconds=6) + ENDING
"""A run without slow calls: load, inbox, tick, commit."""

WORKER_TURN: Final = timedelta(seconds=16) + limits.OBSERVE_WITHIN + SLOWEST_EFFECT + ENDING
"""A run of a large town whose agents do not answer the observation, with one of the slowest effects."""

RETENTION_TURN: Final = timedelta(seconds=56) + ENDING
"""List the versions of a town with a long past, and delete those that no restore point needs."""


@dataclass(frozen=True, slots=True)
class Life:
    """When this process ends. During the last `turn` before that it begins no town."""

    ends_at: datetime
    turn: timedelta

    @property
    def begin_town_until(self) -> datetime:
        """From this moment on, no town is begun."""
        return self.ends_at - self.turn

    @property
    def begin_commit_until(self) -> datetime:
        """After this moment, no commit is begun."""
        return self.ends_at - ENDING

    def begin_effect_until(self, timeout: timedelta) -> datetime:
        """After this moment, no effect with this timeout is begun."""
        return self.ends_at - ENDING - timeout

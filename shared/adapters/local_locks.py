"""The lock of one agent, which excludes starts and stops of the same agent from each other, also between processes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shared.adapters import file_locks
from shared.adapters.clock import Budget
from shared.adapters.local_state import AgentHome

_LOCK: Final = "lock"


class Busy(Exception):
    """Another start or stop of the same agent did not end in time. The text says whose it is."""


@contextlib.contextmanager
def locked(home: AgentHome, budget: Budget) -> Iterator[int]:
    """Hold the lock of one agent. Release it by closing the file, never by unlocking: a supervisor may hold it as well.

    Raises Busy if the lock is not free within the budget, and within the time limit of locks.
    """
    home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with file_locks.held(_place(home), seconds=budget.left(at_most=file_locks.LIMIT_SECONDS), mode=0o600) as lock:
            yield lock
    except file_locks.LockHeld as error:
        raise Busy(f"another start or stop of this agent is still going on: {error}; {error.hint}") from error


def is_locked(home: AgentHome) -> bool:
    """Whether a start or stop of the agent is in progress."""
    return file_locks.is_held(_place(home))


def _place(home: AgentHome) -> Path:
    return home.directory / _LOCK

"""The lock of one agent, which excludes starts and stops of the same agent from each other, also between processes."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shared.adapters.clock import Budget, wait_for
from shared.adapters.local_state import AgentHome

_LOCK: Final = "lock"


class Busy(Exception):
    """Another start or stop of the same agent did not end in time."""


@contextlib.contextmanager
def locked(home: AgentHome, budget: Budget) -> Iterator[int]:
    """Hold the lock of one agent. Release it by closing the file, never by unlocking: a supervisor may hold it as well.

    Raises Busy if the lock is not free within the budget.
    """
    home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(_place(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not wait_for(lambda: _try(lock), seconds=budget.left()):
            raise Busy
        yield lock
    finally:
        os.close(lock)


def is_locked(home: AgentHome) -> bool:
    """Whether a start or stop of the agent is in progress."""
    with contextlib.suppress(OSError), _place(home).open("rb") as lock:
        return not _try(lock.fileno())
    return False


def _place(home: AgentHome) -> Path:
    return home.directory / _LOCK


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""The end of a user of agents: kills all its processes, and removes what it left in the memory of the machine.

Runs as a script of its own (`python -I -S local_user_end.py USER`), with the rights of root, which it gives up immediately before
it kills: from then on, a process of the user could kill it. System V shared memory, message queues and semaphores belong to a
user, not to a process; left alone, they would take memory forever, and pass to the agent that has the number next.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

_TABLES: Final = {"shm": "shmctl", "msg": "msgctl", "sem": "semctl"}
"""The tables in /proc/sysvipc, with the call that removes what a line stands for."""
_REMOVE: Final = 0


def end(user: int) -> None:
    """Become the user, kill everything else that it runs, and remove its System V objects.

    The user may not be able to read Python's files, so nothing is imported any more once this has become the user.
    """
    os.setresuid(user, user, user)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    library = ctypes.CDLL(None)
    for table, call in _TABLES.items():
        for number in _owned(Path("/proc/sysvipc") / table, user):
            # semctl has the number of a semaphore in the set as its second argument; nothing else reads the third
            arguments = (number, 0, _REMOVE) if table == "sem" else (number, _REMOVE, None)
            getattr(library, call)(*arguments)


def _owned(table: Path, user: int) -> list[int]:
    """The ids of a user's objects."""
    with contextlib.suppress(OSError):
        names, *lines = (line.split() for line in table.read_bytes().decode().splitlines())
        owners = [names.index(name) for name in ("uid", "cuid")]
        return [int(line[1]) for line in lines if str(user) in [line[at] for at in owners]]
    return []


if __name__ == "__main__":
    end(int(sys.argv[1]))

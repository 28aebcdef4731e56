"""SQLite without room ends the tick, and is never the fault of the event, the action or the rule that meets it.

A large image is a file below the directory for temporary files (`large_images`), beside those of other towns, and a tick writes
its journal there before it changes a page. If an error boundary of the engine counted a full disk as a failed event, three ticks
of a full disk would poison a good event.
"""

import sqlite3
from typing import Final

from shared.domain.errors import NoRoomLeft

_OF_THE_DISK: Final = frozenset((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN))
_PRIMARY: Final = 0xFF
"""The part of an extended result code of SQLite that names its kind."""


def require_room(error: BaseException) -> None:
    """Return if the error has another cause. Raises NoRoomLeft if SQLite could not write, or the process has no memory left."""
    if isinstance(error, NoRoomLeft):
        raise error
    if isinstance(error, MemoryError):
        problem = "the memory of this process is used up"
        raise NoRoomLeft(problem, hint="nothing was changed; give the function or the machine more memory") from error
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int) and code & _PRIMARY in _OF_THE_DISK:
        problem = f"SQLite could not write to the directory for temporary files: {error}"
        hint = "nothing was changed; free space there, or raise EphemeralStorage of the function in template.yaml"
        raise NoRoomLeft(problem, hint=hint) from error

"""The errors of a directory store: those of its disk and of its locks, with what to do about them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.adapters import file_locks
from shared.domain.errors import AccessDenied, StoreUnavailable, TownError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def translated(root: Path, doing: str) -> Iterator[None]:
    """Raise what the disk or a lock of a store raises as an error of ours. `doing` says what was being done."""
    try:
        yield
    except file_locks.LockHeld as error:
        raise StoreUnavailable(f"{doing} in {root}: {error}", hint=error.hint) from error
    except OSError as error:
        raise _ours(root, doing, error) from error


def _ours(root: Path, doing: str, error: OSError) -> TownError:
    reason = f"{doing} in {root}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreUnavailable(reason, hint=f"the disk is full: free space under {root}; nothing was lost")
    if error.errno in _FORBIDDEN:
        return AccessDenied(reason, hint=f"allow this user to read and write {root} and everything in it")
    return StoreUnavailable(reason, hint=f"check the disk of {root} and the system's log, then try again")

"""Removes what others may have made, such as the agents: directories of any depth and size, with links and without rights.

`shutil.rmtree` keeps a directory open for each level, so whoever nests deeply enough makes it fail. Here one is open, and the way
back is its own `..`, which must still be the directory from which it was entered.
"""

import errno
import os
from itertools import islice
from pathlib import Path
from typing import Final

_AT_ONCE: Final = 1000
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ALL_RIGHTS: Final = 0o700


def remove(path: Path) -> None:
    """Remove a file or a directory with everything in it, without following links. Nothing there is not an error.

    Raises OSError.
    """
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _remove_directory(above, path.name)
        finally:
            os.close(above)


def _remove_directory(above: int, name: str) -> None:
    """Remove the directory `name` in the open directory `above`."""
    way = [(_identity(above), name)]
    """The directories above the present one, and the name of the next in each."""
    present = _opened(above, name)
    try:
        while way:
            below = _cleared(present)
            if below is not None:
                way.append((_identity(present), below))
                present = _changed(present, _opened(present, below))
            else:
                parent, name = way.pop()
                present = _changed(present, os.open("..", _DIRECTORY, dir_fd=present))
                if _identity(present) != parent:
                    raise OSError(errno.EBUSY, "a directory was moved while it was being removed")
                os.rmdir(name, dir_fd=present)
    finally:
        os.close(present)


def _cleared(directory: int) -> str | None:
    """Remove the files of an open directory until it is empty, or a directory is found in it, whose name is returned."""
    while found := _entries(directory):
        for name in (name for name, is_directory in found if not is_directory):
            os.unlink(name, dir_fd=directory)
        below = next((name for name, is_directory in found if is_directory), None)
        if below is not None:
            return below
    return None


def _entries(directory: int) -> list[tuple[str, bool]]:
    """Some entries of an open directory: their names, and whether each is a directory."""
    with os.scandir(directory) as found:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(found, _AT_ONCE)]


def _opened(above: int, name: str) -> int:
    """Open a directory, and let its owner change it."""
    try:
        opened = os.open(name, _DIRECTORY, dir_fd=above)
    except PermissionError:
        os.chmod(name, _ALL_RIGHTS, dir_fd=above)
        opened = os.open(name, _DIRECTORY, dir_fd=above)
    if os.fstat(opened).st_mode & _ALL_RIGHTS != _ALL_RIGHTS:
        os.fchmod(opened, _ALL_RIGHTS)
    return opened


def _changed(closed: int, opened: int) -> int:
    os.close(closed)
    return opened


def _identity(directory: int) -> tuple[int, int]:
    found = os.fstat(directory)
    return found.st_dev, found.st_ino

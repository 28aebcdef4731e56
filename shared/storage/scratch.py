"""A directory for the files of large images, one for each process, below the system's temporary directory.

A process holds a lock on its directory. A directory without a lock was left by a process that was killed, such as a Lambda
that timed out; the next process removes it when it makes its own.
"""

import atexit
import fcntl
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "town-images-"
_numbers = itertools.count(1)
_homes: dict[int, tuple[Path, int]] = {}
"""The directory of each process id, with the open file that locks it. After a fork the child makes its own."""


class ScratchDirectory:
    """Names files for images and removes them. Implements the protocol `shared.town.large_images.ScratchFiles`."""

    def new(self) -> Path:
        """A path that is not in use."""
        process = os.getpid()
        if process not in _homes:
            _remove_abandoned()
            _homes[process] = _own_directory()
        return _homes[process][0] / f"{next(_numbers)}.sqlite"

    def remove(self, path: Path) -> None:
        """Remove a file and its journal, unless another process made them: a forked child must not remove its parent's files."""
        home = _homes.get(os.getpid())
        if home is None or path.parent != home[0]:
            return
        for each in (path, Path(f"{path}-journal")):
            each.unlink(missing_ok=True)


def _own_directory() -> tuple[Path, int]:
    """Make a directory and lock it. Another process may remove it before it is locked; then try again."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            _, handle = _locked(directory)
        except (FileNotFoundError, BlockingIOError):
            continue
        if directory.exists():
            atexit.register(_leave, directory, os.getpid())
            return directory, handle
        os.close(handle)


def _leave(directory: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(directory, ignore_errors=True)


def _locked(directory: Path) -> tuple[Path, int]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return directory, handle


def _remove_abandoned() -> None:
    for directory in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        try:
            _, handle = _locked(directory)
        except OSError:
            continue  # its process is alive, or it belongs to another user
        try:
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(handle)

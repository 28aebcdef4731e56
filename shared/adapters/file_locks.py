"""Locks of files, taken with a time limit. Whoever waits learns which process holds the lock.

The holder writes a note about itself into the file: its process id, its program, its machine and since when. The lock ends with
the process; the note stays, and the next holder overwrites it. A process that was stopped (Ctrl-Z, SIGSTOP) keeps its locks.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from shared.domain import times

LIMIT_SECONDS: Final = 8.0
"""How long a lock is waited for that others hold for milliseconds."""
TELL_AFTER_SECONDS: Final = 3.0

_NOTE_BYTES: Final = 256
Tell = Callable[[str, "Holder | None"], None]
_FIRST_PAUSE_SECONDS: Final = 0.001
_LONGEST_PAUSE_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock, as it wrote it down. `since` is its clock's time."""

    pid: int
    program: str
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.program}) since {self.since}{self._elsewhere()}"

    @property
    def is_here(self) -> bool:
        """Whether the process runs on this machine, so that its id means something here."""
        return self.host == this_machine()

    @property
    def is_stopped(self) -> bool:
        """Whether the system says that the process was stopped and not continued; False where it does not say."""
        if not self.is_here:
            return False
        with contextlib.suppress(OSError, IndexError):
            return Path(f"/proc/{self.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in (
                "T",
                "t",
            )
        return False

    def _elsewhere(self) -> str:
        return "" if self.is_here else f" on {self.host}"


class LockHeld(Exception):
    """Another holder did not release the lock in time. The text names it; `hint` says what to do about it."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.holder = holder_of(path)
        super().__init__(f"the lock {path} was not free within {seconds:g} s: {_said(self.holder)}")

    @property
    def hint(self) -> str:
        """What to do about the holder."""
        return _advice(self.holder)


@contextmanager
def held(
    path: Path,
    *,
    seconds: float | None = None,
    tell: Tell | None = None,
    mode: int = 0o666,
) -> Iterator[int]:
    """Hold the lock of a file, which is made if it does not exist, inside the `with` block. Yields the open file.

    The lock ends when every copy of that file is closed: a child that inherits it holds it as well. After TELL_AFTER_SECONDS of
    waiting, `tell` is given a sentence about the wait and the holder. Raises LockHeld after `seconds` (LIMIT_SECONDS).
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        _take(handle, path, LIMIT_SECONDS if seconds is None else seconds, tell)
        yield handle
    finally:
        os.close(handle)


def say(waiting: str, _: Holder | None = None) -> None:
    """Tell about a wait on standard error."""
    sys.stderr.write(f"{waiting}\n")


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file. A file that does not exist or cannot be read is not locked."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return not try_lock(file.fileno())
    return False


def try_lock(handle: int) -> bool:
    """Take the lock of an open file without waiting; returns whether it was free."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder_of(path: Path) -> Holder | None:
    """The last process that took the lock, if its note can be read and the process may still run."""
    try:
        pid, program, host, since, _ = path.read_text(encoding="utf-8", errors="replace")[:_NOTE_BYTES].split("\n")
        holder = Holder(int(pid), _plain(program), _plain(host), _plain(since))
    except (OSError, ValueError):
        return None
    return holder if not holder.is_here or exists(holder.pid) else None


def _take(handle: int, path: Path, seconds: float, tell: Tell | None) -> None:
    begun, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
    while not try_lock(handle):
        waited = time.monotonic() - begun
        if waited >= seconds:
            raise LockHeld(path, seconds)
        if tell is not None and waited >= TELL_AFTER_SECONDS:
            holder = holder_of(path)
            tell(f"waiting for the lock {path}: {_said(holder)}; {_advice(holder)}", holder)
            tell = None  # once
        time.sleep(min(pause, max(seconds - waited, 0)))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    _note(handle)


def _note(handle: int) -> None:
    """Write the note in one piece. It is not needed to hold the lock, so a full disk does not matter."""
    note = f"{os.getpid()}\n{_program()}\n{this_machine()}\n{times.to_text(datetime.now(UTC))}\n"
    with contextlib.suppress(OSError):
        os.pwrite(handle, note.encode(errors="replace").ljust(_NOTE_BYTES)[:_NOTE_BYTES], 0)


def _program() -> str:
    """The name of this program, with its command if it has one; no other arguments, because they may hold secrets."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.name in ("__main__.py", "main.py") else path.name
    command = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].replace("-", "").isalpha() else ""
    return f"{name or 'python'} {command if not command.startswith('-') else ''}".strip()[:64]


def _said(holder: Holder | None) -> str:
    if holder is None:
        return "it is held by a process that left no note"
    return f"it is held by {holder}" + (", which is stopped" if holder.is_stopped else "")


def _advice(holder: Holder | None) -> str:
    if holder is None:
        return "end the other programs that use this directory, then try again"
    if holder.is_stopped:
        return f"continue it with `kill -CONT {holder.pid}` or end it with `kill -KILL {holder.pid}`; nothing was lost"
    where = "" if holder.is_here else f" on {holder.host}"
    return f"wait for process {holder.pid}{where}, or end it if it hangs; nothing was lost"


def this_machine() -> str:
    """The name of this machine, by which notes tell its processes from those of others."""
    return os.uname().nodename[:64]


def exists(pid: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _plain(text: object) -> str:
    """A text of a note without what could steer a terminal."""
    return "".join(each for each in str(text) if each.isprintable())

"""The users as which agents run: each agent has one of its own, which no other agent has as long as its files exist.

The users are numbers of a range; they need no entry in the user database, except for programs that ask for one (ssh does). The
group of a user has the same number. Who has which user is stored twice:

    <registry>/<number>       the directory of the agent; its time is that of the agent's last start
    <agent's directory>/uid   the number

If all numbers are taken, the agent that was started longest ago, and of which nothing runs, loses its user and with it all
files that the user owns: its working directory, its home and its tokens. What the runtime has recorded of it stays.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from shared.adapters import file_locks
from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import Budget
from shared.adapters.local_locks import Busy, locked
from shared.adapters.local_removal import remove
from shared.adapters.local_state import LENT, USER, AgentHome

_SHARED_PLACES: Final = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/dev/mqueue"))  # noqa: S108 - where strangers may leave files
_PASSABLE: Final = 0o711


class NoUserLeft(Exception):
    """Every user has an agent that runs. The text says so for people."""


class AgentUsers:
    """The users of a range. Safe for several threads and processes. Needs the rights of root."""

    def __init__(self, numbers: range, registry: Path, *, holding: Sequence[Path] = ()) -> None:
        """`holding` are directories in which users own single files, such as tokens."""
        self._numbers = numbers
        self._registry = registry
        self._holding = (*holding, *_SHARED_PLACES)

    def user_of(self, home: AgentHome) -> int:
        """The user of an agent, which gets one if it has none. Call it with the agent's lock held. Raises NoUserLeft, Busy."""
        with self._locked():
            known = home.user
            if known is not None and known in self._numbers and self._entry(known) == str(home.directory):
                os.utime(self._registry / str(known))
                return known
            number = self._free()
            if number is None:
                number = self._taken_back()
            _forget_files(home)  # what an earlier user left, whose files the new one must not own
            _write(self._registry / str(number), str(home.directory))
            _write(home.directory / USER, str(number))
            return number

    def let_pass(self, *directories: Path) -> None:
        """Let agents pass through directories of the runtime without seeing what is in them."""
        for directory in directories:
            directory.chmod(_PASSABLE)

    def _free(self) -> int | None:
        taken = {int(path.name) for path in self._registry.iterdir() if path.name.isdigit()}
        return next((n for n in self._numbers if n not in taken and not any(True for _ in supervisor.of_user(n))), None)

    def _taken_back(self) -> int:
        """The user of the agent that was started longest ago, without that agent's files. Raises NoUserLeft."""
        entries = [path for path in self._registry.iterdir() if path.name.isdigit() and int(path.name) in self._numbers]
        for path in sorted(entries, key=lambda entry: entry.stat().st_mtime_ns):
            number, home = int(path.name), AgentHome(Path(path.read_text(encoding="utf-8")))
            if any(True for _ in supervisor.of_user(number)):
                continue
            with contextlib.suppress(Busy), locked(home, Budget(0)):
                _forget_files(home)
                for place in self._holding:
                    _remove_of(number, place)
                path.unlink()
                return number
        raise NoUserLeft(
            f"each of the {len(self._numbers)} users for agents has an agent that runs; allow more of them"
        )

    def _entry(self, number: int) -> str | None:
        with contextlib.suppress(FileNotFoundError):
            return (self._registry / str(number)).read_text(encoding="utf-8")
        return None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._registry.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with file_locks.held(self._registry / "lock", mode=0o600):
                yield
        except file_locks.LockHeld as error:
            raise Busy(f"another start is choosing a user: {error}; {error.hint}") from error


def require_way_to(root: Path) -> None:
    """Check that other users can pass through the directories above `root`. Raises ValueError, which says what to do."""
    closed = [place for place in root.resolve().parents if place.exists() and not place.stat().st_mode & 0o001]
    if closed:
        raise ValueError(
            f"agents have users of their own, and those cannot pass through {closed[-1]}: choose another directory than {root},"
            f" or let others pass (chmod o+x {closed[-1]})"
        )


def _forget_files(home: AgentHome) -> None:
    """Remove everything that belongs to an agent's user."""
    for name in ("work", "home", "tmp", LENT, USER):
        remove(home.directory / name)
    for generation in home.generations():
        remove(generation.directory / "agent")


def _remove_of(user: int, place: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in place.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_uid == user:
                    remove(path)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)

"""The files of a directory store: reading them and their names, and forcing them to the disk."""

import contextlib
import os
import re
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Final

from shared.ports.object_store import ObjectVersion

NO_FILE: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
VERSION_ID: Final = re.compile(r"(\d{13})-([0-9a-f]{32})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def content(path: Path, *, at_most: int = -1) -> bytes | None:
    """All bytes of a file, or the first `at_most`; None if it does not exist."""
    try:
        with path.open("rb") as file:
            return file.read(at_most)
    except NO_FILE:
        return None


def etag(body: bytes) -> str:
    """A hash of the content, as the ETag of the object."""
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def present(path: Path) -> tuple[str, bytes] | None:
    """The version id and the content of an object's file; None if it does not exist."""
    try:
        with path.open("rb") as file:
            body = file.read()
            return version_id(os.fstat(file.fileno()), etag(body)), body
    except NO_FILE:
        return None


def past_version(path: Path) -> ObjectVersion | None:
    """The version that a file holds; None if it was removed meanwhile."""
    _, _, digest = path.name.partition("-")
    with contextlib.suppress(FileNotFoundError):
        return ObjectVersion(path.name, f'"{digest}"', time_of(path.name), path.stat().st_size, current=False)
    return None


def version_id(status: os.stat_result, tag: str) -> str:
    """The name of a state: the time of writing and the hash of the content."""
    return f"{status.st_mtime_ns // 1_000_000:013d}-" + tag.strip('"')


def time_of(name: str) -> datetime:
    """The time at which the state with this name was written."""
    return _EPOCH + timedelta(milliseconds=int(name.partition("-")[0]))


def make_younger(path: Path, *, than: Path) -> None:
    """Make a file at least a millisecond younger than another one."""
    oldest = than.stat().st_mtime_ns + 1_000_000
    if path.stat().st_mtime_ns < oldest:
        os.utime(path, ns=(oldest, oldest))


def time_in(directory: Path) -> datetime:
    """The present time by the clock of the file system, which dates a new file. The file is removed again."""
    handle, name = tempfile.mkstemp(dir=directory)
    with os.fdopen(handle) as file:
        written_at = os.fstat(file.fileno()).st_mtime_ns
    Path(name).unlink(missing_ok=True)
    return _time_of(written_at)


class _Turn:
    """Who waits until the entries of one directory are on the disk. One call serves all who asked before it began."""

    def __init__(self) -> None:
        self.asked = 0
        self.forced = 0
        self.counting = threading.Lock()
        self.forcing = threading.Lock()


_TURNS: Final[dict[Path, _Turn]] = {}


def to_disk(directory: Path) -> None:
    """Force a directory's entries to the disk, so that a rename in it survives a power failure.

    Threads that ask at the same time share one call. For example 1 is being served when 2, 3 and 4 ask: 2 forces the directory for
    all three.
    """
    turn = _TURNS.setdefault(directory, _Turn())
    with turn.counting:
        turn.asked += 1
        mine = turn.asked
    with turn.forcing:
        if turn.forced >= mine:
            return
        with turn.counting:
            served = turn.asked
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        turn.forced = served


def size_and_time_of(path: str) -> tuple[int, datetime]:
    """The size of a file in bytes, and when it was written; 0 and 1970 if it was removed since it was listed.

    The path is a text, because a listing asks for a thousand of them.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except NO_FILE:
        return 0, _EPOCH
    return found.st_size, _time_of(found.st_mtime_ns)


def _time_of(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=nanoseconds // 1_000_000)


def entries(path: Path) -> list[tuple[str, bool]]:
    """The names in a directory, each with whether it is a directory, in the order of the keys below them."""
    try:
        with os.scandir(path) as found:
            entries = [(each.name, each.is_dir()) for each in found if not each.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(entries, key=lambda entry: entry[0] + "/" if entry[1] else entry[0])

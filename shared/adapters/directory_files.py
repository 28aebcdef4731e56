"""The files of a directory store: reading them and their names, and forcing them to the disk."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from typing import Final, TypeVar, overload

from shared.adapters.shared_calls import SharedCalls
from shared.ports.object_store import ObjectVersion

NO_FILE: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
VERSION_ID: Final = re.compile(r"(\d{13})-([0-9a-f]{32})", re.ASCII)
_PIECE: Final = 64 << 10
T = TypeVar("T")
_FORCING: Final = SharedCalls()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def content(path: str | Path, *, at_most: int = -1) -> bytes | None:
    """All bytes of a file, or the first `at_most`; None if it does not exist."""
    try:
        with FileIO(path) as file:
            return file.readall() if at_most < 0 else _start(file, at_most)
    except NO_FILE:
        return None


def _start(file: FileIO, length: int) -> bytes:
    """The first bytes of a file, in pieces: a read of many bytes takes that much memory before it knows how many there are."""
    found = b""
    while len(found) < length and (more := file.read(min(length - len(found), _PIECE))):
        found += more
    return found


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


def is_empty(path: str) -> bool | None:
    """Whether a file has no content; None if it does not exist."""
    try:
        return os.stat(path).st_size == 0  # noqa: PTH116 - the path is a text, which is fast
    except NO_FILE:
        return None


def write(path: str, body: bytes) -> None:
    """Make a file with this content, and force it to the disk unless it is empty. Raises FileExistsError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(handle, rest) :]
        if body:
            _force_content(handle)
    finally:
        os.close(handle)


def _force_content(handle: int) -> None:
    """Force a file's bytes and its size to the disk, but not its times, which costs less; macOS knows only how to force all."""
    if sys.platform == "darwin":
        os.fsync(handle)
    else:
        os.fdatasync(handle)


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


def to_disk(directory: str | Path) -> None:
    """Force a directory's entries to the disk, so that a rename in it survives a power failure.

    Threads that ask at the same time share one call.
    """
    _FORCING.answer(str(directory), partial(_force, directory))


def _force(directory: str | Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Looked:
    """The sizes and times of listed files. They are looked up together when one is needed; most listings need none.

    A file that was removed since it was listed has the size 0 and the time 1970.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The size of each file in bytes."""
        return tuple(size for size, _ in self._found)

    @cached_property
    def times(self) -> tuple[datetime, ...]:
        """When each file was written."""
        return tuple(_time_of(at) for _, at in self._found)

    @cached_property
    def _found(self) -> list[tuple[int, int]]:
        return [_size_and_time_of(path) for path in self._paths]


class Column(Sequence[T]):
    """Values that are looked up when the first one is read."""

    def __init__(self, values: Callable[[], tuple[T, ...]], length: int) -> None:
        self._values = values
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._values()[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._values())


def _size_and_time_of(path: str) -> tuple[int, int]:
    """The size of a file in bytes, and when it was written, in nanoseconds."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as in is_empty
    except NO_FILE:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _time_of(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=nanoseconds // 1_000_000)


def entries(path: str) -> list[str]:
    """The names in a directory, in the order of the keys below them. The name of a directory ends with a slash."""
    try:
        with os.scandir(path) as found:
            names = [f"{each.name}/" if each.is_dir() else each.name for each in found if each.name[0] != "."]
    except (FileNotFoundError, NotADirectoryError):
        return []
    names.sort()
    return names

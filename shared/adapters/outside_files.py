"""Reads files that others may have written, such as the agents: regular files only, and no more of them than a limit.

A pipe or a device in the place of a file would keep its reader waiting, and a file may have any size.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from shared.domain import strict_json
from shared.domain.strict_json import UnreadableJson

_PIECE: Final = 1 << 20
LARGEST: Final = 4 << 20
"""Bytes of JSON that are read unless the reader says otherwise; a start file with the longest texts has fewer."""


def start_of(path: Path, length: int, *, owner: int | None = None) -> bytes:
    """The first `length` bytes of a regular file. Raises OSError; with an `owner` also for a link, and for somebody else's file:
    whoever may write into the directory could have put it there by a hard link.
    """
    with _opened(path, owner) as file:
        return at_most(file, length)


def end_of(path: Path, length: int, *, owner: int | None = None) -> tuple[bytes, bool]:
    """The last `length` bytes of a regular file, and whether more come before them. Raises OSError as `start_of` does."""
    with _opened(path, owner) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - length))
        return at_most(file, length), size > length


@contextmanager
def _opened(path: Path, owner: int | None) -> Iterator[BinaryIO]:
    follow = 0 if owner is None else os.O_NOFOLLOW
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | follow)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is not a regular file")
        if owner is not None and found.st_uid != owner:
            raise OSError(f"{path} belongs to another user")
        with os.fdopen(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def at_most(file: BinaryIO, length: int) -> bytes:
    """The next `length` bytes, read in pieces: one read would take the memory for all of them before any has come."""
    found = bytearray()
    while len(found) < length and (piece := file.read(min(_PIECE, length - len(found)))):
        found += piece
    return bytes(found)


def json_of(path: Path, *, limit: int = LARGEST) -> Any:
    """The JSON value in a file of at most `limit` bytes. Raises OSError and UnreadableJson, whose text does not name the file."""
    content = start_of(path, limit + 1)
    if len(content) > limit:
        raise UnreadableJson(f"larger than {limit} bytes")
    return strict_json.foreign(content, limit=limit)

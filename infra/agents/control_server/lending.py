"""Lends the objects of a cache to one agent: a repository of hard links, which nobody else can read.

The caches are closed to agents, because a repository may be private, and the agent of another rig has no credential for it. What an
agent borrows lies in a directory that its own group can read, and nobody can write. It costs no copy, and it stays whole when the
cache is fetched, repacked or made anew.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

from shared.adapters.local_removal import remove

_REPOSITORY: Final = ("HEAD", "config", "packed-refs")
_DIRECTORIES: Final = ("objects", "refs")


def lend(cache: Path, to: Path, *, reader: int | None) -> None:
    """Make `to` a repository with what the cache has now, for the group `reader` only. Nobody may write the cache meanwhile."""
    remove(to)
    draft = to.with_name(f".{to.name}")
    remove(draft)
    draft.mkdir(mode=0o700)
    for name in _REPOSITORY:
        with contextlib.suppress(FileNotFoundError):
            _copy(cache / name, draft / name, reader)
    for name in _DIRECTORIES:
        for place, directories, files in os.walk(cache / name):
            here = draft / Path(place).relative_to(cache)
            here.mkdir(mode=0o700)
            for file in files:
                _put(Path(place) / file, here / file, reader, is_object=name == "objects")
            _open(here, 0o750, reader)
            directories.sort()
    _open(draft, 0o750, reader)
    draft.rename(to)


def _put(file: Path, to: Path, reader: int | None, *, is_object: bool) -> None:
    """Objects are never changed, so a link will do; where the file system has no links, and for all else, a copy."""
    if is_object:
        with contextlib.suppress(OSError):
            os.link(file, to, follow_symlinks=False)
            return
    _copy(file, to, reader)


def _copy(file: Path, to: Path, reader: int | None) -> None:
    shutil.copyfile(file, to, follow_symlinks=False)
    _open(to, 0o640, reader)


def _open(place: Path, mode: int, reader: int | None) -> None:
    if reader is not None:
        os.chown(place, -1, reader, follow_symlinks=False)
        place.chmod(mode)

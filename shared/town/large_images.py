"""Large images: each is in a private file. Finding the pages that a transaction changed takes time proportional to the change.

A tick of a town of 100 MiB changes perhaps ten pages, so comparing all pages would be wasteful. The changed pages are found
through SQLite's rollback journal instead. Right before COMMIT the file is still unchanged, because SQLite writes nothing early
(`cache_spill` is off), and the journal beside it names every page that is about to be overwritten, except for

- page 1, because the change counter in it is written by the commit itself;
- pages beyond the old end of the file, which have no original;
- leaves of the free list that are used again, because SQLite does not need their old content. The journal does name the
  trunk page that lists these leaves.

These pages and those that the journal names are read before and after the commit; those that differ are the change.

An image is an immutable value; its file is not. The file can show the newest image that was made from it and the one before,
so a worker that loses a race still finds its base. Reading an older image raises an error and never returns wrong bytes.
"""

import errno
import os
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from shared.domain.errors import ImageTooLarge
from shared.domain.images import PageChange

_JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
_CHANGE_COUNTER_AT: Final = 24
_JOURNAL_HEADER: Final = 28
_FREE_LIST_AT: Final = 32


class ScratchFiles(Protocol):
    """A place for the files of large images while they are in use."""

    def new(self) -> Path:
        """An unused path."""
        ...

    def remove(self, path: Path) -> None:
        """Remove the file: no image uses this path any more."""
        ...


class PageFile:
    """A file that shows one of a series of images: the newest or the one before. It is removed when nothing refers to it.

    It is written when it is first opened; until then `image` is kept in memory.
    """

    def __init__(self, image: bytes, scratch: ScratchFiles, *, page_size: int) -> None:
        self.page_size = page_size
        self._unwritten: bytes | None = image
        self._scratch = scratch
        self._path: Path | None = None
        self._base = self._newest = self._shown = 0
        self._changed: Mapping[int, PageChange] = {}

    def path(self) -> Path:
        """The path of the file. The first call writes the file. Raises ImageTooLarge if it does not fit."""
        if self._path is None:
            path = self._scratch.new()
            self._write(path)
            weakref.finalize(self, self._scratch.remove, path)
            self._path, self._unwritten = path, None
        return self._path

    def _write(self, path: Path) -> None:
        image = self._unwritten or b""
        try:
            path.write_bytes(image)
        except OSError as error:
            path.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise ImageTooLarge(
                f"an image of {len(image) >> 20} MiB does not fit into the directory for temporary files",
                hint="nothing was changed; free space there, or raise EphemeralStorage of the function in template.yaml",
            ) from error

    def whole(self, version: int) -> bytes:
        """The bytes of one image."""
        if self._unwritten is not None:
            return self._unwritten
        self.show(version)
        return self.path().read_bytes()

    def pages(self, version: int, numbers: Iterable[int]) -> dict[int, bytes]:
        """Some pages of one image."""
        if self._unwritten is not None:
            size = self.page_size
            return {number: self._unwritten[(number - 1) * size : number * size] for number in numbers}
        self.show(version)
        return read_pages(self.path(), numbers, page_size=self.page_size)

    def show(self, version: int) -> None:
        """Make the file show that image. Raises RuntimeError if two later images were made."""
        if version == self._shown:
            return
        if version not in (self._base, self._newest):
            raise RuntimeError(
                f"image {version} of {self._path} can no longer be read: its file has been changed since"
            )
        after = int(version == self._newest)
        with self.path().open("r+b") as file:
            for number, change in self._changed.items():
                page = change[after]
                if page is not None:
                    file.seek((number - 1) * self.page_size)
                    file.write(page)
            missing = [number for number, change in self._changed.items() if change[after] is None]
            if missing:
                file.truncate((min(missing) - 1) * self.page_size)
        self._shown = version

    def shows(self, version: int) -> bool:
        """Whether the file shows that image now."""
        return version == self._shown

    def advanced(self, changed: Mapping[int, PageChange]) -> int:
        """Note the pages that were changed in the file; returns the version that it now shows."""
        self._base, self._changed = self._shown, changed
        self._newest = self._shown = self._newest + 1
        return self._newest

    def give_up(self) -> None:
        """Note that the file was changed in an unknown way: none of its images can be read any more."""
        self._base = self._newest = self._shown = -1

    def changed_between(self, base: int, version: int) -> Mapping[int, PageChange] | None:
        """The change from one image to its successor; None if `version` is not the successor of `base`."""
        return self._changed if (base, version) == (self._base, self._newest) and base != version else None


@dataclass(frozen=True, slots=True, eq=False)
class LargeImage:
    """One image of a PageFile."""

    file: PageFile
    version: int
    pages: int

    @property
    def page_size(self) -> int:
        """Bytes per page."""
        return self.file.page_size

    def whole(self) -> bytes:
        """A copy of all bytes. Raises RuntimeError if two later images were made from this one."""
        return self.file.whole(self.version)

    def some(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """Copies of the named pages. Raises RuntimeError as `whole` does."""
        return self.file.pages(self.version, numbers)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, LargeImage) and self.whole() == other.whole())

    __hash__ = None  # type: ignore[assignment]

    def changed_since(self, base: object) -> Mapping[int, PageChange] | None:
        """The pages that differ from `base`, if this image was made from `base`; else None."""
        if not isinstance(base, LargeImage) or base.file is not self.file:
            return None
        return self.file.changed_between(base.version, self.version)


def large_image(image: bytes, scratch: ScratchFiles, *, page_size: int) -> LargeImage:
    """An image that is written to a file of `scratch` when it is first opened."""
    return LargeImage(PageFile(image, scratch, page_size=page_size), 0, len(image) // page_size)


class FollowedConnection(sqlite3.Connection):
    """A connection to the file of a large image that notes which pages its transactions change."""

    def __init__(self, path: str, **settings: Any) -> None:
        super().__init__(path, **settings)
        self._path = Path(path)
        self._changed: dict[int, PageChange] = {}

    def follow(self, image: LargeImage) -> None:
        """Start from this image, which the file shows."""
        self._image = image
        self._counted = self._change_counter()
        mode = self.execute("PRAGMA journal_mode = TRUNCATE").fetchone()[0]
        if mode != "truncate":
            raise RuntimeError(
                f"SQLite uses journal mode {mode!r} for {self._path}, in which changed pages cannot be found"
            )
        self.execute(
            "PRAGMA synchronous = OFF"
        )  # the file is never used after a crash; the object store has the durable copy

    def commit_followed(self) -> None:
        """Commit the transaction and note the pages that it changed."""
        size = self._image.page_size
        named = _named_by_journal(self._path, size)
        end_before = self._path.stat().st_size // size
        end_after: int = self.execute("PRAGMA page_count").fetchone()[0]
        if named is None:
            named = set(range(1, end_before + 1))
        first = read_pages(self._path, (1,), page_size=size)[1]
        touched = named | {1} | set(_free_leaves(self._path, first, named, page_size=size))
        touched |= set(range(end_after + 1, end_before + 1))
        before = read_pages(self._path, (number for number in touched if number <= end_before), page_size=size)
        self.execute("COMMIT")
        self._counted = self._change_counter()
        touched |= set(range(end_before + 1, end_after + 1))
        after = read_pages(self._path, (number for number in touched if number <= end_after), page_size=size)
        changed = {
            number: (before.get(number), after.get(number))
            for number in sorted(touched)
            if before.get(number) != after.get(number)
        }
        self._add(changed)
        if changed and not named:
            raise RuntimeError(f"SQLite changed {self._path} without writing a journal next to it")

    def outcome(self) -> LargeImage:
        """The image after its transactions; if they changed nothing, the image that was opened."""
        if self.in_transaction or self._counted != self._change_counter():
            raise RuntimeError("rows were changed outside a followed transaction; use database.begin and commit")
        if self._changed:
            file = self._image.file
            pages = self._path.stat().st_size // file.page_size
            self._image = LargeImage(file, file.advanced(self._changed), pages)
            self._changed = {}
        return self._image

    def shows_again(self, image: LargeImage) -> bool:
        """Let the file show this image, of which the connection was kept open. False if the connection has another one.

        The file may have shown other images meanwhile. SQLite keeps the pages that it read before: they are of this image again.
        """
        if image.file is not self._image.file or image.version != self._image.version:
            return False
        image.file.show(image.version)
        return self._counted == self._change_counter()

    def take_back(self) -> None:
        """Close the connection, and undo in the file the transactions since the last `outcome`."""
        self.close()
        if not self._path.exists():
            return  # the garbage collector may have removed the file of an abandoned run before it closes the connection
        if self._image.file.shows(self._image.version) and self._counted != self._change_counter():
            self._image.file.give_up()
        elif self._changed:
            self._image.file.advanced(self._changed)
            self._image.file.show(self._image.version)
            self._changed = {}

    def _change_counter(self) -> bytes:
        """The counter that SQLite increments with every commit that changed a page."""
        with self._path.open("rb") as file:
            file.seek(_CHANGE_COUNTER_AT)
            return file.read(4)

    def _add(self, changed: Mapping[int, PageChange]) -> None:
        for number, (before, after) in changed.items():
            first = self._changed[number][0] if number in self._changed else before
            if first == after:
                del self._changed[number]
            else:
                self._changed[number] = (first, after)


def read_pages(path: Path, numbers: Iterable[int], *, page_size: int) -> dict[int, bytes]:
    """Pages by number, as they are in the file now."""
    file = os.open(path, os.O_RDONLY)
    try:
        return {number: os.pread(file, page_size, (number - 1) * page_size) for number in numbers}
    finally:
        os.close(file)


def _named_by_journal(path: Path, page_size: int) -> set[int] | None:
    """The pages whose originals are in the rollback journal; None if the journal has an unexpected format."""
    try:
        journal = os.open(f"{path}-journal", os.O_RDONLY)
    except FileNotFoundError:
        return set()
    try:
        size = os.fstat(journal).st_size
        if size == 0:
            return set()
        header = os.pread(journal, _JOURNAL_HEADER, 0)
        sector, stored_size = int.from_bytes(header[20:24], "big"), int.from_bytes(header[24:28], "big")
        record = 4 + page_size + 4
        if header[:8] != _JOURNAL_MAGIC or stored_size != page_size or (size - sector) % record:
            return None
        return {int.from_bytes(os.pread(journal, 4, at), "big") for at in range(sector, size, record)}
    finally:
        os.close(journal)


def _free_leaves(path: Path, first: bytes, named: set[int], *, page_size: int) -> Iterator[int]:
    """The free pages that the changed trunk pages of the old free list name: the first trunk page, and the next ones if that is
    used up.
    """
    trunk = int.from_bytes(first[_FREE_LIST_AT : _FREE_LIST_AT + 4], "big")
    while trunk in named:
        page = read_pages(path, (trunk,), page_size=page_size)[trunk]
        count = int.from_bytes(page[4:8], "big")
        for at in range(8, 8 + 4 * count, 4):
            yield int.from_bytes(page[at : at + 4], "big")
        trunk = int.from_bytes(page[:4], "big")

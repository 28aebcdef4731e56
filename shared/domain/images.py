"""A town image as a value: bytes in memory, or pages in a file; and the journal rows that leave an image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

PageChange = tuple[bytes | None, bytes | None]
"""A page before and after a change; None if the image was too short to have it."""


class PagedImage(Protocol):
    """An image that is too large to be copied, compared and hashed for each commit. It is kept in a file once it was opened."""

    @property
    def page_size(self) -> int:
        """Bytes per page."""
        ...

    @property
    def pages(self) -> int:
        """The number of pages."""
        ...

    def whole(self) -> bytes:
        """A copy of all bytes. Raises RuntimeError if two later images were made from this one."""
        ...

    def some(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """Copies of the named pages. Raises RuntimeError as `whole` does."""
        ...

    def changed_since(self, base: object) -> Mapping[int, PageChange] | None:
        """The pages that differ from `base`, if this image was made from `base`; else None."""
        ...


Content = bytes | PagedImage
"""An image: its bytes, or a handle to a large one."""


@dataclass(frozen=True, slots=True)
class JournalBlock:
    """The journal rows of a range of ticks as JSON, to be stored outside the image."""

    min_tick: int
    max_tick: int
    body: bytes


Record = Mapping[str, Any]
"""A family of beads as the archive keeps it: the rows of each table, by its name. Columns that are null are left out."""


@dataclass(frozen=True, slots=True)
class ArchiveBlock:
    """Ended beads with all that belongs to them as JSON, to be stored outside the image; `bead_ids` in ascending order."""

    bead_ids: tuple[str, ...]
    body: bytes

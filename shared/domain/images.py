"""A town image as a value: bytes in memory, or pages outside it; and the journal rows that leave one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

PageChange = tuple[bytes | None, bytes | None]
"""A page before and after; None where the image did not reach so far."""


class PagedImage(Protocol):
    """An image too large to be copied, compared and hashed for each commit: it lies outside the memory of this process."""

    @property
    def page_size(self) -> int:
        """Bytes a page."""
        ...

    @property
    def pages(self) -> int:
        """How many pages it has."""
        ...

    def whole(self) -> bytes:
        """All bytes, as a copy. Raises RuntimeError if two images were made after this one."""
        ...

    def some(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """The named pages, as copies. Raises RuntimeError as `whole` does."""
        ...

    def changed_since(self, base: object) -> Mapping[int, PageChange] | None:
        """The pages that differ from `base`, if that is the image which this one was made of; else None."""
        ...


Content = bytes | PagedImage
"""An image: its bytes, or, of a large one, where they are."""


@dataclass(frozen=True, slots=True)
class JournalBlock:
    """Journal rows that are to leave the image: the oldest ones, from one tick to another, as JSON."""

    min_tick: int
    max_tick: int
    body: bytes

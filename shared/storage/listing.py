"""Listing all objects below a prefix, and a binary search in which each comparison costs a read."""

from bisect import bisect_left
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from shared.ports.object_store import Listing, ObjectStore, PlainObjects
from shared.ports.steps import Call, Steps

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as it was listed: its size in bytes, and when it was written, by the store's clock."""

    size: int
    written_at: datetime


class KeysBelow:
    """The keys of a listing that are below a folder, which ends with a slash."""

    def __init__(self, listing: Listing, folder: str) -> None:
        self._sizes = listing.sizes
        self._begin = bisect_left(listing.keys, folder)
        self.keys = listing.keys[self._begin : bisect_left(listing.keys, f"{folder[:-1]}0")]  # 0 follows the slash

    def last(self, named: Container[str], *, most: int) -> list[tuple[str, int]]:
        """The last of these keys, at most so many, with the size of each object, which costs a look at its file in a directory."""
        places = [place for place, key in enumerate(self.keys) if key in named][-most:]
        return [(self.keys[place], self._sizes[self._begin + place]) for place in places]


def all_keys(objects: PlainObjects, prefix: str) -> Steps[list[str]]:
    """Every key that starts with `prefix`, ascending. Raises what listing raises."""
    return [key for page in (yield from _pages(objects, prefix)) for key in page.keys]


def all_sizes(objects: ObjectStore, prefix: str) -> Steps[dict[str, int]]:
    """The size in bytes of every object whose key starts with `prefix`, in ascending order of keys. Raises what listing raises."""
    return {key: each.size for key, each in (yield from all_listed(objects, prefix)).items()}


def all_listed(objects: ObjectStore, prefix: str) -> Steps[dict[str, Listed]]:
    """Every object whose key starts with `prefix`, in ascending order of keys. Raises what listing raises."""
    found: dict[str, Listed] = {}
    for page in (yield from _pages(objects, prefix)):
        found.update(zip(page.keys, map(Listed, page.sizes, page.times), strict=True))
    return found


def _pages(objects: PlainObjects, prefix: str) -> Steps[list[Listing]]:
    found: list[Listing] = []
    while not found or found[-1].more:
        after = found[-1].keys[-1] if found else ""
        found.append((yield Call(f"list {prefix}", partial(objects.list, prefix, after=after))))
    return found


def first_fitting(items: Sequence[T], fits: Callable[[T], Steps[bool]]) -> Steps[int]:
    """The index of the first item that fits, provided that all items after it fit too; len(items) if none fits.

    Uses a binary search, because each call of `fits` costs a read.
    """
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if (yield from fits(items[middle])):
            high = middle
        else:
            low = middle + 1
    return low

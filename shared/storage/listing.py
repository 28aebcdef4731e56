"""Listing all objects below a prefix, and a binary search in which each comparison costs a read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from shared.ports.object_store import Listing, ObjectStore
from shared.ports.steps import Call, Steps

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as it was listed: its size in bytes, and when it was written, by the store's clock."""

    size: int
    written_at: datetime


def all_keys(objects: ObjectStore, prefix: str) -> Steps[list[str]]:
    """Every key that starts with `prefix`, ascending. Raises what listing raises."""
    return list((yield from all_listed(objects, prefix)))


def all_sizes(objects: ObjectStore, prefix: str) -> Steps[dict[str, int]]:
    """The size in bytes of every object whose key starts with `prefix`, in ascending order of keys. Raises what listing raises."""
    return {key: each.size for key, each in (yield from all_listed(objects, prefix)).items()}


def all_listed(objects: ObjectStore, prefix: str) -> Steps[dict[str, Listed]]:
    """Every object whose key starts with `prefix`, in ascending order of keys. Raises what listing raises."""
    found: dict[str, Listed] = {}
    after = ""
    while True:
        page: Listing = yield Call(f"list {prefix}", partial(objects.list, prefix, after=after))
        found.update(zip(page.keys, map(Listed, page.sizes, page.times), strict=True))
        if not page.more:
            return found
        after = page.keys[-1]


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

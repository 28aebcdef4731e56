"""The order of commits whose times may go back.

Times increase within an epoch. A restore in place begins an epoch at the present time, which may be earlier than the times of
the commits that it discards. Example:

    commit     1      2      3          4 (restores 2)   5
    epoch      0      0      0          1                1
    time       12:00  12:05  tomorrow   12:10            12:15
    counts as  12:00  12:05  12:10      12:10            12:15

A discarded commit counts as made at most when the next epoch began. So these times never decrease from commit to commit, the
newest commit at or before a time is the state that the town had then, and a binary search finds it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from shared.ports.steps import Steps
from shared.storage.listing import first_fitting

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing:
    """When a commit was made: the time, and the epoch in which that time counts."""

    epoch: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each epoch of a town began, as far as its commits are retained; empty for a town that was never restored."""

    starts: Mapping[int, datetime] = field(default_factory=dict)

    def counts_as(self, made: Standing) -> datetime:
        """The time as which a commit counts: its own, but at most the time of the restore that discarded it."""
        return min((made.time, *(at for epoch, at in self.starts.items() if epoch > made.epoch)))

    def merged(self, other: "Timeline") -> "Timeline":
        """What two sources know: each epoch began with its earliest commit."""
        epochs = {*self.starts, *other.starts}
        known = (self.starts, other.starts)
        return Timeline({epoch: min(starts[epoch] for starts in known if epoch in starts) for epoch in epochs})


def timeline_of(newest_first: Sequence[T], standing: Callable[[T], Steps[Standing | None]]) -> Steps[Timeline]:
    """The timeline of these commits. A few reads for each epoch, and one for a town that was never restored.

    `standing` is None for a commit if neither it nor any older one can be read.
    """
    starts: dict[int, datetime] = {}
    rest = newest_first
    while rest:
        newest = yield from standing(rest[0])
        if newest is None or newest.epoch == 0:
            break
        older = yield from first_fitting(rest, partial(_is_before, standing, newest.epoch))
        first = yield from standing(rest[older - 1])
        starts[newest.epoch] = newest.time if first is None else first.time
        rest = rest[older:]
    return Timeline(starts)


def _is_before(standing: Callable[[T], Steps[Standing | None]], epoch: int, item: T) -> Steps[bool]:
    found = yield from standing(item)
    return found is None or found.epoch < epoch

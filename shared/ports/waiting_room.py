"""The waiting-room port: batches of events in the inboxes of towns, and due markers.

A due marker says that a town wants a tick at some second. The dispatcher looks only at due markers, so an idle town costs
nothing. These rules ensure that no town with work is forgotten:

- A town with work has a marker that is no later than the work. A superfluous marker costs one look.
- Write the marker before adding the work.
- After deleting a marker, read the inbox and the head again.

Every method yields its store calls as steps and raises what the object store raises: StoreUnavailable (the outcome is
unknown; repeating the call is safe), AccessDenied and other Terminal errors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.ports.steps import Steps


@dataclass(frozen=True, slots=True)
class InboxObject:
    """One batch of events in an inbox. Its body is not decoded.

    Of an object that is larger than a batch can be, `body` is only the beginning, and `size` the number of all its bytes.
    """

    key: str
    body: bytes
    size: int | None = None


@dataclass(frozen=True, slots=True)
class InboxReading:
    """The oldest batches of an inbox in the order in which they were received. `more`: later batches are waiting too."""

    objects: tuple[InboxObject, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class DueMarker:
    """Says that this town wants a tick at that time. `at` is a whole second, never later than the wanted time."""

    key: str
    town_id: str
    at: datetime


Room = Callable[[Sequence[str]], Sequence[str]]
"""Looks at the keys of the batches that are already waiting, and raises if there is no room for a new one. Returns the keys of the
batches that must be read before it may be stored."""

Admission = Callable[[Sequence[InboxObject]], None]
"""Looks at these batches, and raises if a new one must not be stored beside them."""


class WaitingRoom(Protocol):
    """The inboxes and due markers of all towns."""

    def post(
        self,
        town_id: str,
        body: bytes,
        *,
        received_at: datetime,
        batch_id: str,
        wake: bool,
        admit: Room | None = None,
        judge: Admission | None = None,
    ) -> Steps[str]:
        """Make a batch durable and return its key. With `wake`, a due marker exists when this returns.

        `town_id`, `received_at` and `batch_id` together are the idempotency key: posting the same batch again changes
        nothing. If a tick has already taken the batch, it is stored again, and the next tick recognises its events by their
        ids. `admit` is given the keys of the waiting batches, at most 999, the oldest first; without it the inbox is not
        listed. `judge` gets the newest of the batches that it names, at most 100 and fewer if they are very large. If one of
        them raises, nothing is stored. Raises
        UnknownTown if the town was never created, and Refused (409) if another body was posted under this batch id.
        """
        ...

    def read_inbox(self, town_id: str, *, limit: int) -> Steps[InboxReading]:
        """The oldest batches: at most `limit`, fewer if they are very large. They hold at least one event each.

        A batch that another worker clears meanwhile is left out. The inbox of an unknown town is empty.
        """
        ...

    def count_inbox(self, town_id: str, *, after: str) -> Steps[int]:
        """The number of batches behind the one with the key `after`; of more than 10,000 only that many are counted."""
        ...

    def clear_inbox(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete batches whose events are committed. Keys that are gone already are not an error."""
        ...

    def mark_due(self, town_id: str, at: datetime) -> Steps[DueMarker]:
        """Write the marker of the second that contains `at`. Repeating it changes nothing."""
        ...

    def clear_due(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete markers. Keys that are gone already are not an error.

        Afterwards the caller must read the inbox and the head again, and write a marker if it finds work.
        """
        ...

    def due(self, now: datetime) -> Steps[tuple[DueMarker, ...]]:
        """All markers of `now` or earlier, oldest first."""
        ...

"""The waiting-room port: what waits for a tick. Batches of events in a town's inbox, and due markers.

A due marker says that a town wants a tick at some second. The dispatcher looks at nothing else, so an idle town costs
nothing. These rules keep a town with something to do from being forgotten:

- A town with something to do has a marker that is not later than it. A marker too many costs one look.
- Whoever adds something to do writes the marker first.
- Whoever deletes a marker looks at the inbox and the head again afterwards.

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
    """One batch of events as it lies in an inbox. Its body is not decoded here."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InboxReading:
    """The oldest batches of an inbox in the order in which they were received. `more`: others wait behind them."""

    objects: tuple[InboxObject, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class DueMarker:
    """A marker that says: this town wants a tick at that time. `at` is a whole second, never later than the wanted time."""

    key: str
    town_id: str
    at: datetime


Admission = Callable[[Sequence[InboxObject]], None]
"""Looks at the batches that already wait beside a new one, and raises if the new one must not be stored."""


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
        judge: Admission | None = None,
    ) -> Steps[str]:
        """Make a batch durable and return its key. With `wake`, a due marker exists when this returns.

        `town_id`, `received_at` and `batch_id` together are the idempotency key: posting the same batch again changes
        nothing. If a tick has taken the batch meanwhile, it is stored again, and the next tick recognises its events by their
        ids. `judge` is shown the newest waiting batches, at most a hundred; if it raises, nothing is stored. Raises
        UnknownTown if the town was never created, and Refused (409) if another body was posted under this batch id.
        """
        ...

    def read_inbox(self, town_id: str, *, limit: int) -> Steps[InboxReading]:
        """The oldest batches: at most `limit`, since each holds at least one event; fewer if they are very large.

        A batch that another worker clears meanwhile is left out. The inbox of an unknown town is empty.
        """
        ...

    def clear_inbox(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete batches whose events are committed. Keys that are gone already are not an error."""
        ...

    def mark_due(self, town_id: str, at: datetime) -> Steps[DueMarker]:
        """Write the marker of the second that `at` lies in. Repeating it changes nothing."""
        ...

    def clear_due(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete markers. Keys that are gone already are not an error.

        The caller must look at inbox and head again afterwards, and write a marker if it finds something to do.
        """
        ...

    def due(self, now: datetime) -> Steps[tuple[DueMarker, ...]]:
        """All markers of `now` or earlier, oldest first."""
        ...

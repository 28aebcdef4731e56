"""The object store port: one bucket or directory of objects with conditional writes and, if kept, their past versions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was read: its bytes, and the ETag that a conditional write must name.

    ETags are opaque. Equal ETags of one key mean equal bytes; nothing follows from unequal ones.
    """

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Keys in ascending order of code points. `more`: further keys follow the last.

    Each object has its size in bytes, and the time at which it was written, by the store's clock and often in whole seconds.
    `bodies` has those that the store gave (`PlainObjects.list_with_bodies`), and None for the others; it is empty if it gave none.
    """

    keys: tuple[str, ...]
    more: bool
    sizes: Sequence[int] = field(default=(), compare=False)
    times: Sequence[datetime] = field(default=(), compare=False)
    bodies: Sequence[bytes | None] = field(default=(), compare=False)


class PlainObjects(Protocol):
    """Objects that are created once, read, listed and deleted: all that a waiting room needs.

    Reads and listings are strongly consistent: they see every write that has been answered.

    Every method may raise

    - StoreUnavailable: no answer, or a failure inside the store. A write may or may not have been carried out. The caller
      reads to find out and never assumes either.
    - AccessDenied, StoreNotFound, another Terminal error, or Refused for an invalid key: the request was not carried out and
      would fail in the same way again.

    A method returns or raises within about 40 seconds: an adapter may repeat a request that got no answer. Therefore
    PreconditionFailed can be caused by the writer's own first attempt; `shared.storage.commit` shows how to resolve this.
    """

    @property
    def at_once(self) -> int:
        """How many calls this store answers sooner if they are made at the same time; 1 if it is a disk of this machine."""
        ...

    def get(self, key: str) -> StoredObject | None:
        """The object; None if it does not exist. Raises ImageTooLarge instead of downloading an object that is too large."""
        ...

    def start_of(self, key: str, length: int) -> bytes | None:
        """The first `length` bytes of an object, fewer if it is shorter; None if it does not exist. No more is transferred."""
        ...

    def create(self, key: str, body: bytes) -> str:
        """Store a new object and return its ETag.

        Raises PreconditionFailed if the key exists (perhaps because an earlier attempt of this very call succeeded), and
        ConditionRace if two conditional writes collided; then this attempt changed nothing.
        """
        ...

    def put(self, key: str, body: bytes) -> str:
        """Store unconditionally and return the ETag. Only for objects whose content does not matter, such as markers."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object. A key that does not exist is not an error, so a deletion may be repeated."""
        ...

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """At most `limit` keys that start with `prefix` and are greater than `after`, in ascending order."""
        ...

    def list_with_bodies(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """As `list`; and the bodies of small objects, if this store gives them in the same request and for the same price."""
        ...


class ObjectStore(PlainObjects, Protocol):
    """One bucket or directory. Its other methods take as long as those of PlainObjects, and raise the same."""

    @property
    def waiting(self) -> PlainObjects:
        """Where the inboxes and due markers of the towns in this store are kept: in the store itself, or in a table beside it."""
        ...

    def get_if_changed(self, key: str, etag: str) -> StoredObject | Literal["unchanged"] | None:
        """The object if its ETag differs from `etag`, `unchanged` if it does not, None if the object does not exist.

        An unchanged object is not transferred. Raises ImageTooLarge as `get` does.
        """
        ...

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """Replace the object that has this ETag and return the new ETag; the old state becomes a past version.

        Raises PreconditionFailed if the object has another ETag or is gone (perhaps because an earlier attempt of this very
        call succeeded), and ConditionRace as `create` does.
        """
        ...

    def time(self) -> datetime:
        """The present time by the store's own clock, the one that dates objects and versions; exact to about two seconds."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One state, current or past, of an object. `at`: when it was written, by the store's clock, often in whole seconds."""

    version_id: str
    etag: str
    at: datetime
    size: int
    current: bool


class VersionedObjects(Protocol):
    """The past versions of objects. A store that keeps none shows only the current state.

    Methods raise what those of ObjectStore raise, and take as long.
    """

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        """Every state that is still kept, newest first. The first one is current unless the object was deleted."""
        ...

    def get_version(self, key: str, version_id: str) -> StoredObject | None:
        """The object in that state; None if the version is not kept."""
        ...

    def delete_version(self, key: str, version_id: str) -> None:
        """Delete one past state. One that is gone is not an error.

        Raises Refused (409) for the current state and leaves it unchanged: deleting it would bring back the state before.
        """
        ...

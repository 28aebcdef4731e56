"""The port to one bucket or directory of objects, with conditional writes and, where the store keeps it, their past."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was read: its bytes and the ETag to name in a conditional write."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Keys in ascending order and the bytes of each object; `more` says that keys after the last one exist."""

    keys: tuple[str, ...]
    more: bool
    sizes: tuple[int, ...] = field(default=(), compare=False)


class ObjectStore(Protocol):
    """One bucket or directory with conditional writes.

    All methods may raise StoreUnavailable (nothing is known about the outcome) and AccessDenied.
    """

    def get(self, key: str) -> StoredObject | None:
        """The object, or None if there is none."""
        ...

    def get_if_changed(self, key: str, etag: str) -> StoredObject | Literal["unchanged"] | None:
        """The object if its ETag is another than `etag`; `unchanged` if not; None if there is none."""
        ...

    def start_of(self, key: str, length: int) -> bytes | None:
        """The first `length` bytes of an object that is not empty, fewer if it has no more; None if there is none."""
        ...

    def create(self, key: str, body: bytes) -> str:
        """Store a new object and return its ETag. Raises PreconditionFailed if the key exists, ConditionRace."""
        ...

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """Replace the object of that ETag. Raises PreconditionFailed if it is another or gone, ConditionRace."""
        ...

    def put(self, key: str, body: bytes) -> str:
        """Store unconditionally; for markers, where content does not matter."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        ...

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """At most `limit` keys that start with `prefix` and are greater than `after`, ascending."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One state that an object has or had. `at` is when it was written, by the store's clock, often in whole seconds."""

    version_id: str
    etag: str
    at: datetime
    size: int
    current: bool


class VersionedObjects(Protocol):
    """The past of objects that were replaced. A store without versions shows the present and no past.

    Methods raise as those of ObjectStore do.
    """

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        """Every state that is still kept, newest first; the first one is current unless the object was deleted."""
        ...

    def get_version(self, key: str, version_id: str) -> StoredObject | None:
        """The object as it was; None if that version is not kept."""
        ...

    def delete_version(self, key: str, version_id: str) -> None:
        """Forget one past state; no error if it is gone. The current one is left alone: Refused (409)."""
        ...

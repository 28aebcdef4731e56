"""An object store in memory, strongly consistent like S3, for tests and the simulation.

ETags count writes and never repeat, so a write that names an old ETag always fails, even if the bytes are the same.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import Final, Literal, Self

from shared.domain.errors import PreconditionFailed, Refused
from shared.ports.object_store import Listing, ObjectVersion, StoredObject

KEPT_VERSIONS: Final = 100

_FIRST_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


def a_second_apart() -> Callable[[], datetime]:
    """A clock for stores whose users do not need real times: each reading is a second later than the one before."""
    seconds = count()
    return lambda: _FIRST_TIME + timedelta(seconds=next(seconds))


class MemoryObjects:
    """The ObjectStore and VersionedObjects ports over a dictionary; safe for threads, gone with the process.

    The last `kept_versions` replaced states of each object are kept. `now` returns the time of a write.
    """

    at_once: Final = 1

    def __init__(self, *, kept_versions: int = KEPT_VERSIONS, now: Callable[[], datetime] | None = None) -> None:
        self._lock = Lock()
        self._objects: dict[str, StoredObject] = {}
        self._times: dict[str, datetime] = {}
        self._past: dict[str, deque[tuple[StoredObject, datetime]]] = {}
        self._keys: list[str] = []
        self._writes = 0
        self._kept_versions = kept_versions
        self._now = now or a_second_apart()

    @property
    def waiting(self) -> Self:
        """Inboxes and due markers are objects like any other."""
        return self

    def get(self, key: str) -> StoredObject | None:
        """The object, or None if there is none."""
        with self._lock:
            return self._objects.get(key)

    def get_if_changed(self, key: str, etag: str) -> StoredObject | Literal["unchanged"] | None:
        """The object if its ETag differs from `etag`; `unchanged` if it does not; None if there is none."""
        with self._lock:
            found = self._objects.get(key)
            return "unchanged" if found is not None and found.etag == etag else found

    def start_of(self, key: str, length: int) -> bytes | None:
        """The first `length` bytes of an object; None if there is none."""
        found = self.get(key)
        return None if found is None else found.body[:length]

    def create(self, key: str, body: bytes) -> str:
        """Store a new object and return its ETag. Raises PreconditionFailed if the key exists."""
        with self._lock:
            if key in self._objects:
                raise PreconditionFailed(f"create {key}: it exists")
            return self._write(key, body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """Replace the object that has this ETag and keep the old state as a version.

        Raises PreconditionFailed if the object has another ETag or is gone.
        """
        with self._lock:
            found = self._objects.get(key)
            if found is None or found.etag != etag:
                raise PreconditionFailed(f"replace {key}: it has changed")
            past = self._past.setdefault(key, deque(maxlen=self._kept_versions))
            past.appendleft((found, self._times[key]))
            return self._write(key, body)

    def put(self, key: str, body: bytes) -> str:
        """Store unconditionally."""
        with self._lock:
            return self._write(key, body)

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        with self._lock:
            if self._objects.pop(key, None) is not None:
                del self._times[key]
                del self._keys[bisect_left(self._keys, key)]

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """At most `limit` keys that start with `prefix` and are greater than `after`, ascending."""
        with self._lock:
            start = bisect_right(self._keys, after) if after >= prefix else bisect_left(self._keys, prefix)
            found = [key for key in self._keys[start : start + limit + 1] if key.startswith(prefix)]
            sizes = tuple(len(self._objects[key].body) for key in found[:limit])
            times = tuple(self._times[key] for key in found[:limit])
            return Listing(tuple(found[:limit]), more=len(found) > limit, sizes=sizes, times=times)

    def list_with_bodies(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """As `list`: bodies are as near."""
        return self.list(prefix, after=after, limit=limit)

    def time(self) -> datetime:
        """The present time by the clock that dates writes."""
        return self._now()

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        """The current state and those that were replaced, newest first."""
        with self._lock:
            past = [_version(found, at, current=False) for found, at in self._past.get(key, ())]
            present = self._objects.get(key)
            return (*([] if present is None else [_version(present, self._times[key], current=True)]), *past)

    def get_version(self, key: str, version_id: str) -> StoredObject | None:
        """The object as it was; None if that version is not kept."""
        with self._lock:
            present = self._objects.get(key)
            kept = [found for found, _ in self._past.get(key, ())]
            states = kept if present is None else [present, *kept]
            return next((found for found in states if _version_id(found) == version_id), None)

    def delete_version(self, key: str, version_id: str) -> None:
        """Delete one past state; no error if it is gone. Raises Refused for the current one."""
        with self._lock:
            present = self._objects.get(key)
            if present is not None and _version_id(present) == version_id:
                hint = "list the versions again; only those that were replaced may be deleted"
                raise Refused(
                    f"delete version {version_id} of {key}: it is current", status=409, path="version_id", hint=hint
                )
            kept = [(found, at) for found, at in self._past.get(key, ()) if _version_id(found) != version_id]
            self._past[key] = deque(kept, maxlen=self._kept_versions)

    def _write(self, key: str, body: bytes) -> str:
        if key not in self._objects:
            insort(self._keys, key)
        self._writes += 1
        stored = StoredObject(bytes(body), f'"{self._writes}"')
        self._objects[key] = stored
        self._times[key] = self._now()
        return stored.etag


def _version(found: StoredObject, at: datetime, *, current: bool) -> ObjectVersion:
    return ObjectVersion(_version_id(found), found.etag, at, len(found.body), current)


def _version_id(found: StoredObject) -> str:
    return found.etag.strip('"')

"""An object store in memory: the model that tests and the simulation run on, strongly consistent like S3.

ETags count writes and never come again, so a writer that holds an old one can never win, whatever it wrote.
"""

from bisect import bisect_left, bisect_right, insort
from threading import Lock
from typing import Literal

from shared.domain.errors import PreconditionFailed
from shared.domain.ports import Listing, StoredObject


class MemoryObjects:
    """The ObjectStore port over a dictionary; safe for threads, gone with the process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._objects: dict[str, StoredObject] = {}
        self._keys: list[str] = []
        self._writes = 0

    def get(self, key: str) -> StoredObject | None:
        """The object, or None if there is none."""
        with self._lock:
            return self._objects.get(key)

    def get_if_changed(self, key: str, etag: str) -> StoredObject | Literal["unchanged"] | None:
        """The object if its ETag is another than `etag`; `unchanged` if not; None if there is none."""
        with self._lock:
            found = self._objects.get(key)
            return "unchanged" if found is not None and found.etag == etag else found

    def create(self, key: str, body: bytes) -> str:
        """Store a new object and return its ETag. Raises PreconditionFailed if the key exists."""
        with self._lock:
            if key in self._objects:
                raise PreconditionFailed(f"create {key}: it exists")
            return self._write(key, body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """Replace the object of that ETag. Raises PreconditionFailed if it is another or gone."""
        with self._lock:
            found = self._objects.get(key)
            if found is None or found.etag != etag:
                raise PreconditionFailed(f"replace {key}: it has changed")
            return self._write(key, body)

    def put(self, key: str, body: bytes) -> str:
        """Store unconditionally."""
        with self._lock:
            return self._write(key, body)

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        with self._lock:
            if self._objects.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """At most `limit` keys that start with `prefix` and are greater than `after`, ascending."""
        with self._lock:
            start = bisect_right(self._keys, after) if after >= prefix else bisect_left(self._keys, prefix)
            found = [key for key in self._keys[start : start + limit + 1] if key.startswith(prefix)]
            return Listing(tuple(found[:limit]), more=len(found) > limit)

    def _write(self, key: str, body: bytes) -> str:
        if key not in self._objects:
            insort(self._keys, key)
        self._writes += 1
        stored = StoredObject(bytes(body), f'"{self._writes}"')
        self._objects[key] = stored
        return stored.etag

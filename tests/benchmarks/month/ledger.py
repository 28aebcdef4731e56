"""A ledger of requests: every request of a fleet, under the activity that made it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.table_objects import SHARDS
from shared.ports.object_store import Listing, StoredObject
from tests.counting import COUNTED, KINDS

Activity = Literal["setup", "post", "dispatcher", "tick", "sweep", "retention"]

WRITES: Final = frozenset(("create", "replace", "put", "list", "versions"))
READS: Final = frozenset(("get", "get_if_changed", "start_of", "get_version", "time"))
OF_S3: Final = (*WRITES, *READS, "delete")
assert set(OF_S3) == COUNTED | {"time"}
OF_TABLE: Final = ("table get", "table put", "table delete", "table query")
STORE: Final = (*OF_S3, *OF_TABLE)
WRITE_UNIT: Final = "write unit"
READ_UNIT: Final = "read unit"
_ITEM_BYTES: Final = 30
"""Of the names of attributes, and of what is neither the sort key nor the body: the partition and the size."""


@dataclass(slots=True)
class Ledger:
    """How often each activity happened, and the store's and the queue's requests and the bytes of log lines that it cost."""

    activity: Activity = "setup"
    happened: Counter[str] = field(default_factory=Counter)
    requests: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    line_bytes: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Of the simulated clock, for activities that wait."""

    @contextmanager
    def during(self, activity: Activity) -> Iterator[None]:
        """Charge what happens inside to this activity."""
        before, self.activity = self.activity, activity
        self.happened[activity] += 1
        yield
        self.activity = before

    def charge(self, kind: str, key: str = "", *, count: int = 1) -> None:
        """One request, or so many units.

        If a dispatcher runs a town itself, all but its looks at due markers and notes is charged to the tick.
        """
        activity = self.activity
        if (
            activity == "dispatcher"
            and not key.startswith("watch/")
            and not (kind in ("list", "table query", READ_UNIT) and key == "due/")
        ):
            activity = "dispatcher" if kind in ("time", "send") else "tick"
        self.requests[activity][kind] += count

    def each(self, activity: str, *kinds: str, per: float | None = None) -> float:
        """Requests of these kinds, or all to the store, for each time that the activity happened."""
        found = self.requests[activity]
        total = sum(found[kind] for kind in kinds or STORE)
        return total / (self.happened[activity] if per is None else per)


@dataclass(frozen=True, slots=True)
class LedgerTable:
    """A table beside a bucket, whose requests and units are charged as those of `shared.adapters.table_objects`.

    A unit writes or deletes 1 KB of one item, or reads 4 KB of an item, or of all items that a query goes through.
    """

    behind: MemoryObjects
    ledger: Ledger

    @property
    def at_once(self) -> int:
        return self.behind.at_once

    def get(self, key: str) -> StoredObject | None:
        self._charge_read("table get", key, self._bytes(key))
        return self.behind.get(key)

    def start_of(self, key: str, length: int) -> bytes | None:
        self._charge_read("table get", key, self._bytes(key))
        return self.behind.start_of(key, length)

    def create(self, key: str, body: bytes) -> str:
        self._charge_write("table put", key, _item_bytes(key, len(body)))
        return self.behind.create(key, body)

    def put(self, key: str, body: bytes) -> str:
        self._charge_write("table put", key, max(_item_bytes(key, len(body)), self._bytes(key)))
        return self.behind.put(key, body)

    def delete(self, key: str) -> None:
        self._charge_write("table delete", key, self._bytes(key))
        self.behind.delete(key)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        found = self.behind.list(prefix, after=after, limit=limit + 1)
        size = sum(map(_item_bytes, found.keys, found.sizes))
        for _ in range(SHARDS if prefix.startswith("due/") else 1):
            self._charge_read("table query", prefix, size // (SHARDS if prefix.startswith("due/") else 1))
        return self.behind.list(prefix, after=after, limit=limit)

    def list_with_bodies(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        found = self.list(prefix, after=after, limit=limit)
        bodies = [self.behind.get(key) for key in found.keys]
        return replace(found, bodies=[None if body is None else body.body for body in bodies])

    def _bytes(self, key: str) -> int:
        found = self.behind.get(key)
        return 0 if found is None else _item_bytes(key, len(found.body))

    def _charge_read(self, kind: str, key: str, size: int) -> None:
        self.ledger.charge(kind, key)
        self.ledger.charge(READ_UNIT, key, count=max(1, -(-size // 4096)))

    def _charge_write(self, kind: str, key: str, size: int) -> None:
        self.ledger.charge(kind, key)
        self.ledger.charge(WRITE_UNIT, key, count=max(1, -(-size // 1024)))


def _item_bytes(key: str, size: int) -> int:
    return len(key) + size + _ITEM_BYTES


@dataclass(frozen=True, slots=True)
class LedgerObjects:
    """Any object store, whose requests are charged to a ledger."""

    behind: Any
    ledger: Ledger
    table: "LedgerTable | None" = None

    @property
    def waiting(self) -> Any:
        """The table, if there is one; else everything waits in the store itself."""
        return self.table or self

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.behind, name)
        if name == "time":

            def told() -> Any:
                self.ledger.charge("time")
                return method()

            return told
        kind = KINDS.get(name, name)
        if kind not in COUNTED:
            return method

        def counted(key: str, *arguments: Any, **named: Any) -> Any:
            self.ledger.charge(kind, key)
            return method(key, *arguments, **named)

        return counted

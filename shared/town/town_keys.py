"""The town keys: single values that a tick stores for the next one. Each is defined here once (spec/data-model.md 1.11).

    keys = TownKeys(sql)
    keys.settling_until                 the value, typed; its default if it was never set
    keys.settling_until = later         stored, if it differs
    TownKeys.settling_until.name        the name of the key in the table

A new town stores the default of every key, except of those that few towns ever have (`rare`). An imported town or one of an
older release may lack some of them.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, Self, TypedDict, TypeVar, Unpack, overload

from shared.domain import canonical, limits, strict_json
from shared.domain.brake import Brake
from shared.domain.restores import InPlaceRestore
from shared.domain.tick import Breaker
from shared.domain.times import from_text, text_or_none, time_or_none, to_text

OWN_CLOCK: Final = "own"

T = TypeVar("T")
Stored = Any
"""The JSON of a key, as its reader gets it."""


@dataclass(frozen=True, slots=True)
class ContainerDrain:
    """A drain: nothing is dispatched until the new container reports `nonce` or sends a heartbeat, or the drain times out."""

    nonce: str
    started_at: datetime

    @property
    def last_moment(self) -> datetime:
        """The last time at which the drain is in force: it times out when more than DRAIN_TIMEOUT has passed."""
        return self.started_at + limits.DRAIN_TIMEOUT

    @property
    def ends_at(self) -> datetime:
        """The first time at which the drain has timed out."""
        return limits.just_after(self.last_moment)


@dataclass(frozen=True, slots=True)
class Counters:
    """How many events were poisoned, and how many were received again with another content, since the town was created."""

    poisoned: int
    conflicts: int


@dataclass(frozen=True, slots=True)
class TriageState:
    """The last triage batch, the number of batches since the last answer or new request, and whether that was escalated."""

    last_batch_at: datetime | None
    last_batch_id: str | None
    fruitless: int
    escalated: bool


@dataclass(frozen=True, slots=True)
class Spent:
    """What one sender has spent of its budget in the window: events that were applied, and the beads that they created."""

    events: int = 0
    beads: int = 0
    over: bool = False
    """Whether an event was refused, so that a person was told."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """The window that began at `since`, and what each sender has spent in it. A new window begins with the first event in it."""

    since: datetime | None
    spent: Mapping[str, Spent]


class TriageParts(TypedDict, total=False):
    """Parts of `triage` as they are stored."""

    last_batch_at: str
    last_batch_id: str
    fruitless: int
    escalated: bool


class Key(Generic[T]):
    """One town key: `new` is the JSON that a new town stores, which also holds where the key is missing or null."""

    name: str

    def __init__(
        self,
        new: Stored,
        *,
        read: Callable[[Stored], T],
        write: Callable[[T], Stored] = lambda value: value,
        rare: bool = False,
    ) -> None:
        self.new: Final = new
        self.rare: Final = rare
        self._read = read
        self._write = write

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, keys: None, owner: type) -> Self: ...
    @overload
    def __get__(self, keys: "TownKeys", owner: type) -> T: ...
    def __get__(self, keys: "TownKeys | None", owner: type) -> Self | T:
        """The value. Raises what its reader raises if the stored JSON has another form."""
        if keys is None:
            return self
        stored = keys.stored(self.name)
        return self._read(self.new if stored is None else stored)

    def __set__(self, keys: "TownKeys", value: T) -> None:
        """Store the value, if it differs. The default of a rare key is not stored where none was."""
        new = self._write(value)
        if not self.rare or new != self.new or keys.stored(self.name) is not None:
            keys.store(self.name, new)


def _drain(stored: Stored) -> ContainerDrain | None:
    return None if stored is None else ContainerDrain(stored["nonce"], from_text(stored["started_at"]))


def _stored_drain(drain: ContainerDrain | None) -> Stored:
    return None if drain is None else {"nonce": drain.nonce, "started_at": to_text(drain.started_at)}


def _brake(stored: Stored) -> Brake | None:
    return None if stored is None else Brake(stored["by"], from_text(stored["at"]), bool(stored["stopped_agents"]))


def _stored_brake(brake: Brake | None) -> Stored:
    if brake is None:
        return None
    return {"by": brake.by, "at": to_text(brake.at), "stopped_agents": brake.stopped_agents}


def _breaker(stored: Stored) -> Breaker:
    return Breaker(open=stored["open"], since=time_or_none(stored["since"]), episode=stored["episode"])


def _stored_breaker(breaker: Breaker) -> Stored:
    """Without its failures, which every tick counts again."""
    return {"open": breaker.open, "since": text_or_none(breaker.since), "episode": breaker.episode}


def _triage(stored: Stored) -> TriageState:
    return TriageState(
        last_batch_at=time_or_none(stored.get("last_batch_at")),
        last_batch_id=stored.get("last_batch_id"),
        fruitless=stored.get("fruitless", 0),
        escalated=bool(stored.get("escalated")),
    )


def _budgets(stored: Stored) -> Budgets:
    return Budgets(
        time_or_none(stored["since"]),
        {name: Spent(events, beads, bool(over)) for name, (events, beads, over) in stored["spent"].items()},
    )


def _stored_budgets(budgets: Budgets) -> Stored:
    spent = {name: [each.events, each.beads, int(each.over)] for name, each in budgets.spent.items()}
    return {"since": text_or_none(budgets.since), "spent": spent}


def _part_by_part(_: TriageState) -> Stored:
    raise TypeError("triage is stored part by part: change_triage")


def _as_is(stored: Stored) -> Stored:
    return stored


def _or_first(stored: Stored) -> int:
    return stored or 1


def _or_empty(stored: Stored) -> dict[str, object]:
    return stored or {}


def _or_empty_objects(stored: Stored) -> dict[str, dict[str, object]]:
    return stored or {}


def _time() -> Key[datetime | None]:
    return Key(None, read=time_or_none, write=text_or_none)


class TownKeys:
    """The town keys of an open image. `config` is the stored configuration, which may lack any setting."""

    id: Key[str] = Key("", read=_as_is)
    schema_version: Key[int] = Key(0, read=_as_is)
    config: Key[dict[str, Any]] = Key({}, read=_or_empty)
    tick_no: Key[int] = Key(0, read=_as_is)
    tick_id: Key[str | None] = Key(None, read=_as_is)
    last_tick_at = _time()
    next_seq: Key[int] = Key(1, read=_or_first)
    next_audit_seq: Key[int] = Key(1, read=_or_first)
    next_due_at = _time()
    settling_until = _time()
    drain: Key[ContainerDrain | None] = Key(None, read=_drain, write=_stored_drain)
    container_instance_id: Key[str | None] = Key(None, read=_as_is)
    breaker = Key({"open": False, "since": None, "episode": 0}, read=_breaker, write=_stored_breaker)
    counters = Key(
        {"poisoned": 0, "conflicts": 0},
        read=lambda stored: Counters(stored["poisoned"], stored["conflicts"]),
        write=lambda counters: {"poisoned": counters.poisoned, "conflicts": counters.conflicts},
    )
    merges_unproven: Key[int] = Key(0, read=lambda stored: stored or 0)
    """How many merges were accepted on a refinery's word since the town was created, because nothing could check them."""
    triage: Key[TriageState] = Key(
        {"last_batch_at": None, "last_batch_id": None, "fruitless": 0, "escalated": False},
        read=_triage,
        write=_part_by_part,
    )
    budgets: Key[Budgets] = Key({"since": None, "spent": {}}, read=_budgets, write=_stored_budgets)
    forge_episodes: Key[dict[str, dict[str, object]]] = Key({}, read=_or_empty_objects)
    """The episodes in which a forge could not be read, by key: see `shared.events.episodes`."""
    queued_reviews: Key[dict[str, datetime]] = Key(
        {},
        read=lambda stored: {key: from_text(at) for key, at in stored.items()},
        write=lambda queued: {key: to_text(at) for key, at in queued.items()},
    )
    """The merge requests whose pull request may be in a merge queue, live or not: when the town may next take it out."""
    archive_index: Key[int] = Key(0, read=lambda stored: stored or 0)
    """The number of the commit whose archive index finds every bead that has left the image; 0: none has."""
    back_from_archive: Key[frozenset[str]] = Key([], read=frozenset, write=sorted, rare=True)
    """The beads that have come back from the archive, where a copy of each stays, and have not left again."""
    last_idle_stop_at = _time()
    last_token_refresh_at = _time()
    mayor_working_since = _time()
    mayor_waiting_since = _time()
    paused: Key[bool] = Key(False, read=bool)
    brake: Key[Brake | None] = Key(None, read=_brake, write=_stored_brake, rare=True)
    """Who paused the town while it ran; None if it runs, or if it was created or imported paused and has not run here yet."""
    clock: Key[str | None] = Key(None, read=_as_is)
    """OWN_CLOCK if the town runs on a clock of its own, which no other clock may be compared with; None: real time."""
    alerted: Key[dict[str, datetime]] = Key(
        {},
        read=lambda stored: {key: from_text(at) for key, at in stored.items()},
        write=lambda alerted: {key: to_text(at) for key, at in alerted.items()},
    )
    acted: Key[Mapping[int, int]] = Key(
        [],
        read=dict,
        write=lambda acted: sorted(acted.items()),
        rare=True,
    )
    """The actions of the last hour by slot (`shared.domain.acted`), as of the newest tick that had any."""
    restores: Key[tuple[InPlaceRestore, ...]] = Key(
        [],
        read=lambda stored: tuple(map(InPlaceRestore.from_json, stored)),
        write=lambda restores: [restore.as_json() for restore in restores],
        rare=True,
    )
    """The restores in place, oldest first. A restore carries them over from the image that it replaces."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql

    def stored(self, name: str) -> Stored:
        """The JSON of a key; None if it was never set."""
        row = self._sql.execute("SELECT value FROM town WHERE key = :name", {"name": name}).fetchone()
        return None if row is None else strict_json.stored(row[0])

    def store(self, name: str, new: Stored) -> None:
        """Store the JSON of a key, if it differs."""
        self._sql.execute(
            "INSERT INTO town (key, value) VALUES (:name, :value) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
            {"name": name, "value": canonical.dumps(new)},
        )

    def change_triage(self, **parts: Unpack[TriageParts]) -> None:
        """Store these parts of `triage`. A part that an older release did not store stays missing until it is given."""
        self.store("triage", {**(self.stored("triage") or TownKeys.triage.new), **parts})

    def count(self, *, poisoned: int = 0, conflicts: int = 0) -> None:
        """Add to the town's counters, which never decrease."""
        known = self.counters
        self.counters = Counters(known.poisoned + poisoned, known.conflicts + conflicts)


KEYS: Final[Mapping[str, Key[object]]] = {name: key for name, key in vars(TownKeys).items() if isinstance(key, Key)}
"""Every key by its name."""
SET_IN_EVERY_TICK: Final = frozenset(
    {"tick_no", "tick_id", "last_tick_at", "next_seq", "next_audit_seq", "next_due_at"}
)
"""The keys that say nothing but that a tick ran: `journal.record` sets them."""


def all_stored(sql: sqlite3.Connection) -> Iterator[tuple[str, Stored]]:
    """Every key that the image holds, known here or not, with its JSON, in order."""
    for key, stored in sql.execute("SELECT key, value FROM town ORDER BY key"):
        yield key, strict_json.stored(stored)

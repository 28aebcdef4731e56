"""The town keys: single values that a tick stores for the next one, and typed access to those that have parts.

NEVER_SET holds the values of keys with parts that were never set. A new town stores them; an imported town may lack them.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from shared.domain import canonical, limits
from shared.domain.tick import Breaker
from shared.domain.times import from_text, text_or_none, time_or_none

NEVER_SET: Final[Mapping[str, Mapping[str, Any]]] = {
    "breaker": {"open": False, "since": None, "episode": 0},
    "counters": {"poisoned": 0, "conflicts": 0},
    "triage": {"last_batch_at": None, "last_batch_id": None, "fruitless": 0, "escalated": False},
}


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


def value(sql: sqlite3.Connection, name: str) -> Any:
    """The value of a key; None if it was never set."""
    row = sql.execute("SELECT value FROM town WHERE key = :name", {"name": name}).fetchone()
    return None if row is None else json.loads(row[0])


def all_values(sql: sqlite3.Connection) -> dict[str, Any]:
    """Every key with its value, in order."""
    return {key: json.loads(stored) for key, stored in sql.execute("SELECT key, value FROM town ORDER BY key")}


def put(sql: sqlite3.Connection, name: str, new: Any) -> None:
    """Store a key if its value differs."""
    sql.execute(
        "INSERT INTO town (key, value) VALUES (:name, :value) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
        {"name": name, "value": canonical.dumps(new)},
    )


def breaker(sql: sqlite3.Connection) -> Breaker:
    """The dispatch circuit breaker as the last tick left it."""
    stored = value(sql, "breaker") or NEVER_SET["breaker"]
    return Breaker(open=stored["open"], since=time_or_none(stored["since"]), episode=stored["episode"])


def put_breaker(sql: sqlite3.Connection, new: Breaker) -> None:
    """Store the breaker, except for its failures, which every tick counts again."""
    put(sql, "breaker", {"open": new.open, "since": text_or_none(new.since), "episode": new.episode})


def count(sql: sqlite3.Connection, what: Literal["poisoned", "conflicts"], more: int = 1) -> None:
    """Add to one of the town's counters, which never decrease."""
    counters = value(sql, "counters") or NEVER_SET["counters"]
    put(sql, "counters", {**counters, what: counters[what] + more})


def container_drain(sql: sqlite3.Connection) -> ContainerDrain | None:
    """The current drain; None if the town is not draining."""
    stored = value(sql, "drain")
    return None if stored is None else ContainerDrain(stored["nonce"], from_text(stored["started_at"]))


def settling_until(sql: sqlite3.Connection) -> datetime | None:
    """When settling ends; None if the town is not settling."""
    return time_or_none(value(sql, "settling_until"))


def triage(sql: sqlite3.Connection) -> dict[str, Any]:
    """The last triage batch, the number of batches since the last answer or new request, and whether that was escalated."""
    return dict(value(sql, "triage") or NEVER_SET["triage"])

"""The values that a run reads from an image before its tick."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain import limits
from shared.domain.images import Content
from shared.town import database
from shared.town.town_keys import TownKeys


@dataclass(frozen=True, slots=True)
class BeforeTick:
    """These values. `watched` are the ids of the working and stalled agents; `interval` is the shortest time between two ticks."""

    config: dict[str, object]
    last_tick_at: datetime | None
    next_due: datetime | None
    interval: timedelta
    watched: tuple[str, ...]


def before_tick(sql: sqlite3.Connection) -> BeforeTick:
    """Read these values from an open image."""
    keys = TownKeys(sql)
    config = keys.config
    watched = sql.execute(
        "SELECT bead_id FROM agent_metadata WHERE status IN ('working', 'stalled') ORDER BY bead_id"
    ).fetchall()
    return BeforeTick(
        config=config,
        last_tick_at=keys.last_tick_at,
        next_due=keys.next_due_at,
        interval=timedelta(seconds=config.get("alarm_interval_active", limits.ACTIVE_INTERVAL.seconds)),
        watched=tuple(row[0] for row in watched),
    )


def drain_nonce(sql: sqlite3.Connection) -> str | None:
    """The nonce of the current drain; None if the town is not draining."""
    drain = TownKeys(sql).drain
    return None if drain is None else drain.nonce


def drain_nonce_in(image: Content) -> str | None:
    """The same for an image that is not open."""
    with database.opened(image) as sql:
        return drain_nonce(sql)


def store_config(sql: sqlite3.Connection, config: dict[str, object]) -> None:
    """Store another configuration in a private copy of an image."""
    TownKeys(sql).config = config

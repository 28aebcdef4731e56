"""The values that a run reads from an image before its tick."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.domain import canonical, limits
from shared.domain.times import time_or_none
from shared.town import town_keys


@dataclass(frozen=True, slots=True)
class BeforeTick:
    """These values. `watched` are the ids of the working and stalled agents; `interval` is the shortest time between two ticks."""

    config: Any
    last_tick_at: datetime | None
    next_due: datetime | None
    interval: timedelta
    watched: tuple[str, ...]


def before_tick(sql: sqlite3.Connection) -> BeforeTick:
    """Read these values from an open image."""
    keys = dict(
        sql.execute(
            "SELECT key, value FROM town WHERE key IN ('config', 'last_tick_at', 'next_due_at') ORDER BY key"
        ).fetchall()
    )
    config = json.loads(keys.get("config", "{}"))
    watched = sql.execute(
        "SELECT bead_id FROM agent_metadata WHERE status IN ('working', 'stalled') ORDER BY bead_id"
    ).fetchall()
    return BeforeTick(
        config=config,
        last_tick_at=time_or_none(json.loads(keys.get("last_tick_at", "null"))),
        next_due=time_or_none(json.loads(keys.get("next_due_at", "null"))),
        interval=timedelta(seconds=config.get("alarm_interval_active", limits.ACTIVE_INTERVAL.seconds)),
        watched=tuple(row[0] for row in watched),
    )


def drain_nonce(sql: sqlite3.Connection) -> str | None:
    """The nonce of the current drain; None if the town is not draining."""
    drain = town_keys.container_drain(sql)
    return None if drain is None else drain.nonce


def store_config(sql: sqlite3.Connection, config: Any) -> None:
    """Store another configuration in a private copy of an image."""
    sql.execute("UPDATE town SET value = :config WHERE key = 'config'", {"config": canonical.dumps(config)})

"""What a run must know of an image before its tick."""

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
    """`watched` are the agents in working or stalled, by id; `interval` the town's smallest spacing of ticks."""

    config: Any
    last_tick_at: datetime | None
    next_due: datetime | None
    interval: timedelta
    watched: tuple[str, ...]


def before_tick(sql: sqlite3.Connection) -> BeforeTick:
    """Read it from an open image."""
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
    """The nonce of the drain that goes on; None if the town does not drain."""
    drain = town_keys.container_drain(sql)
    return None if drain is None else drain.nonce


def store_config(sql: sqlite3.Connection, config: Any) -> None:
    """Put another configuration into a private copy."""
    sql.execute("UPDATE town SET value = :config WHERE key = 'config'", {"config": canonical.dumps(config)})

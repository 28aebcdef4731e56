"""The values that a run reads from an image before its tick."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain import limits
from shared.domain.images import Content
from shared.domain.times import from_text
from shared.town import database
from shared.town.town_keys import OWN_CLOCK, TownKeys


@dataclass(frozen=True, slots=True)
class BeforeTick:
    """These values. `watched` are the ids of the working and stalled agents; `interval` is the shortest time between two ticks.

    `violated`: a violation of an invariant is open. `burst_began` is when the newest TICKS_AT_ONCE ticks began, if the image knows
    so many.
    """

    config: dict[str, object]
    last_tick_at: datetime | None
    next_due: datetime | None
    interval: timedelta
    watched: tuple[str, ...]
    own_clock: bool
    violated: bool = False
    burst_began: datetime | None = None


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
        violated=is_violated(sql),
        own_clock=keys.clock == OWN_CLOCK,
        burst_began=_burst_began(sql, keys.tick_no),
    )


def _burst_began(sql: sqlite3.Connection, tick_no: int) -> datetime | None:
    parameters = {"newest": tick_no, "before": limits.TICKS_AT_ONCE - 1}
    row = sql.execute("SELECT now FROM ticks WHERE tick_no = :newest - :before", parameters).fetchone()
    try:
        return None if row is None else from_text(row[0])
    except (TypeError, ValueError):  # it only paces ticks: a damaged row must not stop the town
        return None


def is_violated(sql: sqlite3.Connection) -> bool:
    """Whether a violation of an invariant is open."""
    [found] = sql.execute("SELECT EXISTS (SELECT 1 FROM open_violations WHERE opened_at IS NOT NULL)").fetchone()
    return bool(found)


def drain_nonce(sql: sqlite3.Connection) -> str | None:
    """The nonce of the current drain; None if the town is not draining."""
    drain = TownKeys(sql).drain
    return None if drain is None else drain.nonce


def drain_nonce_in(image: Content) -> str | None:
    """The same for an image that is not open."""
    with database.opened(image) as sql:
        return drain_nonce(sql)


def has_own_clock(image: Content) -> bool:
    """Whether the town of an image that is not open runs on a clock of its own."""
    with database.opened(image) as sql:
        return TownKeys(sql).clock == OWN_CLOCK


def next_due_in(image: Content) -> datetime | None:
    """When the town of an image that is not open needs its next tick."""
    with database.opened(image) as sql:
        return TownKeys(sql).next_due_at


def store_config(sql: sqlite3.Connection, config: dict[str, object]) -> None:
    """Store another configuration in a private copy of an image."""
    TownKeys(sql).config = config

"""Queries for the events that an image knows: a poisoned event, and whether an id is used."""

import sqlite3

from shared.town import known_events
from shared.town.inbox import Fact, fact_of


def poisoned_event(sql: sqlite3.Connection, event_id: str) -> Fact | None:
    """The poisoned event with this id; None if there is none."""
    row = sql.execute(
        "SELECT event_id, seq, event_type, agent_id, bead_id, payload, source, created_at, received_at, retry_count, "
        "sender "
        "FROM town_events WHERE event_id = :id AND outcome = 'poisoned'",
        {"id": event_id},
    ).fetchone()
    return None if row is None else fact_of(row)


def event_exists(sql: sqlite3.Connection, event_id: str) -> bool:
    """Whether the town knows an event with this id."""
    return known_events.in_image(sql, event_id) is not None

"""The events that an image still has: which of them failed for good, and whether an id is taken."""

import sqlite3

from shared.town.inbox import Fact


def poisoned_event(sql: sqlite3.Connection, event_id: str) -> Fact | None:
    """A stored event that failed for good; None if there is none of that id."""
    row = sql.execute(
        "SELECT event_id, seq, event_type, agent_id, bead_id, payload, source, created_at, received_at, retry_count "
        "FROM town_events WHERE event_id = :id AND outcome = 'poisoned'",
        {"id": event_id},
    ).fetchone()
    return None if row is None else Fact(*row)


def event_exists(sql: sqlite3.Connection, event_id: str) -> bool:
    """Whether an event of that id is stored."""
    row = sql.execute("SELECT 1 FROM town_events WHERE event_id = :id", {"id": event_id}).fetchone()
    return row is not None

"""Nudges: short messages to a running agent. Only the first delivery of each is recorded."""

from datetime import datetime
from typing import Final

from shared.domain.times import text_or_none, to_text
from shared.town.town import Town


def create(
    town: Town,
    agent_id: str,
    message: str,
    *,
    mode: str,
    priority: str,
    source: str,
    expires_at: datetime | None = None,
    nudge_id: str | None = None,
) -> str:
    """Store an undelivered nudge; returns its id. One that is stored under the given id already stays as it is."""
    nudge = {
        "agent": agent_id,
        "message": message,
        "mode": mode,
        "priority": priority,
        "source": source,
        "now": town.tick.now_text,
        "expires": text_or_none(expires_at),
    }
    made = nudge_id or town.tick.ids.new()
    while town.sql.execute(_INSERT, {**nudge, "id": made}).rowcount == 0 and nudge_id is None:
        made = town.tick.ids.new()
    return made


_INSERT: Final = (
    "INSERT INTO agent_nudges (nudge_id, agent_bead_id, message, mode, priority, source, created_at, expires_at) "
    "VALUES (:id, :agent, :message, :mode, :priority, :source, :now, :expires) ON CONFLICT (nudge_id) DO NOTHING"
)


def agent_of(town: Town, nudge_id: str) -> str | None:
    """The agent that a nudge is for; None if there is no such nudge."""
    row = town.sql.execute("SELECT agent_bead_id FROM agent_nudges WHERE nudge_id = :id", {"id": nudge_id}).fetchone()
    return None if row is None else row[0]


def deliver(town: Town, nudge_id: str) -> bool:
    """Mark a nudge as delivered, also if it has expired; the first time is kept. False if it is unknown or was marked before."""
    delivered = town.sql.execute(
        "UPDATE agent_nudges SET delivered_at = :now WHERE nudge_id = :id AND delivered_at IS NULL",
        {"id": nudge_id, "now": town.tick.now_text},
    )
    return delivered.rowcount > 0


def remove_delivered(town: Town, *, before: datetime, limit: int) -> int:
    """Delete nudges that were delivered before a time, oldest first."""
    deleted = town.sql.execute(
        "DELETE FROM agent_nudges WHERE nudge_id IN (SELECT nudge_id FROM agent_nudges "
        "WHERE delivered_at IS NOT NULL AND delivered_at < :before ORDER BY delivered_at, nudge_id LIMIT :limit)",
        {"before": to_text(before), "limit": limit},
    )
    return deleted.rowcount

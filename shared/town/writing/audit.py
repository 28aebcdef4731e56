"""The audit trail: an append-only list of what happened to each bead."""

from datetime import datetime
from typing import Any, Final

from shared.domain import canonical
from shared.domain.times import to_text
from shared.town.town import Town


def record(
    town: Town,
    bead_id: str,
    event_type: str,
    *,
    agent_id: str | None = None,
    old: str | None = None,
    new: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Append one row to the audit trail. If an event with a known sender is being applied, the row names both."""
    about = dict(metadata or {})
    if town.said is not None:
        about |= {"said_by": town.said.by, "said_in": town.said.event_id}
    row = {
        "id": town.tick.ids.new(),
        "seq": town.next_audit_seq,
        "bead_id": bead_id,
        "agent_id": agent_id,
        "event_type": event_type,
        "old": old,
        "new": new,
        "metadata": "{}" if not about else canonical.dumps(about),
        "now": town.tick.now_text,
    }
    town.sql.execute(_INSERT, row)
    town.next_audit_seq += 1


_INSERT: Final = (
    "INSERT INTO bead_events (bead_event_id, seq, bead_id, agent_id, event_type, old_value, new_value, metadata, created_at) "
    "VALUES (:id, :seq, :bead_id, :agent_id, :event_type, :old, :new, :metadata, :now)"
)


def forget_exits(town: Town, *, before: datetime, limit: int) -> int:
    """Delete the exits in the audit trails of agents from before a time, but for the last row of each agent, oldest first."""
    # An agent never leaves the image, so its trail would grow for years: each start ends with an exit. Their beads keep theirs.
    return town.sql.execute(_FORGET_EXITS, {"before": to_text(before), "limit": limit}).rowcount


# CROSS JOIN: agents first, each with its own rows; else SQLite walks through the trails of all beads.
_FORGET_EXITS: Final = (
    "DELETE FROM bead_events WHERE seq IN (SELECT e.seq FROM agent_metadata a CROSS JOIN bead_events e ON e.bead_id = a.bead_id "
    "WHERE e.event_type = 'agent_exited' AND e.created_at < :before "
    "AND e.seq < (SELECT MAX(n.seq) FROM bead_events n WHERE n.bead_id = a.bead_id) ORDER BY e.seq LIMIT :limit)"
)

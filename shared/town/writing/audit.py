"""The audit trail: an append-only list of what happened to each bead."""

from typing import Any

from shared.domain import canonical
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
    """Append one row to the audit trail."""
    town.sql.execute(
        "INSERT INTO bead_events (bead_event_id, seq, bead_id, agent_id, event_type, old_value, new_value, metadata, "
        "created_at) VALUES (:id, :seq, :bead_id, :agent_id, :event_type, :old, :new, :metadata, :now)",
        {
            "id": town.tick.ids.new(),
            "seq": town.next_audit_seq,
            "bead_id": bead_id,
            "agent_id": agent_id,
            "event_type": event_type,
            "old": old,
            "new": new,
            "metadata": "{}" if not metadata else canonical.dumps(metadata),
            "now": town.tick.now_text,
        },
    )
    town.next_audit_seq += 1

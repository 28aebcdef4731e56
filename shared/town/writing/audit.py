"""The audit trail: an append-only list of what happened to each bead."""

from typing import Any, Final

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
    """Append one row to the audit trail. If an event with a known sender is being applied, the row names both."""
    about = dict(metadata or {})
    if town.said is not None:
        about |= {"said_by": town.said.by, "said_in": town.said.event_id}
    row = {
        "seq": town.next_audit_seq,
        "bead_id": bead_id,
        "agent_id": agent_id,
        "event_type": event_type,
        "old": old,
        "new": new,
        "metadata": "{}" if not about else canonical.dumps(about),
        "now": town.tick.now_text,
    }
    while town.sql.execute(_INSERT, {**row, "id": town.tick.ids.new()}).rowcount == 0:
        pass  # a row has this id, as in an image of another town: the next one
    town.next_audit_seq += 1


_INSERT: Final = (
    "INSERT INTO bead_events (bead_event_id, seq, bead_id, agent_id, event_type, old_value, new_value, metadata, created_at) "
    "VALUES (:id, :seq, :bead_id, :agent_id, :event_type, :old, :new, :metadata, :now) ON CONFLICT (bead_event_id) DO NOTHING"
)

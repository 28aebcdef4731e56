"""One bead as a person wants to see it: its row, what belongs to it, what it hangs on, and what happened to it."""

import json
import sqlite3
from typing import Any, Final

AUDIT_SHOWN: Final = 200

_BEAD: Final = (
    "bead_id",
    "type",
    "status",
    "title",
    "body",
    "rig_id",
    "parent_bead_id",
    "assignee_agent_bead_id",
    "priority",
    "labels",
    "metadata",
    "dispatch_attempts",
    "last_dispatch_attempt_at",
    "last_dispatch_failed_at",
    "created_by",
    "created_at",
    "updated_at",
    "closed_at",
)
_JSON: Final = ("labels", "metadata")
_BELONGING: Final = {
    "agent": (
        "agent_metadata",
        (
            "role",
            "identity",
            "status",
            "current_hook_bead_id",
            "generation",
            "last_activity_at",
            "agent_status_message",
        ),
    ),
    "review": ("review_metadata", ("branch", "target_branch", "merge_commit", "pr_url", "retry_count")),
    "convoy": (
        "convoy_metadata",
        ("total_beads", "closed_beads", "landed_at", "feature_branch", "merge_mode", "staged"),
    ),
    "escalation": ("escalation_metadata", ("severity", "category", "acknowledged", "re_escalation_count")),
}


def bead_view(sql: sqlite3.Connection, bead_id: str) -> dict[str, Any] | None:
    """The bead with its newest audit lines, oldest first; None if there is none. A text that is no JSON is shown as it is."""
    row = sql.execute(f"SELECT {', '.join(_BEAD)} FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()  # noqa: S608
    if row is None:
        return None
    shown = dict(zip(_BEAD, row, strict=True))
    shown |= {name: _decoded(shown[name]) for name in _JSON}
    for name, (table, columns) in _BELONGING.items():
        belonging = sql.execute(
            f"SELECT {', '.join(columns)} FROM {table} WHERE bead_id = :id",  # noqa: S608 - constants
            {"id": bead_id},
        ).fetchone()
        if belonging is not None:
            shown[name] = dict(zip(columns, belonging, strict=True))
    shown["depends_on"] = _edges(sql, bead_id, "bead_id", "depends_on_bead_id")
    shown["dependents"] = _edges(sql, bead_id, "depends_on_bead_id", "bead_id")
    shown["audit"] = _audit(sql, bead_id)
    return shown


def _edges(sql: sqlite3.Connection, bead_id: str, here: str, there: str) -> list[dict[str, Any]]:
    rows = sql.execute(
        f"SELECT d.{there}, d.dependency_type, b.status FROM bead_dependencies d "  # noqa: S608 - constants
        f"JOIN beads b ON b.bead_id = d.{there} WHERE d.{here} = :id ORDER BY d.{there}",
        {"id": bead_id},
    ).fetchall()
    return [{"bead_id": other, "type": kind, "status": status} for other, kind, status in rows]


def _audit(sql: sqlite3.Connection, bead_id: str) -> list[dict[str, Any]]:
    rows = sql.execute(
        "SELECT seq, event_type, agent_id, old_value, new_value, created_at FROM bead_events "
        "WHERE bead_id = :id ORDER BY seq DESC LIMIT :limit",
        {"id": bead_id, "limit": AUDIT_SHOWN},
    ).fetchall()
    names = ("seq", "event_type", "agent_id", "old_value", "new_value", "created_at")
    return [dict(zip(names, row, strict=True)) for row in reversed(rows)]


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

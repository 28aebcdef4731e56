"""The rows of an image in a fixed order, and their digest, which does not depend on the SQLite version that wrote the pages.

The logical digest is defined in spec/data-model.md 1.12.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from shared.domain import canonical

TABLES: Final[dict[str, tuple[str, str]]] = {
    table: (" ".join(columns.split()), key)
    for table, key, columns in (
        (
            "agent_metadata",
            "bead_id",
            """bead_id, role, identity, container_process_id, status, current_hook_bead_id, dispatch_attempts, generation,
            last_dispatch_bead_id, last_dispatch_outcome, observed_status, checkpoint, last_activity_at,
            agent_status_message, agent_status_updated_at, last_event_type, last_event_at, active_tools, stalled_at,
            hooked_at, dispatched_at, hook_ended_at, ended_generation""",
        ),
        (
            "agent_nudges",
            "nudge_id",
            "nudge_id, agent_bead_id, message, mode, priority, source, created_at, delivered_at, expires_at",
        ),
        (
            "agent_usage",
            "agent_id, generation",
            "agent_id, generation, bead_id, models, reported_at",
        ),
        (
            "bead_dependencies",
            "bead_id, depends_on_bead_id",
            "bead_id, depends_on_bead_id, dependency_type",
        ),
        (
            "bead_events",
            "bead_event_id",
            "bead_event_id, seq, bead_id, agent_id, event_type, old_value, new_value, metadata, created_at",
        ),
        (
            "beads",
            "bead_id",
            """bead_id, type, status, title, body, rig_id, parent_bead_id, assignee_agent_bead_id, priority, labels, metadata,
            dispatch_attempts, last_dispatch_attempt_at, last_dispatch_failed_at, created_by, created_at, updated_at,
            closed_at""",
        ),
        (
            "convoy_metadata",
            "bead_id",
            "bead_id, total_beads, closed_beads, landed_at, feature_branch, merge_mode, staged",
        ),
        (
            "escalation_metadata",
            "bead_id",
            "bead_id, severity, category, acknowledged, re_escalation_count, acknowledged_at",
        ),
        (
            "open_violations",
            "invariant, subject",
            "invariant, subject, first_seen_tick, first_seen_at, opened_at, last_captured_at, message",
        ),
        (
            "outbox",
            "effect_id",
            """effect_id, seq, kind, subject, generation, payload, state, attempts, not_before, claim, claimed_until,
            deadline, result, created_at, finished_at""",
        ),
        (
            "review_metadata",
            "bead_id",
            """bead_id, branch, target_branch, merge_commit, pr_url, retry_count, auto_merge_ready_since,
            last_feedback_check_at""",
        ),
        ("rigs", "id", "id, name, git_url, default_branch, config, created_at, forge_repository_id"),
        ("town", "key", "key, value"),
        (
            "town_events",
            "event_id",
            """event_id, seq, event_type, agent_id, bead_id, payload, source, created_at, received_at, processed_at,
            outcome, retry_count, poisoned_at, last_error, sender""",
        ),
        (
            "usage_sums",
            "kind, subject",
            """kind, subject, input_tokens, output_tokens, cached_tokens, priced_tokens, cost_micros, told, spent_since""",
        ),
    )
}
"""Columns and key order of every table but `ticks`, as of the newest schema. A later schema adds columns at the end, or tables."""

_JOURNAL: Final = (
    "tick_no, tick_id, now, code_version, sqlite_version, config_digest, prev_image_digest, inputs, outputs",
    "tick_no",
)
CAUSES_FIRST: Final = (
    "town_events",
    "beads",
    "agent_metadata",
    "review_metadata",
    "convoy_metadata",
    "escalation_metadata",
    "bead_dependencies",
    "agent_nudges",
    "agent_usage",
    "usage_sums",
    "rigs",
    "open_violations",
    "outbox",
    "bead_events",
    "town",
    "ticks",
)
"""Every table, in the order in which differences are reported: first the causes (events), then the state, then the journal."""


def columns_of(table: str) -> tuple[str, ...]:
    """The columns of a table, `ticks` included, in the newest schema."""
    return tuple(name.strip() for name in _columns_and_key(table)[0].split(","))


def columns_in(sql: sqlite3.Connection, table: str) -> tuple[str, ...]:
    """The columns of a table, `ticks` included, that this image has: in an image of an older schema some or all are missing."""
    if (
        sql.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = :name", {"name": table}).fetchone()
        is None
    ):
        return ()
    there = {column[0] for column in sql.execute(f"SELECT * FROM {table} LIMIT 0").description}  # noqa: S608 - constants
    return tuple(name for name in columns_of(table) if name in there)


def by_key(
    sql: sqlite3.Connection, table: str, columns: tuple[str, ...] | None = None
) -> dict[str, tuple[object, ...]]:
    """All rows of a table, `ticks` included, by the text of their key, with these columns or with all that the image has."""
    there, key = columns_in(sql, table), _columns_and_key(table)[1]
    if not there:
        return {}
    shown = ", ".join(there if columns is None else columns)
    width = key.count(",") + 1
    found = sql.execute(f"SELECT {key}, {shown} FROM {table} ORDER BY {key}")  # noqa: S608 - constants
    return {" ".join(str(part) for part in row[:width]): tuple(row[width:]) for row in found}


def _columns_and_key(table: str) -> tuple[str, str]:
    return _JOURNAL if table == "ticks" else TABLES[table]


def rows(sql: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """All rows of a table in key order, with the columns of `columns_in`."""
    columns, order = ", ".join(columns_in(sql, table)), TABLES[table][1]
    if columns:
        yield from sql.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")  # noqa: S608 - constants


def logical_digest(sql: sqlite3.Connection) -> str:
    """The SHA-256 of every row of every table that the image has except `ticks`, in key order."""
    digest = hashlib.sha256()
    for table in TABLES:
        if not columns_in(sql, table):
            continue
        digest.update(f"{table}\n".encode())
        for row in rows(sql, table):
            digest.update(canonical.dumps(list(row)).encode() + b"\n")
    return digest.hexdigest()

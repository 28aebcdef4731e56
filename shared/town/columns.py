"""The columns and the key of every table, in a fixed order."""

from typing import Final

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
            "seq",
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
            "known_events",
            "event",
            "event, seq, content, outcome, generation, is_unsigned, processed_on",
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
            outcome, retry_count, poisoned_at, last_error, sender, content_digest""",
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


def columns_of(table: str) -> tuple[str, ...]:
    """The columns of a table, `ticks` included, in the newest schema."""
    return tuple(name.strip() for name in _columns_and_key(table)[0].split(","))


def key_of(table: str) -> tuple[str, ...]:
    """The columns that name a row of a table, `ticks` included, to people and in the order of a dump."""
    return tuple(name.strip() for name in _columns_and_key(table)[1].split(","))


def _columns_and_key(table: str) -> tuple[str, str]:
    return _JOURNAL if table == "ticks" else TABLES[table]

"""The catalogue of events as the tests know it: every type, in order, with the scopes of tokens that may send it."""

from typing import Final

AGENTS: Final = "agent coordinator operator"
PROCESSES: Final = "agent coordinator container operator"
WORKERS: Final = "agent operator"
COORDINATORS: Final = "coordinator operator"
CONTAINERS: Final = "container operator"
OPERATORS: Final = "operator"
NOBODY: Final = ""
"""The town itself makes these."""

CATALOGUE: Final = {
    "agent_done": AGENTS,
    "agent_completed": PROCESSES,
    "agent_heartbeat": PROCESSES,
    "agent_status": AGENTS,
    "agent_usage": AGENTS,
    "mayor_waiting": COORDINATORS,
    "mayor_said": COORDINATORS,
    "mail_sent": AGENTS,
    "agent_checkpoint": AGENTS,
    "agent_nudged": COORDINATORS,
    "agent_reset": COORDINATORS,
    "changes_requested": WORKERS,
    "nudge_acknowledged": AGENTS,
    "nudge_timeout": OPERATORS,
    "container_status": CONTAINERS,
    "container_eviction": CONTAINERS,
    "container_ready": CONTAINERS,
    "bead_created": AGENTS,
    "bead_updated": COORDINATORS,
    "bead_cancelled": COORDINATORS,
    "bead_reopened": COORDINATORS,
    "bead_deleted": OPERATORS,
    "convoy_created": COORDINATORS,
    "convoy_started": COORDINATORS,
    "convoy_changed": COORDINATORS,
    "convoy_closed": COORDINATORS,
    "pr_status_changed": OPERATORS,
    "pr_feedback_detected": OPERATORS,
    "pr_conflict_detected": OPERATORS,
    "pr_auto_merge": OPERATORS,
    "pr_adopted": OPERATORS,
    "rig_registered": OPERATORS,
    "rig_removed": OPERATORS,
    "town_configured": OPERATORS,
    "town_paused": OPERATORS,
    "town_started": OPERATORS,
    "escalation_raised": AGENTS,
    "escalation_acknowledged": COORDINATORS,
    "triage_resolved": COORDINATORS,
    "town_brought_back": NOBODY,
    "dispatch_result": NOBODY,
    "stop_result": NOBODY,
    "pr_polled": NOBODY,
    "pr_merge_result": NOBODY,
    "merge_verified": NOBODY,
    "branch_updated": NOBODY,
    "pr_dequeued": NOBODY,
    "review_requested": NOBODY,
    "nudge_result": NOBODY,
    "mayor_notified": NOBODY,
    "effect_result": NOBODY,
}

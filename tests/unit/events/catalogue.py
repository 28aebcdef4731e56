"""The catalogue of events as the tests know it: every type, in order, with the scopes of tokens that may send it."""

from typing import Final

EVERYBODY: Final = "agent coordinator container operator"
COORDINATORS: Final = "coordinator container operator"
CONTAINERS: Final = "container operator"
OPERATORS: Final = "operator"
NOBODY: Final = ""
"""The town itself makes these."""

CATALOGUE: Final = {
    "agent_done": EVERYBODY,
    "agent_completed": EVERYBODY,
    "agent_heartbeat": EVERYBODY,
    "agent_status": EVERYBODY,
    "mayor_waiting": EVERYBODY,
    "mayor_said": EVERYBODY,
    "agent_reset": OPERATORS,
    "changes_requested": EVERYBODY,
    "nudge_acknowledged": EVERYBODY,
    "nudge_timeout": CONTAINERS,
    "container_status": CONTAINERS,
    "container_eviction": CONTAINERS,
    "container_ready": CONTAINERS,
    "bead_created": COORDINATORS,
    "bead_updated": COORDINATORS,
    "bead_cancelled": COORDINATORS,
    "bead_reopened": COORDINATORS,
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
    "town_configured": OPERATORS,
    "town_started": OPERATORS,
    "escalation_raised": EVERYBODY,
    "escalation_acknowledged": OPERATORS,
    "triage_resolved": COORDINATORS,
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

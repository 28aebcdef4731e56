"""Who may send which event (spec/events.md 1.6), as the event classes say it."""

from shared.intake.sender import ALLOWED

REPORTS = """
    agent_completed agent_done agent_heartbeat agent_status changes_requested escalation_raised mayor_waiting
    nudge_acknowledged
"""
COORDINATION = """
    bead_cancelled bead_created bead_reopened bead_updated convoy_closed convoy_created convoy_started triage_resolved
"""
CONTAINERS = "container_eviction container_ready container_status nudge_timeout"
OPERATORS = """
    agent_reset escalation_acknowledged pr_auto_merge pr_conflict_detected pr_feedback_detected pr_status_changed
    rig_registered town_configured town_started
"""


def test_each_scope_may_send_exactly_these_events() -> None:
    assert {scope: sorted(types) for scope, types in ALLOWED.items()} == {
        "agent": sorted(REPORTS.split()),
        "coordinator": sorted((REPORTS + COORDINATION).split()),
        "container": sorted((REPORTS + COORDINATION + CONTAINERS).split()),
        "operator": sorted((REPORTS + COORDINATION + CONTAINERS + OPERATORS).split()),
    }

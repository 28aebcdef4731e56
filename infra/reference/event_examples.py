"""An example of each event that somebody may send. They are about one town, and `tests/contracts/test_reference.py` posts them.

In that town, agent toast works on the bead `door`, agent rusty reviews `review-fence`, and `review-lamp` has a pull request.
"""

from collections.abc import Mapping
from typing import Any, Final

_PR: Final = "https://github.com/acme/website/pull/7"


def _example(
    event_type: str, payload: Mapping[str, Any], *, agent: str | None = None, bead: str | None = None
) -> dict[str, Any]:
    about = {"agent_id": agent, "bead_id": bead}
    return {
        "event_id": f"example-{event_type.replace('_', '-')}",
        "event_type": event_type,
        **{name: value for name, value in about.items() if value is not None},
        "payload": dict(payload),
    }


_ALL: Final = (
    _example(
        "agent_done",
        {"branch": "gt/toast/door", "summary": "The door closes again.", "generation": 3},
        agent="toast",
        bead="door",
    ),
    _example("agent_completed", {"status": "failed", "reason": "out of memory", "generation": 3}, agent="toast"),
    _example(
        "agent_heartbeat",
        {
            "last_event_type": "tool_use",
            "last_event_at": "2026-01-10T11:59:58Z",
            "active_tools": ["Bash"],
            "generation": 3,
        },
        agent="toast",
    ),
    _example("agent_status", {"message": "Running the tests of the door"}, agent="toast"),
    _example(
        "agent_usage",
        {
            "model": "a-model",
            "input_tokens": 12000,
            "output_tokens": 900,
            "cached_tokens": 8000,
            "cost_micros": 41000,
            "generation": 3,
        },
        agent="toast",
    ),
    _example("mayor_waiting", {"fired_at": "2026-01-10T11:59:59Z"}),
    _example("mayor_said", {"text": "The fence is done tomorrow.", "in_reply_to": "question"}),
    _example(
        "mail_sent",
        {"to": "mayor", "subject": "Which colour?", "text": "Shall the door be red or green?"},
        agent="toast",
    ),
    _example("agent_checkpoint", {"checkpoint": {"step": "hinges fitted"}, "generation": 3}, agent="toast"),
    _example("agent_nudged", {"target": "toast", "text": "Leave the handle as it is."}),
    _example("agent_reset", {"by": "ann"}, agent="toast"),
    _example(
        "changes_requested",
        {"feedback": "The gate has no test.", "files": ["gate.py"], "generation": 2},
        agent="rusty",
    ),
    _example("nudge_acknowledged", {"nudge_id": "nudge-1"}, agent="toast"),
    _example("nudge_timeout", {"nudge_id": "nudge-1"}, agent="toast"),
    _example("container_status", {"status": "exited", "exit_reason": "exit code 3", "generation": 3}, agent="toast"),
    _example("container_eviction", {}),
    _example("container_ready", {"nonce": "drain-1"}),
    _example(
        "bead_created",
        {
            "bead": {
                "bead_id": "window",
                "type": "issue",
                "title": "Clean the window",
                "rig_id": "website",
                "priority": "high",
                "depends_on": ["door"],
            }
        },
    ),
    _example("bead_updated", {"priority": "critical", "remove_labels": ["gt:held"]}, bead="roof"),
    _example("bead_cancelled", {"cancel_status": "closed", "by": "ann"}, bead="roof"),
    _example("bead_reopened", {"by": "ann", "reason": "the supplier answers again"}, bead="gate"),
    _example("bead_deleted", {"by": "ann"}, bead="shed"),
    _example(
        "convoy_created",
        {
            "convoy_id": "kitchen",
            "title": "A new kitchen",
            "rig_id": "website",
            "staged": True,
            "tasks": [{"title": "Lay the floor"}, {"title": "Fit the sink", "depends_on": [0]}],
        },
    ),
    _example("convoy_started", {"convoy_id": "garden"}),
    _example("convoy_changed", {"convoy_id": "garden", "add": ["roof"], "title": "The garden and the roof"}),
    _example("convoy_closed", {"convoy_id": "garden", "by": "ann"}),
    _example("pr_status_changed", {"pr_url": _PR, "pr_state": "merged", "sha": "3f2a9c1"}, bead="review-lamp"),
    _example(
        "pr_feedback_detected",
        {
            "pr_url": _PR,
            "has_unresolved_comments": True,
            "has_failing_checks": False,
            "has_unchecked_runs": False,
            "comments": [{"text": "Why so bright?", "author": "bob", "file": "lamp.py", "line": 12, "thread": "t-1"}],
        },
        bead="review-lamp",
    ),
    _example("pr_conflict_detected", {"pr_url": _PR, "branch": "gt/toast/lamp"}, bead="review-lamp"),
    _example("pr_auto_merge", {"pr_url": _PR}, bead="review-lamp"),
    _example("pr_adopted", {"by": "ann"}, bead="review-lamp"),
    _example("rig_registered", {"rig_id": "docs", "name": "docs", "git_url": "https://github.com/acme/docs.git"}),
    _example("rig_removed", {"rig_id": "attic", "by": "ann"}),
    _example(
        "town_configured",
        {
            "config": {"max_polecats_per_rig": 4, "refinery": {"auto_merge_delay_minutes": 30}},
            "rigs": {"website": {"max_dispatch_attempts": 3}},
            "by": "ann",
        },
    ),
    _example("town_paused", {"by": "ann", "stop_agents": True}),
    _example("town_started", {"by": "ann"}),
    _example(
        "escalation_raised",
        {
            "title": "The disk of the build machine is full",
            "severity": "high",
            "category": "build",
            "rig_id": "website",
        },
    ),
    _example("escalation_acknowledged", {"by": "ann"}, bead="alarm"),
    _example("triage_resolved", {"action": "RESTART", "notes": "It hung once.", "by": "ann"}, bead="triage-1"),
)
EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {each["event_type"]: each for each in _ALL}
"""The example of each type."""

"""Every fact that can reach a town, about whatever that town holds at the moment.

A fact is asked for by type, `pick` (which agent, bead, effect ...) and `variant` (which of its forms: current or stale
generation, foreign id, invalid content ...), so that a history is plain data: it can be shrunk, kept as JSON and played
again in another process.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, NamedTuple

from shared.domain.times import to_text
from tests.properties.views import NOTHING, AgentRow, View

RIGS: Final = ("rig-1", "rig-2")
SEVERITIES: Final = ("low", "medium", "high", "critical")
PROCESS_STATES: Final = ("exited", "not_found", "stopped", "error", "running", "failed", "starting", "unknown")
TRIAGE_ACTIONS: Final = (
    "RESTART",
    "CLOSE_BEAD",
    "RESTART_WITH_BACKOFF",
    "ESCALATE",
    "NUDGE",
    "REASSIGN_BEAD",
    "ESCALATE_TO_MAYOR",
    "SHRUG",
)
FOREIGN: Final = "from-another-town"


class Fact(NamedTuple):
    """A fact without its envelope."""

    payload: dict[str, Any]
    agent: str | None = None
    bead: str | None = None


Maker = Callable[[View, int, int], Fact]


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _generation(agent: AgentRow, variant: int) -> int | None:
    """Of eight reports five name the present generation, one none, one an old one, one a future one."""
    if variant == 5:
        return None
    if variant == 6:
        return max(agent.generation - 1, 1)
    return max(agent.generation, 1) + (variant == 7)


def _agent_done(town: View, pick: int, variant: int) -> Fact:
    agent = town.an_agent(pick)
    url = {1: town.pr_url_of(agent), 2: "http://insecure.example/pull/1"}.get(variant)
    bead = {3: agent.hook, 4: town.an_issue(pick)}.get(variant)
    branch = f"gt/{agent.id[:8]}/{town.count}" if variant == 4 else town.branch_of(agent)
    found = {"head": "h1", "base": "b0", "merge_commit": "m1"} if variant in (0, 3) else {}
    payload = _without_none(branch=branch, pr_url=url, generation=_generation(agent, variant), **found)
    return Fact(payload, agent.id, bead)


def _agent_completed(town: View, pick: int, variant: int) -> Fact:
    agent = town.an_agent(pick)
    status = "failed" if variant in (1, 3) else "completed"
    reason = {0: "container eviction", 1: "out of memory", 2: "done"}.get(variant)
    named = None if variant == 4 else agent.id
    return Fact(_without_none(status=status, reason=reason, generation=_generation(agent, variant)), named)


def _agent_heartbeat(town: View, pick: int, variant: int) -> Fact:
    agent = town.an_agent(pick)
    payload = _without_none(
        generation=_generation(agent, variant),
        last_event_type="tool" if variant == 1 else None,
        last_event_at=to_text(town.now) if variant in (1, 2) else None,
        active_tools=["bash"] if variant == 3 else None,
        container_instance_id={0: "c-1", 4: "c-2"}.get(variant),
    )
    return Fact(payload, agent.id)


def _agent_status(town: View, pick: int, variant: int) -> Fact:
    return Fact({"message": f"  at it, part {variant} "}, town.an_agent(pick).id)


def _mayor_waiting(town: View, pick: int, variant: int) -> Fact:
    fired_at = town.now - timedelta(hours=1) if variant == 1 else town.now
    return Fact({"fired_at": to_text(fired_at)}, town.an_agent(pick).id if variant == 2 else None)


def _mayor_said(town: View, pick: int, variant: int) -> Fact:
    reply = {"in_reply_to": town.a_bead(pick)} if variant == 1 else {}
    return Fact({"text": "as agreed", **reply}, town.an_agent(pick).id if variant == 2 else None)


def _agent_usage(town: View, pick: int, variant: int) -> Fact:
    agent = town.an_agent(pick)
    totals = {"input_tokens": 1000 * variant, "output_tokens": 10 * pick, "cached_tokens": 5}
    cost = None if variant == 1 else 2500 * variant
    named = {"model": f"model {variant % 2}", "cost_micros": cost}
    return Fact({**totals, **named, **_without_none(generation=_generation(agent, variant))}, agent.id)


def _mail_sent(town: View, pick: int, variant: int) -> Fact:
    to = "mayor" if variant == 1 else town.an_agent(pick + 1).id
    reply = {"in_reply_to": town.a_bead(pick)} if variant == 2 else {}
    return Fact({"to": to, "text": "see the plan", **reply}, town.an_agent(pick).id)


def _agent_checkpoint(town: View, pick: int, variant: int) -> Fact:
    return Fact({"checkpoint": {"step": variant}}, town.an_agent(pick).id)


def _agent_nudged(town: View, pick: int, variant: int) -> Fact:
    return Fact({"target": town.an_agent(pick).id, "text": f"hurry, {variant}"})


def _agent_reset(town: View, pick: int, variant: int) -> Fact:
    return Fact({}, town.an_agent(pick).id)


def _changes_requested(town: View, pick: int, variant: int) -> Fact:
    agent = town.an_agent(pick) if variant == 4 else town.a_refinery(pick)
    return Fact(_without_none(feedback="tests are missing", generation=_generation(agent, variant)), agent.id)


def _nudge_acknowledged(town: View, pick: int, variant: int) -> Fact:
    nudge_id, agent_id = town.a_nudge(pick)
    return Fact({"nudge_id": nudge_id}, town.an_agent(pick).id if variant == 1 else agent_id)


def _nudge_timeout(town: View, pick: int, variant: int) -> Fact:
    return Fact(_without_none(nudge_id=town.a_nudge(pick)[0] if variant else None))


def _container_status(town: View, pick: int, variant: int) -> Fact:
    agent = town.an_agent(pick)
    return Fact(_without_none(status=PROCESS_STATES[variant], generation=_generation(agent, pick)), agent.id)


def _container_eviction(town: View, pick: int, variant: int) -> Fact:
    return Fact({})


def _container_ready(town: View, pick: int, variant: int) -> Fact:
    return Fact({"nonce": "wrong" if variant == 1 else town.drain_nonce or "none"})


def _bead_created(town: View, pick: int, variant: int) -> Fact:
    rig = RIGS[pick % 2]
    bead: dict[str, Any] = {
        "bead_id": f"bead-{town.count}",
        "type": "issue",
        "title": f"Bead {town.count}",
        "rig_id": rig,
    }
    if variant == 1:
        bead["labels"] = ["gt:held"]
    elif variant == 2:
        named = [town.an_issue(pick), town.an_issue(pick + 1)]
        bead["depends_on"] = [
            issue for issue in named if issue != NOTHING or pick > 5
        ]  # a missing blocker, now and then
    elif variant == 3:
        bead["convoy_id"] = town.a_convoy(pick)
    elif variant == 4:
        bead |= {"type": "merge_request", "branch": f"feature/{town.count}", "pr_url": town.pr_url(rig)}
        bead["metadata"] = {"babysit": 1} if pick % 3 else {}
    elif variant == 5:
        bead |= {"type": "message", "assignee_agent_id": town.an_agent(pick).id}
    elif variant == 6:
        bead |= {"labels": ["gt:pr-fixup"], "branch": "gt/fix", "pr_url": town.pr_url(rig)}
    elif variant == 7:
        bead |= ({"rig_id": FOREIGN}, {"type": "molecule"}, {"rig_id": None}, {"type": "merge_request", "branch": "b"})[
            pick % 4
        ]
    return Fact({"bead": _without_none(**bead)})


def _bead_updated(town: View, pick: int, variant: int) -> Fact:
    changes: tuple[dict[str, Any], ...] = (
        {"title": "another title"},
        {"labels": ["gt:held"]},
        {"labels": []},
        {"metadata": {"note": town.count, "pr_url": "reserved"}},
        {"rig_id": "rig-2"},
        {"rig_id": FOREIGN},
        {"priority": "critical"},
        {"body": "more"},
    )
    return Fact(changes[variant], bead=town.an_agent(pick).id if variant == 0 else town.a_bead(pick))


def _bead_cancelled(town: View, pick: int, variant: int) -> Fact:
    bead = (town.an_issue, town.a_review, town.a_bead, town.a_convoy)[variant % 4](pick)
    return Fact(_without_none(cancel_status="closed" if variant > 3 else None), bead=bead)


def _bead_reopened(town: View, pick: int, variant: int) -> Fact:
    return Fact({"by": "a person"}, bead=town.an_issue(pick) if variant > 5 else town.a_failed_bead(pick))


def _convoy_created(town: View, pick: int, variant: int) -> Fact:
    count = 1 + variant % 3
    tasks = [{"title": f"Task {index}", "depends_on": [index - 1] if variant % 2 else []} for index in range(count)]
    if variant == 7:
        tasks[0]["depends_on"] = [count - 1] if count > 1 else []
    payload = _without_none(
        convoy_id=f"convoy-{town.count}",
        title=f"Convoy {town.count}",
        rig_id=FOREIGN if variant == 6 else RIGS[pick % 2],
        tasks=tasks,
        merge_mode={0: "review-and-merge", 1: "review-then-land", 2: "review-then-land"}.get(pick),
        staged={3: True, 4: False}.get(pick),
    )
    return Fact(payload)


def _convoy_started(town: View, pick: int, variant: int) -> Fact:
    return Fact({"convoy_id": town.a_convoy(pick)})


def _convoy_changed(town: View, pick: int, variant: int) -> Fact:
    beads = [town.an_issue(pick), town.a_bead(pick + variant)]
    changes: tuple[dict[str, Any], ...] = (
        {"add": beads[:1]},
        {"remove": town.tasks_of(town.a_convoy(pick))[:1]},
        {"add": beads[:1]},
        {"add": beads},
        {"remove": beads[:1]},
        {"add": beads[:1], "remove": town.tasks_of(town.a_convoy(pick))[:1]},
        {},
        {"remove": town.tasks_of(town.a_convoy(pick)), "title": "Another title"},
    )
    return Fact({"convoy_id": town.a_convoy(pick), **changes[variant]})


def _convoy_closed(town: View, pick: int, variant: int) -> Fact:
    return Fact({"convoy_id": town.an_issue(pick) if variant == 7 else town.a_convoy(pick)})


def _pr_status_changed(town: View, pick: int, variant: int) -> Fact:
    state = ("merged", "closed", "open")[variant % 3]
    return Fact(
        _without_none(pr_url=town.pr_url("rig-1"), pr_state=state, sha="abc" if variant == 0 else None),
        bead=town.a_review(pick),
    )


def _pr_feedback_detected(town: View, pick: int, variant: int) -> Fact:
    kinds = {
        "has_unresolved_comments": variant % 2 == 0,
        "has_failing_checks": variant > 3,
        "has_unchecked_runs": False,
    }
    return Fact({"pr_url": town.pr_url("rig-1"), **kinds}, bead=town.a_review(pick))


def _pr_conflict_detected(town: View, pick: int, variant: int) -> Fact:
    return Fact({"pr_url": town.pr_url("rig-1")}, bead=town.an_issue(pick) if variant == 7 else town.a_review(pick))


def _pr_auto_merge(town: View, pick: int, variant: int) -> Fact:
    return Fact({"pr_url": town.pr_url("rig-1")}, bead=town.a_review(pick))


def _pr_adopted(town: View, pick: int, variant: int) -> Fact:
    return Fact({}, bead=town.a_review(pick))


def _rig_registered(town: View, pick: int, variant: int) -> Fact:
    rig = RIGS[pick % 2]
    overrides: tuple[dict[str, Any] | None, ...] = (
        None,
        {"merge_strategy": "pr", "code_review": False},
        {"auto_merge_delay_minutes": 0, "auto_resolve_pr_feedback": True},
        {"max_concurrent_polecats": 1, "max_dispatch_attempts": 2},
        {"auto_resolve_merge_conflicts": False},
        {"max_dispatch_attempts": 0},
        {},
        {"merge_strategy": "direct", "code_review": False},
    )
    name = RIGS[(pick + 1) % 2] if variant == 0 and pick > 3 else rig
    return Fact(
        _without_none(rig_id=rig, name=name, git_url=f"https://github.com/acme/{rig}.git", config=overrides[variant])
    )


def _town_configured(town: View, pick: int, variant: int) -> Fact:
    configs: tuple[dict[str, Any], ...] = (
        {"merge_strategy": "pr", "refinery": {"code_review": False}},
        {"refinery": {"code_review": True, "auto_merge_delay_minutes": pick % 3}},
        {"refinery": {"auto_merge_delay_minutes": None, "auto_resolve_pr_feedback": pick % 2 == 0}},
        {"on_failed_dependency": ("proceed", "hold")[pick % 2]},
        {"max_polecats_per_rig": 1 + pick % 3},
        {"max_dispatch_attempts": 1 + pick},
        {"alarm_interval_idle": (None, 30, 3600)[pick % 3], "default_model": f"model-{pick}"},
        {"max_polecats_per_rig": 0},
    )
    return Fact({"config": configs[variant]})


def _rig_removed(town: View, pick: int, variant: int) -> Fact:
    return Fact({"rig_id": RIGS[pick % 2] if variant else "rig-9"})


def _bead_deleted(town: View, pick: int, variant: int) -> Fact:
    return Fact({}, bead=town.a_bead(pick + variant))


def _town_paused(town: View, pick: int, variant: int) -> Fact:
    return Fact({"stop_agents": True} if variant % 2 else {"by": "ann"})


def _town_started(town: View, pick: int, variant: int) -> Fact:
    return Fact({})


def _escalation_raised(town: View, pick: int, variant: int) -> Fact:
    rig = {1: "rig-1", 2: FOREIGN}.get(variant)
    agent = town.an_agent(pick).id if variant == 3 else None
    return Fact(_without_none(title="Help", severity=SEVERITIES[pick % 4], rig_id=rig), agent)


def _escalation_acknowledged(town: View, pick: int, variant: int) -> Fact:
    return Fact({}, bead=town.an_issue(pick) if variant == 7 else town.an_escalation(pick))


def _town_brought_back(town: View, pick: int, variant: int) -> Fact:
    reason = {0: "over the summer", 1: ""}.get(variant)
    said = {"by": f"person-{pick}", "archived_by": "ann", "archived_at": to_text(town.now), "reason": reason}
    return Fact(_without_none(**said))


def _triage_resolved(town: View, pick: int, variant: int) -> Fact:
    return Fact({"action": TRIAGE_ACTIONS[variant], "notes": "as seen"}, bead=town.a_triage_request(pick))


FACTS: Final[dict[str, Maker]] = {
    "agent_done": _agent_done,
    "agent_completed": _agent_completed,
    "agent_heartbeat": _agent_heartbeat,
    "agent_status": _agent_status,
    "mayor_waiting": _mayor_waiting,
    "mayor_said": _mayor_said,
    "agent_usage": _agent_usage,
    "mail_sent": _mail_sent,
    "agent_checkpoint": _agent_checkpoint,
    "agent_nudged": _agent_nudged,
    "agent_reset": _agent_reset,
    "changes_requested": _changes_requested,
    "nudge_acknowledged": _nudge_acknowledged,
    "nudge_timeout": _nudge_timeout,
    "container_status": _container_status,
    "container_eviction": _container_eviction,
    "container_ready": _container_ready,
    "bead_created": _bead_created,
    "bead_updated": _bead_updated,
    "bead_cancelled": _bead_cancelled,
    "bead_reopened": _bead_reopened,
    "convoy_created": _convoy_created,
    "convoy_started": _convoy_started,
    "convoy_changed": _convoy_changed,
    "convoy_closed": _convoy_closed,
    "pr_status_changed": _pr_status_changed,
    "pr_feedback_detected": _pr_feedback_detected,
    "pr_conflict_detected": _pr_conflict_detected,
    "pr_auto_merge": _pr_auto_merge,
    "pr_adopted": _pr_adopted,
    "rig_registered": _rig_registered,
    "town_configured": _town_configured,
    "rig_removed": _rig_removed,
    "bead_deleted": _bead_deleted,
    "town_paused": _town_paused,
    "town_started": _town_started,
    "escalation_raised": _escalation_raised,
    "escalation_acknowledged": _escalation_acknowledged,
    "triage_resolved": _triage_resolved,
    "town_brought_back": _town_brought_back,
}
"""What is posted, by type, also by the town itself. Results of effects come from `outside`."""

POISON: Final[tuple[tuple[str, str, str | None, str | None], ...]] = (
    ("no_such_event", "{}", None, None),
    ("agent_done", "{}", "mayor", None),
    ("agent_done", '{"branch":1}', "mayor", None),
    ("bead_created", '{"bead":{"bead_id":"x"}}', None, None),
    ("bead_cancelled", "{}", None, None),
    ("agent_status", '{"message":"' + "x" * 300 + '"}', "mayor", None),
    ("town_configured", '{"config":[]}', None, None),
    ("agent_heartbeat", "not json", "mayor", None),
)
"""Type, payload, agent and bead of events that no tick can read."""

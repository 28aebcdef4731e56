"""Status, hook, counters, checkpoint, model and end of agents."""

import pytest

from shared.actions import (
    ClearAgentCheckpoint,
    DeleteAgent,
    HookAgent,
    ResetAgentDispatchAttempts,
    TransitionAgent,
    UnhookAgent,
    UpdateAgentModel,
)
from shared.domain.outcomes import Applied, Failed, Skipped
from shared.domain.states import AgentStatus
from tests.towns import TownBuilder, a_town, ago, text
from tests.unit.actions.builders import NOW, TICK_NO, on

EARLIER = text(ago(hours=1))


def to_idle(*, lost: bool = False, from_: AgentStatus | None = AgentStatus.WORKING) -> TransitionAgent:
    return TransitionAgent(agent_id="p", from_=from_, to=AgentStatus.IDLE, reason="heartbeat lost", dispatch_lost=lost)


# transition_agent


def test_an_agent_changes_its_status_and_keeps_its_hook() -> None:
    stage = on(a_town().bead("b").agent("p", status="working", hook="b"))
    assert stage.apply(to_idle()) == Applied()
    assert stage.agent("p", "status", "current_hook_bead_id", "last_dispatch_outcome") == ("idle", "b", "alive")
    assert stage.bead("b", "last_dispatch_failed_at") is None


def test_stalling_starts_a_clock_that_leaving_it_stops() -> None:
    stage = on(a_town().agent("p", status="working"))
    stage.apply(TransitionAgent(agent_id="p", to=AgentStatus.STALLED, reason="2h"))
    assert stage.agent("p", "status", "stalled_at") == ("stalled", NOW)
    stage.apply(to_idle(from_=AgentStatus.STALLED))
    assert stage.agent("p", "status", "stalled_at") == ("idle", None)


@pytest.mark.parametrize("outcome", ["pending", "started", "unknown"])
def test_a_lost_dispatch_is_marked_and_counts_for_the_breaker(outcome: str) -> None:
    stage = on(a_town().bead("b").agent("p", status="working", hook="b", last_dispatch_outcome=outcome))
    assert stage.apply(to_idle(lost=True)) == Applied()
    assert stage.agent("p", "last_dispatch_outcome") == "lost"
    assert stage.bead("b", "last_dispatch_failed_at") == NOW


def test_a_dispatch_that_was_seen_alive_is_not_lost() -> None:
    stage = on(a_town().bead("b").agent("p", status="working", hook="b", last_dispatch_outcome="alive"))
    stage.apply(to_idle(lost=True))
    assert stage.agent("p", "status", "last_dispatch_outcome") == ("idle", "alive")


def test_an_agent_that_did_not_move_has_lost_nothing() -> None:
    rows = a_town().bead("b").agent("p", status="stalled", hook="b", last_dispatch_outcome="pending")
    assert on(rows).refused(to_idle(lost=True)) == Skipped("moved_on")


@pytest.mark.parametrize(("status", "reason"), [("idle", "already"), ("dead", "moved_on")])
def test_an_agent_that_is_no_longer_as_the_rule_saw_it_stays(status: str, reason: str) -> None:
    assert on(a_town().agent("p", status=status)).refused(to_idle()) == Skipped(reason)


def test_an_agent_that_is_gone_is_missing() -> None:
    assert on(a_town()).refused(to_idle()) == Skipped("missing")


# reset_agent_dispatch_attempts


def test_attempts_are_forgiven_to_the_agent_and_to_its_live_bead() -> None:
    rows = a_town().bead("b", dispatch_attempts=4, last_dispatch_attempt_at=EARLIER)
    stage = on(rows.agent("p", hook="b", dispatch_attempts=5))
    assert stage.apply(ResetAgentDispatchAttempts(agent_id="p")) == Applied()
    assert stage.agent("p", "dispatch_attempts") == 0
    assert stage.bead("b", "dispatch_attempts", "last_dispatch_attempt_at") == (0, None)


def test_a_review_forgets_its_retries_too() -> None:
    rows = a_town().review("m", "in_progress", review={"retry_count": 3}, dispatch_attempts=2)
    stage = on(rows.agent("r", "refinery", hook="m", dispatch_attempts=5))
    stage.apply(ResetAgentDispatchAttempts(agent_id="r"))
    assert stage.rows.one("review_metadata", "m", "retry_count") == 0
    assert stage.bead("m", "dispatch_attempts") == 0


def test_a_failed_bead_keeps_its_attempts_and_its_status() -> None:
    rows = a_town().bead("b", status="failed", dispatch_attempts=5)
    stage = on(rows.agent("p", hook="b", dispatch_attempts=5))
    assert stage.apply(ResetAgentDispatchAttempts(agent_id="p")) == Applied()
    assert stage.bead("b", "status", "dispatch_attempts") == ("failed", 5)
    assert stage.agent("p", "dispatch_attempts") == 0


def test_an_agent_without_a_hook_is_forgiven_its_own_attempts() -> None:
    stage = on(a_town().agent("p", dispatch_attempts=5))
    assert stage.apply(ResetAgentDispatchAttempts(agent_id="p")) == Applied()
    assert stage.agent("p", "dispatch_attempts") == 0


def test_attempts_of_nobody_are_not_forgiven() -> None:
    assert on(a_town()).refused(ResetAgentDispatchAttempts(agent_id="p")) == Skipped("missing")


# hook_agent


def test_an_agent_is_hooked_and_becomes_the_assignee() -> None:
    rows = a_town().bead("b", dispatch_attempts=3, updated_at=EARLIER)
    stage = on(rows.agent("p", dispatch_attempts=2, agent_status_message="resting"))
    assert stage.apply(HookAgent(agent_id="p", bead_id="b")) == Applied()
    assert stage.agent("p", "current_hook_bead_id", "status", "agent_status_message", "last_activity_at") == (
        "b",
        "idle",
        None,
        NOW,
    )
    assert stage.agent("p", "dispatch_attempts") == 2
    assert stage.bead("b", "assignee_agent_bead_id", "status", "updated_at", "dispatch_attempts") == (
        "p",
        "open",
        NOW,
        3,
    )
    assert stage.audit("b") == [("hooked", None, None, {})]


def test_hooking_takes_the_bead_from_whoever_held_it() -> None:
    stage = on(a_town().bead("b").agent("old", hook="b").agent("p"))
    assert stage.apply(HookAgent(agent_id="p", bead_id="b")) == Applied()
    assert (stage.rows.doing("old"), stage.rows.doing("p")) == (("idle", None), ("idle", "b"))


def test_a_hook_that_is_there_is_left_alone() -> None:
    stage = on(a_town().bead("b").agent("p", hook="b"))
    assert stage.refused(HookAgent(agent_id="p", bead_id="b")) == Skipped("already")


@pytest.mark.parametrize(
    ("agent_id", "bead_id", "why"),
    [
        ("p", "nothing", "agent or bead is missing"),
        ("nobody", "b", "agent or bead is missing"),
        ("p", "convoy", "a bead of type convoy is never hooked"),
        ("p", "escalation", "a bead of type escalation is never hooked"),
        ("p", "message", "a bead of type message is never hooked"),
        ("p", "busy", "a bead of type agent is never hooked"),
        ("p", "question", "a triage request is never hooked"),
        ("p", "over", "the bead is closed"),
        ("busy", "b", "the agent holds another hook (other)"),
        ("mayor", "b", "the mayor has no hook"),
    ],
)
def test_a_hook_that_makes_no_sense_is_refused(agent_id: str, bead_id: str, why: str) -> None:
    rows = a_town().bead("b").bead("other").bead("over", status="closed").bead("question", labels=["gt:triage-request"])
    rows.bead("convoy", "convoy").bead("escalation", "escalation").bead("message", "message")
    stage = on(rows.agent("p").agent("busy", hook="other"))
    assert stage.refused(HookAgent(agent_id=agent_id, bead_id=bead_id)) == Failed(why)


# unhook_agent


def test_an_unhooked_agent_is_idle_and_forgets_where_it_stood() -> None:
    rows = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p")
    stage = on(rows.agent("p", status="stalled", hook="b", checkpoint="{}", stalled_at=EARLIER))
    assert stage.apply(UnhookAgent(agent_id="p", reason="stalled")) == Applied()
    assert stage.agent("p", "current_hook_bead_id", "status", "checkpoint", "stalled_at") == (None, "idle", None, None)
    assert stage.bead("b", "status", "assignee_agent_bead_id") == ("in_progress", "p")
    assert stage.audit("b") == [("unhooked", None, None, {})]


def test_a_dead_agent_stays_dead_without_its_hook() -> None:
    stage = on(a_town().bead("b").agent("p", status="dead", hook="b"))
    assert stage.apply(UnhookAgent(agent_id="p", reason="x")) == Applied()
    assert stage.rows.doing("p") == ("dead", None)


@pytest.mark.parametrize(("agent_id", "reason"), [("p", "already"), ("nobody", "missing")])
def test_there_may_be_no_hook_to_take(agent_id: str, reason: str) -> None:
    assert on(a_town().agent("p")).refused(UnhookAgent(agent_id=agent_id, reason="x")) == Skipped(reason)


# clear_agent_checkpoint


def test_a_checkpoint_is_forgotten_once() -> None:
    stage = on(a_town().agent("p", checkpoint='{"step":1}'))
    assert stage.apply(ClearAgentCheckpoint(agent_id="p")) == Applied()
    assert stage.agent("p", "checkpoint") is None
    assert stage.refused(ClearAgentCheckpoint(agent_id="p")) == Skipped("already")
    assert stage.refused(ClearAgentCheckpoint(agent_id="nobody")) == Skipped("missing")


# delete_agent


def _with_assigned_beads(rows: TownBuilder) -> TownBuilder:
    for status in ("open", "in_progress", "in_review", "closed", "failed"):
        rows.bead(status, status=status, assignee_agent_bead_id="p")
    return rows


@pytest.mark.parametrize("status", ["idle", "dead"])
def test_a_resting_agent_is_forgotten_and_its_beads_are_free(status: str) -> None:
    stage = on(_with_assigned_beads(a_town().agent("p", status=status)))
    assert stage.apply(DeleteAgent(agent_id="p", reason="idle for 24 h")) == Applied()
    assert stage.agent("p", "status") is None
    assert stage.bead("p", "status") is None
    assert {bead: stage.bead(bead, "status", "assignee_agent_bead_id") for bead in ("open", "in_progress")} == {
        "open": ("open", None),
        "in_progress": ("open", None),
    }
    assert {
        bead: stage.bead(bead, "status", "assignee_agent_bead_id") for bead in ("in_review", "closed", "failed")
    } == {
        "in_review": ("in_review", None),
        "closed": ("closed", None),
        "failed": ("failed", None),
    }


def test_effects_of_a_deleted_agent_are_not_started_any_more() -> None:
    stage = on(a_town().agent("p"))
    stage.apply(UpdateAgentModel(agent_id="p", model="fast"))
    stage.apply(DeleteAgent(agent_id="p", reason="idle for 24 h"))
    assert stage.rows.rows("SELECT kind, state FROM outbox") == [("update_model", "expired")]


@pytest.mark.parametrize(
    ("status", "hook"), [("working", None), ("stalled", None), ("idle", "b"), ("dead", "b"), ("waiting", None)]
)
def test_an_agent_that_found_work_is_not_deleted(status: str, hook: str | None) -> None:
    stage = on(a_town().bead("b").agent("p", status=status, hook=hook))
    assert stage.refused(DeleteAgent(agent_id="p", reason="x")) == Skipped("moved_on")


def test_an_agent_is_deleted_once() -> None:
    assert on(a_town()).refused(DeleteAgent(agent_id="p", reason="x")) == Skipped("missing")


# update_agent_model


def test_a_model_change_is_asked_for_and_not_stored() -> None:
    stage = on(a_town().config(organization_id="acme"))
    assert stage.apply(UpdateAgentModel(agent_id="mayor", model="fast")) == Applied()
    payload = {"town_id": "t1", "agent_id": "mayor", "model": "fast", "organization_id": "acme"}
    assert stage.effects == [("update_model", "mayor", TICK_NO, payload)]


def test_a_model_change_is_asked_for_once_a_tick() -> None:
    stage = on(a_town())
    stage.apply(UpdateAgentModel(agent_id="mayor", model="fast"))
    assert stage.refused(UpdateAgentModel(agent_id="mayor", model="slow")) == Skipped("duplicate effect")
    assert stage.refused(UpdateAgentModel(agent_id="nobody", model="slow")) == Skipped("missing")

"""Starting and stopping agents: who is chosen, what refuses, what grows, what is asked for."""

from typing import Any

import pytest

from shared.actions import DispatchAgent, StartTriageBatch, StopAgent
from shared.domain.outcomes import Applied, Failed, Skipped
from tests.towns import TownBuilder, a_town, ago, text
from tests.unit.actions.builders import NOW, Stage, on

ANYBODY = DispatchAgent(agent_id="", bead_id="b", rig_id="rig-1")
P = DispatchAgent(agent_id="p", bead_id="b", rig_id="rig-1")
EARLIER = text(ago(hours=1))


def polecats(stage: Stage) -> list[tuple[Any, ...]]:
    """(title, rig, identity) of every polecat."""
    return stage.rows.rows(
        "SELECT b.title, b.rig_id, a.identity FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id "
        "WHERE a.role = 'polecat' ORDER BY b.title"
    )


# a named agent


def test_a_hooked_agent_starts_to_work() -> None:
    rows = a_town().bead("b", dispatch_attempts=2, last_dispatch_attempt_at=EARLIER, updated_at=EARLIER)
    stage = on(
        rows.agent(
            "p",
            hook="b",
            dispatch_attempts=1,
            generation=4,
            last_dispatch_bead_id="other",
            last_dispatch_outcome="rejected",
            last_activity_at=EARLIER,
            last_event_type="tool",
            last_event_at=EARLIER,
            active_tools='["bash"]',
            observed_status="exited",
            container_process_id="proc-1",
            checkpoint='{"step":3}',
        )
    )
    assert stage.apply(P) == Applied()
    assert stage.bead(
        "b", "status", "dispatch_attempts", "last_dispatch_attempt_at", "assignee_agent_bead_id", "updated_at"
    ) == ("in_progress", 3, NOW, "p", NOW)
    assert stage.agent("p", "status", "current_hook_bead_id", "dispatch_attempts", "generation") == (
        "working",
        "b",
        2,
        5,
    )
    assert stage.agent("p", "last_dispatch_bead_id", "last_dispatch_outcome", "last_activity_at") == (
        "b",
        "pending",
        NOW,
    )
    assert stage.agent("p", "last_event_type", "last_event_at", "active_tools", "observed_status") == (
        None,
        None,
        "[]",
        None,
    )
    assert stage.agent("p", "container_process_id", "checkpoint") == (None, '{"step":3}')
    [(kind, subject, generation, payload)] = stage.effects
    assert (kind, subject, generation) == ("dispatch_agent", "p", 5)
    assert (payload["generation"], payload["checkpoint"]) == (5, {"step": 3})
    assert stage.audit("b") == [
        ("status_changed", "open", "in_progress", {"actor": "system", "reason": "dispatched"}),
    ]


def test_a_bead_in_progress_stays_so() -> None:
    stage = on(a_town().bead("b", status="in_progress").agent("p", hook="b"))
    assert stage.apply(P) == Applied()
    assert stage.bead("b", "status", "dispatch_attempts") == ("in_progress", 1)
    assert stage.audit("b") == []


def test_a_babysat_review_may_be_given_to_a_named_agent() -> None:
    rows = a_town().review("b", "in_progress", metadata={"babysit": 1}).agent("p", "refinery", hook="b")
    assert on(rows).apply(P) == Applied()


@pytest.mark.parametrize("status", ["working", "stalled", "dead"])
def test_an_agent_that_is_not_idle_is_not_started(status: str) -> None:
    stage = on(a_town().bead("b").agent("p", status=status, hook="b"))
    assert stage.refused(P) == Skipped("moved_on")


@pytest.mark.parametrize("hook", [None, "other"])
def test_an_agent_that_is_not_hooked_to_the_bead_is_not_started(hook: str | None) -> None:
    stage = on(a_town().bead("b").bead("other").agent("p", hook=hook))
    assert stage.refused(P) == Skipped("moved_on")


def test_an_agent_that_is_gone_is_not_started() -> None:
    assert on(a_town().bead("b")).refused(P) == Skipped("moved_on")


def test_the_same_generation_is_not_started_twice() -> None:
    rows = a_town().bead("b").agent("p", hook="b", generation=0)
    stage = on(rows)
    stage.apply(P)
    rows.update("agent_metadata", "p", generation=0, status="idle")
    assert stage.apply(P) == Skipped("duplicate effect")
    assert stage.bead("b", "dispatch_attempts") == 1
    assert len(stage.effects) == 1


# guards of every dispatch


@pytest.mark.parametrize("action", [ANYBODY, P], ids=["anybody", "p"])
@pytest.mark.parametrize(
    ("status", "reason"), [("closed", "terminal"), ("failed", "terminal"), ("in_review", "moved_on")]
)
def test_a_bead_that_needs_nobody_gets_nobody(action: DispatchAgent, status: str, reason: str) -> None:
    rows = a_town().bead("b", status=status)
    assert on(rows.agent("p", hook="b") if action is P else rows).refused(action) == Skipped(reason)


@pytest.mark.parametrize("action", [ANYBODY, P], ids=["anybody", "p"])
def test_a_bead_that_is_gone_gets_nobody(action: DispatchAgent) -> None:
    assert on(a_town()).refused(action) == Skipped("missing")


@pytest.mark.parametrize("action", [ANYBODY, P], ids=["anybody", "p"])
def test_a_draining_town_dispatches_nobody(action: DispatchAgent) -> None:
    rows = a_town().bead("b").agent("p", hook="b")
    assert on(rows, draining=True).refused(action) == Skipped("draining")


@pytest.mark.parametrize("action", [ANYBODY, P], ids=["anybody", "p"])
def test_an_open_breaker_dispatches_nobody(action: DispatchAgent) -> None:
    rows = a_town().bead("b").agent("p", hook="b")
    assert on(rows, breaker_open=True).refused(action) == Skipped("breaker open")


def test_nobody_is_chosen_for_a_babysat_review() -> None:
    stage = on(a_town().review("b", metadata={"babysit": 1}))
    assert stage.refused(ANYBODY) == Skipped("babysat")


# whoever fits


def test_a_rig_without_polecats_gets_its_first_one() -> None:
    stage = on(a_town().bead("b"))
    assert stage.apply(ANYBODY) == Applied()
    assert polecats(stage) == [("Toast", "rig-1", "Toast-polecat-rig-1@t1")]
    [(_, agent_id, generation, payload)] = stage.effects
    assert stage.agent(agent_id, "status", "current_hook_bead_id", "generation", "dispatch_attempts") == (
        "working",
        "b",
        1,
        1,
    )
    assert stage.bead("b", "status", "assignee_agent_bead_id", "dispatch_attempts") == ("in_progress", agent_id, 1)
    assert (generation, payload["role"], payload["identity"]) == (1, "polecat", "Toast-polecat-rig-1@t1")
    assert [entry[0] for entry in stage.audit("b")] == ["hooked", "status_changed"]


def test_an_idle_polecat_of_the_rig_is_taken_first() -> None:
    rows = a_town().rig("rig-2", name="two").bead("b").bead("x", status="in_progress", assignee_agent_bead_id="owner")
    rows.agent("elsewhere", rig="rig-2", created_at=ago(hours=9)).agent("owner", created_at=ago(hours=8))
    rows.agent("busy", status="working", created_at=ago(hours=7)).agent("late", created_at=ago(hours=5))
    stage = on(rows.agent("free", created_at=ago(hours=6), generation=8))
    assert stage.apply(ANYBODY) == Applied()
    assert [effect[:3] for effect in stage.effects] == [("stop_agent", "free", 8), ("dispatch_agent", "free", 9)]


def test_the_rig_of_the_action_comes_before_the_rig_of_the_bead() -> None:
    stage = on(a_town().rig("rig-2", name="two").bead("b"))
    stage.apply(DispatchAgent(agent_id="", bead_id="b", rig_id="rig-2"))
    assert stage.effects[0][3]["rig"]["id"] == "rig-2"


@pytest.mark.parametrize("rig_id", ["", None])
def test_the_rig_of_the_bead_is_enough(rig_id: str | None) -> None:
    stage = on(a_town().bead("b"))
    assert stage.apply(DispatchAgent(agent_id="", bead_id="b", rig_id=rig_id)) == Applied()
    assert polecats(stage)[0][1] == "rig-1"


@pytest.mark.parametrize("rig_id", ["", None, "gone"])
def test_without_a_rig_nobody_can_be_chosen(rig_id: str | None) -> None:
    action = DispatchAgent(agent_id="", bead_id="b", rig_id=rig_id)
    assert on(a_town().bead("b", rig_id=None)).refused(action) == Failed("no rig")


def test_a_review_gets_the_refinery_of_its_rig() -> None:
    stage = on(a_town().review("b", "in_progress").agent("r", "refinery").agent("p"))
    assert stage.apply(ANYBODY) == Applied()
    assert (stage.rows.doing("r"), stage.rows.doing("p")) == (("working", "b"), ("idle", None))


def test_a_rig_without_a_refinery_gets_one() -> None:
    stage = on(a_town().review("b", "in_progress"))
    assert stage.apply(ANYBODY) == Applied()
    assert stage.effects[0][3]["identity"] == "Refinery-refinery-rig-1@t1"


@pytest.mark.parametrize(
    ("status", "hook"), [("working", "other"), ("stalled", None), ("dead", None), ("idle", "other")]
)
def test_a_rig_has_one_refinery_and_waits_for_it(status: str, hook: str | None) -> None:
    rows = a_town().review("b", "in_progress").review("other", "in_progress")
    stage = on(rows.agent("r", "refinery", status, hook=hook))
    assert stage.refused(ANYBODY) == Skipped("moved_on")


def test_a_refinery_that_holds_the_review_already_is_started() -> None:
    stage = on(a_town().review("b", "in_progress").agent("r", "refinery", hook="b"))
    assert stage.apply(ANYBODY) == Applied()
    assert stage.agent("r", "status", "generation") == ("working", 2)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"bead_type": "convoy"}, "a bead of type convoy is never hooked"),
        ({"bead_type": "message"}, "a bead of type message is never hooked"),
        ({"labels": ["gt:triage-request"]}, "a triage request is never hooked"),
    ],
)
def test_what_can_not_be_hooked_is_not_dispatched(columns: dict[str, Any], why: str) -> None:
    stage = on(a_town().bead("b", **columns))
    assert stage.refused(ANYBODY) == Failed(why)


# start_triage_batch


def requests(rows: TownBuilder) -> TownBuilder:
    metadata = {"triage_type": "stuck_agent", "agent_bead_id": "p", "hooked_bead_id": "b"}
    rows.bead("q1", title="Triage: GUPP\nescalation", rig_id=None, labels=["gt:triage-request"], metadata=metadata)
    return rows.bead("q2", title="Triage: help", rig_id=None, labels=["gt:triage-request"])


BATCH = StartTriageBatch(rig_id="rig-1", request_ids=("q1", "q2"))


def test_open_requests_become_one_bead_that_is_worked_on_at_once() -> None:
    stage = on(requests(a_town()).key("triage", {"last_batch_at": EARLIER, "fruitless": 2, "escalated": True}))
    assert stage.apply(BATCH) == Applied()
    [batch] = stage.created("issue")
    assert stage.bead(batch, "status", "priority", "labels", "rig_id", "created_by", "title", "dispatch_attempts") == (
        "in_progress",
        "high",
        '["gt:triage"]',
        "rig-1",
        "patrol",
        "Triage batch of 2",
        1,
    )
    assert stage.rows.metadata(batch) == {"request_ids": ["q1", "q2"]}
    assert stage.bead(batch, "body") == (
        '- q1: "Triage: GUPP escalation" (type stuck_agent, agent p, bead b)\n- q2: "Triage: help"'
    )
    assert stage.rows.value("triage") == {
        "last_batch_at": NOW,
        "last_batch_id": batch,
        "fruitless": 3,
        "escalated": False,
    }
    [(kind, agent_id, generation, payload)] = stage.effects
    assert (kind, generation, payload["prompt_kind"], payload["bead"]["id"]) == ("dispatch_agent", 1, "triage", batch)
    assert stage.agent(agent_id, "role", "status", "current_hook_bead_id") == ("polecat", "working", batch)
    assert stage.rows.status("q1") == "open"


def test_an_idle_polecat_answers_the_first_batch_ever() -> None:
    stage = on(requests(a_town()).agent("p"))
    assert stage.apply(BATCH) == Applied()
    assert stage.rows.doing("p")[0] == "working"
    assert stage.rows.value("triage")["fruitless"] == 1


@pytest.mark.parametrize("status", ["open", "in_progress", "in_review"])
def test_one_batch_is_live_at_a_time(status: str) -> None:
    stage = on(requests(a_town()).bead("t", status=status, labels=["gt:triage"], created_by="patrol"))
    assert stage.refused(BATCH) == Skipped("already")


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "closed", "created_by": "patrol", "labels": ["gt:triage"]},
        {"status": "failed", "created_by": "patrol", "labels": ["gt:triage"]},
        {"created_by": "ann", "labels": ["gt:triage"]},
        {"created_by": "patrol"},
    ],
)
def test_other_beads_are_no_live_batch(columns: dict[str, Any]) -> None:
    stage = on(requests(a_town()).bead("t", **columns))
    assert stage.apply(BATCH) == Applied()


def test_no_batch_starts_where_nothing_may_be_dispatched() -> None:
    assert on(requests(a_town()), draining=True).refused(BATCH) == Skipped("draining")
    assert on(requests(a_town()), breaker_open=True).refused(BATCH) == Skipped("breaker open")
    gone = StartTriageBatch(rig_id="gone", request_ids=("q1",))
    assert on(requests(a_town())).refused(gone) == Failed("no rig")


# stop_agent


def test_a_stop_names_the_generation_and_changes_nothing() -> None:
    stage = on(a_town().bead("b", status="in_progress").agent("p", status="working", hook="b", generation=3))
    assert stage.apply(StopAgent(agent_id="p", reason="exceeded 2h GUPP limit")) == Applied()
    payload = {"town_id": "t1", "agent_id": "p", "generation": 3, "reason": "exceeded 2h GUPP limit"}
    assert stage.effects == [("stop_agent", "p", 3, payload)]
    assert (stage.rows.doing("p"), stage.rows.status("b")) == (("working", "b"), "in_progress")


def test_one_generation_is_stopped_once() -> None:
    stage = on(a_town().agent("p", status="working", generation=3))
    stage.apply(StopAgent(agent_id="p", reason="one"))
    assert stage.refused(StopAgent(agent_id="p", reason="two")) == Skipped("duplicate effect")
    stage.rows.update("agent_metadata", "p", generation=4)
    assert stage.apply(StopAgent(agent_id="p", reason="three")) == Applied()


def test_nothing_is_stopped_that_was_never_started() -> None:
    assert on(a_town().agent("p", generation=0)).refused(StopAgent(agent_id="p", reason="x")) == Skipped(
        "never dispatched"
    )
    assert on(a_town()).refused(StopAgent(agent_id="p", reason="x")) == Skipped("missing")


def test_a_question_that_is_gone_is_left_out_of_its_batch() -> None:
    stage = on(a_town().bead("q1", rig_id=None, labels=["gt:triage-request"], title="P is stuck"))
    assert stage.apply(StartTriageBatch(rig_id="rig-1", request_ids=("gone", "q1"))) == Applied()
    [(_, _, _, payload)] = stage.effects
    assert payload["bead"]["body"] == '- q1: "P is stuck"'

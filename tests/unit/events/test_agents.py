from typing import Any

import pytest

from shared.actions import StopAgent
from shared.events.base import UnreadableEvent
from tests.unit.events.builders import ATown, a_town, ago

PULLS = "https://github.com/acme/app/pull"


def a_working_polecat(**columns: Any) -> ATown:
    """Polecat p1, generation 2, works on issue b1."""
    given = {"status": "working", "generation": 2, "last_dispatch_bead_id": "b1", "last_activity_at": ago(seconds=10)}
    return (
        a_town()
        .with_rig(default_branch="trunk")
        .with_bead("b1", status="in_progress", rig_id="rig-1", assignee_agent_bead_id="p1")
        .with_agent("p1", hook="b1", rig_id="rig-1", **{**given, **columns})
    )


def a_reviewing_refinery() -> ATown:
    """Refinery f1, generation 2, reviews m1, which tracks the high-priority issue b1."""
    return (
        a_town()
        .with_rig()
        .with_bead("b1", status="in_review", rig_id="rig-1", priority="high")
        .with_review("m1", of="b1", rig_id="rig-1", title="Review: gt/b", assignee_agent_bead_id="f1")
        .with_agent("f1", role="refinery", hook="m1", status="working", generation=2)
    )


# agent_done and agent_completed: tests/unit/town holds the state functions; here is what the payload brings to them


def test_done_work_goes_to_review_and_frees_the_agent() -> None:
    town = a_working_polecat()

    payload = {
        "branch": "gt/toast",
        "pr_url": "https://github.com/acme/app/pull/1",
        "summary": "did it",
        "generation": 2,
    }
    assert town.outcome("agent_done", payload, agent_id="p1") == "applied"

    assert town.bead("b1")["status"] == "in_review"
    assert town.agent("p1")["current_hook_bead_id"] is None
    review = town.beads_labelled("gt:merge-request")[0]
    assert (review["title"], review["body"]) == ("Review: gt/toast", "did it")
    assert town.rows("review_metadata")[0]["pr_url"] == "https://github.com/acme/app/pull/1"


def test_done_twice_under_two_ids_is_one_review() -> None:
    town = a_working_polecat()

    town.hears("agent_done", {"branch": "gt/toast"}, agent_id="p1")

    assert town.outcome("agent_done", {"branch": "gt/toast"}, agent_id="p1") == "skipped: no work to attribute"
    assert len(town.beads_of_type("merge_request")) == 1


def test_the_bead_that_done_names_stands_in_the_envelope() -> None:
    town = a_working_polecat()

    assert town.outcome("agent_done", {"branch": "x"}, agent_id="p1", bead_id="b2") == "skipped: other bead"


def test_done_of_another_generation_is_stale() -> None:
    town = a_working_polecat()

    payload = {"branch": "x", "generation": 1}
    assert town.outcome("agent_done", payload, agent_id="p1") == "skipped: stale generation"


def test_done_needs_a_branch() -> None:
    with pytest.raises(UnreadableEvent, match=r"payload\.branch: string_too_short"):
        a_working_polecat().hears("agent_done", {"branch": ""}, agent_id="p1")


def test_done_of_a_review_without_pull_request_is_a_claim_that_is_looked_at() -> None:
    town = a_reviewing_refinery()

    said = {"branch": "gt/b", "head": "h1", "merge_commit": "c1"}
    assert town.outcome("agent_done", said, agent_id="f1") == "applied"

    assert (town.bead("m1")["status"], town.bead("b1")["status"]) == ("in_progress", "in_review")
    claim = town.bead("m1")["metadata"]["merge_claim"]
    assert (claim["commit"], claim["head"]) == ("c1", "h1")
    assert town.bead("m1")["metadata"]["obstacle"] == "merge_unproven"


def test_completed_in_failure_fails_the_bead() -> None:
    town = a_working_polecat()

    assert town.outcome("agent_completed", {"status": "failed", "reason": "boom"}, agent_id="p1") == "applied"

    assert town.bead("b1")["status"] == "failed"
    assert (town.agent("p1")["status"], town.agent("p1")["current_hook_bead_id"]) == ("idle", None)


@pytest.mark.parametrize(("attempts", "outcome"), [(0, "skipped: already"), (2, "applied")])
def test_completed_of_an_agent_at_rest_only_sets_its_attempts_back(attempts: int, outcome: str) -> None:
    town = a_town().with_agent("p1", status="idle", generation=2, ended_generation=2, dispatch_attempts=attempts)

    assert town.outcome("agent_completed", {"status": "completed"}, agent_id="p1") == outcome

    assert town.agent("p1")["dispatch_attempts"] == 0


def test_completed_of_an_older_generation_burns_nothing() -> None:
    town = a_working_polecat()
    before = town.everything()

    payload = {"status": "failed", "generation": 1}
    assert town.outcome("agent_completed", payload, agent_id="p1") == "skipped: stale generation"

    assert town.everything() == before


def test_completed_without_an_agent_id_is_the_mayors() -> None:
    town = a_town().with_agent("m", role="mayor", status="working")

    assert town.outcome("agent_completed", {"status": "completed"}) == "applied"

    assert town.agent("m")["status"] == "idle"


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("agent_done", {"branch": "x"}),
        ("agent_completed", {"status": "completed"}),
        ("agent_heartbeat", {}),
        ("agent_status", {"message": "x"}),
        ("mayor_waiting", {"fired_at": "2026-01-10T12:00:00Z"}),
        ("agent_reset", {}),
        ("changes_requested", {"feedback": "x"}),
        ("nudge_acknowledged", {"nudge_id": "n1"}),
    ],
)
def test_an_agent_that_never_was_is_missing(event_type: str, payload: dict[str, str]) -> None:
    assert a_town().outcome(event_type, payload, agent_id="nobody") == "skipped: missing"


# agent_heartbeat


def test_a_heartbeat_leaves_no_row_whatever_its_outcome() -> None:
    town = a_working_polecat()

    for payload in ({}, {"generation": 1}):
        assert town.hears("agent_heartbeat", payload, agent_id="p1").transient
    assert town.hears("agent_heartbeat", agent_id="nobody").transient


@pytest.mark.parametrize(
    ("hook", "status", "becomes"),
    [
        ("b1", "idle", "working"),
        ("b1", "working", "working"),
        ("b1", "stalled", "stalled"),
        ("b1", "dead", "dead"),
        (None, "idle", "idle"),
    ],
)
def test_a_heartbeat_wakes_only_an_idle_agent_with_a_hook(hook: str | None, status: str, becomes: str) -> None:
    town = a_town().with_bead("b1").with_agent("p1", hook=hook, status=status)

    assert town.outcome("agent_heartbeat", agent_id="p1") == "applied"

    assert town.agent("p1")["status"] == becomes


def test_a_heartbeat_counts_from_its_receipt_and_never_back() -> None:
    town = a_working_polecat(last_activity_at=ago(minutes=5))

    town.hears("agent_heartbeat", agent_id="p1", received_at=ago(seconds=80))
    town.hears("agent_heartbeat", agent_id="p1", received_at=ago(seconds=100))

    assert town.agent("p1")["last_activity_at"] == ago(seconds=80)


def test_a_heartbeat_brings_its_watermark_and_proves_life() -> None:
    town = a_working_polecat(last_dispatch_outcome="pending", observed_status="stopped", dispatch_attempts=3)

    payload = {
        "last_event_type": "tool_use",
        "last_event_at": "2026-01-10T12:59:00+01:00",
        "active_tools": ["bash"],
        "generation": 2,
    }
    town.hears("agent_heartbeat", payload, agent_id="p1")

    agent = town.agent("p1")
    assert (agent["last_event_type"], agent["last_event_at"]) == ("tool_use", "2026-01-10T11:59:00.000Z")
    assert agent["active_tools"] == '["bash"]'
    assert (agent["last_dispatch_outcome"], agent["observed_status"]) == ("alive", None)
    assert agent["dispatch_attempts"] == 0


def test_a_heartbeat_of_an_older_generation_only_stops_that_generation() -> None:
    town = a_working_polecat().with_key("drain", {"nonce": "n", "started_at": ago(minutes=1)})
    town.with_key("container_instance_id", "old")
    before = town.everything()

    payload = {"generation": 1, "container_instance_id": "new"}
    assert town.outcome("agent_heartbeat", payload, agent_id="p1") == "skipped: stale generation"

    after = town.everything()
    (stop,) = after["outbox"]
    assert (stop["kind"], stop["subject"], stop["generation"]) == ("stop_agent", "p1", 1)
    assert {**after, "outbox": []} == before


@pytest.mark.parametrize(
    ("known", "told", "drains_on"),
    [("i1", "i2", False), ("i1", "i1", True), (None, "i2", True), ("i1", None, True)],
)
def test_only_a_heartbeat_from_another_container_ends_a_drain(
    known: str | None, told: str | None, drains_on: bool
) -> None:
    town = a_working_polecat().with_key("drain", {"nonce": "n", "started_at": ago(minutes=1)})
    town.with_key("container_instance_id", known)

    town.hears("agent_heartbeat", {"container_instance_id": told}, agent_id="p1")

    assert (town.town.keys.stored("drain") is not None) is drains_on
    assert town.town.keys.stored("container_instance_id") == (told or known)


# agent_status


def test_an_agents_words_are_stored_trimmed() -> None:
    town = a_working_polecat()

    result = town.hears("agent_status", {"message": "  reading  "}, agent_id="p1")

    assert result.transient
    assert town.agent("p1")["agent_status_message"] == "reading"
    assert town.agent("p1")["agent_status_updated_at"] == "2026-01-10T12:00:00.000Z"


@pytest.mark.parametrize(("length", "readable"), [(1, True), (280, True), (281, False), (0, False)])
def test_an_agents_words_are_1_to_280_characters(length: int, readable: bool) -> None:
    town = a_working_polecat()
    payload = {"message": " " + "ä" * length}

    if readable:
        assert town.outcome("agent_status", payload, agent_id="p1") == "applied"
    else:
        with pytest.raises(UnreadableEvent):
            town.hears("agent_status", payload, agent_id="p1")


# mayor_waiting


def test_a_working_mayor_begins_to_wait() -> None:
    town = a_town().with_agent("m", role="mayor", status="working").with_key("mayor_working_since", ago(minutes=1))

    assert town.outcome("mayor_waiting", {"fired_at": ago(minutes=1)}) == "applied"

    assert town.agent("m")["status"] == "waiting"
    assert town.town.keys.stored("mayor_waiting_since") == "2026-01-10T12:00:00.000Z"


def test_a_report_from_before_the_work_began_does_not_count() -> None:
    town = a_town().with_agent("m", role="mayor", status="working").with_key("mayor_working_since", ago(minutes=1))

    assert town.outcome("mayor_waiting", {"fired_at": ago(minutes=1, milliseconds=1)}, agent_id="m") == "skipped: stale"

    assert town.agent("m")["status"] == "working"


@pytest.mark.parametrize("status", ["idle", "waiting", "stalled", "dead"])
def test_only_a_working_mayor_can_wait(status: str) -> None:
    town = a_town().with_agent("m", role="mayor", status=status)

    assert town.outcome("mayor_waiting", {"fired_at": ago(minutes=1)}) == "skipped: not working"


def test_only_the_mayor_can_wait() -> None:
    town = a_working_polecat()

    assert town.outcome("mayor_waiting", {"fired_at": ago(minutes=1)}, agent_id="p1") == "skipped: not the mayor"


# agent_reset


def test_a_reset_frees_agent_and_bead_and_forgets_all_attempts() -> None:
    town = a_working_polecat(dispatch_attempts=5, checkpoint="{}", last_dispatch_outcome="rejected")
    town.sql.execute(
        "UPDATE beads SET dispatch_attempts = 5, last_dispatch_attempt_at = :at, last_dispatch_failed_at = :at "
        "WHERE bead_id = 'b1'",
        {"at": ago(seconds=5)},
    )

    result = town.hears("agent_reset", {"by": "ann"}, agent_id="p1")

    assert result.returns == (StopAgent(agent_id="p1", reason="agent reset"),)
    agent, bead = town.agent("p1"), town.bead("b1")
    assert (agent["status"], agent["current_hook_bead_id"], agent["checkpoint"]) == ("idle", None, None)
    assert (agent["dispatch_attempts"], agent["last_dispatch_outcome"]) == (0, None)
    assert (bead["status"], bead["assignee_agent_bead_id"], bead["dispatch_attempts"]) == ("open", None, 0)
    assert (bead["last_dispatch_attempt_at"], bead["last_dispatch_failed_at"]) == (None, None)


def test_a_second_reset_changes_nothing_more() -> None:
    town = a_working_polecat(dispatch_attempts=5)
    town.hears("agent_reset", agent_id="p1")
    before = town.everything()

    result = town.hears("agent_reset", agent_id="p1")

    assert (result.outcome.text, result.returns) == ("applied", ())
    assert town.everything() == before


@pytest.mark.parametrize("status", ["idle", "dead"])
def test_a_reset_stops_only_an_agent_at_work(status: str) -> None:
    town = a_working_polecat(status=status)

    assert town.hears("agent_reset", agent_id="p1").returns == ()
    assert town.agent("p1")["status"] == "idle"


def test_a_reset_leaves_a_bead_under_review_where_it_is() -> None:
    town = a_town().with_bead("b1", status="in_review", assignee_agent_bead_id="p1").with_agent("p1", hook="b1")

    town.hears("agent_reset", agent_id="p1")

    assert (town.bead("b1")["status"], town.bead("b1")["assignee_agent_bead_id"]) == ("in_review", "p1")


def test_a_reset_takes_a_hook_away_that_points_nowhere() -> None:
    town = a_town().with_agent("p1", status="working")
    town.sql.execute("PRAGMA foreign_keys = OFF")
    town.sql.execute("UPDATE agent_metadata SET current_hook_bead_id = 'ghost'")  # a damaged image

    assert town.outcome("agent_reset", agent_id="p1") == "applied"

    assert (town.agent("p1")["status"], town.agent("p1")["current_hook_bead_id"]) == ("idle", None)


# changes_requested


def test_requested_changes_are_an_issue_that_blocks_the_review() -> None:
    town = a_reviewing_refinery()

    payload = {"feedback": "name it better", "files": ["a.py"], "generation": 2}
    assert town.outcome("changes_requested", payload, agent_id="f1") == "applied"

    rework = town.beads_labelled("gt:rework")[0]
    assert rework["metadata"] == {
        "rework_for": "b1",
        "mr_bead_id": "m1",
        "branch": "gt/b",
        "target_branch": "trunk",
        "files": ["a.py"],
    }
    shown = {name: rework[name] for name in ("type", "status", "title", "body", "parent_bead_id", "rig_id", "priority")}
    assert shown == {
        "type": "issue",
        "status": "open",
        "title": "Rework: Review: gt/b",
        "body": "name it better",
        "parent_bead_id": "m1",
        "rig_id": "rig-1",
        "priority": "high",
    }
    assert rework["created_by"] == "f1"
    assert ("m1", rework["bead_id"], "blocks") in town.edges()
    assert town.audit("m1") == ["rework_requested"]
    assert town.agent("f1")["current_hook_bead_id"] == "m1"


def test_done_after_requested_changes_opens_the_review_again_and_merges_nothing() -> None:
    town = a_reviewing_refinery()
    town.hears("changes_requested", {"feedback": "x"}, agent_id="f1")

    town.hears("agent_done", {"branch": "gt/b"}, agent_id="f1")

    assert (town.bead("m1")["status"], town.bead("b1")["status"]) == ("open", "in_review")
    assert (town.agent("f1")["status"], town.agent("f1")["current_hook_bead_id"]) == ("idle", None)


def test_a_review_without_a_source_gets_rework_of_medium_priority() -> None:
    town = a_town().with_review("m1").with_agent("f1", role="refinery", hook="m1", status="working")

    town.hears("changes_requested", {"feedback": "x"}, agent_id="f1")

    rework = town.beads_labelled("gt:rework")[0]
    assert rework["priority"] == "medium"
    assert "rework_for" not in rework["metadata"]


def test_nobody_but_the_refinery_at_the_review_can_request_changes() -> None:
    towns = [
        a_working_polecat(),
        a_town().with_agent("p1", role="refinery", status="working", generation=2),
        a_town().with_review("m1", status="closed").with_agent("p1", role="refinery", hook="m1", generation=2),
        a_town().with_bead("b1").with_agent("p1", role="refinery", hook="b1", generation=2),
        a_town().with_review("m1").with_agent("p1", role="refinery", hook="m1", generation=3),
    ]
    for town in towns:
        payload = {"feedback": "x", "generation": 2}
        assert town.outcome("changes_requested", payload, agent_id="p1") == "skipped: not reviewing"
        assert town.beads_labelled("gt:rework") == []


# nudge_acknowledged and nudge_timeout


def a_nudged_polecat(delivered_at: str | None = None) -> ATown:
    town = a_working_polecat().with_agent("p2")
    return town.insert(
        "agent_nudges",
        nudge_id="n1",
        agent_bead_id="p1",
        message="go on",
        created_at=ago(minutes=5),
        delivered_at=delivered_at,
    )


def test_an_acknowledged_nudge_was_delivered() -> None:
    town = a_nudged_polecat()

    assert town.outcome("nudge_acknowledged", {"nudge_id": "n1"}, agent_id="p1") == "applied"

    assert town.rows("agent_nudges")[0]["delivered_at"] == "2026-01-10T12:00:00.000Z"


def test_the_first_delivery_of_a_nudge_is_kept() -> None:
    town = a_nudged_polecat(delivered_at=ago(minutes=1))

    assert town.outcome("nudge_acknowledged", {"nudge_id": "n1"}, agent_id="p1") == "skipped: already"

    assert town.rows("agent_nudges")[0]["delivered_at"] == ago(minutes=1)


def test_nobody_acknowledges_the_nudge_of_another() -> None:
    town = a_nudged_polecat()

    assert town.outcome("nudge_acknowledged", {"nudge_id": "n1"}, agent_id="p2") == "skipped: not the agent's nudge"

    assert town.rows("agent_nudges")[0]["delivered_at"] is None


def test_a_nudge_timeout_changes_nothing() -> None:
    town = a_nudged_polecat()
    before = town.everything()

    assert town.outcome("nudge_timeout", {"nudge_id": "n1"}, agent_id="p1") == "applied"
    assert town.outcome("nudge_timeout") == "applied"

    assert town.everything() == before


def test_nobody_is_told_anything_in_the_name_of_an_agent_that_is_gone() -> None:
    told = {"target": "gone", "text": "go on"}
    assert a_town().with_rig().outcome("agent_nudged", told) == "skipped: missing"


@pytest.mark.parametrize("status", ["open", "in_progress"])
def test_a_refinery_without_its_hook_does_not_pass_a_pull_request_that_somebody_else_reported(status: str) -> None:
    town = a_reviewing_refinery().with_review("m2", rig_id="rig-1", status=status, pr_url=f"{PULLS}/2")
    town.sql.execute("UPDATE agent_metadata SET current_hook_bead_id = NULL, last_dispatch_bead_id = 'm2'")
    done = {"branch": "gt/b", "head": "h"}
    assert town.outcome("agent_done", done, agent_id="f1", bead_id="m2") == "skipped: already done"
    assert (town.bead("m2")["status"], town.bead("m2")["metadata"]) == (status, {})

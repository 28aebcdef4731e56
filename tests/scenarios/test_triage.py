"""Scenarios 158 to 161: what becomes of questions for triage, and of the batches that answer them."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain.states import SYSTEM
from tests.scenarios.outside import PR, answer, audits, beads_labelled, escalations, failure_of, outcomes_of
from tests.scenarios.stories import beat, deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, actions, ago, event, text, types_of

SECOND = timedelta(seconds=1)


def at(seconds: float) -> datetime:
    """So many seconds after T."""
    return T + timedelta(seconds=seconds)


def ask(town: TownBuilder, name: str, **metadata: Any) -> TownBuilder:
    """An open question for triage; about P and B unless told otherwise."""
    about = {"triage_type": "stuck_agent", "agent_bead_id": "p", "hooked_bead_id": "b", **metadata}
    return town.bead(
        name,
        "issue",
        rig_id=None,
        labels=["gt:triage-request"],
        assignee_agent_bead_id=about["agent_bead_id"],
        metadata=about,
        created_by=SYSTEM,
    )


def requests(town: TownBuilder) -> list[tuple[str, str]]:
    """Type and status of every triage request, in order of creation."""
    return [(town.metadata(name)["triage_type"], status) for name, status in beads_labelled(town, "gt:triage-request")]


# --- create_triage_request ----------------------------------------------------------------------------------


def a_town_with_a_stuck_agent() -> TownBuilder:
    """P works on B and made no progress for more than two hours: G3 asks for triage."""
    town = a_town().bead("b", "issue", "in_progress", assignee_agent_bead_id="p")
    return town.agent("p", status="working", hook="b", last_event_at=ago(hours=2) - MS)


@scenario(158)
def test_a_question_is_asked_with_all_that_triage_needs_to_know() -> None:
    town = a_town_with_a_stuck_agent()
    report = town.tick()
    assert deeds(report, of="liveness")[-1] == "liveness.force_stop: create_triage_request p stuck_agent"
    ((name, _),) = beads_labelled(town, "gt:triage-request")
    assert town.one("beads", name, "type", "status", "title", "assignee_agent_bead_id", "rig_id", "created_by") == (
        "issue",
        "open",
        "Triage: GUPP force stop",
        "p",
        None,
        "system",
    )
    metadata = town.metadata(name)
    assert (metadata["triage_type"], metadata["agent_bead_id"], metadata["hooked_bead_id"]) == ("stuck_agent", "p", "b")
    assert metadata["options"] == ["RESTART", "CLOSE_BEAD", "ESCALATE"]


@scenario(158)
def test_the_same_question_is_not_asked_twice_while_it_is_open() -> None:
    town = ask(a_town_with_a_stuck_agent(), "asked")
    judged = town.tick().actions
    assert [(each.outcome, each.reason) for each in judged if each.action["type"] == "create_triage_request"] == [
        ("skipped", "already")
    ]
    assert requests(town) == [("stuck_agent", "open")]


@scenario(158)
@pytest.mark.parametrize(
    ("other", "answer_to_it"),
    [
        ({"agent_bead_id": "p2"}, ("applied", None)),
        ({"triage_type": "crash_loop"}, ("applied", None)),
    ],
    ids=["another agent", "another type"],
)
def test_another_question_is(other: dict[str, Any], answer_to_it: tuple[str, str | None]) -> None:
    town = ask(a_town_with_a_stuck_agent().agent("p2"), "asked", **other)
    judged = town.tick().actions
    assert [(each.outcome, each.reason) for each in judged if each.action["type"] == "create_triage_request"] == [
        answer_to_it
    ]
    assert len(requests(town)) == 2


@scenario(158)
@pytest.mark.parametrize(
    ("asked", "outcome"), [(4, ("applied", None)), (5, ("skipped", "cap")), (6, ("skipped", "cap"))]
)
def test_five_open_questions_are_enough(asked: int, outcome: tuple[str, str | None]) -> None:
    town = a_town_with_a_stuck_agent()
    for number in range(asked):
        ask(town.agent(f"q{number}"), f"asked-{number}", agent_bead_id=f"q{number}")
    ask(town, "asked-of-an-escalation", triage_type="escalation", agent_bead_id="mayor")
    judged = town.tick().actions
    assert [(each.outcome, each.reason) for each in judged if each.action["type"] == "create_triage_request"] == [
        outcome
    ]


@scenario(158)
def test_a_question_about_an_escalation_is_asked_whatever_is_open() -> None:
    town = a_town().config(refinery={"auto_resolve_merge_conflicts": False})
    for number in range(5):
        ask(town.agent(f"q{number}"), f"asked-{number}", agent_bead_id=f"q{number}")
    for name in ("m", "m2"):
        town.review(name, "in_progress", pr_url=PR)
    report = town.tick(*(event("pr_conflict_detected", {"pr_url": PR}, bead=name) for name in ("m", "m2")))
    assert outcomes_of(report, "pr_conflict_detected") == ["applied", "applied"]
    assert requests(town)[-2:] == [("escalation", "open")] * 2


# --- the batch -------------------------------------------------------------------------------------------------


def batches(town: TownBuilder) -> list[tuple[str, str]]:
    """Id and status of every triage batch, in order of creation."""
    return beads_labelled(town, "gt:triage")


def prompts(town: TownBuilder) -> list[tuple[str, str]]:
    """Bead and kind of prompt of every start, in order."""
    return [
        (payload["bead"]["id"], payload["prompt_kind"])
        for payload in (
            json.loads(row[0])
            for row in town.rows("SELECT payload FROM outbox WHERE kind = 'dispatch_agent' ORDER BY seq")
        )
    ]


@scenario(159)
def test_an_open_question_makes_a_batch_that_is_in_progress_at_once() -> None:
    town = ask(a_town(), "asked")
    report = town.tick()
    assert actions(report) == [{"type": "start_triage_batch", "rig_id": "rig-1", "request_ids": ["asked"]}]
    assert deeds(report) == ["housekeeping.dispatch_triage: start_triage_batch rig-1"]
    ((batch, status),) = batches(town)
    assert (status, town.one("beads", batch, "priority", "rig_id", "created_by")) == (
        "in_progress",
        ("high", "rig-1", "patrol"),
    )
    assert town.metadata(batch)["request_ids"] == ["asked"]
    assert prompts(town) == [(batch, "triage")]
    ((polecat,),) = town.rows("SELECT bead_id FROM agent_metadata WHERE role = 'polecat'")
    assert town.doing(polecat) == ("working", batch)
    later = [town.tick(beat(polecat, at(5 * number)), at=at(5 * number)) for number in range(1, 21)]
    assert {deed for each in later for deed in deeds(each) if "dispatch" in deed or "triage" in deed} == set()
    assert town.status("asked") == "open"


@scenario(159)
def test_a_batch_that_was_lost_is_told_again_that_it_is_triage() -> None:
    town = ask(a_town(), "asked")
    town.tick()
    ((batch, _),) = batches(town)
    for number in range(1, 60):
        town.tick(at=at(5 * number))
        if len(prompts(town)) == 2:
            break
    assert prompts(town) == [(batch, "triage"), (batch, "triage")]
    assert "beads.dispatch_ready: dispatch_agent " + batch in deeds(town.reports[-1])
    assert batches(town) == [(batch, "in_progress")]


@scenario(159)
def test_escalations_come_first_and_a_batch_has_twenty_questions() -> None:
    town = a_town()
    for number in range(25):
        ask(town, f"asked-{number:02}", agent_bead_id=f"q{number}")
    ask(town, "of-an-escalation", triage_type="escalation")
    (action,) = actions(town.tick())
    assert action["request_ids"] == ["of-an-escalation", *(f"asked-{number:02}" for number in range(19))]


@scenario(159)
def test_a_draining_town_an_open_breaker_and_a_town_without_rig_start_no_batch() -> None:
    draining = ask(a_town(), "asked").key("drain", {"nonce": "n", "started_at": text(ago(minutes=1))})
    broken = ask(a_town(), "asked").key("breaker", {"open": True, "since": text(ago(minutes=2)), "episode": 1})
    for number in range(20):
        broken.bead(f"lost-{number:02}", "issue", "failed", last_dispatch_failed_at=ago(minutes=3))
    nowhere = ask(a_town(), "asked")
    nowhere.sql.execute("DELETE FROM rigs")
    assert [types_of(town.tick(), rule="housekeeping.dispatch_triage") for town in (draining, broken, nowhere)] == [
        [],
        [],
        [],
    ]


@scenario(160)
def test_a_batch_that_cannot_start_fails_alone_and_the_next_ones_wait_longer_each_time() -> None:
    town = ask(a_town(), "asked")
    now = T
    for number, wait in enumerate((30, 60, 120, 300, None), start=1):
        started = town.tick(at=now)
        assert deeds(started, of="housekeeping.dispatch_triage") == [
            "housekeeping.dispatch_triage: start_triage_batch rig-1"
        ]
        now += SECOND
        refused = town.tick(answer(town, "dispatch_agent", at=now, outcome="rejected", reason="no capacity"), at=now)
        assert outcomes(refused) == [("dispatch_result", "applied")]
        batch, status = batches(town)[-1]
        assert (len(batches(town)), status) == (number, "failed")
        assert failure_of(town, batch) == ("container_start_failed", "no capacity", "container")
        assert town.rows("SELECT DISTINCT status, current_hook_bead_id FROM agent_metadata WHERE role = 'polecat'") == [
            ("idle", None)
        ]
        if wait is not None:
            assert refused.next_due == now + wait * SECOND + MS
            assert types_of(town.tick(at=now + wait * SECOND), rule="housekeeping.dispatch_triage") == []
            now += wait * SECOND + MS
            assert escalations(town) == []
    assert requests(town) == [("stuck_agent", "open")]
    exhausted = [each for report in town.reports for each in types_of(report, rule="housekeeping.dispatch_triage")]
    assert exhausted == ["start_triage_batch"] * 5 + ["escalate_triage", "notify_mayor"]
    assert escalations(town) == [("high", "triage_exhausted")]
    # No more batches, however long nobody answers.
    late = [town.tick(at=now + timedelta(minutes=10) * number) for number in range(1, 101)]
    assert {each for report in late for each in types_of(report, rule="housekeeping.dispatch_triage")} == set()
    assert len(batches(town)) == 5


def an_exhausted_town() -> TownBuilder:
    """Five batches brought no answer to two questions, and a person was asked."""
    town = ask(ask(a_town().agent("p"), "asked"), "asked-too", triage_type="crash_loop")
    town.bead("batch", "issue", "failed", labels=["gt:triage"], created_by="patrol", updated_at=ago(hours=1))
    state = {"last_batch_at": text(ago(hours=1)), "last_batch_id": "batch", "fruitless": 5, "escalated": True}
    assert deeds(town.key("triage", state).copy().tick()) == []
    return town


@scenario(160)
def test_an_answer_lets_batches_go_on() -> None:
    town = an_exhausted_town()
    report = town.tick(event("triage_resolved", {"action": "nothing to do"}, bead="asked"))
    assert outcomes(report) == [("triage_resolved", "applied")]
    assert actions(report) == [{"type": "start_triage_batch", "rig_id": "rig-1", "request_ids": ["asked-too"]}]


@scenario(160)
def test_a_new_question_lets_batches_go_on() -> None:
    town = an_exhausted_town().bead("b", "issue", "in_progress")
    town.agent("p9", status="working", hook="b", last_event_at=ago(hours=2) - MS)
    assert types_of(town.tick(), rule="liveness.force_stop")[-1] == "create_triage_request"
    report = town.tick(beat("p9", at(5)), at=at(5))
    assert deeds(report, of="housekeeping") == ["housekeeping.dispatch_triage: start_triage_batch rig-1"]


# --- triage_resolved ---------------------------------------------------------------------------------------------


def a_town_in_triage(*, attempts: int = 1, does: str = "working", hook: str | None = "b") -> TownBuilder:
    """Somebody asked what to do about P, which works on B; a batch has the question."""
    town = a_town().bead(
        "b",
        "issue",
        "in_progress",
        assignee_agent_bead_id="p",
        dispatch_attempts=attempts,
        last_dispatch_attempt_at=ago(seconds=20),
    )
    town.bead("other", "issue", "in_progress")
    stalled_at = ago(minutes=1) if does == "stalled" else None
    town.agent("p", status=does, hook=hook, stalled_at=stalled_at, generation=3, last_dispatch_bead_id="b")
    town.bead("batch", "issue", "in_progress", labels=["gt:triage"], created_by="patrol")
    return ask(town.agent("t", status="working", hook="batch"), "asked")


def resolve(town: TownBuilder, action: str, **more: Any) -> list[str]:
    """Answer the question; what the tick did, line by line."""
    report = town.tick(event("triage_resolved", {"action": action, **more}, bead="asked", agent="t"))
    assert outcomes(report) == [("triage_resolved", "applied")]
    assert town.status("asked") == "closed"
    metadata = town.metadata("asked")
    assert (metadata["resolution_action"], metadata["resolved_by"]) == (action, "t")
    assert audits(town, "asked", "triage_resolved") == [(None, action)]
    return deeds(report)


@scenario(161)
@pytest.mark.parametrize("action", ["RESTART", "REASSIGN_BEAD"])
@pytest.mark.parametrize("does", ["working", "stalled"])
def test_a_restart_stops_the_agent_and_lets_the_bead_be_dispatched_again(action: str, does: str) -> None:
    town = a_town_in_triage(does=does)
    assert resolve(town, action) == ["event:triage_resolved: stop_agent p"]
    assert town.one("beads", "b", "status", "assignee_agent_bead_id") == ("open", None)
    assert (town.doing("p"), outbox(town)) == (("idle", None), [("stop_agent", "p", 3, "claimed")])


@scenario(161)
def test_a_restart_of_an_agent_that_rests_stops_nothing() -> None:
    town = a_town_in_triage(does="idle")
    assert resolve(town, "RESTART") == []
    assert (town.status("b"), town.doing("p")) == ("open", ("idle", None))


@scenario(161)
def test_a_restart_with_backoff_begins_the_wait_anew() -> None:
    town = a_town_in_triage()
    resolve(town, "RESTART_WITH_BACKOFF")
    assert town.one("beads", "b", "status", "last_dispatch_attempt_at", "dispatch_attempts") == ("open", text(T), 1)


@scenario(161)
@pytest.mark.parametrize("action", ["RESTART", "RESTART_WITH_BACKOFF"])
@pytest.mark.parametrize(("attempts", "status"), [(4, "open"), (5, "failed"), (6, "failed")])
def test_a_restart_fails_a_bead_whose_attempts_are_used_up(action: str, attempts: int, status: str) -> None:
    town = a_town_in_triage(attempts=attempts)
    resolve(town, action)
    assert town.status("b") == status
    if status == "failed":
        assert failure_of(town, "b")[::2] == ("max_dispatch_attempts", "triage")


@scenario(161)
@pytest.mark.parametrize("action", ["RESTART", "CLOSE_BEAD"])
def test_an_agent_that_moved_on_is_not_touched(action: str) -> None:
    town = a_town_in_triage(hook="other")
    assert resolve(town, action) == []
    assert (town.doing("p"), outbox(town)) == (("working", "other"), [])
    assert town.status("b") == ("open" if action == "RESTART" else "failed")


@scenario(161)
def test_a_bead_that_another_agent_has_meanwhile_is_not_released() -> None:
    town = a_town_in_triage(hook="other").agent("p2", status="working", hook="b")
    resolve(town, "RESTART")
    assert (town.status("b"), town.doing("p2")) == ("in_progress", ("working", "b"))


@scenario(161)
def test_closing_the_bead_fails_it_as_triage_said() -> None:
    town = a_town_in_triage()
    assert resolve(town, "CLOSE_BEAD", notes="not worth it") == ["event:triage_resolved: stop_agent p"]
    assert (town.status("b"), failure_of(town, "b")) == ("failed", ("triage_close", "not worth it", "triage"))
    assert town.doing("p") == ("idle", None)


@scenario(161)
def test_closing_a_bead_that_went_to_review_meanwhile_ends_its_review() -> None:
    town = a_town_in_triage(hook="other").update("beads", "b", status="in_review")
    town.review(
        "m", "in_progress", of="b", pr_url="https://github.com/acme/main-rig/pull/7", metadata={"auto_merge_pending": 1}
    )
    town.review("m2", "in_progress", of="b").agent("r", "refinery", "working", hook="m2")
    assert resolve(town, "CLOSE_BEAD", notes="not worth it") == ["event:triage_resolved: stop_agent r"]
    assert [town.status(bead) for bead in ("b", "m", "m2")] == ["failed"] * 3
    assert town.metadata("m")["failureReason"] == "triage_close"
    assert (outbox(town, "merge_pr"), town.doing("r")) == ([], ("idle", None))


@scenario(161)
@pytest.mark.parametrize("action", ["ESCALATE", "ESCALATE_TO_MAYOR"])
def test_an_escalation_by_triage_asks_a_person(action: str) -> None:
    town = a_town_in_triage()
    (told,) = resolve(town, action, notes="who knows")
    ((escalation,),) = town.rows("SELECT bead_id FROM beads WHERE type = 'escalation'")
    assert told == f"event:triage_resolved: notify_mayor escalation:{escalation}"
    assert escalations(town) == [("high", None)]
    assert (town.doing("p"), town.status("b")) == (("working", "b"), "in_progress")


@scenario(161)
@pytest.mark.parametrize(("does", "nudged"), [("working", True), ("stalled", True), ("idle", False)])
def test_a_nudge_by_triage_reaches_an_agent_that_runs(does: str, nudged: bool) -> None:
    town = a_town_in_triage(does=does)
    assert resolve(town, "NUDGE", notes="try again") == (["event:triage_resolved: send_nudge p"] if nudged else [])
    assert town.rows("SELECT agent_bead_id, message, source, mode, priority, expires_at FROM agent_nudges") == (
        [("p", 'Triage answers a question about you, "asked":\n> try again', "triage", "immediate", "normal", None)]
        if nudged
        else []
    )


@scenario(161)
def test_an_answer_that_is_no_known_action_only_closes_the_question() -> None:
    town = a_town_in_triage()
    assert resolve(town, "wait for Ann", notes="she knows") == []
    assert (town.doing("p"), town.status("b")) == (("working", "b"), "in_progress")
    assert town.metadata("asked")["resolution_notes"] == "she knows"


@scenario(161)
def test_the_escalation_behind_a_question_ends_with_it() -> None:
    town = a_town_in_triage().bead("e", "escalation").insert("escalation_metadata", bead_id="e", severity="high")
    town.update("beads", "asked", metadata={"triage_type": "escalation", "escalation_bead_id": "e"})
    resolve(town, "seen")
    assert town.status("e") == "closed"


@scenario(161)
@pytest.mark.parametrize(("bead", "answer_to_it"), [("asked", "skipped: not open"), ("b", "skipped: not open")])
def test_only_an_open_question_is_answered(bead: str, answer_to_it: str) -> None:
    town = a_town_in_triage()
    town.update("beads", "asked", status="closed")
    report = town.tick(event("triage_resolved", {"action": "RESTART"}, bead=bead))
    assert outcomes(report) == [("triage_resolved", answer_to_it)]
    assert (town.doing("p"), town.status("b")) == (("working", "b"), "in_progress")

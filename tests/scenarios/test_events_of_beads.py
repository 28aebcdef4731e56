"""Scenarios 139, 140 and 149 to 152: beads that are made, edited, cancelled, reopened, and agents that begin anew."""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.tick import Envelope
from shared.events.convoys import task_id
from tests.scenarios.outside import PR, audits, failure_of, outcomes_of, review_column
from tests.scenarios.stories import deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event, outcome_of, text

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def a_town_at_work(**agent: Any) -> TownBuilder:
    """P works on B; what is given changes the agent."""
    town = a_town().bead("b", "issue", "in_progress", assignee_agent_bead_id="p")
    return town.agent("p", **{"status": "working", "hook": "b", **agent})


# --- bead_cancelled --------------------------------------------------------------------------------------


@scenario(139)
@pytest.mark.parametrize("status", ["working", "stalled"])
def test_cancelling_a_bead_stops_whoever_works_on_it_before_any_rule_acts(status: str) -> None:
    town = a_town_at_work(status=status, stalled_at=ago(minutes=1) if status == "stalled" else None)
    town.bead("next", "issue")
    report = town.tick(event("bead_cancelled", {"by": "ann"}, bead="b"))
    assert outcomes(report) == [("bead_cancelled", "applied")]
    assert deeds(report) == ["event:bead_cancelled: stop_agent p", "beads.dispatch_ready: dispatch_agent next"]
    assert (town.status("b"), failure_of(town, "b")[0]) == ("failed", "cancelled")
    # P was idle and unhooked, so B1 gave it the next bead in the same pass; the stop names its old generation.
    assert outbox(town) == [("stop_agent", "p", 1, "claimed"), ("dispatch_agent", "p", 2, "claimed")]


@scenario(139)
def test_an_agent_of_a_cancelled_bead_is_free() -> None:
    town = a_town_at_work()
    report = town.tick(event("bead_cancelled", bead="b"))
    assert deeds(report) == ["event:bead_cancelled: stop_agent p"]
    assert (town.doing("p"), outbox(town)) == (("idle", None), [("stop_agent", "p", 1, "claimed")])


@scenario(139)
def test_an_agent_that_rests_is_unhooked_from_a_cancelled_bead_and_stopped_by_the_end_of_its_lease() -> None:
    town = a_town_at_work(status="idle")
    report = town.tick(event("bead_cancelled", bead="b"))
    assert (outcomes(report), deeds(report)) == ([("bead_cancelled", "applied")], [])
    assert (town.doing("p"), outbox(town)) == (("idle", None), [("stop_agent", "p", 1, "claimed")])


@scenario(139)
@pytest.mark.parametrize("status", ["closed", "failed"])
def test_a_bead_ends_as_its_cancellation_says_and_its_reviews_end_with_it(status: str) -> None:
    town = a_town_at_work().review("m", of="b")
    town.tick(event("bead_cancelled", {"cancel_status": status}, bead="b"))
    assert (town.status("b"), town.status("m")) == (status, "failed")
    assert town.one("beads", "b", "closed_at") == (text(T) if status == "closed" else None)


@scenario(139)
def test_cancelling_a_bead_that_is_over_still_releases_its_agent() -> None:
    town = a_town_at_work()
    town.update("beads", "b", status="closed")
    report = town.tick(event("bead_cancelled", bead="b"))
    assert outcomes(report) == [("bead_cancelled", "skipped: terminal")]
    assert deeds(report, of="event:bead_cancelled") == ["event:bead_cancelled: stop_agent p"]
    assert (town.status("b"), town.doing("p")) == ("closed", ("idle", None))


# --- what never existed --------------------------------------------------------------------------------------


@scenario(140)
def test_events_about_what_never_existed_are_done_with_at_once() -> None:
    town = a_town()
    told = [
        event("bead_cancelled", bead="no-bead"),
        event("agent_done", {"branch": "gt/toast/1"}, agent="no-agent"),
        event("pr_auto_merge", {"pr_url": PR}, bead="no-bead"),
        event("pr_status_changed", {"pr_url": PR, "pr_state": "merged"}, bead="no-bead"),
        event("bead_reopened", bead="no-bead"),
        event("bead_updated", bead="no-bead"),
        event("agent_completed", {"status": "failed"}, agent="no-agent"),
        event("agent_reset", agent="no-agent"),
        event("changes_requested", {"feedback": "test it"}, agent="no-agent"),
        event("nudge_acknowledged", {"nudge_id": "no-nudge"}, agent="mayor"),
        event("escalation_acknowledged", bead="no-bead"),
        event("triage_resolved", {"action": "RESTART"}, bead="no-bead"),
        event("convoy_closed", {"convoy_id": "no-convoy"}),
        event("convoy_started", {"convoy_id": "no-convoy"}),
    ]
    report = town.tick(*told)
    assert outcomes(report) == [(each.event_type, "skipped: missing") for each in told]
    assert town.rows("SELECT DISTINCT processed_at, retry_count FROM town_events") == [(text(T), 0)]
    assert (deeds(report), report.pending_after, report.alerts) == ([], 0, ())


# --- bead_created --------------------------------------------------------------------------------------------


@scenario(149)
def test_a_bead_is_made_once_whatever_the_second_wish_says() -> None:
    town = a_town()
    wish = {"bead_id": "new", "type": "issue", "title": "First", "rig_id": "rig-1", "labels": ["gt:held"]}
    report = town.tick(
        event("bead_created", {"bead": wish}),
        event("bead_created", {"bead": {**wish, "title": "Second"}}),
    )
    assert outcomes_of(report, "bead_created") == ["applied", "skipped: exists"]
    assert town.one("beads", "new", "title", "status", "labels") == ("First", "open", '["gt:held"]')
    assert audits(town, "new", "created") == [(None, "issue")]


@scenario(149)
def test_a_fix_up_is_told_its_pull_request_and_closes_without_review() -> None:
    town = a_town()
    wish = {
        "bead_id": "fix",
        "type": "issue",
        "title": "Fix it up",
        "rig_id": "rig-1",
        "labels": ["gt:pr-fixup"],
        "pr_url": PR,
        "branch": "feature/x",
    }
    first = town.tick(event("bead_created", {"bead": wish}))
    assert deeds(first) == ["beads.dispatch_ready: dispatch_agent fix"]
    ((agent, payload),) = town.rows("SELECT subject, payload FROM outbox")
    told = json.loads(payload)
    assert (told["prompt_kind"], told["pr_url"], told["branch"]) == ("pr_fixup", PR, "feature/x")
    done = event("agent_done", {"branch": "feature/x"}, agent=agent, at=T + 5 * SECOND)
    second = town.tick(done, at=T + 5 * SECOND)
    assert outcomes(second) == [("agent_done", "applied")]
    assert (town.status("fix"), town.doing(agent)) == ("closed", ("idle", None))
    assert town.rows("SELECT * FROM beads WHERE type = 'merge_request'") == []


@scenario(149)
@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"rig_id": "rig-9"}, "rejected: unknown rig"),
        ({"parent_bead_id": "nobody"}, "rejected: unknown parent"),
        ({"type": "merge_request", "branch": None}, "rejected: a merge request needs a branch"),
        ({"type": "convoy"}, "rejected: a bead of this type is not created by an event"),
        ({"type": "agent"}, "rejected: a bead of this type is not created by an event"),
        ({"type": "escalation"}, "rejected: a bead of this type is not created by an event"),
    ],
)
def test_a_bead_that_cannot_be_is_rejected_and_nothing_of_it_is_stored(given: dict[str, Any], answer: str) -> None:
    town = a_town()
    wish = {"bead_id": "new", "type": "issue", "title": "New", "rig_id": "rig-1", **given}
    report = town.tick(event("bead_created", {"bead": wish}))
    assert outcomes_of(report, "bead_created") == [answer]
    assert (town.status("new"), town.rows("SELECT * FROM bead_events")) == (None, [])


@scenario(149)
def test_dependencies_of_a_new_bead_hold_it_back_also_those_that_do_not_exist() -> None:
    town = a_town().bead("first", "issue", labels=["gt:held"])
    report = town.tick(wished("new", "first", "nobody", "first"))
    assert outcomes_of(report, "bead_created") == ["applied"]
    assert town.rows("SELECT * FROM bead_dependencies") == [("new", "first", "blocks")]
    assert (deeds(report), town.waiting()) == ([], {"held": 1, "missing_blocker": 1})


def wished(bead_id: str, *depends_on: str) -> Envelope:
    """A wish for an issue that depends on others."""
    bead = {"bead_id": bead_id, "type": "issue", "title": bead_id, "rig_id": "rig-1", "depends_on": list(depends_on)}
    return event("bead_created", {"bead": bead})


@scenario(282)
@pytest.mark.parametrize("apart", [False, True], ids=["one batch", "two batches"])
def test_a_dependency_that_is_created_later_holds_the_bead_back_until_it_is_closed(apart: bool) -> None:
    town = a_town()
    wishes = [wished("second", "first"), wished("first")]
    reports = [town.tick(wish, at=T + number * SECOND) for number, wish in enumerate(wishes)] if apart else []
    reports = reports or [town.tick(*wishes)]
    assert [deed for report in reports for deed in deeds(report)] == ["beads.dispatch_ready: dispatch_agent first"]
    assert (town.rows("SELECT * FROM bead_dependencies"), town.metadata("second")) == (
        [("second", "first", "blocks")],
        {},
    )
    town.update("beads", "first", status="closed")
    assert "beads.dispatch_ready: dispatch_agent second" in deeds(town.tick(at=T + 9 * SECOND))


@scenario(282)
def test_a_misspelled_dependency_is_named_and_the_bead_with_that_name_ends_the_wait() -> None:
    town = a_town().bead("first", status="closed")
    town.tick(wished("second", "frist"))
    waiting = town.waits(T + SECOND)["second"]
    assert (waiting.reason, waiting.actor, waiting.since) == ("missing_blocker", "operator", T)
    assert (waiting.rule, waiting.due_at) == ("V1", T + DAY + MS)
    assert waiting.guards[0].says == "it depends on frist, which does not exist"
    assert [(need.event_type, need.bead_id) for need in waiting.needs] == [("bead_created", "frist")]
    assert deeds(town.tick(at=T + timedelta(hours=23))) == []
    made = town.tick(wished("frist"), event("bead_cancelled", {"cancel_status": "closed"}, bead="frist"), at=T + DAY)
    assert deeds(made, of="beads") == ["beads.dispatch_ready: dispatch_agent second"]


@scenario(282)
def test_beads_that_would_wait_for_each_other_are_refused_also_if_one_did_not_exist_yet() -> None:
    report = (town := a_town()).tick(wished("a", "b"), wished("b", "c"), wished("c", "a"), wished("d", "d"))
    cycle = ["applied", "applied", "rejected: cycle", "rejected: it depends on itself"]
    assert outcomes_of(report, "bead_created") == cycle
    assert (deeds(report), town.waiting()) == ([], {"blocked_by": 1, "missing_blocker": 1})
    root = town.waits()["a"].root
    assert root is not None
    assert (root.bead_id, root.reason) == ("b", "missing_blocker")


@scenario(282)
def test_a_merge_request_that_depends_on_a_missing_bead_is_neither_reviewed_nor_merged() -> None:
    town = a_town().agent("f", "refinery").review("open", metadata={"awaits": ["gone"]})
    waits = {"awaits": ["gone"], "auto_merge_pending": 1, "last_poll_at": text(T)}
    town.review("merging", "in_progress", pr_url=PR, metadata=waits)
    assert deeds(town.tick()) == []
    assert {name: town.waits()[name].reason for name in ("open", "merging")} == dict.fromkeys(
        ("open", "merging"), "missing_blocker"
    )


@scenario(282)
def test_a_dependency_on_a_task_that_a_later_convoy_makes_becomes_real() -> None:
    town = a_town()
    first = task_id(town.town_id, "c", 0)
    convoy = {"convoy_id": "c", "title": "C", "rig_id": "rig-1", "staged": False, "tasks": [{"title": "One"}]}
    town.tick(wished("after", first), event("convoy_created", convoy))
    assert ("after", first, "blocks") in town.rows("SELECT * FROM bead_dependencies")


@scenario(149)
def test_an_adopted_pull_request_is_babysat() -> None:
    town = a_town()
    wish = {"type": "merge_request", "title": "Adopted", "rig_id": "rig-1", "branch": "feature/x", "pr_url": PR}
    town.tick(event("bead_created", {"bead": {"bead_id": "m", "metadata": {"babysit": True}, **wish}}))
    assert town.one("beads", "m", "labels", "status") == ('["gt:babysit"]', "in_progress")
    assert (review_column(town, "pr_url"), review_column(town, "target_branch")) == (PR, "main")
    assert audits(town, "m", "babysit_started") == [(None, PR)]


@scenario(149)
@pytest.mark.parametrize(
    ("kind", "to", "answer"),
    [
        ("message", "p", "applied"),
        ("message", "nobody", "skipped: missing"),
        ("issue", "p", "rejected: only a message is created with an assignee"),
    ],
)
def test_a_message_has_a_receiver_and_nothing_else_has(kind: str, to: str, answer: str) -> None:
    town = a_town().agent("p")
    wish = {"bead_id": "new", "type": kind, "title": "Hello", "assignee_agent_id": to}
    report = town.tick(event("bead_created", {"bead": wish}))
    assert outcomes_of(report, "bead_created") == [answer]
    assert town.one("beads", "new", "assignee_agent_bead_id") == ("p" if answer == "applied" else None)


# --- bead_updated --------------------------------------------------------------------------------------------


@scenario(150)
def test_an_edit_replaces_what_is_given_and_leaves_the_towns_own_keys_alone() -> None:
    town = a_town().bead(
        "b", "issue", body="old", labels=["gt:held"], metadata={"kept": 1, "gone": 2, "last_poll_at": "x"}
    )
    edit = {
        "title": "New title",
        "priority": "high",
        "labels": ["gt:held", "mine"],
        "metadata": {"gone": None, "new": {"a": 1}, "last_poll_at": "y", "awaiting_approval": 1},
    }
    report = town.tick(event("bead_updated", edit, bead="b"))
    assert outcomes(report) == [("bead_updated", "applied")]
    assert town.one("beads", "b", "title", "body", "priority", "labels", "updated_at") == (
        "New title",
        "old",
        "high",
        '["gt:held","mine"]',
        text(ago(seconds=5)),
    )
    assert town.metadata("b") == {"kept": 1, "new": {"a": 1}, "last_poll_at": "x"}
    assert len(audits(town, "b", "fields_updated")) == 1


@scenario(150)
def test_a_bead_gets_a_rig_once() -> None:
    town = a_town().rig("rig-2", name="other").bead("b", "issue", rig_id=None, labels=["gt:held"])
    town.tick(event("bead_updated", {"rig_id": "rig-2"}, bead="b"))
    town.tick(event("bead_updated", {"rig_id": "rig-1"}, bead="b"), at=T + 5 * SECOND)
    assert town.one("beads", "b", "rig_id") == "rig-2"


@scenario(150)
@pytest.mark.parametrize("status", ["closed", "failed"])
def test_a_bead_that_is_over_is_not_edited(status: str) -> None:
    town = a_town().bead("b", "issue", status)
    report = town.tick(event("bead_updated", {"title": "New title"}, bead="b"))
    assert outcomes(report) == [("bead_updated", "skipped: terminal")]
    assert town.one("beads", "b", "title") == "b"


# --- bead_reopened, agent_reset ----------------------------------------------------------------------------------


@scenario(151)
def test_a_failed_bead_that_is_reopened_is_tried_again_as_if_nothing_had_been_tried() -> None:
    town = a_town().bead(
        "b",
        "issue",
        "failed",
        dispatch_attempts=5,
        last_dispatch_attempt_at=ago(seconds=1),
        last_dispatch_failed_at=ago(seconds=1),
        assignee_agent_bead_id="p",
        metadata={"failureReason": "x", "failed_blocker_notified": 1, "mine": 1},
    )
    report = town.tick(event("bead_reopened", {"by": "ann", "reason": "fixed"}, bead="b"))
    assert outcomes(report) == [("bead_reopened", "applied")]
    assert audits(town, "b", "reopened") == [("failed", "open")]
    assert town.rows("SELECT metadata FROM bead_events WHERE event_type = 'reopened'") == [
        ('{"by":"ann","reason":"fixed"}',)
    ]
    assert town.metadata("b").keys() == {"mine", "branch"}
    # The drain comes before the rules: B1 dispatches in the tick that applies the event.
    assert deeds(report) == ["beads.dispatch_ready: dispatch_agent b"]
    assert town.one("beads", "b", "status", "dispatch_attempts", "last_dispatch_failed_at") == ("in_progress", 1, None)


@scenario(151)
@pytest.mark.parametrize("status", ["closed", "open", "in_progress", "in_review"])
def test_only_what_failed_is_reopened(status: str) -> None:
    town = a_town().bead("b", "issue", status, dispatch_attempts=3, labels=["gt:held"])
    report = town.tick(event("bead_reopened", bead="b"))
    assert outcomes(report) == [("bead_reopened", "skipped: not failed")]
    assert town.one("beads", "b", "status", "dispatch_attempts") == (status, 3)


@scenario(152)
@pytest.mark.parametrize("attempts", [1, 4, 5])
def test_an_agent_that_is_reset_lets_its_bead_be_dispatched_although_it_waited(attempts: int) -> None:
    town = a_town_at_work(status="idle", dispatch_attempts=5, last_dispatch_outcome="rejected", checkpoint='{"at":1}')
    just_now = ago(seconds=20)
    town.update(
        "beads", "b", dispatch_attempts=attempts, last_dispatch_attempt_at=just_now, last_dispatch_failed_at=just_now
    )
    assert [each for each in deeds(town.copy().tick()) if "dispatch_agent" in each] == []
    report = town.tick(event("agent_reset", {"by": "ann"}, agent="p"))
    assert outcomes(report) == [("agent_reset", "applied")]
    assert deeds(report) == ["beads.dispatch_ready: dispatch_agent b"]
    assert town.one("beads", "b", "status", "dispatch_attempts", "last_dispatch_failed_at") == ("in_progress", 1, None)
    assert (town.doing("p"), town.one("agent_metadata", "p", "checkpoint")) == (("working", "b"), None)


@scenario(152)
def test_an_agent_at_work_is_stopped_before_it_begins_anew() -> None:
    town = a_town_at_work(dispatch_attempts=5)
    report = town.tick(event("agent_reset", agent="p"), event("agent_reset", agent="p", event_id="reset-again"))
    assert outcomes_of(report, "agent_reset") == ["applied", "applied"]
    assert deeds(report) == ["event:agent_reset: stop_agent p", "beads.dispatch_ready: dispatch_agent b"]
    assert outbox(town) == [("stop_agent", "p", 1, "claimed"), ("dispatch_agent", "p", 2, "claimed")]


@scenario(152)
def test_resetting_an_agent_without_work_only_makes_it_idle() -> None:
    town = a_town().agent("p", status="dead", dispatch_attempts=5, last_dispatch_outcome="lost")
    report = town.tick(event("agent_reset", agent="p", event_id="reset-0001"))
    assert (outcome_of(report, "reset-0001"), deeds(report)) == ("applied", [])
    assert town.one("agent_metadata", "p", "status", "dispatch_attempts", "last_dispatch_outcome") == ("idle", 0, None)

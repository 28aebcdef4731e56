import json
from typing import Any

import pytest

from shared.actions import NotifyMayor
from shared.events.base import UnreadableEvent
from tests.unit.events.builders import ATown, a_town

PR = "https://github.com/acme/app/pull/7"
NOTHING_WRONG = {"has_unresolved_comments": False, "has_failing_checks": False, "has_unchecked_runs": False}


def a_town_with_a_pull_request(status: str = "in_progress", **config: Any) -> ATown:
    """Review m1 of issue b1, with a pull request."""
    town = a_town(**config).with_rig().with_bead("b1", status="in_review", rig_id="rig-1")
    return town.with_review("m1", of="b1", status=status, rig_id="rig-1", title="Review: gt/b", pr_url=PR)


def with_follow_up(town: ATown, bead_id: str, label: str, *, status: str = "open") -> ATown:
    return town.with_bead(bead_id, labels=[label], parent_bead_id="m1", status=status).with_edge("m1", bead_id)


def feedback(town: ATown, **kinds: bool) -> str:
    return town.outcome("pr_feedback_detected", {"pr_url": PR, **NOTHING_WRONG, **kinds}, bead_id="m1")


def conflict(town: ATown) -> str:
    return town.outcome("pr_conflict_detected", {"pr_url": PR}, bead_id="m1")


EVENTS = [
    ("pr_status_changed", {"pr_url": PR, "pr_state": "merged"}),
    ("pr_feedback_detected", {"pr_url": PR, **NOTHING_WRONG}),
    ("pr_conflict_detected", {"pr_url": PR}),
    ("pr_auto_merge", {"pr_url": PR}),
]


@pytest.mark.parametrize(("event_type", "payload"), EVENTS)
def test_a_review_that_never_was_is_missing(event_type: str, payload: dict[str, Any]) -> None:
    town = a_town().with_bead("b1")

    assert town.outcome(event_type, payload, bead_id="ghost") == "skipped: missing"
    assert town.outcome(event_type, payload, bead_id="b1") == "skipped: missing"


@pytest.mark.parametrize(
    ("status", "event_type", "payload"),
    [(status, *each) for status in ("closed", "failed") for each in EVENTS if (status, each) != ("failed", EVENTS[0])],
)
def test_a_review_that_is_over_stays_as_it_is(event_type: str, payload: dict[str, Any], status: str) -> None:
    """All but a merge after a failure, which is recorded: see test_merge_results."""
    town = a_town_with_a_pull_request(status)
    town.sql.execute("UPDATE review_metadata SET merge_commit = 'abc'")
    before = town.everything()

    assert town.outcome(event_type, payload, bead_id="m1") == "skipped: terminal"

    assert town.everything() == before


@pytest.mark.parametrize(("event_type", "payload"), EVENTS)
def test_each_event_names_its_review(event_type: str, payload: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEvent, match="bead_id: missing"):
        a_town().hears(event_type, payload)


# pr_status_changed


def test_a_merge_is_a_fact_even_while_rework_is_open() -> None:
    town = with_follow_up(a_town_with_a_pull_request(), "w1", "gt:rework")

    payload = {"pr_url": PR, "pr_state": "merged", "sha": "abc"}
    assert town.outcome("pr_status_changed", payload, bead_id="m1") == "applied"

    assert (town.bead("m1")["status"], town.bead("b1")["status"], town.bead("w1")["status"]) == (
        "closed",
        "closed",
        "closed",
    )
    assert town.rows("review_metadata")[0]["merge_commit"] == "abc"


def test_a_merge_after_the_end_of_its_review_is_kept_and_changes_nothing_else() -> None:
    town = a_town_with_a_pull_request("failed")

    payload = {"pr_url": PR, "pr_state": "merged", "sha": "abc"}
    assert town.outcome("pr_status_changed", payload, bead_id="m1") == "applied"

    assert town.rows("review_metadata")[0]["merge_commit"] == "abc"
    assert town.bead("m1")["status"] == "failed"
    assert town.audit("m1") == ["review_completed"]
    assert town.outcome("pr_status_changed", payload, bead_id="m1") == "skipped: terminal"


def test_a_pull_request_closed_without_merge_fails_the_review_and_reopens_the_work() -> None:
    town = a_town_with_a_pull_request()

    town.hears("pr_status_changed", {"pr_url": PR, "pr_state": "closed"}, bead_id="m1")

    assert (town.bead("m1")["status"], town.bead("b1")["status"]) == ("failed", "open")
    assert town.bead("m1")["metadata"]["failureMessage"] == "closed without merge"


def test_an_open_pull_request_changes_nothing() -> None:
    town = a_town_with_a_pull_request()
    before = town.everything()

    assert town.outcome("pr_status_changed", {"pr_url": PR, "pr_state": "open"}, bead_id="m1") == "applied"

    assert town.everything() == before


# pr_feedback_detected


def test_feedback_is_an_issue_that_blocks_the_review() -> None:
    town = a_town_with_a_pull_request()

    assert feedback(town, has_unresolved_comments=True, has_unchecked_runs=True) == "applied"

    issue = town.beads_labelled("gt:pr-feedback")[0]
    shown = {name: issue[name] for name in ("type", "status", "title", "body", "parent_bead_id", "rig_id", "priority")}
    assert shown == {
        "type": "issue",
        "status": "open",
        "title": "PR feedback: Review: gt/b",
        "body": f"Resolve on {PR}: unresolved comments, checks that did not run.",
        "parent_bead_id": "m1",
        "rig_id": "rig-1",
        "priority": "medium",
    }
    assert issue["metadata"] == {"mr_bead_id": "m1", "pr_url": PR, "branch": "gt/b", "target_branch": "trunk"}
    assert ("m1", issue["bead_id"], "blocks") in town.edges()


def test_the_body_of_feedback_names_failing_checks_too() -> None:
    town = a_town_with_a_pull_request()

    feedback(town, has_failing_checks=True)

    assert town.beads_labelled("gt:pr-feedback")[0]["body"] == f"Resolve on {PR}: failing checks."


def test_the_body_of_feedback_says_that_all_runs_count_where_the_token_cannot_tell_which_do() -> None:
    town = a_town_with_a_pull_request()

    feedback(town, has_failing_checks=True, all_runs_counted=True)

    body = town.beads_labelled("gt:pr-feedback")[0]["body"]
    assert body.endswith(
        "failing checks. Every run of a check counts, because the token may not read workflows (it needs Actions: read)."
    )


def test_feedback_while_feedback_is_worked_on_is_nothing_new() -> None:
    town = with_follow_up(a_town_with_a_pull_request(), "x1", "gt:pr-feedback", status="in_progress")

    assert feedback(town) == "skipped: already"

    assert len(town.beads_labelled("gt:pr-feedback")) == 1


def test_feedback_while_a_conflict_is_worked_on_goes_there() -> None:
    town = with_follow_up(a_town_with_a_pull_request(), "x1", "gt:pr-conflict")

    assert feedback(town) == "applied"

    assert town.bead("x1")["metadata"] == {"has_feedback": 1}
    assert town.beads_labelled("gt:pr-feedback") == []


def test_a_failed_follow_up_is_not_a_live_one() -> None:
    town = with_follow_up(a_town_with_a_pull_request(), "x1", "gt:pr-feedback", status="failed")

    assert feedback(town) == "applied"

    assert len(town.beads_labelled("gt:pr-feedback")) == 2


def test_the_fifth_feedback_bead_is_the_last_and_then_a_person_is_asked_once() -> None:
    town = a_town_with_a_pull_request()
    for number in range(4):
        with_follow_up(town, f"x{number}", "gt:pr-feedback", status="closed")
    assert feedback(town) == "applied"
    town.sql.execute("UPDATE beads SET status = 'closed' WHERE parent_bead_id = 'm1'")

    payload = {"pr_url": PR, **NOTHING_WRONG}
    first = town.hears("pr_feedback_detected", payload, bead_id="m1")
    second = town.hears("pr_feedback_detected", payload, bead_id="m1")

    message = 'Escalation (high): "Feedback does not end: Review: gt/b"'
    assert (first.outcome.text, first.returns) == ("applied", (NotifyMayor(subject="cap:m1", message=message),))
    assert (second.outcome.text, second.returns) == ("skipped: cap", ())
    assert len(town.beads_labelled("gt:pr-feedback")) == 5
    assert town.bead("m1")["metadata"]["feedback_cap_escalated"] == 1
    (escalation,) = town.rows("escalation_metadata")
    assert (escalation["severity"], escalation["category"]) == ("high", "feedback_cap")


# pr_conflict_detected


def test_a_conflict_is_an_issue_that_blocks_the_review() -> None:
    town = a_town_with_a_pull_request()

    payload = {"pr_url": PR, "branch": "gt/other", "source_bead_id": "b1"}
    assert town.outcome("pr_conflict_detected", payload, bead_id="m1") == "applied"

    issue = town.beads_labelled("gt:pr-conflict")[0]
    assert (issue["title"], issue["parent_bead_id"]) == ("Resolve conflicts: Review: gt/b", "m1")
    assert issue["metadata"] == {"mr_bead_id": "m1", "pr_url": PR, "branch": "gt/other", "target_branch": "trunk"}
    assert ("m1", issue["bead_id"], "blocks") in town.edges()


def test_a_conflict_while_a_conflict_is_worked_on_is_nothing_new() -> None:
    town = with_follow_up(a_town_with_a_pull_request(), "x1", "gt:pr-conflict")

    assert conflict(town) == "skipped: already"


def test_a_conflict_while_feedback_is_worked_on_goes_there() -> None:
    town = with_follow_up(a_town_with_a_pull_request(), "x1", "gt:pr-feedback")

    assert conflict(town) == "applied"

    assert town.bead("x1")["metadata"] == {"has_conflicts": 1, "conflict_target_branch": "trunk"}
    assert town.beads_labelled("gt:pr-conflict") == []


def test_the_fifth_conflict_bead_is_the_last_and_then_a_person_is_asked_once() -> None:
    town = a_town_with_a_pull_request()
    for number in range(5):
        with_follow_up(town, f"x{number}", "gt:pr-conflict", status="failed")

    first = town.hears("pr_conflict_detected", {"pr_url": PR}, bead_id="m1")

    message = 'Escalation (high): "Conflicts do not end: Review: gt/b"'
    assert first.returns == (NotifyMayor(subject="cap:m1", message=message),)
    assert conflict(town) == "skipped: cap"
    assert [row["category"] for row in town.rows("escalation_metadata")] == ["conflict_cap"]


def test_where_agents_shall_not_resolve_conflicts_a_person_is_asked() -> None:
    town = a_town_with_a_pull_request(refinery={"auto_resolve_merge_conflicts": False})
    town.with_agent("m", role="mayor")

    for _ in range(10):
        conflict(town)

    (escalation,) = town.rows("escalation_metadata")
    assert (escalation["severity"], escalation["category"]) == ("high", "merge_conflict")
    (request,) = town.beads_labelled("gt:triage-request")
    assert request["assignee_agent_bead_id"] == "m"
    assert request["metadata"]["triage_type"] == "escalation"
    assert request["metadata"]["escalation_bead_id"] == escalation["bead_id"]
    assert town.beads_labelled("gt:pr-conflict") == []


def test_a_rig_decides_for_itself_whether_agents_resolve_conflicts() -> None:
    town = a_town(refinery={"auto_resolve_merge_conflicts": False}).with_rig(auto_resolve_merge_conflicts=True)
    town.with_review("m1", rig_id="rig-1")

    conflict(town)

    assert len(town.beads_labelled("gt:pr-conflict")) == 1


def test_a_new_conflict_after_the_escalation_was_closed_is_escalated_again() -> None:
    town = a_town_with_a_pull_request(refinery={"auto_resolve_merge_conflicts": False})
    conflict(town)
    town.sql.execute("UPDATE beads SET status = 'closed' WHERE type = 'escalation'")

    assert conflict(town) == "applied"

    assert len(town.rows("escalation_metadata")) == 2


# pr_auto_merge


@pytest.mark.parametrize("status", ["open", "in_progress"])
def test_a_green_pull_request_is_marked_for_merging(status: str) -> None:
    town = a_town_with_a_pull_request(status)

    assert town.outcome("pr_auto_merge", {"pr_url": PR}, bead_id="m1") == "applied"
    assert town.outcome("pr_auto_merge", {"pr_url": PR}, bead_id="m1") == "applied"

    assert town.bead("m1")["metadata"]["auto_merge_pending"] == 1


def test_a_follow_up_knows_no_branch_that_its_review_does_not_know() -> None:
    town = a_town_with_a_pull_request()
    town.town.sql.execute("DELETE FROM review_metadata")

    assert feedback(town, has_failing_checks=True) == "applied"

    [follow_up] = [bead for bead in town.rows("beads") if bead["parent_bead_id"] == "m1"]
    assert json.loads(follow_up["metadata"]).keys() == {"mr_bead_id", "pr_url"}


def test_a_pull_request_of_a_fork_s_upstream_is_merged_by_its_people() -> None:
    town = a_town_with_a_pull_request()
    town.sql.execute("UPDATE rigs SET config = :config", {"config": json.dumps({"upstream": "acme/upstream"})})

    assert town.outcome("pr_auto_merge", {"pr_url": PR}, bead_id="m1") == "skipped: foreign"

    assert "auto_merge_pending" not in town.bead("m1")["metadata"]


# pr_adopted


def test_a_pull_request_is_adopted_once() -> None:
    town = a_town_with_a_pull_request()

    assert town.outcome("pr_adopted", {"by": "ann"}, bead_id="m1") == "applied"
    assert town.outcome("pr_adopted", {"by": "bob"}, bead_id="m1") == "skipped: already"

    [line] = town.rows("bead_events")
    assert json.loads(line["metadata"]) == {"fields": ["adopted"], "by": "ann"}


def test_a_pull_request_that_nobody_by_name_adopts_is_written_down_without_a_name() -> None:
    town = a_town_with_a_pull_request()

    assert town.outcome("pr_adopted", bead_id="m1") == "applied"

    [line] = town.rows("bead_events")
    assert json.loads(line["metadata"]) == {"fields": ["adopted"]}


def test_only_a_live_review_is_adopted() -> None:
    town = a_town_with_a_pull_request("closed")
    before = town.everything()

    assert town.outcome("pr_adopted", bead_id="ghost") == "skipped: missing"
    assert town.outcome("pr_adopted", bead_id="m1") == "skipped: terminal"

    assert town.everything() == before

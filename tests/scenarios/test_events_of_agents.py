"""Scenarios 125 to 138 and 205: what agents and the runtime report, late, twice, or of an old generation."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.processes import ProcessState, ProcessStatus
from shared.intake import ingest
from tests.scenarios.outside import (
    PR,
    answer,
    audits,
    beads_labelled,
    escalations,
    failure_of,
    outcomes_of,
    review_column,
)
from tests.scenarios.stories import BOUNDARY, beat, deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, actions, ago, event, text

SECOND = timedelta(seconds=1)
BRANCH = {"branch": "gt/toast/1"}


def a_town_at_work(**agent: Any) -> TownBuilder:
    """P works on B, as its second generation; what is given changes the agent."""
    columns = {"status": "working", "hook": "b", "generation": 2, **agent}
    return a_town().bead("b", "issue", "in_progress", assignee_agent_bead_id="p").agent("p", **columns)


def a_town_after_a_lost_hook(**bead: Any) -> TownBuilder:
    """A8 has taken B away from P, which was last dispatched for it."""
    town = a_town().bead("b", "issue", **{"status": "open", "last_dispatch_attempt_at": ago(seconds=10), **bead})
    return town.agent("p", generation=2, last_dispatch_bead_id="b", last_dispatch_outcome="lost")


def a_town_in_review(review: str = "in_progress", *, pr: str | None = None, **refinery: Any) -> TownBuilder:
    """F reviews M, the review of B; what is given changes the refinery."""
    town = a_town().bead("b", "issue", "in_review", priority="high")
    town.review("m", review, of="b", pr_url=pr, assignee_agent_bead_id="f")
    columns = {"status": "working", "hook": "m", "generation": 2, "last_dispatch_bead_id": "m", **refinery}
    return town.agent("f", "refinery", **columns)


def reviews(town: TownBuilder) -> list[tuple[str, str]]:
    """Title and status of every MR."""
    return town.rows("SELECT title, status FROM beads WHERE type = 'merge_request' ORDER BY bead_id")


# --- agent_done ---------------------------------------------------------------------------------------


@scenario(125)
def test_an_exit_that_overtook_the_done_does_not_cost_the_work() -> None:
    town = a_town_at_work()
    report = town.tick(
        event("agent_completed", {"status": "completed"}, agent="p"), event("agent_done", BRANCH, agent="p")
    )
    assert outcomes(report) == [("agent_completed", "applied"), ("agent_done", "applied")]
    assert (town.status("b"), town.doing("p")) == ("in_review", ("idle", None))
    assert reviews(town) == [("Review: gt/toast/1", "in_progress")]


@scenario(126)
def test_a_done_is_honoured_although_the_hook_was_lost_meanwhile() -> None:
    town = a_town_after_a_lost_hook()
    report = town.tick(event("agent_done", {**BRANCH, "generation": 2}, agent="p", bead="b"))
    assert outcomes(report) == [("agent_done", "applied")]
    assert town.status("b") == "in_review"
    assert len(reviews(town)) == 1


@scenario(127)
def test_a_done_for_a_bead_that_another_agent_has_is_superseded() -> None:
    town = a_town_after_a_lost_hook(status="in_progress", assignee_agent_bead_id="p2")
    town.agent("p2", status="working", hook="b")
    report = town.tick(event("agent_done", {**BRANCH, "generation": 2}, agent="p", bead="b"))
    assert outcomes(report) == [("agent_done", "skipped: superseded")]
    assert (town.status("b"), town.doing("p2"), reviews(town)) == ("in_progress", ("working", "b"), [])


@scenario(127)
@pytest.mark.parametrize("generation", [1, 3])
def test_a_done_of_another_generation_is_stale(generation: int) -> None:
    town = a_town_at_work()
    report = town.tick(event("agent_done", {**BRANCH, "generation": generation}, agent="p", bead="b"))
    assert outcomes(report) == [("agent_done", "skipped: stale generation")]
    assert (town.status("b"), town.doing("p"), reviews(town)) == ("in_progress", ("working", "b"), [])


@scenario(128)
def test_a_done_without_branch_is_refused_at_the_door() -> None:
    body = b'{"event_id": "done-0001", "event_type": "agent_done", "agent_id": "p", "payload": {}}'
    with pytest.raises(Refused) as refused:
        ingest.accept(body, received_at=T)
    assert (refused.value.status, refused.value.path) == (400, "events[0].payload.branch")


@scenario(128)
@pytest.mark.parametrize("ticks", [1, 2])
@pytest.mark.parametrize(
    ("payload", "bead", "answer"),
    [
        (BRANCH, None, "skipped: no work to attribute"),
        (BRANCH, "b", "skipped: already done"),
        ({**BRANCH, "generation": 2}, None, "skipped: already done"),
    ],
)
def test_a_done_that_is_told_twice_submits_once(
    ticks: int, payload: dict[str, Any], bead: str | None, answer: str
) -> None:
    town = a_town_at_work()
    told = [event("agent_done", payload, agent="p", bead=bead, event_id=f"done-000{number}") for number in (1, 2)]
    in_one = [told] if ticks == 1 else [told[:1], told[1:]]
    reports = [town.tick(*some, at=T + 5 * SECOND * number) for number, some in enumerate(in_one)]
    assert [each for report in reports for each in outcomes_of(report, "agent_done")] == ["applied", answer]
    assert (town.status("b"), len(reviews(town))) == ("in_review", 1)


@scenario(129)
def test_a_refinery_that_nobody_hooked_proves_nothing_by_being_done() -> None:
    town = a_town_in_review(status="idle", hook=None)
    report = town.tick(event("agent_done", BRANCH, agent="f"))
    assert outcomes(report) == [("agent_done", "applied")]
    assert (town.status("m"), town.metadata("m")["failureReason"]) == ("failed", "review_failed")
    ((escalation, severity),) = town.rows("SELECT bead_id, priority FROM beads WHERE type = 'escalation'")
    assert (severity, town.metadata(escalation)["kind"]) == ("high", "refinery_unhooked_done")
    assert audits(town, "b", "status_changed")[0] == ("in_review", "open")


@scenario(129)
def test_a_refinery_that_knows_its_generation_proves_that_it_merged() -> None:
    town = a_town_in_review(status="idle", hook=None)
    report = town.tick(event("agent_done", {**BRANCH, "generation": 2}, agent="f"))
    assert outcomes(report) == [("agent_done", "applied")]
    assert (town.status("m"), town.status("b")) == ("in_progress", "in_review")
    town.tick(answer(town, "verify_merge", contained=True, sha="abc", at=T + 5 * SECOND), at=T + 5 * SECOND)
    assert (town.status("m"), town.status("b"), escalations(town)) == ("closed", "closed", [])


@scenario(129)
def test_a_refinery_that_opened_a_pull_request_leaves_the_rest_to_the_polls() -> None:
    town = a_town_in_review()
    report = town.tick(event("agent_done", {**BRANCH, "pr_url": PR}, agent="f"))
    assert outcomes(report) == [("agent_done", "applied")]
    assert (town.status("m"), review_column(town, "pr_url"), town.metadata("m")["pr_url"]) == ("in_progress", PR, PR)
    assert (town.doing("f"), audits(town, "m", "pr_created")) == (("idle", None), [(None, PR)])
    assert deeds(report, of="reviews") == ["reviews.poll_pull_request: poll_pr m"]


@scenario(129)
def test_a_pull_request_for_a_review_that_went_back_to_the_queue_takes_it_out_again() -> None:
    town = a_town_in_review("open", status="idle", hook=None)
    report = town.tick(event("agent_done", {**BRANCH, "pr_url": PR, "generation": 2}, agent="f"))
    assert outcomes(report) == [("agent_done", "applied")]
    assert audits(town, "m", "status_changed") == [("open", "in_progress")]
    assert deeds(report, of="reviews") == ["reviews.poll_pull_request: poll_pr m"]


@scenario(129)
def test_a_refinery_without_its_hook_is_done_with_a_pull_request_that_is_polled_already() -> None:
    town = a_town_in_review(pr=PR, status="idle", hook=None)
    report = town.tick(event("agent_done", {**BRANCH, "generation": 2}, agent="f"))
    assert outcomes(report) == [("agent_done", "skipped: already done")]
    assert (town.status("m"), town.status("b")) == ("in_progress", "in_review")


@scenario(129)
def test_a_pull_request_at_an_insecure_address_fails_its_review() -> None:
    town = a_town_in_review()
    report = town.tick(event("agent_done", {**BRANCH, "pr_url": "http://github.com/acme/main-rig/pull/7"}, agent="f"))
    assert outcomes(report) == [("agent_done", "applied")]
    assert (town.status("m"), review_column(town, "pr_url"), town.doing("f")) == ("failed", None, ("idle", None))
    assert len(audits(town, "m", "pr_creation_failed")) == 1


# --- changes_requested ----------------------------------------------------------------------------------


def a_town_that_reworks(**config: Any) -> tuple[TownBuilder, str]:
    """F asked for changes of M and was done; a polecat works on the rework, which is returned too."""
    town = a_town_in_review().config(**config)
    town.update("beads", "m", dispatch_attempts=1, last_dispatch_attempt_at=ago(seconds=10))
    wish = event("changes_requested", {"feedback": "please test it", "files": ["a.py"], "generation": 2}, agent="f")
    report = town.tick(wish, event("agent_done", BRANCH, agent="f"))
    assert outcomes(report) == [("changes_requested", "applied"), ("agent_done", "applied")]
    ((rework, _),) = beads_labelled(town, "gt:rework")
    return town, rework


@scenario(130)
def test_a_review_that_wants_changes_goes_back_to_the_queue_and_waits_for_them() -> None:
    town, rework = a_town_that_reworks()
    assert (town.status("m"), town.status("b"), town.doing("f")) == ("open", "in_review", ("idle", None))
    assert town.one("beads", rework, "title", "body", "parent_bead_id", "rig_id", "priority", "created_by") == (
        "Rework: m",
        "please test it",
        "m",
        "rig-1",
        "high",
        "f",
    )
    assert town.metadata(rework) == {
        "rework_for": "b",
        "mr_bead_id": "m",
        "branch": "gt/toast/1",
        "target_branch": "main",
        "files": ["a.py"],
    }
    assert audits(town, "m", "rework_requested") == [(None, rework)]
    assert deeds(town.reports[0]) == [f"beads.dispatch_ready: dispatch_agent {rework}"]


@scenario(130)
def test_the_refinery_reviews_others_meanwhile_and_takes_the_review_up_when_its_rework_is_closed() -> None:
    town, rework = a_town_that_reworks()
    town.review("m2", created_at=ago(minutes=1))
    assert deeds(town.tick(at=T + 5 * SECOND), of="reviews") == [
        "reviews.dispatch_refinery: transition_bead m2 in_progress",
        "reviews.dispatch_refinery: hook_agent f m2",
        "reviews.dispatch_refinery: dispatch_agent f m2",
    ]
    ((polecat,),) = town.rows("SELECT bead_id FROM agent_metadata WHERE current_hook_bead_id = ?", rework)
    town.tick(
        event("agent_done", BRANCH, agent=polecat, at=T + 10 * SECOND),
        event("agent_done", BRANCH, agent="f", at=T + 10 * SECOND),
        at=T + 10 * SECOND,
    )
    town.tick(answer(town, "verify_merge", contained=True, at=T + 15 * SECOND), at=T + 15 * SECOND)
    assert (town.status(rework), town.status("m2"), town.status("m")) == ("closed", "closed", "open")
    due = ago(seconds=10) + limits.backoff(1)
    assert deeds(town.tick(at=due), of="reviews") == []
    assert deeds(town.tick(at=due + MS), of="reviews") == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: hook_agent f m",
        "reviews.dispatch_refinery: dispatch_agent f m",
    ]


@scenario(131)
def test_a_rework_that_failed_holds_the_review_and_the_mayor_is_told_once() -> None:
    town, rework = a_town_that_reworks()
    gave_up = event("bead_cancelled", bead=rework, event_id="gave-up-1", at=T + 5 * SECOND)
    first = town.tick(gave_up, at=T + 5 * SECOND)
    others = town.ticks(100, start=T + 10 * SECOND)
    assert deeds(first, of="beads") == [
        f"beads.report_failed_blocker: notify_mayor failed_blocker:{rework}",
    ]
    assert [deed for report in others for deed in deeds(report) if "m" in deed.split()] == []
    assert [row[1] for row in outbox(town, "notify_mayor")] == [f"failed_blocker:{rework}"]
    assert (town.status("m"), town.waiting()["failed_dependency"]) == ("open", 1)


@scenario(131)
def test_under_proceed_a_review_goes_on_without_its_failed_rework() -> None:
    town, rework = a_town_that_reworks(on_failed_dependency="proceed")
    town.tick(event("bead_cancelled", bead=rework, event_id="gave-up-1", at=T + 5 * SECOND), at=T + 5 * SECOND)
    report = town.tick(at=T + 30 * SECOND)
    assert deeds(report, of="reviews") == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: hook_agent f m",
        "reviews.dispatch_refinery: dispatch_agent f m",
    ]
    assert outbox(town, "notify_mayor") == []


@scenario(205)
@pytest.mark.parametrize(
    ("town", "agent", "generation"),
    [
        (a_town_at_work(), "p", None),
        (a_town_in_review(status="idle", hook=None).agent("p", status="working", hook="m"), "p", None),
        (a_town_in_review(status="idle", hook=None), "f", None),
        (a_town_in_review(), "f", 1),
        (a_town_in_review("closed"), "f", None),
    ],
    ids=["a polecat", "a polecat on a review", "an unhooked refinery", "an old generation", "a review that is over"],
)
def test_only_the_refinery_that_reviews_now_asks_for_changes(
    town: TownBuilder, agent: str, generation: int | None
) -> None:
    wish = {"feedback": "please test it"} | ({} if generation is None else {"generation": generation})
    report = town.tick(event("changes_requested", wish, agent=agent))
    assert outcomes(report) == [("changes_requested", "skipped: not reviewing")]
    assert beads_labelled(town, "gt:rework") == []


# --- agent_completed --------------------------------------------------------------------------------------


@scenario(132)
def test_exits_of_an_old_generation_burn_nothing() -> None:
    town = a_town_at_work(dispatch_attempts=1)
    told = [
        event("agent_completed", {"status": "failed", "generation": 1}, agent="p", event_id=f"exit-{number:04}")
        for number in range(20)
    ]
    report = town.tick(*told)
    assert outcomes_of(report, "agent_completed") == ["skipped: stale generation"] * 20
    assert (town.status("b"), town.doing("p"), deeds(report)) == ("in_progress", ("working", "b"), [])
    assert town.one("beads", "b", "dispatch_attempts") == 0
    assert town.one("agent_metadata", "p", "dispatch_attempts") == 1


@scenario(132)
@pytest.mark.parametrize("generation", [2, 3])
def test_an_exit_of_the_present_generation_counts(generation: int) -> None:
    town = a_town_at_work()
    report = town.tick(event("agent_completed", {"status": "failed", "generation": generation}, agent="p"))
    assert outcomes(report) == [("agent_completed", "applied")]
    assert (town.status("b"), town.doing("p")) == ("failed", ("idle", None))


@scenario(133)
def test_an_agent_that_failed_fails_its_bead() -> None:
    town = a_town_at_work()
    report = town.tick(event("agent_completed", {"status": "failed", "reason": "no idea"}, agent="p"))
    assert outcomes(report) == [("agent_completed", "applied")]
    assert (town.status("b"), town.doing("p")) == ("failed", ("idle", None))
    assert failure_of(town, "b") == ("agent_failed", "no idea", "agent")


@scenario(133)
def test_an_evicted_agent_that_beat_just_now_may_still_be_done() -> None:
    town = a_town_at_work(last_activity_at=ago(seconds=10))
    town.tick(event("agent_completed", {"status": "completed", "reason": "container eviction"}, agent="p"))
    assert (town.status("b"), town.doing("p")) == ("in_progress", ("idle", None))
    late = event("agent_done", {**BRANCH, "generation": 2}, agent="p", at=T + 5 * SECOND)
    assert outcomes(town.tick(late, at=T + 5 * SECOND)) == [("agent_done", "applied")]
    assert (town.status("b"), len(reviews(town))) == ("in_review", 1)


@scenario(133)
@pytest.mark.parametrize(
    ("silent_ms", "reopened"),
    [(89_999, False), (90_000, False), (90_001, True), (91_000, True)],
    ids=[*BOUNDARY, "91 s"],
)
def test_an_evicted_agent_that_was_silent_gives_its_bead_back(silent_ms: int, reopened: bool) -> None:
    town = a_town_at_work(last_activity_at=ago(ms=silent_ms))
    town.update("beads", "b", last_dispatch_attempt_at=ago(seconds=20))
    report = town.tick(event("agent_completed", {"status": "completed", "reason": "container eviction"}, agent="p"))
    assert outcomes(report) == [("agent_completed", "applied")]
    assert (town.status("b"), town.doing("p")) == ("open" if reopened else "in_progress", ("idle", None))
    assert town.one("beads", "b", "assignee_agent_bead_id") == (None if reopened else "p")


@scenario(133)
def test_any_other_end_leaves_the_bead_to_the_rules() -> None:
    town = a_town_at_work(last_activity_at=ago(seconds=91), dispatch_attempts=3)
    town.tick(event("agent_completed", {"status": "completed", "reason": "idle"}, agent="p"))
    assert (town.status("b"), town.doing("p")) == ("in_progress", ("idle", None))
    assert town.one("agent_metadata", "p", "dispatch_attempts") == 0
    assert audits(town, "b", "agent_exited") == [(None, "completed")]


@scenario(134)
def test_a_refinery_that_ends_between_two_turns_keeps_its_review() -> None:
    town = a_town_in_review(dispatch_attempts=3)
    report = town.tick(event("agent_completed", {"status": "completed"}, agent="f"))
    assert outcomes(report) == [("agent_completed", "applied")]
    assert (town.status("m"), town.doing("f")) == ("in_progress", ("working", "m"))
    assert town.one("agent_metadata", "f", "dispatch_attempts") == 3
    assert deeds(report) == []


@scenario(134)
@pytest.mark.parametrize(("status", "becomes"), [("working", "idle"), ("stalled", "idle"), ("dead", "dead")])
def test_a_refinery_that_ends_without_a_review_rests(status: str, becomes: str) -> None:
    town = a_town().agent("f", "refinery", status, stalled_at=ago(minutes=1) if status == "stalled" else None)
    town.tick(event("agent_completed", {"status": "completed"}, agent="f"))
    assert town.doing("f") == (becomes, None)


@scenario(134)
def test_an_end_of_an_agent_that_nobody_knows_is_skipped_and_one_without_agent_is_the_mayors() -> None:
    town = a_town().update("agent_metadata", "mayor", status="working")
    report = town.tick(
        event("agent_completed", {"status": "completed"}, agent="nobody"),
        event("agent_completed", {"status": "completed"}),
    )
    assert outcomes_of(report, "agent_completed") == ["skipped: missing", "applied"]
    assert town.doing("mayor") == ("idle", None)


# --- agent_heartbeat ------------------------------------------------------------------------------------------


@scenario(135)
@pytest.mark.parametrize(
    ("status", "hook", "becomes"),
    [
        ("idle", "b", "working"),
        ("working", "b", "working"),
        ("stalled", "b", "stalled"),
        ("dead", "b", "dead"),
        ("idle", None, "idle"),
    ],
)
def test_what_a_heartbeat_makes_of_an_agent(status: str, hook: str | None, becomes: str) -> None:
    stalled_at = ago(minutes=1) if status == "stalled" else None
    town = a_town_at_work(
        status=status, hook=hook, generation=2, stalled_at=stalled_at, last_activity_at=ago(seconds=60)
    )
    report = town.tick(beat("p", T, generation=2))
    assert outcomes(report) == [("agent_heartbeat", "applied")]
    assert (town.doing("p"), town.one("agent_metadata", "p", "last_activity_at")) == ((becomes, hook), text(T))
    assert town.rows("SELECT * FROM town_events") == []


@scenario(135)
def test_a_heartbeat_makes_an_idle_mayor_work() -> None:
    town = a_town()
    town.tick(beat("mayor", T))
    assert town.doing("mayor") == ("working", None)


@scenario(135)
def test_a_heartbeat_of_an_old_generation_changes_nothing() -> None:
    town = a_town_at_work(status="idle", last_activity_at=ago(seconds=60), last_dispatch_outcome="pending")
    before = town.rows("SELECT * FROM agent_metadata ORDER BY bead_id")
    report = town.tick(beat("p", T, generation=1, container_instance_id="other"))
    assert outcomes(report) == [("agent_heartbeat", "skipped: stale generation")]
    assert town.rows("SELECT * FROM agent_metadata ORDER BY bead_id") == before
    assert town.value("container_instance_id") is None


@scenario(136)
def test_a_heartbeat_counts_from_when_it_was_received_and_never_backwards() -> None:
    town = a_town_at_work(last_activity_at=ago(minutes=5))
    first = town.tick(beat("p", ago(seconds=80), generation=2))
    assert outcomes(first) == [("agent_heartbeat", "applied")]
    assert town.one("agent_metadata", "p", "last_activity_at") == text(ago(seconds=80))
    assert town.doing("p") == ("working", "b")
    second = town.tick(beat("p", ago(seconds=85), generation=2), at=T + 5 * SECOND)
    assert outcomes(second) == [("agent_heartbeat", "applied")]
    assert town.one("agent_metadata", "p", "last_activity_at") == text(ago(seconds=80))


@scenario(136)
def test_a_heartbeat_from_a_clock_that_goes_fast_does_not_reach_into_the_future() -> None:
    town = a_town_at_work()
    town.tick(beat("p", T + timedelta(hours=1), generation=2))
    assert town.one("agent_metadata", "p", "last_activity_at") == text(T)


# --- container_status -------------------------------------------------------------------------------------------


def recorded(town: TownBuilder) -> list[str]:
    """The statuses that became events, in order."""
    return [payload["status"] for _, payload in town.heard("container_status")]


@scenario(137)
def test_a_process_that_runs_is_never_an_event_not_even_a_thousand_times() -> None:
    town, names = a_town(), [f"p{number:02}" for number in range(20)]
    for name in names:
        town.bead(f"b-{name}", "issue", "in_progress").agent(
            name, status="working", hook=f"b-{name}", observed_status="stopping"
        )
    reports = []
    for number in range(1000 // len(names)):
        at = T + number * SECOND
        reports.append(town.tick(at=at, seen={name: ProcessStatus("running", None, 1) for name in names}))
    assert [outcomes(report) for report in reports] == [[]] * 50
    assert recorded(town) == []
    assert town.rows("SELECT DISTINCT status, observed_status FROM agent_metadata WHERE role = 'polecat'") == [
        ("working", None)
    ]


@scenario(137)
def test_a_process_that_stays_dead_is_one_event_and_one_more_after_the_next_dispatch() -> None:
    town = a_town_at_work(last_dispatch_outcome="started")
    town.update("beads", "b", dispatch_attempts=1, last_dispatch_attempt_at=ago(seconds=20))
    at, gone = T, {"p": ProcessStatus("exited", "killed", 2)}
    first = town.tick(seen=gone)
    assert outcomes(first) == [("container_status", "applied")]
    for _ in range(9):
        at += 5 * SECOND
        assert outcomes_of(town.tick(at=at, seen=gone), "container_status") == []
    assert recorded(town) == ["exited"]
    while town.one("agent_metadata", "p", "generation") == 2:
        at += 5 * SECOND
        town.tick(at=at, seen=gone)
    assert recorded(town) == ["exited"]
    assert town.doing("p") == ("working", "b")
    for _ in range(10):
        at += 5 * SECOND
        town.tick(at=at, seen={"p": ProcessStatus("exited", "killed", 3)})
    assert recorded(town) == ["exited", "exited"]


@scenario(137)
@pytest.mark.parametrize("status", ["idle", "dead"])
def test_what_became_of_the_process_of_an_agent_that_rests_is_no_news(status: str) -> None:
    town = a_town_at_work(status=status)
    pushed = event("container_status", {"status": "exited", "generation": 2}, agent="p", event_id="pushed-1")
    report = town.tick(pushed, seen={"p": ProcessStatus("exited", None, 2)})
    assert (outcomes(report), recorded(town)) == ([("container_status", "skipped: filtered")], ["exited"])
    assert town.one("agent_metadata", "p", "observed_status") is None


@scenario(137)
def test_a_pushed_status_passes_the_same_filter() -> None:
    town = a_town_at_work()
    pushed = [
        event("container_status", {"status": status, "generation": 2}, agent="p", event_id=f"pushed-{number}")
        for number, status in enumerate(["running", "stopping", "stopping", "running", "stopping"], start=1)
    ]
    report = town.tick(*pushed)
    filtered, applied = "skipped: filtered", "applied"
    assert outcomes_of(report, "container_status") == [filtered, applied, filtered, filtered, applied]
    assert town.doing("p") == ("working", "b")


@scenario(138)
def test_a_process_that_exited_leaves_its_agent_idle_with_its_hook_at_once() -> None:
    town = a_town_at_work(last_dispatch_outcome="started", last_dispatch_bead_id="b")
    report = town.tick(seen={"p": ProcessStatus("exited", "137", 2)})
    assert outcomes(report) == [("container_status", "applied")]
    assert town.doing("p") == ("idle", "b")
    assert town.one("agent_metadata", "p", "last_dispatch_outcome", "observed_status") == ("lost", "exited")
    assert (town.status("b"), town.one("beads", "b", "last_dispatch_failed_at")) == ("in_progress", text(T))
    assert audits(town, "b", "agent_exited") == [(None, "exited")]


@scenario(138)
@pytest.mark.parametrize(("age", "missed"), [(179_999, False), (180_000, True), (180_001, True)], ids=BOUNDARY)
def test_a_process_that_was_heard_of_a_moment_ago_is_not_missing_yet(age: int, missed: bool) -> None:
    town = a_town_at_work(last_activity_at=ago(ms=age))
    town.key("drain", {"nonce": "n", "started_at": text(ago(minutes=1))})
    report = town.tick(seen={"p": ProcessStatus("not_found")})
    assert outcomes(report) == ([("container_status", "applied")] if missed else [])
    assert recorded(town) == (["not_found"] if missed else [])
    # A8 takes the hook of an agent that is missing and silent in the same pass.
    assert town.doing("p") == (("idle", None) if missed else ("working", "b"))
    assert deeds(report, of="agents") == (
        ["agents.recover_silent_hook: unhook_agent p", "agents.recover_silent_hook: transition_bead b open"]
        if missed
        else []
    )
    assert town.one("agent_metadata", "p", "observed_status") == ("not_found" if missed else None)


@scenario(138)
@pytest.mark.parametrize("status", ["unknown", "starting", "stopping", "stopped", "failed", "error"])
def test_other_statuses_of_a_process_are_recorded_and_change_nothing(status: ProcessState) -> None:
    town = a_town_at_work()
    report = town.tick(seen={"p": ProcessStatus(status, None, 2)})
    assert (outcomes(report), recorded(town)) == ([("container_status", "applied")], [status])
    assert (town.doing("p"), town.status("b")) == (("working", "b"), "in_progress")


@scenario(138)
@pytest.mark.parametrize("status", ["exited", "not_found", "stopped", "failed", "error"])
def test_a_mayor_whose_process_is_gone_becomes_idle(status: ProcessState) -> None:
    town = a_town().update("agent_metadata", "mayor", status="working", last_activity_at=ago(minutes=4))
    report = town.tick(seen={"mayor": ProcessStatus(status)})
    assert outcomes(report) == [("container_status", "applied")]
    assert town.doing("mayor") == ("idle", None)


@scenario(138)
def test_a_refinery_that_is_gone_after_its_review_was_over_is_unhooked() -> None:
    town = a_town_in_review("closed", checkpoint='{"at":1}')
    report = town.tick(seen={"f": ProcessStatus("exited", None, 2)})
    assert outcomes(report) == [("container_status", "applied")]
    assert (town.doing("f"), town.one("agent_metadata", "f", "checkpoint")) == (("idle", None), None)
    assert actions(report, rule="reviews.release_finished_refinery") == []


@scenario(138)
def test_a_polecat_that_is_gone_after_its_bead_was_over_is_left_to_the_rule() -> None:
    town = a_town_at_work()
    town.update("beads", "b", status="closed")
    report = town.tick(seen={"p": ProcessStatus("exited", None, 2)})
    assert deeds(report, of="agents") == [
        "agents.drop_finished_hook: unhook_agent p",
        "agents.drop_finished_hook: clear_agent_checkpoint p (skipped: already)",
    ]
    assert town.doing("p") == ("idle", None)


@scenario(138)
@pytest.mark.parametrize(
    ("outcome", "generation", "heard"),
    [("pending", None, False), ("started", None, True), ("started", 1, False), ("pending", 2, True)],
)
def test_a_status_of_an_earlier_process_is_not_taken_for_this_one(
    outcome: str, generation: int | None, heard: bool
) -> None:
    town = a_town_at_work(last_dispatch_outcome=outcome)
    report = town.tick(seen={"p": ProcessStatus("exited", None, generation)})
    assert outcomes(report) == ([("container_status", "applied")] if heard else [])
    assert town.doing("p") == ("idle" if heard else "working", "b")


@scenario(138)
def test_a_pushed_status_of_an_old_generation_or_an_unknown_agent_is_skipped() -> None:
    town = a_town_at_work()
    report = town.tick(
        event("container_status", {"status": "exited", "generation": 1}, agent="p"),
        event("container_status", {"status": "exited"}, agent="nobody"),
    )
    assert outcomes_of(report, "container_status") == ["skipped: stale generation", "skipped: missing"]
    assert town.doing("p") == ("working", "b")

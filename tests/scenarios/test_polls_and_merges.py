"""Scenarios 86 to 102: what polls of a pull request find, what follows from it, and how it is merged."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.report import TickReport
from shared.domain.times import from_text, to_text
from shared.ports.forge import Feedback, NotMerged
from tests.scenarios.outside import (
    AWAITING,
    CLEAN,
    COMMENTS,
    DIRTY,
    FAILING,
    GREEN,
    PR,
    Polling,
    answer,
    audits,
    beads_labelled,
    effects,
    escalations,
    outcomes_of,
    review_column,
)
from tests.scenarios.stories import BOUNDARY, deeds, outbox
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, actions, ago, event, outcome_of, text, types_of
from tests.worlds import World, a_world

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
AUTO_MERGE = {"auto_merge_delay_minutes": 5}


def a_town_polling(refinery: dict[str, Any] | None = None, **metadata: Any) -> TownBuilder:
    """B is in review as M, whose pull request is polled; M carries the given metadata. Its head was seen before."""
    town = a_town().config(refinery=refinery or {})
    town.bead("b", "issue", "in_review", assignee_agent_bead_id="p")
    known: dict[str, Any] = {
        "head_sha": "sha-1",
        "head_seen_at": to_text(ago(hours=1)),
        "changed_at": to_text(ago(minutes=5)),
    }
    known = {**known, **metadata}
    known.setdefault("review_passed_head", known["head_sha"])
    return town.review("m", "in_progress", of="b", pr_url=PR, metadata=known, created_by="p")


def polls(refinery: dict[str, Any] | None = None, **metadata: Any) -> Polling:
    """The same, with what each poll is answered."""
    return Polling(a_town_polling(refinery, **metadata))


def names_of(poll: Polling) -> list[str]:
    """The business events of all answered polls."""
    return [told.name for report in poll.answered for told in report.business_events]


# --- polls that bring no answer ------------------------------------------------------------------------


@scenario(86)
def test_without_a_token_the_review_waits_and_says_after_half_an_hour_what_to_set() -> None:
    poll = polls()
    assert outcomes_of(poll.fails("no_token"), "pr_polled") == ["applied"]
    assert (poll.town.status("m"), poll.town.metadata("m")["obstacle"]) == ("in_progress", "forge_denied")
    assert poll.town.waiting()["forge_denied"] == 1
    asked = T + 5 * SECOND + 30 * MINUTE
    assert deeds(poll.town.tick(at=asked - MS), of="reviews") == []
    poll.at = asked
    poll.fails("no_token")
    metadata = poll.town.metadata("m")
    assert (metadata["failureReason"], metadata["failureKind"]) == ("pr_poll_failed", "no_token")
    assert PR in metadata["failureMessage"]
    assert "Store one" in metadata["failureMessage"]
    assert escalations(poll.town) == [("high", "forge_denied")]
    assert (poll.town.status("m"), poll.town.status("b")) == ("in_progress", "in_review")


@scenario(86)
@pytest.mark.parametrize(
    ("kind", "more", "ends"),
    [
        ("unrecognized_url", {}, True),
        ("host_mismatch", {}, True),
        ("http", {"http_status": 404}, False),
        ("http", {"http_status": 401}, False),
        ("http", {"http_status": 403}, False),
        ("http", {"http_status": 500}, False),
        ("http", {"http_status": 429}, False),
        ("http", {"http_status": 403, "retry_at": "2026-01-10T12:10:00.000Z"}, False),
    ],
)
def test_only_an_address_that_can_never_be_read_fails_a_review(kind: str, more: dict[str, Any], ends: bool) -> None:
    poll = polls(head_sha=None)
    poll.fails(kind, **more)
    assert poll.town.status("m") == ("failed" if ends else "in_progress")
    assert ("note_for_next" in poll.town.metadata("b")) == ends


@scenario(86)
@pytest.mark.parametrize("kind", ["unrecognized_url", "host_mismatch"])
def test_a_rig_that_moved_to_another_forge_fails_no_review_that_was_read_before(kind: str) -> None:
    poll = polls(auto_merge_pending=1)
    poll.fails(kind)
    metadata = poll.town.metadata("m")
    assert (poll.town.status("m"), metadata["obstacle"]) == ("in_progress", "wrong_repository")
    assert "auto_merge_pending" not in metadata
    assert poll.town.waits(poll.at)["m"].reason == "wrong_repository"
    poll.sees(**CLEAN, feedback=GREEN)
    assert poll.town.metadata("m").get("obstacle") != "wrong_repository"


@scenario(86)
def test_a_token_of_the_deployment_alerts_those_who_run_it_and_no_town() -> None:
    poll = polls()
    alerts = []
    for _ in range(4):
        report = poll.fails("no_token", is_platform=True, secret="platform/forges/github.com")
        alerts += [(alert.kind, alert.extra["secret"]) for alert in report.alerts]
        poll.at = from_text(poll.town.metadata("m")["poll_not_before"])
    assert alerts == [("forge_token", "platform/forges/github.com")]
    assert (escalations(poll.town), effects(poll.town, "notify_mayor")) == ([], [])
    assert (poll.town.status("m"), poll.town.waiting()["forge_denied"]) == ("in_progress", 1)


@scenario(87, 88)
@pytest.mark.parametrize(("kind", "obstacle"), [("transient", "forge_down"), ("invalid_response", "forge_unreadable")])
def test_polls_that_could_not_look_back_off_and_a_person_is_told_once(kind: str, obstacle: str) -> None:
    poll, began, waits = polls(), T + 5 * SECOND, []
    for told in (0, 0, 0, 0, 0, 1, 1):
        poll.fails(kind)
        answered = poll.at - MINUTE + 5 * SECOND
        poll.at = from_text(poll.town.metadata("m")["poll_not_before"])
        waits.append((poll.at - answered) // MINUTE)
        assert len(escalations(poll.town)) == told, answered - began
    assert waits == [1, 2, 4, 8, 14, 30, 30]
    assert poll.town.waiting()[obstacle] == 1
    assert poll.town.status("m") == "in_progress"


@scenario(87)
def test_twelve_minutes_without_the_forge_leave_nothing_behind() -> None:
    poll = polls()
    for _ in range(3):
        poll.fails("transient")
        poll.at = from_text(poll.town.metadata("m")["poll_not_before"])
    poll.sees(**CLEAN)
    metadata = poll.town.metadata("m")
    left = [key for key in metadata if key.startswith(("poll_", "polls_", "failure", "episode", "obstacle"))]
    assert (left, escalations(poll.town), poll.town.value("forge_episodes")) == ([], [], {})


@scenario(87)
def test_a_review_that_could_not_be_read_for_a_week_fails_and_its_source_is_held() -> None:
    poll = polls()
    poll.fails("transient")
    poll.at = T + timedelta(days=7, seconds=-30)
    poll.fails("transient")
    assert poll.town.status("m") == "in_progress"
    poll.at = T + timedelta(days=7, seconds=40)  # a minute after the last poll
    poll.fails("transient")
    assert (poll.town.status("m"), poll.town.status("b")) == ("failed", "open")
    assert beads_labelled(poll.town, "gt:held") == [("b", "open")]


@scenario(89)
@pytest.mark.parametrize(
    ("retry_in", "waits"),
    [(timedelta(minutes=20), timedelta(minutes=20)), (timedelta(hours=5), timedelta(minutes=60))],
    ids=["20 minutes", "5 hours are taken for one"],
)
def test_a_limit_is_waited_out_without_counting_and_without_giving_up(retry_in: timedelta, waits: timedelta) -> None:
    town = a_town_polling(last_poll_at=to_text(ago(minutes=2)))
    town.tick(at=T - 5 * SECOND)
    error = {"kind": "rate_limited", "http_status": 403, "message": "slow down", "retry_at": to_text(T + retry_in)}
    report = town.tick(answer(town, "poll_pr", ok=False, error=error))
    metadata = town.metadata("m")
    assert outcomes_of(report, "pr_polled") == ["applied"]
    assert (metadata["poll_error_kind"], metadata["poll_not_before"]) == ("rate_limited", text(T + waits))
    assert [key for key in metadata if key.endswith("_count")] == []
    assert town.waiting()["rate_limited"] == 1
    ahead = [town.tick(at=T + 30 * SECOND * number) for number in range(1, int(waits.total_seconds()) // 30)]
    last_moment = town.tick(at=T + waits - MS)
    assert {deed for each in [*ahead, last_moment] for deed in deeds(each, of="reviews")} == set()
    assert deeds(town.tick(at=T + waits), of="reviews") == ["reviews.poll_pull_request: poll_pr m"]
    assert town.status("m") == "in_progress"


# --- conflicts ------------------------------------------------------------------------------------------


@scenario(90)
@pytest.mark.parametrize("state", ["unknown", None])
def test_nothing_is_decided_while_the_forge_does_not_know_yet(state: str | None) -> None:
    poll = polls(
        {"auto_resolve_pr_feedback": True, **AUTO_MERGE}, has_conflicts=1, awaiting_approval=1, head_sha="sha-1"
    )
    before = poll.town.metadata("m")
    seen = {**CLEAN, "mergeable_state": state} if state else {key: CLEAN[key] for key in ("ok", "state", "head_sha")}
    report = poll.sees(feedback=COMMENTS, **seen)
    assert [each.event_type for each in report.events] == ["pr_polled"]
    assert poll.town.rows("SELECT * FROM town_events") == []
    assert {**poll.town.metadata("m"), "last_poll_at": None} == {**before, "last_poll_at": None}
    assert (review_column(poll.town, "auto_merge_ready_since"), report.business_events) == (None, ())


@scenario(91)
def test_a_conflict_is_given_to_one_agent_and_forgotten_when_it_is_gone() -> None:
    poll = polls(AUTO_MERGE)
    poll.sees(feedback=GREEN, **CLEAN)
    assert review_column(poll.town, "auto_merge_ready_since") == text(T + 5 * SECOND)
    first = poll.sees(feedback=GREEN, **DIRTY)
    second = poll.sees(feedback=GREEN, **DIRTY)
    assert [outcomes_of(each, "pr_conflict_detected") for each in (first, second)] == [["applied"], []]
    assert review_column(poll.town, "auto_merge_ready_since") is None
    assert poll.town.metadata("m")["has_conflicts"] == 1
    ((conflict, _),) = beads_labelled(poll.town, "gt:pr-conflict")
    assert poll.town.one("beads", conflict, "title", "parent_bead_id", "rig_id") == (
        "Resolve conflicts: m",
        "m",
        "rig-1",
    )
    assert poll.town.rows(
        "SELECT bead_id, dependency_type FROM bead_dependencies WHERE depends_on_bead_id = ?", conflict
    ) == [("m", "blocks")]
    assert poll.town.metadata(conflict) == {
        "mr_bead_id": "m",
        "pr_url": PR,
        "branch": "gt/toast/1",
        "target_branch": "main",
    }
    poll.sees(feedback=GREEN, **CLEAN)
    assert [key for key in poll.town.metadata("m") if "conflicts" in key] == []


@scenario(91)
@pytest.mark.parametrize(
    ("state", "forgotten"),
    [("clean", True), ("blocked", True), ("has_hooks", True), ("behind", False), ("unstable", False), ("draft", False)],
)
def test_only_a_state_that_knows_of_no_conflict_clears_the_flag(state: str, forgotten: bool) -> None:
    poll = polls(has_conflicts=1, conflicts_detected_at=to_text(ago(hours=1)))
    poll.sees(**{**CLEAN, "mergeable_state": state})
    assert ("has_conflicts" in poll.town.metadata("m")) is not forgotten


@scenario(92)
@pytest.mark.lengthy
def test_five_failed_attempts_at_a_conflict_end_in_one_escalation_and_no_more() -> None:
    poll = polls()
    poll.every = 5 * MINUTE
    made, told = 0, []
    for _ in range(5 + 40):
        report = poll.sees(**DIRTY)
        told += outcomes_of(report, "pr_conflict_detected")
        live = [
            bead for bead, status in beads_labelled(poll.town, "gt:pr-conflict") if status not in ("closed", "failed")
        ]
        made += len(live)
        if live:
            poll.town.tick(
                event("bead_cancelled", bead=live[0], event_id=f"gave-up-{live[0]}"),
                at=poll.at - poll.every + 10 * SECOND,
            )
    assert made == 5
    assert [status for _, status in beads_labelled(poll.town, "gt:pr-conflict")] == ["failed"] * 5
    assert told == ["applied"] * 6
    assert escalations(poll.town) == [("high", "conflict_cap")]
    assert [row[1] for row in outbox(poll.town, "notify_mayor")] == ["cap:m"]
    assert poll.town.metadata("m")["conflict_cap_escalated"] == 1
    assert poll.town.status("m") == "in_progress"


@scenario(93)
def test_where_agents_shall_not_resolve_conflicts_a_person_is_asked_once() -> None:
    poll = polls({"auto_resolve_merge_conflicts": False})
    reports = [poll.sees(**DIRTY) for _ in range(10)]
    assert [outcomes_of(report, "pr_conflict_detected") for report in reports] == [["applied"], *[[]] * 9]
    assert escalations(poll.town) == [("high", "merge_conflict")]
    ((request, _),) = beads_labelled(poll.town, "gt:triage-request")
    assert poll.town.metadata(request)["triage_type"] == "escalation"
    assert beads_labelled(poll.town, "gt:pr-conflict") == []


@scenario(93)
def test_an_override_of_the_rig_decides_who_resolves_conflicts() -> None:
    town = a_town_polling({"auto_resolve_merge_conflicts": False})
    town.update("rigs", "rig-1", config={"auto_resolve_merge_conflicts": True})
    poll = Polling(town)
    poll.sees(**DIRTY)
    assert len(beads_labelled(town, "gt:pr-conflict")) == 1
    assert escalations(town) == []


# --- feedback -------------------------------------------------------------------------------------------


@scenario(94)
@pytest.mark.lengthy
def test_comments_that_do_not_end_are_answered_five_times_and_then_a_person_is_asked_once() -> None:
    poll = polls({"auto_resolve_pr_feedback": True})
    poll.every = 5 * MINUTE
    told = []
    for _ in range(5 + 40):
        report = poll.sees(feedback=COMMENTS, **CLEAN)
        told += outcomes_of(report, "pr_feedback_detected")
        for bead, status in beads_labelled(poll.town, "gt:pr-feedback"):
            if status not in ("closed", "failed"):
                done = event("bead_cancelled", {"cancel_status": "closed"}, bead=bead, event_id=f"answered-{bead}")
                poll.town.tick(done, at=poll.at - poll.every + 10 * SECOND)
    assert [status for _, status in beads_labelled(poll.town, "gt:pr-feedback")] == ["closed"] * 5
    assert told == ["applied"] * 6
    assert escalations(poll.town) == [("high", "feedback_cap")]
    assert [row[1] for row in outbox(poll.town, "notify_mayor")] == ["cap:m"]
    assert poll.town.metadata("m")["feedback_cap_escalated"] == 1


@scenario(94)
@pytest.mark.parametrize(
    ("seen", "named"),
    [
        (COMMENTS, "unresolved comments"),
        (FAILING, "failing checks"),
        ({**GREEN, "has_unchecked_runs": True}, "checks that did not run"),
        ({**COMMENTS, "has_failing_checks": True}, "unresolved comments, failing checks"),
    ],
)
def test_a_feedback_bead_says_what_was_found_and_blocks_its_review(seen: dict[str, Any], named: str) -> None:
    poll = polls({"auto_resolve_pr_feedback": True})
    poll.sees(feedback=seen, **CLEAN)
    ((bead, _),) = beads_labelled(poll.town, "gt:pr-feedback")
    assert poll.town.one("beads", bead, "title", "body", "parent_bead_id", "rig_id") == (
        "PR feedback: m",
        f"Resolve on {PR}: {named}.",
        "m",
        "rig-1",
    )
    edges = poll.town.rows("SELECT bead_id, dependency_type FROM bead_dependencies WHERE depends_on_bead_id = ?", bead)
    assert edges == [("m", "blocks")]
    assert review_column(poll.town, "last_feedback_check_at") == text(T + 5 * SECOND)


@scenario(94)
def test_the_mayor_is_told_of_the_cap_by_the_event_itself() -> None:
    poll = polls({"auto_resolve_pr_feedback": True})
    for number in range(5):
        poll.town.bead(f"feedback-{number}", "issue", "closed", labels=["gt:pr-feedback"], parent_bead_id="m")
    report = poll.sees(feedback=COMMENTS, **CLEAN)
    assert deeds(report, of="event:pr_feedback_detected") == ["event:pr_feedback_detected: notify_mayor cap:m"]


@scenario(94)
def test_feedback_is_left_to_people_unless_agents_are_wanted_for_it() -> None:
    poll = polls(AUTO_MERGE)
    report = poll.sees(feedback=COMMENTS, **CLEAN)
    assert (outcomes_of(report, "pr_feedback_detected"), beads_labelled(poll.town, "gt:pr-feedback")) == ([], [])


@scenario(95)
def test_comments_on_a_conflicting_pull_request_go_to_the_agent_that_has_the_conflict() -> None:
    poll = polls({"auto_resolve_pr_feedback": True})
    poll.sees(**DIRTY)
    ((conflict, _),) = beads_labelled(poll.town, "gt:pr-conflict")
    report = poll.sees(feedback=COMMENTS, **CLEAN)
    assert outcomes_of(report, "pr_feedback_detected") == ["applied"]
    assert poll.town.metadata(conflict)["has_feedback"] == 1
    assert beads_labelled(poll.town, "gt:pr-feedback") == []


@scenario(95)
def test_a_conflict_of_a_pull_request_with_comments_goes_to_the_agent_that_has_the_comments() -> None:
    poll = polls({"auto_resolve_pr_feedback": True})
    poll.sees(feedback=COMMENTS, **CLEAN)
    ((feedback, _),) = beads_labelled(poll.town, "gt:pr-feedback")
    reports = [poll.sees(**DIRTY) for _ in range(3)]
    assert [outcomes_of(report, "pr_conflict_detected") for report in reports] == [["applied"], [], []]
    assert poll.town.metadata(feedback)["has_conflicts"] == 1
    assert poll.town.metadata(feedback)["conflict_target_branch"] == "main"
    assert beads_labelled(poll.town, "gt:pr-conflict") == []


@scenario(95)
def test_comments_are_answered_even_while_a_person_must_approve() -> None:
    poll = polls({"auto_resolve_pr_feedback": True})
    poll.sees(feedback={**COMMENTS, "awaiting_approval": True}, **CLEAN)
    assert poll.town.metadata("m")["awaiting_approval"] == 1
    assert len(beads_labelled(poll.town, "gt:pr-feedback")) == 1


# --- all green --------------------------------------------------------------------------------------------


@scenario(96)
@pytest.mark.parametrize(("green_for", "merged"), [(299_999, False), (300_000, True), (300_001, True)], ids=BOUNDARY)
def test_what_was_green_for_five_minutes_is_merged_in_the_tick_that_sees_it(green_for: int, merged: bool) -> None:
    town = a_town_polling(AUTO_MERGE)
    town.update("review_metadata", "m", auto_merge_ready_since=ago(ms=green_for))
    town.tick(at=T - SECOND)
    report = town.tick(answer(town, "poll_pr", feedback=GREEN, **CLEAN))
    assert outcomes_of(report, "pr_auto_merge") == (["applied"] if merged else [])
    assert deeds(report, of="reviews") == (["reviews.merge_pull_request: merge_pr m"] if merged else [])
    assert town.metadata("m").get("auto_merge_pending") == (1 if merged else None)
    assert review_column(town, "auto_merge_ready_since") == text(ago(ms=green_for))


@scenario(96)
def test_without_a_delay_the_first_green_poll_merges() -> None:
    poll = polls({"auto_merge_delay_minutes": 0})
    report = poll.sees(feedback=GREEN, **CLEAN)
    assert outcomes_of(report, "pr_auto_merge") == ["applied"]
    assert deeds(report, of="reviews") == ["reviews.merge_pull_request: merge_pr m"]


@scenario(96)
@pytest.mark.parametrize("refinery", [{"auto_merge_delay_minutes": None}, {"auto_merge": False, **AUTO_MERGE}])
def test_where_nothing_is_merged_automatically_a_green_pull_request_stays_open(refinery: dict[str, Any]) -> None:
    poll = polls(refinery)
    reports = [poll.sees(feedback=GREEN, **CLEAN) for _ in range(20)]
    assert [outcomes_of(report, "pr_auto_merge") for report in reports] == [[]] * 20
    assert review_column(poll.town, "auto_merge_ready_since") is None
    assert effects(poll.town, "merge_pr") == []


@scenario(96)
def test_an_override_of_the_rig_merges_at_once() -> None:
    town = a_town_polling(AUTO_MERGE)
    town.update("rigs", "rig-1", config={"auto_merge_delay_minutes": 0})
    assert outcomes_of(Polling(town).sees(feedback=GREEN, **CLEAN), "pr_auto_merge") == ["applied"]


@scenario(96)
@pytest.mark.parametrize(
    ("status", "outcome"),
    [("in_progress", "applied"), ("closed", "skipped: terminal"), ("failed", "skipped: terminal")],
)
def test_only_a_live_review_is_merged(status: str, outcome: str) -> None:
    town = a_town_polling(last_poll_at=to_text(T))
    town.update("beads", "m", status=status)
    report = town.tick(event("pr_auto_merge", {"pr_url": PR}, bead="m"))
    assert outcomes_of(report, "pr_auto_merge") == [outcome]
    assert len(effects(town, "merge_pr")) == (1 if outcome == "applied" else 0)


@scenario(97)
@pytest.mark.parametrize(
    "red",
    [FAILING, COMMENTS, AWAITING, {**GREEN, "all_checks_pass": False}, {**GREEN, "changes_requested": True}],
    ids=["failing check", "comment", "approval", "check not done", "changes requested"],
)
def test_whatever_stands_in_the_way_of_a_merge_starts_the_timer_anew(red: dict[str, Any]) -> None:
    poll = polls(AUTO_MERGE, auto_merge_pending=1)
    poll.town.update("review_metadata", "m", auto_merge_ready_since=ago(minutes=4))
    poll.sees(feedback=red, **CLEAN)
    assert review_column(poll.town, "auto_merge_ready_since") is None
    assert "auto_merge_pending" not in poll.town.metadata("m")
    anew = poll.at + 5 * SECOND
    merged_at = [
        poll.at for _ in range(7) if outcomes_of(poll.sees(feedback=GREEN, **CLEAN), "pr_auto_merge") == ["applied"]
    ]
    assert review_column(poll.town, "auto_merge_ready_since") == text(anew)
    assert merged_at == [anew + 5 * MINUTE - 5 * SECOND + MINUTE]


@scenario(98)
def test_waiting_for_approval_is_told_when_it_begins_and_when_it_ends() -> None:
    poll = polls(AUTO_MERGE)
    poll.sees(feedback=GREEN, **CLEAN)
    poll.sees(feedback={**AWAITING, "review_decision": "REVIEW_REQUIRED", "merge_state_status": "BLOCKED"}, **CLEAN)
    began = poll.at - MINUTE + 5 * SECOND
    metadata = poll.town.metadata("m")
    assert (metadata["awaiting_approval"], metadata["awaiting_approval_observed_at"]) == (1, text(began))
    assert (metadata["review_decision"], metadata["merge_state_status"]) == ("REVIEW_REQUIRED", "BLOCKED")
    assert review_column(poll.town, "auto_merge_ready_since") is None
    poll.sees(feedback=AWAITING, **CLEAN)
    last = poll.sees(feedback=GREEN, **CLEAN)
    assert names_of(poll) == ["pr.awaiting_approval_detected", "pr.awaiting_approval_resolved"]
    assert last.business_events[0].data["duration_ms"] == 120_000
    metadata = poll.town.metadata("m")
    assert (metadata["awaiting_approval"], "awaiting_approval_observed_at" in metadata) == (0, False)


# --- merging ----------------------------------------------------------------------------------------------


@scenario(99)
@pytest.mark.parametrize("known", ["77", None])
def test_nothing_is_merged_before_the_id_of_the_rigs_repository_is_known(known: str | None) -> None:
    """The names in addresses say nothing: a repository may have been renamed, or another one may have taken its name."""
    passed = {"auto_merge_pending": 1, "head_sha": "a", "review_passed_head": "a"}
    town = a_town().review("m", "in_progress", pr_url=PR, metadata=passed)
    town.update("rigs", "rig-1", git_url="https://git.example/some/where-else", forge_repository_id=known)
    first, second = town.ticks(2)
    assert types_of(first, rule="reviews.merge_pull_request") == ["merge_pr"]
    assert first.actions[-1].outcome == "applied"
    assert effects(town, "merge_pr") == ([] if known is None else [("claimed", "m", 1)])
    assert ("auto_merge_pending" in town.metadata("m")) is (known is not None)
    assert types_of(second, rule="reviews.merge_pull_request") == []


def a_world_about_to_merge(*, head_sha: str = "head-1") -> World:
    """M was judged green at a head and is to be merged; the forge shows the same pull request."""
    town = a_town_polling(AUTO_MERGE, auto_merge_pending=1, head_sha=head_sha, last_poll_at=to_text(T))
    town.update("review_metadata", "m", auto_merge_ready_since=ago(minutes=6))
    town.update("rigs", "rig-1", forge_repository_id="acme/main-rig")
    world = a_world(town)
    world.forge.opens(PR, head_sha="head-1")
    return world


def next_tick(world: World, *, after: timedelta = 5 * SECOND) -> TickReport:
    """The town's next tick, five seconds later."""
    world.clock.at += after
    report = world.run().tick
    assert report is not None
    return report


@scenario(100)
def test_a_merge_closes_the_review_and_its_source() -> None:
    world = a_world_about_to_merge()
    world.run()
    assert world.forge.pull_requests[PR].state == "merged"
    report = next_tick(world)
    assert [(each.event_type, each.outcome) for each in report.events] == [
        ("pr_merge_result", "applied"),
        ("pr_status_changed", "applied"),
    ]
    town = world.town()
    assert (town.status("m"), town.status("b"), review_column(town, "merge_commit")) == (
        "closed",
        "closed",
        "merge-of-head-1",
    )
    assert effects(town, "merge_pr") == [("done", "m", 1)]


@scenario(100)
@pytest.mark.parametrize("trouble", ["405", "head moved", "new comment"])
def test_a_merge_that_was_refused_starts_the_green_period_anew_and_polling_goes_on(trouble: str) -> None:
    world = a_world_about_to_merge()
    if trouble == "405":
        world.forge.fails("merge", NotMerged("405 Method Not Allowed"))
    elif trouble == "head moved":
        world.forge.opens(PR, head_sha="head-2")
    else:
        world.forge.opens(PR, feedback=Feedback(has_unresolved_comments=True))
    world.run()
    assert world.forge.pull_requests[PR].state == "open"
    report = next_tick(world)
    assert outcomes_of(report, "pr_merge_result") == ["applied"]
    town = world.town()
    assert (town.status("m"), effects(town, "merge_pr")) == ("in_progress", [("failed", "m", 1)])
    assert ("auto_merge_pending" in town.metadata("m"), review_column(town, "auto_merge_ready_since")) == (False, None)
    assert deeds(next_tick(world, after=MINUTE), of="reviews") == ["reviews.poll_pull_request: poll_pr m"]


@scenario(100)
def test_a_merge_whose_answer_was_lost_is_found_done_by_the_second_attempt() -> None:
    world = a_world_about_to_merge()
    world.forge.loses_answer("merge")
    world.run()
    first = next_tick(world)
    town = world.town()
    assert outcomes_of(first, "pr_merge_result") == ["applied"]
    assert effects(town, "merge_pr") == [("pending", "m", 1)]
    assert town.metadata("m")["auto_merge_pending"] == 1
    next_tick(world)
    assert effects(world.town(), "merge_pr") == [("claimed", "m", 2)]
    next_tick(world)
    town = world.town()
    assert (town.status("m"), town.status("b"), review_column(town, "merge_commit")) == (
        "closed",
        "closed",
        "merge-of-head-1",
    )
    assert [call.verb for call in world.forge.calls] == ["pull_request", "merge", "pull_request"]


@scenario(101)
@pytest.mark.parametrize("first", ["poll", "done"])
def test_a_merge_seen_twice_in_one_drain_closes_everything_once(first: str) -> None:
    town = a_town_polling().agent("f", "refinery", "working", hook="m")
    town.tick(at=T - SECOND)
    merged = answer(town, "poll_pr", ok=True, state="merged", sha="abc")
    done = event("agent_done", {"branch": "gt/toast/1"}, agent="f", event_id="done-000")
    report = town.tick(*([merged, done] if first == "poll" else [done, merged]))
    assert (town.status("m"), town.status("b"), town.doing("f")) == ("closed", "closed", ("idle", None))
    assert audits(town, "m", "status_changed") == [("in_progress", "closed")]
    assert audits(town, "b", "status_changed") == [("in_review", "closed")]
    assert outcomes_of(report, "agent_done") == ["applied"]
    assert outcomes_of(report, "pr_polled") == ["applied"]
    assert outcomes_of(report, "pr_status_changed") == ["applied"]


@scenario(102)
@pytest.mark.parametrize("status", ["failed", "closed"])
def test_a_poll_of_a_review_that_is_over_meanwhile_changes_nothing(status: str) -> None:
    town = a_town_polling()
    town.tick(at=T - SECOND)
    town.update("beads", "m", status=status)
    before = town.one("beads", "m", "status", "metadata", "updated_at")
    late = answer(town, "poll_pr", **DIRTY)
    report = town.tick(late)
    assert outcome_of(report, late.event_id) == "skipped: moved_on"
    assert town.one("beads", "m", "status", "metadata", "updated_at") == before


@scenario(102)
def test_a_poll_of_another_pull_request_than_the_present_one_changes_nothing() -> None:
    town = a_town_polling()
    town.tick(at=T - SECOND)
    town.update("review_metadata", "m", pr_url=f"{PR}7")
    late = answer(town, "poll_pr", **DIRTY)
    assert outcome_of(town.tick(late), late.event_id) == "skipped: moved_on"
    assert "has_conflicts" not in town.metadata("m")


# --- many of them --------------------------------------------------------------------------------------


def test_of_many_pull_requests_those_are_polled_first_at_which_nobody_looked_for_longest() -> None:
    town = a_town()
    for number in range(limits.POLLS_PER_TICK + 5):
        looked_at = to_text(ago(minutes=2) + number * SECOND)
        url = f"https://github.com/acme/main-rig/pull/{number + 1}"
        town.review(f"m{99 - number}", "in_progress", pr_url=url, metadata={"last_poll_at": looked_at})
    first = town.tick()
    polled = [action["bead_id"] for action in actions(first, rule="reviews.poll_pull_request")]
    assert sorted(polled) == sorted(f"m{99 - number}" for number in range(limits.POLLS_PER_TICK))
    second = town.tick(at=T + limits.ACTIVE_INTERVAL)
    rest = [action["bead_id"] for action in actions(second, rule="reviews.poll_pull_request")]
    assert sorted(rest) == sorted(
        f"m{99 - number}" for number in range(limits.POLLS_PER_TICK, limits.POLLS_PER_TICK + 5)
    )


def test_a_pull_request_that_was_never_polled_waits_no_longer_than_its_age_allows() -> None:
    town = a_town()
    for number in range(limits.POLLS_PER_TICK):
        looked_at = to_text(ago(minutes=2))
        url = f"https://github.com/acme/main-rig/pull/{number + 1}"
        town.review(f"m{number}", "in_progress", pr_url=url, metadata={"last_poll_at": looked_at})
    town.review("old", "in_progress", pr_url=PR, created_at=ago(hours=2))
    assert "old" in [action["bead_id"] for action in actions(town.tick(), rule="reviews.poll_pull_request")]

"""pr_polled, step by step (spec/actions.md section 5, scenarios 86 to 98, 101, 102)."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shared.domain.notes import BeadNotes
from shared.domain.outcomes import Applied, Skipped
from shared.domain.report import BusinessEvent
from shared.domain.states import BeadStatus, EffectKind, EffectState
from shared.domain.times import to_text
from shared.events.base import EventResult
from shared.events.polls import PrPolled
from shared.town import outbox
from shared.town.writing import beads
from tests.unit.events.small_town import PR, SmallTown, T

GREEN: dict[str, Any] = {
    "has_unresolved_comments": False,
    "has_failing_checks": False,
    "has_unchecked_runs": False,
    "all_checks_pass": True,
    "awaiting_approval": False,
    "changes_requested": False,
    "review_decision": "APPROVED",
    "merge_state_status": "CLEAN",
}
COMMENTS = {**GREEN, "has_unresolved_comments": True}
FAILING = {**GREEN, "has_failing_checks": True, "all_checks_pass": False}
AWAITING = {**GREEN, "awaiting_approval": True, "review_decision": "REVIEW_REQUIRED"}
AUTO = {"refinery": {"auto_merge_delay_minutes": 5, "auto_resolve_pr_feedback": True}}
MINUTE = timedelta(minutes=1)


def polling(config: dict[str, Any] | None = None, **review: Any) -> SmallTown:
    stage = SmallTown(AUTO if config is None else config)
    stage.merge_request(**review)
    return stage


def poll(stage: SmallTown, **answer: Any) -> EventResult:
    """One poll by the present tick and its answer."""
    effect = stage.effect(EffectKind.POLL_PR, "m", stage.town.tick.number, pr_url=PR)
    stage.later(timedelta(seconds=1))
    return stage.apply("pr_polled", bead_id="m", effect_id=effect.id, attempt=1, **answer)


def seen(stage: SmallTown, feedback: dict[str, Any] | None = None, mergeable: str | None = "clean") -> EventResult:
    given = {} if feedback is None else {"feedback": feedback}
    return poll(stage, ok=True, state="open", head_sha="h1", mergeable_state=mergeable, **given)


def fails(stage: SmallTown, kind: str, **more: Any) -> EventResult:
    return poll(stage, ok=False, error={"kind": kind, "message": "it said no", **more})


SETTLED: dict[str, Any] = {
    "head_sha": "h1",
    "review_passed_head": "h1",
    "head_seen_at": to_text(T - timedelta(hours=1)),
}
"""The notes of an MR whose head a refinery has passed, and the town has seen for long enough."""


def metadata(stage: SmallTown) -> Any:
    return stage.the_bead("m").metadata


# The poll failed


@pytest.mark.parametrize(
    ("kind", "words"),
    [("unrecognized_url", "Set the pull request's web address"), ("host_mismatch", "git_url")],
)
def test_an_address_that_can_never_be_read_fails_the_mr_at_once(kind: str, words: str) -> None:
    stage = polling()
    result = fails(stage, kind)
    bead = stage.the_bead("m")
    assert (result.outcome, result.transient) == (Applied(), False)
    assert bead.status is BeadStatus.FAILED
    assert bead.metadata["failureReason"] == "pr_poll_failed"
    assert bead.metadata["failureKind"] == kind
    message = BeadNotes.failure_message.of(bead.metadata) or ""
    assert words in message
    assert PR in message
    assert [event.name for event in stage.town.business_events] == ["pr.poll_failed"]
    assert stage.the_bead("m-source").status is BeadStatus.IN_REVIEW
    assert stage.appended() == []


@pytest.mark.parametrize(
    ("kind", "status"), [("rate_limited", 429), ("rate_limited", 403), ("http", 429), ("http", 403)]
)
def test_a_limit_waits_for_its_end_and_counts_nothing(kind: str, status: int) -> None:
    stage = polling()
    result = fails(stage, kind, http_status=status, retry_at=to_text(T + 20 * MINUTE))
    assert metadata(stage)["poll_not_before"] == to_text(T + 20 * MINUTE)
    assert metadata(stage)["poll_error_kind"] == "rate_limited"
    assert "poll_transient_count" not in metadata(stage)
    assert not result.transient


def test_a_limit_is_waited_for_an_hour_at_most() -> None:
    stage = polling()
    fails(stage, "rate_limited", retry_at=to_text(T + timedelta(hours=5)))
    assert metadata(stage)["poll_not_before"] == to_text(stage.town.tick.now + 60 * MINUTE)


def test_a_counter_that_is_no_number_starts_at_nothing() -> None:
    stage = polling(metadata={"polls_failed": "many"})
    fails(stage, "transient")
    assert metadata(stage)["polls_failed"] == 1


# It succeeded


@pytest.mark.parametrize(("state", "sha"), [("merged", "c0ffee"), ("closed", None)])
def test_a_pull_request_that_is_over_is_handed_on(state: str, sha: str | None) -> None:
    stage = polling()
    given = {} if sha is None else {"sha": sha}
    result = poll(stage, ok=True, state=state, mergeable_state="dirty", feedback=COMMENTS, **given)
    assert stage.appended() == [("pr_status_changed", "m", {"pr_url": PR, "pr_state": state, **given})]
    assert "has_conflicts" not in metadata(stage)
    assert not result.transient


@pytest.mark.parametrize("mergeable", ["unknown", None])
def test_nothing_is_decided_on_unknown(mergeable: str | None) -> None:
    stage = polling(metadata={"has_conflicts": 1}, ready_since=to_text(T))
    given = {} if mergeable is None else {"mergeable_state": mergeable}
    poll(stage, ok=True, state="open", head_sha="h1", feedback=COMMENTS, **given)
    seen_at = to_text(stage.town.tick.now)
    noted = {"head_sha": "h1", "head_seen_at": seen_at, "changed_at": seen_at}
    assert metadata(stage) == {"has_conflicts": 1, **noted}
    assert stage.the_review().auto_merge_ready_since == T
    assert stage.appended() == []


def test_a_conflict_is_noted_and_handed_on_once_while_somebody_works_on_it() -> None:
    stage = polling(ready_since=to_text(T))
    seen(stage, GREEN, mergeable="dirty")
    given = {"pr_url": PR, "branch": "gt/toast/1", "source_bead_id": "m-source"}
    assert stage.appended() == [("pr_conflict_detected", "m", given)]
    assert metadata(stage)["has_conflicts"] == 1
    assert metadata(stage)["conflicts_detected_at"] == to_text(stage.town.tick.now)
    assert stage.the_review().auto_merge_ready_since is None
    stage.edge("m", stage.bead("fix", labels=["gt:pr-conflict"]))
    assert seen(stage, GREEN, mergeable="dirty").transient
    assert stage.appended() == []


def test_a_conflict_that_nobody_works_on_any_more_is_handed_on_again() -> None:
    stage = polling(metadata={"has_conflicts": 1})
    stage.edge("m", stage.bead("fix", status="failed", labels=["gt:pr-conflict"]))
    seen(stage, mergeable="dirty")
    assert [event[0] for event in stage.appended()] == ["pr_conflict_detected"]


def test_a_feedback_bead_that_took_the_conflict_over_counts() -> None:
    stage = polling(metadata={"has_conflicts": 1})
    stage.edge("m", stage.bead("fix", labels=["gt:pr-feedback"], metadata={"has_conflicts": 1}))
    seen(stage, mergeable="dirty")
    assert stage.appended() == []


@pytest.mark.parametrize(
    ("config", "flags"),
    [({"refinery": {"auto_resolve_merge_conflicts": False}}, {}), (AUTO, {"conflict_cap_escalated": 1})],
    ids=["left to people", "over the cap"],
)
def test_a_known_conflict_is_not_repeated_where_no_agent_may_resolve_it(
    config: dict[str, Any], flags: dict[str, Any]
) -> None:
    stage = polling(config, metadata={"has_conflicts": 1, **flags})
    for _ in range(10):
        seen(stage, mergeable="dirty")
    assert stage.appended() == []


def test_the_first_sight_of_a_conflict_is_handed_on_even_if_people_resolve_it() -> None:
    stage = polling({"refinery": {"auto_resolve_merge_conflicts": False}})
    seen(stage, mergeable="dirty")
    assert [event[0] for event in stage.appended()] == ["pr_conflict_detected"]


@pytest.mark.parametrize(
    ("mergeable", "kept"),
    [("clean", False), ("blocked", False), ("has_hooks", False), ("behind", True), ("unstable", True), ("draft", True)],
)
def test_only_some_states_say_that_the_conflict_is_gone(mergeable: str, kept: bool) -> None:
    stage = polling(metadata={"has_conflicts": 1, "conflicts_detected_at": to_text(T)})
    seen(stage, mergeable=mergeable)
    assert ("has_conflicts" in metadata(stage)) is kept
    assert ("conflicts_detected_at" in metadata(stage)) is kept


def test_without_feedback_nothing_is_judged() -> None:
    stage = polling(metadata={"auto_merge_pending": 1}, ready_since=to_text(T))
    seen(stage)
    assert metadata(stage)["auto_merge_pending"] == 1
    assert stage.the_review().auto_merge_ready_since == T


def test_a_wait_for_approval_is_announced_at_its_beginning_and_its_end() -> None:
    stage = polling()
    seen(stage, AWAITING)
    assert metadata(stage)["awaiting_approval"] == 1
    assert metadata(stage)["awaiting_approval_observed_at"] == to_text(T + timedelta(seconds=1))
    seen(stage, AWAITING)
    stage.later(MINUTE)
    seen(stage, GREEN)
    assert metadata(stage)["awaiting_approval"] == 0
    assert "awaiting_approval_observed_at" not in metadata(stage)
    here = {"bead_id": "m", "pr_url": PR}
    assert stage.town.business_events == [
        BusinessEvent("pr.awaiting_approval_detected", here),
        BusinessEvent("pr.awaiting_approval_resolved", {**here, "duration_ms": 62_000}),
    ]


def test_feedback_is_handed_on_while_nobody_works_on_it() -> None:
    stage = polling()
    seen(stage, {**COMMENTS, "awaiting_approval": True})
    given = {
        "pr_url": PR,
        "branch": "gt/toast/1",
        "has_unresolved_comments": True,
        "has_failing_checks": False,
        "has_unchecked_runs": False,
    }
    assert stage.appended() == [("pr_feedback_detected", "m", given)]
    assert stage.the_review().last_feedback_check_at == stage.town.tick.now
    stage.edge("m", stage.bead("fix", labels=["gt:pr-feedback"]))
    seen(stage, COMMENTS)
    assert stage.appended() == []
    assert stage.the_review().last_feedback_check_at == stage.town.tick.now


def test_unchecked_runs_are_feedback_and_do_not_keep_a_pull_request_from_being_green() -> None:
    stage = polling({"refinery": {"auto_merge_delay_minutes": 0, "auto_resolve_pr_feedback": True}}, metadata=SETTLED)
    seen(stage, {**GREEN, "has_unchecked_runs": True})
    assert [event[0] for event in stage.appended()] == ["pr_feedback_detected", "pr_auto_merge"]


@pytest.mark.parametrize(
    ("config", "flags"),
    [({}, {}), (AUTO, {"feedback_cap_escalated": 1})],
    ids=["not wanted", "over the cap"],
)
def test_feedback_is_not_handed_on(config: dict[str, Any], flags: dict[str, Any]) -> None:
    stage = polling(config, metadata=flags)
    seen(stage, COMMENTS)
    assert stage.appended() == []
    assert (stage.the_review().last_feedback_check_at is None) is (config == {})


# Merging by itself


@pytest.mark.parametrize(
    ("waited", "merges"),
    [(5 * MINUTE - timedelta(milliseconds=1), False), (5 * MINUTE, True), (6 * MINUTE, True)],
)
def test_a_pull_request_is_merged_after_five_green_minutes(waited: timedelta, merges: bool) -> None:
    stage = polling(ready_since=to_text(T + timedelta(seconds=1) - waited), metadata=SETTLED)
    seen(stage, GREEN)
    assert stage.appended() == ([("pr_auto_merge", "m", {"pr_url": PR})] if merges else [])


def test_the_green_period_begins_with_the_first_green_poll_and_is_asked_for_once() -> None:
    stage = polling(metadata=SETTLED)
    seen(stage, GREEN)
    began = stage.town.tick.now
    assert stage.the_review().auto_merge_ready_since == began
    stage.later(5 * MINUTE)
    seen(stage, GREEN)
    assert [event[0] for event in stage.appended()] == ["pr_auto_merge"]
    beads.set_metadata(stage.town, "m", {"auto_merge_pending": 1})
    assert seen(stage, GREEN).transient
    assert stage.appended() == []
    assert stage.the_review().auto_merge_ready_since == began


@pytest.mark.parametrize(
    ("config", "override", "appended"),
    [
        ({"refinery": {"auto_merge_delay_minutes": 0}}, {}, ["pr_auto_merge"]),
        (AUTO, {"auto_merge_delay_minutes": 0}, ["pr_auto_merge"]),
        ({"refinery": {"auto_merge_delay_minutes": None}}, {}, []),
        ({"refinery": {"auto_merge": False, "auto_merge_delay_minutes": 0}}, {}, []),
    ],
    ids=["delay 0", "rig override 0", "off", "no auto merge"],
)
def test_the_delay_is_a_setting(config: dict[str, Any], override: dict[str, Any], appended: list[str]) -> None:
    stage = SmallTown(config)
    stage.rig("rig-2", config=override)
    stage.merge_request(rig_id="rig-2", ready_since=None, metadata=SETTLED)
    seen(stage, GREEN)
    assert [event[0] for event in stage.appended()] == appended


@pytest.mark.parametrize(
    "feedback",
    [
        COMMENTS,
        FAILING,
        {**GREEN, "all_checks_pass": False},
        AWAITING,
        {**GREEN, "changes_requested": True},
    ],
    ids=["comments", "failing checks", "checks not over", "awaiting approval", "changes requested"],
)
def test_what_is_not_green_starts_the_period_anew(feedback: dict[str, Any]) -> None:
    stage = polling(metadata={"auto_merge_pending": 1}, ready_since=to_text(T - 10 * MINUTE))
    seen(stage, feedback)
    assert "auto_merge_pending" not in metadata(stage)
    assert stage.the_review().auto_merge_ready_since is None
    assert "pr_auto_merge" not in [event[0] for event in stage.appended()]


def test_the_period_is_forgotten_where_merging_is_not_wanted_any_more() -> None:
    stage = polling({}, metadata={"auto_merge_pending": 1}, ready_since=to_text(T))
    seen(stage, GREEN)
    assert stage.the_review().auto_merge_ready_since is None
    assert metadata(stage)["auto_merge_pending"] == 1


# Late, stale, without news


@pytest.mark.parametrize("status", ["open", "closed", "failed"])
def test_a_poll_of_an_mr_that_moved_on_is_skipped(status: str) -> None:
    stage = polling(status=status)
    result = seen(stage, COMMENTS)
    assert result == EventResult(Skipped("moved_on"), transient=True)
    assert metadata(stage) == {}


def test_a_poll_of_another_pull_request_is_skipped() -> None:
    stage = polling(pr_url="https://git.example/acme/app/pull/8")
    assert seen(stage, COMMENTS).outcome == Skipped("moved_on")


def test_a_poll_of_a_missing_mr_settles_its_effect() -> None:
    stage = SmallTown()
    effect = stage.effect(EffectKind.POLL_PR, "m", pr_url=PR)
    result = stage.apply("pr_polled", bead_id="m", effect_id=effect.id, attempt=1, ok=True, state="open")
    assert result.outcome == Skipped("moved_on")
    assert stage.effect_row(effect.id).state is EffectState.DONE


def test_an_answer_after_the_effect_expired_is_late() -> None:
    stage = polling()
    effect = stage.effect(EffectKind.POLL_PR, "m", pr_url=PR)
    outbox.expire(stage.town, effect)
    result = stage.apply("pr_polled", bead_id="m", effect_id=effect.id, attempt=1, ok=True, state="merged")
    assert result == EventResult(Skipped("late"), transient=True)
    assert stage.appended() == []


def test_a_poll_never_touches_updated_at() -> None:
    stage = polling()
    before = stage.the_bead("m").updated_at
    seen(stage, COMMENTS)
    assert stage.the_bead("m").updated_at == before


def test_a_poll_without_news_leaves_no_row() -> None:
    stage = polling()
    assert not seen(stage, AWAITING).transient
    assert seen(stage, AWAITING).transient
    assert not seen(stage, GREEN).transient
    assert seen(stage, GREEN).transient


@pytest.mark.parametrize("answer", [{"ok": True}, {"ok": False}], ids=["ok without a state", "not ok without an error"])
def test_an_answer_that_says_nothing_cannot_be_read(answer: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PrPolled.model_validate({"effect_id": "e", "attempt": 1, **answer})


def test_a_head_of_an_earlier_release_is_seen_from_the_next_poll_on() -> None:
    stage = polling(metadata={"head_sha": "h1"})
    seen(stage)
    first = to_text(stage.town.tick.now)
    assert metadata(stage)["head_seen_at"] == first
    seen(stage)
    assert metadata(stage)["head_seen_at"] == first


# What is in the way


def requested(*authors: str | None) -> dict[str, Any]:
    requests = [{"id": f"r{number}", "author": author} for number, author in enumerate(authors)]
    return {**GREEN, "changes_requested": True, "change_requests": requests}


@pytest.mark.parametrize(
    ("authors", "detail"), [(("ann", None, "bob"), "by ann, bob"), ((None,), None)], ids=["some known", "none known"]
)
def test_requested_changes_name_those_authors_that_are_known(
    authors: tuple[str | None, ...], detail: str | None
) -> None:
    """The forge names no author whose account is deleted."""
    stage = polling(metadata=SETTLED)
    seen(stage, requested(*authors))
    assert (metadata(stage)["obstacle"], metadata(stage).get("obstacle_detail")) == ("changes_requested", detail)


def test_a_green_branch_that_falls_behind_its_base_begins_its_green_time_anew() -> None:
    stage = polling(metadata={**SETTLED, "auto_merge_pending": 1}, ready_since=to_text(T - 10 * MINUTE))
    poll(stage, ok=True, state="open", head_sha="h1", mergeable_state="clean", feedback=GREEN, is_behind=True)
    assert (stage.the_review().auto_merge_ready_since, stage.appended()) == (None, [])
    assert "auto_merge_pending" not in metadata(stage)
    assert metadata(stage)["obstacle"] == "behind_base"


@pytest.mark.parametrize(("attempts", "asked"), [(4, False), (5, True)], ids=["an attempt left", "none left"])
def test_a_pull_request_that_refineries_have_tried_often_enough_is_left_to_people(attempts: int, asked: bool) -> None:
    unreviewed = {name: value for name, value in SETTLED.items() if name != "review_passed_head"}
    stage = polling(metadata=unreviewed, dispatch_attempts=attempts)
    returned = [action.type for action in seen(stage, GREEN).returns]
    assert returned == (["escalate_review_cap"] if asked else [])
    assert stage.the_bead("m").status is (BeadStatus.IN_PROGRESS if asked else BeadStatus.OPEN)

"""What follows when the forge refuses, enqueues, updates or lets go of a pull request (spec/actions.md section 6)."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain import limits, merge_state
from shared.domain.outcomes import Applied, Skipped
from shared.domain.states import BeadStatus, EffectKind, EffectState
from shared.domain.times import to_text
from shared.town import outbox
from shared.town.writing import merging
from tests.unit.events.small_town import PR, SmallTown, T


def in_review(**metadata: Any) -> SmallTown:
    stage = SmallTown()
    stage.merge_request(metadata={"auto_merge_pending": 1, "head_sha": "a", **metadata}, ready_since=to_text(T))
    return stage


def answered(stage: SmallTown, kind: EffectKind, event_type: str, *, claims: int = 1, **given: Any) -> Any:
    """The newest effect of a kind is answered; each has another generation."""
    generation = 1 + stage.town.sql.execute("SELECT COUNT(*) FROM outbox").fetchone()[0]
    effect = stage.effect(kind, "m", generation, claims=claims, pr_url=PR)
    return stage.apply(event_type, bead_id="m", effect_id=effect.id, attempt=claims, **given).outcome


def refuse(stage: SmallTown, refusal: str = "other", **given: Any) -> Any:
    said = {"merged": False, "refusal": refusal, "reason": "no", **given}
    return answered(stage, EffectKind.MERGE_PR, "pr_merge_result", **said)


def notes(stage: SmallTown, bead_id: str = "m") -> Any:
    return stage.the_bead(bead_id).metadata


def escalated(stage: SmallTown) -> list[Any]:
    return [bead.metadata.get("cause") for bead in stage.beads_of("escalation")]


# refusals


def test_five_refusals_of_a_class_at_a_head_are_the_end_and_a_person_is_asked_once() -> None:
    stage = in_review()
    for _ in range(limits.MERGE_TRIES - 1):
        refuse(stage)
    assert (merge_state.is_refused(notes(stage)), escalated(stage)) == (False, [])
    refuse(stage)
    assert (merge_state.is_refused(notes(stage)), escalated(stage)) == (True, ["merge_refused:m"])
    assert (notes(stage)["obstacle"], notes(stage)["obstacle_detail"]) == ("merge_refused", "other: no")
    refuse(stage)
    assert escalated(stage) == ["merge_refused:m"]
    assert stage.the_bead("m").status is BeadStatus.IN_PROGRESS


def test_a_refused_head_gets_one_more_try_after_six_hours() -> None:
    stage = in_review()
    for _ in range(limits.MERGE_TRIES):
        refuse(stage)
    at = T + limits.MERGE_RETRY_AFTER
    assert not merge_state.may_try(notes(stage), at)
    assert merge_state.may_try(notes(stage), at + limits.MILLISECOND)
    stage.later(limits.MERGE_RETRY_AFTER + timedelta(minutes=1))
    refuse(stage)
    assert not merge_state.may_try(notes(stage), stage.town.tick.now + timedelta(hours=5))
    assert escalated(stage) == ["merge_refused:m"]


def test_classes_that_take_turns_are_counted_one_by_one() -> None:
    stage = in_review()
    for _ in range(limits.MERGE_TRIES - 1):
        refuse(stage, "checks")
        refuse(stage, "review")
    assert not merge_state.is_refused(notes(stage))
    refuse(stage, "checks")
    assert merge_state.is_refused(notes(stage))


def test_another_head_starts_the_counts_anew() -> None:
    stage = in_review()
    for _ in range(limits.MERGE_TRIES):
        refuse(stage)
    merging.follow_head(stage.town, stage.the_bead("m"), "b", ("a",))
    assert not merge_state.is_refused(notes(stage))
    assert not any(name.startswith("refus") for name in notes(stage))


@pytest.mark.parametrize("refusal", ["judged_anew", "base_moved"])
def test_a_race_and_a_new_judgement_are_not_counted(refusal: str) -> None:
    stage = in_review()
    for _ in range(2 * limits.MERGE_TRIES):
        refuse(stage, refusal, claims=3)
    assert not merge_state.is_refused(notes(stage))
    assert (stage.the_review().auto_merge_ready_since, "auto_merge_pending" in notes(stage)) == (None, False)


def test_a_moved_base_is_tried_again_at_once() -> None:
    stage = in_review()
    refuse(stage, "base_moved")
    [effect] = outbox.unfinished(stage.town)
    assert (effect.state, notes(stage)["auto_merge_pending"]) == (EffectState.PENDING, 1)


@pytest.mark.parametrize(
    ("error", "counted_as"),
    [
        ({"kind": "http", "http_status": 403, "message": "no"}, "rights"),
        ({"kind": "http", "http_status": 404, "message": "no"}, "rights"),
        ({"kind": "http", "http_status": 422, "message": "no"}, "other"),
        ({"kind": "transient", "message": "no"}, "other"),
        ({"kind": "invalid_response", "message": "no"}, "other"),
    ],
)
def test_an_error_counts_too_so_no_call_is_repeated_for_ever(error: dict[str, Any], counted_as: str) -> None:
    stage = in_review()
    answered(stage, EffectKind.MERGE_PR, "pr_merge_result", claims=3, merged=False, error=error)
    assert notes(stage)["refusals"] == {counted_as: 1}


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"kind": "rate_limited", "message": "slow", "retry_at": "2026-01-10T12:20:00Z"}},
        {"error": {"kind": "no_token", "message": "no token is stored"}},
        {"error": {"kind": "http", "http_status": 401, "message": "Bad credentials"}},
        {"error": {"kind": "http", "http_status": 404, "message": "Not Found"}, "refusal": "judged_anew"},
        {"error": {"kind": "transient", "message": "503"}, "refusal": "judged_anew"},
    ],
    ids=["limit", "no token", "expired token", "read refused", "read failed"],
)
def test_not_being_able_to_look_before_a_merge_is_no_refusal(answer: dict[str, Any]) -> None:
    stage = in_review()
    answered(stage, EffectKind.MERGE_PR, "pr_merge_result", claims=3, merged=False, **answer)
    assert "refusals" not in notes(stage)
    assert "auto_merge_pending" not in notes(stage)


def test_what_the_base_blocks_for_no_known_reason_is_tried_once_and_the_answer_is_the_reason() -> None:
    stage = in_review(merge_state_status="BLOCKED")
    refuse(stage, "checks", reason="Required workflow 'deploy' is missing")
    assert merge_state.is_refused(notes(stage))
    assert notes(stage)["obstacle_detail"] == "checks: Required workflow 'deploy' is missing"
    assert escalated(stage) == []


def test_a_base_that_no_longer_blocks_is_a_reason_to_try_again() -> None:
    stage = in_review(merge_state_status="BLOCKED")
    refuse(stage, "checks")
    for status, refused in (("BLOCKED", True), ("UNKNOWN", True)):
        merging.see_merge_state(stage.town, stage.the_bead("m"), status)
        assert merge_state.is_refused(notes(stage)) is refused
    merging.see_merge_state(stage.town, stage.the_bead("m"), "BLOCKED")
    merging.see_merge_state(stage.town, stage.the_bead("m"), "CLEAN")
    assert not merge_state.is_refused(notes(stage))


def test_a_branch_that_is_behind_waits_for_its_turn() -> None:
    stage = in_review()
    refuse(stage, "behind")
    assert notes(stage)["obstacle"] == "behind_base"


# the merge queue


def enqueue(stage: SmallTown, **given: Any) -> Any:
    return answered(stage, EffectKind.MERGE_PR, "pr_merge_result", merged=False, queued=True, **given)


def queued(stage: SmallTown) -> list[str]:
    return sorted(stage.town.keys.queued_reviews)


def seen(stage: SmallTown, *, in_queue: bool) -> bool:
    return merging.see_queue(stage.town, stage.the_bead("m"), in_queue=in_queue)


def test_an_enqueued_pull_request_is_watched_and_not_merged_again() -> None:
    stage = in_review()
    assert enqueue(stage, position=3) == Applied()
    assert (queued(stage), notes(stage)["obstacle"], notes(stage)["obstacle_detail"]) == (
        ["m"],
        "in_merge_queue",
        "position 3",
    )
    assert ("auto_merge_pending" in notes(stage), stage.the_review().auto_merge_ready_since) == (False, None)
    assert seen(stage, in_queue=True)


def test_two_polls_that_miss_it_are_a_refusal_and_one_is_not() -> None:
    stage = in_review()
    enqueue(stage)
    assert seen(stage, in_queue=False)
    assert seen(stage, in_queue=True)
    assert seen(stage, in_queue=False)
    assert not seen(stage, in_queue=False)
    assert (queued(stage), notes(stage)["refusals"], "obstacle" in notes(stage)) == ([], {"queue": 1}, False)


def test_a_push_leaves_the_queue_and_is_no_refusal() -> None:
    stage = in_review()
    enqueue(stage)
    stage.later(timedelta(minutes=1))
    merging.follow_head(stage.town, stage.the_bead("m"), "b", ("a",))
    assert not seen(stage, in_queue=False)
    assert (queued(stage), "refusals" in notes(stage)) == ([], False)


def test_what_a_person_enqueued_is_watched_too_but_an_adopted_pull_request_is_theirs() -> None:
    stage, adopted = in_review(), in_review(babysit=1)
    assert seen(stage, in_queue=True)
    assert seen(adopted, in_queue=True)
    assert (queued(stage), queued(adopted)) == (["m"], [])
    assert notes(adopted)["obstacle"] == "in_merge_queue"


def test_a_queue_that_merges_after_the_end_is_left_at_the_next_tick() -> None:
    stage = SmallTown()
    stage.merge_request(status="failed", metadata={"head_sha": "a"})
    assert enqueue(stage) == Skipped("terminal")
    assert queued(stage) == ["m"]
    assert "obstacle" not in notes(stage)


def test_leaving_the_queue_is_noted_and_a_failure_is_not() -> None:
    stage = in_review()
    enqueue(stage)
    error = {"kind": "http", "http_status": 403, "message": "no"}
    assert answered(stage, EffectKind.DEQUEUE, "pr_dequeued", ok=False, error=error) == Applied()
    assert queued(stage) == ["m"]
    assert answered(stage, EffectKind.DEQUEUE, "pr_dequeued", ok=True) == Applied()
    assert (queued(stage), "queued_at" in notes(stage), "obstacle" in notes(stage)) == ([], False, False)
    assert stage.appended() == []


def test_a_merge_before_it_could_leave_the_queue_is_judged_by_the_next_poll() -> None:
    """The answer does not say which pull request the queue has merged, nor into what. The poll does."""
    stage = in_review()
    enqueue(stage)
    answered(stage, EffectKind.DEQUEUE, "pr_dequeued", ok=True, merged=True, sha="c0ffee")
    assert (queued(stage), stage.appended(), stage.the_bead("m").status) == ([], [], BeadStatus.IN_PROGRESS)


def test_an_unconfirmed_merge_ends_no_live_mr_and_is_recorded_for_one_that_has_ended() -> None:
    stage = in_review()
    said: dict[str, Any] = {"merged": True, "sha": "c0ffee", "unconfirmed": True}
    assert answered(stage, EffectKind.MERGE_PR, "pr_merge_result", **said) == Applied()
    assert (stage.appended(), stage.the_bead("m").status) == ([], BeadStatus.IN_PROGRESS)
    assert ("auto_merge_pending" in notes(stage), stage.the_review().auto_merge_ready_since) == (False, None)
    assert "refusals" not in notes(stage)
    ended = SmallTown()
    ended.merge_request(status="failed")
    answered(ended, EffectKind.MERGE_PR, "pr_merge_result", **said)
    assert ended.the_review().merge_commit == "c0ffee"


# a merge after the end


def late_merge(stage: SmallTown, how: str) -> Any:
    if how == "pr_merge_result":
        return answered(stage, EffectKind.MERGE_PR, how, merged=True, sha="c0ffee")
    if how == "pr_dequeued":
        return answered(stage, EffectKind.DEQUEUE, how, ok=True, merged=True, sha="c0ffee")
    return stage.apply(how, bead_id="m", pr_url=PR, pr_state="merged", sha="c0ffee").outcome


@pytest.mark.parametrize("how", ["pr_merge_result", "pr_dequeued", "pr_status_changed"])
def test_a_merge_after_the_end_is_recorded_once_and_changes_nothing_else(how: str) -> None:
    stage = SmallTown()
    stage.merge_request(status="failed")
    late_merge(stage, how)
    late_merge(stage, "pr_status_changed")
    assert stage.the_review().merge_commit == "c0ffee"
    assert (stage.the_bead("m").status, stage.the_bead("m-source").status) == (BeadStatus.FAILED, BeadStatus.IN_REVIEW)
    assert [bead.title for bead in stage.beads_of("escalation")] == ["Merged after its end: m"]
    assert stage.audit("m") == ["review_completed"]
    assert stage.appended() == []


def test_a_merge_without_a_commit_is_recorded_once_too() -> None:
    stage = SmallTown()
    stage.merge_request(status="failed")
    for _ in range(2):
        stage.apply("pr_status_changed", bead_id="m", pr_url=PR, pr_state="merged")
    assert len(stage.beads_of("escalation")) == 1


def test_a_closed_mr_was_merged_so_it_is_told_nothing_new() -> None:
    stage = SmallTown()
    stage.merge_request(status="closed")
    assert late_merge(stage, "pr_status_changed") == Skipped("terminal")
    assert stage.beads_of("escalation") == []


# the branch


def updated(stage: SmallTown, **given: Any) -> Any:
    return answered(stage, EffectKind.UPDATE_BRANCH, "branch_updated", **given)


def behind(**metadata: Any) -> SmallTown:
    return in_review(obstacle="behind_base", own_update_of="a", own_updates=1, review_passed_head="a", **metadata)


def test_the_head_that_the_update_names_is_the_towns_own_and_stays_passed() -> None:
    stage = behind()
    assert updated(stage, outcome="updated", head="a2") == Applied()
    assert (notes(stage)["head_sha"], notes(stage)["review_passed_head"]) == ("a2", "a2")
    assert merge_state.is_passed(notes(stage), "a2")
    assert ("obstacle" in notes(stage), notes(stage)["own_updates"]) == (False, 1)


def test_a_merge_of_the_base_into_the_head_that_was_updated_is_the_towns_own() -> None:
    stage = behind()
    updated(stage, outcome="updated")
    assert merging.follow_head(stage.town, stage.the_bead("m"), "a2", ("a", "base"))
    assert merge_state.is_passed(notes(stage), "a2")
    assert ("own_update_of" in notes(stage), notes(stage)["own_updates"]) == (False, 1)


@pytest.mark.parametrize("parents", [(), ("a",), ("base", "a"), ("x", "base"), ("a", "base", "x")])
def test_any_other_head_has_to_be_reviewed_and_starts_the_count_anew(parents: tuple[str, ...]) -> None:
    stage = behind(own_updated_at=to_text(T))
    updated(stage, outcome="updated")
    merging.follow_head(stage.town, stage.the_bead("m"), "b", parents)
    assert not merge_state.is_passed(notes(stage), "b")
    assert not {"own_updates", "own_update_of", "own_updated_at"} & set(notes(stage))


def test_a_merge_of_the_base_that_the_town_did_not_ask_for_is_not_its_own() -> None:
    stage = in_review(review_passed_head="a")
    merging.follow_head(stage.town, stage.the_bead("m"), "a2", ("a", "base"))
    assert not merge_state.is_passed(notes(stage), "a2")


def test_a_refused_update_makes_no_later_head_the_towns_own() -> None:
    stage = behind()
    assert updated(stage, outcome="refused", reason="merge conflict between base and head") == Applied()
    assert notes(stage)["obstacle_detail"] == "the update failed: merge conflict between base and head"
    merging.follow_head(stage.town, stage.the_bead("m"), "a2", ("a", "base"))
    assert not merge_state.is_passed(notes(stage), "a2")


def test_an_update_whose_answer_was_lost_may_have_happened() -> None:
    stage = behind()
    updated(stage, error={"kind": "transient", "message": "time-out"})
    merging.follow_head(stage.town, stage.the_bead("m"), "a2", ("a", "base"))
    assert merge_state.is_passed(notes(stage), "a2")


def test_no_new_commits_is_a_success_without_a_new_head() -> None:
    stage = behind()
    updated(stage, outcome="current", head="a")
    assert ("obstacle" in notes(stage), notes(stage)["head_sha"]) == (False, "a")


def test_an_update_of_a_finished_mr_is_skipped() -> None:
    stage = SmallTown()
    stage.merge_request(status="closed")
    assert updated(stage, outcome="updated", head="x") == Skipped("terminal")


# reviewers


def asked(stage: SmallTown, head: str, **authors: str | None) -> list[str]:
    merging.see_change_requests(stage.town, stage.the_bead("m"), authors, head)
    return list(notes(stage).get("reviewers_to_ask", []))


def test_a_reviewer_is_asked_again_after_a_push_once_for_each_head() -> None:
    stage = in_review()
    assert asked(stage, "a", r1="ann") == []
    assert asked(stage, "a", r1="ann") == []
    assert asked(stage, "b", r1="ann", r2="bob") == ["ann"]
    stage.under.town.sql.execute("UPDATE beads SET metadata = json_remove(metadata, '$.reviewers_to_ask')")
    assert asked(stage, "b", r1="ann", r2="bob") == []
    assert asked(stage, "c", r1="ann", r2="bob", r3=None) == ["ann", "bob"]


def test_nobody_is_asked_while_the_feedback_is_worked_on() -> None:
    stage = in_review()
    asked(stage, "a", r1="ann")
    stage.bead("f", labels=["gt:pr-feedback"])
    stage.edge("m", "f")
    assert asked(stage, "b", r1="ann") == []
    stage.town.sql.execute("UPDATE beads SET status = 'closed' WHERE bead_id = 'f'")
    assert asked(stage, "b", r1="ann") == ["ann"]


def test_the_towns_own_update_is_no_push_that_a_reviewer_would_look_at() -> None:
    stage = in_review(own_update_of="a")
    asked(stage, "a", r1="ann")
    merging.follow_head(stage.town, stage.the_bead("m"), "a2", ("a", "base"))
    assert asked(stage, "a2", r1="ann") == []


def test_a_review_that_was_withdrawn_is_forgotten() -> None:
    stage = in_review()
    asked(stage, "a", r1="ann")
    asked(stage, "a")
    assert "reviewers_asked" not in notes(stage)


def test_the_result_of_a_request_changes_nothing_but_its_effect() -> None:
    stage = in_review()
    before = dict(notes(stage))
    assert answered(stage, EffectKind.REQUEST_REVIEW, "review_requested", ok=True) == Applied()
    error = {"kind": "http", "http_status": 422, "message": "not a collaborator"}
    assert answered(stage, EffectKind.REQUEST_REVIEW, "review_requested", ok=False, error=error) == Applied()
    assert notes(stage) == before


# every result


RESULTS = [
    (EffectKind.MERGE_PR, "pr_merge_result", {"merged": True, "sha": "c1"}),
    (EffectKind.UPDATE_BRANCH, "branch_updated", {"outcome": "refused"}),
    (EffectKind.DEQUEUE, "pr_dequeued", {"ok": True}),
    (EffectKind.REQUEST_REVIEW, "review_requested", {"ok": True}),
]


@pytest.mark.parametrize(("kind", "event_type", "answer"), RESULTS)
def test_an_answer_counts_once(kind: EffectKind, event_type: str, answer: dict[str, Any]) -> None:
    stage = in_review()
    effect = stage.effect(kind, "m", 1, pr_url=PR)
    given: dict[str, Any] = {"bead_id": "m", "effect_id": effect.id, "attempt": 1, **answer}
    assert stage.apply(event_type, **given).outcome == Applied()
    stage.appended()
    before = stage.under.everything()
    assert stage.apply(event_type, **given).outcome == Skipped("late")
    assert stage.under.everything() == before


@pytest.mark.parametrize("about", ["m-source", "nothing"])
@pytest.mark.parametrize(("kind", "event_type", "answer"), RESULTS)
def test_an_answer_about_a_bead_that_is_gone_or_no_review_is_missing(
    kind: EffectKind, event_type: str, answer: dict[str, Any], about: str
) -> None:
    stage = in_review()
    effect = stage.effect(kind, "m", 1, pr_url=PR)
    given: dict[str, Any] = {"bead_id": about, "effect_id": effect.id, "attempt": 1, **answer}
    assert stage.apply(event_type, **given).outcome == Skipped("missing")
    assert stage.effect_row(effect.id).state in (EffectState.DONE, EffectState.FAILED)

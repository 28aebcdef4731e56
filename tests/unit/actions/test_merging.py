"""What the orders that change a pull request say, and when there is none."""

from typing import Any

import pytest

from shared.actions import Dequeue, MergePr, RequestReview, UpdateBranch
from shared.domain import limits, merge_state
from shared.domain.config import RigConfig, TownConfig, effective
from shared.domain.outcomes import Applied, Skipped
from shared.domain.times import to_text
from tests.towns import MS, T, TownBuilder, a_town, ago, text
from tests.unit.actions.builders import TICK_NO, Stage, on

PR = "https://github.com/acme/main-rig/pull/7"
EARLIER = text(ago(hours=1))
REPOSITORY = "acme/main-rig"
WHERE = {"town_id": "t1", "bead_id": "m", "pr_url": PR, "rig_id": "rig-1", "rig_host": "github.com"}


def reviewed(rows: TownBuilder | None = None, metadata: dict[str, Any] | None = None, **columns: Any) -> Stage:
    """MR m in progress with a pull request."""
    columns = {"status": "in_progress", "pr_url": PR, **columns}
    return on((rows or a_town()).review("m", metadata={"head_sha": "abc", **(metadata or {})}, **columns))


def pending(rows: TownBuilder | None = None, metadata: dict[str, Any] | None = None, **columns: Any) -> Stage:
    """The same, green and waiting for its merge."""
    return reviewed(rows, {"auto_merge_pending": 1, "review_passed_head": "abc", **(metadata or {})}, **columns)


MERGE = MergePr(bead_id="m", pr_url=PR)
UPDATE = UpdateBranch(bead_id="m", pr_url=PR)
ASK = RequestReview(bead_id="m", pr_url=PR)


# merge_pr


def test_a_merge_names_the_head_that_was_judged_and_the_pull_request_that_was_agreed() -> None:
    stage = pending(updated_at=EARLIER)
    assert stage.apply(MERGE) == Applied()
    agreed = {
        "head_repository": REPOSITORY,
        "head_branch": "gt/toast/1",
        "base_repository": REPOSITORY,
        "base_branch": "main",
    }
    checks = {"require_checks": False, "required_checks_only": False}
    assert stage.effects == [("merge_pr", "m", TICK_NO, {**WHERE, "head_sha": "abc", "expected": agreed, **checks})]
    assert stage.rows.metadata("m")["auto_merge_pending"] == 1
    assert stage.bead("m", "status", "updated_at") == ("in_progress", EARLIER)
    assert stage.refused(MERGE) == Skipped("duplicate effect")


def test_the_settings_about_checks_go_with_it() -> None:
    town = a_town()
    town.update("rigs", "rig-1", config={"require_checks": True, "required_checks_only": True})
    stage = pending(town)
    stage.apply(MERGE)
    assert (stage.effects[0][3]["require_checks"], stage.effects[0][3]["required_checks_only"]) == (True, True)


def nothing_is_merged(stage: Stage) -> None:
    assert stage.apply(MERGE) == Applied()
    assert stage.effects == []
    assert "auto_merge_pending" not in stage.rows.metadata("m")


def test_without_a_rig_nothing_is_merged() -> None:
    nothing_is_merged(pending(rig_id=None))


def test_as_long_as_the_id_of_the_rigs_repository_is_not_known_nothing_is_merged() -> None:
    town = a_town()
    town.update("rigs", "rig-1", forge_repository_id=None)
    nothing_is_merged(pending(town))


def test_a_rig_that_contributes_to_another_repository_leaves_the_merge_to_that_one() -> None:
    town = a_town()
    town.update("rigs", "rig-1", config={"upstream": "https://github.com/acme/upstream"})
    nothing_is_merged(pending(town))


@pytest.mark.parametrize("passed", [None, "older"])
def test_a_head_that_no_refinery_has_passed_is_never_merged(passed: str | None) -> None:
    nothing_is_merged(pending(metadata={"review_passed_head": passed}))


@pytest.mark.parametrize("exempt", [{"babysit": 1}, {}])
def test_an_adopted_pull_request_and_a_rig_without_reviews_need_no_pass(exempt: dict[str, int]) -> None:
    notes = {"auto_merge_pending": 1, "head_sha": "abc", **exempt}
    config = RigConfig(code_review=None if exempt else False)
    assert merge_state.head_may_merge(notes, effective(TownConfig(), config))
    assert not merge_state.head_may_merge({"head_sha": "abc"}, effective(TownConfig(), None))


def adopted(**pinned: Any) -> Stage:
    pin = {"head_repository": REPOSITORY, "head_branch": "x", "base_repository": REPOSITORY, "base_branch": "y"}
    return pending(metadata={"babysit": 1, "pinned": {**pin, **pinned}})


def test_an_adopted_pull_request_is_merged_as_it_was_pinned() -> None:
    stage = adopted()
    stage.apply(MERGE)
    agreed = stage.effects[0][3]["expected"]
    assert (agreed["head_branch"], agreed["base_branch"]) == ("x", "y")


@pytest.mark.parametrize(
    "pinned",
    [{"head_repository": "a fork"}, {"head_repository": None}, {"base_repository": "another"}, {"head_branch": None}],
)
def test_a_fork_and_what_is_not_fully_pinned_are_never_merged(pinned: dict[str, Any]) -> None:
    nothing_is_merged(adopted(**pinned))


def test_an_adopted_pull_request_is_not_merged_before_it_is_pinned() -> None:
    nothing_is_merged(pending(metadata={"babysit": 1}))


# update_branch


def test_an_update_names_the_head_and_is_counted_whatever_becomes_of_it() -> None:
    stage = reviewed(metadata={"own_updates": 2})
    assert stage.apply(UPDATE) == Applied()
    assert stage.effects == [("update_branch", "m", TICK_NO, {**WHERE, "head_sha": "abc"})]
    notes = stage.rows.metadata("m")
    assert (notes["own_update_of"], notes["own_updates"], notes["own_updated_at"]) == ("abc", 3, text(T))


@pytest.mark.parametrize(
    "stage",
    [
        reviewed(metadata={"own_updates": limits.BRANCH_UPDATES}),
        reviewed(metadata={"head_sha": None}),
        reviewed(status="open"),
        on(a_town().review("m", "in_progress", pr_url=PR, metadata={"head_sha": "abc"}).agent("f", hook="m")),
    ],
    ids=["five updates", "no head", "not in progress", "an agent on it"],
)
def test_a_branch_that_may_not_be_updated_any_more_is_left_alone(stage: Stage) -> None:
    assert stage.refused(UPDATE) == Skipped("moved_on")


# dequeue


def test_it_is_taken_out_of_the_queue_and_asked_again_after_a_while() -> None:
    stage = reviewed(a_town().key("queued_reviews", {"m": text(T)}), {"queued_at": text(T)}, status="failed")
    assert stage.apply(Dequeue(bead_id="m")) == Applied()
    assert stage.effects == [("dequeue", "m", TICK_NO, WHERE)]
    assert stage.rows.value("queued_reviews") == {"m": to_text(T + limits.DEQUEUE_AGAIN_AFTER)}


@pytest.mark.parametrize(
    ("queued", "wait"),
    [(ago(minutes=30), T - ago(minutes=30)), (ago(days=2), limits.MERGE_RETRY_AFTER)],
    ids=["half an hour", "two days"],
)
def test_the_longer_it_lasts_the_longer_it_waits(queued: Any, wait: Any) -> None:
    stage = reviewed(a_town().key("queued_reviews", {"m": text(T)}), {"queued_at": text(queued)}, status="failed")
    stage.apply(Dequeue(bead_id="m"))
    assert stage.rows.value("queued_reviews") == {"m": to_text(T + wait)}


def test_a_live_mr_is_watched_for_ever_and_an_ended_one_for_a_week() -> None:
    queued = {"queued_at": text(T - limits.FORGE_EPISODE_ENDS_REVIEW_AFTER - MS)}
    for status, effects in (("in_progress", 1), ("failed", 0)):
        stage = reviewed(a_town().key("queued_reviews", {"m": text(T)}), queued, status=status)
        stage.apply(Dequeue(bead_id="m"))
        assert (len(stage.effects), stage.rows.value("queued_reviews") == {}) == (effects, not effects)


# request_review


def test_the_reviewers_are_named_and_then_forgotten() -> None:
    stage = reviewed(metadata={"reviewers_to_ask": ["ann", "bob"]})
    assert stage.apply(ASK) == Applied()
    assert stage.effects == [("request_review", "m", TICK_NO, {**WHERE, "reviewers": ["ann", "bob"]})]
    assert stage.refused(ASK) == Skipped("already")


@pytest.mark.parametrize("action", [MERGE, UPDATE, ASK])
@pytest.mark.parametrize("status", ["open", "closed", "failed"])
def test_only_a_review_in_progress_changes_its_pull_request(action: Any, status: str) -> None:
    assert pending(status=status).refused(action) == Skipped("moved_on")

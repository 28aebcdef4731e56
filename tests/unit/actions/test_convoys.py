"""Convoys: progress, landing, the end."""

import pytest

from shared.actions import (
    Action,
    CloseConvoy,
    CreateLandingMr,
    FailConvoy,
    SetConvoyReadyToLand,
    UpdateConvoyProgress,
)
from shared.domain.outcomes import Applied, Failed, Skipped
from tests.towns import a_town, ago, text
from tests.unit.actions.builders import NOW, on

LAND = CreateLandingMr(convoy_id="c", rig_id="rig-1", feature_branch="convoy/x/head", target_branch="main")

ON_CONVOYS = [
    UpdateConvoyProgress(convoy_id="c", closed_beads=1),
    SetConvoyReadyToLand(convoy_id="c"),
    LAND,
    CloseConvoy(convoy_id="c"),
    FailConvoy(convoy_id="c", reason="no work succeeded"),
]


@pytest.mark.parametrize("action", ON_CONVOYS, ids=lambda action: action.type)
def test_a_convoy_that_is_gone_is_missing(action: Action) -> None:
    assert on(a_town()).refused(action) == Skipped("missing")


@pytest.mark.parametrize("action", ON_CONVOYS, ids=lambda action: action.type)
def test_a_bead_that_is_no_convoy_is_left_alone(action: Action) -> None:
    assert on(a_town().bead("c")).refused(action) == Skipped("missing")


# update_convoy_progress


def test_progress_counts_the_tracked_issues_as_they_are_now() -> None:
    rows = a_town().bead("a", status="closed").bead("b", status="failed").bead("d").review("m", "closed")
    stage = on(rows.convoy("c", tracked=["a", "b", "d", "m"], total=0))
    assert stage.apply(UpdateConvoyProgress(convoy_id="c", closed_beads=99)) == Applied()
    assert stage.rows.one("convoy_metadata", "c", "closed_beads", "total_beads") == (2, 3)


def test_progress_that_is_stored_is_not_stored_again() -> None:
    stage = on(a_town().bead("a", status="closed").convoy("c", tracked=["a"], closed=1))
    assert stage.refused(UpdateConvoyProgress(convoy_id="c", closed_beads=1)) == Skipped("already")


# set_convoy_ready_to_land


def test_a_convoy_is_marked_ready_once() -> None:
    stage = on(a_town().convoy("c", metadata={"feature_branch": "convoy/x/head"}))
    assert stage.apply(SetConvoyReadyToLand(convoy_id="c")) == Applied()
    assert stage.rows.metadata("c") == {"feature_branch": "convoy/x/head", "ready_to_land": 1}
    assert stage.refused(SetConvoyReadyToLand(convoy_id="c")) == Skipped("already")


@pytest.mark.parametrize("status", ["closed", "failed"])
def test_a_convoy_that_is_over_is_never_ready(status: str) -> None:
    assert on(a_town().convoy("c", status)).refused(SetConvoyReadyToLand(convoy_id="c")) == Skipped("terminal")


# create_landing_mr


def test_landing_submits_the_feature_branch_and_counts_the_attempt() -> None:
    stage = on(a_town().convoy("c", metadata={"ready_to_land": 1}))
    assert stage.apply(LAND) == Applied()
    assert stage.rows.metadata("c") == {
        "ready_to_land": 1,
        "landing_mr_attempts": 1,
        "last_landing_mr_attempt_at": NOW,
    }
    [landing] = stage.created("merge_request")
    assert stage.bead(landing, "status", "title", "rig_id", "created_by", "assignee_agent_bead_id", "labels") == (
        "open",
        "Review: convoy/x/head",
        "rig-1",
        "system",
        None,
        '["gt:merge-request"]',
    )
    assert stage.rows.metadata(landing) == {"source_agent_id": "system", "source_bead_id": "c"}
    assert stage.rows.one("review_metadata", landing, "branch", "target_branch", "pr_url") == (
        "convoy/x/head",
        "main",
        None,
    )
    assert stage.rows.rows("SELECT depends_on_bead_id, dependency_type FROM bead_dependencies") == [("c", "tracks")]
    assert stage.audit("c") == [("review_submitted", None, landing, {"branch": "convoy/x/head"})]
    assert stage.effects == []


def test_every_attempt_counts_on() -> None:
    earlier = text(ago(hours=1))
    rows = a_town().convoy("c", metadata={"landing_mr_attempts": 3, "last_landing_mr_attempt_at": earlier})
    stage = on(rows.review("old", "failed", of="c"))
    assert stage.apply(LAND) == Applied()
    assert stage.rows.metadata("c") == {"landing_mr_attempts": 4, "last_landing_mr_attempt_at": NOW}


@pytest.mark.parametrize("status", ["open", "in_progress"])
def test_a_convoy_that_is_being_landed_is_not_landed_twice(status: str) -> None:
    stage = on(a_town().convoy("c").review("m", status, of="c"))
    assert stage.refused(LAND) == Skipped("moved_on")


@pytest.mark.parametrize("status", ["closed", "failed"])
def test_a_convoy_that_is_over_is_not_landed(status: str) -> None:
    assert on(a_town().convoy("c", status)).refused(LAND) == Skipped("moved_on")


def test_nothing_lands_in_a_rig_that_does_not_exist() -> None:
    action = CreateLandingMr(convoy_id="c", rig_id="gone", feature_branch="f", target_branch="main")
    assert on(a_town().convoy("c")).refused(action) == Failed("no rig")


# close_convoy, fail_convoy


def test_a_closed_convoy_landed_now() -> None:
    stage = on(a_town().convoy("c"))
    assert stage.apply(CloseConvoy(convoy_id="c")) == Applied()
    assert stage.bead("c", "status", "closed_at") == ("closed", NOW)
    assert stage.rows.one("convoy_metadata", "c", "landed_at") == NOW


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("no work succeeded", "no_work_succeeded"),
        ("Landing MR creation failed after 5 attempts", "landing_mr_exhausted"),
    ],
)
def test_a_failed_convoy_says_why(reason: str, code: str) -> None:
    stage = on(a_town().convoy("c"))
    assert stage.apply(FailConvoy(convoy_id="c", reason=reason)) == Applied()
    assert stage.bead("c", "status", "closed_at") == ("failed", None)
    assert stage.rows.metadata("c") == {"failureReason": code, "failureMessage": reason}
    assert stage.rows.one("convoy_metadata", "c", "landed_at") is None
    assert stage.audit("c")[-1][3]["failure_reason"] == {"code": "reconciler", "message": reason, "source": "scheduler"}


@pytest.mark.parametrize(
    ("action", "status", "reason"),
    [
        (CloseConvoy(convoy_id="c"), "closed", "already"),
        (CloseConvoy(convoy_id="c"), "failed", "terminal"),
        (FailConvoy(convoy_id="c", reason="x"), "failed", "already"),
        (FailConvoy(convoy_id="c", reason="x"), "closed", "terminal"),
    ],
    ids=lambda value: value.type if isinstance(value, Action) else value,
)
def test_the_end_of_a_convoy_is_final(action: Action, status: str, reason: str) -> None:
    stage = on(a_town().convoy("c", status))
    assert stage.refused(action) == Skipped(reason)
    assert stage.rows.one("convoy_metadata", "c", "landed_at") is None

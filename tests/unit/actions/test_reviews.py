"""Merge requests and their pull requests."""

from typing import Any

import pytest

from shared.actions import Action, CloseSiblingMrs, CreateMrBead, MergePr, PollPr, SetReviewPrUrl
from shared.domain.outcomes import Applied, Failed, Skipped
from tests.towns import a_town, ago, text
from tests.unit.actions.builders import NOW, TICK_NO, Stage, on

PR = "https://github.com/acme/main-rig/pull/7"
EARLIER = text(ago(hours=1))


def polled(**columns: Any) -> Stage:
    """MR m of source s, in progress with a pull request."""
    columns = {"status": "in_progress", "pr_url": PR, **columns}
    return on(a_town().bead("s", status="in_review").review("m", of="s", **columns))


# create_mr_bead


def submit(**changed: Any) -> CreateMrBead:
    given = {"source_bead_id": "b", "agent_id": "p", "rig_id": "rig-1", "branch": "gt/toast/1", "target_branch": "next"}
    return CreateMrBead(**{**given, **changed})


def test_a_source_is_submitted_with_the_given_rig_and_target() -> None:
    stage = on(a_town().bead("b", rig_id=None).agent("p"))
    assert stage.apply(submit(pr_url=PR, summary="done")) == Applied()
    [review] = stage.created("merge_request")
    assert stage.bead(review, "title", "body", "rig_id", "created_by", "status") == (
        "Review: gt/toast/1",
        "done",
        "rig-1",
        "p",
        "open",
    )
    assert stage.rows.one("review_metadata", review, "branch", "target_branch", "pr_url") == ("gt/toast/1", "next", PR)
    assert stage.rows.metadata(review) == {"source_bead_id": "b", "source_agent_id": "p", "pr_url": PR}
    assert stage.audit("b") == [("review_submitted", None, review, {"branch": "gt/toast/1"})]


def test_an_address_that_is_not_https_is_not_stored_with_a_submission() -> None:
    stage = on(a_town().bead("b").agent("p"))
    assert stage.apply(submit(pr_url="http://forge/1")) == Applied()
    [review] = stage.created("merge_request")
    assert stage.rows.one("review_metadata", review, "pr_url") is None
    assert [entry[0] for entry in stage.audit("b")] == ["review_submitted", "pr_creation_failed"]


def test_the_system_may_submit() -> None:
    stage = on(a_town().bead("b"))
    assert stage.apply(submit(agent_id="system")) == Applied()


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (submit(source_bead_id="gone"), Skipped("missing")),
        (submit(agent_id="gone"), Skipped("missing")),
        (submit(source_bead_id="over"), Skipped("terminal")),
        (submit(rig_id="gone"), Failed("no rig")),
    ],
)
def test_only_live_work_of_somebody_is_submitted(action: CreateMrBead, outcome: Any) -> None:
    assert on(a_town().bead("b").bead("over", status="closed").agent("p")).refused(action) == outcome


# close_sibling_mrs


def test_the_other_live_reviews_of_a_source_are_closed() -> None:
    rows = a_town().bead("b", status="in_review")
    for review, status in {"m1": "open", "m2": "in_progress", "m3": "failed", "keep": "in_progress"}.items():
        rows.review(review, status, of="b")
    stage = on(rows.review("other", "open"))
    assert stage.apply(CloseSiblingMrs(source_bead_id="b", exclude_mr_id="keep")) == Applied()
    assert {each: stage.rows.status(each) for each in ("m1", "m2", "m3", "keep", "other", "b")} == {
        "m1": "closed",
        "m2": "closed",
        "m3": "failed",
        "keep": "in_progress",
        "other": "open",
        "b": "in_review",
    }
    again = CloseSiblingMrs(source_bead_id="b", exclude_mr_id="keep")
    assert stage.refused(again) == Skipped("already")
    assert stage.refused(CloseSiblingMrs(source_bead_id="gone", exclude_mr_id="keep")) == Skipped("missing")


# set_review_pr_url


def test_an_address_is_stored_in_both_places() -> None:
    stage = on(a_town().review("m"))
    assert stage.apply(SetReviewPrUrl(bead_id="m", pr_url=PR)) == Applied()
    assert stage.rows.one("review_metadata", "m", "pr_url") == PR
    assert stage.rows.metadata("m") == {"pr_url": PR}
    assert stage.refused(SetReviewPrUrl(bead_id="m", pr_url=PR)) == Skipped("already")


@pytest.mark.parametrize(
    ("bead_id", "pr_url", "outcome"),
    [
        ("m", "http://forge/1", Failed("the pull request address is not https")),
        ("b", PR, Skipped("missing")),
        ("gone", PR, Skipped("missing")),
        ("over", PR, Skipped("terminal")),
    ],
)
def test_an_address_needs_a_live_review_and_https(bead_id: str, pr_url: str, outcome: Any) -> None:
    stage = on(a_town().review("m").bead("b").review("over", "closed"))
    assert stage.refused(SetReviewPrUrl(bead_id=bead_id, pr_url=pr_url)) == outcome


def test_an_address_in_one_place_only_is_stored_in_the_other_too() -> None:
    stage = on(a_town().review("m", pr_url=PR))
    assert stage.apply(SetReviewPrUrl(bead_id="m", pr_url=PR)) == Applied()
    assert stage.rows.metadata("m") == {"pr_url": PR}


# poll_pr


def test_a_poll_is_asked_for_and_starts_the_next_minute() -> None:
    stage = polled(metadata={"poll_not_before": EARLIER, "head_sha": "abc"}, updated_at=EARLIER)
    assert stage.apply(PollPr(bead_id="m", pr_url=PR)) == Applied()
    rig = {"rig_id": "rig-1", "rig_host": "github.com", "rig_repository": "acme/main-rig", "upstream": None}
    payload = {"town_id": "t1", "bead_id": "m", "pr_url": PR, **rig, "want_feedback": True}
    assert stage.effects == [("poll_pr", "m", TICK_NO, payload)]
    assert stage.rows.metadata("m") == {"last_poll_at": NOW, "head_sha": "abc"}
    assert stage.bead("m", "updated_at", "status") == (NOW, "in_progress")


@pytest.mark.parametrize(
    "refinery",
    [
        {"auto_resolve_pr_feedback": True},
        {"auto_merge": True, "auto_merge_delay_minutes": 0},
        {"auto_merge": False, "auto_merge_delay_minutes": 5},
        {"auto_merge": True, "auto_merge_delay_minutes": None},
    ],
)
def test_every_poll_reads_what_people_and_checks_say(refinery: dict[str, Any]) -> None:
    """Whoever merges: what a pull request waits for can be told only if it is read (T6)."""
    rows = a_town().config(refinery=refinery).review("m", "in_progress", pr_url=PR)
    stage = on(rows)
    stage.apply(PollPr(bead_id="m", pr_url=PR))
    assert stage.effects[0][3]["want_feedback"] is True


def test_a_pull_request_is_polled_once_a_tick() -> None:
    stage = polled()
    stage.apply(PollPr(bead_id="m", pr_url=PR))
    assert stage.refused(PollPr(bead_id="m", pr_url=PR)) == Skipped("duplicate effect")


@pytest.mark.parametrize("kind", [PollPr, MergePr])
@pytest.mark.parametrize("status", ["open", "in_review", "closed", "failed"])
def test_only_a_review_in_progress_is_polled_or_merged(kind: type[PollPr] | type[MergePr], status: str) -> None:
    assert polled(status=status).refused(kind(bead_id="m", pr_url=PR)) == Skipped("moved_on")


@pytest.mark.parametrize("kind", [PollPr, MergePr])
def test_another_pull_request_than_the_rule_saw_is_left_alone(kind: type[PollPr] | type[MergePr]) -> None:
    assert polled().refused(kind(bead_id="m", pr_url=f"{PR}7")) == Skipped("moved_on")
    assert polled(pr_url=None).refused(kind(bead_id="m", pr_url=PR)) == Skipped("moved_on")


@pytest.mark.parametrize("action", [PollPr(bead_id="gone", pr_url=PR), MergePr(bead_id="s", pr_url=PR)])
def test_what_is_no_review_is_missing(action: Action) -> None:
    assert polled().refused(action) == Skipped("missing")


def test_a_review_without_its_metadata_is_missing() -> None:
    stage = on(a_town().bead("m", "merge_request", "in_progress"))
    assert stage.refused(PollPr(bead_id="m", pr_url=PR)) == Skipped("missing")


def test_an_issue_with_the_metadata_of_a_review_is_no_review() -> None:
    stage = on(a_town().bead("m", status="in_progress").insert("review_metadata", bead_id="m", branch="x", pr_url=PR))
    assert stage.refused(PollPr(bead_id="m", pr_url=PR)) == Skipped("missing")

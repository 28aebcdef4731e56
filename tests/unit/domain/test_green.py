"""When a pull request is green, and which class of reason it lacks first (spec/actions.md section 5, step 8)."""

from dataclasses import replace

import pytest

from shared.domain.green import Checks, hindrance
from shared.ports.forge import Feedback, Identity, PullRequest, RepositoryAt

REPOSITORY = RepositoryAt("1")
OURS = Identity(REPOSITORY, "topic", REPOSITORY, "main")
GREEN = PullRequest("open", head_sha="a", mergeable_state="clean", feedback=Feedback(), identity=OURS)


def with_feedback(**given: object) -> PullRequest:
    return replace(GREEN, feedback=replace(Feedback(), **given))  # type: ignore[arg-type]


def refused(shown: PullRequest, checks: Checks = Checks()) -> str | None:  # noqa: B008 - frozen
    found = hindrance(shown, checks)
    return None if found is None else found.refusal


def test_a_pull_request_that_lacks_nothing_is_green() -> None:
    assert hindrance(GREEN, Checks()) is None


@pytest.mark.parametrize(
    ("shown", "refusal"),
    [
        (replace(GREEN, identity=replace(OURS, draft=True)), "draft"),
        (replace(GREEN, mergeable_state="dirty"), "conflict"),
        (replace(GREEN, mergeable_state="unknown"), "judged_anew"),
        (replace(GREEN, mergeable_state=None), "judged_anew"),
        (replace(GREEN, feedback=None), "judged_anew"),
        (with_feedback(has_unresolved_comments=True), "review"),
        (with_feedback(changes_requested=True), "review"),
        (with_feedback(awaiting_approval=True), "review"),
        (with_feedback(has_failing_checks=True), "checks"),
        (with_feedback(all_checks_pass=False), "checks"),
        (with_feedback(checks_unreadable=True), "checks"),
        (with_feedback(required_missing=("build",)), "checks"),
        (with_feedback(required_failing=True), "checks"),
        (replace(GREEN, is_behind=True), "behind"),
    ],
)
def test_each_hindrance_has_its_class(shown: PullRequest, refusal: str) -> None:
    assert refused(shown) == refusal


def test_behind_is_the_answer_only_if_everything_else_is_in_order() -> None:
    assert refused(replace(with_feedback(all_checks_pass=False), is_behind=True)) == "checks"


def test_a_queue_brings_the_branch_up_to_date_itself() -> None:
    assert refused(replace(GREEN, is_behind=True, has_queue=True)) is None


@pytest.mark.parametrize(
    ("found", "refusal"),
    [
        ({"has_failing_checks": True, "required_known": True, "required_pass": True}, None),
        ({"has_failing_checks": True, "required_known": True, "required_failing": True}, "checks"),
        ({"has_failing_checks": True, "required_known": True}, "checks"),
        ({"has_failing_checks": True}, "checks"),
        ({"required_known": True, "required_pass": True, "required_missing": ("build",)}, "checks"),
    ],
    ids=["optional red", "required red", "none required", "not known", "one missing"],
)
def test_optional_checks_do_not_count_where_the_rig_says_so_and_some_are_required(
    found: dict[str, object], refusal: str | None
) -> None:
    assert refused(with_feedback(**found), Checks(required_only=True)) == refusal


def test_a_head_without_checks_is_green_unless_the_rig_needs_checks() -> None:
    bare = with_feedback(has_checks=False)
    assert (refused(bare), refused(bare, Checks(needed=True))) == (None, "checks")


def test_a_blocked_pull_request_is_tried_unless_the_token_could_merge_against_the_rules() -> None:
    blocked = with_feedback(merge_state_status="BLOCKED")
    assert (refused(blocked), refused(replace(blocked, may_bypass=True))) == (None, "checks")

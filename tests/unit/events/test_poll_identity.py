"""pr_polled: whose pull request it is (decision T1, spec/actions.md section 5.2)."""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.states import BeadStatus, EffectKind
from shared.domain.times import to_text
from shared.events.base import EventResult
from tests.unit.events.small_town import PR, SmallTown, T

RIG: dict[str, Any] = {"id": "101", "name": "acme/app"}
OTHER: dict[str, Any] = {"id": "202", "name": "stranger/app"}
OURS: dict[str, Any] = {
    "head_repository": RIG,
    "head_branch": "gt/toast/1",
    "base_repository": RIG,
    "base_branch": "main",
    "author": "Toast",
}
GREEN: dict[str, Any] = {
    "has_unresolved_comments": False,
    "has_failing_checks": False,
    "has_unchecked_runs": False,
    "all_checks_pass": True,
    "awaiting_approval": False,
    "changes_requested": False,
}
SETTLED: dict[str, Any] = {
    "head_sha": "h1",
    "head_seen_at": to_text(T - timedelta(hours=1)),
    "review_passed_head": "h1",
}
AT_ONCE: dict[str, Any] = {"refinery": {"auto_merge_delay_minutes": 0, "auto_resolve_pr_feedback": True}}


def polling(config: dict[str, Any] | None = None, rig: dict[str, Any] | None = None, **metadata: Any) -> SmallTown:
    stage = SmallTown(AT_ONCE if config is None else config)
    stage.town.sql.execute(
        "UPDATE rigs SET git_url = 'https://git.example/acme/app.git', config = json(:config)",
        {"config": "{}" if rig is None else json.dumps(rig)},
    )
    stage.merge_request(metadata={**SETTLED, **metadata})
    return stage


def adopted(**metadata: Any) -> SmallTown:
    return polling(babysit=1, **metadata)


def poll(stage: SmallTown, identity: dict[str, Any] | None = None, **answer: Any) -> EventResult:
    """One poll of the present tick and its answer: a green pull request of that identity."""
    effect = stage.effect(EffectKind.POLL_PR, "m", stage.town.tick.number, pr_url=PR, rig_repository="acme/app")
    stage.later(timedelta(seconds=1))
    seen = {"ok": True, "state": "open", "head_sha": "h1", "mergeable_state": "clean", "feedback": GREEN}
    given = {"identity": OURS if identity is None else identity, "rig_repository": RIG}
    return stage.apply("pr_polled", bead_id="m", effect_id=effect.id, attempt=1, **{**seen, **given, **answer})


def kinds(stage: SmallTown) -> list[str]:
    return [event for event, _, _ in stage.appended()]


def noted(stage: SmallTown, bead_id: str = "m") -> dict[str, Any]:
    return dict(stage.the_bead(bead_id).metadata)


def obstacle(stage: SmallTown) -> str | None:
    found: str | None = noted(stage).get("obstacle")
    return found


def escalated(stage: SmallTown) -> list[str]:
    return [bead.title for bead in stage.beads_of("escalation")]


def test_the_agreed_pull_request_is_judged_and_the_id_of_its_repository_stored() -> None:
    stage = polling()
    poll(stage)
    assert kinds(stage) == ["pr_auto_merge"]
    rig = stage.town.rig("rig-1")
    assert rig is not None
    assert rig.forge_repository_id == "101"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"head_repository": OTHER}, "head repository: expected 101, found 202"),
        ({"head_branch": "gt/Toast/1"}, "head branch: expected gt/toast/1, found gt/Toast/1"),
        ({"head_branch": "gt/other/2"}, "head branch"),
        ({"base_repository": OTHER}, "base repository: expected 101, found 202"),
        ({"head_branch": "x", "base_branch": "release"}, "head branch"),
    ],
    ids=["a fork", "another case", "another branch", "another repository", "branch and base"],
)
@pytest.mark.parametrize("state", ["open", "merged", "closed"])
def test_another_pull_request_fails_the_mr_and_gives_its_source_back(
    state: str, changed: dict[str, Any], says: str
) -> None:
    stage = polling()
    over = {} if state == "open" else {"sha": "c0ffee", "mergeable_state": None}
    result = poll(stage, {**OURS, **changed}, state=state, **over)
    bead, source = stage.the_bead("m"), stage.the_bead("m-source")
    assert (bead.status, source.status, source.assignee) == (BeadStatus.FAILED, BeadStatus.OPEN, None)
    assert noted(stage)["failureKind"] == "pr_mismatch"
    assert says in noted(stage)["failureMessage"]
    assert says in noted(stage, "m-source")["note_for_next"]["text"]
    assert kinds(stage) == []
    assert len(escalated(stage)) == 1
    assert [action.type for action in result.returns] == ["notify_mayor"]


def test_an_open_pull_request_of_a_deleted_fork_is_another_one() -> None:
    stage = polling()
    poll(stage, {**OURS, "head_repository": None})
    assert "head repository: expected 101, found none" in noted(stage)["failureMessage"]


def test_a_person_is_told_once_per_source_however_often_it_happens() -> None:
    stage = polling()
    poll(stage, {**OURS, "head_repository": OTHER})
    stage.town.sql.execute("UPDATE beads SET status = 'in_progress' WHERE bead_id = 'm'")
    stage.town.sql.execute("UPDATE beads SET status = 'in_review' WHERE bead_id = 'm-source'")
    assert poll(stage, {**OURS, "head_repository": OTHER}).returns == ()
    assert len(escalated(stage)) == 1


def test_refs_heads_makes_no_difference() -> None:
    stage = polling()
    stage.town.sql.execute("UPDATE review_metadata SET branch = 'refs/heads/gt/toast/1'")
    poll(stage, {**OURS, "base_branch": "refs/heads/main"})
    assert kinds(stage) == ["pr_auto_merge"]


def test_a_fork_that_is_gone_is_no_mismatch_of_a_merged_pull_request() -> None:
    stage = adopted()
    poll(stage, {**OURS, "head_repository": OTHER})
    poll(stage, {**OURS, "head_repository": None}, state="merged", sha="c0ffee", mergeable_state=None)
    assert kinds(stage) == ["pr_status_changed"]


def test_the_repository_of_the_rig_cannot_be_gone_so_a_merge_from_none_is_not_ours() -> None:
    stage = polling()
    poll(stage, {**OURS, "head_repository": None}, state="merged", sha="c0ffee", mergeable_state=None)
    assert (kinds(stage), stage.the_bead("m").status) == ([], BeadStatus.FAILED)


@pytest.mark.parametrize("answer", [{"identity": None}, {"rig_repository": None}], ids=["an old result", "no id yet"])
@pytest.mark.parametrize("state", ["open", "merged"])
def test_what_cannot_be_compared_is_not_judged(state: str, answer: dict[str, Any]) -> None:
    stage = polling()
    given = {key: value for key, value in {"identity": {**OURS, "head_repository": OTHER}, **answer}.items() if value}
    effect = stage.effect(EffectKind.POLL_PR, "m", stage.town.tick.number, pr_url=PR)
    stage.apply("pr_polled", bead_id="m", effect_id=effect.id, attempt=1, ok=True, state=state, **given)
    assert stage.the_bead("m").status is BeadStatus.IN_PROGRESS
    assert (escalated(stage), obstacle(stage)) == ([], None)


# A wrong base


def test_a_wrong_base_is_fed_back_once_and_then_waits_for_a_person() -> None:
    stage = polling(auto_merge_pending=1)
    wrong = {**OURS, "base_branch": "release"}
    poll(stage, wrong)
    ((event, _, payload),) = stage.appended()
    assert (event, payload["retarget_to"]) == ("pr_feedback_detected", "main")
    assert "auto_merge_pending" not in stage.the_bead("m").metadata
    stage.edge("m", stage.bead("fix", labels=["gt:pr-feedback"]))
    poll(stage, wrong)
    assert (kinds(stage), obstacle(stage)) == ([], None)
    stage.town.sql.execute("UPDATE beads SET status = 'closed' WHERE bead_id = 'fix'")
    poll(stage, wrong)
    assert (kinds(stage), obstacle(stage)) == ([], "pr_mismatch")
    assert "release" in noted(stage)["obstacle_detail"]
    poll(stage)
    assert (kinds(stage), obstacle(stage)) == (["pr_auto_merge"], None)


def test_the_bead_says_which_base_is_wanted() -> None:
    stage = polling()
    given: dict[str, Any] = dict.fromkeys(
        ("has_unresolved_comments", "has_failing_checks", "has_unchecked_runs"), False
    )
    stage.apply("pr_feedback_detected", bead_id="m", pr_url=PR, retarget_to="main", **given)
    (bead,) = [each for each in stage.beads_of("issue") if "gt:pr-feedback" in each.labels]
    assert bead.body == f"Retarget {PR} to main: change its base branch, and nothing else."


def test_the_claim_of_a_merge_into_another_base_leaves_out_what_the_forge_does_not_say() -> None:
    stage = polling()
    poll(stage, {**OURS, "base_branch": "release"}, state="merged", sha=None, head_sha=None, mergeable_state=None)
    claim = {"into": "release", "at": to_text(stage.town.tick.now)}
    assert noted(stage)["merge_claim"] == claim


def test_a_merge_into_another_base_is_proven_before_it_counts() -> None:
    stage = polling()
    wrong = {**OURS, "base_branch": "release"}
    poll(stage, wrong, state="merged", sha="c0ffee", mergeable_state=None)
    claim = noted(stage)["merge_claim"]
    assert (claim["commit"], claim["into"], obstacle(stage)) == ("c0ffee", "release", "merge_unproven")
    assert (kinds(stage), stage.the_bead("m").status) == ([], BeadStatus.IN_PROGRESS)
    for _ in range(4):
        effect = stage.effect(
            EffectKind.VERIFY_MERGE, "m", stage.town.tick.number, target_branch="main", merge_commit="c0ffee"
        )
        stage.later(timedelta(minutes=1))
        stage.under.town.sql.execute(
            "UPDATE beads SET metadata = json_set(metadata, '$.merge_first_look_at', :at) WHERE bead_id = 'm'",
            {"at": to_text(T)},
        )
        stage.apply("merge_verified", bead_id="m", effect_id=effect.id, attempt=1, contained=False)
        if not stage.the_bead("m").live:
            break
    source = stage.the_bead("m-source")
    assert (stage.the_bead("m").status, noted(stage)["failureKind"]) == (
        BeadStatus.FAILED,
        "pr_mismatch",
    )
    assert (source.status, source.labels) == (BeadStatus.OPEN, ("gt:held",))
    assert len(escalated(stage)) == 1


# The rig's repository


def test_a_renamed_repository_is_the_same_one() -> None:
    stage = polling()
    poll(stage)
    renamed = {"id": "101", "name": "acme/new-name"}
    assert kinds(stage) == ["pr_auto_merge"]
    poll(stage, {**OURS, "base_repository": renamed, "head_repository": renamed}, rig_repository=renamed)
    assert (obstacle(stage), stage.the_bead("m").status) == (None, BeadStatus.IN_PROGRESS)


@pytest.mark.parametrize(
    "answer",
    [{"rig_repository": OTHER}, {"rig_repository": None, "rig_problem": "HTTP 404"}],
    ids=["another repository at the address", "no repository at the address"],
)
def test_all_mrs_of_a_rig_that_moved_wait_until_a_person_registers_it_again(answer: dict[str, Any]) -> None:
    stage = polling()
    poll(stage)
    stage.appended()
    answered = {key: value for key, value in answer.items() if value is not None}
    effect = stage.effect(EffectKind.POLL_PR, "m", stage.town.tick.number, pr_url=PR, rig_repository="acme/app")
    stage.later(timedelta(seconds=1))
    stage.apply(
        "pr_polled", bead_id="m", effect_id=effect.id, attempt=1, ok=True, state="open", identity=OURS, **answered
    )
    assert (obstacle(stage), stage.the_bead("m").status) == ("wrong_repository", BeadStatus.IN_PROGRESS)
    stage.apply("rig_registered", rig_id="rig-1", name="rig-1", git_url="https://git.example/acme/app.git")
    rig = stage.town.rig("rig-1")
    assert rig is not None
    assert rig.forge_repository_id is None


def test_a_rig_that_is_registered_again_without_a_wait_keeps_its_repository() -> None:
    stage = polling()
    poll(stage)
    for url, kept in (("git@git.example:acme/app.git", "101"), ("https://git.example/acme/other.git", None)):
        stage.apply("rig_registered", rig_id="rig-1", name="rig-1", git_url=url)
        rig = stage.town.rig("rig-1")
        assert rig is not None
        assert rig.forge_repository_id == kept


def test_an_answer_about_another_address_than_the_rigs_stores_nothing() -> None:
    stage = polling()
    stage.town.sql.execute("UPDATE rigs SET git_url = 'https://git.example/acme/moved.git'")
    poll(stage)
    rig = stage.town.rig("rig-1")
    assert rig is not None
    assert rig.forge_repository_id is None


# upstream: the fork workflow


def test_a_pull_request_into_upstream_is_worked_on_and_never_merged() -> None:
    stage = polling(rig={"upstream": "big/app"})
    upstream = {"id": "9", "name": "big/app"}
    poll(stage, {**OURS, "base_repository": upstream}, upstream_repository=upstream)
    assert (kinds(stage), obstacle(stage)) == ([], "awaiting_merge")
    comments = {**GREEN, "has_unresolved_comments": True}
    poll(stage, {**OURS, "base_repository": upstream}, upstream_repository=upstream, feedback=comments)
    assert (kinds(stage), obstacle(stage)) == (["pr_feedback_detected"], None)


# Adopted pull requests


def test_an_adopted_pull_request_is_pinned_at_its_first_poll_whatever_its_base_is() -> None:
    stage = adopted()
    stage.town.sql.execute("UPDATE review_metadata SET branch = 'feature'")
    poll(stage, {**OURS, "head_branch": "feature", "base_branch": "release"})
    assert noted(stage)["pinned"] == {
        "head_repository": "101",
        "head_branch": "feature",
        "base_repository": "101",
        "base_branch": "release",
    }
    assert kinds(stage) == ["pr_auto_merge"]
    poll(stage, {**OURS, "head_branch": "feature", "base_branch": "main"})
    assert (obstacle(stage), kinds(stage)) == ("pr_mismatch", [])
    assert stage.the_bead("m").status is BeadStatus.IN_PROGRESS


@pytest.mark.parametrize("state", ["open", "merged"])
def test_an_adopted_pull_request_that_shows_another_branch_than_the_named_one_is_not_believed(state: str) -> None:
    """Seen: the first look was the only word about a pull request that nobody ordered, so an answer about another was pinned."""
    stage = adopted()
    over = {} if state == "open" else {"sha": "c0ffee", "mergeable_state": None}
    poll(stage, {**OURS, "head_branch": "somebody/else"}, state=state, **over)
    assert "pinned" not in noted(stage)
    assert (obstacle(stage), kinds(stage), stage.the_bead("m").status) == ("pr_mismatch", [], BeadStatus.IN_PROGRESS)
    poll(stage)
    assert noted(stage)["pinned"]["head_branch"] == "gt/toast/1"
    assert kinds(stage) == ["pr_auto_merge"]


def test_an_adopted_pull_request_of_a_fork_is_reported_and_left_to_people() -> None:
    stage = adopted()
    forked = {**OURS, "head_repository": OTHER}
    comments = {**GREEN, "has_unresolved_comments": True}
    for feedback, state in ((comments, "clean"), (GREEN, "dirty"), (GREEN, "clean")):
        poll(stage, forked, feedback=feedback, mergeable_state=state)
        assert kinds(stage) == []
    assert obstacle(stage) == "awaiting_merge"
    outcome = stage.apply("pr_auto_merge", bead_id="m", pr_url=PR).outcome
    assert outcome.text == "skipped: foreign"


def test_an_adopted_pull_request_of_another_repository_waits() -> None:
    stage = adopted()
    poll(stage, {**OURS, "base_repository": OTHER, "head_repository": OTHER})
    assert (obstacle(stage), kinds(stage), stage.the_bead("m").status) == (
        "wrong_repository",
        [],
        BeadStatus.IN_PROGRESS,
    )


# Authors, drafts, requested changes


def test_another_author_waits_until_an_operator_adopts_the_pull_request() -> None:
    stage = polling({"refinery": {"auto_merge_delay_minutes": 0, "trusted_authors": ["maple"]}})
    poll(stage)
    assert (obstacle(stage), kinds(stage)) == ("untrusted_author", [])
    assert stage.apply("pr_adopted", bead_id="m").outcome.text == "applied"
    poll(stage)
    assert (obstacle(stage), kinds(stage)) == (None, ["pr_auto_merge"])


def test_trusted_authors_are_compared_without_case() -> None:
    stage = polling({"refinery": {"auto_merge_delay_minutes": 0, "trusted_authors": ["tOAST"]}})
    poll(stage)
    assert kinds(stage) == ["pr_auto_merge"]


def test_a_draft_waits_and_does_not_merge() -> None:
    stage = polling()
    poll(stage, {**OURS, "draft": True})
    assert (obstacle(stage), kinds(stage)) == ("draft", [])
    poll(stage)
    assert (obstacle(stage), kinds(stage)) == (None, ["pr_auto_merge"])


def test_each_review_that_requests_changes_gets_one_bead_over_all_heads() -> None:
    stage = polling()
    requested = {
        **GREEN,
        "changes_requested": True,
        "change_requests": [{"id": "r1", "author": "ann"}, {"id": "r2", "author": "bob"}],
    }
    named = []
    for head in ("h1", "h1", "h2", "h3"):
        poll(stage, feedback=requested, head_sha=head)
        for event, _, payload in stage.appended():
            named.append(payload.get("change_requests"))
            stage.apply(event, bead_id="m", **payload)
        stage.town.sql.execute("UPDATE beads SET status = 'closed' WHERE labels LIKE '%gt:pr-feedback%'")
    assert named == [["r1"], ["r2"]]
    assert obstacle(stage) == "changes_requested"
    assert "ann, bob" in noted(stage)["obstacle_detail"]


def test_checks_that_may_not_be_read_are_neither_green_nor_failing_and_a_person_is_told_once() -> None:
    stage = polling()
    refused = {**GREEN, "checks_unreadable": True, "all_checks_pass": False, "has_failing_checks": True}
    for _ in range(3):
        poll(stage, feedback=refused, secret="t1-token")
    assert (obstacle(stage), kinds(stage), len(escalated(stage))) == ("checks_unreadable", [], 1)
    poll(stage, secret="t1-token")
    assert (obstacle(stage), stage.town.keys.forge_episodes) == (None, {})


def test_a_new_head_is_not_green_before_it_was_seen_for_two_minutes() -> None:
    stage = polling(review_passed_head="h2")
    poll(stage, head_sha="h2")
    stage.later(timedelta(seconds=118))
    poll(stage, head_sha="h2")
    assert kinds(stage) == []
    poll(stage, head_sha="h2")
    assert kinds(stage) == ["pr_auto_merge"]


@pytest.mark.parametrize(
    ("settings", "checks", "merges"),
    [
        ({}, {"has_failing_checks": True, "required_known": True, "required_pass": True}, False),
        (
            {"required_checks_only": True},
            {"has_failing_checks": True, "required_known": True, "required_pass": True},
            True,
        ),
        ({"required_checks_only": True}, {"has_failing_checks": True}, False),
        ({}, {"required_known": True, "required_missing": ["build"]}, False),
        ({"require_checks": True}, {"has_checks": False}, False),
        ({}, {"has_checks": False}, True),
    ],
)
def test_which_checks_count_is_a_setting(settings: dict[str, Any], checks: dict[str, Any], merges: bool) -> None:
    stage = polling({"refinery": {"auto_merge_delay_minutes": 0, **settings}})
    poll(stage, feedback={**GREEN, **checks})
    assert kinds(stage) == (["pr_auto_merge"] if merges else [])


# What stays as it was


def test_before_the_forge_shows_upstream_no_pull_request_into_it_is_judged() -> None:
    stage = polling(rig={"upstream": "big/app"})
    upstream = {"id": "9", "name": "big/app"}
    poll(stage, {**OURS, "base_repository": upstream})
    assert (escalated(stage), stage.the_bead("m").status) == ([], BeadStatus.IN_PROGRESS)


def test_a_rig_that_names_no_repository_has_no_pull_request_that_could_be_its_own() -> None:
    stage = polling()
    stage.town.sql.execute("UPDATE rigs SET git_url = '/srv/git/app'")
    poll(stage)
    assert (obstacle(stage), kinds(stage)) == ("wrong_repository", [])
    assert "names no repository of a forge" in noted(stage)["obstacle_detail"]


def test_a_look_that_did_not_see_the_repository_of_the_rig_judges_nothing() -> None:
    stage = polling()
    effect = stage.effect(EffectKind.POLL_PR, "m", stage.town.tick.number, pr_url=PR, rig_repository="acme/app")
    stranger = {**OURS, "head_repository": OTHER}
    answer: dict[str, Any] = {"ok": True, "state": "open", "identity": stranger}
    assert stage.apply("pr_polled", bead_id="m", effect_id=effect.id, attempt=1, **answer).outcome.text == "applied"
    assert (obstacle(stage), stage.the_bead("m").status) == (None, BeadStatus.IN_PROGRESS)


def test_the_first_word_about_a_merge_elsewhere_is_the_one_that_is_checked() -> None:
    stage = polling()
    wrong = {**OURS, "base_branch": "release"}
    poll(stage, wrong, state="merged", sha="c0ffee", mergeable_state=None)
    poll(stage, wrong, state="merged", sha="decade", mergeable_state=None)
    assert noted(stage)["merge_claim"]["commit"] == "c0ffee"


def test_nobody_is_asked_about_another_pull_request_of_work_that_has_ended() -> None:
    stage = polling()
    stage.town.sql.execute("UPDATE beads SET status = 'closed' WHERE bead_id = 'm-source'")
    result = poll(stage, {**OURS, "head_repository": OTHER})
    assert (stage.the_bead("m").status, escalated(stage), result.returns) == (BeadStatus.FAILED, [], ())
    assert "note_for_next" not in noted(stage, "m-source")


def test_a_reported_merge_that_is_not_proven_is_the_obstacle_of_its_open_pull_request() -> None:
    stage = polling(auto_merge_pending=1, merge_claim={"commit": "c0ffee"})
    poll(stage)
    assert obstacle(stage) == "merge_unproven"


def test_the_obstacle_of_a_green_pull_request_stays_while_the_forge_does_not_know_whether_it_can_be_merged() -> None:
    stage = polling(rig={"upstream": "big/app"})
    poll(stage)
    assert obstacle(stage) == "awaiting_merge"
    poll(stage, mergeable_state="unknown")
    assert obstacle(stage) == "awaiting_merge"


def test_only_required_checks_are_work_where_a_rig_says_so() -> None:
    failing = {**GREEN, "has_failing_checks": True, "all_checks_pass": False, "required_known": True}
    for passes, work in ((True, []), (False, ["pr_feedback_detected"])):
        stage = polling(rig={"required_checks_only": True})
        poll(stage, feedback={**failing, "required_pass": passes})
        assert [kind for kind in kinds(stage) if kind == "pr_feedback_detected"] == work


@pytest.mark.parametrize(("asked", "waits_for_a_person"), [(4, False), (5, True)])
def test_no_more_work_is_ordered_about_a_wrong_base_than_a_review_may_have(
    asked: int, waits_for_a_person: bool
) -> None:
    stage = polling()
    for number in range(asked):
        stage.bead(f"fix-{number}", status="closed", labels=["gt:pr-feedback"], parent_bead_id="m")
    poll(stage, {**OURS, "base_branch": "release"})
    assert (obstacle(stage), kinds(stage)) == (
        ("pr_mismatch", []) if waits_for_a_person else (None, ["pr_feedback_detected"])
    )

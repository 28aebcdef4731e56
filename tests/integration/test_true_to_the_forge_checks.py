"""Scenario 7: the newest run of each check decides, of each app and workflow on its own."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.fake_site import Pull
from tests.integration.true_to_the_forge import HOUR, MINUTE, Scene, Server, a_scene, on_both_forges
from tests.pull_request_life import PROJECT

Runs = list[tuple[str, str, dict[str, Any]]]


def lives(scene: Scene, runs: Runs) -> None:
    """Every pull request gets these runs when it is opened, one after another; then time passes."""

    def ran(pull: Pull) -> None:
        for number, (name, outcome, details) in enumerate(runs):
            at = scene.site.now() + number * MINUTE / 60
            scene.site.runs(pull, name, outcome, **{"started_at": at, "completed_at": at, **details})

    scene.site.on_open = ran
    scene.task("task")
    scene.lazy.add("pr_feedback")
    scene.passes(12 * MINUTE)


GREEN: dict[str, Runs] = {
    "a cancelled run and its green rerun": [("build", "cancelled", {}), ("build", "success", {})],
    "a red run and its green rerun": [("build", "failure", {}), ("build", "success", {})],
    "a red run and two reruns": [("build", "failure", {}), ("build", "cancelled", {}), ("build", "success", {})],
    "green by two apps": [("build", "success", {"app": "ci"}), ("build", "success", {"app": "other"})],
    "only skipped": [("docs", "skipped", {}), ("build", "success", {})],
}
RED: dict[str, Runs] = {
    "green and then red": [("build", "success", {}), ("build", "failure", {})],
    "green by one app and red by another": [
        ("build", "success", {"app": "other"}),
        ("build", "failure", {"app": "ci"}),
    ],
    "red by one app and then green by another": [
        ("build", "failure", {"app": "ci"}),
        ("build", "success", {"app": "other"}),
    ],
    "red, and the rerun was skipped": [("build", "failure", {}), ("build", "skipped", {})],
    "red in one workflow and green in another": [
        ("build", "failure", {"workflow": "one"}),
        ("build", "success", {"workflow": "two"}),
    ],
    "red for push and green for the pull request": [
        ("build", "failure", {"event": "push"}),
        ("build", "success", {"event": "pull_request"}),
    ],
    "a cancelled run alone": [("build", "cancelled", {})],
}


@pytest.mark.parametrize("case", GREEN)
def test_superseded_runs_do_not_keep_it_from_being_merged(case: str) -> None:
    with a_scene(FakeGitHub) as scene:
        lives(scene, GREEN[case])
        assert scene.status("task") == "closed", (scene.waits(), scene.beads())
        assert scene.starts() == ["work", "review"]
        assert scene.escalations() == []
        assert len(scene.merged_by_town()) == 1


@pytest.mark.parametrize("case", RED)
def test_a_check_that_nothing_supersedes_counts(case: str) -> None:
    with a_scene(FakeGitHub) as scene:
        lives(scene, RED[case])
        assert scene.merged() == []
        assert scene.status("task") == "in_review"
        assert scene.labelled("gt:pr-feedback") == ["in_progress"]
        assert scene.escalations() == []


@on_both_forges
def test_a_run_that_goes_on_keeps_it_waiting_and_starts_nothing(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        scene.site.on_open = lambda pull: pull.checks.update(build="pending")
        scene.task("task")
        scene.passes(2 * HOUR, step=MINUTE)
        assert (scene.merged(), scene.starts(), scene.escalations()) == ([], ["work", "review"], [])
        assert scene.waits()[scene.review_of("task")] == "awaiting_ci"
        scene.pull.checks["build"] = "success"
        scene.until(lambda: scene.status("task") == "closed", minutes=20)


@pytest.mark.parametrize("required_only", [True, False])
@on_both_forges
def test_a_red_check_that_is_not_required_counts_by_the_setting(
    server: Callable[[], Server], required_only: bool
) -> None:
    with a_scene(server, required_checks_only=required_only) as scene:
        scene.site.home(PROJECT).required = ("build",)
        runs: Runs = [("build", "success", {}), ("lint", "failure", {"may_fail": server is FakeGitLab})]
        lives(scene, runs)
        merges = required_only or server is FakeGitLab  # at GitLab a job that may fail does not fail its pipeline
        assert len(scene.merged_by_town()) == int(merges), (scene.waits(), scene.beads())
        assert len(scene.labelled("gt:pr-feedback")) == int(not merges)


@pytest.mark.parametrize("required_only", [True, False])
def test_a_required_check_that_never_reports_is_waited_for(required_only: bool) -> None:
    with a_scene(FakeGitHub, required_checks_only=required_only) as scene:
        scene.site.home(PROJECT).required = ("build", "security")
        lives(scene, [("build", "success", {})])
        assert scene.merged() == []
        assert not any(request.path.endswith("/merge") for request in scene.github.requests if request.method == "PUT")
        assert scene.starts() == ["work", "review"]
        scene.site.runs(scene.pull, "security", "success")
        scene.until(lambda: scene.status("task") == "closed", minutes=20)


def test_a_legacy_status_beside_runs_counts() -> None:
    with a_scene(FakeGitHub) as scene:
        scene.site.on_open = lambda pull: pull.statuses.update(legacy="failure")
        scene.task("task")
        scene.lazy.add("pr_feedback")
        scene.passes(12 * MINUTE)
        assert (scene.merged(), scene.labelled("gt:pr-feedback")[:1] != []) == ([], True)


def test_a_rule_that_needs_checks_waits_for_the_first_one() -> None:
    with a_scene(FakeGitHub, require_checks=True) as scene:
        scene.task("task")
        scene.passes(30 * MINUTE)
        assert (scene.merged(), scene.starts()) == ([], ["work", "review"])
        scene.site.runs(scene.pull, "build", "success")
        scene.until(lambda: scene.status("task") == "closed", minutes=20)

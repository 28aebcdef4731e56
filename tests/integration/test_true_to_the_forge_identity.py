"""Scenario 1: only the pull request that was agreed is merged, whatever an agent reports."""

from collections.abc import Callable

import pytest

from infra.devstack.fake_site import Pull
from shared.domain.orders import StartOrder
from tests.integration.true_to_the_forge import (
    HOUR,
    MINUTE,
    Report,
    Scene,
    Server,
    a_scene,
    on_both_forges,
    once,
)
from tests.pull_request_life import PROJECT

Others = Callable[[Scene, str], Pull]


def of_a_stranger(scene: Scene, branch: str) -> Pull:
    return scene.site.opens(PROJECT, head="dependabot/lodash", author="stranger")


def of_a_fork(scene: Scene, branch: str) -> Pull:
    return scene.site.opens(PROJECT, head="patch-1", fork="mallory/main-rig", author="mallory")


def of_a_fork_with_the_branch_of_the_work(scene: Scene, branch: str) -> Pull:
    return scene.site.opens(PROJECT, head=branch, fork="mallory/main-rig", author="mallory")


def of_a_stranger_against_release(scene: Scene, branch: str) -> Pull:
    return scene.site.opens(PROJECT, head="backport", base="release", author="stranger")


def of_a_branch_that_differs_by_case(scene: Scene, branch: str) -> Pull:
    return scene.site.opens(PROJECT, head=branch.upper(), author="worker")


def merged_of_a_stranger(scene: Scene, branch: str) -> Pull:
    pull = scene.site.opens(PROJECT, head="typo", author="stranger")
    scene.site.merge(pull)
    return pull


def closed_of_a_stranger(scene: Scene, branch: str) -> Pull:
    pull = scene.site.opens(PROJECT, head="typo", author="stranger")
    scene.site.closes(pull)
    return pull


def draft_of_a_stranger(scene: Scene, branch: str) -> Pull:
    pull = scene.site.opens(PROJECT, head="draft", author="stranger")
    pull.draft = True
    return pull


def of_another_rig(scene: Scene, branch: str) -> Pull:
    return scene.site.opens("acme/other-rig", head=branch, author="worker")


def of_another_repository(scene: Scene, branch: str) -> Pull:
    return scene.site.opens("mallory/main-rig", head=branch, author="mallory")


def merged_of_a_fork_that_is_gone(scene: Scene, branch: str) -> Pull:
    pull = scene.site.opens(PROJECT, head="patch-1", fork="mallory/main-rig", author="mallory")
    scene.site.merge(pull)
    scene.site.deletes("mallory/main-rig")
    return pull


OTHERS = [
    of_a_stranger,
    of_a_fork,
    of_a_fork_with_the_branch_of_the_work,
    of_a_stranger_against_release,
    of_a_branch_that_differs_by_case,
    merged_of_a_stranger,
    closed_of_a_stranger,
    draft_of_a_stranger,
    of_another_rig,
    of_another_repository,
    merged_of_a_fork_that_is_gone,
]


@on_both_forges
@pytest.mark.parametrize("others", OTHERS)
def test_another_pull_request_is_never_merged_and_the_right_one_beside_it_is(
    server: Callable[[], Server], others: Others
) -> None:
    with a_scene(server) as scene:
        wrong: list[Pull] = []

        def names_another(order: StartOrder, report: Report) -> Report:
            wrong.append(others(scene, report["branch"]))
            return {**report, "pr_url": scene.github.url_of(wrong[0])}

        scene.reports["work"] = once(names_another)
        scene.task("task")
        scene.until(lambda: bool(scene.reviews()))
        wrong_review = scene.review_of("task")
        before = wrong[0].merges
        scene.until(lambda: scene.status(wrong_review) == "failed", minutes=20)
        assert scene.town.metadata(wrong_review)["failureKind"] == "pr_mismatch"
        assert len(scene.escalations()) == 1, scene.escalations()
        scene.until(lambda: scene.status("task") == "closed", minutes=30)
        assert wrong[0].merges == before
        branch = scene.town.one("review_metadata", scene.review_of("task"), "branch")
        assert scene.merged_by_town() == [(PROJECT, branch, "main")]
        assert scene.starts("task") == ["work", "work"]
        assert len(scene.escalations()) == 1, "one escalation, whatever happens afterwards"
        again = [order.previous_attempt for order in scene.world.runtime.orders if order.prompt_kind == "work"]
        assert again[0] is None
        assert scene.github.url_of(wrong[0]) in (again[1] or "")


@on_both_forges
def test_its_own_pull_request_against_release_is_retargeted_and_then_merged(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        scene.reports["work"] = lambda order, report: _against(scene, report, "release")
        scene.reports["pr_feedback"] = lambda order, report: _retargeted(scene, report, "main")
        scene.task("task")
        scene.until(lambda: bool(scene.labelled("gt:pr-feedback")))
        assert scene.merged() == []
        scene.until(lambda: scene.status("task") == "closed", minutes=30)
        assert [base for _, _, base in scene.merged_by_town()] == ["main"]
        assert scene.starts().count("pr_feedback") == 1
        assert scene.escalations() == []


@on_both_forges
def test_a_pull_request_that_nobody_retargets_waits_and_says_so_once(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        scene.reports["work"] = lambda order, report: _against(scene, report, "release")
        scene.task("task")
        scene.until(lambda: scene.waits().get(scene.review_of("task")) == "pr_mismatch" if scene.reviews() else False)
        scene.passes(26 * HOUR, step=30 * MINUTE)
        assert scene.merged() == []
        assert scene.starts().count("pr_feedback") == 1
        assert scene.starts("task") == ["work"]
        assert len(scene.escalations(live=True)) == 1
        scene.site.retargets(scene.pull, "main")
        scene.until(lambda: scene.status("task") == "closed", minutes=60)
        assert scene.escalations(live=True) == []


def _against(scene: Scene, report: Report, base: str) -> Report:
    scene.site.retargets(scene.pull, base)
    return report


def _retargeted(scene: Scene, report: Report, base: str) -> Report:
    scene.site.retargets(scene.pull, base)
    return report


@pytest.mark.parametrize("form", ["refs/heads/{}", "origin/{}", "refs/heads/origin/{}", "{}"])
def test_a_branch_is_the_same_with_what_git_writes_before_it(form: str) -> None:
    with a_scene() as scene:
        scene.reports["work"] = lambda order, report: {**report, "branch": form.format(report["branch"])}
        scene.task("task")
        scene.until(lambda: scene.status("task") == "closed", minutes=30)
        assert scene.starts("task") == ["work"]
        assert len(scene.merged()) == 1


@pytest.mark.parametrize(
    "form",
    ["upper", "{}-2", "main", "refs/heads/main", "origin/main", "refs/tags/{}", "remotes/origin/{}", "fork:{}", "{}/"],
)
def test_a_report_that_names_another_branch_is_rejected_and_the_agent_told(form: str) -> None:
    with a_scene() as scene:
        scene.reports["work"] = lambda order, report: {**report, "branch": _formed(form, report["branch"])}
        scene.task("task")
        scene.until(lambda: scene.dispatched("work") == 1)
        [order] = [each for each in scene.world.runtime.orders if each.prompt_kind == "work"]
        scene.passes(MINUTE)
        assert scene.outcome_of(f"done-{order.agent_id}-{order.generation}") == "rejected: other branch"
        assert scene.reviews() == []
        assert scene.merged() == []


def _formed(form: str, branch: str) -> str:
    return branch.upper() if form == "upper" else form.format(branch)


@pytest.mark.parametrize(
    "form",
    [
        "{}/",
        "{}/files",
        "{}/commits",
        "{}?diff=split",
        "{}#discussion_r1",
        "{}/?x=1#y",
        " {} ",
        "HTTPS{}",
        "upper",
    ],
)
@on_both_forges
def test_an_address_in_another_form_leads_to_the_same_pull_request(server: Callable[[], Server], form: str) -> None:
    def formed(url: str) -> str:
        if form == "upper":
            host = url.split("/")[2]
            return url.replace(host, host.upper()).replace("acme", "ACME")
        if form == "HTTPS{}":
            return form.format(url.removeprefix("https"))
        return form.format(url)

    with a_scene(server) as scene:
        scene.reports["work"] = lambda order, report: {**report, "pr_url": formed(report["pr_url"])}
        scene.task("task")
        scene.until(lambda: scene.status("task") == "closed", minutes=30)
        assert scene.starts("task") == ["work"]
        assert [base for _, _, base in scene.merged_by_town()] == ["main"]
        assert scene.escalations() == []

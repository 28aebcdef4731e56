"""Scenarios 2 and 3: merged into the branch that was agreed, and closed as merged only by the forge's word."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.devstack.fake_forge import Trouble
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
from tests.pull_request_life import PROJECT, a_convoy
from tests.towns import event


def a_work_pull_request_on_main(scene: Scene) -> None:
    """The first agent opens its pull request on main, although the order names the feature branch."""

    def on_main(order: StartOrder, report: Report) -> Report:
        scene.site.retargets(scene.pull, "main")
        return report

    scene.reports["work"] = on_main


@on_both_forges
def test_a_task_that_lands_with_its_convoy_is_not_merged_to_main(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        a_work_pull_request_on_main(scene)
        scene.lazy.add("pr_feedback")
        task = a_convoy(scene, mode="review-then-land")
        scene.until(lambda: scene.dispatched("pr_feedback") == 1)
        feature = scene.town.one("review_metadata", scene.review_of(task), "target_branch")
        [order] = [each for each in scene.world.runtime.orders if each.prompt_kind == "pr_feedback"]
        assert feature in f"{order.bead}", "the worker is told which base is right"
        assert (scene.merged(), scene.escalations(), scene.status(task)) == ([], [], "in_review")

        scene.site.retargets(scene.pull, feature)
        scene.finishes("pr_feedback")
        scene.until(lambda: scene.status("convoy") == "closed", minutes=90)
        branch = scene.town.one("review_metadata", scene.review_of(task), "branch")
        assert scene.merged_by_town() == [(PROJECT, branch, feature), (PROJECT, feature, "main")]
        assert scene.starts(task) == ["work"]
        assert scene.escalations() == []


@on_both_forges
def test_a_wrong_base_that_a_person_merges_holds_the_task_and_asks_a_person(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        a_work_pull_request_on_main(scene)
        scene.lazy |= {"pr_feedback", "review"}
        task = a_convoy(scene, mode="review-then-land")
        scene.until(lambda: bool(scene.reviews()))
        review = scene.review_of(task)
        scene.site.merge(scene.pull, "squash")
        scene.until(lambda: scene.status(review) == "failed", minutes=60)
        assert scene.town.metadata(review)["failureKind"] == "pr_mismatch"
        scene.passes(30 * MINUTE)
        assert scene.starts(task) == ["work"]
        assert len(scene.escalations(live=True)) == 1
        assert scene.status("convoy") != "closed"
        assert scene.merged_by_town() == []
        assert scene.waits()[task] == "held"


@on_both_forges
def test_a_merge_into_another_base_in_the_last_moment_is_no_merge_of_the_work(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        scene.task("task")
        scene.until(lambda: bool(scene.reviews()))
        review = scene.review_of("task")
        truth = scene.github.answer

        def retargeted_and_merged_meanwhile(request: Any) -> Any:
            if scene.town.metadata(review).get("auto_merge_pending") and scene.pull.state == "open":
                scene.site.retargets(scene.pull, "release")
                scene.site.merge(scene.pull)
            return truth(request)

        scene.github.answer = retargeted_and_merged_meanwhile  # type: ignore[method-assign]
        scene.until(lambda: scene.pull.state == "merged", minutes=30)
        scene.passes(20 * MINUTE)
        assert scene.merged() == [(PROJECT, scene.pull.head, "release", "person")]
        assert scene.status(review) == "failed"
        assert scene.town.metadata(review)["failureKind"] == "pr_mismatch"
        assert scene.status("task") == "open"
        assert len(scene.escalations(live=True)) == 1
        assert scene.starts("task") == ["work"]


@on_both_forges
@pytest.mark.parametrize("change", ["retargets", "pushes", "drafts", "closes"])
def test_what_changes_right_before_the_merge_is_not_merged(server: Callable[[], Server], change: str) -> None:
    with a_scene(server) as scene:
        scene.task("task")
        scene.until(lambda: bool(scene.reviews()))
        review = scene.review_of("task")
        scene.lazy |= {"work", "review", "pr_feedback"}
        scene.until(lambda: scene.status(review) == "in_progress")
        truth, done = scene.github.answer, list[str]()

        def changed_meanwhile(request: Any) -> Any:
            if scene.town.metadata(review).get("auto_merge_pending") and not done:
                done.append(change)
                if change == "retargets":
                    scene.site.retargets(scene.pull, "release")
                elif change == "drafts":
                    scene.pull.draft = True
                else:
                    getattr(scene.site, change)(scene.pull)
            return truth(request)

        scene.github.answer = changed_meanwhile  # type: ignore[method-assign]
        scene.until(lambda: bool(done), minutes=30)
        scene.passes(10 * MINUTE)
        assert scene.merged() == []
        assert scene.status("task") != "closed"


def refinery_says(scene: Scene, **said: Any) -> Callable[[StartOrder, Report], Report]:
    """The refinery reports this, and nothing else but the branch."""
    return lambda order, report: {"branch": "b", "summary": "ok", **said}


@on_both_forges
@pytest.mark.parametrize("merge_commit", [None, "f" * 40])
def test_a_refinery_that_says_done_without_an_address_closes_nothing(
    server: Callable[[], Server], merge_commit: str | None
) -> None:
    with a_scene(server, auto_merge=False) as scene:
        said = {} if merge_commit is None else {"merge_commit": merge_commit}
        scene.reports["review"] = refinery_says(scene, **said)
        task = a_convoy(scene)
        scene.until(lambda: scene.dispatched("review") == 1)
        review = scene.review_of(task)
        scene.passes(10 * MINUTE)
        assert (scene.status(review), scene.status(task), scene.status("convoy")) == (
            "in_progress",
            "in_review",
            "open",
        )
        asked = len(scene.github.requests)
        scene.passes(10 * MINUTE)
        assert len(scene.github.requests) > asked, "it is polled"
        assert (scene.merged(), scene.escalations()) == ([], [])
        assert scene.waits()[review] == "awaiting_merge"
        scene.site.merge(scene.pull)
        scene.until(lambda: scene.status("convoy") == "closed", minutes=15)
        assert (scene.status(review), scene.status(task)) == ("closed", "closed")
        assert scene.starts() == ["work", "review"]
        assert scene.town.one("review_metadata", review, "merge_commit") == scene.pull.merge_sha


@on_both_forges
def test_a_refinery_of_a_landing_that_says_done_does_not_land_its_convoy(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        a_convoy(scene, mode="review-then-land")
        scene.until(lambda: len(scene.reviews()) == 2, minutes=60)
        landing = scene.reviews()[-1][0]
        scene.lazy.add("review")
        scene.until(lambda: scene.town.one("review_metadata", landing, "pr_url") is not None)
        scene.pull.decision = "REVIEW_REQUIRED"
        scene.passes(5 * MINUTE)
        hooked = scene.town.rows(
            "SELECT bead_id, generation FROM agent_metadata WHERE role = 'refinery' ORDER BY bead_id"
        )
        for agent, generation in hooked:
            scene.world.post(
                event(
                    "agent_done",
                    {"branch": "b", "summary": "ok", "generation": generation},
                    event_id=f"landed-{agent}",
                    agent=agent,
                    at=scene.world.clock.now(),
                )
            )
        scene.passes(5 * MINUTE)
        assert (scene.status(landing), scene.status("convoy")) == ("in_progress", "open")
        assert [base for _, _, base in scene.merged_by_town()] != ["main"]
        scene.pull.decision = "APPROVED"
        scene.lazy.clear()
        scene.until(lambda: scene.status("convoy") == "closed", minutes=30)
        assert scene.merged_by_town()[-1][2] == "main"


@on_both_forges
@pytest.mark.parametrize("other", ["a stranger's", "of another rig", "no pull request", "not https"])
def test_a_refinery_that_names_another_pull_request_is_rejected(server: Callable[[], Server], other: str) -> None:
    with a_scene(server) as scene:
        scene.task("task")
        stranger = scene.site.opens(PROJECT, head="theirs", author="stranger")
        elsewhere = scene.site.opens("acme/other-rig", head="theirs", author="stranger")
        named = {
            "a stranger's": scene.github.url_of(stranger),
            "of another rig": scene.github.url_of(elsewhere),
            "no pull request": f"https://{scene.github.host}/{PROJECT}",
            "not https": scene.github.url_of(stranger).replace("https", "http"),
        }
        scene.reports["review"] = once(lambda order, report: {**report, "pr_url": named[other]})
        scene.until(lambda: scene.dispatched("review") == 1)
        [order] = [each for each in scene.world.runtime.orders if each.prompt_kind == "review"]
        scene.passes(MINUTE)
        outcome = scene.outcome_of(f"done-{order.agent_id}-{order.generation}")
        assert outcome == "rejected: other pull request"
        url = scene.town.one("review_metadata", scene.review_of("task"), "pr_url")
        assert f"{url}".endswith("1") or url == order.pr_url
        scene.until(lambda: scene.status("task") == "closed", minutes=120)
        assert (stranger.merges, elsewhere.merges, len(scene.merged_by_town())) == (0, 0, 1)


@on_both_forges
def test_a_refinery_that_says_done_twice_changes_nothing_the_second_time(server: Callable[[], Server]) -> None:
    with a_scene(server, auto_merge=False) as scene:
        scene.task("task")
        scene.until(lambda: scene.dispatched("review") == 1)
        [order] = [each for each in scene.world.runtime.orders if each.prompt_kind == "review"]
        scene.passes(2 * MINUTE)
        review = scene.review_of("task")
        for number in range(3):
            said = {"branch": "b", "generation": order.generation, "merge_commit": "e" * 40}
            scene.posts("agent_done", said, event_id=f"done-again-{number}", agent=order.agent_id)
        scene.passes(10 * MINUTE)
        assert (scene.status(review), scene.status("task")) == ("in_progress", "in_review")
        assert (scene.merged(), scene.escalations(), scene.starts()) == ([], [], ["work", "review"])


@on_both_forges
def test_a_forge_that_cannot_merge_for_hours_is_asked_rarely_and_merges_in_the_end(
    server: Callable[[], Server],
) -> None:
    with a_scene(server) as scene:
        scene.task("task")
        scene.until(lambda: bool(scene.reviews()))
        review = scene.review_of("task")
        scene.github.trouble.plan(Trouble(503, method="PUT"), times=None)
        scene.passes(2 * HOUR)
        assert scene.status(review) == "in_progress"
        assert scene.waits()[review] == "merge_refused"
        tries = sum(request.method == "PUT" for request in scene.github.requests)
        scene.github.trouble.end()
        scene.passes(7 * HOUR, step=5 * MINUTE)
        assert scene.status("task") == "closed"
        assert (len(scene.merged_by_town()), scene.starts()) == (1, ["work", "review"])
        assert tries <= 15, "at most three calls of each of five tries"
        assert len(scene.escalations()) == 1
        assert scene.escalations(live=True) == []

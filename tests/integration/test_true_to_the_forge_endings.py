"""Scenario 5: the end of a plan, a bead or a review stops what belongs to it, and nothing of it is merged."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.ports.steps import drive
from shared.questions import status as reports
from tests.integration.true_to_the_forge import HOUR, MINUTE, Scene, Server, a_scene, on_both_forges
from tests.pull_request_life import a_convoy
from tests.towns import TOWN, event


def a_plan(scene: Scene, *, staged: bool, tasks: int = 3) -> list[str]:
    """A convoy of some tasks; their ids."""
    titles = [f"task {number}" for number in range(tasks)]
    payload = {
        "convoy_id": "convoy",
        "title": "Build it",
        "rig_id": "rig-1",
        "merge_mode": "review-then-land",
        "staged": staged,
        "tasks": [{"title": title, "depends_on": []} for title in titles],
    }
    scene.world.post(event("convoy_created", payload, at=scene.world.clock.now()))
    scene.passes(MINUTE / 6)
    found = dict(scene.town.rows("SELECT title, bead_id FROM beads WHERE type = 'issue'"))
    return [found[title] for title in titles]


def abandoned(scene: Scene) -> list[str]:
    """The addresses of the pull requests that the status lists as abandoned."""
    report = drive(reports.status(TOWN, scene.world.around))
    return sorted(line.pr_url for line in report.abandoned)


def cancels(scene: Scene, bead: str) -> None:
    scene.posts("bead_cancelled", {}, bead=bead)


@on_both_forges
def test_a_staged_plan_that_is_cancelled_starts_nothing(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        tasks = a_plan(scene, staged=True)
        scene.passes(MINUTE)
        cancels(scene, "convoy")
        rehearsed = scene.world.dry_run().report.outputs()["actions"]
        assert "dispatch_agent" not in f"{rehearsed}"
        scene.passes(2 * HOUR, step=MINUTE)
        assert {scene.status(task) for task in tasks} == {"failed"}
        assert (scene.starts(), scene.merged(), scene.escalations()) == ([], [], [])
        scene.posts("convoy_started", {"convoy_id": "convoy"})
        scene.passes(10 * MINUTE)
        assert scene.starts() == []


@on_both_forges
def test_a_running_plan_that_is_cancelled_stops_its_agents_and_merges_nothing(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        scene.lazy |= {"review"}
        tasks = a_plan(scene, staged=False)
        scene.until(lambda: scene.dispatched("work") == 3)
        scene.until(lambda: scene.dispatched("review") == 1)
        before = len(scene.starts())
        open_ones = sorted(scene.github.url_of(pull) for pull in scene.site.pulls)
        cancels(scene, "convoy")
        scene.passes(MINUTE)
        assert {scene.status(task) for task in tasks} == {"failed"}
        assert {status for _, status in scene.reviews()} == {"failed"}
        assert set(scene.world.runtime.running()) <= {"mayor"}
        assert abandoned(scene) == open_ones
        scene.passes(2 * HOUR, step=MINUTE)
        assert len(scene.starts()) == before
        assert (scene.merged(), scene.status("convoy")) == ([], "failed")
        scene.site.closes(scene.site.pulls[0])


@on_both_forges
@pytest.mark.parametrize("what", ["task", "review"])
def test_a_bead_that_is_cancelled_in_review_is_not_merged(server: Callable[[], Server], what: str) -> None:
    with a_scene(server) as scene:
        scene.site.on_open = lambda pull: setattr(pull, "decision", "REVIEW_REQUIRED")
        scene.task("task")
        scene.until(lambda: "awaiting_approval" in scene.waits().values())
        review = scene.review_of("task")
        cancels(scene, "task" if what == "task" else review)
        scene.pull.decision = "APPROVED"
        asked = len(scene.github.requests)
        scene.passes(2 * HOUR, step=MINUTE)
        assert len(scene.github.requests) == asked, "it is not polled any more"
        assert scene.merged() == []
        assert scene.status(review) == "failed"
        assert scene.status("task") == ("failed" if what == "task" else "open")
        assert scene.starts() == ["work", "review"]
        assert abandoned(scene) == [scene.github.url_of(scene.pull)]
        if what == "review":
            assert scene.waits()["task"] == "held"


@on_both_forges
def test_a_bead_that_is_cancelled_while_its_merge_is_under_way_is_recorded_and_nothing_else(
    server: Callable[[], Server],
) -> None:
    with a_scene(server) as scene:
        scene.task("task")
        scene.until(lambda: bool(scene.reviews()))
        review, truth, done = scene.review_of("task"), scene.github.answer, list[str]()

        def cancelled_meanwhile(request: Any) -> Any:
            if request.method == "PUT" and request.path.endswith("/merge") and not done:
                done.append("cancelled")
                scene.world.post(event("bead_cancelled", bead="task", at=scene.world.clock.now()))
            return truth(request)

        scene.github.answer = cancelled_meanwhile  # type: ignore[method-assign]
        scene.until(lambda: bool(done), minutes=30)
        scene.passes(30 * MINUTE)
        assert len(scene.merged_by_town()) == 1
        assert scene.town.one("review_metadata", review, "merge_commit") == scene.pull.merge_sha
        assert scene.starts() == ["work", "review"]
        # Whoever was first decides: the merge closes both, or it is recorded after the end and one person is told.
        ended = (scene.status("task"), scene.status(review), len(scene.escalations()))
        assert ended in [("closed", "closed", 0), ("failed", "failed", 1)]
        assert abandoned(scene) == []


@on_both_forges
@pytest.mark.parametrize("how", ["review", "convoy"])
def test_a_landing_that_is_cancelled_does_not_land(server: Callable[[], Server], how: str) -> None:
    with a_scene(server) as scene:
        a_convoy(scene, mode="review-then-land")
        scene.until(lambda: len(scene.reviews()) == 1)
        scene.site.on_open = lambda pull: setattr(pull, "decision", "REVIEW_REQUIRED")
        scene.until(lambda: len(scene.reviews()) == 2, minutes=60)
        landing = scene.reviews()[-1][0]
        scene.until(lambda: scene.waits().get(landing) == "awaiting_approval")
        before = scene.starts()
        cancels(scene, landing if how == "review" else "convoy")
        scene.pull.decision = "APPROVED"
        scene.passes(3 * HOUR, step=MINUTE)
        assert [base for _, _, base in scene.merged_by_town()] != ["main"]
        assert len(scene.merged_by_town()) == 1
        assert scene.starts() == before
        assert scene.status(landing) == "failed"
        assert abandoned(scene) == [scene.github.url_of(scene.pull)]
        if how == "review":
            assert scene.waits()["convoy"] == "held"
            scene.posts("convoy_started", {"convoy_id": "convoy"})
            scene.until(lambda: scene.status("convoy") == "closed", minutes=90)
            assert scene.merged_by_town()[-1][2] == "main"
            assert abandoned(scene) == []
        else:
            assert scene.status("convoy") == "failed"


@on_both_forges
def test_what_waits_in_a_merge_queue_leaves_it_when_its_plan_is_cancelled(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        scene.site.home("acme/main-rig").has_queue = True
        scene.task("task")
        scene.until(
            lambda: scene.waits().get(scene.review_of("task")) == "in_merge_queue" if scene.reviews() else False
        )
        assert scene.pull.in_queue
        cancels(scene, "task")
        scene.passes(5 * MINUTE)
        assert not scene.pull.in_queue
        assert (scene.merged(), scene.starts()) == ([], ["work", "review"])
        assert abandoned(scene) == [scene.github.url_of(scene.pull)]

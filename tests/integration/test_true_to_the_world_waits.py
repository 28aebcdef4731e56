"""Scenario 8 of "true to the world": whatever a pull request waits for, the wait costs little, is told once, and has an end.

The first two hours of each wait pass at the pace of the town, so that its calls are counted; the rest of the day passes in
steps of an hour.
"""

from collections.abc import Callable
from typing import Any

import pytest

from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.fake_site import Pull
from tests.integration.true_to_the_forge import HOUR, MINUTE, Scene, a_scene, on_both_forges
from tests.pull_request_life import PROJECT, a_convoy

Forge = Callable[[], FakeGitHub | FakeGitLab]


def review_of(scene: Scene) -> str:
    """The only review."""
    [(review, _)] = scene.reviews()
    return review


def reason(scene: Scene) -> str | None:
    """Why the only review waits."""
    return scene.waits().get(review_of(scene))


def waits_for_a_day(scene: Scene, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A day passes, and the review waits for that from the first hour to the last."""
    counted = []
    for _ in range(2):
        before = len(scene.github.requests)
        scene.passes(HOUR)
        counted.append(len(scene.github.requests) - before)
    assert reason(scene) == why
    scene.passes(24 * HOUR, step=HOUR)
    assert reason(scene) == why
    with capsys.disabled():
        print(f"\n{type(scene.github).__name__}, {why}: calls in the first and in a later hour: {counted}")
    assert counted[0] <= 70
    assert counted[1] <= 15


def wants_changes(scene: Scene, pull: Pull, by: str = "anna") -> None:
    """A reviewer requests changes without a thread."""
    scene.site.says(pull, by, "CHANGES_REQUESTED")
    pull.decision = "CHANGES_REQUESTED"


def approves(scene: Scene, pull: Pull, by: str = "anna") -> None:
    scene.site.says(pull, by, "APPROVED")
    pull.decision = "APPROVED"


# --- merge queues ---------------------------------------------------------------------------------------------------


def queued(scene: Scene) -> Pull:
    """A pull request that the town has put into the queue of its base."""
    scene.site.home(PROJECT).has_queue = True
    a_convoy(scene)
    scene.until(lambda: bool(scene.site.pulls) and scene.site.pulls[0].in_queue)
    return scene.site.pulls[0]


@on_both_forges
def test_a_pull_request_waits_a_day_in_a_merge_queue_and_is_put_there_once(
    server: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_scene(server) as scene:
        pull = queued(scene)
        waits_for_a_day(scene, "in_merge_queue", capsys)
        assert len(scene.escalations(live=True)) == 1
        assert "in merge queue" in scene.escalations()[0]
        scene.site.merge(pull, by="queue")
        scene.until(lambda: scene.status("convoy") == "closed", minutes=15)
        assert (scene.starts(), scene.escalations(live=True)) == (["work", "review"], [])
        assert [by for *_, by in scene.merged()] == ["queue"]


def test_a_queue_that_rejects_is_joined_five_times_then_told_once_and_tried_again_after_six_hours() -> None:
    with a_scene() as scene:
        pull = queued(scene)
        joined, joins = [pull.in_queue], scene.site.enqueues

        def counted(each: Pull) -> Any:
            joined.append(True)
            return joins(each)

        scene.site.enqueues = counted
        for _ in range(12):
            scene.site.leaves(pull)
            scene.passes(6 * MINUTE)
        assert len(joined) == 5
        assert reason(scene) == "merge_refused"
        assert len(scene.escalations(live=True)) == 1
        scene.until(lambda: pull.in_queue, minutes=6 * 60)
        scene.site.merge(pull, by="queue")
        scene.until(lambda: scene.status("convoy") == "closed", minutes=15)
        assert (len(joined), scene.escalations(live=True), scene.starts()) == (6, [], ["work", "review"])


@on_both_forges
@pytest.mark.parametrize("cancelled", ["task", "review"])
def test_work_that_is_cancelled_in_the_queue_leaves_it(server: Forge, cancelled: str) -> None:
    with a_scene(server) as scene:
        pull = queued(scene)
        review = review_of(scene)
        source = scene.town.metadata(review)["source_bead_id"]
        scene.posts("bead_cancelled", {}, bead=review if cancelled == "review" else source)
        scene.passes(2 * MINUTE)
        assert (pull.in_queue, pull.state, scene.status(review)) == (False, "open", "failed")
        scene.passes(2 * HOUR, step=5 * MINUTE)
        assert (pull.in_queue, scene.merged(), scene.starts()) == (False, [], ["work", "review"])


@on_both_forges
def test_a_repository_that_is_renamed_while_its_pull_request_is_queued_is_the_same_repository(server: Forge) -> None:
    with a_scene(server) as scene:
        pull = queued(scene)
        scene.site.renames(PROJECT, "others/application")
        scene.passes(10 * MINUTE)
        assert (reason(scene), pull.in_queue) == ("in_merge_queue", True)
        scene.site.merge(pull, by="queue")
        scene.until(lambda: scene.status("convoy") == "closed", minutes=15)
        assert (scene.starts(), scene.escalations()) == (["work", "review"], [])


# --- strict bases ---------------------------------------------------------------------------------------------------


def builds(scene: Scene) -> list[tuple[int, str]]:
    """Every head of every pull request gets one green CI run of five minutes. Returns the runs, as they begin."""
    runs: list[tuple[int, str]] = []
    ends: dict[tuple[int, str], Any] = {}
    look = scene.world.look

    def looked() -> Any:
        for pull in scene.site.pulls:
            run = (pull.number, pull.sha)
            if pull.state == "open" and run not in ends:
                runs.append(run)
                pull.checks["ci"], ends[run] = "pending", scene.world.clock.now() + 5 * MINUTE
            elif pull.state == "open" and scene.world.clock.now() >= ends[run]:
                pull.checks["ci"] = "success"
        return look()

    scene.world.look = looked  # type: ignore[method-assign]
    return runs


def strict(scene: Scene, tasks: int) -> None:
    """Work on a strict base: every merge puts all others behind."""
    scene.site.home(PROJECT).is_strict = True
    planned = [{"title": f"Task {number}", "depends_on": []} for number in range(tasks)]
    payload = {
        "convoy_id": "convoy",
        "title": "Much",
        "rig_id": "rig-1",
        "merge_mode": "review-and-merge",
        "staged": False,
    }
    scene.posts("convoy_created", {**payload, "tasks": planned})


@on_both_forges
def test_pull_requests_on_a_strict_base_cost_at_most_two_ci_runs_each(
    server: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five of them; `tests/unit/rules/test_strict_base.py` has twenty, without a forge."""
    with a_scene(server) as scene:
        runs = builds(scene)
        strict(scene, 5)
        hours = 0
        while scene.status("convoy") != "closed" and hours < 24:
            scene.passes(HOUR, step=MINUTE)
            hours += 1
        with capsys.disabled():
            print(
                f"\n{type(scene.github).__name__}, a strict base: {len(runs)} runs, {hours} h, {len(scene.github.requests)} calls"
            )
        assert len(scene.merged_by_town()) == 5
        assert len(runs) <= 10
        assert scene.escalations() == []
        assert (scene.starts().count("work"), scene.starts().count("review")) == (5, 5)


# --- people ---------------------------------------------------------------------------------------------------------


@on_both_forges
def test_changes_requested_without_a_thread_are_answered_once_and_reviewed_again(
    server: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_scene(server) as scene:
        a_convoy(scene)
        scene.until(lambda: bool(scene.site.pulls))
        pull = scene.site.pulls[0]
        wants_changes(scene, pull)
        scene.until(lambda: scene.starts().count("pr_feedback") == 1 and pull.asked == ["anna"], minutes=30)
        waits_for_a_day(scene, "changes_requested", capsys)
        assert scene.starts() == ["work", "review", "pr_feedback"]
        [told] = scene.escalations(live=True)
        assert 'changes requested ("by anna")' in told
        approves(scene, pull)
        scene.until(lambda: scene.status("convoy") == "closed", minutes=60)
        assert scene.escalations(live=True) == []
        assert len(scene.merged_by_town()) == 1


def test_each_request_for_changes_gets_its_own_answer() -> None:
    with a_scene() as scene:
        a_convoy(scene)
        scene.until(lambda: bool(scene.site.pulls))
        pull = scene.site.pulls[0]
        for answered in (1, 2, 3):
            wants_changes(scene, pull)
            expected = (answered, ["anna"])
            scene.until(lambda now=expected: (scene.starts().count("pr_feedback"), pull.asked) == now, minutes=30)  # type: ignore[misc]
        scene.passes(30 * MINUTE)
        assert scene.starts().count("pr_feedback") == 3
        assert scene.merged() == []


@on_both_forges
def test_a_draft_waits_until_its_author_ends_that(server: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    with a_scene(server) as scene:
        scene.site.on_open = lambda pull: setattr(pull, "draft", True)
        a_convoy(scene)
        scene.until(lambda: bool(scene.reviews()) and reason(scene) == "draft")
        waits_for_a_day(scene, "draft", capsys)
        assert (scene.starts(), len(scene.escalations(live=True)), scene.merged()) == (["work", "review"], 1, [])
        scene.site.pulls[0].draft = False
        scene.until(lambda: scene.status("convoy") == "closed", minutes=30)
        assert scene.escalations(live=True) == []
        assert len(scene.merged_by_town()) == 1


@on_both_forges
def test_an_approval_by_the_author_is_none(server: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    with a_scene(server) as scene:

        def opened(pull: Pull) -> None:
            scene.site.says(pull, "worker", "APPROVED")
            pull.decision = "REVIEW_REQUIRED"

        scene.site.on_open = opened
        a_convoy(scene)
        scene.until(lambda: bool(scene.reviews()) and reason(scene) == "awaiting_approval")
        waits_for_a_day(scene, "awaiting_approval", capsys)
        assert (scene.escalations(), scene.merged(), scene.starts()) == ([], [], ["work", "review"])
        approves(scene, scene.site.pulls[0])
        scene.until(lambda: scene.status("convoy") == "closed", minutes=30)


# --- repositories ---------------------------------------------------------------------------------------------------


@on_both_forges
@pytest.mark.parametrize("new_name", ["acme/application", "others/main-rig"])
def test_a_repository_that_is_renamed_or_transferred_is_merged_into_under_its_new_name(
    server: Forge, new_name: str
) -> None:
    with a_scene(server) as scene:
        scene.site.on_open = lambda pull: setattr(pull, "decision", "REVIEW_REQUIRED")
        a_convoy(scene)
        scene.until(lambda: bool(scene.reviews()) and reason(scene) == "awaiting_approval")
        scene.site.renames(PROJECT, new_name)
        scene.passes(24 * HOUR, step=HOUR)
        assert (reason(scene), scene.escalations()) == ("awaiting_approval", [])
        approves(scene, scene.site.pulls[0])
        scene.until(lambda: scene.status("convoy") == "closed", minutes=30)
        assert [project for project, _, _ in scene.merged_by_town()] == [new_name]
        assert scene.starts() == ["work", "review"]


@on_both_forges
def test_the_pull_request_of_a_fork_workflow_is_tended_and_merged_by_people_only(
    server: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_scene(server) as scene:
        opens = scene.site.opens
        scene.site.opens = lambda _project, **given: opens("up/stream", fork=PROJECT, **given)
        scene._pull_of = lambda order: scene.site.pulls[-1]  # type: ignore[method-assign]
        url = f"https://{scene.github.host}/{PROJECT}.git"
        scene.posts(
            "rig_registered",
            {"rig_id": "rig-1", "name": "main-rig", "git_url": url, "config": {"upstream": "up/stream"}},
        )
        a_convoy(scene)
        scene.until(lambda: bool(scene.reviews()) and reason(scene) == "awaiting_merge")
        scene.site.comments(scene.site.pulls[0])
        scene.until(lambda: scene.starts().count("pr_feedback") == 1)
        scene.passes(10 * MINUTE)
        waits_for_a_day(scene, "awaiting_merge", capsys)
        assert (scene.escalations(), scene.merged()) == ([], [])
        scene.site.merge(scene.site.pulls[0])
        scene.until(lambda: scene.status("convoy") == "closed", minutes=15)
        assert (scene.merged_by_town(), scene.starts()) == ([], ["work", "review", "pr_feedback"])

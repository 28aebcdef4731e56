"""Scenario 6: not being able to look is no verdict. Nothing starts, nothing fails, one person is told, and all go on afterwards."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from infra.devstack.fake_forge import TOKEN, Trouble
from infra.devstack.fake_github import FakeGitHub
from tests.integration.true_to_the_forge import DAY, HOUR, MINUTE, Scene, Server, a_scene, on_both_forges
from tests.pull_request_life import PROJECT
from tests.towns import event

TASKS = ("task-1", "task-2", "task-3", "task-4")


def four_wait_for_approval(scene: Scene) -> list[str]:
    """Four tasks whose reviewed pull requests lack an approval; their reviews."""
    scene.site.on_open = _wants_approval
    for task in TASKS:
        scene.task(task)
    scene.until(lambda: set(scene.waits().values()) >= {"awaiting_approval"} and _all_reviewed(scene), minutes=90)
    return [scene.review_of(task) for task in TASKS]


def _wants_approval(pull: object) -> None:
    pull.decision = "REVIEW_REQUIRED"  # type: ignore[attr-defined]


def _all_reviewed(scene: Scene) -> bool:
    reviews = scene.reviews()
    return len(reviews) == len(TASKS) and all(
        scene.waits().get(review) == "awaiting_approval" and scene.town.metadata(review).get("review_passed_head")
        for review, _ in reviews
    )


def all_merge(scene: Scene) -> None:
    """Everybody approves, and every task is closed, without another start."""
    for pull in scene.site.pulls:
        pull.decision = "APPROVED"
    scene.until(lambda: all(scene.status(task) == "closed" for task in TASKS), minutes=90)
    assert sorted(head for _, head, _ in scene.merged_by_town()) == sorted(pull.head for pull in scene.site.pulls)
    assert sorted(scene.starts()) == ["review"] * 4 + ["work"] * 4
    assert scene.escalations(live=True) == []


def reasons(scene: Scene, reviews: list[str]) -> set[str | None]:
    return {scene.waits().get(review) for review in reviews}


@on_both_forges
@pytest.mark.parametrize("for_minutes", [33, 40, 120])
def test_an_expired_token_costs_no_work_and_one_person_is_told(server: Callable[[], Server], for_minutes: int) -> None:
    with a_scene(server) as scene:
        reviews = four_wait_for_approval(scene)
        scene.github.tokens = ("the next token",)
        asked = len(scene.github.requests)
        scene.passes(for_minutes * MINUTE, step=MINUTE / 2)
        assert reasons(scene, reviews) == {"forge_denied"}
        assert {status for _, status in scene.reviews()} == {"in_progress"}
        assert len(scene.github.requests) - asked <= 10 * len(reviews), "repeated 401 lock an account"
        _told_once(scene)
        scene.github.tokens = (TOKEN,)
        scene.passes(35 * MINUTE, step=MINUTE / 2)
        assert reasons(scene, reviews) == {"awaiting_approval"}
        assert scene.escalations(live=True) == []
        all_merge(scene)


def _told_once(scene: Scene) -> None:
    """Somebody was told exactly once: of a platform token those who run the deployment, else the people of the town."""
    platform = scene.town.rows("SELECT value FROM town WHERE key = 'forge_episodes'")
    voiced = str(platform).count('"voiced":true')
    assert voiced == 1, platform
    assert len(scene.escalations()) <= 1


@on_both_forges
@pytest.mark.parametrize("away", [timedelta(days=6, hours=23), timedelta(days=7, hours=1)])
def test_after_a_week_without_a_look_the_work_is_held_and_a_person_lets_it_go_on(
    server: Callable[[], Server], away: timedelta
) -> None:
    with a_scene(server) as scene:
        reviews = four_wait_for_approval(scene)
        scene.github.tokens = ("the next token",)
        scene.passes(away, step=29 * MINUTE)
        scene.github.tokens = (TOKEN,)
        if away < 7 * DAY:
            scene.passes(HOUR, step=MINUTE)
            assert reasons(scene, reviews) == {"awaiting_approval"}
        else:
            assert {status for _, status in scene.reviews()} == {"failed"}
            assert {scene.waits().get(task) for task in TASKS} == {"held"}
            assert sorted(scene.starts()) == ["review"] * 4 + ["work"] * 4
            for review in reviews:
                scene.posts("bead_reopened", {}, bead=review, source="operator")
            assert {scene.status(task) for task in TASKS} == {"in_review"}
        all_merge(scene)


@on_both_forges
def test_one_pull_request_of_four_that_is_not_found_fails_nothing(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        reviews = four_wait_for_approval(scene)
        hidden = scene.site.pulls.pop(1)
        scene.passes(HOUR, step=MINUTE)
        lost = next(
            review
            for review in reviews
            if scene.town.one("review_metadata", review, "pr_url") == scene.github.url_of(hidden)
        )
        assert scene.waits()[lost] == "forge_denied"
        assert {scene.waits()[review] for review in reviews if review != lost} == {"awaiting_approval"}
        assert {status for _, status in scene.reviews()} == {"in_progress"}
        _told_once(scene)
        scene.site.pulls.insert(1, hidden)
        scene.passes(31 * MINUTE, step=MINUTE)
        assert reasons(scene, reviews) == {"awaiting_approval"}
        all_merge(scene)


@on_both_forges
@pytest.mark.parametrize("status", [500, 502, 503])
def test_twelve_minutes_of_a_forge_that_is_down_tell_nobody(server: Callable[[], Server], status: int) -> None:
    with a_scene(server) as scene:
        reviews = four_wait_for_approval(scene)
        scene.github.trouble.plan(Trouble(status), times=None)
        scene.passes(12 * MINUTE)
        assert reasons(scene, reviews) == {"forge_down"}
        scene.github.trouble.end()
        scene.passes(16 * MINUTE)
        assert reasons(scene, reviews) == {"awaiting_approval"}
        assert scene.escalations() == []
        all_merge(scene)


def test_single_sign_on_and_hidden_checks_wait_for_a_person_and_go_on() -> None:
    with a_scene(FakeGitHub) as scene:
        reviews = four_wait_for_approval(scene)
        github = scene.github
        assert isinstance(github, FakeGitHub)
        github.walls.sign_on = True
        scene.passes(40 * MINUTE, step=MINUTE / 2)
        assert reasons(scene, reviews) == {"forge_denied"}
        _told_once(scene)
        github.walls.sign_on = False
        scene.passes(31 * MINUTE, step=MINUTE / 2)
        assert reasons(scene, reviews) == {"awaiting_approval"}
        assert scene.escalations(live=True) == []

        github.refuses.add("checks")
        for pull in scene.site.pulls:
            pull.decision = "APPROVED"
        scene.passes(20 * MINUTE, step=MINUTE / 2)
        assert reasons(scene, reviews) == {"checks_unreadable"}
        assert scene.merged() == []
        _told_once(scene)
        github.refuses.clear()
        all_merge(scene)


@on_both_forges
def test_a_limit_with_retry_after_is_only_waited_for(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        reviews = four_wait_for_approval(scene)
        limited = {"retry-after": "1200"}
        status = 403 if server is FakeGitHub else 429
        said = {"message": "You have exceeded a secondary rate limit."}
        scene.github.trouble.plan(Trouble(status, limited, body=said), times=None)
        scene.passes(3 * MINUTE)
        scene.github.trouble.end()
        assert reasons(scene, reviews) == {"rate_limited"}
        asked = len(scene.github.requests)
        scene.passes(10 * MINUTE)
        assert len(scene.github.requests) == asked
        scene.passes(15 * MINUTE)
        assert reasons(scene, reviews) == {"awaiting_approval"}
        assert scene.escalations() == []
        all_merge(scene)


@on_both_forges
def test_a_renamed_repository_is_the_same_and_another_at_its_old_name_is_not(server: Callable[[], Server]) -> None:
    with a_scene(server) as scene:
        reviews = four_wait_for_approval(scene)
        scene.site.renames(PROJECT, "acme/new-name")
        scene.passes(20 * MINUTE)
        assert reasons(scene, reviews) == {"awaiting_approval"}
        scene.site.home(PROJECT)
        scene.passes(26 * HOUR, step=30 * MINUTE)
        assert {status for _, status in scene.reviews()} == {"in_progress"}
        assert scene.merged() == []
        scene.world.post(
            event(
                "rig_registered",
                {
                    "rig_id": "rig-1",
                    "name": "main-rig",
                    "git_url": f"https://{scene.github.host}/acme/new-name.git",
                },
                at=scene.world.clock.now(),
            )
        )
        scene.passes(MINUTE)
        assert sorted(scene.starts()) == ["review"] * 4 + ["work"] * 4

"""The life of a pull request, from the agent that opens it to the convoy that lands, and every way in which it ends badly.

Town, worker, outbox performer, adapter and HTTP are real; GitHub is the fake one, agents and people are the test.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from infra.devstack.fake_forge import Trouble
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from shared.adapters.forges import Forges
from tests.pull_request_life import Life, a_convoy, a_life
from tests.towns import event

MINUTE = timedelta(minutes=1)


def in_progress(life: Life) -> tuple[str, str]:
    """A task in review, its pull request polled; the ids of task and review."""
    task = a_convoy(life)
    life.until(lambda: "in_progress" in dict(life.reviews()).values())
    return task, life.reviews()[-1][0]


@pytest.mark.parametrize("server", [FakeGitHub, FakeGitLab])
def test_a_pull_request_lives_through_everything_and_its_convoy_lands(server: Callable[[], Any]) -> None:
    with a_life(server=server()) as life:
        task = a_convoy(life)
        life.until(lambda: bool(life.reviews()))
        [(review, _)] = life.reviews()
        life.until(lambda: life.status(review) == "in_progress")
        assert life.dispatched("work") == life.dispatched("review") == 1
        assert life.status(task) == "in_review"

        life.github.site.comments(life.pull)
        life.pull.checks["build"] = "failure"
        life.until(lambda: life.labelled("gt:pr-feedback") == ["closed"])
        assert life.pull.threads == {"thread-1-1": True}
        assert life.pull.state == "open"

        life.pull.conflicts = True
        life.until(lambda: life.labelled("gt:pr-conflict") == ["closed"])
        assert not life.pull.conflicts

        life.pull.decision = "REVIEW_REQUIRED"
        life.until(lambda: life.waits().get(review) == "awaiting_approval")
        before = len(life.orders)
        life.passes(40 * MINUTE)
        assert (len(life.orders), life.status(review), life.status(task)) == (before, "in_progress", "in_review")
        assert life.waits()[review] == "awaiting_approval"

        life.pull.decision = "APPROVED"
        life.passes(5 * MINUTE)
        assert life.pull.state == "open", "the grace period has begun and is not over"
        life.until(lambda: life.pull.state == "merged", minutes=4)

        life.until(lambda: life.status("convoy") == "closed", minutes=2)
        assert (life.status(review), life.status(task), life.pull.merges) == ("closed", "closed", 1)
        assert life.town.one("review_metadata", review, "merge_commit") == life.pull.merge_sha
        assert life.failed() == {}
        assert (life.dispatched("work"), life.dispatched("review")) == (1, 2), (
            "what feedback changed was reviewed again"
        )
        assert life.dispatched("pr_feedback") == life.dispatched("pr_conflict") == 1


def test_a_convoy_that_lands_at_once_lands_by_a_pull_request_of_its_own() -> None:
    with a_life(refinery={"auto_merge_delay_minutes": 0}) as life:
        a_convoy(life, mode="review-then-land")
        life.until(lambda: life.status("convoy") == "closed")
        of_task, of_convoy = life.github.site.pulls
        assert (of_task.base, of_convoy.head, of_convoy.base) == (of_convoy.head, of_task.base, "main")
        assert (of_task.merges, of_convoy.merges) == (1, 1)
        assert life.dispatched("landing") == 1


# --- how it can fail -------------------------------------------------------------------------------------


def closed_by_a_person(life: Life) -> None:
    life.pull.state = "closed"


def not_found(life: Life) -> None:
    life.github.site.pulls.clear()


def unauthorized(life: Life) -> None:
    life.github.tokens = ("another token",)


def forbidden(life: Life) -> None:
    life.github.trouble.plan(Trouble(403, body={"message": "Resource not accessible"}), times=None)


def down(life: Life) -> None:
    life.github.trouble.plan(Trouble(503), times=None)


def a_login_page(life: Life) -> None:
    life.github.trouble.plan(Trouble(200, body=b"<html>Sign in</html>"), times=None)


def redirected(life: Life) -> None:
    life.github.trouble.plan(Trouble(301, {"location": "http://127.0.0.1:1/elsewhere"}), times=None)


def no_token(life: Life) -> None:
    life.served.secrets.stored.clear()


def unknown_host(life: Life) -> None:
    life.world.forge = Forges(life.served.secrets, life.world.clock, hosts=())  # type: ignore[assignment]


def rig_moved(life: Life) -> None:
    payload = {"rig_id": "rig-1", "name": "main-rig", "git_url": "https://gitlab.com/acme/main-rig.git"}
    life.world.post(event("rig_registered", payload, at=life.world.clock.now()))


@pytest.mark.parametrize(
    ("trouble", "reason", "sentence"),
    [
        (closed_by_a_person, "review_failed", "closed without merge"),
        (unknown_host, "pr_poll_failed", "Set the pull request's web address"),
        (rig_moved, "pr_poll_failed", "it is on another host than the rig's repository"),
    ],
)
def test_a_review_that_fails_says_why_and_its_work_begins_anew(
    trouble: Callable[[Life], None], reason: str, sentence: str
) -> None:
    with a_life() as life:
        task, review = in_progress(life)
        life.lazy.add("work")
        trouble(life)
        life.until(lambda: life.status(review) == "failed", minutes=15)
        told = life.failed()[review]
        assert told.reason == reason
        assert sentence in (told.message or "")
        life.until(lambda: life.dispatched("work") == 2, minutes=10)
        assert life.status(task) == "in_progress"
        assert life.failed().keys() == {review}
        assert all(pull.merges == 0 for pull in life.github.site.pulls)


@pytest.mark.parametrize(
    ("trouble", "obstacle", "sentence"),
    [
        (not_found, "forge_denied", "answered with HTTP 404"),
        (unauthorized, "forge_denied", "store a valid one"),
        (forbidden, "forge_denied", "answered with HTTP 403 (Resource not accessible)"),
        (down, "forge_down", "Check that its host can be reached"),
        (a_login_page, "forge_unreadable", "the answers are not those of a forge"),
        (redirected, "forge_unreadable", "a redirect"),
        (no_token, "forge_denied", "no access token is stored for its host"),
    ],
)
def test_a_forge_that_cannot_be_read_is_no_verdict_and_a_person_is_told_after_half_an_hour(
    trouble: Callable[[Life], None], obstacle: str, sentence: str
) -> None:
    with a_life() as life:
        task, review = in_progress(life)
        trouble(life)
        life.until(lambda: life.waits().get(review) == obstacle, minutes=15)
        life.passes(40 * MINUTE)
        metadata = life.world.town().metadata(review)
        assert (life.status(review), life.status(task)) == ("in_progress", "in_review")
        assert sentence in metadata["failureMessage"]
        assert life.dispatched("work") == 1
        assert all(pull.merges == 0 for pull in life.github.site.pulls)


def test_a_limit_is_waited_out_without_a_request_and_without_harm() -> None:
    with a_life() as life:
        _, review = in_progress(life)
        reset = str(int(life.world.clock.now().timestamp()) + 1800)
        life.github.trouble.plan(Trouble(403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}))
        life.passes(2 * MINUTE)
        asked = len(life.github.requests)
        assert life.waits()[review] == "rate_limited"
        life.passes(25 * MINUTE)
        assert len(life.github.requests) == asked
        life.until(lambda: life.status(review) == "closed", minutes=15)
        assert life.pull.merges == 1


def test_nothing_is_decided_while_github_still_computes() -> None:
    with a_life() as life:
        _, review = in_progress(life)
        life.pull.unknown_reads = 8
        life.github.site.comments(life.pull)
        life.passes(6 * MINUTE)
        assert life.labelled("gt:pr-feedback") == []
        life.until(lambda: life.status(review) == "closed")
        assert life.labelled("gt:pr-feedback") == ["closed"]


def test_a_copy_that_still_says_open_after_the_merge_does_no_harm() -> None:
    def as_before(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "state": "open", "merged": False, "merged_at": None, "mergeable_state": "clean"}

    with a_life() as life:
        task, review = in_progress(life)
        life.until(lambda: life.pull.state == "merged" or bool(life.town.metadata(review).get("auto_merge_pending")))
        life.github.trouble.plan(Trouble(lie=as_before, path="/pulls/1", method="GET"), times=4)
        life.until(lambda: life.status(review) == "closed", minutes=15)
        assert (life.status(task), life.pull.merges) == ("closed", 1)


def test_a_merge_whose_answer_is_lost_is_found_made() -> None:
    with a_life() as life:
        task, review = in_progress(life)
        life.github.trouble.plan(Trouble(502, carried_out=True, path="/merge", method="PUT"))
        life.until(lambda: life.status(review) == "closed", minutes=20)
        assert (life.status(task), life.pull.merges) == ("closed", 1)


def test_a_push_between_judgement_and_merge_begins_the_grace_period_anew() -> None:
    with a_life() as life:
        _, review = in_progress(life)
        life.until(lambda: bool(life.town.one("review_metadata", review, "auto_merge_ready_since")))
        life.github.trouble.plan(
            Trouble(409, body={"message": "Head branch was modified."}, path="/merge", method="PUT")
        )
        began = life.world.clock.now()
        life.until(lambda: life.status(review) == "closed", minutes=30)
        assert life.world.clock.now() - began > 10 * MINUTE
        assert life.pull.merges == 1


def test_a_pull_request_of_another_repository_is_never_merged() -> None:
    with a_life() as life:
        _, review = in_progress(life)
        payload = {"rig_id": "rig-1", "name": "main-rig", "git_url": "https://github.com/acme/other.git"}
        life.world.post(event("rig_registered", payload, at=life.world.clock.now()))
        life.passes(20 * MINUTE)
        assert (life.status(review), life.pull.merges) == ("in_progress", 0)
        assert not any(request.method == "PUT" for request in life.github.requests)


def test_comments_that_never_end_are_mended_five_times_and_then_a_person_is_asked() -> None:
    with a_life() as life:
        _, review = in_progress(life)
        life.github.site.resolves = lambda pull: None  # type: ignore[method-assign]
        life.github.site.comments(life.pull)
        life.passes(60 * MINUTE)
        assert life.labelled("gt:pr-feedback") == ["closed"] * 5
        [(title,)] = life.town.rows("SELECT title FROM beads WHERE type = 'escalation'")
        assert title.startswith("Feedback does not end")
        assert life.status(review) == "in_progress"


def test_a_limit_met_at_the_merge_only_delays_it() -> None:
    with a_life() as life:
        task, review = in_progress(life)
        life.github.trouble.plan(Trouble(429, {"retry-after": "1500"}, path="/merge", method="PUT"))
        life.passes(20 * MINUTE)
        assert (life.status(review), life.pull.state) == ("in_progress", "open")
        life.until(lambda: life.status(review) == "closed", minutes=30)
        assert (life.status(task), life.pull.merges, life.failed()) == ("closed", 1, {})


@pytest.mark.parametrize("status", [403, 404, 422])
def test_a_merge_that_is_forbidden_is_tried_again_after_each_grace_period_and_harms_nothing(status: int) -> None:
    with a_life() as life:
        task, review = in_progress(life)
        life.github.trouble.plan(Trouble(status, body={"message": "no"}, path="/merge", method="PUT"), times=2)
        life.until(lambda: life.refused() == {"merge_pr": "http: no"})
        life.until(lambda: life.status(review) == "closed", minutes=40)
        tries = [request for request in life.github.requests if request.method == "PUT"]
        assert (len(tries), life.pull.merges, life.status(task)) == (3, 1, "closed")


def test_a_comment_that_comes_right_before_the_merge_stops_it() -> None:
    with a_life() as life:
        _, review = in_progress(life)
        life.lazy.add("pr_feedback")
        truth = life.github.answer

        def commented_meanwhile(request: Any) -> Any:
            if life.town.metadata(review).get("auto_merge_pending") and not life.pull.threads:
                life.github.site.comments(life.pull)
            return truth(request)

        life.github.answer = commented_meanwhile  # type: ignore[method-assign]
        life.until(lambda: bool(life.pull.threads))
        life.passes(3 * MINUTE)
        assert (life.status(review), life.pull.state) == ("in_progress", "open")
        assert life.labelled("gt:pr-feedback") == ["in_progress"]
        assert not any(request.method == "PUT" for request in life.github.requests)


def test_while_a_forge_is_down_a_person_sees_what_it_said_last_and_no_longer() -> None:
    with a_life() as life:
        _, review = in_progress(life)
        life.github.trouble.plan(Trouble(503, body={"message": "Unicorn!"}), times=3)
        life.until(lambda: life.refused() == {"poll_pr": "transient: Unicorn!"}, minutes=2)
        assert life.status(review) == "in_progress"
        life.passes(8 * MINUTE)
        assert life.refused() == {}


def test_a_merge_that_the_forge_refuses_says_why_until_it_succeeds() -> None:
    with a_life() as life:
        _, review = in_progress(life)
        life.github.site.ways_to_merge = ()
        life.until(lambda: "merge_pr" in life.refused(), minutes=10)
        assert life.refused() == {"merge_pr": "Merge commits are not allowed on this repository."}
        life.github.site.ways_to_merge = ("squash",)
        life.until(lambda: life.status(review) == "closed", minutes=15)
        assert life.refused() == {}


def test_nothing_is_merged_under_the_hands_of_a_reviewer_that_takes_its_time() -> None:
    with a_life() as life:
        life.lazy.add("review")
        a_convoy(life)
        life.until(lambda: "in_progress" in dict(life.reviews()).values())
        [(review, _)] = life.reviews()
        for _ in range(12):
            beats(life)
            life.passes(MINUTE)
        assert (life.status(review), life.pull.state) == ("in_progress", "open")
        assert life.town.one("review_metadata", review, "auto_merge_ready_since") is None, "no head has passed a review"
        life.github.site.comments(life.pull)
        life.finishes("review")
        life.lazy.clear()
        life.until(lambda: life.labelled("gt:pr-feedback") == ["closed"], minutes=5)
        assert life.pull.state == "open"
        life.until(lambda: life.status(review) == "closed", minutes=15)
        assert life.pull.merges == 1


def beats(life: Life) -> None:
    """Every agent that runs says that it lives."""
    for agent, generation in life.world.runtime.running().items():
        payload = {"generation": generation, "last_event_type": "tool_use", "active_tools": ["read"]}
        at = life.world.clock.now()
        name = f"beat-{agent}-{at.timestamp():.0f}"
        life.world.post(event("agent_heartbeat", payload, event_id=name, agent=agent, at=at))

"""pr_polled: a forge that cannot be read is no verdict on the work (decision T4, spec/actions.md section 5.1)."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.states import BeadStatus, EffectKind
from shared.domain.times import from_text, to_text
from shared.events.base import EventResult
from tests.unit.events.small_town import SmallTown, T

MINUTE = timedelta(minutes=1)
URL = "https://git.example/acme/{}/pull/{}"
PULLS = {"m": URL.format("app", 7), "m2": URL.format("app", 8), "other": URL.format("lib", 1)}
DENIED: dict[str, Any] = {"kind": "http", "http_status": 401, "message": "Bad credentials", "secret": "t1-token"}


def a_town_with(*reviews: str) -> SmallTown:
    stage = SmallTown({})
    for review in reviews:
        stage.merge_request(review, pr_url=PULLS[review])
    return stage


def poll(stage: SmallTown, review: str = "m", **answer: Any) -> EventResult:
    """One poll of the present tick and its answer."""
    effect = stage.effect(EffectKind.POLL_PR, review, stage.town.tick.number, pr_url=PULLS[review])
    stage.later(timedelta(seconds=1))
    return stage.apply("pr_polled", bead_id=review, effect_id=effect.id, attempt=1, **answer)


def fails(stage: SmallTown, review: str = "m", **error: Any) -> EventResult:
    return poll(stage, review, ok=False, error={"message": "it said no", **error})


def looks(stage: SmallTown, review: str = "m", **more: Any) -> EventResult:
    return poll(stage, review, ok=True, state="open", head_sha="h1", mergeable_state="unknown", **more)


def wait(stage: SmallTown, review: str = "m") -> timedelta:
    return from_text(stage.the_bead(review).metadata["poll_not_before"]) - stage.town.tick.now


def later(stage: SmallTown, span: timedelta) -> None:
    stage.later(span)


@pytest.mark.parametrize(
    ("error", "obstacle", "first_wait"),
    [
        ({"kind": "no_token"}, "forge_denied", 30 * MINUTE),
        ({"kind": "http", "http_status": 401}, "forge_denied", 30 * MINUTE),
        ({"kind": "http", "http_status": 403}, "forge_denied", MINUTE),
        ({"kind": "http", "http_status": 404}, "forge_denied", MINUTE),
        ({"kind": "http", "http_status": 451}, "forge_denied", MINUTE),
        ({"kind": "http", "http_status": 502}, "forge_down", MINUTE),
        ({"kind": "transient"}, "forge_down", MINUTE),
        ({"kind": "rate_limited"}, "forge_down", MINUTE),
        ({"kind": "invalid_response"}, "forge_unreadable", MINUTE),
    ],
)
def test_what_cannot_be_read_waits_and_is_no_failure(
    error: dict[str, Any], obstacle: str, first_wait: timedelta
) -> None:
    stage = a_town_with("m")
    fails(stage, **error)
    bead = stage.the_bead("m")
    assert (bead.status, bead.metadata["obstacle"]) == (BeadStatus.IN_PROGRESS, obstacle)
    assert (wait(stage), bead.metadata["polls_failed"]) == (first_wait, 1)
    assert (stage.the_bead("m-source").status, stage.beads_of("escalation")) == (BeadStatus.IN_REVIEW, [])


def test_the_wait_doubles_up_to_half_an_hour() -> None:
    stage = a_town_with("m")
    waits = []
    for _ in range(8):
        fails(stage, kind="transient")
        waits.append(wait(stage) // MINUTE)
        later(stage, wait(stage))
    assert waits == [1, 2, 4, 8, 14, 30, 30, 30]


def test_the_first_failures_of_two_pull_requests_of_a_repository_are_one_episode() -> None:
    """Only after another pull request was read can it be known that a single one is the trouble."""
    stage = a_town_with("m", "m2")
    for review in ("m", "m2"):
        fails(stage, review, kind="transient")
    (episode,) = stage.town.keys.forge_episodes
    assert "#" not in episode


def test_the_poll_in_the_moment_in_which_people_are_told_is_not_the_last_for_nothing() -> None:
    """Until then a poll waits no longer than up to that moment; in it, as long as always."""
    stage = a_town_with("m")
    fails(stage, kind="transient")
    stage.later(30 * MINUTE - timedelta(seconds=1))
    (told,) = fails(stage, kind="transient").returns
    assert (told.type, wait(stage)) == ("notify_mayor", 2 * MINUTE)


def test_half_an_hour_later_one_person_is_told_for_all_pull_requests() -> None:
    stage = a_town_with("m", "m2", "other")
    for review in PULLS:
        fails(stage, review, **DENIED)
    later(stage, 30 * MINUTE)
    (told,) = fails(stage, "m", **DENIED).returns
    assert told.type == "notify_mayor"
    assert fails(stage, "m2", **DENIED).returns == ()
    (escalation,) = stage.beads_of("escalation")
    assert "t1-token" in (escalation.body or "")
    for review in PULLS:
        metadata = stage.the_bead(review).metadata
        assert (metadata["failureReason"], metadata["failureKind"]) == ("pr_poll_failed", "http")
        assert stage.the_bead(review).status is BeadStatus.IN_PROGRESS


def test_with_a_refused_token_one_refusal_puts_off_all_its_pull_requests() -> None:
    stage = a_town_with("m", "other")
    fails(stage, "m", **DENIED)
    fails(stage, "other", **DENIED)
    later(stage, 31 * MINUTE)
    fails(stage, "m", **DENIED)
    assert wait(stage, "other") == 30 * MINUTE


def test_a_success_with_the_same_token_ends_the_episode_and_all_are_polled_at_once() -> None:
    stage = a_town_with("m", "other")
    fails(stage, "m", **DENIED)
    fails(stage, "other", **DENIED)
    later(stage, 40 * MINUTE)
    fails(stage, "m", **DENIED)
    looks(stage, "other", secret="t1-token")
    assert stage.town.keys.forge_episodes == {}
    left = {"obstacle", "episode", "poll_not_before", "failureReason", "failureKind", "failureMessage"}
    assert left & set(stage.the_bead("m").metadata) == set()


def test_a_success_with_another_token_or_of_another_repository_ends_nothing() -> None:
    stage = a_town_with("m", "other")
    fails(stage, "m", **DENIED)
    looks(stage, "other", secret="other-token")
    assert len(stage.town.keys.forge_episodes) == 1
    stage = a_town_with("m", "other")
    fails(stage, "m", kind="transient")
    looks(stage, "other")
    assert len(stage.town.keys.forge_episodes) == 1


def test_a_pull_request_that_is_gone_beside_one_that_answers_is_told_about_all_the_same() -> None:
    stage = a_town_with("m", "m2")
    gone = {"kind": "http", "http_status": 404}
    told: list[Any] = []
    fails(stage, "m", **gone)
    for _ in range(8):
        looks(stage, "m2")
        later(stage, 10 * MINUTE)
        told += fails(stage, "m", **gone).returns
    assert len(told) == 1
    assert len(stage.beads_of("escalation")) == 1
    (episode,) = stage.town.keys.forge_episodes
    assert "acme/app#7" in episode


def test_an_episode_whose_merge_requests_have_ended_is_forgotten() -> None:
    stage = a_town_with("m", "other")
    fails(stage, "m", kind="transient")
    stage.town.sql.execute("UPDATE beads SET status = 'failed' WHERE bead_id = 'm'")
    fails(stage, "other", kind="transient")
    (episode,) = stage.town.keys.forge_episodes
    assert "acme/lib" in episode


def test_a_token_of_the_deployment_is_no_matter_of_the_towns_people() -> None:
    stage = a_town_with("m")
    fails(stage, **DENIED, is_platform=True)
    later(stage, 30 * MINUTE)
    assert fails(stage, **DENIED, is_platform=True).returns == ()
    fails(stage, **DENIED, is_platform=True)
    assert stage.beads_of("escalation") == []
    assert [event.name for event in stage.town.business_events] == ["forge.platform_trouble"]
    assert stage.the_bead("m").metadata["obstacle"] == "forge_denied"


@pytest.mark.parametrize(("ago", "ended"), [(timedelta(days=7) - MINUTE, False), (timedelta(days=7), True)])
def test_after_a_week_the_review_fails_and_its_source_is_held(ago: timedelta, ended: bool) -> None:
    stage = SmallTown({})
    since = to_text(T + timedelta(seconds=1) - ago)
    stage.merge_request("m", pr_url=PULLS["m"], metadata={"polls_failed": 99, "polls_failed_since": since})
    fails(stage, kind="transient")
    review, source = stage.the_bead("m"), stage.the_bead("m-source")
    assert review.status is (BeadStatus.FAILED if ended else BeadStatus.IN_PROGRESS)
    assert (source.status, source.labels) == ((BeadStatus.OPEN, ("gt:held",)) if ended else (BeadStatus.IN_REVIEW, ()))
    if ended:
        assert stage.apply("bead_reopened", bead_id="m").outcome.text == "applied"
        assert stage.the_bead("m").status is BeadStatus.IN_PROGRESS
        assert (stage.the_bead("m-source").status, stage.the_bead("m-source").labels) == (BeadStatus.IN_REVIEW, ())


def test_a_limit_is_waited_for_and_counts_as_nothing() -> None:
    stage = a_town_with("m")
    fails(stage, kind="rate_limited", http_status=429, retry_at=to_text(T + 20 * MINUTE))
    metadata = stage.the_bead("m").metadata
    assert ("obstacle" in metadata, "polls_failed" in metadata, stage.town.keys.forge_episodes) == (False, False, {})


def test_the_counters_of_an_earlier_release_go_with_the_first_success() -> None:
    stage = SmallTown({})
    stage.merge_request("m", pr_url=PULLS["m"], metadata={"poll_transient_count": 7, "poll_non_transient_count": 2})
    looks(stage)
    assert not {"poll_transient_count", "poll_non_transient_count"} & set(stage.the_bead("m").metadata)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            {"kind": "invalid_response", "message": "not JSON"},
            "the answers are not those of a forge (not JSON). Check that the address leads to its API",
        ),
        (
            {"kind": "transient", "message": "timed out"},
            "the forge does not answer (timed out). Check that its host can be reached",
        ),
        (
            {"kind": "http", "http_status": 403, "message": "no", "secret": "t1-token"},
            "the forge answered with HTTP 403 (no). Store a token (t1-token) that may read this repository",
        ),
    ],
    ids=["not a forge", "down", "forbidden"],
)
def test_a_person_is_told_what_went_wrong_and_what_to_do(error: dict[str, Any], advice: str) -> None:
    stage = a_town_with("m")
    fails(stage, **error)
    later(stage, 30 * MINUTE)
    fails(stage, **error)
    (escalation,) = stage.beads_of("escalation")
    assert advice in (escalation.body or "")

"""How the changes of a pull request are performed: compared once more, and told as they turned out (spec/actions.md 6)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.ports.forge import Asker, BranchUpdate, ForgeError, Identity, NotMerged, RepositoryAt
from shared.ports.steps import Steps, drive
from shared.runner.perform import Outside, perform
from tests.fakes import FakeClock, FakeForge, plain_time
from tests.orders import a_payload
from tests.towns import T

PR = "https://github.com/acme/main-rig/pull/1"
OURS = RepositoryAt("acme/main-rig", "acme/main-rig")
AGREED = {
    "head_repository": OURS.id,
    "head_branch": "gt/toast/1",
    "base_repository": OURS.id,
    "base_branch": "main",
}


def told(forge: FakeForge | None, kind: str, **payload: Any) -> dict[str, Any]:
    """What the result event says, without the attempt that it is about."""
    effect = ClaimedEffect(
        effect_id="e",
        seq=1,
        kind=EffectKind(kind),
        subject="m",
        generation=1,
        attempt=1,
        payload=a_payload(EffectKind(kind), "m", **payload),
        deadline=T + timedelta(minutes=10),
    )
    posted: list[dict[str, Any]] = []

    def post(results: tuple[dict[str, Any], ...]) -> Steps[None]:
        posted.extend(results)
        yield from ()

    drive(perform((effect,), Outside(forge=forge), time=plain_time(FakeClock(T)), claimed_at=T, post=post))
    [event] = posted
    assert event["bead_id"] == "m"
    said = {key: value for key, value in event["payload"].items() if key not in ("effect_id", "attempt")}
    return {"event": event["event_type"], **said}


def merged(forge: FakeForge, **given: Any) -> dict[str, Any]:
    return told(forge, "merge_pr", **{"head_sha": "head-1", "expected": AGREED, **given})


def a_forge(**changed: Any) -> FakeForge:
    forge = FakeForge()
    forge.opens(PR)
    forge.pull_requests[PR] = replace(forge.pull_requests[PR], **changed)
    return forge


def identity(**changed: Any) -> Identity:
    return replace(Identity(OURS, "gt/toast/1", OURS, "main"), **changed)


# merge_pr


def test_the_pull_request_that_was_agreed_is_merged_whatever_its_repository_is_called_now() -> None:
    renamed = RepositoryAt(OURS.id, "acme/renamed")
    forge = a_forge(identity=identity(head_repository=renamed, base_repository=renamed))
    assert merged(forge) == {"event": "pr_merge_result", "merged": True, "sha": "merge-of-head-1"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"head_repository": RepositoryAt("a fork")}, "head repository: expected acme/main-rig, found a fork"),
        ({"head_repository": None}, "head repository: expected acme/main-rig, found none"),
        ({"base_repository": RepositoryAt("other")}, "base repository: expected acme/main-rig, found other"),
        ({"head_branch": "GT/toast/1"}, "head branch: expected gt/toast/1, found GT/toast/1"),
        ({"base_branch": "release"}, "base branch: expected main, found release"),
    ],
)
def test_another_one_is_not_merged_even_if_it_became_that_after_the_order(changed: dict[str, Any], says: str) -> None:
    forge = a_forge(identity=identity(**changed))
    assert merged(forge) == {"event": "pr_merge_result", "merged": False, "reason": says, "refusal": "identity"}
    assert forge.seen("merge") == []


@pytest.mark.parametrize(
    ("changed", "order", "says"),
    [
        ({"identity": None}, {}, "the forge does not say which pull request it is"),
        ({}, {"expected": None}, "the order does not say which pull request was agreed"),
        ({}, {"expected": {**AGREED, "head_branch": None}}, "the order does not say which pull request was agreed"),
    ],
    ids=["answer without identity", "order of an earlier release", "order with a gap"],
)
def test_what_cannot_be_compared_is_not_merged(changed: dict[str, Any], order: dict[str, Any], says: str) -> None:
    forge = a_forge(**changed)
    assert merged(forge, **order) == {
        "event": "pr_merge_result",
        "merged": False,
        "reason": says,
        "refusal": "other",
    }
    assert forge.seen("merge") == []


def test_a_branch_that_fell_behind_is_not_tried() -> None:
    forge = a_forge(is_behind=True)
    assert (merged(forge)["refusal"], forge.seen("merge")) == ("behind", [])


def test_a_base_with_a_queue_enqueues_and_what_is_queued_already_is_not_enqueued_again() -> None:
    forge = a_forge(has_queue=True)
    for _ in range(2):
        assert merged(forge) == {"event": "pr_merge_result", "merged": False, "queued": True}
    assert len(forge.seen("merge")) == 1


def test_the_place_in_the_queue_is_told() -> None:
    assert merged(a_forge(has_queue=True, in_queue=True, queue_position=3))["position"] == 3


def test_a_refusal_is_told_with_its_class() -> None:
    forge = a_forge()
    forge.fails("merge", NotMerged("Base branch was modified.", "base_moved"))
    assert merged(forge)["refusal"] == "base_moved"


def test_the_settings_about_checks_are_those_of_the_order() -> None:
    forge = a_forge()
    found = forge.pull_requests[PR]
    assert found.feedback is not None
    forge.pull_requests[PR] = replace(found, feedback=replace(found.feedback, has_checks=False))
    assert merged(forge, require_checks=True)["merged"] is False
    assert merged(forge)["merged"] is True


# update_branch


def test_an_update_tells_the_new_head() -> None:
    answer = told(a_forge(is_behind=True), "update_branch")
    assert answer == {"event": "branch_updated", "outcome": "updated", "head": "head-1+base"}


def test_no_new_commits_and_a_moved_head_are_told_as_such() -> None:
    assert told(a_forge(), "update_branch")["outcome"] == "current"
    refused = told(a_forge(head_sha="head-2"), "update_branch")
    assert refused == {"event": "branch_updated", "outcome": "refused", "reason": "the head moved"}


def test_a_forge_that_works_on_the_update_names_no_head() -> None:
    forge = a_forge(is_behind=True)
    forge.fails("update_branch", BranchUpdate("updated"))
    assert told(forge, "update_branch") == {"event": "branch_updated", "outcome": "updated"}


# dequeue


def test_leaving_the_queue_is_told() -> None:
    forge = a_forge(has_queue=True, in_queue=True)
    assert told(forge, "dequeue") == {"event": "pr_dequeued", "ok": True}
    assert not forge.pull_requests[PR].in_queue


def test_a_merge_that_came_first_is_told_too() -> None:
    forge = a_forge(state="merged", merge_sha="c0ffee")
    assert told(forge, "dequeue") == {"event": "pr_dequeued", "ok": True, "merged": True, "sha": "c0ffee"}


def test_it_has_left_even_if_nobody_can_look_afterwards() -> None:
    class Blind(FakeForge):
        def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> ForgeError:
            return ForgeError("transient", "time-out")

    forge = Blind()
    forge.opens(PR)
    assert told(forge, "dequeue") == {"event": "pr_dequeued", "ok": True}


# request_review


def test_the_reviewers_are_asked() -> None:
    forge = a_forge()
    assert told(forge, "request_review", reviewers=["ann"]) == {"event": "review_requested", "ok": True}
    assert forge.asked_for_review == {PR: ["ann"]}


# no adapter, and errors


@pytest.mark.parametrize("kind", ["update_branch", "dequeue", "request_review"])
def test_what_the_forge_could_not_do_is_told_as_its_error(kind: str) -> None:
    ok: dict[str, Any] = {} if kind == "update_branch" else {"ok": False}
    forge = a_forge()
    forge.fails(kind, ForgeError("http", "no", http_status=403))  # type: ignore[arg-type]
    answer = told(forge, kind)
    error = {"kind": "http", "message": "no", "http_status": 403}
    assert answer == {"event": answer["event"], **ok, "error": error}
    without = {"kind": "no_token", "message": "no source forge is configured for this deployment"}
    assert told(None, kind) == {"event": answer["event"], **ok, "error": without}


@pytest.mark.parametrize("kind", ["merge_pr", "update_branch", "dequeue", "request_review"])
def test_an_adapter_that_raises_leaves_open_what_it_did(kind: str) -> None:
    forge = a_forge()
    for verb in ("pull_request", "update_branch", "dequeue", "request_review"):
        forge.fails(verb, KeyError("x"))
    assert told(forge, kind)["error"] == {"kind": "transient", "message": "KeyError in the adapter"}

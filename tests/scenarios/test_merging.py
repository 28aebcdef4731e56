"""Scenarios 361 to 365: what the town does when the forge refuses, queues or merges after all, seen from outside."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.ports.forge import (
    Accepted,
    Asker,
    ChangeRequest,
    Feedback,
    ForgeError,
    Identity,
    NotMerged,
    PullRequest,
    RepositoryAt,
)
from tests.fakes import GREEN, FakeForge
from tests.scenarios.outside import PR, effects
from tests.scenarios.table import scenario
from tests.towns import TownBuilder, a_town, event
from tests.worlds import World, a_world

OURS = RepositoryAt("acme/main-rig", "acme/main-rig")
REFINERY = {"auto_merge_delay_minutes": 0, "code_review": False}


def a_green_world(forge: FakeForge | None = None, town: TownBuilder | None = None, **changed: Any) -> World:
    """M in progress with a green pull request that was seen for a while, in a rig without code review."""
    town = (town or a_town()).config(merge_strategy="pr", refinery=REFINERY)
    town.bead("b", status="in_review")
    town.review("m", "in_progress", of="b", pr_url=PR)
    world = a_world(town)
    world.forge = forge or FakeForge()
    world.forge.opens(PR)
    world.forge.pull_requests[PR] = replace(world.forge.pull_requests[PR], **changed)
    return world


def lives(world: World, *, every: float = 60, **span: float) -> TownBuilder:
    """Time passes, with a look at the town every minute unless told otherwise."""
    world.live_through(timedelta(**span), every=timedelta(seconds=every))
    return world.town()


def merges(world: World) -> int:
    """How often the forge was asked to merge."""
    return len(world.forge.seen("merge"))


def causes(town: TownBuilder) -> list[str]:
    return [
        cause
        for (cause,) in town.rows(
            "SELECT json_extract(metadata, '$.cause') FROM beads WHERE type = 'escalation' ORDER BY created_at, bead_id"
        )
    ]


def waits_for(world: World) -> str | None:
    return world.town().waits(world.clock.now())["m"].reason


# refusals


@scenario(361)
def test_a_merge_that_is_refused_is_tried_five_times_and_then_once_in_six_hours() -> None:
    world = a_green_world()
    world.forge.fails("merge", NotMerged("Merge commits are not allowed.", "method"), times=None)
    town = lives(world, hours=1)
    assert (merges(world), causes(town)) == (limits.MERGE_TRIES, ["merge_refused:m"])
    assert waits_for(world) == "merge_refused"
    town = lives(world, hours=24, every=600)
    assert limits.MERGE_TRIES + 3 <= merges(world) <= limits.MERGE_TRIES + 4
    assert (causes(town), town.status("m")) == (["merge_refused:m"], "in_progress")


@scenario(361)
def test_a_new_head_is_tried_again_and_its_merge_closes_the_escalation() -> None:
    world = a_green_world()
    world.forge.fails("merge", NotMerged("no", "other"), times=limits.MERGE_TRIES)
    lives(world, hours=1)
    world.forge.opens(PR, head_sha="head-2")
    town = lives(world, minutes=10)
    assert (town.status("m"), town.status("b"), merges(world)) == ("closed", "closed", limits.MERGE_TRIES + 1)
    lives(world, minutes=2)
    assert world.town().rows("SELECT status FROM beads WHERE type = 'escalation'") == [("closed",)]


@scenario(361)
def test_races_with_other_merges_do_not_count() -> None:
    world = a_green_world()
    world.forge.fails("merge", NotMerged("Base branch was modified.", "base_moved"), times=12)
    town = lives(world, minutes=30)
    assert (town.status("m"), causes(town)) == ("closed", [])


@scenario(361)
def test_what_is_blocked_for_no_known_reason_is_tried_once() -> None:
    world = a_green_world(feedback=Feedback(merge_state_status="BLOCKED"))
    world.forge.fails("merge", NotMerged("Required workflow 'deploy' is missing.", "checks"), times=None)
    town = lives(world, hours=5, every=300)
    assert (merges(world), waits_for(world)) == (1, "merge_refused")
    assert "deploy" in town.metadata("m")["obstacle_detail"]


@scenario(361)
def test_what_is_blocked_is_not_merged_by_a_token_that_may_bypass_the_rules() -> None:
    world = a_green_world(feedback=Feedback(merge_state_status="BLOCKED"), may_bypass=True)
    lives(world, hours=1)
    assert merges(world) == 0


# merge queue


@scenario(362)
def test_a_pull_request_is_enqueued_once_and_closed_by_the_forges_word() -> None:
    world = a_green_world(has_queue=True)
    lives(world, hours=24, every=600)
    assert (merges(world), waits_for(world)) == (1, "in_merge_queue")
    found = world.forge.pull_requests[PR]
    world.forge.pull_requests[PR] = replace(found, state="merged", merge_sha="c0ffee", in_queue=False)
    town = lives(world, minutes=10)
    assert (town.status("m"), town.status("b")) == ("closed", "closed")
    assert town.one("review_metadata", "m", "merge_commit") == "c0ffee"
    assert town.value("queued_reviews") == {}


@scenario(362)
def test_a_queue_that_lets_go_of_it_five_times_has_refused_it() -> None:
    world = a_green_world(has_queue=True)
    for _ in range(40):
        lives(world, minutes=3)
        world.forge.pull_requests[PR] = replace(world.forge.pull_requests[PR], in_queue=False)
    assert (merges(world), waits_for(world)) == (limits.MERGE_TRIES, "merge_refused")
    assert causes(world.town()) == ["merge_refused:m"]


# leaving the queue


def cancelled(world: World) -> None:
    world.post(event("bead_cancelled", {}, bead="m", at=world.clock.now()))


def cancelled_with_its_source(world: World) -> None:
    world.post(event("bead_cancelled", {}, bead="b", at=world.clock.now()))


def commented(world: World) -> None:
    """Somebody comments, and an agent is to resolve it."""
    found = world.forge.pull_requests[PR]
    world.forge.pull_requests[PR] = replace(found, feedback=replace(GREEN, has_unresolved_comments=True))


def retargeted(world: World) -> None:
    found = world.forge.pull_requests[PR]
    world.forge.pull_requests[PR] = replace(found, identity=Identity(OURS, "gt/toast/1", OURS, "release"))


@scenario(363)
@pytest.mark.parametrize("happens", [cancelled, cancelled_with_its_source, commented, retargeted])
def test_an_enqueued_pull_request_is_taken_out_when_its_mr_ends_or_is_blocked(happens: Any) -> None:
    town = a_town()
    town.update("rigs", "rig-1", config={"auto_resolve_pr_feedback": True})
    world = a_green_world(town=town, has_queue=True)
    lives(world, minutes=10)
    assert world.forge.pull_requests[PR].in_queue
    happens(world)
    town = lives(world, minutes=10)
    assert not world.forge.pull_requests[PR].in_queue
    assert (len(effects(town, "dequeue")), town.value("queued_reviews")) == (1, {})


@scenario(363)
def test_a_refused_call_is_repeated_until_it_is_out() -> None:
    world = a_green_world(has_queue=True)
    lives(world, minutes=10)
    world.forge.fails("dequeue", ForgeError("http", "no", http_status=403), times=2)
    cancelled(world)
    lives(world, minutes=5)
    assert len(world.forge.seen("dequeue")) == 1
    lives(world, hours=2)
    assert len(world.forge.seen("dequeue")) == 3
    assert not world.forge.pull_requests[PR].in_queue


@scenario(363)
def test_a_merge_that_happens_all_the_same_is_recorded_and_changes_nothing_else() -> None:
    class TooLate(FakeForge):
        def dequeue(self, asker: Asker, pr_url: str) -> Accepted | ForgeError:
            found = self.pull_requests[pr_url]
            self.pull_requests[pr_url] = replace(found, state="merged", merge_sha="c0ffee", in_queue=False)
            return Accepted()

    world = a_green_world(TooLate(), has_queue=True)
    lives(world, minutes=10)
    cancelled(world)
    town = lives(world, minutes=10)
    assert (town.status("m"), town.one("review_metadata", "m", "merge_commit")) == ("failed", "c0ffee")
    assert town.status("b") != "closed"
    titles = town.rows("SELECT title FROM beads WHERE type = 'escalation'")
    assert titles == [("Merged after its end: m",)]


# which pull request it is


class ChangesBeforeTheMerge(FakeForge):
    """Each look after the first few shows another identity: somebody changed the pull request meanwhile."""

    becomes: Identity | None = None
    looks = 0

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> Any:
        self.looks += 1
        seen = super().pull_request(asker, pr_url, want_feedback=want_feedback)
        if self.looks > 3 and isinstance(seen, PullRequest):
            return replace(seen, identity=self.becomes)
        return seen


@scenario(364)
@pytest.mark.parametrize(
    "becomes",
    [
        Identity(OURS, "gt/toast/1", OURS, "release"),
        Identity(OURS, "gt/Toast/1", OURS, "main"),
        Identity(RepositoryAt("a fork"), "gt/toast/1", OURS, "main"),
        Identity(None, "gt/toast/1", OURS, "main"),
        None,
    ],
    ids=["another base", "another case", "a fork", "no head repository", "no identity"],
)
def test_what_changed_between_the_order_and_the_call_is_not_merged(becomes: Identity | None) -> None:
    forge = ChangesBeforeTheMerge()
    forge.becomes = becomes
    world = a_green_world(forge)
    town = lives(world, minutes=30)
    assert forge.looks > 3
    assert (merges(world), town.status("b") == "closed") == (0, False)


@scenario(364)
def test_a_renamed_repository_is_the_same_one() -> None:
    renamed = RepositoryAt(OURS.id, "acme/renamed")
    world = a_green_world(identity=Identity(renamed, "gt/toast/1", renamed, "main"))
    assert lives(world, minutes=10).status("m") == "closed"


@scenario(364)
def test_a_rig_whose_repository_was_never_seen_is_seen_before_anything_is_merged() -> None:
    """A town of an earlier release: the poll stores the id, and then the merge can be compared."""
    town = a_town()
    town.update("rigs", "rig-1", forge_repository_id=None)
    world = a_green_world(town=town)
    town = lives(world, minutes=10)
    assert town.rows("SELECT forge_repository_id FROM rigs") == [(OURS.id,)]
    assert town.status("m") == "closed"


# reviewers


@scenario(365)
def test_who_requested_changes_is_asked_again_after_each_push() -> None:
    asked = Feedback(changes_requested=True, change_requests=(ChangeRequest("r1", "ann"),))
    world = a_green_world(feedback=asked)
    lives(world, minutes=10)
    assert world.forge.asked_for_review == {}
    for head in ("head-2", "head-3"):
        world.forge.opens(PR, head_sha=head, feedback=asked)
        lives(world, minutes=30)
    assert world.forge.asked_for_review == {PR: ["ann", "ann"]}
    assert (waits_for(world), merges(world)) == ("changes_requested", 0)

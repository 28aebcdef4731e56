"""R1u, R1q and R1v: which branch is updated next, which queue is left, and who is asked to review again."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.times import to_text
from tests.scenarios.outside import answer, effects
from tests.towns import MS, T, TownBuilder, a_town, actions, ago

UPDATE = "merging.update_branch"
LEAVE = "merging.leave_queue"
ASK = "merging.ask_reviewers"
PR = "https://github.com/acme/main-rig/pull/"


def waiting_town(*names: str, **config: Any) -> TownBuilder:
    """MRs of rig-1 that are behind main and otherwise green, the first one the oldest."""
    town = a_town().config(refinery={"auto_merge": True, "auto_merge_delay_minutes": 5}, **config)
    for number, name in enumerate(names):
        behind(town, name, created_at=ago(hours=9 - number))
    return town


def behind(town: TownBuilder, name: str, *, priority: str = "medium", **given: Any) -> TownBuilder:
    metadata = {"obstacle": "behind_base", "head_sha": f"{name}-head", **given.pop("metadata", {})}
    town.bead(f"{name}-source", status="in_review", priority=priority)
    return town.review(name, "in_progress", of=f"{name}-source", pr_url=f"{PR}{name}", metadata=metadata, **given)


def updated(town: TownBuilder, at: datetime = T) -> list[str]:
    """The MRs whose branch the tick at that time updates."""
    return [action["bead_id"] for action in actions(town.tick(at=at), rule=UPDATE, outcome="applied")]


# R1u: one branch at a time


def test_of_those_behind_one_base_the_oldest_is_updated_and_no_other() -> None:
    town = waiting_town("m1", "m2", "m3")
    assert updated(town) == ["m1"]
    assert (town.metadata("m1")["own_update_of"], town.metadata("m1")["own_updates"]) == ("m1-head", 1)
    assert updated(town, T + timedelta(minutes=1)) == []


def test_the_priority_of_the_source_comes_before_age() -> None:
    assert updated(behind(waiting_town("m1"), "m2", priority="critical", created_at=ago(hours=1))) == ["m2"]


def test_each_base_and_each_repository_has_a_turn_of_its_own() -> None:
    town = waiting_town("m1").rig("rig-2", name="two")
    behind(town, "m2", review={"target_branch": "release"})
    behind(town, "m3", rig_id="rig-2")
    assert updated(town) == ["m1", "m2", "m3"]


def test_two_rigs_of_one_repository_share_a_turn() -> None:
    town = waiting_town("m1").rig("rig-2", name="two")
    behind(town, "m2", rig_id="rig-2")
    for rig in ("rig-1", "rig-2"):
        town.update("rigs", rig, forge_repository_id="77")
    assert updated(town) == ["m1"]


@pytest.mark.parametrize(
    ("after", "next_one"),
    [(limits.BRANCH_UPDATE_CHECKS_FOR, []), (limits.BRANCH_UPDATE_CHECKS_FOR + MS, ["m2"])],
    ids=["within two hours", "after two hours"],
)
def test_nobody_else_is_updated_while_its_checks_run(after: timedelta, next_one: list[str]) -> None:
    town = waiting_town("m2")
    running = {"obstacle": None, "own_updated_at": to_text(T - after), "own_updates": 1}
    behind(town, "m1", metadata=running)
    assert updated(town) == next_one


def test_the_next_one_is_due_when_the_turn_is_over() -> None:
    town = waiting_town("m2")
    town.update("beads", "m2", metadata={**town.metadata("m2"), "last_poll_at": to_text(T)})
    running = {"obstacle": None, "own_updated_at": to_text(ago(hours=2)), "last_poll_at": to_text(T)}
    behind(town, "m1", metadata=running)
    town.tick()
    assert town.waiting_of("m2").reason == "behind_base"


@pytest.mark.parametrize(
    "trouble", [{"obstacle": "changes_requested"}, {"obstacle": "merge_refused"}, {"obstacle": "draft"}]
)
def test_a_pull_request_that_cannot_go_on_gives_its_turn_away(trouble: dict[str, Any]) -> None:
    town = waiting_town("m2")
    behind(town, "m1", metadata={**trouble, "own_updated_at": to_text(ago(minutes=5))})
    assert updated(town) == ["m2"]


def test_checks_that_fail_after_an_update_give_the_turn_away() -> None:
    town = waiting_town("m2")
    behind(town, "m1", metadata={"obstacle": None, "own_updated_at": to_text(ago(minutes=5))})
    town.bead("f", labels=["gt:pr-feedback"], parent_bead_id="m1").edge("m1", "f")
    assert updated(town) == ["m2"]


def test_a_pull_request_that_is_about_to_merge_goes_first() -> None:
    """Whoever is updated now would be behind again a minute later: a run of the checks for nothing."""
    town = waiting_town("m2")
    behind(town, "m1", metadata={"obstacle": None, "auto_merge_pending": 1})
    assert updated(town) == []


def test_a_head_is_updated_once_and_a_new_one_again() -> None:
    asked = {"own_updated_at": to_text(ago(minutes=30)), "own_updates": 1}
    for seen, expected in ((ago(minutes=31), []), (ago(minutes=29), ["m1"])):
        town = a_town().config(refinery={"auto_merge": True, "auto_merge_delay_minutes": 5})
        behind(town, "m1", metadata={**asked, "head_seen_at": to_text(seen)})
        assert updated(town) == expected


@pytest.mark.parametrize(
    ("after", "again"),
    [(limits.BRANCH_UPDATE_CHECKS_FOR, []), (limits.BRANCH_UPDATE_CHECKS_FOR + MS, ["m1"])],
    ids=["within two hours", "after two hours"],
)
def test_an_update_that_changed_nothing_is_asked_for_again_after_two_hours(after: timedelta, again: list[str]) -> None:
    """The forge refused it, or its answer was lost: the head is the one for which it was asked."""
    town = a_town().config(refinery={"auto_merge": True, "auto_merge_delay_minutes": 5})
    behind(town, "m1", metadata={"own_updated_at": to_text(T - after), "own_updates": 1})
    assert updated(town) == again


@pytest.mark.parametrize(("so_often", "again"), [(4, ["m1"]), (5, [])])
def test_a_branch_is_updated_five_times_at_most(so_often: int, again: list[str]) -> None:
    town = a_town().config(refinery={"auto_merge": True, "auto_merge_delay_minutes": 5})
    behind(town, "m1", metadata={"own_updates": so_often})
    assert updated(town) == again


def with_agent_on_it(town: TownBuilder) -> TownBuilder:
    return town.agent("f", "refinery", "working", hook="m1")


def with_agent_on_its_source(town: TownBuilder) -> TownBuilder:
    return town.agent("p", status="working", hook="m1-source")


def with_a_fix_up(town: TownBuilder) -> TownBuilder:
    return town.bead("x", labels=["gt:pr-fixup", "gt:held"], metadata={"pr_url": f"{PR}m1", "branch": "b"})


def with_work_that_blocks_nothing(town: TownBuilder) -> TownBuilder:
    return town.bead("x", labels=["gt:held"], metadata={"mr_bead_id": "m1"})


@pytest.mark.parametrize(
    "busy", [with_agent_on_it, with_agent_on_its_source, with_a_fix_up, with_work_that_blocks_nothing]
)
def test_a_branch_on_which_somebody_works_is_left_alone(busy: Any) -> None:
    assert updated(busy(waiting_town("m1", "m2"))) == ["m2"]


def test_a_branch_whose_mr_waits_for_another_bead_is_left_alone() -> None:
    """It could not merge: its checks would have run for nothing."""
    assert updated(waiting_town("m1", "m2").bead("first").edge("m1", "first")) == ["m2"]


@pytest.mark.parametrize("rig", [{"upstream": "https://github.com/acme/upstream"}, {"auto_merge_delay_minutes": 5}])
def test_nothing_is_updated_that_the_town_would_not_merge(rig: dict[str, Any]) -> None:
    town = waiting_town("m1")
    if "upstream" not in rig:
        town.config(refinery={"auto_merge": False})
    town.update("rigs", "rig-1", config=rig)
    assert updated(town) == []


# R1q: leaving the queue


def queued_town(status: str = "in_progress", *, at: datetime = T, **metadata: Any) -> TownBuilder:
    town = a_town().bead("b", status="in_review" if status != "closed" else "closed")
    notes = {"queued_at": to_text(ago(minutes=1)), "last_poll_at": to_text(T), **metadata}
    town.review("m", status, of="b", pr_url=f"{PR}7", metadata=notes)
    return town.key("queued_reviews", {"m": to_text(at)})


def left(town: TownBuilder, at: datetime = T) -> list[str]:
    return [action["bead_id"] for action in actions(town.tick(at=at), rule=LEAVE, outcome="applied")]


def test_a_pull_request_in_a_queue_stays_there_while_its_mr_goes_on() -> None:
    assert left(queued_town()) == []


@pytest.mark.parametrize("status", ["failed", "closed", "open"])
def test_it_leaves_the_queue_when_its_mr_ends_in_any_way_or_is_reviewed_again(status: str) -> None:
    town = queued_town(status)
    assert left(town) == ["m"]
    assert effects(town, "dequeue") == [("claimed", "m", 1)]


def test_it_leaves_the_queue_when_its_mr_is_blocked() -> None:
    town = queued_town().bead("w", labels=["gt:rework"], parent_bead_id="m").edge("m", "w")
    assert left(town) == ["m"]


def test_it_is_asked_again_until_it_is_out() -> None:
    town = queued_town("failed")
    town.tick()
    error = {"kind": "http", "http_status": 403, "message": "no"}
    later = T + timedelta(seconds=5)
    failed = answer(town, "dequeue", "m", at=later, ok=False, error=error)
    assert actions(town.tick(failed, at=later), rule=LEAVE) == []
    again = T + limits.DEQUEUE_AGAIN_AFTER
    assert left(town, again - MS) == []
    assert left(town, again) == ["m"]
    town.tick(answer(town, "dequeue", "m", at=again + timedelta(seconds=5), ok=True), at=again + timedelta(seconds=5))
    assert town.value("queued_reviews") == {}
    assert left(town, again + timedelta(hours=1)) == []


def test_it_is_not_asked_twice_while_the_answer_is_awaited() -> None:
    town = queued_town("failed")
    town.tick()
    assert actions(town.tick(at=T + limits.DEQUEUE_AGAIN_AFTER), rule=LEAVE) == []


def test_the_town_wakes_to_ask_again() -> None:
    town = queued_town("failed", at=T + timedelta(minutes=3))
    assert town.tick().next_due == T + timedelta(minutes=3)


def test_a_merged_pull_request_is_in_no_queue() -> None:
    town = queued_town("closed")
    town.update("review_metadata", "m", merge_commit="c0ffee")
    assert left(town) == ["m"]
    assert (effects(town, "dequeue"), town.value("queued_reviews")) == ([], {})


def test_after_a_week_an_ended_mr_is_not_watched_any_more() -> None:
    town = queued_town("failed", queued_at=to_text(ago(days=7, ms=1)))
    town.tick()
    assert (effects(town, "dequeue"), town.value("queued_reviews")) == ([], {})


def test_it_stays_in_the_queue_while_its_mr_cannot_be_read() -> None:
    """A damaged row is in no list of the live reviews, and has not ended by that."""
    town = queued_town().update("beads", "m", labels="no json")
    assert left(town) == []
    assert list(town.value("queued_reviews")) == ["m"]


def test_an_mr_that_does_not_exist_any_more_is_forgotten() -> None:
    town = a_town().key("queued_reviews", {"gone": to_text(T)})
    assert left(town) == ["gone"]
    assert town.value("queued_reviews") == {}


# R1v: reviewers are asked again


def test_the_noted_reviewers_are_asked_once() -> None:
    town = a_town().review(
        "m", "in_progress", pr_url=f"{PR}7", metadata={"reviewers_to_ask": ["ann", "bob"], "last_poll_at": to_text(T)}
    )
    [asked] = actions(town.tick(), rule=ASK)
    assert asked["type"] == "request_review"
    assert effects(town, "request_review") == [("claimed", "m", 1)]
    assert '"reviewers":["ann","bob"]' in town.rows("SELECT payload FROM outbox WHERE kind = 'request_review'")[0][0]
    assert actions(town.tick(at=T + timedelta(seconds=5)), rule=ASK) == []

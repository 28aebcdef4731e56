"""Scenarios 567 and 568: agents that only beat, and reviews that do not move, are told after two hours."""

from datetime import datetime, timedelta

import pytest

from shared.domain.times import to_text
from tests.scenarios.stories import BOUNDARY, around, deeds
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, ago

HOUR = timedelta(hours=1)
STOPPED = [
    "liveness.force_stop: transition_agent p stalled",
    "liveness.force_stop: stop_agent p",
    "liveness.force_stop: create_triage_request p stuck_agent",
]


def a_beating_worker(since: timedelta, *, last_event: datetime | None = None) -> TownBuilder:
    """P was dispatched so long ago, has sent a heartbeat a second ago, and its last word is as old as given."""
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p")
    at = T - since
    return town.agent(
        "p",
        status="working",
        hook="b",
        last_activity_at=ago(seconds=1),
        last_event_at=last_event,
        dispatched_at=at,
        hooked_at=at,
    )


def a_refinery_at_work(
    town: TownBuilder, moved: timedelta, *, rig: str = "rig-1", review: str = "m", refinery: str = "f"
) -> TownBuilder:
    """A refinery that reviews an MR and told of progress a second ago; the MR has last moved so long ago."""
    at = T - moved
    town.review(review, "in_progress", rig_id=rig, updated_at=at, assignee_agent_bead_id=refinery)
    return town.agent(
        refinery,
        "refinery",
        "working",
        rig=rig,
        hook=review,
        last_activity_at=ago(seconds=1),
        last_event_at=ago(seconds=1),
        dispatched_at=at,
        hooked_at=at,
    )


def stops(town: TownBuilder) -> list[str]:
    return [deed for deed in deeds(town.tick()) if deed.startswith("liveness")]


def escalations(town: TownBuilder) -> list[tuple[str, str]]:
    """(cause, status) of every escalation."""
    rows = town.rows("SELECT json_extract(metadata, '$.cause'), status FROM beads WHERE type = 'escalation'")
    return [(cause, status) for cause, status in rows]


@scenario(567)
@pytest.mark.parametrize(("beating_for", "told"), around(2 * HOUR), ids=BOUNDARY)
def test_a_person_is_told_of_an_agent_that_has_only_beaten_for_two_hours(beating_for: timedelta, told: bool) -> None:
    town = a_beating_worker(beating_for)
    assert stops(town) == []
    assert escalations(town) == ([("no_word:b", "open")] if told else [])


@scenario(567)
def test_it_is_told_once() -> None:
    town = a_beating_worker(3 * HOUR)
    town.ticks(3)
    assert escalations(town) == [("no_word:b", "open")]


@scenario(567)
@pytest.mark.parametrize(("beating_for", "stopped"), around(12 * HOUR), ids=BOUNDARY)
def test_it_is_stopped_at_the_hook_limit(beating_for: timedelta, stopped: bool) -> None:
    assert stops(a_beating_worker(beating_for)) == (STOPPED if stopped else [])


@scenario(567)
def test_the_hook_limit_is_a_setting() -> None:
    town = a_beating_worker(4 * HOUR)
    town.key("config", {**(town.value("config") or {}), "hook_limit_hours": 3})
    assert stops(town) == STOPPED


@scenario(567)
def test_its_first_word_ends_the_escalation() -> None:
    town = a_beating_worker(3 * HOUR)
    town.tick()
    town.sql.execute("UPDATE agent_metadata SET last_event_at = :at WHERE bead_id = 'p'", {"at": to_text(T)})
    town.tick()
    assert escalations(town) == [("no_word:b", "closed")]


@scenario(568)
@pytest.mark.parametrize(("stood_for", "told"), around(2 * HOUR), ids=BOUNDARY)
def test_a_person_is_told_once_of_reviews_that_have_not_moved_for_two_hours(stood_for: timedelta, told: bool) -> None:
    town = a_refinery_at_work(a_town(), stood_for)
    town.tick()
    assert escalations(town) == ([("reviews_stand:m", "open")] if told else [])


@scenario(568)
def test_a_review_of_the_rig_that_moves_ends_it() -> None:
    town = a_refinery_at_work(a_town(), 3 * HOUR)
    town.tick()
    town.review("m2", "open", updated_at=T, branch="gt/other/2")
    town.tick()
    assert escalations(town) == [("reviews_stand:m", "closed")]


@scenario(568)
def test_another_rig_is_another_matter() -> None:
    town = a_town().rig("rig-2", name="second")
    a_refinery_at_work(town, 3 * HOUR)
    a_refinery_at_work(town, HOUR, rig="rig-2", review="m2", refinery="f2")
    town.tick()
    assert escalations(town) == [("reviews_stand:m", "open")]


@scenario(567)
def test_a_refinery_that_only_beats_while_its_rig_stands_is_told_for_one_reason() -> None:
    town = a_refinery_at_work(a_town(), 3 * HOUR).update("agent_metadata", "f", last_event_at=None)
    town.ticks(3)
    assert escalations(town) == [("no_word:m", "open")]

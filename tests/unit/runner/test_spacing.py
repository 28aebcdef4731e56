"""Ticks of one town keep their distance, also from a last tick that lies a little ahead of our clock."""

from datetime import timedelta

import pytest

from shared.domain.limits import WATCH_INTERVAL
from shared.domain.times import to_text
from tests.towns import MS, T, a_town, event
from tests.worlds import a_world

INTERVAL = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("ahead", "runs"),
    [
        (-INTERVAL - MS, True),
        (-INTERVAL, True),
        (-INTERVAL + MS, False),
        (INTERVAL - MS, False),
        (INTERVAL, False),
        (INTERVAL + MS, True),
    ],
    ids=["long ago", "5 s ago", "a moment ago", "ahead", "5 s ahead", "another clock"],
)
def test_a_tick_waits_for_its_distance_from_the_last_one(ahead: timedelta, runs: bool) -> None:
    world = a_world(a_town().key("last_tick_at", to_text(T + ahead)))
    report = world.run(force=False)
    assert (report.outcome != "not_due") is runs


def test_a_town_that_an_event_woke_is_not_run_again_at_the_time_when_it_was_due_before() -> None:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="a")
    world = a_world(town.agent("a", status="working", hook="b", last_event_at=T))
    world.runtime.container = "none"
    world.look()
    assert world.markers() == [T + WATCH_INTERVAL]

    world.clock.move(seconds=20)
    world.post(event("bead_updated", {"labels": ["seen"]}, bead="b", at=world.clock.now()))
    [woken] = world.look().runs

    assert woken.outcome == "committed"
    assert world.markers() == [T + timedelta(seconds=20) + WATCH_INTERVAL]

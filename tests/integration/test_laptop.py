"""A laptop that is closed for hours in the middle of the work: loop and agents stand still together, and go on together."""

from datetime import timedelta

import pytest

from tests.towns import a_town, event
from tests.worlds import World, a_world

SECOND = timedelta(seconds=1)
NIGHT = timedelta(hours=9)


def beat(world: World, number: int) -> None:
    """The agent of the bead says that it lives."""
    (agent,) = world.runtime.running()
    payload = {"last_event_at": world.clock.now().isoformat(), "generation": world.runtime.running()[agent]}
    world.post(event("agent_heartbeat", payload, agent=agent, event_id=f"beat-{number:06}"))


@pytest.fixture
def at_work() -> World:
    """An agent has worked on a bead for a minute, and sent beats."""
    world = a_world(a_town().bead("b1").agent("p"))
    world.live_through(10 * SECOND)
    for number in range(3):
        beat(world, number)
        world.live_through(20 * SECOND)
    assert world.town().doing("p") == ("working", "b1")
    return world


def test_the_agent_goes_on_where_it_was_and_is_not_taken_for_lost(at_work: World) -> None:
    at_work.clock.at += NIGHT
    at_work.live_through(20 * SECOND)
    assert at_work.town().value("settling_until") is not None
    for number in range(10, 40):
        beat(at_work, number)
        at_work.live_through(10 * SECOND)
    town = at_work.town()
    assert town.doing("p") == ("working", "b1")
    assert town.status("b1") == "in_progress"
    assert town.value("settling_until") is None
    assert [call.subject for call in at_work.runtime.seen("start")] == ["p"]
    assert at_work.runtime.seen("stop") == []


def test_an_agent_that_did_not_survive_the_night_is_replaced_after_the_town_has_settled(at_work: World) -> None:
    at_work.clock.at += NIGHT
    at_work.runtime.exits("p", reason="killed")
    at_work.live_through(timedelta(minutes=15))
    assert len(at_work.runtime.seen("start")) > 1

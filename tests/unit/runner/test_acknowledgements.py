"""The runtime is told which signs of life a committed tick has, and of no others."""

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.processes import ProcessStatus, SignOfLife
from shared.domain.times import to_text
from tests.fakes import FakeProcess
from tests.fault_injection import meanwhile
from tests.towns import TOWN, a_town, ago
from tests.worlds import World, a_world, in_order

SIGN = SignOfLife(at="2019-01-01T00:00:00.000Z", last_event_type="output", last_event_at="2019-01-01T00:00:00.000Z")
"""On the server's own clock, which the town need not share."""


def world_with(sign: SignOfLife | None) -> World:
    """P works, and the runtime says that of it."""
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p", updated_at=ago(seconds=5))
    world = a_world(town.agent("p", status="working", hook="b", generation=1, last_activity_at=ago(seconds=80)))
    world.runtime.processes[TOWN, "p"] = FakeProcess("process", 1)
    world.runtime.sign_of = lambda _town_id, _agent_id: sign
    return world


def observed(world: World) -> ProcessStatus:
    [(_, status)] = world.dry_run(ask_runtime=True).report.input.observations.agents
    return status


def test_the_server_gets_back_the_time_of_the_sign_that_was_committed() -> None:
    world = world_with(SIGN)
    assert world.run().outcome == "committed"
    assert world.runtime.taken == {(TOWN, "p"): SIGN.at}
    assert world.town().one("agent_metadata", "p", "last_activity_at") == to_text(world.clock.at)


def test_a_run_that_lost_the_race_has_taken_nothing() -> None:
    world = world_with(SIGN)
    world.runtime.taken.clear()

    def another_commits() -> None:
        other = replace(world, runtime=replace(world.runtime, sign_of=lambda _town_id, _agent_id: None, taken={}))
        other.run()

    report = in_order(meanwhile(world.steps(), before="replace ", by=another_commits))
    assert report.outcome == "lost"
    assert world.runtime.taken == {}


def test_a_dry_run_sees_the_sign_and_takes_nothing() -> None:
    world = world_with(SIGN)
    assert observed(world).sign == SIGN
    assert world.runtime.taken == {}


def test_the_tick_that_a_dry_run_showed_takes_what_it_saw() -> None:
    world = world_with(SIGN)
    given = world.dry_run(ask_runtime=True).report.input
    world.runtime.sign_of = lambda _town_id, _agent_id: None
    assert world.run(exactly=given).outcome == "committed"
    assert world.runtime.taken == {(TOWN, "p"): SIGN.at}


def test_a_runtime_that_gives_none_is_told_nothing() -> None:
    world = world_with(None)
    world.run()
    assert world.runtime.seen("heard") == []


@pytest.mark.parametrize("answer", [RuntimeError("broken"), TimeoutError("late")], ids=repr)
def test_a_runtime_that_cannot_be_told_changes_nothing(answer: Exception) -> None:
    world = world_with(SIGN)
    world.runtime.fails("heard", answer)
    report = world.run()
    assert (report.outcome, report.trouble) == ("committed", None)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"last_event_type": "\ud800"}, id="not a text"),
        pytest.param({"active_tools": (float("nan"),)}, id="not JSON"),
        pytest.param({"active_tools": ("x" * 5000,)}, id="too large"),
        pytest.param({"at": "a minute ago"}, id="not a time"),
    ],
)
def test_what_no_heartbeat_could_say_is_not_in_the_input_and_is_not_taken(more: dict[str, Any]) -> None:
    world = world_with(replace(SIGN, **more))
    assert observed(world) == ProcessStatus("running", generation=1)
    world.run()
    assert world.runtime.taken == {}


def test_effects_are_performed_before_the_runtime_is_told() -> None:
    world = world_with(SIGN)
    waiting = a_world(world.town().bead("open"))
    waiting.runtime = world.runtime
    waiting.run()
    verbs = [call.verb for call in world.runtime.calls]
    assert "start" in verbs
    assert verbs.index("heard") > verbs.index("start")

"""A process may report and end while a run looks at the town. What it reported counts before its end does."""

from datetime import timedelta

import pytest

from shared.ports.steps import Call, Steps
from shared.runner.run_report import RunReport
from tests.fakes import FakeProcess
from tests.fault_injection import each_call, meanwhile
from tests.scenarios.stories import deeds
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event
from tests.worlds import World, a_world, in_order

DONE = {"branch": "gt/toast/1", "generation": 1, "merge_commit": "abc"}


def a_review() -> TownBuilder:
    """A refinery works on a review without a pull request."""
    town = a_town().bead("b", status="in_review").review("m", "in_progress", of="b", assignee_agent_bead_id="f")
    return town.agent(
        "f", "refinery", "working", hook="m", generation=1, last_dispatch_bead_id="m", last_dispatch_outcome="alive"
    )


def reviewed() -> World:
    world = a_world(a_review())
    world.runtime.processes["t1", "f"] = FakeProcess("process-f", 1)
    return world


def with_a_last_report(world: World) -> Steps[RunReport]:
    """A run, between whose looks at the inbox and at the runtime the refinery reports that it is done, and ends."""

    def reports_and_ends() -> None:
        world.post(event("agent_done", DONE, agent="f"))
        world.runtime.exits("f")

    return meanwhile(world.steps(), before="status f", by=reports_and_ends)


@scenario(620)
def test_a_refinery_that_reports_and_ends_between_the_two_looks_is_not_started_again() -> None:
    """Seen: the tick knew that the process had ended, and not that it was done: R6 started it again for a review that was over."""
    world = reviewed()
    report = in_order(with_a_last_report(world)).tick
    assert report is not None
    assert [each.event_type for each in report.events] == ["agent_done", "container_status"]
    assert not [deed for deed in deeds(report) if "dispatch_agent f" in deed]
    assert not [key for key in world.inbox() if "-b-" in key], "what was read is taken"
    assert world.town().one("agent_metadata", "f", "generation", "current_hook_bead_id") == (1, None)


@scenario(620)
def test_a_dry_run_that_asks_the_runtime_hears_the_last_report_too() -> None:
    world = reviewed()
    world.post(event("agent_done", DONE, agent="f"))
    world.runtime.exits("f")
    shown = world.dry_run(ask_runtime=True)
    assert not [deed for deed in deeds(shown.report) if "dispatch_agent f" in deed]


@scenario(620)
def test_an_end_counts_only_when_the_whole_inbox_is_read() -> None:
    """More events wait than one tick takes: the report of what has ended may be in the rest."""
    world = reviewed()
    for number in range(12):
        titles = [
            event("bead_updated", {"title": "x"}, bead="b", event_id=f"update-{number}-{one}") for one in range(100)
        ]
        world.post(*titles, at=T - timedelta(minutes=1) + number * MS)
    first = in_order(with_a_last_report(world)).tick
    assert first is not None
    assert first.input.more_waiting
    assert [status.status for _, status in first.input.observations.agents] == ["unknown"]
    assert deeds(first, of="reviews") == []
    world.clock.move(seconds=5)
    second = world.run().tick
    assert second is not None
    assert not second.input.more_waiting
    assert not [deed for deed in deeds(second) if "dispatch_agent f" in deed]


@scenario(620)
@pytest.mark.parametrize(("ended", "looks"), [(False, 1), (True, 2)])
def test_only_an_end_costs_a_second_look_at_the_inbox(ended: bool, looks: int) -> None:
    world = reviewed()
    if ended:
        world.runtime.exits("f")
    names: list[str] = []

    def noted(call: Call) -> Call:
        names.append(call.name)
        return call

    in_order(each_call(world.steps(), noted))
    assert len([name for name in names if name.startswith("list towns/t1/inbox/")]) == looks


@scenario(621)
def test_agents_whose_heartbeats_may_wait_in_the_rest_of_the_inbox_are_not_lost() -> None:
    """Seen: 2,500 events waited, ticks took 1,000 of them every 5 s, and agents whose heartbeats came last counted as silent."""
    world = a_world(
        a_town()
        .bead("b", status="in_progress", assignee_agent_bead_id="p")
        .agent("p", status="working", hook="b", generation=1, last_activity_at=ago(minutes=3))
    )
    world.runtime.processes["t1", "p"] = FakeProcess("process-p", 1)
    for number in range(12):
        titles = [
            event("bead_updated", {"title": "x"}, bead="b", event_id=f"update-{number}-{one}") for one in range(100)
        ]
        world.post(*titles, at=T - timedelta(minutes=1) + number * MS)
    world.post(event("agent_heartbeat", {"generation": 1}, agent="p"), at=T)
    for _ in range(2):
        report = world.run().tick
        assert report is not None
        assert deeds(report, of="agents") == []
        world.clock.move(seconds=5)
    assert world.town().one("agent_metadata", "p", "status") == "working"

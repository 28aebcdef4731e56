"""How a town hears that its agents live: it asks the control server, and the server beats if the town does not take the answers.

A real control server runs the agents, and a worker asks it, over HTTP, on one clock that jumps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.agents.posting import NotPosted, PostedEvent, StorePoster
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.http_json import Answered, call
from shared.adapters.town_containers import FixedAddresses
from shared.domain import limits
from shared.domain.orders import StartOrder
from shared.domain.processes import ProcessStatus
from shared.domain.states import Role
from shared.domain.times import to_text
from tests.control_servers import PATIENT, DropRequest, Fail, TestServer, a_control_server
from tests.fakes import FakeClock
from tests.towns import TOWN, T, TownBuilder, a_town, ago
from tests.worlds import World, a_world

STEP = timedelta(seconds=5)
MINUTE = timedelta(minutes=1)
AGENTS = ("a1", "a2", "a3")


class OldTown(ControlServerRuntime):
    """Asks as a release did that knew no signs of life in a status: it does not read them, and takes none."""

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        return replace(super().status(town_id, agent_id), sign=None)


@dataclass
class Place:
    """A town, its control server, and both ways between them."""

    world: World
    clock: FakeClock
    server: TestServer = field(init=False)
    posts: list[tuple[float, Sequence[PostedEvent]]] = field(default_factory=list)
    is_deaf: bool = False

    def post(self, events: Sequence[PostedEvent]) -> None:
        """The way of the server's posts into the town."""
        if self.is_deaf:
            raise NotPosted("no way")
        self.posts.append(((self.clock.now() - T).total_seconds(), events))
        StorePoster(lambda: self.world.objects, "memory", TOWN, self.clock).post(events)

    def live(self, span: timedelta, *, ticks: bool = True) -> None:
        """Let time pass. The server looks at its agents, and the town is ticked whenever it is due."""
        end = self.clock.now() + span
        while self.clock.now() < end:
            self.clock.at += STEP
            self.server.running.watch.look()
            if ticks:
                self.world.look()

    def beats_at(self) -> list[float]:
        """When the server posted heartbeats, in seconds since the beginning."""
        return [at for at, events in self.posts if events[0]["event_type"] == "agent_heartbeat"]

    def cut(self) -> None:
        """From now on the town cannot reach the server."""
        self.server.faults.add("/status", DropRequest(), times=10_000)

    def is_lost(self) -> bool:
        """Whether the town has given up any of the agents."""
        return any(self.world.town().doing(agent)[0] != "working" for agent in AGENTS)


def _busy_town() -> TownBuilder:
    town = a_town()
    for number, agent in enumerate(AGENTS):
        town.bead(f"b{number}", status="in_progress", assignee_agent_bead_id=agent, updated_at=ago(seconds=5))
        town.agent(agent, status="working", hook=f"b{number}", generation=1, dispatched_at=ago(seconds=5))
    return town


@pytest.fixture
def open_place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes the place, whose town asks with a runtime of the given class."""
    clock = FakeClock(T)
    place = Place(a_world(_busy_town()), clock)
    place.world.clock = clock
    with a_control_server(tmp_path, clock=clock, town=place) as server:
        server.running.watch.finish()
        place.server = server

        def open_(asks: type[ControlServerRuntime] = ControlServerRuntime) -> Place:
            runtime: Any = asks(FixedAddresses(server.address), key_of=lambda _: server.settings.key, seconds=PATIENT)
            for agent in AGENTS:
                order = StartOrder(town_id=TOWN, agent_id=agent, generation=1, role=Role.POLECAT)
                runtime.start(order, effect_id=f"start-{agent}")
            place.world.runtime = runtime
            return place

        yield open_


def test_a_town_that_takes_the_answers_is_posted_no_heartbeat_but_the_first(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.live(4 * MINUTE)
    assert place.beats_at() == [5.0]
    assert not place.is_lost()
    assert place.world.town().one("agent_metadata", "a1", "last_activity_at") > to_text(T + 2 * MINUTE)


def test_a_town_of_an_older_release_hears_a_heartbeat_every_thirty_seconds(open_place: Callable[..., Place]) -> None:
    place = open_place(OldTown)
    place.live(3 * MINUTE)
    assert place.beats_at() == [5.0 + 30 * number for number in range(6)]
    assert not place.is_lost()


def test_a_server_of_an_older_release_beats_and_is_told_nothing(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.server.running.watch.draining = True  # then it says no more than an older one
    place.live(3 * MINUTE)
    assert place.beats_at() == [5.0 + 30 * number for number in range(6)]
    assert ("POST", "/agents/heard") not in place.server.faults.seen
    assert not place.is_lost()


def test_a_server_that_the_town_cannot_reach_any_more_beats_in_time(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.live(3 * MINUTE)
    last = place.world.town().one("agent_metadata", "a1", "last_activity_at")
    place.cut()
    place.live(4 * MINUTE)
    first = place.beats_at()[1]
    assert to_text(T + timedelta(seconds=first) - limits.UNHEARD_AFTER) >= last
    assert timedelta(seconds=first) < 3 * MINUTE + limits.HEARTBEAT_LOST_AFTER
    assert not place.is_lost()


def test_a_first_heartbeat_that_is_not_acknowledged_is_repeated_in_time(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.live(3 * MINUTE)
    place.cut()
    place.is_deaf = True
    place.live(timedelta(seconds=80), ticks=False)
    place.is_deaf = False
    place.live(4 * MINUTE)
    assert not place.is_lost()


def test_a_look_whose_tick_is_never_committed_keeps_no_heartbeat_from_the_town(
    open_place: Callable[..., Place],
) -> None:
    """The worker asks and dies, and the next one cannot reach the server: then the heartbeat must be there."""
    place = open_place()
    place.live(2 * MINUTE)
    place.live(timedelta(seconds=55), ticks=False)
    for agent in AGENTS:
        place.world.runtime.status(TOWN, agent)
    place.cut()
    place.live(timedelta(seconds=45), ticks=False)
    place.live(4 * MINUTE)
    assert not place.is_lost()


def test_a_dry_run_hears_them_and_takes_none(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.live(timedelta(seconds=200), ticks=False)
    place.server.faults.seen.clear()
    shown = place.world.dry_run(ask_runtime=True)
    assert {status.sign is not None for _, status in shown.report.input.observations.agents} == {True}
    assert ("POST", "/agents/heard") not in place.server.faults.seen


def test_the_server_is_told_after_the_commit_and_needs_not_answer(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.server.faults.add("/heard", Fail(500), times=10_000)
    place.live(3 * MINUTE)
    assert place.beats_at() == [5.0 + 30 * number for number in range(6)]
    assert not place.is_lost()


def test_an_agent_whose_server_is_gone_is_lost_as_soon_as_ever(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.live(3 * MINUTE)
    place.cut()
    place.is_deaf = True
    place.live(limits.HEARTBEAT_LOST_AFTER + STEP)
    assert place.is_lost()


def test_an_agent_for_which_the_town_does_not_ask_beats_alone(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.live(MINUTE)
    order = StartOrder(town_id=TOWN, agent_id="stranger", generation=1, role=Role.POLECAT)
    place.world.runtime.start(order, effect_id="start-stranger")
    place.posts.clear()
    place.live(3 * MINUTE)
    spoke = {event["agent_id"] for _, events in place.posts for event in events}
    assert spoke == {"stranger"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"agents": [{"agentId": "a1", "generation": 1}]},
        {"agents": [{"agentId": "a1", "generation": 1, "at": "soon"}]},
        {"agents": [{"agentId": "a1", "generation": "1", "at": to_text(T)}]},
        {"agents": [{"agentId": "a1", "generation": 1, "at": to_text(T), "more": 1}]},
    ],
    ids=str,
)
def test_what_is_not_an_acknowledgement_is_refused(open_place: Callable[..., Place], body: dict[str, Any]) -> None:
    server = open_place().server
    headers = {"Authorization": f"Bearer {server.settings.key}"}
    answer = call("POST", f"{server.address}/agents/heard", body=body, headers=headers, seconds=5)
    assert isinstance(answer, Answered)
    assert (answer.status, "agents" in answer.said) == (400, True)


@pytest.mark.parametrize(
    ("agent", "generation", "at"),
    [
        pytest.param("nobody", 1, T, id="an agent that it does not run"),
        pytest.param("a1", 2, T, id="another generation"),
        pytest.param("a1", 1, T + timedelta(days=1), id="a time that it has not given yet"),
    ],
)
def test_an_acknowledgement_of_something_else_keeps_no_agent_silent(
    open_place: Callable[..., Place], agent: str, generation: int, at: Any
) -> None:
    place = open_place(OldTown)
    place.live(STEP)
    body = {"agents": [{"agentId": agent, "generation": generation, "at": to_text(at)}]}
    headers = {"Authorization": f"Bearer {place.server.settings.key}"}
    answer = call("POST", f"{place.server.address}/agents/heard", body=body, headers=headers, seconds=5)
    assert isinstance(answer, Answered)
    assert answer.ok
    place.live(MINUTE)
    assert place.beats_at() == [5.0, 35.0, 65.0]

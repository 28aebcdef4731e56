"""What can happen between a town and its agents' processes, with real processes: on this machine, and behind the real
control server that is late, repeats itself or dies.

Whatever happens, three things hold: a bead never flaps (it is taken back at most once for each lost attempt), an attempt
is counted once, and of each generation at most one process lives, of an agent only its newest generation's.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.agents.posting import StorePoster
from infra.devstack import git_seed
from shared.adapters.clock import wait_for
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.local_processes import LocalProcessRuntime
from shared.adapters.town_containers import FixedAddresses
from shared.ports.runtime import AgentRuntime
from shared.runner.surroundings import Surroundings
from tests.control_servers import (
    PATIENT,
    SLEEPER,
    DropAnswer,
    DropRequest,
    Fail,
    Late,
    TestServer,
    Twice,
    a_control_server,
)
from tests.patience import PATIENCE_SECONDS
from tests.towns import TownBuilder, a_town, event
from tests.worlds import World

URL = "https://github.com/acme/main-rig.git"
CRASH = ("sh", "-c", "exit 3")


@dataclass
class RaceWorld(World):
    """A world whose agents are processes. `history` are the statuses of each bead as they were committed."""

    real: AgentRuntime | None = None
    processes: Callable[[], LocalProcessRuntime] | None = None
    server: TestServer | None = None
    history: dict[str, list[str]] = field(default_factory=dict)

    @property
    def around(self) -> Surroundings:
        around = super().around
        return replace(around, outside=replace(around.outside, runtime=self.real))

    def ticks(self, count: int = 1, *, every: float = 5) -> TownBuilder:
        """So many ticks, each after a look of the control server at its agents."""
        for _ in range(count):
            self.clock.move(seconds=every)
            if self.server is not None:
                self.server.running.watch.look()
                assert wait_for(self.said, seconds=PATIENCE_SECONDS)
            else:
                self.agents_beat()
            self.run()
            for bead_id, status in self.town().rows("SELECT bead_id, status FROM beads WHERE type = 'issue'"):
                seen = self.history.setdefault(bead_id, [])
                if seen[-1:] != [status]:
                    seen.append(status)
        return self.town()

    def agents_beat(self) -> None:
        """Agents without a control server say themselves that they live."""
        for agent_id, generations in self.alive().items():
            for generation in generations:
                self.post(event("agent_heartbeat", {"generation": generation}, agent=agent_id, at=self.clock.now()))

    def said(self) -> bool:
        """Whether the town has everything that the control server has to say."""
        return self.server is None or self.server.running.reporter._unposted == 0

    def alive(self) -> dict[str, list[int]]:
        """The generations that have a living process, by agent."""
        assert self.processes is not None
        found: dict[str, list[int]] = {}
        for agent in self.processes().running():
            found.setdefault(agent.agent_id, []).append(agent.generation)
        return found

    def worker(self, bead_id: str = "b1") -> tuple[str, int]:
        """Id and generation of the agent that the bead was last given to."""
        [row] = self.town().rows(
            "SELECT bead_id, generation FROM agent_metadata WHERE last_dispatch_bead_id = ?", bead_id
        )
        return row[0], row[1]

    def attempts(self, bead_id: str = "b1") -> int:
        count: int = self.town().one("beads", bead_id, "dispatch_attempts")
        return count

    def dies(self) -> None:
        """Every agent process is killed."""
        assert self.processes is not None
        for agent in self.processes().running():
            os.kill(agent.pid, signal.SIGKILL)
        assert wait_for(lambda: self.alive() == {}, seconds=PATIENCE_SECONDS)


@contextmanager
def locally(root: Path, beads: int, command: Sequence[str]) -> Iterator[RaceWorld]:
    """Agents are processes of this machine."""
    runtime = LocalProcessRuntime(root / "agents", command=command)
    world = RaceWorld(real=runtime, processes=lambda: runtime)
    world.put_in(_town(beads))
    yield world
    assert runtime.stop_all() == ()


@contextmanager
def behind_a_server(root: Path, beads: int, command: Sequence[str]) -> Iterator[RaceWorld]:
    """Agents are processes of a real control server, which clones a real repository and talks to the town's inbox."""
    repository = git_seed.create_repository(root / "work.git")
    world = RaceWorld()
    world.put_in(_town(beads))
    town = StorePoster(lambda: world.objects, "memory", "t1", world.clock)
    environment = {**git_seed.OFFLINE, **git_seed.redirect({URL: repository})}
    with a_control_server(
        root, command=command, town=town, clock=world.clock, environment=environment, eviction_seconds=0.3
    ) as server:
        # Ticks and looks take turns, so that a test is the same every time.
        server.running.watch._ended.set()
        world.server = server
        world.processes = lambda: world.server.runtime if world.server is not None else server.runtime
        world.real = ControlServerRuntime(
            FixedAddresses(server.address), key_of=lambda _: server.settings.key, seconds=PATIENT
        )
        yield world
        if world.server is not server:
            world.server.close()


def _town(beads: int) -> TownBuilder:
    town = a_town().update("rigs", "rig-1", git_url=URL)
    for number in range(1, beads + 1):
        town.bead(f"b{number}")
    return town


PLACES: dict[str, Any] = {"locally": locally, "behind a control server": behind_a_server}


@pytest.fixture(params=list(PLACES))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., RaceWorld]]:
    """Builds the world of a test, in each place in turn."""
    with ExitStack() as stack:

        def build(beads: int = 1, command: Sequence[str] = SLEEPER) -> RaceWorld:
            world: RaceWorld = stack.enter_context(PLACES[request.param](tmp_path, beads, command))
            return world

        yield build


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RaceWorld]:
    """A town with one bead behind a control server."""
    with behind_a_server(tmp_path, 1, SLEEPER) as world:
        yield world


def impatient(world: RaceWorld) -> None:
    """Starts give up after a moment."""
    assert world.server is not None
    key = world.server.settings.key
    seconds = replace(PATIENT, start=1)
    world.real = ControlServerRuntime(FixedAddresses(world.server.address), key_of=lambda _: key, seconds=seconds)


def done(world: RaceWorld, *, generation: int | None = None, bead: str = "b1") -> Any:
    agent_id, newest = world.worker(bead)
    payload = {"branch": "gt/toast/b1", "generation": generation or newest}
    return event("agent_done", payload, agent=agent_id, bead=bead, at=world.clock.now())


def completed(world: RaceWorld, status: str = "completed", *, generation: int | None = None) -> Any:
    agent_id, newest = world.worker()
    payload = {"status": status, "reason": "it ended", "generation": generation or newest}
    return event("agent_completed", payload, agent=agent_id, at=world.clock.now())


# starts ---------------------------------------------------------------------------------------------


def test_twenty_agents_at_once_are_twenty_processes_of_one_attempt_each(make: Callable[..., RaceWorld]) -> None:
    world = make(beads=20)
    world.ticks(2)
    alive = world.alive()
    assert sorted(alive.values()) == [[1]] * 20
    assert [world.attempts(f"b{n}") for n in range(1, 21)] == [1] * 20
    assert set(map(tuple, world.history.values())) == {("in_progress",)}


@pytest.mark.parametrize("fault", [Late(), DropAnswer()], ids=str)
def test_a_start_that_is_answered_too_late_runs_on_under_its_first_attempt(served: RaceWorld, fault: Any) -> None:
    """The start is unknown; the heartbeat of the process says that it was a yes."""
    assert served.server is not None
    if fault == Late():
        impatient(served)
    served.server.faults.add("/agents/start", fault)
    town = served.ticks(1)
    agent_id, _ = served.worker()
    assert served.server.comes_to_run(agent_id, 1)
    town = served.ticks(4, every=31)
    assert town.one("agent_metadata", agent_id, "status", "last_dispatch_outcome") == ("working", "alive")
    assert served.attempts() == 1
    assert served.alive() == {agent_id: [1]}
    assert served.history == {"b1": ["in_progress"]}


def test_a_start_that_never_arrived_is_lost_once_and_made_again_by_the_next_generation(served: RaceWorld) -> None:
    assert served.server is not None
    served.server.faults.add("/agents/start", DropRequest())
    served.ticks(1)
    assert served.alive() == {}
    served.ticks(12, every=31)
    agent_id, generation = served.worker()
    assert generation == 2
    assert served.alive() == {agent_id: [2]}
    assert served.attempts() == 2
    assert served.history == {"b1": ["in_progress", "open", "in_progress"]}


def test_a_start_whose_late_success_was_given_up_is_ended_by_its_successor(served: RaceWorld) -> None:
    """Generation 1 is started, nobody hears of it or from it; generation 2 takes its place."""
    assert served.server is not None
    served.server.faults.add("/agents/start", DropAnswer())
    silent = partial(setattr, served.server.running.watch, "look")
    silent(lambda: None)
    served.ticks(1)
    agent_id, _ = served.worker()
    assert served.alive() == {agent_id: [1]}
    impatient_of_status = served.server.faults
    impatient_of_status.add("/status", Fail(500), times=60)
    while served.worker()[1] < 2:
        served.ticks(1, every=31)
    agent_id, generation = served.worker()
    assert generation == 2
    assert served.alive() == {agent_id: [2]}
    assert served.attempts() == 2


def test_a_start_that_arrives_twice_and_is_reported_twice_is_one(served: RaceWorld) -> None:
    assert served.server is not None
    served.server.faults.add("/agents/start", Twice())
    served.ticks(1)
    [key] = served.inbox()
    stored = served.objects.get(key)
    assert stored is not None
    served.objects.put(key.replace(".json", "-again.json"), stored.body)
    served.ticks(3)
    agent_id, _ = served.worker()
    assert served.alive() == {agent_id: [1]}
    assert served.attempts() == 1
    spawned = served.town().rows("SELECT count(*) FROM bead_events WHERE event_type = 'agent_spawned'")
    assert spawned == [(1,)]


def test_a_server_that_says_no_costs_one_attempt_and_leaves_the_bead_with_its_agent(served: RaceWorld) -> None:
    assert served.server is not None
    served.server.faults.add("/agents/start", Fail(503))
    served.ticks(2)
    assert served.attempts() == 1
    assert served.alive() == {}
    served.ticks(8, every=10)
    agent_id, generation = served.worker()
    assert (generation, served.attempts()) == (2, 2)
    assert served.alive() == {agent_id: [2]}
    assert served.history == {"b1": ["in_progress"]}


def test_a_process_that_dies_while_it_starts_is_started_again_by_the_next_generation(
    make: Callable[..., RaceWorld],
) -> None:
    """Every process of this town crashes at once: each generation costs one attempt, and at the cap the bead fails."""
    world = make(command=CRASH)
    town = world.ticks(60, every=31)
    assert town.status("b1") == "failed"
    assert world.attempts() == 5
    assert world.worker()[1] == 5
    assert world.history["b1"] == ["in_progress", "open"] * 5 + ["failed"]
    assert world.alive() == {}


def test_a_clone_that_fails_after_the_answer_is_told_at_once(served: RaceWorld, tmp_path: Path) -> None:
    """The server answers `starting`; then the repository cannot be fetched: the agent is free long before 90 s are over."""
    assert served.server is not None
    sessions = served.server.running.sessions
    object.__setattr__(sessions._settings, "answer_within", 0.0)
    (tmp_path / "work.git").rename(tmp_path / "gone.git")
    served.ticks(1)
    agent_id, _ = served.worker()
    assert wait_for(lambda: sessions.status(agent_id)[1].get("status") == "exited", seconds=PATIENCE_SECONDS)
    town = served.ticks(2)
    assert town.one("agent_metadata", agent_id, "status", "last_dispatch_outcome") == ("idle", "lost")
    assert served.attempts() == 1
    [(reason,)] = town.rows("SELECT metadata FROM bead_events WHERE event_type = 'agent_exited'")
    assert "could not be started" in reason


# ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["done first", "completed first", "at once", "completed first, done a tick later"])
def test_done_and_completed_may_come_in_any_order(make: Callable[..., RaceWorld], order: str) -> None:
    world = make()
    world.ticks(2)
    agent_id, _ = world.worker()
    says = [done(world), completed(world)]
    world.dies()
    if order.startswith("completed first"):
        says.reverse()
    if order == "at once":
        world.post(*says)
    else:
        for said in says:
            world.post(said)
            if order.endswith("later"):
                world.ticks(1)
    town = world.ticks(8, every=31)
    assert town.one("beads", "b1", "dispatch_attempts") == 1
    assert town.rows("SELECT count(*) FROM beads WHERE type = 'merge_request'") == [(1,)]
    assert world.history["b1"] == ["in_progress", "in_review"]
    assert agent_id not in world.alive()


def test_what_an_older_generation_says_changes_nothing(make: Callable[..., RaceWorld]) -> None:
    """Generation 1 is lost and replaced; then its words arrive."""
    world = make()
    world.ticks(2)
    world.dies()
    world.ticks(12, every=31)
    agent_id, generation = world.worker()
    assert generation == 2
    before = list(world.history["b1"])
    world.post(completed(world, "failed", generation=1), done(world, generation=1))
    world.ticks(2)
    assert world.town().status("b1") == "in_progress"
    assert world.history["b1"] == before
    assert world.alive() == {agent_id: [2]}
    assert world.attempts() == 2


def test_a_stop_ends_its_generation_and_the_bead_is_taken_up_once(make: Callable[..., RaceWorld]) -> None:
    """A person resets the agent while it works: stop before dispatch, one process at the end."""
    world = make()
    world.ticks(2)
    agent_id, _ = world.worker()
    world.post(event("agent_reset", {}, agent=agent_id, at=world.clock.now()))
    world.ticks(3)
    newest, generation = world.worker()
    assert world.alive() == {newest: [generation]}
    assert world.attempts() == 1


# eviction -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [True, False], ids=["with a fresh heartbeat", "without one"])
def test_an_evicted_container_is_replaced_without_a_flap(served: RaceWorld, fresh: bool) -> None:
    """Fresh: the bead stays in progress until the reconciler finds it lost. Not fresh: it is open at once. Never twice."""
    first = served.server
    assert first is not None
    served.ticks(2)
    agent_id, _ = served.worker()
    (first.settings.root / "agents" / "t1" / agent_id / "work" / "tree" / "half.txt").write_text("half done\n")
    if not fresh:
        served.clock.move(seconds=91)
    [told] = first.running.evict()
    assert told.startswith(f"{agent_id} generation 1: saved on gt/")
    town = served.ticks(1) if _without_looks(served) else served.town()
    assert town.value("drain") is not None
    assert town.status("b1") == ("in_progress" if fresh else "open")
    assert served.alive() == {}
    served.ticks(3, every=31)
    assert served.attempts() == 1
    served.server = first.replaced("instance-2")
    served.server.running.watch._ended.set()
    town = served.ticks(1)
    assert town.value("drain") is None
    served.ticks(14, every=31)
    newest, generation = served.worker()
    assert served.alive() == {newest: [generation]}
    assert served.attempts() == 2
    assert served.history["b1"] == ["in_progress", "open", "in_progress"]
    tree = served.server.settings.root / "agents" / "t1" / newest / "work" / "tree"
    assert (tree / "half.txt").read_text() == "half done\n"


def _without_looks(world: RaceWorld) -> bool:
    """The container is gone: nobody looks at its agents any more, and nobody answers."""
    world.server = None
    return True


def test_a_container_that_dies_without_a_word_is_found_out(served: RaceWorld) -> None:
    """No eviction is told; statuses are unknown, heartbeats end: one attempt is lost, the next one runs elsewhere."""
    first = served.server
    assert first is not None
    served.ticks(2)
    first.running.kill()
    served.server = None
    served.ticks(3, every=31)
    served.server = first.replaced("instance-2", root=first.settings.root.with_name("another-disk"))
    served.server.running.watch._ended.set()
    served.ticks(14, every=31)
    agent_id, generation = served.worker()
    assert generation == 2
    assert served.alive() == {agent_id: [2]}
    assert served.attempts() == 2
    assert served.history["b1"] == ["in_progress", "open", "in_progress"]


# the mayor ------------------------------------------------------------------------------------------


def test_a_sleeping_mayor_is_started_with_the_first_message_and_written_to_with_the_next(
    make: Callable[..., RaceWorld],
) -> None:
    """Two calls for help in one tick, a third one later: one session, which is told all of it, each thing once."""
    world = make(beads=0)
    for number in (1, 2):
        world.post(event("escalation_raised", {"title": f"Help {number}", "severity": "high"}, at=world.clock.now()))
    world.ticks(4)
    [(agent_id, generations)] = world.alive().items()
    assert agent_id == world.town().one("agent_metadata", "mayor", "bead_id")
    assert len(generations) == 1
    world.post(event("escalation_raised", {"title": "Help 3", "severity": "high"}, at=world.clock.now()))
    town = world.ticks(4)
    assert world.alive() == {agent_id: generations}
    assert town.doing("mayor") == ("working", None)
    states = town.rows("SELECT state, attempts FROM outbox WHERE kind = 'notify_mayor' ORDER BY seq")
    assert states == [("done", 1)] * 3
    assert world.processes is not None
    session = world.processes().newest("t1", "mayor")
    assert session is not None
    order = session.context()
    assert order is not None
    told = [order.message or "", *(f.read_text() for f in (session.directory / "messages").iterdir())]
    assert sorted(next(word for word in ("Help 1", "Help 2", "Help 3") if word in text) for text in told) == [
        "Help 1",
        "Help 2",
        "Help 3",
    ]


def test_a_mayor_whose_session_ended_is_started_anew(make: Callable[..., RaceWorld]) -> None:
    world = make(beads=0)
    for number in (1, 2):
        world.post(event("escalation_raised", {"title": f"Help {number}", "severity": "high"}, at=world.clock.now()))
        world.ticks(3)
        assert list(world.alive()) == ["mayor"]
        world.dies()
        world.ticks(2)
        assert world.town().doing("mayor")[0] == "idle"

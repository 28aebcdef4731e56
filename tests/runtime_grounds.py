"""The runtimes that the conformance suite is run over, each with a way to see what really lives."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.ecs_runtime import EcsAgents, EcsContainers
from shared.adapters.local_processes import LocalProcessRuntime
from shared.adapters.town_containers import FixedAddresses
from shared.ports.runtime import AgentRuntime
from tests.control_servers import PATIENT, SLEEPER, a_control_server
from tests.fargate import Fargate, a_fargate, key_of


@dataclass
class Ground:
    """One runtime under test. `live` are the generations of an agent that have a living process; `crash` ends the newest
    one from outside. `exit_words` is what its end is called then.
    """

    runtime: AgentRuntime
    live: Callable[[str], list[int]]
    crash: Callable[[str], None]
    idle_container: str


def crash(runtime: LocalProcessRuntime, agent_id: str) -> None:
    """Kill an agent's process."""
    [pid] = [agent.pid for agent in runtime.running() if agent.agent_id == agent_id]
    os.kill(pid, signal.SIGKILL)


@contextmanager
def local_ground(root: Path) -> Iterator[Ground]:
    """Processes of this machine."""
    runtime = LocalProcessRuntime(root / "agents", command=SLEEPER)
    yield Ground(
        runtime,
        live=lambda agent_id: sorted(a.generation for a in runtime.running() if a.agent_id == agent_id),
        crash=lambda agent_id: crash(runtime, agent_id),
        idle_container="none",
    )
    assert runtime.stop_all() == ()


@contextmanager
def control_ground(root: Path) -> Iterator[Ground]:
    """The real control server over real HTTP."""
    with a_control_server(root) as server:
        runtime = ControlServerRuntime(
            FixedAddresses(server.address), key_of=lambda _: server.settings.key, seconds=PATIENT
        )
        yield Ground(
            runtime,
            live=server.generations,
            crash=lambda agent_id: crash(server.runtime, agent_id),
            idle_container="unmanaged",
        )


def crash_in(fargate: Fargate, agent_id: str) -> None:
    """Kill an agent's process, in whichever task it is."""
    [server] = [server for server in fargate.servers.values() if server.generations(agent_id)]
    crash(server.runtime, agent_id)


@contextmanager
def ecs_agents_ground(root: Path) -> Iterator[Ground]:
    """A task for each generation of an agent."""
    with a_fargate(root) as fargate:
        runtime = EcsAgents(fargate.tasks, shelf=fargate.keep, address_of=fargate.address_of, key_of=key_of)
        yield Ground(
            runtime,
            live=lambda agent_id: sorted(
                g for server in fargate.servers.values() for g in server.generations(agent_id)
            ),
            crash=lambda agent_id: crash_in(fargate, agent_id),
            idle_container="none",
        )


@contextmanager
def ecs_containers_ground(root: Path) -> Iterator[Ground]:
    """A control-server task for the town, run when the first agent is wanted."""
    with a_fargate(root) as fargate:
        containers = EcsContainers(fargate.tasks, address_of=fargate.address_of, look_every=0.05)
        runtime = ControlServerRuntime(containers, key_of=key_of, seconds=PATIENT)
        yield Ground(
            runtime,
            live=lambda agent_id: sorted(
                g for server in fargate.servers.values() for g in server.generations(agent_id)
            ),
            crash=lambda agent_id: crash_in(fargate, agent_id),
            idle_container="stopped",
        )


GROUNDS = {
    "local processes": local_ground,
    "control server": control_ground,
    "ECS, a task for each agent": ecs_agents_ground,
    "ECS, a task for each town": ecs_containers_ground,
}

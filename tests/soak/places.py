"""The two stores of a soak, each with two towns: one on a fast clock, one on real time."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from infra.agents.posting import StorePoster
from infra.buckets import Bucket
from infra.demo.agent import PACE_VARIABLE
from infra.devstack import git_seed
from infra.devstack.s3_servers import REGION, free_ports, seaweedfs
from infra.townctl import agent_programs
from infra.townctl.agent_programs import AgentProgram, LocalAgents
from shared.adapters.clock import CLOCK_VARIABLE, ScaledClock, SystemClock
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.s3_objects import S3Objects
from tests.soak.agent import NOTES_VARIABLE
from tests.soak.disk import Disk
from tests.soak.proxy import Proxy

FAST: Final = "fast"
REAL: Final = "real"
TOWNS: Final = (FAST, REAL)
SPEED: Final = 10.0
"""How many seconds pass on the clock of the fast town in one second, unless the command line says otherwise."""
PACE_SECONDS: Final = 12.0
GIT_URL: Final = "https://git.soak.invalid/town/work.git"
REPOSITORY: Final = Path(__file__).parents[2]
_BUCKET: Final = "towns-of-the-soak"
_TOWNS_MEBIBYTES: Final = 256
_AGENTS_MEBIBYTES: Final = 128


@dataclass
class Place:
    """A store, the directory of its agents, and what can be done to both.

    `bucket` is reached through the proxy. `objects` is the store itself, past everything that fails.
    """

    name: str
    data: Path
    objects: Any
    clock: ScaledClock
    repository: Path
    starts: Path
    bucket: Bucket | None = None
    proxy: Proxy | None = None
    disk: Disk | None = None
    agents_disk: Disk | None = None
    around: Mapping[str, str] = field(default_factory=dict)
    port: int = 0

    def clock_of(self, town: str) -> ScaledClock | SystemClock:
        """The clock of one of its towns."""
        return self.clock if town == FAST else SystemClock()

    def environment(self, town: str) -> dict[str, str]:
        """The environment of a process of townctl that is about this town."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TOWN"))}
        clock = {CLOCK_VARIABLE: self.clock.to_text()} if town == FAST else {}
        return {**mine, **self.around, **clock, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def townctl(self, *words: str) -> list[str]:
        """A command line of townctl on this place."""
        options = () if self.bucket is None else self.bucket.options()
        return [sys.executable, "-m", "infra.townctl.main", "--data", str(self.data), *options, *words]

    def poster(self, town: str) -> StorePoster:
        """Posts to one of its towns, through everything that fails."""
        return StorePoster(self._posting_objects, self.name, town, self.clock_of(town))

    def agents(self) -> LocalAgents:
        """Its local agents, to observe and stop them."""
        return agent_programs.no_agents(self.data)

    def _posting_objects(self) -> Any:
        return DirectoryObjects(self.data) if self.bucket is None else self.bucket.objects()


@contextmanager
def on_a_directory(home: Path, *, own_disks: bool, speed: float) -> Iterator[Place]:
    """A place in a directory. With `own_disks`, towns and agents each have a small disk of their own."""
    data = home / "data"
    with ExitStack() as stack:
        disk = agents_disk = None
        if own_disks:
            disk = Disk.mounted(data, mebibytes=_TOWNS_MEBIBYTES)
            stack.callback(disk.unmount)
            agents_disk = Disk.mounted(agent_programs.agents_root(data), mebibytes=_AGENTS_MEBIBYTES)
            stack.callback(agents_disk.unmount)
        place = _place("directory", home, data, DirectoryObjects(data), speed=speed)
        place.disk, place.agents_disk = disk, agents_disk
        yield place


@contextmanager
def on_seaweedfs(home: Path, *, seed: int, speed: float) -> Iterator[Place]:
    """A place in a bucket of a SeaweedFS server that is started for it, behind a proxy."""
    with seaweedfs(home / "server") as server:
        name = server.make_bucket(_BUCKET)
        parts = urlsplit(server.endpoint_url)
        assert parts.hostname is not None
        assert parts.port is not None
        os.environ.update(server.environment)
        with Proxy((parts.hostname, parts.port), seed=seed).running() as proxy:
            place = _place(
                "seaweedfs", home, home / "data", S3Objects(name, endpoint_url=server.endpoint_url), speed=speed
            )
            place.bucket = Bucket(name, f"http://127.0.0.1:{proxy.port}", REGION)
            place.proxy, place.around = proxy, server.environment
            yield place


def _place(name: str, home: Path, data: Path, objects: Any, *, speed: float) -> Place:
    data.mkdir(parents=True, exist_ok=True)
    repository = git_seed.create_repository(home / "work.git")
    notes = home / "starts"
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        PACE_VARIABLE: str(PACE_SECONDS),
        NOTES_VARIABLE: str(notes),
        **git_seed.OFFLINE,
        **git_seed.redirect({GIT_URL: repository}),
    }
    agent_programs.remember_program(data, AgentProgram((sys.executable, "-m", "tests.soak.agent"), environment))
    [port] = free_ports(1)
    return Place(name, data, objects, ScaledClock.starting_now(speed=speed), repository, notes, port=port)

"""The stage of the demo: a new directory with a bare repository, a town, and agents that do real work in it."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from infra.agents.variables import MODEL_URL_VARIABLE
from infra.buckets import Bucket
from infra.demo import model_scripts, scenario
from infra.demo.agent import AGENT_COMMAND, PACE_VARIABLE
from infra.demo.forge_client import FORGE_VARIABLE, TOKEN_VARIABLE
from infra.demo.people import People
from infra.devstack import git_seed
from infra.devstack.fake_forge import TOKEN, Site
from infra.devstack.fake_git import GitRepository
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.model_server.server import KEY, MODEL, ModelServer
from infra.devstack.s3_servers import REGION, moto_server, seaweedfs
from infra.townctl import agent_programs, forges, wiring
from infra.townctl.agent_programs import AgentProgram
from infra.townctl.provers import prover_of
from shared.adapters import file_locks, ids
from shared.adapters.clock import ScaledClock, wait_for
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.forge_hosts import ForgeHost
from shared.adapters.forge_tokens import secret_name
from shared.adapters.local_processes import LocalProcessRuntime
from shared.domain import ids as derived
from shared.domain.errors import Refused
from shared.intake import ingest
from shared.ports.secrets import Secret
from shared.ports.steps import drive
from shared.runner import founding
from shared.runner.surroundings import Surroundings
from shared.storage.towns import ObjectTownStore

TOWN: Final = scenario.TOWN_ID
REPOSITORY: Final = "work.git"
HOME: Final = Path("demo-data")
PACE_SECONDS: Final = 10.0
_SOURCES: Final = Path(__file__).resolve().parents[2]
_MARK: Final = ".demo"
_REMOVABLE: Final = "removed by the next demo"
_BUCKET: Final = "towns-of-the-demo"

Strategy = Literal["direct", "pr"]
"""How the demo's work lands: agents merge it themselves, or the town merges pull requests at a fake GitHub on this machine."""

StoreName = Literal["directory", "s3", "moto"]
"""Where the demo keeps its town: in its directory, or in a server that it starts (SeaweedFS or moto)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that the demo uses."""

    data: Path
    bucket: Bucket | None
    repository: Path
    clock: ScaledClock
    runtime: LocalProcessRuntime
    store: ObjectTownStore
    around: Surroundings
    github: FakeGitHub | None = None
    people: People | None = None

    def file(self, *events: Any) -> None:
        """Post events through ordinary ingestion, as one batch."""
        now = self.clock.now()
        batch = ingest.accept(json.dumps(list(events)).encode(), received_at=now)
        drive(self.store.post(TOWN, batch.body, received_at=now, batch_id=ids.batch_id(), wake=True))


@contextmanager
def fresh_directory(named: Path | None, *, kept: bool) -> Iterator[Path]:
    """A new directory that is marked as in use while the `with` block runs.

    If none is named, it is created below ./demo-data, and the directories of earlier demos that were not kept are removed.
    """
    if named is not None:
        if named.exists() and (not named.is_dir() or any(named.iterdir())):
            hint = "name a directory that is empty or does not exist, or omit --data"
            raise Refused(f"the demo needs an empty directory, and {named} is not", status=409, path="data", hint=hint)
        data = named
    else:
        _remove_earlier_ones()
        data = _unused()
    data.mkdir(parents=True, exist_ok=True)
    with (data / _MARK).open("w", encoding="utf-8") as mark:
        if not wait_for(lambda: file_locks.try_lock(mark.fileno()), seconds=file_locks.LIMIT_SECONDS):
            hint = f"end the other demo that is removing old directories, or name a directory with --data; then remove {data}"
            raise Refused(f"another demo holds {data / _MARK}", status=409, path="data", hint=hint)
        mark.write("kept" if kept or named is not None else _REMOVABLE)
        mark.flush()
        yield data


@contextmanager
def a_bucket(store: StoreName, data: Path) -> Iterator[Bucket | None]:
    """A new bucket in a server that runs as long as the `with` block; None if the town is kept in the directory."""
    if store == "directory":
        yield None
        return
    server_in = moto_server if store == "moto" else seaweedfs
    with server_in(data / ".s3") as server, _environment_with(server.environment):
        yield Bucket(server.make_bucket(_BUCKET), server.endpoint_url, REGION)


@contextmanager
def _environment_with(settings: dict[str, str]) -> Iterator[None]:
    """Replace the user's settings of the AWS SDK with these while the `with` block runs."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name in settings}
    for name in ours:
        del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            os.environ.pop(name, None)
        os.environ.update(ours)


@contextmanager
def a_forge(strategy: Strategy, data: Path) -> Iterator[FakeGitHub | None]:
    """A fake GitHub for the demo's repository that runs as long as the `with` block; None if the strategy is direct."""
    if strategy == "direct":
        yield None
        return
    github = FakeGitHub(Site(repository=GitRepository(data / REPOSITORY), projects={scenario.PROJECT}))
    github.host = scenario.HOST
    with github.serving():
        yield github


@contextmanager
def a_program(agent: str | None, data: Path) -> Iterator[AgentProgram]:
    """What runs as an agent: the demo's own program or, if the name of a coding agent is given, that one. Then its model follows a
    script, and its server runs as long as the `with` block. A home of its own keeps it from the settings of the user's agents.
    """
    if agent is None:
        yield AgentProgram(AGENT_COMMAND, {PACE_VARIABLE: str(PACE_SECONDS)})
        return
    model = ModelServer(model_scripts.scripts(), models=(MODEL,))
    with model.serving():
        keys = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}
        home = data.resolve() / "home"
        home.mkdir()
        around = {"HOME": str(home), MODEL_URL_VARIABLE: model.url, "PATH": _path(), **keys, **git_seed.IDENTITY}
        yield AgentProgram((sys.executable, "-m", "infra.agents.drivers", agent), around)


def _path() -> str:
    """A PATH on which agents find `town-agent` first."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def set_up(
    data: Path,
    runs: AgentProgram,
    *,
    bucket: Bucket | None = None,
    github: FakeGitHub | None = None,
    speed: float,
    write_line: Any,
) -> Stage:
    """Create the repository, the town and the runtime; nothing runs yet."""
    repository = git_seed.create_repository(data / REPOSITORY)
    clock = ScaledClock.starting_now(speed=speed)
    environment = {
        "PYTHONPATH": str(_SOURCES),
        "PYTHONDONTWRITEBYTECODE": "1",
        **runs.environment,
        **git_seed.OFFLINE,
        **git_seed.redirect({scenario.GIT_URL: repository}),
    }
    program = AgentProgram(runs.command, environment)
    agent_programs.remember_program(data, program)
    forge = people = None
    if github is not None:
        # The settings of the forge are not stored, because the forge ends with the demo.
        way = {FORGE_VARIABLE: github.api_url, TOKEN_VARIABLE: TOKEN}
        program = AgentProgram(program.command, {**environment, **way})
        forges.secret_files(data).put(secret_name(github.host, town_id=TOWN), Secret(TOKEN))
        forge = forges.forge_of(data, clock, hosts=[ForgeHost.of("github", github.host, github.api_url)])
        github.site.now = clock.now
        people = People(github.site, clock)
    runtime = agent_programs.local_runtime(data, program, clock, bucket=bucket)
    if bucket is not None:
        wiring.prove(bucket)
    store = wiring.open_store(DirectoryObjects(data) if bucket is None else bucket.objects())
    prover = prover_of(data, forge=forge, runtime=runtime, environment=environment)
    around = wiring.surroundings(store, clock=clock, runtime=runtime, forge=forge, prover=prover, write_line=write_line)
    config = _config(github) | ({"default_model": MODEL} if MODEL_URL_VARIABLE in runs.environment else {})
    drive(founding.found_town(TOWN, around, worker_id=ids.worker_id(), config=config))
    return Stage(data, bucket, repository, clock, runtime, store, around, github, people)


def opening_events() -> list[Any]:
    """The scenario's events. They create the convoy, but do not start it."""
    return list(scenario.opening_events())


def start_of_the_convoy() -> Any:
    """The event that starts the convoy."""
    payload = {"convoy_id": scenario.CONVOY_ID}
    return {"event_id": "demo:start", "event_type": "convoy_started", "payload": payload}


def task_ids() -> tuple[str, ...]:
    """The ids that the convoy's tasks will have."""
    [convoy] = [event for event in opening_events() if event["event_type"] == "convoy_created"]
    tasks = convoy["payload"]["tasks"]
    return tuple(derived.derived_from(TOWN, f"convoy:{scenario.CONVOY_ID}:{index}") for index in range(len(tasks)))


def crashing_task() -> tuple[str, str]:
    """The id and title of the task whose agent crashes on purpose."""
    [convoy] = [event for event in opening_events() if event["event_type"] == "convoy_created"]
    for bead_id, task in zip(task_ids(), convoy["payload"]["tasks"], strict=True):
        if "demo: crash-once" in task.get("body", ""):
            return bead_id, task["title"]
    raise LookupError("the scenario has no task whose agent crashes")


def _config(github: FakeGitHub | None) -> dict[str, Any]:
    """The town's configuration. As in every new town, a convoy waits until it is started."""
    strategy = {} if github is None else scenario.PULL_REQUESTS
    return {**scenario.CONFIG, **strategy, "staged_convoys_default": True}


def _unused() -> Path:
    """Create a directory below ./demo-data with a name that no other demo uses."""
    stem = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        path = HOME / (stem if number == 1 else f"{stem}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise Refused(f"{HOME} contains too many demos", status=409, path="data", hint=f"remove {HOME}")


def _remove_earlier_ones() -> None:
    """Remove the directories of demos that have ended and are not marked as kept."""
    for mark in sorted(HOME.glob(f"*/{_MARK}")):
        with contextlib.suppress(OSError), mark.open("r+", encoding="utf-8") as file:
            if not file_locks.try_lock(file.fileno()):
                continue  # its demo is running
            is_kept = file.read() != _REMOVABLE  # also while its demo is still writing the mark
            survivors = LocalProcessRuntime(agent_programs.agents_root(mark.parent), command=()).running()
            if not is_kept and not survivors:
                shutil.rmtree(mark.parent, ignore_errors=True)


def offline_environment() -> dict[str, str]:
    """The environment of this process, with settings that make git ignore the user's configuration and the network."""
    return {**os.environ, **git_seed.OFFLINE}

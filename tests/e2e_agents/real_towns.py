"""A town in which real coding agents work, on a fast clock, with a scripted model."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.devstack import git_seed
from infra.devstack.model_server.scripts import Script
from infra.devstack.model_server.server import KEY, MODEL, ModelServer
from infra.townctl import agent_programs, wiring
from infra.townctl.agent_programs import AgentProgram
from infra.townctl.loop import TownLoop
from infra.townctl.provers import prover_of
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.adapters.clock import ScaledClock, wait_for
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.local_processes import LocalProcessRuntime
from shared.intake import ingest
from shared.ports.steps import drive
from shared.runner import founding
from shared.runner.run_report import FailedRun, RunReport
from shared.runner.surroundings import Surroundings
from shared.storage.towns import ObjectTownStore
from shared.town import database
from tests.command_lines import command_lines

PROGRAMS: Final = ("opencode", "claude", "codex")
TOWN: Final = "t1"
RIG: Final = "rig-1"
URL: Final = "https://git.demo.invalid/acme/work.git"
SPEED: Final = 10.0
LONGEST_SECONDS: Final = 1200.0
ROOT: Final = Path(__file__).resolve().parents[2]
_CONFIG: Final[dict[str, Any]] = {
    "merge_strategy": "direct",
    "staged_convoys_default": False,
    "agent_runtime": {"kind": "local"},
    "default_model": MODEL,
}


def driver(name: str) -> tuple[str, ...]:
    """The command of an agent: the driver of a program."""
    return (sys.executable, "-m", "infra.agents.drivers", name)


@dataclass
class Watcher:
    """Keeps what the loop did, for the message of a test that fails."""

    lines: list[str] = field(default_factory=list)

    def ran(self, run: RunReport) -> None:
        if run.tick is not None and not run.tick.quiet:
            done = [f"{judged.action['type']}:{judged.outcome}" for judged in run.tick.actions]
            events = [event.event_type for event in run.tick.events if event.event_type != "agent_heartbeat"]
            if done or events:
                self.lines.append(f"{run.tick.input.now:%H:%M:%S} {events} -> {done}")

    def failed(self, failed: FailedRun) -> None:
        self.lines.append(f"failed: {failed.error!r}")


@dataclass
class RealTown:
    """A town that is ticked by a thread while the test looks at it."""

    data: Path
    clock: ScaledClock
    store: ObjectTownStore
    runtime: LocalProcessRuntime
    model: ModelServer
    repository: Path
    watcher: Watcher
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def post(self, event_type: str, payload: Mapping[str, Any], **envelope: Any) -> None:
        """Post an event through ordinary ingestion."""
        now = self.clock.now()
        event = {"event_id": f"e2e:{next(self.numbers):05}", "event_type": event_type, "payload": payload, **envelope}
        batch = ingest.accept(json.dumps([event]).encode(), received_at=now)
        drive(self.store.post(TOWN, batch.body, received_at=now, batch_id=ids.batch_id(), wake=True))

    def creates(self, bead_id: str, title: str, **more: Any) -> None:
        """Create a bead of the rig."""
        self.post(
            "bead_created", {"bead": {"bead_id": bead_id, "type": "issue", "title": title, "rig_id": RIG, **more}}
        )

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Rows of the town's newest image."""
        with database.opened(drive(self.store.load(TOWN)).image) as sql:
            return [tuple(row) for row in sql.execute(query, values).fetchall()]

    def value(self, query: str, *values: str) -> Any:
        """The first column of the first row; None if there is none."""
        rows = self.rows(query, *values)
        return rows[0][0] if rows else None

    def status(self, bead_id: str) -> str | None:
        """The status of a bead."""
        found: str | None = self.value("SELECT status FROM beads WHERE bead_id = ?", bead_id)
        return found

    def until(self, what: str, holds: Callable[[], Any], *, seconds: float = LONGEST_SECONDS) -> None:
        """Wait until something holds; the failure says what the town and its agents did instead."""
        assert wait_for(lambda: bool(holds()), seconds=seconds), f"{what}\n{self.story()}"

    def story(self) -> str:
        """What the town, its agents and the model did."""
        logs = [f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in self.logs()]
        asked = [f"{each.protocol} {each.script} {each.turn} {each.failure or ''}" for each in self.model.asked]
        beads = self.rows("SELECT bead_id, type, title, status FROM beads ORDER BY created_at, bead_id")
        failed = self.rows("SELECT kind, result FROM outbox WHERE state = 'failed' ORDER BY seq")
        return "\n".join([*self.watcher.lines[-60:], *map(str, [*beads, *failed]), *asked[-40:], *logs])

    def logs(self) -> list[Path]:
        """The output of every agent."""
        return sorted((self.data / ".agents").rglob("*.log"))

    def places_with(self, secret: str) -> list[str]:
        """Where a secret occurs that may be nowhere: files of the town, command lines, and requests to the model."""
        files = [str(path) for path in self.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        shown = [line.replace(b"\0", b" ").decode(errors="replace") for line in command_lines()]
        return [*files, *(line for line in shown if secret in line), *self.model.requests_with(secret)]

    def townctl(self, *words: str) -> str:
        """What a command of townctl prints, which a person runs beside the town."""
        command = [sys.executable, "-m", "infra.townctl.main", "--data", str(self.data), *words]
        around = {**os.environ, clocks.CLOCK_VARIABLE: self.clock.to_text()}
        done = subprocess.run(command, check=False, cwd=ROOT, env=around, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def landed(self, branch: str = "main") -> str:
        """The subjects of the commits on a branch."""
        return self.git("log", "--format=%s", branch)

    def git(self, *words: str) -> str:
        """What git prints about the repository of the forge."""
        around = {**os.environ, **git_seed.OFFLINE}
        return subprocess.run(
            ["git", *words], check=True, cwd=self.repository, env=around, capture_output=True, text=True
        ).stdout


def made(directory: Path) -> Path:
    """A new directory."""
    directory.mkdir()
    return directory


@contextmanager
def ticking(around: Surroundings, watcher: Watcher, *, speed: float) -> Iterator[None]:
    """The town's loop in a thread of its own, as long as the block runs."""
    ended = threading.Event()
    loop = threading.Thread(target=TownLoop(around, watcher, speed=speed).until, args=(ended.wait,), daemon=True)
    loop.start()
    try:
        yield
    finally:
        ended.set()
        loop.join()


@contextmanager
def a_real_town(
    root: Path,
    command: Sequence[str],
    scripts: Sequence[Script],
    *,
    speed: float = SPEED,
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RealTown]:
    """A town whose agents run `command`, with the model of these scripts. Every agent is stopped at the end."""
    model = ModelServer(scripts, models=(MODEL,))
    with model.serving():
        repository = git_seed.create_repository(root / "work.git")
        clock = ScaledClock.starting_now(speed=speed)
        around_agents = {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(made(root / "home")),  # no profile of a person's shell, and no settings of a person's agents
            "TOWN_AGENT_MODEL_URL": model.url,
            "TOWN_AGENT_CLI": f"{sys.executable} -m infra.agents.town_agent.main",
            "PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_API_KEY": KEY,
            **git_seed.OFFLINE,
            **git_seed.redirect({URL: repository}),
            **git_seed.IDENTITY,
            **(environment or {}),
        }
        data = root / "data"
        program = AgentProgram(tuple(command), around_agents)
        runtime = agent_programs.local_runtime(data, program, clock)
        store = wiring.open_store(DirectoryObjects(data))
        prover = prover_of(data, forge=None, runtime=runtime, environment=around_agents)
        watcher = Watcher()
        around = wiring.surroundings(
            store, clock=clock, runtime=runtime, prover=prover, write_line=watcher.lines.append
        )
        drive(founding.found_town(TOWN, around, worker_id=ids.worker_id(), config={**_CONFIG, **(config or {})}))
        town = RealTown(data, clock, store, runtime, model, repository, watcher)
        town.post("rig_registered", {"rig_id": RIG, "name": "work", "git_url": URL})
        try:
            with ticking(around, watcher, speed=speed):
                yield town
        finally:
            assert not runtime.stop_all(), "agent processes could not be stopped"

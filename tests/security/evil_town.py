"""A town with a real control server, the real events API and real ticks, in which one agent obeys a stranger.

The API is the deployed one behind the gateway of devstack: its authorizer reads the tokens, its function stores the events. The
clock can be set ahead, so that an hour of the town passes in some seconds; the control server's clock stays behind, as that of a
container may.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from functions import log
from functions.access import Access
from functions.authorizer import app as authorizer
from functions.events import app as events
from functions.events.app import EventsDeployment
from functions.ingestion import Ingestion
from infra.devstack import container as containers
from infra.devstack import git_seed
from infra.devstack.container import Container
from infra.devstack.evil_agent.attempts import FILE, Attempt, attempts_in
from infra.devstack.gateway import Gateway, Route, serving
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.adapters.clock import ScaledClock, wait_for
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.git_prover import LOCAL_PROTOCOLS, GitProver
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.town_containers import FixedAddresses
from shared.adapters.town_tokens import Mint
from shared.intake import ingest
from shared.ports.queue import Wake
from shared.ports.steps import drive
from shared.runner.founding import found_town
from shared.runner.passes import Passes
from shared.runner.perform import Outside
from shared.runner.run_report import FailedRun, PassReport
from shared.runner.surroundings import Surroundings
from shared.storage import keys, publish
from shared.storage.towns import ObjectTownStore
from shared.telemetry.emf import EmfMetrics
from shared.town import database, journal
from tests.patience import PATIENCE_SECONDS
from tests.walled_agents import own_users, passable_directory

TOWN: Final = "town-1"
URL: Final = "https://git.town.invalid/acme/work.git"
KEY: Final = "key-of-the-town-tokens-0123456789-0123456789"
CONTROL_KEY: Final = "control-key-0123456789-0123456789-0123456789"
CLOUD_SECRET: Final = "secret-of-the-cloud-0123456789"
EVIL_BEAD: Final = "evil-0001"
_SPEED: Final = 15.0
_ALL_ROWS: Final = 100_000
_MODULES: Final = os.pathsep.join([str(Path(__file__).parents[2]), sysconfig.get_path("purelib")])
_NOT_NEEDED: Final = (
    "test",
    "site-packages",
    "idlelib",
    "ensurepip",
    "tkinter",
    "lib2to3",
    "config-*",
    "__pycache__",
    "*.a",
)


@dataclass
class AheadClock:
    """A clock that can be set ahead."""

    base: ScaledClock
    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        """The time of the base, and what it was set ahead."""
        return self.base.now() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""
        self.base.sleep(seconds)


@dataclass(frozen=True)
class _Keys:
    """The keys of the town tokens, as the authorizer reads them."""

    clock: AheadClock

    def values(self) -> tuple[str, ...]:
        return (KEY,)

    def refreshed(self) -> tuple[str, ...]:
        return (KEY,)


class _NoQueue:
    """The loop looks for due towns by itself."""

    def send(self, wakes: Any) -> tuple[Wake, ...]:
        return ()

    def put_back(self, receipts: Any) -> None:
        """Nothing was delivered."""


@dataclass
class _Failures:
    """The runs of the loop that failed."""

    failed: list[FailedRun] = field(default_factory=list)

    def passed(self, report: PassReport) -> None:
        self.failed += report.failed

    def not_tidied(self, failed: FailedRun) -> None:
        self.failed.append(failed)


@dataclass
class EvilTown:
    """The town and everything around it. `lines` is what the API has logged, `problems` the runs that failed."""

    home: Path
    clock: AheadClock
    objects: MemoryObjects
    around: Surroundings
    repository: Path
    lines: list[str]
    problems: _Failures
    url: str = ""
    is_healthy: bool = False
    container: Container = field(init=False)

    def __post_init__(self) -> None:
        pause = 5.0 / _SPEED
        self._passes = Passes(self.around, self.problems, worker_id=ids.worker_id, pause=pause)

    # what a test does

    def tell(self, event_type: str, event_id: str, payload: dict[str, Any]) -> None:
        """An operator posts an event."""
        event = {"event_id": event_id, "event_type": event_type, "payload": payload}
        batch = ingest.batch_of([event], received_at=self.clock.now())
        post = self.around.store.post(
            TOWN, batch.body, received_at=self.clock.now(), batch_id=ids.batch_id(), wake=True
        )
        drive(post)

    def wants(self, bead_id: str, *, body: str = "") -> None:
        """An operator files an issue."""
        bead = {"bead_id": bead_id, "type": "issue", "title": f"Do {bead_id}", "rig_id": "rig-1", "body": body}
        self.tell("bead_created", f"file-{bead_id}", {"bead": bead})

    def until(self, happened: Callable[[], bool]) -> bool:
        """Make passes until something is so; False if it does not happen at all."""

        def look() -> bool:
            drive(self._passes.once())
            return happened()

        return wait_for(look, seconds=PATIENCE_SECONDS, every=5.0 / _SPEED)

    def passes(self) -> None:
        """Make two passes."""
        for _ in range(2):
            drive(self._passes.once())

    # what a test asks

    def rows(self, query: str) -> list[Any]:
        """The rows of a query over the committed image."""
        with database.opened(drive(self.around.store.load(TOWN)).image) as sql:
            return list(sql.execute(query).fetchall())

    def statuses(self) -> dict[str, str]:
        """The status of every issue."""
        return dict(self.rows("SELECT bead_id, status FROM beads WHERE type = 'issue' ORDER BY bead_id"))

    def heard(self) -> list[dict[str, Any]]:
        """Every event that a tick was given, with its sender."""
        return [event for row in self.ticks() for event in row["inputs"]["new_events"]]

    def ticks(self) -> list[dict[str, Any]]:
        """The journal of every tick, from the image and from the store."""
        with database.opened(drive(self.around.store.load(TOWN)).image) as sql:
            rows: dict[int, Any] = {row["tick_no"]: row for row in journal.rows(sql, limit=_ALL_ROWS)}
        for key in self.objects.list(keys.journal_prefix(TOWN)).keys:
            stored = self.objects.get(key)
            assert stored is not None
            rows |= {row["tick_no"]: row for row in publish.rows_of(stored.body, key)}
        assert sorted(rows) == list(range(1, max(rows) + 1))
        return [rows[number] for number in sorted(rows)]

    def merged_subjects(self) -> list[str]:
        """The subjects of the commits on main."""
        words = ["git", "-c", "safe.directory=*", "log", "--format=%s", "main"]
        shown = subprocess.run(words, check=True, cwd=self.repository, capture_output=True, text=True)
        return shown.stdout.splitlines()

    def evil_agent(self) -> str:
        """The id of the agent that got the stranger's bead."""
        query = "SELECT subject FROM outbox WHERE kind = 'dispatch_agent' AND payload LIKE '%evil-0001%' ORDER BY seq"
        return str(self.rows(query)[0][0])

    def homes(self) -> list[Path]:
        """The homes of agents that left a diary."""
        return [file.parent for file in self.container.disk.glob(f"agents/*/*/work/**/{FILE}")]

    def attempts(self) -> list[Attempt]:
        """Everything that evil agents have tried."""
        return [attempt for home in self.homes() for attempt in attempts_in(home / FILE)]


@contextmanager
def an_evil_town() -> Iterator[EvilTown]:
    """Start everything; it ends with the block."""
    with ExitStack() as running:
        home = running.enter_context(passable_directory())
        patch = running.enter_context(pytest.MonkeyPatch.context())
        town = _town(home)
        lines = town.lines.append
        metrics = EmfMetrics(lines, stage="local")
        ingestion = Ingestion(town.around, _NoQueue(), metrics, lines)
        deployment = EventsDeployment(ingestion, Access((), lines), town.objects)
        patch.setattr(events, "deployment", lambda: deployment)
        patch.setattr(authorizer, "secret", lambda: _Keys(town.clock))
        patch.setattr(log, "write_line", lines)
        town.url = running.enter_context(serving(_gateway(lines)))
        python = _python(home)
        town.container = containers.start(
            TOWN,
            home / "container",
            instance_id="instance-1",
            key=CONTROL_KEY,
            command=json.dumps([python, "-m", "infra.devstack.evil_agent"]),
            environment=_environment(town, python),
        )
        running.callback(town.container.close)
        outside = Outside(runtime=_runtime(town), prover=_prover(town))
        object.__setattr__(town.around, "outside", outside)
        yield town


def _town(home: Path) -> EvilTown:
    clock = AheadClock(ScaledClock.starting_now(speed=_SPEED))
    objects = MemoryObjects()
    around = Surroundings(ObjectTownStore(objects), clock)
    repository = _repository(home)
    config = {"merge_strategy": "direct", "staged_convoys_default": False}
    drive(found_town(TOWN, around, worker_id="founder", config=config))
    town = EvilTown(home, clock, objects, around, repository, [], _Failures())
    rig = {"rig_id": "rig-1", "name": "work", "git_url": URL, "default_branch": "main"}
    town.tell("rig_registered", "rig-of-the-town", rig)
    return town


def _repository(home: Path) -> Path:
    """A repository from which every user of the machine may fetch, and to which all may push."""
    made = git_seed.create_repository(home / "work.git")
    with (made / "config").open("a", encoding="utf-8") as config:
        config.write("[core]\n\tsharedRepository = 0666\n")
    for path in (made, *made.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (home / "gitconfig").write_text(f'[url "{made}"]\n\tinsteadOf = {URL}\n[safe]\n\tdirectory = *\n')
    return made


def _gateway(write_line: Callable[[str], object]) -> Gateway:
    functions: dict[str, Callable[[Any], Any]] = {
        "events": lambda event: events.answered(event, write_line),
        "authorizer": lambda event: authorizer.lambda_handler(event, None),
    }
    turn = threading.Lock()

    def invoke(function: str, event: Any) -> Any:
        with turn:
            return functions[function](event)

    route = Route("POST", "/api/towns/{townId}/events", "events", "townToken")
    return Gateway((route,), invoke, (), authorizer="authorizer")


def _python(home: Path) -> str:
    """A Python that every user may run, which finds its modules compiled: a command takes a fifth of the time."""
    command, libraries = _passable(home)
    compiled = home / "compiled"
    start = home / "python"
    start.write_text(
        f'#!/bin/sh\nexport PYTHONPYCACHEPREFIX={compiled} LD_LIBRARY_PATH={libraries}\nexec {command} "$@"\n'
    )
    start.chmod(0o755)
    path = {"PYTHONPATH": _MODULES, "PYTHONDONTWRITEBYTECODE": ""}
    for module in ("infra.agents.town_agent.main", "infra.devstack.evil_agent.__main__"):
        subprocess.run([start, "-c", f"import {module}"], check=True, env={**os.environ, **path})
    for place in (compiled, *compiled.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)
    return str(start)


def _passable(home: Path) -> tuple[Path, str]:
    """The running Python and where its libraries lie, or a copy of them if other users cannot pass to where it lies."""
    this, base = Path(sys.executable).resolve(), Path(sys.base_prefix)
    if all(place.stat().st_mode & 0o001 for place in this.parents):
        return Path(sys.executable), ""
    copy, version = home / "copy", f"python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(
        base / "lib" / version,
        copy / "lib" / version,
        ignore=shutil.ignore_patterns(*_NOT_NEEDED),
        copy_function=_linked,
    )
    for library in base.glob("lib/libpython*.so*"):
        shutil.copy2(library, copy / "lib")
    (copy / "bin").mkdir()
    return Path(shutil.copy2(this, copy / "bin" / version)), str(copy / "lib")


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


def _environment(town: EvilTown, python: str) -> dict[str, str]:
    users = own_users(16)
    return {
        "TOWN_API": town.url,
        "TOWN_AGENT_CLI": f"{python} -m infra.agents.town_agent.main",
        "PYTHONPATH": _MODULES,
        "TOWN_AGENT_PACE": "0",
        "AWS_SECRET_ACCESS_KEY": CLOUD_SECRET,
        "TOWN_AGENT_UIDS": f"{users[0]}-{users[-1]}",
        clocks.CLOCK_VARIABLE: town.clock.base.to_text(),
        **_git(town.home),
    }


def _git(home: Path) -> dict[str, str]:
    return {"GIT_CONFIG_SYSTEM": str(home / "gitconfig"), "GIT_ALLOW_PROTOCOL": "file", "GIT_TERMINAL_PROMPT": "0"}


def _runtime(town: EvilTown) -> ControlServerRuntime:
    return ControlServerRuntime(
        FixedAddresses(town.container.address),
        mint=Mint(lambda: (KEY,), town.clock),
        key_of=lambda _: CONTROL_KEY,
        api=town.url,
    )


def _prover(town: EvilTown) -> GitProver:
    return GitProver(town.home / "proofs", protocols=LOCAL_PROTOCOLS, environment=_git(town.home))

"""`make drain-test`: takes a town's container away while an agent works, and watches what the town makes of it.

A town in a directory, its agents in a real control server (a process of its own), everything on a fast clock. The container
is evicted in order; the drain ends in one of three ways (`--how`): by the `nonce` that the new instance finds on its
volume, by the `instance` id in a heartbeat from a container with an empty disk, or by the `timeout` of seven minutes.
Prints what it saw, and PASS or FAIL with what a person needs to look further. Exit code 0 or 1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from infra.agents.plain_agent import LINES, file_of
from infra.devstack import container as containers
from infra.devstack import git_seed
from infra.devstack.container import Container
from infra.townctl import wiring
from infra.townctl.loop import TownLoop
from infra.townctl.words import code_of, done_by
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.adapters.clock import Budget, ScaledClock
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.town_containers import FixedAddresses
from shared.intake import ingest
from shared.ports.steps import drive
from shared.runner import founding
from shared.runner.run_report import FailedRun, RunReport
from shared.storage.towns import ObjectTownStore
from shared.town import database

TOWN: Final = "drain"
RIG: Final = "rig-drain"
URL: Final = "https://git.demo.invalid/town/drain.git"
FIRST, LATER = "1a2b3c4d-0000-4000-8000-000000000001", "5e6f7a8b-0000-4000-8000-000000000002"
HOWS: Final = ("nonce", "instance", "timeout")
_KEY: Final = "key-of-the-drain-test"
_COMMAND: Final = f"{sys.executable} -m infra.agents.plain_agent"
_CONFIG: Final[dict[str, Any]] = {"merge_strategy": "direct", "agent_runtime": {"kind": "control_server"}}
_PACE_SECONDS: Final = 20.0
_REAL_SECONDS_AT_MOST: Final = 120.0
_FALSE_ALARMS: Final = frozenset({"A1", "A2", "A3", "A4", "G1", "G2", "G3"})

_AGENT_COLUMNS: Final = "bead_id, role, status, generation, last_dispatch_outcome, last_activity_at"


class Failed(Exception):
    """Something that the drain test is there to see did not happen, or something else did."""


def value_of(image: bytes, query: str, *values: str) -> Any:
    """The first column of the first row, or None."""
    with database.opened(image) as sql:
        row = sql.execute(query, values).fetchone()
    return None if row is None else row[0]


@dataclass
class Seen:
    """What the loop reports: a line for each tick that did something; and what happened while the town drained."""

    say: Callable[[str], None]
    dispatched: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ran(self, run: RunReport) -> None:
        """Note one run."""
        report = run.tick
        if report is None or report.quiet:
            return
        if value_of(run.image.image, "SELECT value FROM town WHERE key = 'drain'") not in (None, "null"):
            applied = [judged for judged in report.actions if judged.outcome == "applied"]
            self.dispatched += [str(each.action) for each in applied if each.action["type"] == "dispatch_agent"]
            self.alarms += [each.rule for each in applied if code_of(each.rule) in _FALSE_ALARMS]
        done = done_by(report)
        if done.worth_a_line:
            self.say(f"  {report.input.now:%H:%M:%S} tick {report.input.tick_no}: {done.sentence}")

    def failed(self, failed: FailedRun) -> None:
        """Note a failure."""
        self.failures.append(f"{failed.town_id}: {failed.error!r}")


@dataclass
class Stage:
    """The town, its container and the loop, with questions about them."""

    root: Path
    clock: ScaledClock
    store: ObjectTownStore
    loop: TownLoop
    seen: Seen
    repository: Path
    environment: dict[str, str]
    container: Container
    addresses: dict[str, str]
    say: Callable[[str], None]

    def close(self) -> None:
        """Leave no container behind."""
        self.container.close()

    def post(self, *events: dict[str, Any]) -> None:
        """Hand events to the town's inbox."""
        now = self.clock.now()
        batch = ingest.accept(json.dumps(list(events)).encode(), received_at=now)
        drive(self.store.post(TOWN, batch.body, received_at=now, batch_id=ids.batch_id(), wake=True))

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Run the loop until it holds. Raises Failed."""
        budget = Budget(_REAL_SECONDS_AT_MOST)
        while not holds():
            if budget.left() == 0:
                raise Failed(f"waited in vain: {what}")
            self.loop.one_pass()
            clocks.SystemClock().sleep(0.05)
        self.say(f"{self.clock.now():%H:%M:%S} {what}")

    def replace_container(self, disk: str, instance_id: str) -> None:
        """Run a new instance in place of the old one."""
        self.container = containers.start(
            TOWN,
            self.root / disk,
            instance_id=instance_id,
            key=_KEY,
            command=_COMMAND,
            environment=self.environment,
        )
        self.addresses[TOWN] = self.container.address

    def one(self, query: str, *values: str) -> Any:
        """The first column of the first row, or None."""
        return value_of(drive(self.store.load(TOWN)).image, query, *values)

    def status(self, bead_id: str) -> str | None:
        """The status of a bead."""
        found: str | None = self.one("SELECT status FROM beads WHERE bead_id = ?", bead_id)
        return found

    def drain(self) -> Any:
        """The town's drain, if it has one."""
        stored = self.one("SELECT value FROM town WHERE key = 'drain'")
        return None if stored is None else json.loads(stored)

    def written(self, ref: str, bead_id: str) -> list[str]:
        """The lines of a bead's file on a branch of the repository."""
        words = ["git", "show", f"{ref}:{file_of({'id': bead_id})}"]
        shown = subprocess.run(words, check=False, cwd=self.repository, capture_output=True, text=True)
        return shown.stdout.splitlines()

    def branches(self) -> list[str]:
        """The agents' branches in the repository."""
        words = ["git", "for-each-ref", "--format=%(refname:short)", "refs/heads/gt"]
        return subprocess.run(words, check=True, cwd=self.repository, capture_output=True, text=True).stdout.split()


def main(words: Sequence[str] | None = None) -> int:
    """Run the test; the exit code."""
    parser = argparse.ArgumentParser(prog="drain-test", description="Evict a town's container and watch the drain.")
    parser.add_argument("--how", choices=(*HOWS, "all"), default="all", help="how the drain ends")
    parser.add_argument("--speed", type=float, default=40.0, help="how many times as fast as the wall the clock runs")
    given = parser.parse_args(words)
    hows = HOWS if given.how == "all" else (given.how,)
    passed = [run(how, speed=given.speed, say=lambda line: print(line, flush=True)) for how in hows]
    return 0 if all(passed) else 1


def run(how: str, *, speed: float, say: Callable[[str], None]) -> bool:
    """One eviction; whether everything was as it should be."""
    say(f"--- the drain ends by {how}")
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="drain-test-")))
        stage = _set_up(root, speed=speed, say=say)
        cleanup.callback(stage.close)
        try:
            _play(stage, how)
        except Failed as failure:
            say(f"FAIL ({how}): {failure}")
            _diagnose(stage)
            return False
    say(f"PASS ({how})")
    return True


def _set_up(root: Path, *, speed: float, say: Callable[[str], None]) -> Stage:
    repository = git_seed.create_repository(root / "work.git")
    clock = ScaledClock.starting_now(speed=speed)
    store = ObjectTownStore(DirectoryObjects(root / "towns"))
    seen = Seen(say)
    addresses: dict[str, str] = {}
    environment = {
        clocks.CLOCK_VARIABLE: clock.to_text(),
        "TOWN_AGENT_DATA": str(root / "towns"),
        "TOWN_AGENT_PACE": str(_PACE_SECONDS),
        **git_seed.OFFLINE,
        **git_seed.redirect({URL: repository}),
    }
    runtime = ControlServerRuntime(_Found(addresses), key_of=lambda _: _KEY)
    around = wiring.surroundings(store, clock=clock, runtime=runtime, write_line=say)
    drive(founding.found_town(TOWN, around, worker_id=ids.worker_id(), config=_CONFIG))
    loop = TownLoop(around, seen, speed=speed)
    none: Any = None
    stage = Stage(root, clock, store, loop, seen, repository, environment, none, addresses, say)
    stage.replace_container("disk-1", "instance-1")
    return stage


class _Found(FixedAddresses):
    """The address of whichever instance runs now."""

    def __init__(self, addresses: dict[str, str]) -> None:
        super().__init__()
        self._now = addresses

    def address(self, town_id: str) -> str | None:
        """The newest instance's."""
        return self._now.get(town_id)


def _play(stage: Stage, how: str) -> None:
    """Work, eviction, drain, replacement, recovery. Raises Failed."""
    rig = {"rig_id": RIG, "name": "drain", "git_url": URL, "default_branch": "main"}
    stage.post({"event_id": "drain-test:rig", "event_type": "rig_registered", "payload": rig}, _bead(FIRST, "Write it"))
    stage.until("an agent works and is alive", lambda: _outcome(stage) == "alive")
    stage.until("it has written a part", lambda: _lines_in_worktree(stage) >= 2)

    stage.container.evict()
    stage.until("the town drains", lambda: stage.drain() is not None)
    stage.post(_bead(LATER, "Write more"))
    _require(stage.container.wait(seconds=40) == 0, "the container ended in order")
    stage.addresses.clear()
    for line in stage.container.said[1:]:
        stage.say(f"  container: {line}")
    saved = [line for branch in stage.branches() for line in stage.written(branch, FIRST)]
    _require(2 <= len(saved) < LINES, f"its unfinished work was saved: {len(saved)} of {LINES} lines")
    stage.say(f"{stage.clock.now():%H:%M:%S} its unfinished work was saved: {len(saved)} of {LINES} lines")
    stage.until("the new bead is known and waits", lambda: stage.status(LATER) == "open")

    began = stage.drain()["started_at"]
    _end_drain(stage, how)
    stage.until(f"the drain is over, by {how}", lambda: stage.drain() is None)
    took = (stage.clock.now() - datetime.fromisoformat(began)).total_seconds()
    stage.say(f"  it took {took:.0f} s of the town's time")
    _require(stage.seen.dispatched == [], f"nothing was dispatched while it drained: {stage.seen.dispatched}")
    _require(stage.seen.alarms == [], f"nobody was taken for lost while it drained: {stage.seen.alarms}")
    _require(how != "timeout" or took >= 420, "only seven minutes end a drain by themselves")

    stage.until("both beads have landed", lambda: {stage.status(FIRST), stage.status(LATER)} == {"closed"})
    written = stage.written("main", FIRST)
    generations = {line.rsplit(" ", 1)[-1] for line in written}
    _require(
        len(written) == LINES and len(generations) == 2, f"the second agent went on where the first was: {written}"
    )
    attempts = stage.one("SELECT dispatch_attempts FROM beads WHERE bead_id = ?", FIRST)
    _require(attempts == 2, f"two attempts were counted, not {attempts}")
    _require(stage.seen.failures == [], f"no run failed: {stage.seen.failures}")


def _end_drain(stage: Stage, how: str) -> None:
    """A new instance on the old volume, one on an empty disk whose mayor speaks, or nothing at all."""
    if how == "nonce":
        stage.replace_container("disk-1", "instance-2")
        return
    # An empty disk holds no nonce, and without an agent nobody there says which container it is.
    stage.replace_container("disk-2", "instance-2")
    if how == "instance":
        call = {"title": "Is anybody there?", "severity": "high"}
        stage.post({"event_id": "drain-test:call", "event_type": "escalation_raised", "payload": call})


def _bead(bead_id: str, title: str) -> dict[str, Any]:
    bead = {"bead_id": bead_id, "type": "issue", "title": title, "rig_id": RIG}
    return {"event_id": f"drain-test:{bead_id}", "event_type": "bead_created", "payload": {"bead": bead}}


def _outcome(stage: Stage) -> Any:
    return stage.one("SELECT last_dispatch_outcome FROM agent_metadata WHERE last_dispatch_bead_id = ?", FIRST)


def _lines_in_worktree(stage: Stage) -> int:
    files = list((stage.root / "disk-1").glob(f"agents/*/*/work/tree/{file_of({'id': FIRST})}"))
    return max((len(file.read_text(encoding="utf-8").splitlines()) for file in files), default=0)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


def _diagnose(stage: Stage) -> None:
    """What a person wants to see first."""
    with database.opened(drive(stage.store.load(TOWN)).image) as sql:
        for title, query in (
            (
                "beads",
                "SELECT bead_id, type, status, dispatch_attempts FROM beads WHERE type <> 'agent' ORDER BY bead_id",
            ),
            ("agents", f"SELECT {_AGENT_COLUMNS} FROM agent_metadata ORDER BY bead_id"),  # noqa: S608 - our own words
            ("town", "SELECT key, value FROM town WHERE key IN ('drain', 'container_instance_id') ORDER BY key"),
            ("outbox", "SELECT kind, subject, state, attempts, result FROM outbox ORDER BY seq DESC LIMIT 10"),
        ):
            stage.say(f"  {title}:")
            for row in sql.execute(query).fetchall():
                stage.say(f"    {row}")
    stage.say(f"  container said: {stage.container.said[-10:]}")
    for log in sorted(stage.root.glob("disk-*/agents/*/*/*/agent.log")):
        stage.say(f"  {log.parent.name} said: {log.read_text(encoding='utf-8', errors='replace')[-500:]}")


if __name__ == "__main__":
    sys.exit(main())

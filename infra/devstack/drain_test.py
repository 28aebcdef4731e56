"""`make drain-test`: evicts a town's container while an agent works, and checks how the town drains and recovers.

The town is in a directory, its agents run in a real control server (a separate process), and everything uses a fast clock. The
container is evicted with SIGTERM. The drain ends in one of three ways (`--how`):

    nonce       the new instance finds the nonce on its volume
    instance    a heartbeat carries the id of a new instance, whose disk is empty
    timeout     seven minutes are over

It prints its observations and PASS, or FAIL with the state that the analysis needs. Exit code 0 or 1.
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
from infra.devstack.container import Container, NewestAddresses
from infra.townctl import wiring
from infra.townctl.loop import TownLoop
from infra.townctl.summaries import code_of, done_by
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.adapters.clock import Budget, ScaledClock
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.directory_objects import DirectoryObjects
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


class DrainTestFailed(Exception):
    """A check of the drain test failed."""


def value_of(image: bytes, query: str, *values: str) -> Any:
    """The first column of the first row of a query; None if it has no rows."""
    with database.opened(image) as sql:
        row = sql.execute(query, values).fetchone()
    return None if row is None else row[0]


@dataclass
class Seen:
    """Observes the loop: prints a line for each tick that did something, and records dispatches and alarms during the drain."""

    say: Callable[[str], None]
    dispatched: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ran(self, run: RunReport) -> None:
        """Record one run."""
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
        """Record a failed run."""
        self.failures.append(f"{failed.town_id}: {failed.error!r}")


@dataclass
class DrainedTown:
    """The town that is drained, with its container and the loop that ticks it."""

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
        """End the container."""
        self.container.close()

    def post(self, *events: dict[str, Any]) -> None:
        """Post events to the town's inbox."""
        now = self.clock.now()
        batch = ingest.accept(json.dumps(list(events)).encode(), received_at=now)
        drive(self.store.post(TOWN, batch.body, received_at=now, batch_id=ids.batch_id(), wake=True))

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Run the loop until `holds` is true. Raises DrainTestFailed if that takes too long."""
        budget = Budget(_REAL_SECONDS_AT_MOST)
        while not holds():
            if budget.left() == 0:
                raise DrainTestFailed(f"timed out while waiting for this: {what}")
            self.loop.one_pass()
            clocks.SystemClock().sleep(0.05)
        self.say(f"{self.clock.now():%H:%M:%S} {what}")

    def replace_container(self, disk: str, instance_id: str) -> None:
        """Start a new instance in place of the old one."""
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
        """The first column of the first row of a query; None if it has no rows."""
        return value_of(drive(self.store.load(TOWN)).image, query, *values)

    def status(self, bead_id: str) -> str | None:
        """The status of a bead."""
        found: str | None = self.one("SELECT status FROM beads WHERE bead_id = ?", bead_id)
        return found

    def drain(self) -> Any:
        """The town's drain; None if it is not draining."""
        stored = self.one("SELECT value FROM town WHERE key = 'drain'")
        return None if stored is None else json.loads(stored)

    def written(self, ref: str, bead_id: str) -> list[str]:
        """The lines of a bead's file on a branch of the repository."""
        words = ["git", "show", f"{ref}:{file_of(bead_id)}"]
        shown = subprocess.run(words, check=False, cwd=self.repository, capture_output=True, text=True)
        return shown.stdout.splitlines()

    def branches(self) -> list[str]:
        """The agents' branches in the repository."""
        words = ["git", "for-each-ref", "--format=%(refname:short)", "refs/heads/gt"]
        return subprocess.run(words, check=True, cwd=self.repository, capture_output=True, text=True).stdout.split()


def main(words: Sequence[str] | None = None) -> int:
    """Run the test. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="drain-test", description="Evict a town's container and check the drain.")
    parser.add_argument("--how", choices=(*HOWS, "all"), default="all", help="how the drain ends (default: all three)")
    parser.add_argument("--speed", type=float, default=40.0, help="speed of the clock; 1 is real time (default: 40)")
    given = parser.parse_args(words)
    hows = HOWS if given.how == "all" else (given.how,)
    passed = [run(how, speed=given.speed, say=lambda line: print(line, flush=True)) for how in hows]
    return 0 if all(passed) else 1


def run(how: str, *, speed: float, say: Callable[[str], None]) -> bool:
    """Test one eviction. Returns whether it passed."""
    say(f"--- the drain ends by {how}")
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="drain-test-")))
        town = _set_up(root, speed=speed, say=say)
        cleanup.callback(town.close)
        try:
            _play(town, how)
        except DrainTestFailed as failure:
            say(f"FAIL ({how}): {failure}")
            _diagnose(town)
            return False
    say(f"PASS ({how})")
    return True


def _set_up(root: Path, *, speed: float, say: Callable[[str], None]) -> DrainedTown:
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
    runtime = ControlServerRuntime(NewestAddresses(addresses), key_of=lambda _: _KEY)
    around = wiring.surroundings(store, clock=clock, runtime=runtime, write_line=say)
    drive(founding.found_town(TOWN, around, worker_id=ids.worker_id(), config=_CONFIG))
    loop = TownLoop(around, seen, speed=speed)
    none: Any = None
    town = DrainedTown(root, clock, store, loop, seen, repository, environment, none, addresses, say)
    town.replace_container("disk-1", "instance-1")
    return town


def _play(town: DrainedTown, how: str) -> None:
    """Let an agent work, evict its container, replace it, and check that the town recovers. Raises DrainTestFailed."""
    rig = {"rig_id": RIG, "name": "drain", "git_url": URL, "default_branch": "main"}
    town.post({"event_id": "drain-test:rig", "event_type": "rig_registered", "payload": rig}, _bead(FIRST, "Write it"))
    town.until("an agent is working", lambda: _outcome(town) == "alive")
    town.until("the agent has written a part of its file", lambda: _lines_in_worktree(town) >= 2)

    town.container.evict()
    town.until("the town is draining", lambda: town.drain() is not None)
    town.post(_bead(LATER, "Write more"))
    _require(town.container.wait(seconds=40) == 0, "the container did not shut down in an orderly way")
    town.addresses.clear()
    for line in town.container.said[1:]:
        town.say(f"  container: {line}")
    saved = [line for branch in town.branches() for line in town.written(branch, FIRST)]
    _require(2 <= len(saved) < LINES, f"{len(saved)} of {LINES} lines are saved; expected 2 to {LINES - 1}")
    town.say(f"{town.clock.now():%H:%M:%S} its unfinished work is saved: {len(saved)} of {LINES} lines")
    town.until("the new bead is open and waits", lambda: town.status(LATER) == "open")

    began = town.drain()["started_at"]
    _end_drain(town, how)
    town.until(f"the drain is over, by {how}", lambda: town.drain() is None)
    took = (town.clock.now() - datetime.fromisoformat(began)).total_seconds()
    town.say(f"  it took {took:.0f} s of the town's time")
    _require(town.seen.dispatched == [], f"agents were dispatched during the drain: {town.seen.dispatched}")
    _require(town.seen.alarms == [], f"agents were declared lost or stuck during the drain: {town.seen.alarms}")
    _require(how != "timeout" or took >= 420, f"the drain lasted {took:.0f} s; expected at least seven minutes")

    town.until("both beads have landed", lambda: {town.status(FIRST), town.status(LATER)} == {"closed"})
    written = town.written("main", FIRST)
    generations = {line.rsplit(" ", 1)[-1] for line in written}
    _require(
        len(written) == LINES and len(generations) == 2,
        f"the second agent did not continue the work of the first; the file contains: {written}",
    )
    attempts = town.one("SELECT dispatch_attempts FROM beads WHERE bead_id = ?", FIRST)
    _require(attempts == 2, f"the bead has {attempts} dispatch attempts; expected 2")
    _require(town.seen.failures == [], f"runs failed: {town.seen.failures}")


def _end_drain(town: DrainedTown, how: str) -> None:
    """Start a new instance: for `nonce` on the old volume, otherwise on an empty disk. For `instance`, start the mayor, whose
    heartbeats carry the new id; for `timeout`, start no agent.
    """
    if how == "nonce":
        town.replace_container("disk-1", "instance-2")
        return
    # An empty disk contains no nonce, and only agents' heartbeats carry the id of the instance.
    town.replace_container("disk-2", "instance-2")
    if how == "instance":
        call = {"title": "Is anybody there?", "severity": "high"}
        town.post({"event_id": "drain-test:call", "event_type": "escalation_raised", "payload": call})


def _bead(bead_id: str, title: str) -> dict[str, Any]:
    bead = {"bead_id": bead_id, "type": "issue", "title": title, "rig_id": RIG}
    return {"event_id": f"drain-test:{bead_id}", "event_type": "bead_created", "payload": {"bead": bead}}


def _outcome(town: DrainedTown) -> Any:
    return town.one("SELECT last_dispatch_outcome FROM agent_metadata WHERE last_dispatch_bead_id = ?", FIRST)


def _lines_in_worktree(town: DrainedTown) -> int:
    files = list((town.root / "disk-1").glob(f"agents/*/*/work/tree/{file_of(FIRST)}"))
    return max((len(file.read_text(encoding="utf-8").splitlines()) for file in files), default=0)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DrainTestFailed(otherwise)


def _diagnose(town: DrainedTown) -> None:
    """Print the state that the analysis needs."""
    with database.opened(drive(town.store.load(TOWN)).image) as sql:
        for title, query in (
            (
                "beads",
                "SELECT bead_id, type, status, dispatch_attempts FROM beads WHERE type <> 'agent' ORDER BY bead_id",
            ),
            ("agents", f"SELECT {_AGENT_COLUMNS} FROM agent_metadata ORDER BY bead_id"),  # noqa: S608 - our own words
            ("town", "SELECT key, value FROM town WHERE key IN ('drain', 'container_instance_id') ORDER BY key"),
            ("outbox", "SELECT kind, subject, state, attempts, result FROM outbox ORDER BY seq DESC LIMIT 10"),
        ):
            town.say(f"  {title}:")
            for row in sql.execute(query).fetchall():
                town.say(f"    {row}")
    town.say(f"  container said: {town.container.said[-10:]}")
    for log in sorted(town.root.glob("disk-*/agents/*/*/*/agent.log")):
        town.say(f"  {log.parent.name} said: {log.read_text(encoding='utf-8', errors='replace')[-500:]}")


if __name__ == "__main__":
    sys.exit(main())

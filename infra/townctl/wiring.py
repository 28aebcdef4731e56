"""The composition root of a deployment on one machine: a store, a clock and local agents.

The store is a data directory or a bucket. The files of local agents are in the data directory in both cases.

<data>/towns, <data>/due      the objects that a bucket would hold
<data>/.agents                the local agents: their start orders, working directories and logs
<data>/.agents/program.json   the program that agents run, remembered from the last --agent-command
"""

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from infra.agents.posting import DATA_VARIABLE
from infra.buckets import Bucket
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.local_processes import LocalProcessRuntime
from shared.adapters.local_supervisor import write_atomically
from shared.adapters.town_containers import FixedAddresses
from shared.domain.errors import Refused, TownError
from shared.domain.orders import StartOrder
from shared.ports.clock import Clock
from shared.ports.forge import SourceForge
from shared.ports.object_store import ObjectStore
from shared.ports.runtime import AgentRuntime, StartRejected
from shared.ports.steps import Steps, drive
from shared.ports.waiting_room import DueMarker
from shared.runner.perform import Outside
from shared.runner.surroundings import Surroundings
from shared.storage import keys
from shared.storage.probe import prove_conditional_writes
from shared.storage.towns import ObjectTownStore
from shared.telemetry.alert_log import AlertLog

_PROGRAM: Final = "program.json"

LocalClock = clocks.SystemClock | clocks.ScaledClock


class SomeTowns(ObjectTownStore):
    """A town store limited to some towns: no other is due or listed, so no other is ticked, swept or subject to retention."""

    def __init__(self, objects: ObjectStore, towns: frozenset[str]) -> None:
        super().__init__(objects)
        self._towns = towns

    def due(self, now: Any) -> Steps[tuple[DueMarker, ...]]:
        """The due markers of these towns."""
        markers = yield from super().due(now)
        return tuple(marker for marker in markers if marker.town_id in self._towns)

    def towns(self, *, after: str = "", limit: int | None = None, prefix: str = "") -> Steps[tuple[str, ...]]:
        """Those of these towns that exist, in the order of their keys."""
        found = yield from super().towns(prefix=prefix)
        ours = sorted(self._towns.intersection(found), key=keys.town)
        behind = [town for town in ours if not after or keys.town(town) > keys.town(after)]
        return tuple(behind[:limit])


class NoAgentProgram(LocalProcessRuntime):
    """The local agents if no program is set: they can be observed and stopped, but not started."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, command=())

    def start(self, order: StartOrder, *, effect_id: str) -> StartRejected:  # noqa: ARG002 - the port's shape
        """Reject the start, because no program is set."""
        return StartRejected('no program for agents is set: townctl run --agent-command "PROGRAM ARGUMENTS"')


def open_store(objects: ObjectStore, *, towns: Sequence[str] = ()) -> ObjectTownStore:
    """The towns in these objects; with `towns`, only those are due or listed."""
    return SomeTowns(objects, frozenset(towns)) if towns else ObjectTownStore(objects)


def agents_root(data: Path) -> Path:
    """The directory of the local agents of a data directory."""
    return data / ".agents"


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """The program that agents of a data directory run, and its environment, to which the place of its town is added."""

    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str) -> "AgentProgram":
        """The program of a command line. Raises Refused."""
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            hint = "close every quote, as in a shell: --agent-command \"PROGRAM 'one argument'\""
            problem = f"--agent-command cannot be split into words: {error}"
            raise Refused(problem, status=400, path="agent-command", hint=hint) from error
        if not words:
            hint = "give the program that agents run"
            raise Refused("--agent-command is empty", status=400, path="agent-command", hint=hint)
        return cls(words)


def remember_program(data: Path, program: AgentProgram) -> None:
    """Store the program, so that later commands on this directory use it."""
    path = agents_root(data) / _PROGRAM
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, {"command": list(program.command), "environment": dict(program.environment)})


def remembered_program(data: Path) -> AgentProgram:
    """The stored program; an empty command if none was stored. Raises Refused if the file cannot be read."""
    path = agents_root(data) / _PROGRAM
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        command = tuple(str(word) for word in stored["command"])
        return AgentProgram(command, {str(name): str(value) for name, value in stored["environment"].items()})
    except FileNotFoundError:
        return AgentProgram()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = f"give --agent-command again, or delete {path}"
        raise Refused(
            f"cannot read the agents' program in {path}: {error}", status=400, path="agent-command", hint=hint
        ) from error


def program(data: Path, given: str | None) -> AgentProgram:
    """The program of --agent-command, which is remembered; without it, the remembered one."""
    if given is None:
        return remembered_program(data)
    named = AgentProgram.from_text(given)
    remember_program(data, named)
    return named


def local_runtime(
    data: Path, runs: AgentProgram, clock: LocalClock, *, bucket: Bucket | None = None
) -> LocalProcessRuntime:
    """The agents of a data directory. They find their town by TOWN_AGENT_DATA and TOWNCTL_DATA or, if it is in a bucket, by
    TOWNCTL_BUCKET and the other variables of the bucket.
    """
    if not runs.command:
        return NoAgentProgram(agents_root(data))
    place = str(data.resolve())
    way = {DATA_VARIABLE: place, "TOWNCTL_DATA": place} if bucket is None else bucket.way()
    around = {**runs.environment, **way, clocks.CLOCK_VARIABLE: clock.to_text()}
    return LocalProcessRuntime(agents_root(data), command=runs.command, environment=around)


def behind_a_control_server(pattern: str) -> ControlServerRuntime:
    """Agents behind control servers that run elsewhere and require the secret TOWN_CONTROL_KEY. Raises Refused."""
    parts = urlsplit(pattern.replace("{town}", "town"))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        hint = "for example http://127.0.0.1:8080 or https://{town}.agents.example.com"
        raise Refused(
            f"--control-server: not a base URL: {pattern[:200]!r}", status=400, path="control-server", hint=hint
        )
    return ControlServerRuntime(FixedAddresses(pattern), key_of=lambda _: os.environ.get("TOWN_CONTROL_KEY") or None)


_PROVEN: Final[set[Bucket]] = set()


def prove(bucket: Bucket) -> None:
    """Check, once per process, that a bucket honours conditional writes. Raises StoreIncapable."""
    if bucket not in _PROVEN:
        drive(prove_conditional_writes(bucket.objects(), ids.batch_id()))
        _PROVEN.add(bucket)


def surroundings(
    store: ObjectTownStore,
    *,
    clock: Clock,
    runtime: AgentRuntime | None,
    forge: SourceForge | None = None,
    write_line: Callable[[str], object],
) -> Surroundings:
    """Everything outside a town that a run on one machine needs. Alerts become lines."""
    outside = Outside(runtime=runtime, forge=forge)
    return Surroundings(store=store, clock=clock, outside=outside, alerts=AlertLog(write_line, clock))


def clock_for(store: ObjectTownStore, towns: Sequence[str], *, speed: float) -> LocalClock:
    """The clock of a loop. If an earlier, faster clock left a town in the future, it starts at that time. Raises Refused."""
    if not 0 < speed < float("inf"):
        problem = f"--speed must be a number above 0, not {speed:g}"
        raise Refused(problem, status=400, path="speed", hint="use 1 for real time")
    started = clocks.ScaledClock.starting_now(speed=speed)
    newest = started.epoch
    for town_id in towns:
        try:
            newest = max(newest, drive(store.load(town_id)).facts.time)
        except TownError:
            continue  # the loop reports the town
    if newest > started.epoch + timedelta(seconds=1):
        return clocks.ScaledClock(epoch=newest, wall_epoch=started.wall_epoch, speed=speed)
    return clocks.SystemClock() if speed == 1 else started

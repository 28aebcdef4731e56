"""The measured counts: a town with working agents lives for some minutes behind the real functions, on a clock that jumps.

Their control server answers for the agents when a tick asks, and beats when none does; now and then an agent reports something that
wakes the town. The dispatcher is called every minute, wakes go through a FIFO queue. Sweep and retention are measured over the same
towns.
"""

import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from functions.audit import Trail
from functions.claims import Holder
from functions.ingestion import Ingestion
from shared.adapters.control_keys import ControlKeys
from shared.adapters.forge_tokens import token_for
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.sqs_queue import WAKES_PER_CALL, deliveries_of
from shared.adapters.ssm_parameters import SsmParameters
from shared.domain import limits
from shared.domain.processes import SignOfLife
from shared.domain.senders import Sender
from shared.domain.times import from_text, to_text
from shared.ports.forge import Asker
from shared.ports.queue import Wake
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts
from shared.runner.batch import Worker
from shared.runner.clock_guard import ClockGuard
from shared.runner.minute import Dispatcher
from shared.runner.sweep import sweep
from shared.telemetry.emf import EmfMetrics
from shared.town import database
from tests.benchmarks.month.ledger import Ledger, LedgerObjects, LedgerTable
from tests.fakes import FakeClock, FakeProcess, FakeRuntime
from tests.queues import FifoQueue
from tests.towns import T, TownBuilder, a_town, ago
from tests.worlds import World

MINUTES: Final = 15
_LOOK_EVERY: Final = timedelta(seconds=1)
REPORT_EVERY: Final = timedelta(minutes=5)
"""How often each agent says something that is no sign of life: a checkpoint, a bead, that it is done."""
IDLE_TOWNS: Final = 200
OBJECTS_OF_HISTORY: Final = 30
"""Snapshots, spills, patch files and journal objects of a town that was active for weeks."""


@dataclass
class Timetable(FakeClock):
    """A clock that jumps from one appointment to the next while somebody sleeps."""

    appointments: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)

    def at_time(self, at: datetime, do: Callable[[], None]) -> None:
        """Make an appointment."""
        heapq.heappush(self.appointments, (at, len(self.appointments), do))

    def sleep(self, seconds: float) -> None:
        until = self.at + timedelta(seconds=seconds)
        while self.appointments and self.appointments[0][0] <= until:
            at, _, do = heapq.heappop(self.appointments)
            self.at = max(self.at, at)
            do()
        self.at = max(self.at, until)


@dataclass(kw_only=True)
class LedgerQueue(FifoQueue):
    """The queue, whose requests are charged to a ledger."""

    ledger: Ledger

    def send(self, wakes: Any) -> tuple[Wake, ...]:
        for start in range(0, len(wakes), WAKES_PER_CALL):
            self.ledger.charge("send")
            self.ledger.happened["wake"] += len(wakes[start : start + WAKES_PER_CALL])
        return super().send(wakes)


@dataclass
class Measured:
    """The ledger of some minutes of a few active towns, and for how long they lived."""

    ledger: Ledger
    minutes: int
    towns: int
    head_bytes: int

    @property
    def commits(self) -> int:
        """Committed ticks."""
        return self.ledger.requests["tick"]["replace"]

    def an_hour(self, count: float) -> float:
        """A count of all the towns and minutes, for one town and hour."""
        return count * 60 / self.minutes / self.towns


def live(
    *, agents: int, towns: int, in_process: int, minutes: int = MINUTES, pause: timedelta = limits.ACTIVE_INTERVAL
) -> Measured:
    """Some minutes of a few active towns with so many working agents each. `in_process` 0: every tick goes through the queue.

    `pause` is the time between two passes of the dispatcher.
    """
    ledger = Ledger()
    clock = Timetable(T)
    memory = MemoryObjects(now=clock.now)
    objects: Any = LedgerObjects(memory, ledger, LedgerTable(MemoryObjects(now=clock.now), ledger))
    world = World(objects=objects, clock=clock)
    names = [f"t{number}" for number in range(towns)]
    for name in names:
        world.put_in(_a_busy_town(name, agents))
        world.runtime.processes |= {(name, f"agent-{number}"): FakeProcess("p", 1) for number in range(agents)}
    world.guard = ClockGuard(clock, objects.time, lambda: clock.now().timestamp())
    world.runtime.sign_of = lambda _town_id, _agent_id: SignOfLife(to_text(clock.now()), "output", to_text(clock.now()))
    functions = _functions(world, ledger, in_process=in_process, pause=pause)
    for number, name in enumerate(names):
        begin = T + timedelta(seconds=2 + 30 * number / towns)
        _agents_speak(functions, clock, name, agents=agents, begin=begin, until=T + timedelta(minutes=minutes))
    for second in range(minutes * 60):
        clock.at_time(T + timedelta(seconds=second + 0.5), functions.work)
    for minute in range(minutes):
        clock.sleep(max(0.0, (T + timedelta(minutes=minute) - clock.now()).total_seconds()))
        begun = clock.now()
        with ledger.during("dispatcher"):
            scheduled = T + timedelta(minutes=minute)
            drive(functions.dispatcher.minute(scheduled, remaining=timedelta(seconds=57)))
        ledger.seconds["dispatcher"] += (clock.now() - begun).total_seconds()
    found = memory.get("towns/t0/head")
    return Measured(ledger, minutes, towns, 0 if found is None else len(found.body))


def _a_busy_town(name: str, agents: int) -> TownBuilder:
    town = a_town(name)
    for number in range(agents):
        agent, fresh = f"agent-{number}", ago(seconds=5)
        town.bead(f"bead-{number}", status="in_progress", assignee_agent_bead_id=agent, updated_at=fresh)
        town.agent(agent, status="working", hook=f"bead-{number}", last_event_at=fresh)
    return town


def sweep_of(towns: int = IDLE_TOWNS) -> Ledger:
    """The sweep of so many idle towns: nothing waits, nothing is due, and some objects of history lie beside each head."""
    ledger = Ledger()
    clock = FakeClock(T)
    memory = MemoryObjects(now=clock.now)
    table = MemoryObjects(now=clock.now)
    objects: Any = LedgerObjects(memory, ledger, LedgerTable(table, ledger))
    world = World(objects=objects, clock=clock)
    image = a_town("idle").image()
    for number in range(towns):
        name = f"idle-{number:04d}"
        facts = CommitFacts(f"1-{name}", 1, ago(hours=5), next_due=None, schema_version=database.SCHEMA_VERSION)
        drive(world.store.create(name, image, facts))
        for piece in range(OBJECTS_OF_HISTORY):
            memory.put(f"towns/{name}/journal/{piece}", b"")
    for key in table.list("due/").keys:
        table.delete(key)
    with ledger.during("sweep"):
        drive(sweep(world.around))
    return ledger


def parameter_requests_an_hour(*, ticks_an_hour: float, towns: int = 300) -> float:
    """Requests for SSM parameters of one environment that runs so many active towns: keys of control servers, tokens of forges."""
    clock, client = FakeClock(T), _CountingParameters()
    secrets = SsmParameters("/p/dev", clock, client=client)
    for _ in range(round(ticks_an_hour)):
        for number in range(towns):
            asker = Asker(f"t{number}", "r1", repository="owner/repository", upstream=None)
            ControlKeys(secrets)(asker.town_id)
            token_for(asker, "github.com", secrets, project="owner/repository")
        clock.move(seconds=3600 / ticks_an_hour)
    return client.requests


class _CountingParameters:
    """SSM with the platform's secrets and none of a town."""

    def __init__(self) -> None:
        self.requests = 0

    def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> dict[str, Any]:  # noqa: N803 - the names of boto3
        self.requests += WithDecryption
        found = [name for name in Names if "/platform/" in name]
        return {"Parameters": [{"Name": name, "Value": "x" * 40} for name in found]}

    def get_parameters_by_path(self, **_: Any) -> dict[str, Any]:
        self.requests += 1
        return {"Parameters": []}


@dataclass(frozen=True, slots=True)
class _Functions:
    """The functions of one fleet, whose requests and lines are charged to a ledger."""

    ledger: Ledger
    queue: LedgerQueue
    dispatcher: Dispatcher
    worker: Worker
    ingestion: Ingestion

    def post(self, town_id: str, sender: Sender, events: list[dict[str, Any]]) -> None:
        """One POST of a producer."""
        body = json.dumps({"events": events}).encode()
        now = self.dispatcher.around.clock.now()
        with self.ledger.during("post"):
            drive(self.ingestion.take(town_id, body, Holder(town_id, sender), now=now, trail=Trail()))

    def work(self) -> None:
        """Workers take the wakes that are visible."""
        while batch := self.queue.receive(1):
            begun = self.dispatcher.around.clock.now()
            with self.ledger.during("tick"):
                deliveries = deliveries_of([message.record() for message in batch])
                again = drive(self.worker.batch(deliveries, remaining=timedelta(seconds=175)))
            self.ledger.seconds["tick"] += (self.dispatcher.around.clock.now() - begun).total_seconds()
            self.queue.settle(batch, set(again))


def _functions(world: World, ledger: Ledger, *, in_process: int, pause: timedelta) -> _Functions:
    def write(line: str) -> None:
        ledger.line_bytes[ledger.activity] += len(line)

    metrics = EmfMetrics(write, stage="dev")
    around = replace(world.around, metrics=metrics)
    queue = LedgerQueue(world.clock, ledger=ledger)
    dispatcher = Dispatcher(around, queue, metrics, world.worker_id, pause, in_process)
    return _Functions(
        ledger,
        queue,
        dispatcher,
        Worker(around, queue, metrics, world.worker_id),
        Ingestion(around, queue, metrics, write),
    )


def _agents_speak(
    functions: _Functions, clock: Timetable, town_id: str, *, agents: int, begin: datetime, until: datetime
) -> None:
    """Appointments for everything that the agents of a town and their control server post."""
    server = _ControlServer(functions, town_id, agents)
    for look in range((until - begin) // _LOOK_EVERY):
        clock.at_time(begin + look * _LOOK_EVERY, server.look)
    for number in range(agents):
        first = begin + REPORT_EVERY * (number + 1) / (agents + 1)
        for report in range(-((first - until) // REPORT_EVERY)):
            event = {
                "event_id": f"checkpoint-{number}-{report}",
                "event_type": "agent_checkpoint",
                "agent_id": f"agent-{number}",
                "payload": {"checkpoint": {"step": report}, "generation": 1},
            }
            at = first + report * REPORT_EVERY
            clock.at_time(at, partial(functions.post, town_id, Sender("agent", f"agent-{number}", 1), [event]))


@dataclass
class _ControlServer:
    """Posts heartbeats as `infra.agents.control_server.watch` does: every 30 s, unless ticks take what it answers."""

    functions: _Functions
    town_id: str
    agents: int
    beat_at: datetime | None = None

    def look(self) -> None:
        """Post the heartbeats if they are due."""
        around = self.functions.dispatcher.around
        now, runtime = around.clock.now(), around.outside.runtime
        assert isinstance(runtime, FakeRuntime)
        taken = runtime.taken.get((self.town_id, "agent-0"))
        is_heard = taken is not None and now - from_text(taken) < limits.UNHEARD_AFTER
        has_beaten = self.beat_at is not None and now - self.beat_at < limits.HEARTBEAT_CADENCE
        if not is_heard and not has_beaten:
            self.beat_at = now
            self.functions.post(self.town_id, Sender("container"), beats(self.agents, now))


def beats(agents: int, at: datetime) -> list[dict[str, Any]]:
    """The events that a control server posts in one request at each beat (tests/integration/test_control_server.py)."""
    return [
        {
            "event_id": f"beat-{number}-{int(at.timestamp())}",
            "event_type": "agent_heartbeat",
            "agent_id": f"agent-{number}",
            "occurred_at": to_text(at),
            "payload": {"last_event_type": "output", "last_event_at": to_text(at), "generation": 1},
        }
        for number in range(agents)
    ]

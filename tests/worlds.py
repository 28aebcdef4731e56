"""A world for tests: towns in an object store, a clock, and fakes for everything outside. Its runs are the worker's.

world = a_world(a_town().bead("b1"))
world.run()                                # one run of the worker, at the world's time
world.post(event("bead_cancelled", bead="b1"))
world.town().status("b1")                  # what is committed
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, TypeVar

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import limits
from shared.domain.errors import SchemaMismatch
from shared.domain.states import EventSource
from shared.domain.tick import Envelope, TickInput
from shared.domain.times import from_text, to_text
from shared.images import summary
from shared.intake import ingest
from shared.moving import transfer
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Steps, drive
from shared.ports.town_store import CommitFacts, TownImage
from shared.questions.dry_run import Rehearsal, rehearse
from shared.runner.clock_guard import ClockGuard
from shared.runner.dispatch import due_towns, run_warm
from shared.runner.perform import Outside
from shared.runner.run_report import PassReport, RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.warm_images import WarmImages
from shared.runner.worker import run_town
from shared.storage.towns import ObjectTownStore
from shared.town import database, journal
from tests.fakes import FakeClock, FakeForge, FakeRuntime, RecordingAlerts, RecordingMetrics
from tests.fault_injection import each_call
from tests.towns import TOWN, T, TownBuilder, ago

R = TypeVar("R")


@dataclass
class World:
    """Towns and what is around them."""

    objects: ObjectStore = field(default_factory=MemoryObjects)
    clock: FakeClock = field(default_factory=lambda: FakeClock(T))
    runtime: FakeRuntime = field(default_factory=FakeRuntime)
    forge: FakeForge = field(default_factory=FakeForge)
    alerts: RecordingAlerts = field(default_factory=RecordingAlerts)
    metrics: RecordingMetrics = field(default_factory=RecordingMetrics)
    restore_window: timedelta = limits.RESTORE_WINDOW
    self_check_share: float = 0
    warm: WarmImages = field(default_factory=WarmImages)
    guard: ClockGuard | None = None
    """Compares the world's clock with the store's; None: nothing does."""
    _workers: int = 0

    @property
    def store(self) -> ObjectTownStore:
        """The towns."""
        return ObjectTownStore(self.objects)

    @property
    def around(self) -> Surroundings:
        """What a run needs."""
        return Surroundings(
            store=self.store,
            clock=self.clock,
            outside=Outside(runtime=self.runtime, forge=self.forge),
            alerts=self.alerts,
            metrics=self.metrics,
            restore_window=self.restore_window,
            self_check_share=self.self_check_share,
            guard=self.guard,
        )

    def worker_id(self) -> str:
        """A fresh name for one run; no two are alike."""
        self._workers += 1
        return f"w{self._workers}"

    # what a test does ------------------------------------------------------------------------------

    def put_in(self, town: TownBuilder) -> "World":
        """Commit the image of a built town as its first one, due at T unless the town says otherwise."""
        if town.value("next_due_at") is None:
            town.key("next_due_at", to_text(T))
        image = town.image()
        facts = CommitFacts(
            commit_id=f"{town.tick_no}-built-{town.town_id}",
            tick_no=town.tick_no,
            time=ago(seconds=5),
            next_due=T,
            schema_version=database.SCHEMA_VERSION,
            drain_nonce=_nonce_in(image),
        )
        drive(self.store.create(town.town_id, image, facts))
        return self

    def post(self, *events: Envelope, town_id: str = TOWN, at: datetime | None = None, wake: bool | None = None) -> str:
        """Hand events to the town as ingest does; transient ones alone do not wake it. Returns the batch's key."""
        received_at = at or self.clock.now()
        bodies = [_body_of(event) for event in events]
        source = EventSource(events[0].source)
        batch = ingest.batch_of(bodies, received_at=received_at, source=source, restore_window=self.restore_window)
        wake = not batch.transient_only if wake is None else wake
        batch_id = f"b-{events[0].event_id}".replace(":", "_")
        return drive(self.store.post(town_id, batch.body, received_at=received_at, batch_id=batch_id, wake=wake))

    def put_raw(self, body: bytes, *, town_id: str = TOWN, name: str = "raw") -> None:
        """Lay an object into the inbox that nobody has checked."""
        milliseconds = int(self.clock.now().timestamp() * 1000)
        self.objects.put(f"towns/{town_id}/inbox/{milliseconds:013d}-{name}.json", body)

    def steps(self, *, force: bool = True, exactly: TickInput | None = None, town_id: str = TOWN) -> Steps[RunReport]:
        """One run of the worker, to be driven by the caller (under faults, say)."""
        return run_town(town_id, self.around, worker_id=self.worker_id(), force=force, exactly=exactly)

    def run(self, *, force: bool = True, exactly: TickInput | None = None, town_id: str = TOWN) -> RunReport:
        """One run of the worker, whether the town is due or not."""
        return in_order(self.steps(force=force, exactly=exactly, town_id=town_id))

    def look(self) -> PassReport:
        """One run of each town that is due, one after another."""
        return in_order(self.looking())

    def looking(self) -> Steps[PassReport]:
        """A look, to be driven by the caller (under faults, say)."""
        report = PassReport()
        for town_id, markers in (yield from due_towns(self.around)).items():
            report.add((yield from run_warm(self.around, town_id, markers, warm=self.warm, worker_id=self.worker_id)))
        return report

    def live_through(self, span: timedelta, *, every: timedelta = limits.ACTIVE_INTERVAL) -> list[RunReport]:
        """Let time pass, with a look at all due towns after every step."""
        runs: list[RunReport] = []
        end = self.clock.now() + span
        while self.clock.now() < end:
            self.clock.at = min(self.clock.at + every, end)
            runs += self.look().runs
        return runs

    def dry_run(self, *, ask_runtime: bool = False, town_id: str = TOWN) -> Rehearsal:
        """What the next tick would do."""
        return in_order(rehearse(town_id, self.around, worker_id="dry", ask_runtime=ask_runtime))

    def export(self, town_id: str = TOWN) -> bytes:
        """The town as an export writes it to a file."""
        file = BytesIO()
        drive(transfer.export_town(town_id, self.around, file))
        return file.getvalue()

    # what a test asks ------------------------------------------------------------------------------

    def image(self, town_id: str = TOWN) -> TownImage:
        """What is committed."""
        return drive(self.store.load(town_id))

    def town(self, town_id: str = TOWN) -> TownBuilder:
        """The committed town, to be asked questions."""
        image = self.image(town_id)
        return TownBuilder(sql=database.open_image(image.image), town_id=town_id, tick_no=image.facts.tick_no)

    def journal(self, town_id: str = TOWN) -> list[dict[str, Any]]:
        """The journal rows in the committed image, oldest first."""
        with _opened(self.image(town_id).image) as sql:
            return journal.rows(sql)

    def outbox(self, town_id: str = TOWN) -> dict[str, tuple[str, int]]:
        """State and attempts of every effect, as `kind subject generation`."""
        rows = self.town(town_id).rows("SELECT kind, subject, generation, state, attempts FROM outbox ORDER BY seq")
        return {
            f"{kind} {subject} {generation}": (state, attempts) for kind, subject, generation, state, attempts in rows
        }

    def markers(self, town_id: str = TOWN) -> list[datetime]:
        """The town's due markers of any time."""
        far = self.clock.now() + timedelta(days=3650)
        return [marker.at for marker in drive(self.store.due(far)) if marker.town_id == town_id]

    def inbox(self, town_id: str = TOWN) -> tuple[str, ...]:
        """The keys of the batches that wait."""
        return self.objects.list(f"towns/{town_id}/inbox/").keys


def a_world(*towns: TownBuilder, objects: ObjectStore | None = None) -> World:
    """A world at T that holds these towns."""
    world = World() if objects is None else World(objects=objects)
    for town in towns:
        world.put_in(town)
    return world


def in_order(steps: Steps[R]) -> R:
    """Make every call for real, those that could be made at once in their order: which of them meets a fault is known."""
    return drive(each_call(steps, lambda call: call))


def outcomes(record: Mapping[str, Any]) -> dict[str, str]:
    """What became of each event in a journal row."""
    return {event["event_id"]: event["outcome"] for event in record["outputs"]["events"]}


def _body_of(event: Envelope) -> dict[str, Any]:
    body: dict[str, Any] = {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "agent_id": event.agent_id,
        "bead_id": event.bead_id,
        "payload": json.loads(event.payload),
    }
    if event.created_at != event.received_at:
        body["occurred_at"] = from_text(event.created_at).isoformat()
    return {name: value for name, value in body.items() if value is not None}


@contextmanager
def _opened(image: bytes) -> Iterator[database.Database]:
    with database.opened(image) as sql:
        yield sql


def _nonce_in(image: bytes) -> str | None:
    """The nonce of the drain, as a worker finds it; None if no worker could have made the image."""
    try:
        return summary.drain_nonce_in(image)
    except SchemaMismatch:
        return None

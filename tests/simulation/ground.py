"""The ground that everything stands on: the store, watched key by key, and the way in for events.

What is posted is posted as ingest does it, by hosts with clocks of their own, and repeated by its producer until it is
acknowledged or the producer gives up.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import count
from random import Random
from typing import Any

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import limits
from shared.domain.errors import QueueUnavailable, Refused
from shared.domain.images import Content
from shared.domain.senders import Sender
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.images.pages import bytes_of
from shared.intake import ingest
from shared.ports.queue import Queue, Wake
from shared.ports.steps import Call, Steps
from shared.ports.town_store import CommitFacts, TownImage
from shared.runner.clock_guard import ClockGuard
from shared.runner.surroundings import Surroundings
from shared.storage import keys
from shared.storage.towns import IN_FILES_ABOVE, ObjectTownStore
from tests.simulation.checks import Checks
from tests.simulation.faults import Plan
from tests.simulation.processes import Driver, Ending, Process
from tests.simulation.scheduler import HOUR, SECOND, Scheduler, SkewedClock

Payload = dict[str, Any]
_REPETITIONS = 8
_VERSIONS = 2000


class WatchedObjects(MemoryObjects):
    """The store in memory; the checkers see every write, and whose it is. With a table, what waits is there.

    `is_table`: this is that table, which gives bodies with their keys.
    """

    def __init__(self, checks: Checks, scheduler: Scheduler, *, table: bool = False, is_table: bool = False) -> None:
        super().__init__(kept_versions=_VERSIONS, now=scheduler.time)
        self._checks = checks
        self._is_table = is_table
        self._table = WatchedObjects(checks, scheduler, is_table=True) if table else None
        checks.holdings = self
        self.driver: Driver | None = None
        self.seen: Counter[str] = Counter() if self._table is None else self._table.seen

    @property
    def waiting(self) -> "WatchedObjects":
        """Where inboxes and due markers are."""
        return self._table or self

    def driven_by(self, driver: Driver) -> None:
        """Let the checkers know which process is running."""
        self.driver = self.waiting.driver = driver

    def get(self, key: str) -> Any:
        self._seen("get", key)
        return super().get(key)

    def get_if_changed(self, key: str, etag: str) -> Any:
        self._seen("get", key)
        return super().get_if_changed(key, etag)

    def create(self, key: str, body: bytes) -> str:
        self._seen("create", key)
        etag = super().create(key, body)
        self._written(key, body)
        return etag

    def replace(self, key: str, body: bytes, etag: str) -> str:
        self._seen("replace", key)
        new = super().replace(key, body, etag)
        self._written(key, body)
        return new

    def put(self, key: str, body: bytes) -> str:
        self._seen("put", key)
        etag = super().put(key, body)
        self._written(key, body)
        return etag

    def delete(self, key: str) -> None:
        self._seen("delete", key)
        gone = super().get(key)
        super().delete(key)
        if gone is None:
            return
        if key.startswith(keys.DUE):
            self._checks.marker_deleted(key, self._process)
        else:
            self._checks.object_deleted(key, gone.body)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Any:
        self._seen("list", prefix)
        if prefix == keys.TOWNS and not after:
            self.seen["sweeps"] += 1
        return super().list(prefix, after=after, limit=limit)

    def list_with_bodies(self, prefix: str, *, after: str = "", limit: int = 1000) -> Any:
        found = self.list(prefix, after=after, limit=limit)
        if not self._is_table:
            return found
        bodies = [MemoryObjects.get(self, key) for key in found.keys]
        return replace(found, bodies=[None if body is None else body.body for body in bodies])

    def markers(self, town_id: str) -> tuple[str, ...]:
        """The town's due markers, unseen by the checkers."""
        found = MemoryObjects.list(self.waiting, keys.DUE, limit=100_000).keys
        return tuple(key for key in found if key.endswith(f"/{town_id}"))

    def inbox(self, town_id: str) -> tuple[str, ...]:
        """The keys of a town's batches, unseen by the checkers."""
        return MemoryObjects.list(self.waiting, keys.inbox(town_id), limit=100_000).keys

    @property
    def _process(self) -> Process | None:
        return None if self.driver is None else self.driver.running

    def _seen(self, verb: str, key: str) -> None:
        self.seen[f"{verb} {_kind_of(key)}"] += 1
        process = self._process
        if process is not None and process.town is not None and process.town not in key.split("/"):
            self._checks.fail("isolation", f"{process.name}, a run of {process.town}, touches {key}")

    def _written(self, key: str, body: bytes) -> None:
        if key.endswith("/head"):
            self._checks.head_written(self, key, body, self._process)
        elif keys.ticks_of(key) is not None:
            self._checks.ledgers[key.split("/")[1]].past.published(key)
        elif keys.is_inbox_object(key):
            self._checks.inbox_written(key, body)


def _kind_of(key: str) -> str:
    """What lies there: `due`, `towns`, `inbox`, `head`, or something else of a town."""
    parts = key.split("/")
    if parts[0] != "towns" or len(parts) < 3:
        return parts[0]
    return parts[2]


class WatchedTowns(ObjectTownStore):
    """The town store; the checkers learn what a worker wants to commit."""

    def __init__(self, objects: MemoryObjects, checks: Checks, *, large_above: int) -> None:
        super().__init__(objects, large_above=large_above)
        self._checks = checks

    def commit(self, base: TownImage, image: Content, facts: CommitFacts, **more: Any) -> Steps[TownImage]:
        self._checks.image_offered(facts.commit_id, bytes_of(image))
        return (yield from super().commit(base, image, facts, **more))


@dataclass
class Ground:
    """What all parts of a world share."""

    scheduler: Scheduler
    plan: Plan
    checks: Checks
    driver: Driver
    objects: WatchedObjects
    random: Random
    skew: "Skew"
    large_above: int = IN_FILES_ABOVE
    store: ObjectTownStore = field(init=False)
    outage_until: int = 0
    """Until then no worker of the deployment and no loop runs."""
    arrives_until: int = 0
    """When the last thing arrives that somebody has sent, and that comes late."""

    def arrives(self, milliseconds: int) -> None:
        """Something is on its way, and comes after so long."""
        self.arrives_until = max(self.arrives_until, self.scheduler.now + milliseconds)

    def guard(self, clock: SkewedClock) -> ClockGuard | None:
        """What compares a clock with the store's, where clocks jump."""
        if not self.skew.is_guarded:
            return None
        return ClockGuard(clock, self.store.store_time, self._monotonic, alerts=self.checks)

    def _monotonic(self) -> float:
        return self.scheduler.now / SECOND

    def __post_init__(self) -> None:
        self.store = WatchedTowns(self.objects, self.checks, large_above=self.large_above)
        self.objects.driven_by(self.driver)
        self.checks.driver = self.driver


class Skew:
    """How wrong the clocks of this seed are: not at all, up to a minute, or here and there a whole hour.

    Where they jump, each is right within some seconds most of the time, and now and then wrong by up to ten years for some
    minutes. There all workers and the way in have the clock guard, as in production; elsewhere none has, so that the checks
    also see what the guard keeps away.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._is_calm = False
        drawn = random.random()
        self.kind = "none" if drawn < 0.25 else "minute" if drawn < 0.6 else "jumps" if drawn < 0.9 else "hour"
        self.at_most = timedelta(minutes={"none": 0, "jumps": 1, "minute": 2, "hour": 120}[self.kind])

    @classmethod
    def of(cls, seed: int) -> "Skew":
        """The clocks of a seed."""
        return cls(Random(f"{seed} skew"))

    @property
    def is_guarded(self) -> bool:
        """Whether clocks jump, and are compared with the store's before anything is done."""
        return self.kind == "jumps"

    def calm_down(self) -> None:
        """From now on no new host is wrong by an hour."""
        self._is_calm = True

    def draw(self) -> int:
        """The skew of a new host, in milliseconds."""
        if self.kind == "none":
            return 0
        if self.is_guarded:
            return self._random.randrange(-14 * SECOND, 14 * SECOND + 1)
        if self.kind == "hour" and not self._is_calm and self._random.random() < 0.2:
            return self._random.choice((-HOUR, HOUR))
        return self._random.randrange(-60 * SECOND, 60 * SECOND + 1)


class Post:
    """The way in. Where there is a `queue`, it is told of what came, as ingest tells it."""

    def __init__(self, ground: Ground, *, hosts: int = 2) -> None:
        self._ground = ground
        self._random = Random(f"{ground.random.random()} post")
        self.clocks = [SkewedClock(ground.scheduler, ground.skew.draw()) for _ in range(hosts)]
        self._hosts = [Surroundings(ground.store, clock, guard=ground.guard(clock)) for clock in self.clocks]
        self._ids = count(1)
        self._batches = count(1)
        self.queue: Queue | None = None

    def new_id(self, word: str) -> str:
        """An event id that was never used."""
        return f"{word}-{next(self._ids):06d}"

    def send(
        self,
        town_id: str,
        event_type: str,
        payload: Payload | None = None,
        *,
        agent: str | None = None,
        bead: str | None = None,
        event_id: str | None = None,
        sender: Sender | None = None,
        repetitions: int = _REPETITIONS,
        then: Callable[[bool], None] | None = None,
    ) -> str:
        """Post one event until it is acknowledged; `then` hears whether it ever was. Returns the event id.

        With a `sender`, the request has his token, and a refusal is a problem: nobody honest is refused.
        """
        event_id = event_id or self.new_id(event_type.replace("_", "-"))
        event = {
            "event_id": event_id,
            "event_type": event_type,
            "agent_id": agent,
            "bead_id": bead,
            "payload": payload or {},
        }
        event = {name: value for name, value in event.items() if value is not None}
        self._try(town_id, event, sender, repetitions, then or (lambda _: None))
        return event_id

    def _try(
        self, town_id: str, event: Payload, sender: Sender | None, left: int, then: Callable[[bool], None]
    ) -> None:
        host = self._random.choice(self._hosts)
        batch_id = f"b{next(self._batches)}"

        def ended(ending: Ending) -> None:
            if ending.error is None and not ending.crashed:
                self._acknowledged(town_id, event, sender, *ending.result)
                then(True)
                return
            if isinstance(ending.error, Refused):
                self._ground.checks.fail("refused", f"{town_id}: {event} of {sender}: {ending.error}")
            if left > 0:
                again = partial(self._try, town_id, event, sender, left - 1, then)
                self._ground.scheduler.after(self._random.randrange(SECOND, 15 * SECOND), again)
            else:
                then(False)

        steps = self._posting(town_id, event, sender, batch_id, host)
        self._ground.driver.start(f"ingest {event['event_id']}", steps, ended, town=town_id)

    def _posting(
        self, town_id: str, event: Payload, sender: Sender | None, batch_id: str, host: Surroundings
    ) -> Steps[tuple[str, ingest.AcceptedBatch]]:
        now = yield from host.time()
        batch = ingest.batch_of([event], received_at=now, source=EventSource.INGEST, sent_by=sender)
        self._ground.checks.offered(town_id, batch.envelopes)
        wake = not batch.transient_only
        key = yield from self._ground.store.post(town_id, batch.body, received_at=now, batch_id=batch_id, wake=wake)
        if wake and self.queue is not None:
            told = Wake(town_id, (now.replace(microsecond=0),), f"{town_id}:{batch_id}")
            with suppress(QueueUnavailable):  # the marker is there
                yield Call("send wakes", partial(self.queue.send, (told,)))
        return key, batch

    def _acknowledged(
        self, town_id: str, event: Payload, sender: Sender | None, key: str, batch: ingest.AcceptedBatch
    ) -> None:
        ground = self._ground
        ground.checks.acknowledged(town_id, batch.envelopes)
        if ground.plan.happens("posted_twice"):
            again = partial(self._try, town_id, event, sender, 0, lambda _: None)
            after = self._random.randrange(SECOND, 300 * SECOND)
            ground.arrives(after)
            ground.scheduler.after(after, again)
        if ground.plan.happens("redelivered"):
            after = self._random.randrange(SECOND, 300 * SECOND)
            ground.arrives(after)
            ground.scheduler.after(after, lambda: _ignore(ground.objects.waiting.put(key, batch.body)))

    def say_much(self, town_id: str, bead: str, number: int) -> None:
        """A program of the operator says so much about a bead, in batches that are as large as batches may be."""
        now = self._ground.scheduler.time()
        for first in range(0, number, limits.EVENTS_PER_BATCH):
            events = [
                {
                    "event_id": self.new_id("much"),
                    "event_type": "bead_updated",
                    "bead_id": bead,
                    "payload": {"body": f"in other words, {each}"},
                }
                for each in range(first, min(first + limits.EVENTS_PER_BATCH, number))
            ]
            batch = ingest.batch_of(events, received_at=now, source=EventSource.INGEST)
            self._ground.checks.offered(town_id, batch.envelopes)
            key = keys.inbox_object(town_id, now, f"b{next(self._batches)}")
            self._ground.objects.waiting.put(keys.due_marker(town_id, now).key, b"")
            self._ground.objects.waiting.put(key, batch.body)
            self._ground.checks.acknowledged(town_id, batch.envelopes)
        self._ground.checks.figures["backlogs"] += 1

    def poison(self, town_id: str) -> None:
        """Somebody writes an event into the inbox that no code knows."""
        now = self._ground.scheduler.time()
        event_id = self.new_id("poison")
        body = f'{{"event_id": "{event_id}", "event_type": "no_such_event", "payload": {{}}}}'.encode()
        key = keys.inbox_object(town_id, now, f"b{next(self._batches)}")
        self._ground.objects.waiting.put(keys.due_marker(town_id, now).key, b"")
        self._ground.objects.waiting.put(key, body)
        envelopes: tuple[Envelope, ...] = ingest.read_object(key, body)
        self._ground.checks.offered(town_id, envelopes)
        self._ground.checks.acknowledged(town_id, envelopes)
        self._ground.checks.poisonous.update(envelope.event_id for envelope in envelopes)


def _ignore(_: str) -> None:
    """The ETag is of no use."""

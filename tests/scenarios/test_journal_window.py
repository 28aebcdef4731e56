"""The journal in the image is a window; what leaves it lies in journal objects, gapless and exact (212, 213)."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import canonical, limits
from shared.domain.errors import StoreUnavailable
from shared.domain.tick import TickInput
from shared.engine import tick
from shared.intake import ingest
from shared.ports.steps import drive
from shared.ports.town_store import TownImage
from shared.runner.founding import found_town
from shared.runner.run_report import RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.worker import run_town
from shared.storage import publish
from shared.storage.towns import ObjectTownStore
from shared.town import database, journal, packed_rows
from tests.fakes import FakeClock
from tests.scenarios.table import scenario
from tests.towns import T

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out


@dataclass
class _World:
    """One town in a store, and a clock."""

    objects: MemoryObjects = field(default_factory=MemoryObjects)
    clock: FakeClock = field(default_factory=lambda: FakeClock(T))
    runs: int = 0

    @property
    def around(self) -> Surroundings:
        return Surroundings(store=ObjectTownStore(self.objects), clock=self.clock)

    def found(self) -> TownImage:
        return drive(found_town("t1", self.around, worker_id="founder"))

    def run(self) -> RunReport:
        """One event, one tick."""
        self.runs += 1
        self.clock.move(seconds=5)
        body = json.dumps({"event_id": f"event-{self.runs:05d}", "event_type": "nudge_timeout"}).encode()
        batch = ingest.accept(body, received_at=self.clock.now())
        store = self.around.store
        drive(store.post("t1", batch.body, received_at=self.clock.now(), batch_id=f"b{self.runs}", wake=True))
        return drive(run_town("t1", self.around, worker_id=f"w{self.runs}"))

    def published(self) -> list[dict[str, Any]]:
        """The rows of all journal objects, in order of their keys."""
        rows: list[dict[str, Any]] = []
        for key in self.objects.list("towns/t1/journal/").keys:
            found = self.objects.get(key)
            assert found is not None
            rows += map(packed_rows.row_in_full, json.loads(publish.read_block(found.body))["ticks"])
        return rows

    def in_the_image(self) -> list[dict[str, Any]]:
        image = drive(self.around.store.load("t1"))
        sql = database.open_image(image.image)
        rows = journal.rows(sql, limit=10_000)
        database.close(sql)
        return rows


@scenario(212)
@pytest.mark.lengthy
def test_after_a_thousand_ticks_the_image_holds_a_window_and_a_replay_over_all_of_them_is_exact() -> None:
    world = _World()
    first = world.found()
    digests = [first.image_digest, *(world.run().image.image_digest for _ in range(1_000))]
    kept, published = world.in_the_image(), world.published()
    assert len(kept) <= limits.JOURNAL_WINDOW_ROWS
    assert [row["tick_no"] for row in (*published, *kept)] == list(range(1, 1_001))
    sql = database.open_image(first.image)
    for before, row in zip(digests, (*published, *kept), strict=False):
        assert row["prev_image_digest"] == before
        given = TickInput.from_record(row)
        tick.run(sql, given, town_id="t1")
    newest = drive(world.around.store.load("t1"))
    assert database.image_of(sql) == newest.image
    database.close(sql)


@scenario(212)
def test_large_rows_leave_the_image_earlier_than_after_128_ticks() -> None:
    world = _World()
    world.found()
    for number in range(40):
        world.clock.move(seconds=5)
        events = [
            {
                "event_id": f"large-{number:03d}-{each}",
                "event_type": "nudge_timeout",
                "payload": {"nudge_id": f"{each:03d}" * 20},
            }
            for each in range(90)
        ]
        batch = ingest.accept(json.dumps(events).encode(), received_at=world.clock.now())
        store = world.around.store
        drive(store.post("t1", batch.body, received_at=world.clock.now(), batch_id=f"l{number}", wake=True))
        drive(run_town("t1", world.around, worker_id=f"w{number}"))
    kept = world.in_the_image()
    packed = [packed_rows.packed(row["inputs"], row["outputs"]) for row in kept[:-1]]
    size = sum(len(canonical.dumps(document)) for row in packed for document in row)
    assert len(kept) < 40
    assert size <= limits.JOURNAL_WINDOW_BYTES
    assert [row["tick_no"] for row in (*world.published(), *kept)] == list(range(1, 41))


@scenario(213)
def test_a_crash_between_publishing_and_the_commit_loses_and_doubles_nothing() -> None:
    world = _World()
    world.found()
    while not world.objects.list("towns/t1/journal/").keys:
        image = drive(world.around.store.load("t1"))
        sql = database.open_image(image.image)
        publication = world.around.store.publication(image, journal.oldest_block(sql))
        database.close(sql)
        for call in publication.calls:
            if "/journal/" in call.name:
                call.make()  # and here the worker dies
        if not world.objects.list("towns/t1/journal/").keys:
            world.run()
    (key,) = world.objects.list("towns/t1/journal/").keys
    before = world.objects.get(key)
    report = world.run()
    assert report.tick is not None
    assert report.tick.input.journal_published_to == 64
    assert world.objects.get(key) == before
    assert world.objects.list("towns/t1/journal/").keys == (key,)
    assert [row["tick_no"] for row in (*world.published(), *world.in_the_image())] == list(
        range(1, report.tick.input.tick_no + 1)
    )


class _WithoutJournal(MemoryObjects):
    """A store that takes everything but journal objects."""

    def create(self, key: str, body: bytes) -> str:
        if "/journal/" in key:
            raise StoreUnavailable(f"create {key}: no answer")
        return super().create(key, body)


@scenario(213)
def test_a_block_is_the_same_from_however_late_an_image_it_is_made() -> None:
    world = _World(objects=_WithoutJournal())
    world.found()
    blocks = []
    for number in range(limits.JOURNAL_WINDOW_ROWS + 8):
        world.run()
        if number >= limits.JOURNAL_WINDOW_ROWS:
            image = drive(world.around.store.load("t1"))
            sql = database.open_image(image.image)
            blocks.append(journal.oldest_block(sql))
            database.close(sql)
    assert blocks[0] is not None
    assert (blocks[0].min_tick, blocks[0].max_tick) == (1, limits.JOURNAL_WINDOW_ROWS // 2)
    assert all(block == blocks[0] for block in blocks)
    assert len(world.in_the_image()) == limits.JOURNAL_WINDOW_ROWS + 8

"""Every fault at every call of a commit with a spill, a snapshot or a journal block: exactly once, and every file true.

A town of real ticks is driven to the commit that publishes; that run is then made under the fault, repeated until it
stands, and everything is compared: the image with the one that an undisturbed run commits, each published file with the
commit that it is named after, the journal with the ticks that ran.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import TownError
from shared.domain.images import JournalBlock
from shared.intake import ingest
from shared.ports.object_store import ObjectVersion
from shared.ports.steps import Steps, drive
from shared.ports.town_store import TownImage
from shared.runner.founding import found_town
from shared.runner.run_report import RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.worker import run_town
from shared.storage import keys, publish
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.town import database, journal
from tests.fakes import FakeClock
from tests.fault_injection import KINDS, Crash, Fault, FaultKind, Faults
from tests.small_layers import small_layers
from tests.towns import T


@dataclass
class _Town:
    """One town in a store, with what each commit was."""

    objects: MemoryObjects
    clock: FakeClock
    images: dict[int, bytes]
    posted: int = 0

    @property
    def around(self) -> Surroundings:
        return Surroundings(store=ObjectTownStore(self.objects), clock=self.clock)

    def post(self, size: int) -> None:
        self.posted += 1
        bead = {
            "bead_id": f"bead-{self.posted:04d}",
            "type": "issue",
            "title": "t",
            "body": "".join(chr(33 + (self.posted * 7 + each * each) % 90) for each in range(size)),
            "labels": ["gt:held"],
        }
        event = {"event_id": f"event-{self.posted:05d}", "event_type": "bead_created", "payload": {"bead": bead}}
        batch = ingest.accept(json.dumps(event).encode(), received_at=self.clock.now())
        drive(
            self.around.store.post(
                "t1", batch.body, received_at=self.clock.now(), batch_id=f"b{self.posted}", wake=True
            )
        )

    def steps(self, worker: str) -> Steps[RunReport]:
        return run_town("t1", self.around, worker_id=worker, force=True)

    def note(self) -> TownImage:
        image = drive(self.around.store.load("t1"))
        self.images[image.txid] = image.image
        return image


@cache
def _ripe(what: str) -> tuple[dict[str, bytes], dict[int, bytes], int, int]:
    """The objects of a town whose next tick publishes: its store's content, its commits, its time and events."""
    town = _Town(MemoryObjects(), FakeClock(T), {})
    drive(found_town("t1", town.around, worker_id="founder"))
    town.note()
    for number in range(400):
        publication = town.around.store.publication(town.note(), _block(town))
        names = [call.name for call in publication.calls]
        if any(what in name for name in names) and town.images.keys() > {1, 2}:
            content = {key: found.body for key in _all_keys(town.objects) if (found := town.objects.get(key))}
            return content, dict(town.images), number, town.posted
        town.clock.move(seconds=5)
        town.post(3000 if what != "/journal/" else 10)
        drive(town.steps(f"w{number}"))
    raise AssertionError(f"nothing was ever published to {what}")


def _block(town: _Town) -> JournalBlock | None:
    image = drive(town.around.store.load("t1"))
    with database.opened(image.image) as sql:
        return journal.oldest_block(sql)


def _all_keys(objects: MemoryObjects) -> list[str]:
    return list(objects.list("", limit=100_000).keys)


def _again(what: str) -> _Town:
    content, images, ticks, posted = _ripe(what)
    objects = MemoryObjects()
    for key, body in content.items():
        objects.put(key, body)
    clock = FakeClock(T)
    clock.move(seconds=5 * ticks + 5)
    town = _Town(objects, clock, dict(images), posted)
    town.post(50)
    return town


WHAT = ["/patches/", "/ltx/0001/", "/ltx/0009/", "/journal/"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_layers(monkeypatch, 20 * 1024, patch_files=2)
    monkeypatch.setattr("shared.domain.limits.JOURNAL_WINDOW_ROWS", 12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for_ever"])
@pytest.mark.parametrize("what", WHAT)
def test_whatever_fails_a_commit_stands_once_and_every_published_file_is_true(
    what: str, for_ever: bool, kind: FaultKind
) -> None:
    undisturbed = _again(what)
    calls = Faults()
    calls.drive(undisturbed.steps("worker"))
    assert any(what in name for name in calls.names)
    wanted = undisturbed.note()
    for at in range(len(calls.names)):
        town = _again(what)
        with suppress(TownError, Crash):
            Faults(Fault(kind, at=at, for_ever=for_ever)).drive(town.steps("worker"))
        town.note()
        for retry in range(3):
            if drive(town.around.store.load("t1")).txid >= wanted.txid:
                break
            with suppress(TownError):
                drive(town.steps(f"retry{retry}"))
            town.note()
        _judge(town, wanted, at=at)


def _judge(town: _Town, wanted: TownImage, *, at: int) -> None:
    image = town.note()
    assert image.txid == wanted.txid, at
    sql = database.open_image(image.image)
    beads = sql.execute("SELECT COUNT(*) FROM beads WHERE type = 'issue'").fetchone()[0]
    rows = journal.rows(sql, limit=10_000)
    database.close(sql)
    assert beads == town.posted, at
    published = []
    for key in town.objects.list(keys.journal_prefix("t1")).keys:
        found = town.objects.get(key)
        assert found is not None
        published += json.loads(publish.read_block(found.body))["ticks"]
    numbers = [row["tick_no"] for row in published]
    kept = [row["tick_no"] for row in rows if row["tick_no"] > (numbers[-1] if numbers else 0)]
    assert [*numbers, *kept] == list(range(1, image.facts.tick_no + 1)), at
    past = KeptPast(town.objects, _NoVersions(), "t1")
    for key in town.objects.list(keys.ltx_prefix("t1")).keys:
        span = keys.txids_of(key)
        assert span is not None
        assert drive(past.of_files(span[1])).image == town.images[span[1]], (at, key)


class _NoVersions:
    """A past of which only files are left."""

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        return ()

    def get_version(self, key: str, version_id: str) -> None:
        return None

    def delete_version(self, key: str, version_id: str) -> None:
        return None

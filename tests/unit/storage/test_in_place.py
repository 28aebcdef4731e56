"""A restore in place over a store: a new epoch, a marker that leads to the town, and a snapshot of what it made."""

from datetime import timedelta

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import limits
from shared.domain.errors import TownExists
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts, TownImage
from shared.runner.founding import found_town
from shared.runner.surroundings import Surroundings
from shared.runner.worker import run_town
from shared.storage import keys, publish, publishing
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.town import database
from tests.fakes import FakeClock
from tests.towns import T

NOW = T + timedelta(hours=1)


@pytest.fixture
def store() -> ObjectTownStore:
    """A store with a new town and no marker."""
    store = ObjectTownStore(MemoryObjects(kept_versions=100))
    drive(found_town("t1", Surroundings(store, FakeClock(T)), worker_id="founder"))
    drive(store.clear_due(tuple(marker.key for marker in drive(store.due(NOW)))))
    return store


def restored(store: ObjectTownStore) -> TownImage:
    """The first commit brought back."""
    objects = store._objects
    kept = KeptPast(objects, objects, "t1")  # type: ignore[arg-type]
    old = drive(kept.at_txid(1))
    return drive(restore_in_place(store, kept, old, now=NOW, worker_id="w"))


def test_each_restore_begins_an_epoch(store: ObjectTownStore) -> None:
    assert [restored(store).facts.epoch, restored(store).facts.epoch] == [1, 2]


def test_a_restored_town_has_a_marker(store: ObjectTownStore) -> None:
    restored(store)
    assert [marker.town_id for marker in drive(store.due(NOW))] == ["t1"]


def test_what_a_restore_made_is_a_snapshot_at_once(store: ObjectTownStore) -> None:
    committed = restored(store)
    assert keys.snapshot("t1", committed.txid) in store._objects.list(keys.ltx_prefix("t1")).keys


def test_a_lost_town_is_not_created_over_its_history(store: ObjectTownStore) -> None:
    drive(publishing.publish_snapshot(store._objects, drive(store.load("t1"))))
    image = drive(store.load("t1")).image
    store._objects.delete(keys.head("t1"))
    facts = CommitFacts("1-x", tick_no=0, time=NOW, next_due=None, schema_version=database.SCHEMA_VERSION)
    with pytest.raises(TownExists, match="history of a town of this name is there"):
        drive(store.create("t1", image, facts))


def test_a_restore_without_a_head_skips_a_number_for_each_second_in_which_a_lost_tick_may_have_run(
    store: ObjectTownStore,
) -> None:
    drive(publishing.publish_snapshot(store._objects, drive(store.load("t1"))))
    old = drive(KeptPast(store._objects, store._objects, "t1").at_txid(1))  # type: ignore[arg-type]
    store._objects.delete(keys.head("t1"))
    kept = KeptPast(store._objects, MemoryObjects(), "t1")
    committed = drive(restore_in_place(store, kept, old, now=NOW, worker_id="w"))
    seconds = (NOW - T) // timedelta(seconds=1)
    skipped = seconds + limits.TICKS_AT_ONCE
    assert (committed.facts.tick_no, committed.txid) == (skipped + 2, skipped + 3)


def test_a_damaged_journal_object_is_mended_while_the_image_still_has_its_rows(store: ObjectTownStore) -> None:
    around = Surroundings(store, FakeClock(T + timedelta(minutes=1)))
    drive(run_town("t1", around, worker_id="w", force=True))
    key = keys.journal("t1", 1, 1)
    store._objects.put(key, b"no rows at all")
    restored(store)
    mended = store._objects.get(key)
    assert mended is not None
    assert [row["tick_no"] for row in publish.rows_of(mended.body, key)] == [1]

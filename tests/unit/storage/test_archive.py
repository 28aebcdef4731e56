"""The index of the archive finds every bead with at most two reads, as of every image that may still be restored."""

from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import DamagedImage, StoreUnavailable
from shared.domain.images import ArchiveBlock
from shared.ports.object_store import StoredObject
from shared.ports.steps import drive
from shared.storage import archive_examination, keys
from shared.storage.archive import TownArchives
from shared.storage.archive_index import SHARDS
from tests.counting import CountingObjects
from tests.fault_injection import Crash, death, interrupted

TOWN = "t1"
BLOCKS = 2 * SHARDS + 50


class _Counting(MemoryObjects):
    """A store that counts what is read from it, and may refuse to create some keys."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.refuses = ""

    def get(self, key: str) -> StoredObject | None:
        self.reads += 1
        return super().get(key)

    def create(self, key: str, body: bytes) -> str:
        if self.refuses and self.refuses in key:
            raise StoreUnavailable(f"create {key}: no answer")
        return super().create(key, body)


def _bead(number: int, block: int) -> str:
    return f"bead-{block}-{number}"


def _block(*bead_ids: str) -> ArchiveBlock:
    families = ",".join(f'{{"beads":[{{"bead_id":"{each}"}}]}}' for each in bead_ids)
    return ArchiveBlock(tuple(sorted(bead_ids)), f'{{"families":[{families}],"format":1}}'.encode())


def _filled(objects: MemoryObjects, blocks: int = BLOCKS) -> int:
    """An archive of so many blocks, published from every tenth commit; the commit of its newest index."""
    index, archives = 0, TownArchives(objects)
    for number in range(1, blocks + 1):
        beads = [_bead(0, number), _bead(1, number), f"again-{number % 7}"]
        done = drive(archives.publish(TOWN, number * 10, _block(*beads), index=index))
        assert done is not None
        index = done.index
    return index


def test_every_bead_is_found_in_its_newest_block_with_at_most_two_reads() -> None:
    objects = _Counting()
    index = _filled(objects)
    for block in range(1, BLOCKS + 1):
        objects.reads = 0
        assert drive(TownArchives(objects).find(TOWN, [_bead(1, block)], index=index)) == {_bead(1, block): block * 10}
        assert objects.reads <= 2
    assert drive(TownArchives(objects).find(TOWN, ["again-3"], index=index)) == {
        "again-3": (BLOCKS - BLOCKS % 7 + 3) * 10
    }
    assert drive(TownArchives(objects).find(TOWN, ["never"], index=index)) == {}


def test_an_older_index_finds_what_had_left_by_then_and_nothing_later() -> None:
    objects = MemoryObjects()
    _filled(objects)
    for commit in (10, 500, 10 * SHARDS, 10 * SHARDS + 300):
        archives = TownArchives(objects)
        assert drive(archives.find(TOWN, [_bead(0, commit // 10), _bead(0, commit // 10 + 1)], index=commit)) == {
            _bead(0, commit // 10): commit
        }


def test_what_no_restore_point_needs_of_the_index_is_named_and_all_others_still_answer_without_it() -> None:
    objects = MemoryObjects()
    index = _filled(objects)
    oldest = (BLOCKS - 20) * 10 + 5
    doomed = drive(TownArchives(objects).superseded(TOWN, oldest=oldest))
    assert len(doomed) > BLOCKS
    for key in doomed:
        objects.delete(key)
    for commit in range(oldest - 5, index + 1, 10):
        counting: Any = CountingObjects(objects)
        wanted = [_bead(0, block) for block in range(1, BLOCKS + 1)]
        found = drive(TownArchives(counting).find(TOWN, wanted, index=commit))
        assert len(found) == commit // 10
        assert counting.requests["list"] == 0  # without its index it would still be found, by a search of all blocks


@pytest.mark.parametrize(
    "refused", ["archive/beads/", "archive/index/0000000000000014-", "archive/index/0000000000000014."]
)
def test_nothing_is_published_unless_every_object_of_it_stands(refused: str) -> None:
    objects = _Counting()
    archives = TownArchives(objects)
    first = drive(archives.publish(TOWN, 10, _block(*map(str, range(300))), index=0))
    assert first is not None
    objects.refuses = refused
    block = _block("b2", *map(str, range(300, 600)))
    assert drive(archives.publish(TOWN, 20, block, index=10)) is None
    objects.refuses = ""
    again = drive(TownArchives(objects).publish(TOWN, 20, block, index=10))
    assert again is not None
    assert drive(archives.find(TOWN, ["b2", "299"], index=20)) == {"b2": 20, "299": 10}


def test_an_index_never_stands_without_the_block_that_it_names_wherever_the_worker_dies() -> None:
    """A later tick could take it for its own, and the beads would be nowhere."""
    deaths = 0
    for call in range(10):
        objects = MemoryObjects()
        publishing = TownArchives(objects).publish(TOWN, 10, _block("b1"), index=0)
        try:
            drive(interrupted(publishing, before_call=call, by=death))
        except Crash:
            deaths += 1
        if keys.archive_index(TOWN, 10) in objects.list("").keys:
            assert keys.archive_block(TOWN, 10) in objects.list("").keys
    assert deaths >= 2


def test_another_pasts_block_of_the_same_number_is_left_alone_and_nothing_leaves_for_it() -> None:
    objects = MemoryObjects()
    archives = TownArchives(objects)
    assert drive(archives.publish(TOWN, 10, _block("b1"), index=0)) is not None
    assert drive(archives.publish(TOWN, 10, _block("b2"), index=0)) is None
    assert drive(archives.archived(TOWN, ["b1"], index=10)) == {"b1": {"beads": [{"bead_id": "b1"}]}}


HARMS = pytest.mark.parametrize("harm", ["gone", "cut off", "flipped"])
FULL = SHARDS + 3
ALL = [_bead(number, block) for block in range(1, FULL + 1) for number in (0, 1)]


def _harm(objects: MemoryObjects, key: str, harm: str) -> None:
    stored = objects.get(key)
    assert stored is not None
    objects.delete(key)
    if harm == "cut off":
        objects.put(key, stored.body[:-9])
    elif harm == "flipped":
        objects.put(key, stored.body[:30] + bytes([stored.body[30] ^ 1]) + stored.body[31:])


@HARMS
def test_a_damaged_block_is_named(harm: str) -> None:
    objects = MemoryObjects()
    index = _filled(objects, FULL)
    harmed = keys.archive_block(TOWN, 20)
    _harm(objects, harmed, harm)
    with pytest.raises(DamagedImage, match=harmed):
        drive(TownArchives(objects).archived(TOWN, ALL, index=index))


@HARMS
@pytest.mark.parametrize("which", ["index", "shard"])
def test_without_a_readable_index_every_bead_is_still_found_and_a_stranger_is_not(which: str, harm: str) -> None:
    objects = MemoryObjects()
    index = _filled(objects, FULL)
    wanted = [*ALL, *(f"again-{number}" for number in range(7)), "stranger"]
    before = drive(TownArchives(objects).find(TOWN, wanted, index=index))
    shard = next(key for key in objects.list(keys.archive_indexes(TOWN)).keys if "-" in key.rpartition("/")[2])
    _harm(objects, {"index": keys.archive_index(TOWN, index), "shard": shard}[which], harm)
    assert drive(TownArchives(objects).find(TOWN, wanted, index=index)) == before
    assert len(before) == len(wanted) - 1


@HARMS
def test_without_a_readable_index_nothing_more_leaves_and_the_town_goes_on(harm: str) -> None:
    objects = MemoryObjects()
    index = _filled(objects, FULL)
    _harm(objects, keys.archive_index(TOWN, index), harm)
    assert drive(TownArchives(objects).publish(TOWN, index + 10, _block("b1"), index=index)) is None
    assert objects.get(keys.archive_block(TOWN, index + 10)) is None


def test_a_full_check_finds_each_object_that_is_missing_or_damaged_and_nothing_else() -> None:
    objects = MemoryObjects()
    index = _filled(objects, SHARDS + 3)

    def found() -> list[str]:
        everything = objects.list(keys.archive_prefix(TOWN)).keys
        return [each.key for each in drive(archive_examination.problems(objects, TOWN, everything, index=index))]

    assert found() == []
    shard = next(key for key in objects.list(keys.archive_indexes(TOWN)).keys if "-" in key.rpartition("/")[2])
    for key in (keys.archive_block(TOWN, 20), keys.archive_index(TOWN, index), shard):
        stored = objects.get(key)
        assert stored is not None
        objects.delete(key)
        assert found() == [key]
        objects.put(key, stored.body[:-5])
        assert found() == [key]
        objects.put(key, stored.body)
    assert found() == []

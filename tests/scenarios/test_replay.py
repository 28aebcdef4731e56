"""Replay of a town in a store: the past comes out as it was; and a past that somebody changed is named, not believed."""

import json
import re
from dataclasses import dataclass
from datetime import datetime

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import canonical
from shared.domain.errors import DamagedImage, DeletedMeanwhile, Refused
from shared.history.differences import ABSENT, Difference
from shared.history.retained_past import StoredPast
from shared.images import image_digest
from shared.ports.object_store import StoredObject
from shared.ports.steps import drive
from shared.replay import faithful, judging
from shared.replay.replayed import Replay
from shared.replay.time_window import Window
from shared.storage import head, keys, ltx, publish
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.town import database, known_events, packed_rows
from tests.fakes import FakeClock
from tests.scenarios.table import scenario
from tests.towns import TOWN, T, a_town, event
from tests.worlds import World

PUBLISHED = 140
"""Ticks after which the oldest rows of the journal lie in an object of their own."""


@dataclass(frozen=True)
class Lived:
    """A town that has lived through its ticks, in a store that keeps all versions."""

    world: World
    objects: "ChangedObjects"
    digests: dict[int, str]
    times: dict[int, datetime]

    def replayed(self, first: int, last: int) -> Replay:
        """These ticks again, both included."""
        return drive(faithful.replay(TOWN, self.past(), Window(self.times[first], self.times[last])))

    def past(self) -> StoredPast:
        """What is kept of it."""
        return StoredPast(self.objects, self.objects)

    def journal_keys(self) -> tuple[str, ...]:
        """The objects that hold old journal rows, in order."""
        return self.objects.list(keys.journal_prefix(TOWN)).keys

    def tick_of(self, version_id: str) -> int:
        """The tick that a version of the head was committed by."""
        found = self.objects.get_version(keys.head(TOWN), version_id)
        assert found is not None
        return head.decode(found.body, key=keys.head(TOWN), town_id=TOWN).manifest.tick_no


def a_life(ticks: int, *, forge_at: int | None = None) -> Lived:
    """A town in which beads come and go. With `forge_at` somebody changes a row after that tick, and nobody notices."""
    objects = ChangedObjects()
    world = World(objects=objects, clock=FakeClock(T))
    world.put_in(a_town().bead("b1", labels=["gt:held"]).bead("b2", labels=["gt:held"]))
    lived = Lived(world, objects, {}, {})
    for number in range(2, ticks + 1):
        world.clock.move(seconds=5)
        now = world.clock.now()
        world.post(event("bead_updated", {"priority": ("low", "high")[number % 2]}, bead="b1", at=now))
        run = world.run()
        lived.digests[number] = run.image.image_digest
        lived.times[number] = now
        if number == forge_at:
            objects.forge_head("UPDATE beads SET title = 'forged' WHERE bead_id = 'b2'")
    return lived


def forged(image: bytes, statement: str) -> bytes:
    """The image with something changed past every tick."""
    with database.opened(image) as sql:
        sql.execute(statement)
        return database.image_of(sql)


def head_of(image: bytes, like: head.Manifest) -> bytes:
    """A head in order, with another image than the one that was committed."""
    digest = image_digest.of_image(image)
    whole = {"image_digest": digest, "snapshot": None, "spills": (), "tail_start": 1, "pages": len(image) // 4096}
    manifest = like.model_copy(update=whole)
    tail = ltx.encode_snapshot(image, page_size=4096, txid=manifest.txid, at=manifest.time)
    return head.encode(manifest, tail)


class ChangedObjects(MemoryObjects):
    """A store into which somebody has written past everybody: what is read of some objects is not what was written."""

    def __init__(self) -> None:
        super().__init__(kept_versions=1000)
        self.others: dict[str, bytes | None] = {}
        self.versions_of_ticks: dict[int, bytes] = {}

    def get(self, key: str) -> StoredObject | None:
        found = super().get(key)
        if found is None or key not in self.others:
            return found
        other = self.others[key]
        return None if other is None else StoredObject(other, found.etag)

    def get_version(self, key: str, version_id: str) -> StoredObject | None:
        found = super().get_version(key, version_id)
        if found is None or key != keys.head(TOWN):
            return found
        number = head.decode(found.body, key=key, town_id=TOWN).manifest.tick_no
        return StoredObject(self.versions_of_ticks.get(number, found.body), found.etag)

    def forge_head(self, statement: str) -> bytes:
        """Change a row of the newest image; whoever reads the town goes on from there."""
        key = keys.head(TOWN)
        image = drive(ObjectTownStore(self).load(TOWN)).image
        found = super().get(key)
        assert found is not None
        read = head.decode(found.body, key=key, town_id=TOWN)
        body = head_of(forged(image, statement), read.manifest)
        self.others[key] = body
        self.versions_of_ticks[read.manifest.tick_no] = body
        return body

    def replace(self, key: str, body: bytes, etag: str) -> str:
        self.others.pop(key, None)
        return super().replace(key, body, etag)


def first_difference(replay: Replay) -> tuple[int, Difference]:
    """Where it parts, and how."""
    assert not replay.exact
    assert replay.divergence is not None
    return replay.divergence.tick, replay.divergence.differences[0]


@scenario(180)
def test_every_image_comes_out_as_it_was_committed() -> None:
    lived = a_life(60)
    again = lived.replayed(10, 60)
    assert again.exact
    assert {tick.tick: tick.digest for tick in again.ticks} == {
        number: lived.digests[number] for number in range(10, 61)
    }


@scenario(180)
def test_a_row_changed_in_the_image_of_a_tick_is_named_by_tick_table_key_and_column() -> None:
    lived = a_life(60, forge_at=30)
    again = lived.replayed(10, 60)
    assert first_difference(again) == (30, Difference("beads", "b2", "title", "forged", "b2"))
    assert again.ticks[-1].tick == 30
    assert [tick.equal for tick in again.ticks] == [True] * 20 + [False]


@scenario(180)
def test_a_newest_tick_that_comes_out_otherwise_is_no_commit_by_hand() -> None:
    """The newest image is also the one that is kept after its tick. A replay took it for another commit, made by nobody."""
    again = a_life(20, forge_at=20).replayed(10, 20)
    assert first_difference(again) == (20, Difference("beads", "b2", "title", "forged", "b2"))
    assert again.divergence is not None
    assert again.divergence.reason == judging.CHANGED


@scenario(180)
def test_a_row_changed_later_in_an_old_image_is_named_by_the_first_tick_that_starts_from_it() -> None:
    lived = a_life(60)
    objects = lived.objects
    [kept] = drive(lived.past().after_tick(TOWN, 30))
    versions = drive(KeptPast(objects, objects, TOWN).heads_of_tick(30))
    objects.versions_of_ticks[30] = head_of(
        forged(kept.image, "UPDATE beads SET title = 'forged' WHERE bead_id = 'b2'"), versions[0].manifest
    )
    assert lived.replayed(10, 60).exact, "a replay from an earlier image never reads that one"
    number, difference = first_difference(lived.replayed(31, 60))
    assert (number, difference) == (31, Difference("beads", "b2", "title", "b2", "forged"))


@scenario(180)
def test_a_changed_journal_row_is_named() -> None:
    lived = a_life(PUBLISHED)
    key = lived.journal_keys()[0]
    body = lived.objects.get(key)
    assert body is not None
    block = json.loads(publish.read_block(body.body))
    [stored] = [row for row in block["ticks"] if row["tick_no"] == 30]
    row = packed_rows.row_in_full(stored)
    [said] = row["inputs"]["new_events"]
    said["payload"] = said["payload"].replace("high", "critical").replace("low", "critical")
    stored["inputs"], stored["outputs"] = packed_rows.packed(row["inputs"], row["outputs"])
    lived.objects.others[key] = publish.compressed(canonical.dumps(block).encode())
    again = lived.replayed(10, 60)
    number, difference = first_difference(again)
    assert (number, difference.table, difference.key, difference.column) == (
        30,
        "town_events",
        said["event_id"],
        "content_digest",
    )
    assert difference.got == known_events.content_digest(said["payload"])
    assert difference.expected != difference.got


@scenario(180)
def test_a_row_that_is_missing_in_the_journal_is_named() -> None:
    lived = a_life(PUBLISHED)
    key = lived.journal_keys()[0]
    body = lived.objects.get(key)
    assert body is not None
    block = json.loads(publish.read_block(body.body))
    block["ticks"] = [row for row in block["ticks"] if row["tick_no"] != 30]
    lived.objects.others[key] = publish.compressed(canonical.dumps(block).encode())
    assert first_difference(lived.replayed(10, 60)) == (
        30,
        Difference("ticks", "30", "*", "a row in the journal", ABSENT),
    )


@scenario(180)
@pytest.mark.lengthy
def test_a_journal_object_that_is_missing_or_torn_is_named() -> None:
    lived = a_life(PUBLISHED)
    key = lived.journal_keys()[0]
    lived.objects.others[key] = None
    with pytest.raises(DeletedMeanwhile, match=re.escape(key)):
        lived.replayed(10, 60)
    lived.objects.others[key] = b"no journal"
    with pytest.raises(DamagedImage, match=re.escape(key)):
        lived.replayed(10, 60)
    del lived.objects.others[key]
    assert lived.replayed(10, 60).exact
    lived.objects.delete(key)
    with pytest.raises(Refused, match="the history of this town is kept from"):
        lived.replayed(10, 60)


@scenario(180)
@pytest.mark.lengthy
def test_a_journal_object_that_is_gone_between_others_is_a_gap_and_named() -> None:
    lived = a_life(PUBLISHED + 80)
    first, last = keys.ticks_of(lived.journal_keys()[1]) or (0, 0)
    lived.objects.delete(lived.journal_keys()[1])
    again = lived.replayed(first - 20, last + 10)
    gap = f"{first} to {last}"
    assert first_difference(again) == (first, Difference("ticks", gap, "*", "a row in the journal", ABSENT))
    assert len(again.ticks) == 20


@scenario(180)
def test_a_byte_changed_in_a_kept_image_is_passed_over_and_the_replay_starts_from_the_image_before_it() -> None:
    lived = a_life(60)
    objects = lived.objects
    version = next(found for found in objects.versions(keys.head(TOWN)) if lived.tick_of(found.version_id) == 30)
    stored = objects.get_version(keys.head(TOWN), version.version_id)
    assert stored is not None
    assert lived.replayed(31, 60).started_from.tick == 30
    body = bytearray(stored.body)
    body[-100] ^= 1
    objects.versions_of_ticks[30] = bytes(body)
    again = lived.replayed(31, 60)
    assert (again.exact, again.started_from.tick, again.started_from.warm_up_ticks) == (True, 29, 1)
    [said] = [note for note in again.notes if "passed over" in note]
    assert said.startswith(f"{keys.head(TOWN)} is damaged")
    assert f"version {version.version_id}" in said


@scenario(180)
def test_a_byte_changed_in_a_snapshot_from_which_a_replay_starts_is_damage_and_names_the_object() -> None:
    lived = a_life(PUBLISHED)
    objects = lived.objects
    for version in objects.versions(keys.head(TOWN))[1:]:
        objects.delete_version(keys.head(TOWN), version.version_id)
    snapshot = next(key for key in reversed(objects.list(keys.ltx_prefix(TOWN)).keys) if keys.is_snapshot(key))
    stored = objects.get(snapshot)
    assert stored is not None
    body = bytearray(stored.body)
    body[-100] ^= 1
    objects.others[snapshot] = bytes(body)
    with pytest.raises(DamagedImage, match=re.escape(snapshot)):
        lived.replayed(PUBLISHED - 1, PUBLISHED)

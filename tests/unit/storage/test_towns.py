"""The town store when nothing fails: what is committed is loaded, what is posted waits, what is due is
found.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import limits
from shared.domain.errors import (
    Conflict,
    DamagedImage,
    ImageTooLarge,
    Refused,
    SchemaMismatch,
    TownExists,
    UnknownTown,
    WrongTown,
)
from shared.images import image_digest
from shared.ports.steps import drive
from shared.ports.town_store import TownStore
from shared.ports.waiting_room import InboxObject, InboxReading
from shared.storage import head, keys
from shared.storage.towns import IN_FILES_ABOVE, ObjectTownStore
from tests.fault_injection import Faults
from tests.unit.storage.images import NOON, an_image, facts, operations_in

SECOND = timedelta(seconds=1)


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture(params=[IN_FILES_ABOVE, 0], ids=["in memory", "in files"])
def store(objects: MemoryObjects, request: pytest.FixtureRequest) -> TownStore:
    return ObjectTownStore(objects, large_above=request.param)


def test_a_created_town_is_loaded_as_it_was_created_and_is_due(store: TownStore) -> None:
    created = drive(store.create("demo", an_image(["a"]), facts("0-x")))
    assert drive(store.load("demo")) == created
    assert (created.txid, created.town_id, operations_in(created.image)) == (1, "demo", ["a"])
    assert [(marker.town_id, marker.at) for marker in drive(store.due(NOON))] == [("demo", NOON)]


def test_a_town_that_is_created_for_later_is_due_later(store: TownStore) -> None:
    later = NOON + 90 * SECOND
    drive(store.create("demo", an_image(), facts("0-x", next_due=later)))
    assert drive(store.due(later - SECOND)) == ()
    assert [marker.at for marker in drive(store.due(later))] == [later]


def test_a_commit_is_loaded_as_it_was_committed(store: TownStore) -> None:
    base = drive(store.create("demo", an_image(), facts("0-x")))
    next_due = NOON + timedelta(seconds=30, milliseconds=7, microseconds=9)
    now = NOON + timedelta(milliseconds=5, microseconds=999)
    said = replace(facts("1-x", tick_no=1, next_due=next_due), time=now)
    committed = drive(store.commit(base, an_image(["a"]), said))
    assert drive(store.load("demo")) == committed
    assert committed.facts.time == NOON + timedelta(milliseconds=5)
    assert committed.txid == 2
    assert committed.facts.next_due == NOON + timedelta(seconds=30, milliseconds=7)
    assert committed.image_digest == image_digest.digest_of(an_image(["a"]), 512)


def test_an_image_may_grow_shrink_and_change_its_page_size(store: TownStore) -> None:
    image = drive(store.create("demo", an_image(), facts("0-x")))
    for number, (operations, page_size) in enumerate([(2000, 512), (1, 512), (1, 4096), (0, 512)], start=1):
        after = an_image(["operation"] * operations, page_size=page_size)
        image = drive(store.commit(image, after, facts(f"{number}-x", tick_no=number)))
        assert drive(store.load("demo")) == image
        assert image.image == after


def test_a_load_that_knows_the_newest_image_moves_no_bytes(store: TownStore) -> None:
    image = drive(store.create("demo", an_image(), facts("0-x")))
    faults = Faults()
    assert faults.drive(store.load("demo", known=image)) is image
    assert faults.names == ["get_if_changed towns/demo/head"]
    newer = drive(store.commit(image, an_image(["a"]), facts("1-x")))
    assert drive(store.load("demo", known=image)) == newer


def test_a_commit_is_one_write_and_nothing_else(store: TownStore) -> None:
    base = drive(store.create("demo", an_image(), facts("0-x")))
    faults = Faults()
    faults.drive(store.commit(base, an_image(["a"]), facts("1-x")))
    assert faults.names == ["replace towns/demo/head"]


def test_of_two_commits_on_one_image_the_second_is_a_conflict_and_changes_nothing(store: TownStore) -> None:
    base = drive(store.create("demo", an_image(), facts("0-x")))
    first = drive(store.commit(base, an_image(["first"]), facts("1-x")))
    with pytest.raises(Conflict):
        drive(store.commit(base, an_image(["second"]), facts("1-y")))
    assert drive(store.load("demo")) == first


def test_a_town_that_was_never_created_is_unknown_to_every_call(store: TownStore) -> None:
    for steps in (
        store.load("demo"),
        store.post("demo", b"{}", received_at=NOON, batch_id="b1", wake=True),
    ):
        with pytest.raises(UnknownTown):
            drive(steps)
    assert drive(store.due(NOON)) == ()
    assert drive(store.read_inbox("demo", limit=10)) == InboxReading((), more=False)


def test_a_town_is_created_once(store: TownStore) -> None:
    created = drive(store.create("demo", an_image(["a"]), facts("0-x")))
    with pytest.raises(TownExists):
        drive(store.create("demo", an_image(["b"]), facts("0-y")))
    assert drive(store.load("demo")) == created


def test_a_damaged_head_is_refused_and_left_as_it_is(store: TownStore, objects: MemoryObjects) -> None:
    base = drive(store.create("demo", an_image(), facts("0-x")))
    stored = objects.get("towns/demo/head")
    assert stored is not None
    objects.put("towns/demo/head", stored.body[:-1])
    with pytest.raises(DamagedImage, match="towns/demo/head is damaged"):
        drive(store.load("demo"))
    with pytest.raises(DamagedImage):
        drive(store.commit(base, an_image(["a"]), facts("1-x")))
    after = objects.get("towns/demo/head")
    assert after is not None
    assert after.body == stored.body[:-1]


def test_the_head_of_another_town_is_not_opened(store: TownStore, objects: MemoryObjects) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    stored = objects.get("towns/demo/head")
    assert stored is not None
    objects.create("towns/other/head", stored.body)
    with pytest.raises(WrongTown):
        drive(store.load("other"))


def test_bytes_that_are_no_database_and_images_over_the_guard_are_never_stored(
    store: TownStore, objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SchemaMismatch):
        drive(store.create("demo", b"no database", facts("0-x")))
    monkeypatch.setattr(head, "MAX_IMAGE_BYTES", 1023)
    with pytest.raises(ImageTooLarge):
        drive(store.create("demo", an_image(), facts("0-x")))
    assert objects.list("").keys == ()


def test_an_image_of_another_town_id_is_never_taken_for_known(store: TownStore) -> None:
    demo = drive(store.create("demo", an_image(["a"]), facts("0-x")))
    other = drive(store.create("other", an_image(["b"]), facts("0-y")))
    assert drive(store.load("other", known=demo)) == other
    assert drive(store.load("other", known=replace(demo, etag=other.etag))) == other


def test_a_posted_batch_waits_and_its_town_is_due(store: TownStore) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    at = NOON + timedelta(seconds=7, milliseconds=250)
    key = drive(store.post("demo", b"[1]", received_at=at, batch_id="b1", wake=True))
    assert drive(store.read_inbox("demo", limit=10)) == InboxReading((InboxObject(key, b"[1]"),), more=False)
    assert [marker.at for marker in drive(store.due(at))] == [NOON, NOON + 7 * SECOND]


def test_a_batch_that_wakes_nobody_leaves_no_marker(store: TownStore) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    at = NOON + 7 * SECOND
    drive(store.post("demo", b"[1]", received_at=at, batch_id="b1", wake=False))
    assert [marker.at for marker in drive(store.due(at))] == [NOON]
    assert len(drive(store.read_inbox("demo", limit=10)).objects) == 1


def test_a_batch_that_is_posted_again_is_accepted_again_and_stored_once(store: TownStore) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    keys = {drive(store.post("demo", b"[1]", received_at=NOON, batch_id="b1", wake=True)) for _ in range(3)}
    assert len(keys) == 1
    assert len(drive(store.read_inbox("demo", limit=10)).objects) == 1


def test_another_batch_under_the_same_id_is_refused_and_the_first_stays(store: TownStore) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    key = drive(store.post("demo", b"[1]", received_at=NOON, batch_id="b1", wake=True))
    with pytest.raises(Refused) as refused:
        drive(store.post("demo", b"[2]", received_at=NOON, batch_id="b1", wake=True))
    assert refused.value.status == 409
    assert drive(store.read_inbox("demo", limit=10)).objects == (InboxObject(key, b"[1]"),)


def test_the_inbox_is_read_in_order_of_receipt_and_says_what_waits_behind(store: TownStore) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    for number in reversed(range(250)):
        at = NOON + timedelta(milliseconds=number)
        drive(store.post("demo", b"%d" % number, received_at=at, batch_id="b", wake=False))
    reading = drive(store.read_inbox("demo", limit=220))
    assert [batch.body for batch in reading.objects] == [b"%d" % number for number in range(220)]
    assert reading.more
    drive(store.clear_inbox(tuple(batch.key for batch in reading.objects)))
    rest = drive(store.read_inbox("demo", limit=30))
    assert [batch.body for batch in rest.objects] == [b"%d" % number for number in range(220, 250)]
    assert not rest.more


def test_a_reading_ends_before_it_fills_the_memory(store: TownStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.storage.waiting_room._INBOX_BYTES", 1000)
    drive(store.create("demo", an_image(), facts("0-x")))
    for number in range(150):
        drive(store.post("demo", b"x" * 100, received_at=NOON, batch_id=f"b{number:03}", wake=False))
    reading = drive(store.read_inbox("demo", limit=1000))
    assert (len(reading.objects), reading.more) == (10, True)


def test_of_an_object_that_no_batch_can_be_only_the_beginning_is_read(store: TownStore, objects: MemoryObjects) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    key = drive(store.post("demo", b"[1]", received_at=NOON, batch_id="a", wake=False))
    size = limits.INBOX_OBJECT_SIZE + 1000
    objects.put(key.replace("-a.", "-b."), b"x" * size)
    _, large = drive(store.read_inbox("demo", limit=10)).objects
    assert (len(large.body), large.size) == (limits.INBOX_OBJECT_SIZE + 1, size)


def test_a_batch_that_vanishes_while_the_inbox_is_read_is_left_out(store: TownStore, objects: MemoryObjects) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    keys = [drive(store.post("demo", b"[]", received_at=NOON, batch_id=name, wake=False)) for name in "abc"]
    steps = store.read_inbox("demo", limit=10)
    listing = next(steps).make()  # type: ignore[union-attr]
    objects.delete(keys[1])
    calls = steps.send(listing)
    with pytest.raises(StopIteration) as end:
        steps.send([call.make() for call in calls.calls])  # type: ignore[union-attr]
    assert [batch.key for batch in end.value.value.objects] == [keys[0], keys[2]]


def test_clearing_twice_is_no_error(store: TownStore) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    key = drive(store.post("demo", b"[]", received_at=NOON, batch_id="b1", wake=True))
    marker = drive(store.mark_due("demo", NOON))
    for _ in range(2):
        drive(store.clear_inbox((key,)))
        drive(store.clear_due((marker.key,)))
    drive(store.clear_inbox(()))
    assert drive(store.due(NOON)) == ()
    assert drive(store.read_inbox("demo", limit=10)) == InboxReading((), more=False)


def test_clearing_never_takes_anything_but_batches_and_markers(store: TownStore) -> None:
    created = drive(store.create("demo", an_image(), facts("0-x")))
    for steps in (store.clear_inbox(("towns/demo/head",)), store.clear_due(("towns/demo/head",))):
        with pytest.raises(ValueError, match="not keys of the waiting room"):
            drive(steps)
    assert drive(store.load("demo")) == created


def test_markers_come_oldest_first_and_only_those_of_now_or_earlier(store: TownStore, objects: MemoryObjects) -> None:
    for town, seconds in (("b", 0), ("a", 0), ("c", -60), ("a", 1), ("d", 3600)):
        drive(store.mark_due(town, NOON + seconds * SECOND))
    for stray in ("due/notes.txt", "due/20260110T120000Z/Not-A-Town", "due/20260199T120000Z/a", "due/0"):
        objects.put(stray, b"")
    found = [(marker.town_id, marker.at) for marker in drive(store.due(NOON + timedelta(milliseconds=999)))]
    assert found == [("c", NOON - 60 * SECOND), ("a", NOON), ("b", NOON)]


def test_more_markers_than_one_page_are_all_found(store: TownStore) -> None:
    for number in range(2500):
        drive(store.mark_due(f"town-{number}", NOON + (number % 5) * SECOND))
    assert len(drive(store.due(NOON + 3 * SECOND))) == 2000


def test_markers_of_later_times_are_not_listed_to_their_end(store: TownStore) -> None:
    for number in range(3000):
        drive(store.mark_due("demo", NOON + number * SECOND))
    faults = Faults()
    assert len(faults.drive(store.due(NOON + SECOND))) == 2
    assert faults.names == ["list due/"]


def test_all_towns_are_found_and_long_inboxes_are_jumped_over(store: TownStore) -> None:
    towns = ["a", "a-b", "a0", "b", *(f"t{number}" for number in range(30))]
    for town in towns:
        drive(store.create(town, an_image(), facts("0-x")))
    for number in range(3500):
        drive(store.post("a", b"[]", received_at=NOON, batch_id=f"{number}", wake=False))
    faults = Faults()
    assert faults.drive(store.towns()) == tuple(sorted(towns))
    assert len(faults.names) == 2


def test_a_listing_of_towns_shows_whose_inbox_is_not_empty(store: TownStore, objects: MemoryObjects) -> None:
    for town in ("a", "a-b", "b", "c"):
        drive(store.create(town, an_image(), facts("0-x")))
        objects.put(f"towns/{town}/headline", b"")
        objects.put(f"towns/{town}/journal/0", b"")
    for town in ("a-b", "c"):
        drive(store.post(town, b"[]", received_at=NOON, batch_id="b1", wake=False))
    assert {(town.town_id, town.waits) for town in drive(store.towns_seen(limit=4))} == {
        ("a", False),
        ("a-b", True),
        ("b", False),
        ("c", True),
    }


def test_a_page_that_ends_with_a_head_does_not_show_what_waits_behind_it(
    store: TownStore, objects: MemoryObjects
) -> None:
    for town in ("a", "b"):
        drive(store.create(town, an_image(), facts("0-x")))
    for number in range(999):
        objects.put(f"towns/a/archive/{number:04}", b"")
    drive(store.post("a", b"[]", received_at=NOON, batch_id="b1", wake=False))
    assert [(town.town_id, town.waits) for town in drive(store.towns_seen(limit=2))] == [("a", None), ("b", False)]


@pytest.mark.parametrize("blocks", [1, 998, 999, 1000, 1001, 2500])
def test_a_town_is_found_and_takes_events_however_much_it_has_archived(
    store: TownStore, objects: MemoryObjects, blocks: int
) -> None:
    """The keys of an archive come before the head. With a page full of them, the town did not exist: no tick, no event."""
    for town in ("a", "b", "c"):
        drive(store.create(town, an_image(), facts("0-x")))
    for txid in range(1, blocks + 1):
        objects.put(keys.archive_block("b", txid), b"")
    objects.put("towns/b/foo", b"")
    assert drive(store.towns()) == ("a", "b", "c")
    assert drive(store.towns(after="a", limit=1)) == ("b",)
    assert drive(ObjectTownStore(objects).headless()) == ()
    seen: list[Sequence[str]] = []

    def admit(waiting: Sequence[str]) -> Sequence[str]:
        seen.append(waiting)
        return ()

    for batch in ("b1", "b2"):
        drive(store.post("b", b"[]", received_at=NOON, batch_id=batch, wake=True, admit=admit))
    assert [len(waiting) for waiting in seen] == [0, 1]


def test_an_inbox_without_a_head_is_no_town(store: TownStore, objects: MemoryObjects) -> None:
    objects.put("towns/ghost/inbox/1768046400000-b.json", b"[]")
    objects.put("towns/Not-A-Town/head", b"")
    assert drive(store.towns()) == ()


@pytest.mark.parametrize("town_id", ["../demo", "Demo", "", "a/b"])
def test_a_hostile_town_id_never_reaches_the_store(store: TownStore, town_id: str) -> None:
    for steps in (
        store.load(town_id),
        store.create(town_id, an_image(), facts("0-x")),
        store.post(town_id, b"{}", received_at=NOON, batch_id="b1", wake=True),
        store.read_inbox(town_id, limit=1),
        store.mark_due(town_id, NOON),
    ):
        faults = Faults()
        with pytest.raises(Refused):
            faults.drive(steps)
        assert faults.names == []


def test_a_list_of_towns_transfers_no_image_and_names_what_cannot_be_read(
    store: TownStore, objects: MemoryObjects
) -> None:
    for number in range(3):
        drive(store.create(f"t{number}", an_image([f"bead {number}"] * 3000), facts("0-x", next_due=NOON)))
    whole = objects.get("towns/t1/head")
    assert whole is not None
    objects.put("towns/t1/head", whole.body[:-1] + bytes([whole.body[-1] ^ 1]))
    faults = Faults()
    first, damaged, third, missing = faults.drive(store.standings(("t0", "t1", "t2", "t3")))
    assert (first, third) == (facts("0-x", next_due=NOON), facts("0-x", next_due=NOON))
    assert (type(damaged), type(missing)) == (DamagedImage, UnknownTown)
    assert faults.names == [f"get towns/t{number}/head" for number in range(4)]


def test_the_standing_of_a_town_is_read_from_the_start_of_its_head(store: TownStore, objects: MemoryObjects) -> None:
    drains = replace(facts("0-x", next_due=NOON), drain_nonce="n-1")
    drive(store.create("demo", an_image(["bead"] * 3000), drains))
    faults = Faults()
    assert faults.drive(store.standing("demo")) == drains
    assert faults.names == ["start_of towns/demo/head"]
    with pytest.raises(UnknownTown):
        drive(store.standing("nobody"))


def test_a_manifest_that_is_longer_than_usual_is_read_as_a_whole(store: TownStore) -> None:
    longer = facts("0-" + "x" * 9000)
    drive(store.create("demo", an_image(), longer))
    faults = Faults()
    assert faults.drive(store.standing("demo")) == longer
    assert faults.names == ["start_of towns/demo/head"] * 2


def test_a_head_that_ends_within_its_manifest_is_damaged(store: TownStore, objects: MemoryObjects) -> None:
    drive(store.create("demo", an_image(), facts("0-x")))
    whole = objects.get("towns/demo/head")
    assert whole is not None
    objects.put("towns/demo/head", whole.body[:100])
    with pytest.raises(DamagedImage, match="towns/demo/head"):
        drive(store.standing("demo"))

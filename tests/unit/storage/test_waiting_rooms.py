"""What every waiting room promises, asked of each: memory, directory, two servers that speak S3, and a table beside a bucket."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.domain.errors import PreconditionFailed, Refused, UnknownTown
from shared.ports.object_store import Listing, PlainObjects
from shared.ports.steps import drive
from shared.storage import keys
from shared.storage.towns import ObjectTownStore
from tests.stores import ON_DYNALITE, Store
from tests.unit.storage.images import NOON, an_image, facts

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out

SECOND = timedelta(seconds=1)


@pytest.fixture
def room(waiting_store: Store) -> ObjectTownStore:
    store = ObjectTownStore(waiting_store)
    for town in ("a", "a-b", "b"):
        drive(store.create(town, an_image(), facts("0-x")))
    return store


@pytest.fixture
def waiting(waiting_store: Store) -> PlainObjects:
    return waiting_store.waiting


def _post(room: ObjectTownStore, town: str, name: str, body: bytes = b"[1]", *, at: int = 0, wake: bool = True) -> str:
    return drive(room.post(town, body, received_at=NOON + at * SECOND, batch_id=name, wake=wake))


def test_a_posted_batch_waits_with_its_marker(room: ObjectTownStore) -> None:
    key = _post(room, "a", "b1", at=7)
    [batch] = drive(room.read_inbox("a", limit=10)).objects
    assert (batch.key, batch.body, batch.size) == (key, b"[1]", None)
    assert ("a", NOON + 7 * SECOND) in [(each.town_id, each.at) for each in drive(room.due(NOON + 7 * SECOND))]
    assert drive(room.read_inbox("a-b", limit=10)).objects == ()


def test_the_same_batch_again_changes_nothing_and_another_body_is_refused(room: ObjectTownStore) -> None:
    assert _post(room, "a", "b1") == _post(room, "a", "b1")
    with pytest.raises(Refused, match="another body"):
        _post(room, "a", "b1", b"[2]")
    assert [each.body for each in drive(room.read_inbox("a", limit=10)).objects] == [b"[1]"]


def test_a_town_that_does_not_exist_takes_no_batch(room: ObjectTownStore) -> None:
    with pytest.raises(UnknownTown):
        _post(room, "c", "b1")
    with pytest.raises(UnknownTown):
        drive(room.post("c", b"[1]", received_at=NOON, batch_id="b1", wake=True, admit=lambda _: ()))
    assert drive(room.read_inbox("c", limit=10)).objects == ()


def test_batches_are_read_in_the_order_in_which_they_were_received(room: ObjectTownStore) -> None:
    for at in (3, 1, 2):
        _post(room, "a", f"b{at}", b"%d" % at, at=at)
    reading = drive(room.read_inbox("a", limit=2))
    assert [each.body for each in reading.objects] == [b"1", b"2"]
    assert reading.more
    assert drive(room.count_inbox("a", after=reading.objects[-1].key)) == 1


@pytest.mark.parametrize("size", [0, 1, 16 << 10, (16 << 10) + 1, 300_000, 2_000_000])
def test_a_batch_is_read_as_it_was_posted_however_large_it_is(room: ObjectTownStore, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    key = _post(room, "a", "b1", body)
    assert _post(room, "a", "b1", body) == key
    with pytest.raises(Refused, match="another body"):
        _post(room, "a", "b1", body + b"!")
    assert [each.body for each in drive(room.read_inbox("a", limit=10)).objects] == [body]
    drive(room.clear_inbox((key,)))
    assert drive(room.read_inbox("a", limit=10)).objects == ()


def test_what_was_cleared_is_gone_and_nothing_of_it_is_left_anywhere(
    waiting_store: Store, room: ObjectTownStore
) -> None:
    before = waiting_store.list("").keys
    posted = tuple(_post(room, "a", f"b{number}", b"x" * 20_000 * number, wake=False) for number in range(3))
    for _ in range(2):
        drive(room.clear_inbox(posted))
    assert drive(room.read_inbox("a", limit=10)).objects == ()
    assert waiting_store.list("").keys == before


def test_a_repeated_post_leaves_no_second_body(waiting_store: Store, room: ObjectTownStore) -> None:
    _post(room, "a", "b1", b"x" * 20_000)
    before = waiting_store.list("").keys
    _post(room, "a", "b1", b"x" * 20_000)
    with pytest.raises(Refused):
        _post(room, "a", "b1", b"y" * 20_000)
    assert waiting_store.list("").keys == before


def test_due_markers_are_found_by_time_and_town_whatever_their_number(room: ObjectTownStore) -> None:
    drive(room.clear_due(tuple(marker.key for marker in drive(room.due(NOON)))))
    made = {drive(room.mark_due(f"t{number}", NOON + number % 7 * SECOND)) for number in range(60)}
    for at in range(-1, 8):
        found = drive(room.due(NOON + at * SECOND))
        assert [each.key for each in found] == sorted(each.key for each in made if each.at <= NOON + at * SECOND)
    drive(room.clear_due(tuple(each.key for each in made)))
    drive(room.clear_due(tuple(each.key for each in made)))
    assert drive(room.due(NOON + 8 * SECOND)) == ()


def test_whoever_may_refuse_a_batch_is_shown_what_waits(room: ObjectTownStore) -> None:
    first = _post(room, "a", "b1", b"[1]", at=1)
    shown: list[object] = []

    def admit(waiting: object) -> tuple[str, ...]:
        shown.append(waiting)
        return (first,)

    def judge(beside: object) -> None:
        shown.append(beside)
        raise Refused("full", status=429, path="", hint="")

    with pytest.raises(Refused, match="full"):
        drive(room.post("a", b"[2]", received_at=NOON, batch_id="b2", wake=True, admit=admit, judge=judge))
    assert shown == [(first,), list(drive(room.read_inbox("a", limit=10)).objects)]
    assert drive(room.count_inbox("a", after="")) == 1


def test_the_sweep_sees_for_whom_something_waits(room: ObjectTownStore) -> None:
    _post(room, "a-b", "b1", wake=False)
    seen = {town.town_id: town.waits for town in drive(room.towns_seen(limit=10))}
    assert seen["a-b"] is True
    assert {seen["a"], seen["b"]} <= {False, None}


def test_a_page_of_keys_goes_on_behind_any_key(waiting: PlainObjects) -> None:
    """Keys of the due index are spread over partitions, and a page shows them in one order."""
    made = sorted(f"{keys.DUE}20260110T12{minute:02}00Z/t{town}" for minute in range(3) for town in range(9))
    for key in made:
        waiting.put(key, b"")
    for after in ("", made[0], made[13], made[-1], f"{keys.DUE}20260110T120000Z/~"):
        behind = [key for key in made if key > after]
        for limit in (1, 26, 27):
            found = waiting.list(keys.DUE, after=after, limit=limit)
            assert found == Listing(tuple(behind[:limit]), more=len(behind) > limit)
            assert tuple(found.sizes) == (0,) * len(found.keys)


def test_a_page_of_an_inbox_ends_with_the_inbox(waiting: PlainObjects) -> None:
    for town in ("a", "a-b", "b"):
        for number in range(3):
            waiting.create(f"{keys.inbox(town)}176804640700{number}-b.json", b"x" * number)
    found = waiting.list(keys.inbox("a"))
    assert found.keys == tuple(f"towns/a/inbox/176804640700{number}-b.json" for number in range(3))
    assert (found.more, tuple(found.sizes)) == (False, (0, 1, 2))
    assert waiting.list(keys.inbox("a"), after=found.keys[0], limit=1) == Listing((found.keys[1],), more=True)
    assert waiting.list(keys.inbox("c")) == Listing((), more=False)


def test_an_inbox_of_many_megabytes_is_listed_whole(waiting: PlainObjects) -> None:
    """A query of a table answers with at most 1 MB."""
    made = [f"{keys.inbox('a')}{1768046407000 + number}-b.json" for number in range(90)]
    for key in made:
        waiting.create(key, b"x" * (16 << 10))
    assert waiting.list(keys.inbox("a")).keys == tuple(made)
    assert waiting.list(keys.inbox("a"), after=made[40], limit=45) == Listing(tuple(made[41:86]), more=True)


@pytest.mark.parametrize("waiting_store", ["memory", "directory", "seaweedfs", ON_DYNALITE], indirect=True)
@pytest.mark.parametrize("size", [3, 20_000])
def test_of_many_that_post_under_one_id_one_wins(waiting_store: Store, waiting: PlainObjects, size: int) -> None:
    key = f"{keys.inbox('a')}1768046407000-b.json"

    def create(number: int) -> bytes | None:
        body = b"%03d" % number + b"x" * size
        try:
            waiting.create(key, body)
        except PreconditionFailed:
            return None
        return body

    with ThreadPoolExecutor(8) as pool:
        winners = [body for body in pool.map(create, range(24)) if body is not None]
    found = waiting.get(key)
    assert found is not None
    assert [found.body] == winners
    waiting.delete(key)
    assert waiting_store.list("").keys == ()

"""Spills and snapshots: only committed state becomes immutable, and every load puts the layers together again."""

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import DamagedImage, StoreUnavailable
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts, Published, TownImage
from shared.storage import layers, ltx
from shared.storage.towns import ObjectTownStore
from tests.unit.storage.images import NOON

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out

PAGE = 512


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "SPILL_ABOVE", 6 * PAGE)


def _image(pages: int, seed: int) -> bytes:
    """Something that is a SQLite header and then noise, which no compression makes smaller."""
    header = bytearray(random.Random(seed).randbytes(PAGE))
    header[:18] = b"SQLite format 3\x00" + PAGE.to_bytes(2, "big")
    return bytes(header) + random.Random(seed + 1).randbytes(PAGE * (pages - 1))


def _facts(number: int, at_hours: float = 0) -> CommitFacts:
    return CommitFacts(
        commit_id=f"{number}-test",
        tick_no=number,
        time=NOON + timedelta(seconds=number, hours=at_hours),
        next_due=None,
        schema_version=1,
    )


def _step(store: ObjectTownStore, base: TownImage, image: bytes, number: int, **when: float) -> TownImage:
    """What a worker does: publish what the committed image has grown enough for, then commit the next."""
    publication = store.publication(base, None)
    published = drive(publication.settled(tuple(call.make() for call in publication.calls)))
    return drive(store.commit(base, image, _facts(number, **when), published=published))


def _changed(image: bytes, *numbers: int, seed: int = 0) -> bytes:
    pages = [image[at : at + PAGE] for at in range(0, len(image), PAGE)]
    for number in numbers:
        pages[number - 1] = random.Random(seed * 1000 + number).randbytes(PAGE)
    return b"".join(pages)


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def store(objects: MemoryObjects) -> ObjectTownStore:
    return ObjectTownStore(objects)


def _keys(objects: MemoryObjects, prefix: str = "towns/t1/ltx/") -> list[str]:
    return [key.removeprefix(prefix) for key in objects.list(prefix).keys]


def _ref(level: str, low: int, high: int) -> str:
    return f"{level}/{low:016x}-{high:016x}.ltx"


def test_a_small_town_is_one_object_and_a_snapshot_a_day(store: ObjectTownStore, objects: MemoryObjects) -> None:
    town = drive(store.create("t1", _image(4, 0), _facts(0)))
    for number in range(1, 10):
        town = _step(store, town, _changed(town.image, 2, seed=number), number)
    assert _keys(objects) == [_ref("0009", 1, 1)]
    town = _step(store, town, _changed(town.image, 3, seed=10), 10, at_hours=24)
    town = _step(store, town, _changed(town.image, 3, seed=11), 11, at_hours=24)
    assert _keys(objects) == [_ref("0009", 1, 1), _ref("0009", 1, 11)]
    for key in _keys(objects):
        objects.delete(f"towns/t1/ltx/{key}")
    assert drive(store.load("t1")).image == town.image


def test_a_grown_image_becomes_a_snapshot_and_later_commits_carry_only_what_changed(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    town = _step(store, town, _changed(town.image, 3), 1)
    assert _keys(objects) == [_ref("0009", 1, 1)]
    head = objects.get("towns/t1/head")
    assert head is not None
    assert len(head.body) < 3 * PAGE
    assert drive(store.load("t1")).image == town.image


def test_a_large_image_leaves_the_head_however_well_it_compresses(
    store: ObjectTownStore, objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "LARGE_ABOVE", 40 * PAGE)
    flat = _image(1, 0) + bytes(PAGE * 40)
    town = drive(store.create("t1", flat, _facts(0)))
    town = _step(store, town, _changed(flat, 3), 1)
    assert _keys(objects) == [_ref("0009", 1, 1)]
    assert drive(store.load("t1")).layers.tail_start == 2  # type: ignore[attr-defined]
    assert drive(store.load("t1")).image == town.image


def test_a_grown_tail_becomes_a_spill_verbatim(store: ObjectTownStore, objects: MemoryObjects) -> None:
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    tails = {}
    for number in range(1, 6):
        tails[town.txid] = town.layers.tail  # type: ignore[attr-defined]
        town = _step(store, town, _changed(town.image, 2 * number, 2 * number + 1, seed=number), number)
    spill = objects.get(f"towns/t1/ltx/{_ref('0001', 2, 4)}")
    assert spill is not None
    assert spill.body == tails[4]
    assert drive(store.load("t1")).image == town.image


def test_when_spills_weigh_more_than_half_a_snapshot_a_new_snapshot_is_made(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    town = drive(store.create("t1", _image(30, 0), _facts(0)))
    for number in range(1, 40):
        changed = [random.Random(number * 7 + each).randint(2, 30) for each in range(3)]
        town = _step(store, town, _changed(town.image, *changed, seed=number), number)
        assert drive(store.load("t1")).image == town.image
    snapshots = [key for key in _keys(objects) if key.startswith("0009")]
    assert len(snapshots) >= 2


def test_after_a_day_a_new_snapshot_is_made(store: ObjectTownStore, objects: MemoryObjects) -> None:
    town = drive(store.create("t1", _image(60, 0), _facts(0)))
    for number in range(1, 7):
        town = _step(store, town, _changed(town.image, 2 * number, 2 * number + 1, seed=number), number)
    town = _step(store, town, _changed(town.image, 50, seed=8), 7, at_hours=24)
    town = _step(store, town, _changed(town.image, 51, seed=9), 8, at_hours=24)
    assert [key[:4] for key in _keys(objects)].count("0009") == 2
    assert drive(store.load("t1")).image == town.image


def test_an_image_that_grows_and_shrinks_is_put_together_right(store: ObjectTownStore) -> None:
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    pages = [20, 26, 18, 18, 30, 9, 22, 22, 40, 12]
    for number, size in enumerate(pages, start=1):
        longer = (town.image + random.Random(number).randbytes(PAGE * size))[: PAGE * size]
        town = _step(store, town, _changed(longer, 2, 5, seed=number), number)
        assert drive(store.load("t1")).image == town.image


def test_what_a_dead_worker_published_is_found_and_used(store: ObjectTownStore, objects: MemoryObjects) -> None:
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    for call in store.publication(town, None).calls:
        call.make()
    publication = store.publication(town, None)
    answers: list[object] = []
    for call in publication.calls:
        with pytest.raises(Exception, match="exists") as raised:
            call.make()
        answers.append(raised.value)
    published = drive(publication.settled(tuple(answers)))
    town = drive(store.commit(town, _changed(town.image, 2), _facts(1), published=published))
    assert _keys(objects) == [_ref("0009", 1, 1)]
    assert drive(store.load("t1")).image == town.image


def test_a_publication_that_failed_is_not_referred_to(store: ObjectTownStore, objects: MemoryObjects) -> None:
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    publication = store.publication(town, None)
    published = drive(publication.settled((StoreUnavailable("no answer"),)))
    assert published == Published()
    town = drive(store.commit(town, _changed(town.image, 2), _facts(1), published=published))
    assert _keys(objects) == []
    assert drive(store.load("t1")).image == town.image


def test_an_object_of_that_name_with_other_bytes_is_never_referred_to(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    objects.create(f"towns/t1/ltx/{_ref('0009', 1, 1)}", b"something else")
    publication = store.publication(town, None)
    with pytest.raises(DamagedImage, match="its bytes are not those of the commit"):
        drive(publication.settled((_raised(publication.calls[0].make),)))


def _raised(make: object) -> Exception:
    try:
        make()  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - the answer that a driver would hand over
        return error
    raise AssertionError("it did not raise")


def _damaged_objects(objects: MemoryObjects) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(4)
    for key in objects.list("towns/t1/ltx/").keys:
        found = objects.get(key)
        assert found is not None
        for _ in range(200):
            bit = rng.randrange(len(found.body) * 8)
            body = bytearray(found.body)
            body[bit // 8] ^= 1 << bit % 8
            yield key, bytes(body)
        for _ in range(40):
            yield key, found.body[: rng.randrange(len(found.body))]


def test_no_flipped_bit_and_no_truncation_of_a_spill_or_snapshot_is_opened(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    for number in range(1, 12):
        town = _step(store, town, _changed(town.image, 2 * number, 2 * number + 1, seed=number), number)
    assert len(_keys(objects)) >= 2
    damaged = list(_damaged_objects(objects))
    assert len(damaged) > 400
    for key, body in damaged:
        whole = objects.get(key)
        assert whole is not None
        objects.put(key, body)
        with pytest.raises(DamagedImage, match=key):
            drive(store.load("t1"))
        objects.put(key, whole.body)
    assert drive(store.load("t1")).image == town.image


def test_a_spill_is_read_as_litestream_writes_it(store: ObjectTownStore, objects: MemoryObjects) -> None:
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    for number in range(1, 6):
        town = _step(store, town, _changed(town.image, 2 * number, 2 * number + 1, seed=number), number)
    for key in _keys(objects):
        body = objects.get(f"towns/t1/ltx/{key}")
        assert body is not None
        header = ltx.decode(body.body, key).header
        assert key.endswith(f"{header.min_txid:016x}-{header.max_txid:016x}.ltx")

"""Spills and snapshots: only committed state becomes immutable, and every load puts the layers together again."""

import random
from collections.abc import Iterator
from datetime import timedelta

import lz4.block
import lz4.frame
import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import DamagedImage, StoreUnavailable
from shared.domain.images import JournalBlock
from shared.images import image_digest
from shared.images.pages import page_size_of
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts, Published, TownImage
from shared.storage import head, keys, layer_reading, layers, ltx, publish, publishing
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from tests.fault_injection import meanwhile
from tests.scenarios.table import scenario
from tests.small_layers import small_layers
from tests.unit.storage.images import NOON

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out

PAGE = 512


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    small_layers(monkeypatch, 6 * PAGE)


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


def test_a_grown_tail_becomes_a_spill_of_whole_pages(store: ObjectTownStore, objects: MemoryObjects) -> None:
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    images = {}
    for number in range(1, 6):
        images[town.txid] = town.image
        town = _step(store, town, _changed(town.image, 2 * number, 2 * number + 1, seed=number), number)
    spill = objects.get(f"towns/t1/ltx/{_ref('0001', 2, 4)}")
    assert spill is not None
    file = ltx.decode(spill.body, "spill")
    assert file.pages == {number: images[4][(number - 1) * PAGE : number * PAGE] for number in range(2, 8)}
    assert drive(store.load("t1")).image == town.image


def test_a_grown_tail_becomes_a_patch_file_and_so_many_of_them_a_spill_of_all_their_pages(
    store: ObjectTownStore, objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_layers(monkeypatch, 5 * PAGE, patch_files=2)
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    images = {}
    for number in range(1, 14):
        images[town.txid] = town.image
        town = _step(store, town, _changed(town.image, 2 * number, 2 * number + 1, seed=number), number)
        assert drive(store.load("t1")).image == town.image
    assert _keys(objects, "towns/t1/patches/")[:2] == [f"{2:016x}-{4:016x}.patch", f"{5:016x}-{7:016x}.patch"]
    spill = objects.get(f"towns/t1/ltx/{_ref('0001', 2, 10)}")
    assert spill is not None
    file = ltx.decode(spill.body, "spill")
    assert file.pages == {number: images[10][(number - 1) * PAGE : number * PAGE] for number in range(2, 20)}
    below = drive(store.load("t1")).layers
    assert isinstance(below, layers.Layers)
    assert [file.min_txid for file in below.patch_files] == [11]
    assert below.patched_pages == frozenset(range(20, 26))


def test_patch_files_that_weigh_more_than_the_snapshot_become_a_spill(
    store: ObjectTownStore, objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_layers(monkeypatch, 5 * PAGE, patch_files=1000)
    town = drive(store.create("t1", _image(10, 0), _facts(0)))
    for number in range(1, 40):
        town = _step(store, town, _changed(town.image, 2 + number % 8, 3, seed=number), number)
        below = drive(store.load("t1")).layers
        assert isinstance(below, layers.Layers)
        assert sum(file.size for file in below.patch_files[:-1]) <= 11 * PAGE
    assert any(key.startswith("0001") for key in _keys(objects))


def test_a_tail_of_whole_pages_of_an_older_release_is_read_and_becomes_a_spill(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    """Release 0.1 wrote the tail of every head as an LTX file."""
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    town = _step(store, town, _changed(town.image, 3), 1)
    manifest = publish.manifest_of(town).model_copy(update={"format": head.FORMAT, "patched": False})
    pages = {number: town.image[(number - 1) * PAGE : number * PAGE] for number in (3, *range(5, 12))}
    image = town.image
    tail = ltx.encode_delta(pages, page_size=PAGE, pages=20, min_txid=2, max_txid=2, at=manifest.time)
    objects.put("towns/t1/head", head.encode(manifest, tail))
    town = drive(store.load("t1"))
    assert town.image == image
    town = _step(store, town, _changed(town.image, 4), 2)
    assert _keys(objects) == [_ref("0001", 2, 2), _ref("0009", 1, 1)]
    assert drive(store.load("t1")).image == town.image


def test_when_spills_weigh_more_than_their_share_of_snapshots_a_new_one_is_made(
    store: ObjectTownStore, objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "SPILLS_WEIGH", 1)
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


def test_a_publication_whose_fate_is_unknown_is_not_referred_to(store: ObjectTownStore) -> None:
    town = drive(store.create("t1", _image(20, 0), _facts(0)))

    def no_answer() -> None:
        raise StoreUnavailable("no answer")

    settling = store.publication(town, None).settled((StoreUnavailable("no answer"),))
    assert drive(meanwhile(settling, before="get towns/t1/ltx/", by=no_answer)) == Published()


def test_pages_that_are_not_those_of_the_manifest_are_not_opened_though_each_checksum_is_right(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    town = drive(store.create("t1", _image(4, 0), _facts(0)))
    town = _step(store, town, _changed(town.image, 2), 1)
    stored = objects.get("towns/t1/head")
    assert stored is not None
    read = head.decode(stored.body, key="towns/t1/head", town_id="t1")
    other = read.manifest.model_copy(update={"image_digest": image_digest.digest_of(_image(4, 9), PAGE)})
    objects.put("towns/t1/head", head.encode(other, read.tail))
    with pytest.raises(DamagedImage, match="do not match the image digest"):
        drive(store.load("t1"))


@pytest.mark.parametrize("level", ["0009", "0001", "patches"])
def test_a_layer_that_is_missing_or_has_the_bytes_of_another_one_is_named(
    store: ObjectTownStore, objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    small_layers(monkeypatch, 5 * PAGE, patch_files=1)
    town = drive(store.create("t1", _image(60, 0), _facts(0)))
    for number in range(1, 18):
        town = _step(store, town, _changed(town.image, 2 * number, 2 * number + 1, seed=number), number)
    stored = objects.get("towns/t1/head")
    assert stored is not None
    manifest = head.decode(stored.body, key="towns/t1/head", town_id="t1").manifest
    [key, *_] = [name for name in sorted(layer_reading.names_below(manifest)) if f"/{level}/" in name]
    others = [name for name in objects.list("towns/t1/").keys if f"/{level}/" in name and name != key]
    objects.delete(key)
    with pytest.raises(DamagedImage, match="it is missing, but the head of its town needs it"):
        drive(store.load("t1"))
    for name in others:
        other = objects.get(name)
        assert other is not None
        objects.put(key, other.body)
        with pytest.raises(DamagedImage, match="its transactions are not those in its name"):
            drive(store.load("t1"))
    assert others or level == "0009"


def test_an_object_of_that_name_with_other_bytes_is_never_referred_to(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    objects.create(f"towns/t1/ltx/{_ref('0009', 1, 1)}", b"something else")
    publication = store.publication(town, None)
    with pytest.raises(DamagedImage, match=r"ltx/0009/.* is damaged"):
        drive(publication.settled((_raised(publication.calls[0].make),)))


@scenario(596)
def test_an_object_of_that_name_with_the_same_content_in_other_bytes_is_as_good_as_our_own(
    store: ObjectTownStore, objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release of the compressor wrote other bytes for the same pages and rows, and the town stopped for ever."""
    words = random.Random(3).choices((b"town", b"bead", b"agent", b"rig, "), k=19 * PAGE)
    town = drive(store.create("t1", _image(1, 0) + b"".join(words)[: 19 * PAGE], _facts(0)))
    publication = store.publication(town, JournalBlock(1, 1, b'{"format":1,"ticks":[' + _ROW + b"]}"))
    with monkeypatch.context() as patched:
        patched.setattr(
            ltx,
            "_block_of",
            lambda page, dense: lz4.block.compress(page, mode="fast", acceleration=9, store_size=False),
        )
        head_ = town.layers
        assert isinstance(head_, layers.Layers)
        body = ltx.encode_snapshot(town.image, page_size=page_size_of(town.image), txid=1, at=town.facts.time)
        objects.create(f"towns/t1/ltx/{_ref('0009', 1, 1)}", body)
        assert body != head_.tail
    rows = lz4.frame.compress(b'{"format":1,"ticks":[' + _ROW + b"]}", compression_level=0)
    objects.create(keys.journal("t1", 1, 1), rows)
    published = drive(publication.settled(tuple(_raised(call.make) for call in publication.calls)))
    assert published.layer is not None
    assert published.journal_to == 1


@scenario(596)
@pytest.mark.parametrize("kind", ["snapshot", "journal"])
def test_other_content_stays_a_loud_error_that_says_what_to_do(
    store: ObjectTownStore, objects: MemoryObjects, kind: str
) -> None:
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    publication = store.publication(town, JournalBlock(1, 1, b'{"format":1,"ticks":[' + _ROW + b"]}"))
    if kind == "snapshot":
        other = _changed(town.image, 2)
        body = ltx.encode_snapshot(other, page_size=page_size_of(other), txid=1, at=town.facts.time)
        objects.create(f"towns/t1/ltx/{_ref('0009', 1, 1)}", body)
    else:
        rows = b'{"format":1,"ticks":[' + _ROW.replace(b'"w"', b'"x"') + b"]}"
        objects.create(keys.journal("t1", 1, 1), publish.compressed(rows))
    answers = tuple(_answer(call.make) for call in publication.calls)
    with pytest.raises(DamagedImage, match="its content is not that of the commit in its name") as refused:
        drive(publication.settled(answers))
    assert "t1" in refused.value.hint


_ROW = (
    b'{"tick_no":1,"tick_id":"w","now":"2026-01-10T12:00:00.000Z","code_version":"c","sqlite_version":"s",'
    b'"config_digest":"d","prev_image_digest":"p","inputs":{},"outputs":{}}'
)


def _answer(make: object) -> object:
    try:
        return make()  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - the answer that a driver would hand over
        return error


def _raised(make: object) -> Exception:
    try:
        make()  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - the answer that a driver would hand over
        return error
    raise AssertionError("it did not raise")


def _damaged_objects(objects: MemoryObjects) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(4)
    for key in (*objects.list("towns/t1/ltx/").keys, *objects.list("towns/t1/patches/").keys):
        found = objects.get(key)
        assert found is not None
        for _ in range(200):
            bit = rng.randrange(len(found.body) * 8)
            body = bytearray(found.body)
            body[bit // 8] ^= 1 << bit % 8
            yield key, bytes(body)
        for _ in range(40):
            yield key, found.body[: rng.randrange(len(found.body))]


def test_no_flipped_bit_and_no_truncation_of_a_layer_is_opened(
    store: ObjectTownStore, objects: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_layers(monkeypatch, 5 * PAGE, patch_files=1)
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    for number in range(1, 12):
        town = _step(store, town, _changed(town.image, 2 * number, 2 * number + 1, seed=number), number)
    below = drive(store.load("t1")).layers
    assert isinstance(below, layers.Layers)
    assert below.spills
    assert below.patch_files
    damaged = list(_damaged_objects(objects))
    assert len(damaged) > 400
    for key, body in damaged:
        whole = objects.get(key)
        assert whole is not None
        objects.put(key, body)
        if key in layer_reading.names_below(publish.manifest_of(town)):
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


def test_a_page_in_which_little_changed_takes_little_of_the_head(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    town = _step(store, town, _changed(town.image, 2), 1)
    image = bytearray(town.image)
    for number in range(3, 33):
        image[number * PAGE + 7] ^= 1
    before = len(town.layers.tail)  # type: ignore[attr-defined]
    town = _step(store, town, bytes(image), 2)
    assert len(town.layers.tail) - before < 30 * 32  # type: ignore[attr-defined]
    assert drive(store.load("t1")).image == bytes(image)


def test_a_page_that_changes_a_little_in_every_commit_is_put_together_right(store: ObjectTownStore) -> None:
    """Its patch is of the page below the tail, and not of that of the commit before."""
    town = drive(store.create("t1", _image(20, 0), _facts(0)))
    town = _step(store, town, _changed(town.image, 9), 1)
    for number in range(2, 8):
        image = bytearray(town.image)
        image[4 * PAGE + 40 * number] ^= 0xFF
        town = _step(store, town, bytes(image), number)
        assert drive(store.load("t1")).image == town.image


def test_a_flush_publishes_whole_pages_though_the_head_has_patches(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    """Until it did, `townctl flush` put the patches themselves under the name of a spill, which nothing could read."""
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    town = _step(store, town, _changed(town.image, 2), 1)
    town = _step(store, town, _changed(town.image, 3), 2)
    key = drive(publishing.flush(objects, drive(store.load("t1"))))
    assert not keys.is_snapshot(key)
    assert drive(KeptPast(objects, objects, "t1").of_files(town.txid)).image == town.image


def test_a_head_that_an_earlier_release_wrote_is_read_and_continued(
    store: ObjectTownStore, objects: MemoryObjects
) -> None:
    """Format 1: the tail is an LTX file of whole pages."""
    town = drive(store.create("t1", _image(40, 0), _facts(0)))
    town = _step(store, town, _changed(town.image, 2, 3), 1)
    found = objects.get("towns/t1/head")
    assert found is not None
    read = head.decode(found.body, key="towns/t1/head", town_id="t1")
    assert (read.manifest.format, read.manifest.patched) == (head.FORMAT_OF_PATCHES, True)
    tail = ltx.encode_delta(
        {number: town.image[(number - 1) * PAGE : number * PAGE] for number in (2, 3)},
        page_size=PAGE,
        pages=40,
        min_txid=read.manifest.tail_start,
        max_txid=town.txid,
        at=read.manifest.time,
    )
    old = read.manifest.model_copy(update={"format": head.FORMAT, "patched": False})
    objects.put("towns/t1/head", head.encode(old, tail))
    town = drive(store.load("t1"))
    for number in range(2, 9):
        town = _step(store, town, _changed(town.image, 3, 4 + number, seed=number), number)
        assert drive(store.load("t1")).image == town.image

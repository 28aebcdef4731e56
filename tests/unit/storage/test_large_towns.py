"""Towns whose image lies in a file: the same heads as those in memory, through lost races and lost answers."""

import sqlite3
from contextlib import closing
from random import Random

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Conflict, StoreUnavailable
from shared.domain.images import Content
from shared.images import image_digest
from shared.ports.steps import Steps, Together, drive
from shared.ports.town_store import TownImage
from shared.storage import layers
from shared.storage.towns import ObjectTownStore
from shared.town import database, schemas
from shared.town.large_images import LargeImage
from tests.small_layers import small_layers
from tests.unit.storage.images import facts


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    small_layers(monkeypatch, 6 * 512, patch_files=2)
    monkeypatch.setattr(layers, "LARGE_ABOVE", 0)


def _a_town() -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sql:
        sql.execute("PRAGMA page_size = 512")
        schemas.create(sql)
        sql.executemany("INSERT INTO town VALUES (?, '\"a\"')", ((str(number),) for number in range(900)))
        return sql.serialize()


def _ticked(town: TownImage, seed: str) -> Content:
    rng = Random(seed)
    with database.opened(town.content) as sql:
        database.begin(sql)
        for _ in range(rng.randrange(1, 4)):
            sql.execute("DELETE FROM town WHERE CAST(key AS INTEGER) % :share = 0", {"share": rng.randrange(3, 40)})
            rows = [
                (str(rng.randrange(10**9)), f'"{rng.randbytes(rng.choice((9, 90))).hex()}"')
                for _ in range(rng.choice((1, 60)))
            ]
            sql.executemany("INSERT OR REPLACE INTO town VALUES (?, ?)", rows)
        if rng.random() < 0.1:
            sql.execute("DELETE FROM town WHERE CAST(key AS INTEGER) % 9 <> 0")
        database.commit(sql)
        return database.content_of(sql)


def _committed(store: ObjectTownStore, town: TownImage, content: Content, number: int) -> Steps[TownImage]:
    publication = store.publication(town, None)
    answers = (yield Together(publication.calls)) if publication.calls else []
    published = yield from publication.settled(tuple(answers))
    return (yield from store.commit(town, content, facts(f"{number}-x", tick_no=number), published=published))


def test_a_town_in_a_file_and_one_in_memory_write_the_same_objects_byte_for_byte() -> None:
    stores = {name: MemoryObjects() for name in ("memory", "file")}
    for name, objects in stores.items():
        store = ObjectTownStore(objects, large_above=0 if name == "file" else 1 << 30)
        town = drive(store.create("demo", _a_town(), facts("0-x")))
        for number in range(1, 60):
            content = _ticked(town, str(number))
            assert isinstance(content, LargeImage) == (name == "file")
            town = drive(_committed(store, town, content, number))
        assert town.image == drive(store.load("demo")).image
    in_memory, in_files = (
        {key: found.body for key in objects.list("towns/").keys if (found := objects.get(key))}
        for objects in stores.values()
    )
    assert in_memory == in_files
    assert any("/0001/" in key for key in in_memory)
    assert sum("/0009/" in key for key in in_memory) > 1


@pytest.mark.parametrize("seed", range(5))
def test_lost_races_and_lost_answers_leave_every_head_with_the_digest_of_its_image(seed: int) -> None:
    objects, rng = MemoryObjects(), Random(seed)
    ours, theirs = (ObjectTownStore(objects, large_above=0) for _ in range(2))
    town = drive(ours.create("demo", _a_town(), facts("0-x")))
    lost = 0
    for number in range(1, 50):
        content = _ticked(town, f"{seed}-{number}")
        if rng.random() < 0.3:
            other = drive(theirs.load("demo"))
            drive(_committed(theirs, other, _ticked(other, f"theirs {number}"), 1_000 + number))
            with pytest.raises(Conflict):
                drive(_committed(ours, town, content, number))
            assert image_digest.digest_of(town.image, 512) == town.image_digest
            town, lost = drive(ours.load("demo", known=town)), lost + 1
        elif rng.random() < 0.3:
            with pytest.raises(StoreUnavailable):
                _without_a_store(_committed(ours, town, content, number))
            town, lost = drive(ours.load("demo", known=town)), lost + 1
            assert town.image_digest == image_digest.digest_of(town.image, 512)
        else:
            town = drive(_committed(ours, town, content, number))
        assert image_digest.digest_of(town.image, 512) == town.image_digest
    assert drive(ObjectTownStore(objects).load("demo")).image == town.image
    assert 10 < lost < 40


def _without_a_store(steps: Steps[TownImage]) -> None:
    """Run steps while every call fails."""
    down = StoreUnavailable("the store is down", hint="wait")
    asked = next(steps)
    while True:
        asked = steps.send([down] * len(asked.calls)) if isinstance(asked, Together) else steps.throw(down)

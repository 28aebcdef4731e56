"""Replay of a town in a store: the past comes out as it was; and a past that somebody changed is named, not believed."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import DamagedImage
from shared.domain.past import PastImage
from shared.domain.steps import Steps, drive
from shared.domain.times import from_text
from shared.engine.replay import faithful
from shared.engine.replay.differences import ABSENT, Difference
from shared.engine.replay.told import Replay
from shared.engine.replay.window import Window
from shared.storage import keys, publish
from shared.storage.past import StoredPast
from shared.town import database, journal
from tests.fakes import FakeClock
from tests.scenarios.table import scenario
from tests.towns import TOWN, T, TownBuilder, a_town, event
from tests.worlds import World

TICKS = 220
"""Enough for a published journal object."""


@dataclass(frozen=True)
class Lived:
    """A town that has lived through its ticks, in a store that keeps all versions."""

    world: World
    digests: dict[int, str]
    times: dict[int, datetime]

    def replayed(self, first: int, last: int, past: StoredPast | None = None) -> Replay:
        """These ticks again, both included."""
        window = Window(self.times[first], self.times[last])
        return drive(faithful.replay(TOWN, past or self.past(), window))

    def past(self) -> StoredPast:
        """What is kept of it."""
        return StoredPast(self.world.objects, self.world.objects)  # type: ignore[arg-type] - it keeps versions too


def a_life(ticks: int) -> Lived:
    """A town whose agents beat, where beads come and go."""
    world = World(objects=MemoryObjects(kept_versions=1000), clock=FakeClock(T))
    world.put_in(a_town().bead("b1").bead("b2"))
    digests, times = {}, {}
    for number in range(ticks):
        world.clock.move(seconds=5)
        now = world.clock.now()
        world.post(event("bead_updated", {"priority": ("low", "high")[number % 2]}, bead="b1", at=now))
        if number % 20 == 3:
            bead = {"bead_id": f"new-{number}", "type": "issue", "title": "More", "rig_id": "rig-1"}
            world.post(event("bead_created", {"bead": bead}, at=now))
        run = world.run()
        digests[run.image.facts.tick_no] = run.image.image_digest
        times[run.image.facts.tick_no] = now
    return Lived(world, digests, times)


@dataclass
class ChangedImage(StoredPast):
    """A past in which somebody changed one row of the image that one tick left."""

    tick_no: int = 30
    statement: str = ""
    changed: list[int] = field(default_factory=list)

    def after_tick(self, town_id: str, tick_no: int) -> Steps[tuple[PastImage, ...]]:
        images = yield from super().after_tick(town_id, tick_no)
        return tuple(self._seen(image) for image in images)

    def before(self, town_id: str, at: datetime) -> Steps[PastImage | None]:
        image = yield from super().before(town_id, at)
        return None if image is None else self._seen(image)

    def _seen(self, image: PastImage) -> PastImage:
        if image.tick_no != self.tick_no:
            return image
        self.changed.append(image.tick_no)
        sql = database.open_image(image.image)
        sql.execute(self.statement)
        found = database.image_of(sql)
        database.close(sql)
        return replace(image, image=found)


def first_difference(replay: Replay) -> tuple[int, Difference]:
    """Where it parts, and how."""
    assert not replay.exact
    assert replay.divergence is not None
    return replay.divergence.tick_no, replay.divergence.differences[0]


@scenario(180)
def test_every_image_comes_out_as_it_was_committed() -> None:
    lived = a_life(60)
    again = lived.replayed(10, 60)
    assert again.exact
    assert {tick.row["tick_no"]: tick.digest for tick in again.ticks} == {
        number: lived.digests[number] for number in range(10, 61)
    }


@scenario(180)
def test_a_changed_row_in_an_image_is_named_by_tick_table_key_and_column() -> None:
    lived = a_life(60)
    forged = "UPDATE beads SET priority = 'critical' WHERE bead_id = 'b1'"
    past = ChangedImage(lived.world.objects, lived.world.objects, statement=forged)  # type: ignore[arg-type]
    again = lived.replayed(31, 60, past)
    assert past.changed
    number, difference = first_difference(again)
    assert (number, difference.table, difference.key, difference.column) == (31, "beads", "b1", "updated_at")

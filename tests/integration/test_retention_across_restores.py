"""A town lives for two weeks, is restored in place again and again, and forgets its past every day.

Each restore begins an epoch. Whatever retention deletes, every commit that `points` lists can be restored, with every bead that it
had: those in its image and those that had left it for the archive.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import limits
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.replay import faithful
from shared.replay.time_window import PageLimits, Window
from shared.storage import in_place, layers, retention
from shared.storage.archive import TownArchives
from shared.storage.restore import KeptPast
from shared.town import database
from shared.town.town_keys import TownKeys
from tests.fakes import FakeClock
from tests.scenarios.table import scenario
from tests.small_layers import small_layers
from tests.towns import T, a_town, event
from tests.worlds import World, a_world

TOWN = "t1"
DAYS, TICKS_A_DAY = 14, 6


@dataclass
class Life:
    """A town, and which beads it had at each of its commits."""

    world: World
    kept: KeptPast
    beads: dict[int, frozenset[str]] = field(default_factory=dict)
    created: int = 0

    def tick(self) -> None:
        """Four hours later somebody creates a bead and cancels the one before it, and the town ticks."""
        self.world.clock.move(hours=24 // TICKS_A_DAY)
        before = self.beads[self.world.image().txid]
        self.created += 1
        new = f"bead-{self.created:03}"
        bead = {"bead_id": new, "type": "issue", "title": "t", "body": "x" * 2000, "labels": ["gt:held"]}
        self.world.post(event("bead_created", {"bead": bead}, event_id=f"create-{self.created:03}"))
        last = max(before, default=None)
        if last is not None:
            self.world.post(event("bead_cancelled", bead=last, event_id=f"cancel-{self.created:03}"))
        self.world.run()
        self.beads[self.world.image().txid] = before | {new}

    def restore(self, txid: int) -> None:
        """Bring an old commit back."""
        old = drive(self.kept.at_txid(txid))
        now = self.world.clock.now()
        done = drive(in_place.restore_in_place(self.world.store, self.kept, old, now=now, worker_id=f"w{now:%d%H}"))
        self.beads[done.txid] = self.beads[txid]

    def forget(self) -> int:
        """What retention does once a day; the number of objects that it deletes."""
        plan = retention.forget(self.kept, retention.Keep(snapshots=timedelta(days=8)), now=self.world.clock.now())
        return len(drive(plan).doomed)

    def points(self) -> list[int]:
        """The commits that can be restored."""
        return [point.txid for point in drive(self.kept.points(limit=1000))]

    def at(self, txid: int) -> frozenset[str]:
        """The beads that a restored commit has, in its image and in the archive on which it relies."""
        image = drive(self.kept.at_txid(txid)).image
        with database.opened(image) as sql:
            index = TownKeys(sql).archive_index
            here = {row[0] for row in sql.execute("SELECT bead_id FROM beads WHERE type = 'issue'")}
        away = drive(TownArchives(self.world.objects).archived(TOWN, self.beads[txid] - here, index=index))
        return frozenset(here | away.keys())


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Life:
    small_layers(monkeypatch, 6 * 1024, patch_files=2)
    monkeypatch.setattr(layers, "SNAPSHOT_EVERY", timedelta(hours=20))
    monkeypatch.setattr(limits, "JOURNAL_WINDOW_ROWS", 5)
    clock = FakeClock(T)
    objects = MemoryObjects(kept_versions=1000, now=clock.now)
    world = a_world(a_town().config(archive={"failed_after_minutes": 30 * 60}), objects=objects)
    world.clock = clock
    return Life(world, KeptPast(objects, objects, TOWN), {world.image().txid: frozenset()})


@scenario(599)
@pytest.mark.parametrize("seed", range(3))
def test_every_restore_point_that_is_left_is_whole_however_often_the_town_was_restored(life: Life, seed: int) -> None:
    chance, deleted, restored = Random(seed), 0, 0
    for day in range(DAYS):
        for _ in range(TICKS_A_DAY):
            life.tick()
        if day % 3 == 2:
            life.restore(
                chance.choice(life.points())
            )  # an old commit, one from before an older restore, or one that it undid
            restored += 1
        deleted += life.forget()
        for txid in life.points():
            assert life.at(txid) == life.beads[txid], (day, txid)
    assert restored == 4
    assert deleted > 50
    life.tick()
    now = life.world.clock.now()
    past = StoredPast(life.world.objects, life.kept.versions)
    window = Window(now - timedelta(hours=20), now)
    again = drive(faithful.replay(TOWN, past, window, page=PageLimits(timedelta(days=30))))
    assert again.divergence is None, "and what happened since the last restore can be replayed"

"""The manifest of a head says what its image says about a drain, however the commit was made: a heartbeat is answered from it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from shared.images import summary
from shared.moving.transfer import import_town
from shared.ports.steps import drive
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from tests.properties.amount import examples
from tests.replayed import a_world_with_a_past, past_of
from tests.scenarios.table import scenario
from tests.towns import a_town, event
from tests.worlds import World


@dataclass
class Told:
    """A world, the towns in it, and the nonces that their heads have shown; each commit is judged."""

    world: World = field(default_factory=lambda: a_world_with_a_past(a_town("t0")))
    towns: list[str] = field(default_factory=lambda: ["t0"])
    shown: set[str | None] = field(default_factory=set)
    count: int = 0

    def judge(self) -> None:
        for town_id in self.towns:
            said = drive(self.world.store.standing(town_id)).drain_nonce
            assert said == summary.drain_nonce_in(self.world.image(town_id).content), town_id
            self.shown.add(said)

    def post(self, town_id: str, event_type: str, **payload: str) -> None:
        self.count += 1
        self.world.post(event(event_type, payload, event_id=f"told-{self.count:08}"), town_id=town_id)

    def evict(self, town_id: str, _: int) -> None:
        self.post(town_id, "container_eviction")
        self.world.run(town_id=town_id)

    def ready(self, town_id: str, _: int) -> None:
        self.post(town_id, "container_ready", nonce=drive(self.world.store.standing(town_id)).drain_nonce or "none")
        self.world.run(town_id=town_id)

    def ready_with_another_nonce(self, town_id: str, _: int) -> None:
        self.post(town_id, "container_ready", nonce="of another drain")
        self.world.run(town_id=town_id)

    def live(self, town_id: str, number: int) -> None:
        self.world.clock.move(seconds=number * 30)
        self.world.run(town_id=town_id)

    def restore(self, town_id: str, number: int) -> None:
        past, world = past_of(self.world), self.world
        txid = 1 + number % world.image(town_id).txid
        kept = KeptPast(past.objects, past.versions, town_id)
        old = drive(kept.at_txid(txid))
        drive(restore_in_place(world.store, kept, old, now=world.clock.now(), worker_id=world.worker_id()))

    def move(self, town_id: str, _: int) -> None:
        self.towns.append(f"t{len(self.towns)}")
        body = self.world.export(town_id)
        drive(import_town(self.towns[-1], body, self.world.around, worker_id=self.world.worker_id()))

    def move_as_a_database(self, town_id: str, _: int) -> None:
        self.towns.append(f"t{len(self.towns)}")
        image = self.world.image(town_id).image
        drive(import_town(self.towns[-1], image, self.world.around, worker_id=self.world.worker_id()))


Turn = Callable[[Told, str, int], None]
TURNS: Final[tuple[Turn, ...]] = (
    Told.evict,
    Told.ready,
    Told.ready_with_another_nonce,
    Told.live,
    Told.restore,
    Told.move,
    Told.move_as_a_database,
)


@scenario(547)
@examples(60)
@given(
    turns=st.lists(st.tuples(st.sampled_from(TURNS), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8)
)
def test_every_head_tells_the_drain_of_its_image(turns: list[tuple[Turn, int, int]]) -> None:
    told = Told()
    told.judge()
    for turn, which, number in turns:
        told.world.clock.at += timedelta(seconds=1)
        turn(told, told.towns[which % len(told.towns)], number)
        told.judge()


@scenario(547)
def test_a_drain_that_a_restore_or_an_import_brings_back_is_told_and_one_that_it_ends_is_not() -> None:
    told = Told()
    told.live("t0", 1)
    told.evict("t0", 0)
    draining = told.world.image("t0")
    nonce = draining.facts.drain_nonce
    assert nonce is not None
    told.ready("t0", 0)
    assert drive(told.world.store.standing("t0")).drain_nonce is None
    told.restore("t0", draining.txid - 1)
    assert drive(told.world.store.standing("t0")).drain_nonce == nonce
    told.restore("t0", 0)
    assert drive(told.world.store.standing("t0")).drain_nonce is None
    told.judge()

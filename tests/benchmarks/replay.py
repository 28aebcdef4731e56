"""What replay costs: a day of a 1,000-bead town, a tick a minute with an event each, from what the store has kept."""

import time
import tracemalloc
from dataclasses import dataclass
from datetime import timedelta

from shared.ports.steps import drive
from shared.replay import faithful
from shared.replay.time_window import WHOLE_DAY, Window
from tests.benchmarks.towns import an_aged_town, heartbeat
from tests.replayed import a_world_with_a_past, past_of
from tests.towns import T
from tests.worlds import World

DAY: int = 24 * 60


@dataclass(frozen=True)
class Replayed:
    """A replay of so many ticks; digests, the listing and the journal objects included."""

    live: int
    ticks: int
    seconds: float

    @property
    def rate(self) -> float:
        """Ticks a second."""
        return self.ticks / self.seconds


def a_day(*, live: int, days: float = 1, beads: int = 1_000, beats: int = 1) -> World:
    """A town of so many live agents that was ticked every minute, with so many heartbeats.

    A day of heads is kept, as retention would.
    """
    world = a_world_with_a_past(an_aged_town(beads, live=live), kept_versions=DAY)
    for minute in range(round(DAY * days)):
        world.clock.at = T + timedelta(minutes=minute + 1)
        world.post(*(heartbeat((minute + each) % live, world.clock.at) for each in range(beats)))
        world.run()
    return world


def replay_of(world: World, *, live: int) -> Replayed:
    """Run all of it again, page after page. The store is in memory: its time is not counted in any real way."""
    past, start, ticks = past_of(world), T + timedelta(seconds=1), 0
    began = time.perf_counter()
    while True:
        page = drive(faithful.replay("t1", past, Window(start, world.clock.now()), page=WHOLE_DAY))
        assert page.exact
        ticks += len(page.ticks)
        if page.cursor is None:
            return Replayed(live, ticks, time.perf_counter() - began)
        start = page.ticks[-1].time + timedelta(milliseconds=1)
        del page


def peak_megabytes(world: World, *, live: int) -> float:
    """The most memory that a replay of all of it holds, beyond the store."""
    tracemalloc.start()
    replay_of(world, live=live)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6

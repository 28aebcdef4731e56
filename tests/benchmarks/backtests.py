"""A backtest of many recorded town-hours, on the cores of this machine: `make bench-backtest` prints what it takes.

The towns lie in a directory. In each one as many agents work as in the towns of docs/costs.md, all the time, and each tick has
their signs of life and a change of a bead. The floor is the same ticks run once more in one process, without reading a record,
comparing or summing up anything.
"""

import argparse
import resource
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.shapes import read
from shared.domain.strict_json import foreign
from shared.domain.times import to_text
from shared.history.rerun import input_of, rerun, time_of
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.replay.backtest.summary import Backtest
from shared.replay.starting_point import starting_point
from tests.benchmarks.month.page import AGENTS
from tests.integration.townctl_calls import TOWNCTL
from tests.towns import T, a_town, event
from tests.worlds import World

BEADS = 40
PAST = 1 << 30


def a_recorded_fleet(directory: Path, *, towns: int, span: timedelta, every: timedelta) -> None:
    """Towns that have lived through this time, each in a world of its own, because a world remembers every tick."""
    for number in range(towns):
        name = f"town-{number:03}"
        town = a_town(name).config(max_polecats_per_rig=AGENTS)
        for bead in range(BEADS):
            town.bead(f"bead-{bead:02}", title=f"Write part {bead}")
        world = World(objects=DirectoryObjects(directory))
        world.put_in(town)
        step = 0
        while world.clock.now() < T + span:
            _live(world, name, step)
            world.clock.at += every
            step += 1


def _live(world: World, town: str, step: int) -> None:
    change = event(
        "bead_updated",
        {"priority": ("high", "low")[step % 2]},
        bead=f"bead-{step % BEADS:02}",
        event_id=f"change-{step:06}",
    )
    said = [change]
    for (place, agent), process in sorted(world.runtime.processes.items()):
        if place == town and process.status == "running":
            beat = {"last_event_at": world.clock.now().isoformat(), "generation": process.generation}
            said.append(event("agent_heartbeat", beat, agent=agent, event_id=f"beat-{agent}-{step:06}"))
    world.post(*said, town_id=town)
    world.run(town_id=town)


def floor_of(objects: DirectoryObjects, town: str) -> float:
    """Seconds of one process for a tick that is only run again."""
    base, rows = drive(starting_point(town, StoredPast(objects, objects), T + timedelta(seconds=1)))
    given = []
    while rows.next is not None:
        given.append(rows.next)
        drive(rows.advance())
    start = time.process_time()
    with rerun(base) as running:
        for row in given:
            running.run(input_of(row))
    assert time_of(given[-1]) > T
    return (time.process_time() - start) / len(given)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--towns", type=int, default=42)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--every", type=float, default=120, help="seconds between two ticks of a town")
    asked = parser.parse_args()
    span = timedelta(hours=asked.hours)
    with tempfile.TemporaryDirectory() as name:
        a_recorded_fleet(Path(name), towns=asked.towns, span=span, every=timedelta(seconds=asked.every))
        window = ("--from", to_text(T), "--to", to_text(T + span))
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*TOWNCTL, "--data", name, "backtest", *window, "--json"], stdout=subprocess.PIPE, check=False
        )
        took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        made = read(Backtest, foreign(done.stdout, limit=PAST))
        assert made.is_the_same, made
        floor = floor_of(DirectoryObjects(Path(name)), "town-000")
    per_tick = took / made.ticks
    print(
        f"{made.town_hours:,.0f} town-hours, {made.ticks:,} ticks in {took:.1f} s: {per_tick * 1000:.2f} ms a tick of this machine"
    )
    print(
        f"  of the processors: {spent:.1f} s, {spent / made.ticks * 1000:.2f} ms a tick; other programs change them little"
    )
    print(f"  floor, one process: {floor * 1000:.2f} ms of a processor a tick; ratio {per_tick / floor:.2f}")
    print(f"  1,000 town-hours of such towns: {took * 1000 / made.town_hours:.0f} s")


if __name__ == "__main__":
    main()

"""A fleet through the worker's handler, and what fleets cost in a month: `python -m tests.benchmarks.fleet [--store NAME|none]`.

Measures ticks per second and requests per tick, and asserts that no event was lost. The page of costs (`tests.benchmarks.month`)
multiplies requests that were counted on a jumping clock by list prices; `--store none` prints only this page, for docs/costs.md.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.devstack.s3_servers import seaweedfs
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.s3_objects import S3Objects
from shared.ports.queue import Wake
from shared.storage import keys
from tests.benchmarks.month import table
from tests.benchmarks.month.page import ACTIVE_SHARE, AGENTS
from tests.cloud import a_cloud
from tests.conventions.sources import ROOT
from tests.counting import CountingObjects
from tests.towns import T, a_town, event
from tests.worlds import a_world


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run came to."""

    towns: int
    ticks: int
    seconds: float
    requests: Counter[str]
    lost: int
    head_bytes: float

    @property
    def per_tick(self) -> dict[str, float]:
        """Requests by kind."""
        return {kind: round(count / self.ticks, 2) for kind, count in sorted(self.requests.items())}


def measure(objects: Any, *, towns: int, rounds: int) -> Measured:
    """`rounds` events for each of so many towns, each taken by a tick of the worker, one a call."""
    counting = CountingObjects(objects)
    world = a_world(objects=counting)
    names = [f"town-{number:04d}" for number in range(towns)]
    for name in names:
        world.put_in(a_town(name))
    cloud = a_cloud(world)
    cloud.worker.warm.limit = towns
    requests: Counter[str] = Counter()
    seconds, posted = 0.0, 0
    for number in range(rounds):
        world.clock.move(seconds=30)
        for name in names:
            world.post(event("town_started", event_id=f"event-{number:04d}"), town_id=name)
            posted += 1
            cloud.queue.send([Wake(name, (world.clock.now(),), f"{name}:{number}")])
        counting.reset()
        begun = time.perf_counter()
        while cloud.queue.pump(cloud.work, limit=1):
            pass
        seconds += time.perf_counter() - begun
        requests += counting.requests
    taken = {
        (name, each["event_id"])
        for name in names
        for record in world.journal(name)
        for each in record["outputs"]["events"]
        if each["event_id"].startswith("event-")
    }
    heads = [len(found.body) for name in names if (found := objects.get(keys.head(name))) is not None]
    return Measured(towns, towns * rounds, seconds, requests, posted - len(taken), sum(heads) / towns)


def fan_out(objects: Any, *, towns: int = 2_000, due: int = 60) -> tuple[float, float]:
    """Seconds of a dispatcher's pass over the markers of so many towns, and of the workers' ticks of those that are due."""
    world = a_world(objects=objects)
    for number in range(due):
        world.put_in(a_town(f"fan-{number:04d}"))
        world.post(event("town_started", event_id="fan-out-1"), town_id=f"fan-{number:04d}")
    for number in range(due, towns):
        objects.put(f"due/20260111T120000Z/fan-{number:04d}", b"")
    world.clock.move(minutes=1)
    cloud = a_cloud(world)
    begun = time.perf_counter()
    report = cloud.minute(T + timedelta(minutes=1), remaining=timedelta(seconds=14))
    passed = time.perf_counter()
    assert report.handed_over == due
    while cloud.queue.pump(cloud.work, limit=1):
        pass
    return (passed - begun) / report.passes, time.perf_counter() - passed


@contextmanager
def _store(name: str) -> Iterator[Any]:
    if name == "memory":
        yield MemoryObjects()
        return
    with tempfile.TemporaryDirectory() as directory, seaweedfs(Path(directory)) as server:
        import os

        os.environ.update(server.environment)
        yield S3Objects(server.make_bucket("fleet"), endpoint_url=server.endpoint_url)


def main() -> None:
    """Measure, and print figures and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("memory", "seaweedfs", "none"), default="seaweedfs")
    parser.add_argument("--towns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--agents", type=int, default=AGENTS, help="working agents of an active town")
    parser.add_argument("--active", type=float, default=ACTIVE_SHARE, help="share of the towns that is active")
    parser.add_argument("--accept", action="store_true", help="write the page of costs into docs/costs.md")
    given = parser.parse_args()
    if given.store != "none":
        _print_speed(given.store, towns=given.towns, rounds=given.rounds)
    shown = "\n".join(table.lines_of(*table.fleets(agents=given.agents, active_share=given.active)))
    if given.accept:
        _write_into(ROOT / "docs/costs.md", shown)
    print(
        f"\n100,000 towns are swept in {table.minutes_of_a_sweep(100_000):.1f} minutes of work at 20 ms a request (bar 15)\n"
    )
    print(shown)


def _write_into(page: Path, shown: str) -> None:
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- bench-fleet -->\n")
    _, end, after = rest.partition("<!-- /bench-fleet -->")
    page.write_text(f"{before}{mark}{shown}\n{end}{after}", encoding="utf-8")


def _print_speed(store: str, *, towns: int, rounds: int) -> None:
    with _store(store) as objects:
        one_pass, ticks = fan_out(objects)
        measured = measure(objects, towns=towns, rounds=rounds)
    assert measured.lost == 0, f"{measured.lost} events were lost"
    print(
        f"{measured.ticks} ticks in {measured.seconds:.1f} s: {measured.ticks / measured.seconds:.0f} a second; nothing was lost\n"
    )
    print(
        f"2,000 towns, 60 due: a pass of the dispatcher {one_pass * 1000:.0f} ms (bar 2,000), their ticks {ticks:.1f} s\n"
    )
    each = json.dumps(measured.per_tick)
    print(f"{each} requests a tick; a head has {measured.head_bytes / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()

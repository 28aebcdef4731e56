"""A fleet through the worker's handler, and what it would cost: `python -m tests.benchmarks.fleet [--store memory|seaweedfs]`.

Measures ticks per second and requests per tick (nothing is estimated there), asserts that no event was lost, and computes
a page of costs from the measured requests and the list prices below.
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
from typing import Any, Final

from infra.devstack.s3_servers import seaweedfs
from infra.ops.dashboards import alarms
from shared.actions import ACTIONS
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.s3_objects import S3Objects
from shared.ports.queue import Wake
from shared.storage import keys
from shared.telemetry import catalogue
from tests.cloud import a_cloud
from tests.counting import CountingObjects
from tests.towns import T, a_town, event
from tests.worlds import a_world

# List prices of us-east-1 in dollars, as of the day when this was written; regions differ.
PUT_LIST: Final = 0.005 / 1000
GET: Final = 0.0004 / 1000
LAMBDA_GB_SECOND_ARM: Final = 0.0000133334
LAMBDA_REQUEST: Final = 0.20 / 1e6
SQS_FIFO_REQUEST: Final = 0.50 / 1e6
METRIC_MONTH: Final = 0.30
ALARM_MONTH: Final = 0.10
DASHBOARD_MONTH: Final = 3.00
LOG_GB: Final = 0.50
STORED_GB_MONTH: Final = 0.023
SCHEDULE_CALL: Final = 1.00 / 1e6

METRICS: Final = len(catalogue.METRICS) + len(ACTIONS)
"""Series of the catalogue, and one for each type of action."""
LINE_BYTES: Final = 1600
WORKER_GB: Final = 1769 / 1024
TICK_SECONDS: Final = 0.15
"""Lambda time of one tick with S3 in the same region: about eight requests of 15 ms, and the tick itself."""
ACTIVE_TICKS_PER_DAY: Final = 2880
"""A town in which an agent works is ticked every 30 s."""
ACTIVE_SHARE: Final = 0.05
HEAD_VERSION_DAYS: Final = 2
SNAPSHOT_DAYS: Final = 30
MINUTES: Final = 30 * 24 * 60
TIDYING: Final = {"versions": 1, "list": 2, "get_version": 1, "start_of": 18, "get": 8}
"""Requests of retention a day for a town that was active for weeks; tests/integration/test_restore_and_retention.py counts them."""
RETENTION_SECONDS: Final = 0.15
"""Of a gigabyte, a town and day: thirty requests of 15 ms, four towns at a time."""


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


def costs(measured: Measured) -> Iterator[str]:
    """The page of costs, from the measured requests."""
    each = measured.per_tick
    puts = each.get("replace", 0) + each.get("create", 0) + each.get("put", 0) + each.get("list", 0)
    gets = each.get("get", 0) + each.get("get_if_changed", 0)
    tick = puts * PUT_LIST + gets * GET + TICK_SECONDS * WORKER_GB * LAMBDA_GB_SECOND_ARM + LINE_BYTES / 1e9 * LOG_GB
    by_queue = tick + LAMBDA_REQUEST + 3 * SQS_FIFO_REQUEST
    idle = (
        METRICS * METRIC_MONTH
        + len(alarms.names()) * ALARM_MONTH
        + DASHBOARD_MONTH
        + MINUTES * (LAMBDA_REQUEST + SCHEDULE_CALL + PUT_LIST + 0.1 * WORKER_GB * LAMBDA_GB_SECOND_ARM)
    )
    tidying = sum(count * (PUT_LIST if name in ("list", "versions") else GET) for name, count in TIDYING.items())
    tidying += RETENTION_SECONDS * LAMBDA_GB_SECOND_ARM
    busy = MINUTES * 55 * WORKER_GB * LAMBDA_GB_SECOND_ARM + MINUTES * 11 * PUT_LIST
    weight = f"a head has {measured.head_bytes / 1000:.0f} kB"
    yield f"Measured: {json.dumps(each)} requests a tick ({measured.ticks} ticks of {measured.towns} towns); {weight}."
    yield ""
    yield "| Towns | of them active | an idle fleet | ticks | dispatcher | sweep | retention | storage | together, a month |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for towns in (1, 1_000, 100_000):
        active = max(1, round(towns * ACTIVE_SHARE))
        ticks = active * ACTIVE_TICKS_PER_DAY * 30 * by_queue
        sweep = 30 * 24 * (towns * (PUT_LIST + GET) + towns / 40 * PUT_LIST)
        retention = 30 * (towns * tidying + 24 * towns / 40 * PUT_LIST)
        heads = active * ACTIVE_TICKS_PER_DAY * HEAD_VERSION_DAYS + towns * SNAPSHOT_DAYS
        storage = heads * measured.head_bytes / 1e9 * STORED_GB_MONTH
        parts = [idle, ticks, busy, sweep, retention, storage]
        shown = [*parts, sum(parts)]
        yield f"| {towns:,} | {active:,} | " + " | ".join(f"${value:,.2f}" for value in shown) + " |"


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
    parser.add_argument("--store", choices=("memory", "seaweedfs"), default="seaweedfs")
    parser.add_argument("--towns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    with _store(given.store) as objects:
        one_pass, ticks = fan_out(objects)
        measured = measure(objects, towns=given.towns, rounds=given.rounds)
    assert measured.lost == 0, f"{measured.lost} events were lost"
    print(
        f"{measured.ticks} ticks in {measured.seconds:.1f} s: {measured.ticks / measured.seconds:.0f} a second; nothing was lost\n"
    )
    print(
        f"2,000 towns, 60 due: a pass of the dispatcher {one_pass * 1000:.0f} ms (bar 2,000), their ticks {ticks:.1f} s\n"
    )
    print("\n".join(costs(measured)))


if __name__ == "__main__":
    main()

"""`make bench-storage`: what a commit costs at 200 KB, 2, 20 and 100 MB, beside whole-file PUT and Litestream.

Towns lie on SeaweedFS on the loopback. A tick touches about 50 rows: 20 updates spread over the beads, 5 new beads, 20
events, 5 heartbeats. `PUT/commit` counts creates and replaces under ltx/ and head; `bytes` what they carried; `ideal` the
LZ4-compressed pages that the commit changed, `tail` those that changed since the last spill: one PUT a commit means that
a commit carries the tail. The first commits of a town, which publish its first snapshot, are not counted. CPU is all that
a warm worker adds to the tick: open the image, commit, find the changed pages, encode, sign and send; the rows' own SQL is
not in it.
"""

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import lz4.block
from rich.console import Console
from rich.table import Table

from infra.devstack.s3_servers import seaweedfs
from infra.townctl.litestream_check import litestream_program
from shared.adapters.s3_objects import S3Objects
from shared.domain.times import to_text
from shared.images.pages import change_between, some_pages
from shared.ports.object_store import Listing, ObjectStore, StoredObject
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts, TownImage
from shared.storage import layers
from shared.storage.towns import ObjectTownStore
from shared.town import database
from tests.benchmarks.towns import an_aged_town, some_text
from tests.towns import T, TownBuilder

SIZES = {"200 KB": 0, "2 MB": 1_150, "20 MB": 12_900, "100 MB": 65_000}
LARGE = ("20 MB", "100 MB")
WARM_UP = 3


@dataclass
class Counting:
    """An object store that counts what passes through it."""

    inner: ObjectStore
    puts: int = 0
    gets: int = 0
    sent: int = 0
    calls: list[str] = field(default_factory=list)

    @property
    def at_once(self) -> int:
        return self.inner.at_once

    @property
    def waiting(self) -> Self:
        return self

    def get(self, key: str) -> StoredObject | None:
        self.gets += 1
        return self.inner.get(key)

    def get_if_changed(self, key: str, etag: str) -> Any:
        self.gets += 1
        return self.inner.get_if_changed(key, etag)

    def time(self) -> datetime:
        return self.inner.time()

    def start_of(self, key: str, length: int) -> bytes | None:
        self.gets += 1
        return self.inner.start_of(key, length)

    def create(self, key: str, body: bytes) -> str:
        self._count(body)
        return self.inner.create(key, body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        self._count(body)
        return self.inner.replace(key, body, etag)

    def put(self, key: str, body: bytes) -> str:
        return self.inner.put(key, body)

    def delete(self, key: str) -> None:
        self.inner.delete(key)

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        return self.inner.list(prefix, after=after, limit=limit)

    def list_with_bodies(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        return self.inner.list_with_bodies(prefix, after=after, limit=limit)

    def _count(self, body: bytes) -> None:
        self.puts += 1
        self.sent += len(body)


@dataclass(frozen=True)
class Figures:
    """What one size costs."""

    name: str
    image: int
    commits: int
    puts: float
    sent: float
    ideal: float
    tail: float
    cpu_ms: float
    wall_ms: float
    load_ms: float
    load_cpu_ms: float
    load_gets: int


def a_town(beads: int) -> TownBuilder:
    """A town of that many beads."""
    return an_aged_town(beads, live=20, text_of=some_text)


def touch_fifty_rows(sql: database.Database, number: int, *, beads: int) -> None:
    """One tick's worth of writes to a town that began with so many beads, as one transaction."""
    database.begin(sql)
    _write_rows(sql, number, beads=beads)
    database.commit(sql)


def _write_rows(sql: database.Database, number: int, *, beads: int) -> None:
    rng = random.Random(number)
    now = to_text(T + timedelta(seconds=5 * number))
    for _ in range(20):
        sql.execute(
            "UPDATE beads SET updated_at = :now, metadata = :metadata WHERE bead_id = :id",
            {"now": now, "metadata": f'{{"poll":{number}}}', "id": f"old-{rng.randrange(max(beads - 40, 1)):07d}"},
        )
    for each in range(5):
        sql.execute(
            "INSERT INTO beads (bead_id, type, status, title, body, rig_id, created_at, updated_at) "
            "VALUES (:id, 'issue', 'open', 'new', :body, 'rig-1', :now, :now)",
            {"id": f"new-{number:+05d}-{each}", "body": some_text(50_000_000 + number * 5 + each), "now": now},
        )
    for each in range(20):
        sql.execute(
            "INSERT INTO town_events (event_id, seq, event_type, payload, source, created_at, received_at) "
            "VALUES (:id, :seq, 'bead_updated', '{}', 'ingest', :now, :now)",
            {"id": f"e-{number:+05d}-{each}", "seq": 50_000_000 + number * 20 + each, "now": now},
        )
    for each in range(5):
        sql.execute(
            "UPDATE agent_metadata SET last_activity_at = :now WHERE bead_id = :id",
            {"now": now, "id": f"agent-{each:04d}"},
        )


def measure(name: str, beads: int, objects: S3Objects, *, commits: int) -> Figures:
    """Run so many commits of one size."""
    town = a_town(beads)
    counted = Counting(objects)
    store = ObjectTownStore(counted)
    town_id = f"bench-{beads}"
    town.key("id", town_id)
    drive(store.create(town_id, town.image(), _facts(0)))
    base = drive(store.load(town_id))
    cpu: list[float] = []
    wall: list[float] = []
    ideal: list[int] = []
    tails: list[int] = []
    for number in range(1 - WARM_UP, commits + 1):
        if number == 1:
            counted.puts = counted.sent = 0
            cpu, wall, ideal, tails = [], [], [], []
        before = base
        started, used = time.perf_counter(), time.process_time()
        publication = store.publication(base, None)
        published = drive(publication.settled(tuple(call.make() for call in publication.calls)))
        sql = database.open_image(base.content)
        touching = time.process_time()
        database.begin(sql)
        _write_rows(sql, number, beads=beads)
        touching = time.process_time() - touching
        database.commit(sql)
        base = drive(store.commit(base, database.content_of(sql), _facts(WARM_UP + number), published=published))
        database.close(sql)
        cpu.append(time.process_time() - used - touching)
        wall.append(time.perf_counter() - started)
        changed = change_between(before.content, base.content)
        below = base.layers
        assert isinstance(below, layers.Layers)
        assert changed is not None
        ideal.append(_compressed(base, changed))
        tails.append(_compressed(base, below.tail_pages))
    puts, sent = counted.puts, counted.sent
    counted.gets = 0
    loads, load_cpu, loaded = [], [], base
    for _ in range(3):
        started, used = time.perf_counter(), time.process_time()
        loaded = drive(store.load(town_id))
        loads.append(time.perf_counter() - started)
        load_cpu.append(time.process_time() - used)
    assert (loaded.image_digest, loaded.image) == (base.image_digest, base.image)
    return Figures(
        name,
        base.size,
        commits,
        puts / commits,
        sent / commits,
        statistics.mean(ideal),
        statistics.mean(tails),
        statistics.median(cpu) * 1000,
        statistics.median(wall) * 1000,
        min(loads) * 1000,
        min(load_cpu) * 1000,
        counted.gets // 3,
    )


def whole_file(beads: int, objects: S3Objects, *, commits: int) -> tuple[float, float]:
    """Bytes and milliseconds a commit of the naive way: PUT the whole file each time."""
    town = a_town(beads)
    spent, sent = [], []
    etag = objects.create(f"naive/{beads}", town.image())
    for number in range(1, commits + 1):
        touch_fifty_rows(town.sql, number, beads=beads)
        started = time.perf_counter()
        image = database.image_of(town.sql)
        etag = objects.replace(f"naive/{beads}", image, etag)
        spent.append(time.perf_counter() - started)
        sent.append(len(image))
    return statistics.mean(sent), statistics.median(spent) * 1000


def litestream_once(beads: int, *, bucket: str, endpoint: str, environment: dict[str, str]) -> float | None:
    """Milliseconds of one `litestream replicate -once` after a tick, as a cold worker would run it; None if it failed."""
    program = litestream_program()
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "town.db"
        path.write_bytes(a_town(beads).image())
        config = Path(folder) / "litestream.yml"
        config.write_text(
            f"dbs:\n  - path: {path}\n    replica:\n      type: s3\n      bucket: {bucket}\n      path: once/{beads}\n"
            f"      endpoint: {endpoint}\n      region: us-east-1\n      force-path-style: true\n"
        )
        env = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"} | environment
        started = time.perf_counter()
        run = subprocess.run(
            [program, "replicate", "-once", "-config", str(config)], capture_output=True, check=False, env=env
        )
        return (time.perf_counter() - started) * 1000 if run.returncode == 0 else None


def _facts(number: int) -> CommitFacts:
    return CommitFacts(f"{number}-bench", number, T + timedelta(seconds=5 * number), None, 1)


def _compressed(image: TownImage, numbers: Iterable[int]) -> int:
    pages = some_pages(image.content, numbers, page_size=database.PAGE_SIZE)
    return sum(len(lz4.block.compress(page, store_size=False)) for page in pages.values())


def _bars(figures: list[Figures]) -> Iterator[tuple[str, str, bool]]:
    by_name = {each.name: each for each in figures}
    puts = max(each.puts for each in figures if each.name not in LARGE)
    yield "PUTs a commit <= 1.2 (240 commits)", f"{puts:.2f}", puts <= 1.2
    for each in figures:
        ratio = each.sent / each.tail
        yield (
            f"bytes a commit <= 2 x the compressed pages changed since the last spill, {each.name}",
            f"{ratio:.2f}",
            ratio <= 2,
        )
        ratio = each.sent / each.ideal
        yield f"... and to those that the commit itself changed, {each.name}", f"{ratio:.2f}", ratio <= 2
    for name, bar in (("2 MB", 5), ("20 MB", 15)):
        if name in by_name:
            yield (
                f"warm commit CPU <= {bar} ms at {name}",
                f"{by_name[name].cpu_ms:.1f} ms",
                by_name[name].cpu_ms <= bar,
            )
    if "20 MB" in by_name:
        yield "cold load <= 100 ms at 20 MB", f"{by_name['20 MB'].load_ms:.0f} ms", by_name["20 MB"].load_ms <= 100


def main() -> None:
    """Measure every size and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=240)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES))
    chosen = parser.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as folder, seaweedfs(Path(folder)) as server:
        os.environ.update(server.environment)
        figures, ratios = [], Table(title="Against others, the same ticks in the same run")
        for heading in (
            "size",
            "ours: bytes/commit",
            "ours: ms",
            "whole file: bytes",
            "whole file: ms",
            "bytes ratio",
            "litestream -once: ms",
        ):
            ratios.add_column(heading, justify="right")
        for name in chosen.sizes:
            commits = min(20, chosen.commits) if name in LARGE else chosen.commits
            bucket = server.make_bucket(f"bench-{SIZES[name]}")
            objects = S3Objects(bucket, endpoint_url=server.endpoint_url)
            one = measure(name, SIZES[name], objects, commits=commits)
            figures.append(one)
            naive_bytes, naive_ms = whole_file(SIZES[name], objects, commits=min(commits, 20))
            once = litestream_once(
                SIZES[name], bucket=bucket, endpoint=server.endpoint_url, environment=server.environment
            )
            ratios.add_row(
                name,
                f"{one.sent:,.0f}",
                f"{one.wall_ms:.1f}",
                f"{naive_bytes:,.0f}",
                f"{naive_ms:.1f}",
                f"{naive_bytes / one.sent:.1f}",
                "failed" if once is None else f"{once:.0f}",
            )
            server.empty(bucket)
    table = Table(title="A commit of a tick that touches 50 rows")
    for heading in (
        "size",
        "image",
        "commits",
        "PUT/commit",
        "bytes/commit",
        "ideal bytes",
        "tail bytes",
        "CPU ms",
        "wall ms",
        "cold load ms",
        "its CPU ms",
        "GETs",
    ):
        table.add_column(heading, justify="right")
    for one in figures:
        table.add_row(
            one.name,
            f"{one.image:,}",
            str(one.commits),
            f"{one.puts:.2f}",
            f"{one.sent:,.0f}",
            f"{one.ideal:,.0f}",
            f"{one.tail:,.0f}",
            f"{one.cpu_ms:.1f}",
            f"{one.wall_ms:.1f}",
            f"{one.load_ms:.0f}",
            f"{one.load_cpu_ms:.0f}",
            str(one.load_gets),
        )
    console.print(f"load average of this machine now: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    console.print(table)
    console.print(ratios)
    held = Table(title="Bars of the storage issue")
    for heading in ("bar", "measured", "held"):
        held.add_column(heading)
    for bar, figure, holds in _bars(figures):
        held.add_row(bar, figure, "yes" if holds else "NO")
    console.print(held)


if __name__ == "__main__":
    main()

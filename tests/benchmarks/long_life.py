"""A busy town through the real loop for months of its own time: how large its image gets, and what it writes.

    python -m tests.benchmarks.long_life --days 90 [--hours 24] [--agents 50] [--issues 20] [--plot FILE.svg] [--tables]

Fifty agents in five rigs, twenty issues an hour, a pass every 60 s, pull requests that are reviewed and merge themselves, and
now and then an agent that crashes, gives up or asks for changes. Nothing here waits and no clock is read: the same seed makes
the same town.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.orders import StartOrder
from shared.domain.senders import Sender
from shared.domain.times import to_text
from shared.images import first_image
from shared.images.pages import bytes_of
from shared.intake import ingest
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts
from shared.runner.sweep import sweep
from shared.storage import keys
from shared.storage.restore import KeptPast
from shared.storage.retention import Keep, forget
from shared.town import database
from tests.benchmarks.pages_by_table import PagesByTable
from tests.counting import CountingObjects
from tests.fakes import FakeClock
from tests.towns import T
from tests.worlds import World, in_order

TOWN: Final = "old-town"
RIGS: Final = 5
BODY: Final = 1200
PASS: Final = timedelta(seconds=60)
PASSES_A_DAY: Final = timedelta(days=1) // PASS
MINUTE: Final = timedelta(minutes=1)
COARSE: Final = timedelta(minutes=10)
"""The pass of the hours that `--hours` leaves out: what is stored grows as it does with passes of a minute."""
WHOLE_DAY: Final = 11
"""The first day of which the image must be flat is at full pace throughout, whatever `--hours` says: its spills and snapshots are
those of a day. In a shorter life it is the last day.
"""
MIB: Final = 1 << 20
WORDS: Final = (
    "the",
    "gate",
    "oils",
    "itself",
    "when",
    "nobody",
    "looks",
    "while",
    "every",
    "bell",
    "of",
    "that",
    "mill",
    "rings",
)


OF_A_COMMIT: Final = ("head", "spill", "snapshot", "patches", "journal", "archive")


@dataclass
class Day:
    """What one day came to. Sizes are in bytes. Objects are counted while the loop is at full pace, by kind."""

    day: int
    image: int = 0
    written: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    """Of the store, while the loop is at full pace."""
    stored: int = 0
    is_whole: bool = False
    """Whether all of it was at full pace: only then its spills and snapshots are those of a day."""
    live: int = 0
    closed: int = 0

    @property
    def commits(self) -> int:
        """Each commit writes a head."""
        return self.written["head"]

    @property
    def calls_a_day(self) -> float:
        """Calls of the store as of a day that is at full pace throughout."""
        return self.calls * PASSES_A_DAY / max(self.commits, 1)

    @property
    def size_of_all(self) -> int:
        """Everything that commits wrote: heads, and the immutable objects below and beside them."""
        return sum(self.sizes[kind] for kind in OF_A_COMMIT)

    @property
    def size_of_frequent(self) -> int:
        """The same without spills and snapshots, of which one hour has none or too many."""
        return self.size_of_all - self.sizes["spill"] - self.sizes["snapshot"]

    def per_commit(self, size: int) -> float:
        """A size as that of one commit, in KB."""
        return size / max(self.commits, 1) / 1000


class MeasuredObjects(MemoryObjects):
    """The store in memory, which counts what is written by kind of object."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(now=clock.now)
        self.day = Day(0)
        self.is_full_pace = True

    def create(self, key: str, body: bytes) -> str:
        self._written(key, body)
        return super().create(key, body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        self._written(key, body)
        return super().replace(key, body, etag)

    def put(self, key: str, body: bytes) -> str:
        self._written(key, body)
        return super().put(key, body)

    def _written(self, key: str, body: bytes) -> None:
        if not self.is_full_pace:
            return
        kind = key.split("/")[2] if key.startswith(keys.TOWNS) else ""
        if kind == "ltx":
            kind = "snapshot" if keys.is_snapshot(key) else "spill"
        self.day.written[kind] += 1
        self.day.sizes[kind] += len(body)

    def stored(self) -> int:
        """How many objects there are."""
        return len(self._objects)


@dataclass
class _Worker:
    """An agent's process: it works until `until` (in passes), then reports."""

    order: StartOrder
    until: int
    ending: str
    events: int = 0
    tokens: int = 0

    @property
    def sender(self) -> Sender:
        return Sender(self.order.scope, self.order.agent_id, self.order.generation, key="k1", token="t" * 16)


class LongLife:
    """The town, its people and its agents."""

    def __init__(self, *, agents: int, issues_an_hour: int, full_hours: int = 24, seed: int = 1) -> None:
        self._random = Random(seed)
        self._clock = FakeClock(T)
        self.objects = MeasuredObjects(self._clock)
        self._counting: Any = CountingObjects(self.objects)
        self.world = World(objects=self._counting, clock=self._clock, metrics=None)  # type: ignore[arg-type]
        self._issues = issues_an_hour
        self._full_hours = range(24 - full_hours, 24)
        self._work = timedelta(hours=(agents - RIGS) / issues_an_hour) // MINUTE
        self._workers: dict[tuple[str, int], _Worker] = {}
        self._minute = 0
        self.is_measured = False
        """Whether the pages of each commit at full pace are told apart by table."""
        self.pages = PagesByTable()
        image = first_image.found(TOWN, config={"merge_strategy": "pr"})
        facts = CommitFacts("0-founded", 0, T, T, database.SCHEMA_VERSION)
        drive(self.world.store.create(TOWN, image, facts))
        for number in range(RIGS):
            rig = {
                "rig_id": f"rig-{number}",
                "name": f"part-{number}",
                "git_url": f"https://github.com/acme/part-{number}.git",
            }
            self._post(None, ("rig_registered", None, None, rig))

    def days(self, count: int) -> Iterator[Day]:
        """Live through so many days, one of them at full pace throughout (WHOLE_DAY); yields each one when it is over."""
        for number in range(1, count + 1):
            self.objects.day = day = Day(
                number, is_whole=number == min(count, WHOLE_DAY) or len(self._full_hours) == 24
            )
            for hour in range(24):
                pace = PASS if day.is_whole else self.pace(hour)
                self._counting.reset()
                in_order(sweep(self.world.around))
                for _ in range(timedelta(hours=1) // pace):
                    self.one_pass(pace)
                if pace == PASS:
                    day.calls += self._counting.requests.total()
            in_order(forget(KeptPast(self._counting, self._counting, TOWN), Keep(), now=self._clock.at))
            image = self.world.image(TOWN)
            with database.opened(image.content) as sql:
                day.image = image.size
                day.live, day.closed = sql.execute(
                    "SELECT SUM(status NOT IN ('closed', 'failed')), SUM(status IN ('closed', 'failed')) FROM beads"
                ).fetchone()
            day.stored = self.objects.stored()
            yield day

    def pace(self, hour: int) -> timedelta:
        """How often the loop passes in an hour of the day."""
        return PASS if hour in self._full_hours else COARSE

    def one_pass(self, every: timedelta = PASS) -> None:
        """What people and agents say until the next pass of the loop, and that pass."""
        before = bytes_of(self.world.image(TOWN).content) if self.is_measured else b""
        self._clock.at += every
        self._minute += every // MINUTE
        self.objects.is_full_pace = every == PASS
        for _ in range(every // MINUTE):
            self._people()
        self._beats()
        for key, worker in list(self._workers.items()):
            self._lives(key, worker)
        self.world.runtime.calls.clear()
        self.world.forge.calls.clear()
        for run in self.world.look().runs:
            if run.trouble is not None:
                raise run.trouble
        for order in self.world.runtime.orders:
            self._begins(order)
        self.world.runtime.orders.clear()
        if self.is_measured and every == PASS:
            self.pages.add(before, bytes_of(self.world.image(TOWN).content))

    # people

    def _people(self) -> None:
        if self._random.random() < self._issues / 60:
            bead = {
                "bead_id": f"{self._random.getrandbits(128):032x}",
                "type": "issue",
                "title": self._text(60),
                "body": self._text(BODY),
                "rig_id": f"rig-{self._random.randrange(RIGS)}",
            }
            self._post(Sender("operator", key="k1", token="o" * 16), ("bead_created", None, None, {"bead": bead}))

    def _text(self, length: int) -> str:
        return " ".join(self._random.choices(WORDS, k=length // 5 + 1))[:length].strip()

    # agents

    def _begins(self, order: StartOrder) -> None:
        if order.generation == 0:
            return
        review = order.prompt_kind in ("review", "landing")
        length = self._random.randrange(4, 9) if review else int(self._work * self._random.uniform(0.6, 1.4))
        drawn = self._random.random()
        ending = "crashes" if drawn < 0.03 else "gives_up" if drawn < 0.04 else "done"
        if ending == "crashes":
            length = self._random.randrange(1, length + 1)
        self._workers[order.agent_id, order.generation] = _Worker(order, self._minute + max(length, 1), ending)

    def _beats(self) -> None:
        """The container's control server sends the signs of life of all its agents twice a minute."""
        for seconds in (45, 15):
            at = self._clock.at - timedelta(seconds=seconds)
            beats = [
                (
                    "agent_heartbeat",
                    worker.order.agent_id,
                    None,
                    {
                        "generation": worker.order.generation,
                        "container_instance_id": "i-1",
                        "last_event_at": to_text(at - timedelta(seconds=self._random.randrange(20))),
                        "last_event_type": self._random.choice(("text", "tool_use", "tool_result")),
                        "active_tools": self._random.choice(([], ["bash"], ["edit"])),
                    },
                )
                for worker in self._workers.values()
            ]
            for start in range(0, len(beats), 100):
                self._post(Sender("container", key="k1", token="c" * 16), *beats[start : start + 100], wake=False)

    def _lives(self, key: tuple[str, int], worker: _Worker) -> None:
        order = worker.order
        said: list[tuple[str, str | None, str | None, dict[str, Any]]] = []
        if self._random.random() < 0.2:
            said.append(("agent_status", order.agent_id, None, {"message": self._text(80)}))
        if self._random.random() < 0.2:
            worker.tokens += self._random.randrange(1000, 50_000)
            usage = {
                "model": "a-model",
                "input_tokens": worker.tokens,
                "output_tokens": worker.tokens // 10,
                "cached_tokens": worker.tokens * 5,
                "cost_micros": worker.tokens * 3,
                "generation": order.generation,
            }
            said.append(("agent_usage", order.agent_id, None, usage))
        if self._minute >= worker.until:
            self._workers.pop(key)
            said += self._ends(worker)
        if said:
            self._post(worker.sender, *said)

    def _ends(self, worker: _Worker) -> list[tuple[str, str | None, str | None, dict[str, Any]]]:
        order = worker.order
        here = {"generation": order.generation}
        if worker.ending == "crashes":
            self.world.runtime.exits(order.agent_id, reason="crashed", town_id=TOWN)
            return []
        self.world.runtime.exits(order.agent_id, town_id=TOWN)
        if worker.ending == "gives_up":
            return [("agent_completed", order.agent_id, None, {**here, "status": "failed", "reason": self._text(120)})]
        done: dict[str, Any] = {
            **here,
            "branch": order.branch or f"gt/{order.agent_id[:8]}",
            "summary": self._text(300),
        }
        if order.opens_pr_into is not None and order.rig is not None and order.bead is not None:
            pr_url = order.pr_url or f"https://github.com/acme/{order.rig.name}/pull/{int(order.bead.id[:7], 16)}"
            self.world.forge.opens(
                pr_url, head=done["branch"], base=order.opens_pr_into, head_sha=f"{self._random.getrandbits(160):040x}"
            )
            done["pr_url"] = pr_url
        elif order.pr_url is not None:
            done["pr_url"] = order.pr_url
        return [
            ("agent_done", order.agent_id, None, done),
            ("agent_completed", order.agent_id, None, {**here, "status": "completed"}),
        ]

    # the way in

    def _post(
        self, sender: Sender | None, *events: tuple[str, str | None, str | None, dict[str, Any]], wake: bool = True
    ) -> None:
        if not events:
            return
        bodies = []
        for event_type, agent_id, bead_id, payload in events:
            body = {
                "event_id": f"{self._random.getrandbits(128):032x}",
                "event_type": event_type,
                "agent_id": agent_id,
                "bead_id": bead_id,
                "payload": payload,
            }
            bodies.append({name: value for name, value in body.items() if value is not None})
        now = self._clock.at
        batch = ingest.batch_of(bodies, received_at=now, sent_by=sender)
        drive(
            self.world.store.post(
                TOWN, batch.body, received_at=now, batch_id=batch.id, wake=wake and not batch.transient_only
            )
        )


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure, what it may be at most, and its unit."""

    name: str
    measured: float
    at_most: float
    unit: str = ""

    @property
    def held(self) -> bool:
        """Whether the figure is within the bar."""
        return self.measured <= self.at_most


def bars(days: list[Day]) -> list[Bar]:
    """The figures that a town may have for years. The image must be flat after day 10."""
    settled = days[9:] or days[-1:]
    whole = [day for day in days if day.is_whole]
    commits = sum(day.commits for day in whole) or 1
    smallest, largest = min(day.image for day in settled), max(day.image for day in settled)
    return [
        Bar("largest image", max(day.image for day in days) / MIB, 16, "MiB"),
        Bar("its growth after day 10", 100 * (largest - smallest) / smallest, 10, "%"),
        Bar("head of a commit", sum(day.sizes["head"] for day in whole) / commits / 1000, 60, "KB"),
        Bar("all objects of a commit", sum(day.size_of_all for day in whole) / commits / 1000, 60, "KB"),
        Bar("snapshots a day", max((day.written["snapshot"] for day in whole), default=0), 12),
    ]


WIDE: Final = 720
HIGH: Final = 170


def plot(days: list[Day]) -> str:
    """The image, what a commit writes, the objects and the calls, day by day, as SVG."""
    lines = (
        ("image, MiB", "#2266aa", [day.image / MIB for day in days]),
        (
            "bytes of a commit without spills and snapshots, KB",
            "#aa4422",
            [day.per_commit(day.size_of_frequent) for day in days],
        ),
        ("objects in the store", "#447722", [float(day.stored) for day in days]),
        ("calls of the store a day", "#775599", [day.calls_a_day for day in days]),
    )
    height = len(lines) * HIGH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDE}" height="{height}" fill="white"/>',
    ]
    for row, (name, colour, values) in enumerate(lines):
        top, most, tall = row * HIGH + 30, max(*values, 1), HIGH - 60
        step = (WIDE - 90) / max(len(values) - 1, 1)
        points = " ".join(
            f"{70 + at * step:.1f},{top + tall * (1 - value / most):.1f}" for at, value in enumerate(values)
        )
        parts += [
            f'<text x="70" y="{top - 10}">{name}</text>',
            f'<text x="64" y="{top + 8}" text-anchor="end">{most:,.0f}</text>',
            f'<text x="64" y="{top + tall}" text-anchor="end">0</text>',
            f'<text x="{WIDE - 20}" y="{top + tall + 16}" text-anchor="end">day {len(values)}</text>',
            f'<path d="M70,{top} V{top + tall} H{WIDE - 20}" fill="none" stroke="#888888"/>',
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
        ]
    return "\n".join((*parts, "</svg>", ""))


def main() -> None:
    """Live, and print a line for each day."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--days", type=int, default=10)
    asked.add_argument("--agents", type=int, default=50)
    asked.add_argument("--issues", type=int, default=20)
    asked.add_argument(
        "--hours",
        type=int,
        default=24,
        help="of each day but the 11th at full pace, the rest with a pass every 10 minutes",
    )
    asked.add_argument("--plot", type=Path, help="an SVG file for the figures of each day")
    asked.add_argument("--tables", action="store_true", help="tell the bytes of the last day apart by table")
    given = asked.parse_args()
    life = LongLife(agents=given.agents, issues_an_hour=given.issues, full_hours=given.hours)
    print(
        "day  image MiB  KB a commit: head patches  spills snapshots journal  commits snapshots  calls a day  live closed objects"
    )
    days: list[Day] = []
    life.is_measured = given.tables and given.days == 1
    for day in life.days(given.days):
        days.append(day)
        life.is_measured = given.tables and day.day == given.days - 1
        sizes = [day.per_commit(day.sizes[kind]) for kind in ("head", "patches", "spill", "snapshot", "journal")]
        print(
            f"{day.day:3} {day.image / MIB:10.2f} {day.per_commit(day.size_of_all):12.1f} {sizes[0]:5.1f} "
            f"{sizes[1]:7.1f} {sizes[2]:7.1f} {sizes[3]:9.1f} {sizes[4]:7.1f} "
            f"{day.commits:8} {day.written['snapshot']:9} {day.calls_a_day:12.0f} "
            f"{day.live:5} {day.closed:6} {day.stored:7}",
            flush=True,
        )
        if given.plot:  # each day, so that a run that is stopped leaves a plot of what it has lived through
            given.plot.write_text(plot(days), encoding="utf-8")
    if given.tables:
        print(*life.pages.lines(bytes_of(life.world.image(TOWN).content)), sep="\n")
    judged = bars(days)
    for bar in judged:
        print(
            f"{bar.name}: {bar.measured:.1f} {bar.unit}, at most {bar.at_most} {bar.unit}: {'held' if bar.held else 'not held'}"
        )
    sys.exit(0 if all(bar.held for bar in judged) else 1)


if __name__ == "__main__":
    main()

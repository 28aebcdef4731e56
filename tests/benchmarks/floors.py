"""What the SQL of a tick alone costs, as a floor beside the figures of today.

`floor/` holds towns of the release before "Fast and cheap", and every statement of one of its ticks with the parameters: with a
heartbeat of every second agent, and without any. The floor is the time of a bare loop over them on a fresh connection. It stays the
same whatever a tick asks today, so fewer statements do not lower it.
"""

import gzip
import json
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from shared.domain.report import TickReport
from tests.benchmarks.towns import LIVE, an_aged_town, heartbeat, settle_in, statements_of_a_tick
from tests.towns import T, TownBuilder

_RECORDED: Final = Path(__file__).parent / "floor"
_BARS: Final = {10: (0.8, 0.9), 100: (1.0, 1.5), 1_000: (1.2, 2.0)}
"""By live agents: what a tick may take at most, in floors, with heartbeats and without."""
_STATEMENTS: Final = (45, 10)
"""How many statements a tick may make, and how many more for each action."""
_ACTION_MS: Final = 0.15
_ROUNDS: Final = 20
_RIGS: Final = 60

Bar = tuple[str, str, bool]


@dataclass(frozen=True, slots=True)
class Floor:
    """A recorded tick: the image before it, and its statements with their parameters."""

    image: bytes
    calls: tuple[tuple[str, list[object] | dict[str, object]], ...]

    @classmethod
    def of(cls, live: int, *, beats: bool) -> "Floor":
        """The tick of a town with so many live agents."""
        told = json.loads(gzip.decompress((_RECORDED / f"{live}.json.gz").read_bytes()))
        made = sqlite3.connect(":memory:")
        made.executescript("".join(told["town"]))
        tick = told["beats" if beats else "quiet"]
        return cls(made.serialize(), tuple((tick["texts"][number], given) for number, given in tick["calls"]))

    def milliseconds(self) -> float:
        """The processor time of the bare loop."""
        sql = sqlite3.connect(":memory:", isolation_level=None)
        sql.deserialize(self.image)
        sql.execute("SELECT 1 FROM sqlite_schema").fetchone()
        began = time.process_time()
        for text, given in self.calls:
            sql.execute(text, given).fetchall()
        spent = time.process_time() - began
        sql.close()
        return 1000 * spent


def bars() -> Iterator[Bar]:
    """Each bar, what was measured, and whether it is held."""
    for live, at_most in _BARS.items():
        for beats, most in zip((True, False), at_most, strict=True):
            ours, floor = _beside(live, beats=beats)
            what = f"a heartbeat of every second of {live:,}" if beats else f"{live:,} live agents, no events"
            yield (
                f"tick <= {most} x its floor, {what}",
                f"{ours / floor:.2f} ({ours:.2f} : {floor:.2f} ms)",
                ours <= most * floor,
            )
    yield from _of_actions()
    yield from _of_growth()


def _beside(live: int, *, beats: bool) -> tuple[float, float]:
    """The medians of ticks of today and of the floor, in turns, in milliseconds of the processor."""
    town, floor = _a_town(live), Floor.of(live, beats=beats)
    ours, floors = [], []
    for number in range(_ROUNDS):
        at = T + timedelta(seconds=30 + number)
        events = [heartbeat(agent, at) for agent in range(number % 2, live, 2)] if beats else []
        ours.append(_spent(partial(town.tick, *events, at=at))[0])
        floors.append(floor.milliseconds())
    return statistics.median(ours), statistics.median(floors)


def _a_town(live: int) -> TownBuilder:
    return settle_in(an_aged_town(2 * live, live=live))


def _spent(tick: Callable[[], TickReport]) -> tuple[float, TickReport]:
    began = time.process_time()
    report = tick()
    return 1000 * (time.process_time() - began), report


def _of_actions() -> Iterator[Bar]:
    """What dispatches cost: the largest action, which makes an agent, hooks it and starts it."""
    base, per_action = _STATEMENTS
    for count in (0, 40):
        statements = statements_of_a_tick(_with_ready_beads(count), at=_later(0))
        most = base + count * per_action
        yield f"statements <= {most} with {count} dispatches", f"{statements:,}", statements <= most
    without, with_40 = (min(_tick_ms(count) for _ in range(5)) for count in (0, 40))
    each = (with_40 - without) / 40
    yield f"a dispatch <= {_ACTION_MS} ms", f"{each:.2f} ms", each <= _ACTION_MS
    thousands = _tick_ms(3_000)
    yield "3,000 dispatches in a tick <= 0.8 s", f"{thousands / 1000:.2f} s", thousands <= 800


def _of_growth() -> Iterator[Bar]:
    """Nothing is quadratic in what is live."""
    per_row = {live: _quiet_ms(live) / live for live in (100, 1_000, 5_000)}
    worst = max(per_row[1_000] / per_row[100], per_row[5_000] / per_row[1_000])
    told = ", ".join(f"{1000 * each:.1f}" for each in per_row.values())
    yield (
        "a tick's time per live agent grows <= 1.5 x from 100 to 1,000 to 5,000",
        f"{worst:.2f} ({told} us)",
        worst <= 1.5,
    )


def _quiet_ms(live: int) -> float:
    town = _a_town(live)
    return min(_spent(partial(town.tick, at=_later(number)))[0] for number in range(5))


def _later(number: int) -> datetime:
    return T + timedelta(seconds=30 + number)


def _with_ready_beads(count: int) -> TownBuilder:
    """A town of a hundred live agents in which so many beads can be started."""
    town = an_aged_town(2 * LIVE, live=LIVE).config(max_polecats_per_rig=50)
    for rig in range(_RIGS):
        town.rig(f"r{rig}", name=f"rig {rig}")
    settle_in(town)
    for number in range(count):
        town.bead(f"ready-{number:04}", rig_id=f"r{number % _RIGS}")
    return town


def _tick_ms(count: int) -> float:
    town = _with_ready_beads(count)
    spent, report = _spent(lambda: town.tick(at=_later(0)))
    assert sum(each.action["type"] == "dispatch_agent" for each in report.actions) == count
    return spent

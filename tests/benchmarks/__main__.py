"""`make bench`: what a tick costs at 100 to 100,000 beads with the same 100 live agents, beside the bars of design section 8; what
replay costs; and what a tick costs beside the SQL of an older one.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from rich.console import Console
from rich.table import Table

from shared.domain.tick import TickInput
from shared.engine import drain, invariants, reconcile, tick
from shared.engine.drain import error_text
from shared.town import database, inbox
from shared.town.reading import TownReader
from shared.town.town import Town
from tests.benchmarks import floors, replay
from tests.benchmarks.towns import LIVE, an_aged_town, events_to_drain, heartbeat, settle_in, statements_of_a_tick
from tests.towns import T, TownBuilder

SIZES = (100, 1_000, 10_000, 100_000)
_DRAINED = 20


@dataclass(frozen=True)
class Figures:
    """Medians of one size; times in milliseconds."""

    beads: int
    image_mb: float
    drain: float
    rules: float
    invariants: float
    whole: float
    statements: int

    @property
    def core(self) -> float:
        """Drain, rules and invariants together."""
        return self.drain + self.rules + self.invariants


def measure(beads: int, *, rounds: int) -> Figures:
    """The figures of a town of so many beads, of which 2 x 100 are live."""
    town = settle_in(an_aged_town(beads + LIVE))
    return Figures(
        beads=beads,
        image_mb=len(town.image()) / 1e6,
        drain=_median_ms(lambda: _drain(town), rounds),
        rules=_median_ms(lambda: _rules(town), rounds),
        invariants=_median_ms(lambda: _invariants(town), rounds),
        whole=_whole_tick_ms(town, rounds),
        statements=statements_of_a_tick(town, at=town.reports[-1].input.now + timedelta(seconds=5)),
    )


def _median_ms(measured: Callable[[], float], rounds: int) -> float:
    measured()
    return statistics.median(measured() for _ in range(rounds)) * 1000


def _open(town: TownBuilder) -> Town:
    reader, about = tick.current_state(town.sql, _given(town), town_id=town.town_id)
    opened = Town(sql=town.sql, tick=about)
    opened.next_event_seq = 10_000_000
    opened.next_audit_seq = 10_000_000
    opened.next_effect_seq = 10_000_000
    assert reader is not None
    return opened


def _given(town: TownBuilder) -> TickInput:
    return TickInput(
        tick_no=town.tick_no + 1,
        tick_id=f"{town.tick_no + 1}-bench",
        now=T + timedelta(seconds=20),
        code_version="bench",
        sqlite_version=database.SQLITE_VERSION,
        config_digest="",
        prev_image_digest="",
    )


def _drain(town: TownBuilder) -> float:
    database.begin(town.sql)
    opened = _open(town)
    for envelope in events_to_drain(_DRAINED):
        inbox.store(opened, envelope)
    start = time.perf_counter()
    drained = drain.pending_events(opened, previous_tick_at=None)
    spent = time.perf_counter() - start
    database.rollback(town.sql)
    assert drained.processed >= _DRAINED, drained
    return spent


def _rules(town: TownBuilder) -> float:
    opened = _open(town)
    start = time.perf_counter()
    reader = TownReader(town.sql, opened.tick.config, {})
    decided = reconcile.decide(reader, opened.tick)
    spent = time.perf_counter() - start
    assert decided.failed_rules == []
    return spent


def _invariants(town: TownBuilder) -> float:
    opened = _open(town)
    reader = TownReader(town.sql, opened.tick.config, {})
    reconcile.decide(reader, opened.tick)
    database.begin(town.sql)
    start = time.perf_counter()
    checked = invariants.check(opened, reader, error_text=error_text)
    spent = time.perf_counter() - start
    database.rollback(town.sql)
    assert checked.open == []
    return spent


def _whole_tick_ms(town: TownBuilder, rounds: int) -> float:
    """A tick with the heartbeats of a third of the agents, committed into the image."""
    spent = []
    for number in range(rounds):
        at = T + timedelta(seconds=30 + 5 * number)
        beats = [heartbeat(agent, at) for agent in range(LIVE) if agent % 3 == number % 3]
        start = time.perf_counter()
        town.tick(*beats, at=at)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent) * 1000


def events_per_second(count: int = 10_000) -> tuple[float, int]:
    """Events a second from a backlog in whole ticks, rules and journal included, and the ticks that it takes."""
    town = settle_in(an_aged_town(1_000))
    backlog = events_to_drain(count)
    ticks = 0
    start = time.perf_counter()
    for first in range(0, count, 1_000):
        town.tick(*backlog[first : first + 1_000], at=T + timedelta(seconds=20 + 5 * ticks), more_waiting=True)
        ticks += 1
    return count / (time.perf_counter() - start), ticks


def applied_per_second(count: int = 5_000) -> float:
    """Events that the drain applies a second: savepoint, read, apply, mark; without the rules of the same ticks."""
    town = settle_in(an_aged_town(1_000))
    database.begin(town.sql)
    opened = _open(town)
    for envelope in events_to_drain(count):
        inbox.store(opened, envelope)
    start = time.perf_counter()
    drained = drain.pending_events(opened, previous_tick_at=None)
    spent = time.perf_counter() - start
    database.rollback(town.sql)
    assert drained.processed == count
    return count / spent


def main() -> None:
    """Print the table and say of each bar whether it is held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    console = Console()
    table = Table(title=f"One tick, {LIVE} live agents and issues, the rest history (medians of {rounds}, ms)")
    for heading in (
        "beads",
        "image MB",
        f"drain {_DRAINED} events",
        "rules",
        "invariants",
        "sum",
        "whole tick",
        "statements",
    ):
        table.add_column(heading, justify="right")
    measured = [measure(beads, rounds=rounds) for beads in SIZES]
    for row in measured:
        times = (f"{value:.2f}" for value in (row.drain, row.rules, row.invariants, row.core, row.whole))
        table.add_row(f"{row.beads:,}", f"{row.image_mb:.1f}", *times, str(row.statements))
    console.print(table)
    in_whole_ticks, ticks = events_per_second()
    applied = applied_per_second()
    slowest, quickest = max(row.core for row in measured), min(row.core for row in measured)
    bars = (
        ("drain + rules + invariants <= 1.6 ms", f"{slowest:.2f} ms", slowest <= 1.6),
        ("largest : smallest <= 3", f"{slowest / quickest:.2f}", slowest / quickest <= 3),
        ("whole tick <= 5 ms at 1,000 beads", f"{measured[1].whole:.2f} ms", measured[1].whole <= 5),
        ("whole tick <= 10 ms at 100,000 beads", f"{measured[3].whole:.2f} ms", measured[3].whole <= 10),
        (
            "statements <= 60",
            str(max(row.statements for row in measured)),
            max(row.statements for row in measured) <= 60,
        ),
        ("event applies >= 30,000/s", f"{applied:,.0f}/s", applied >= 30_000),
        ("10,000 events drain in <= 12 ticks", f"{ticks}, at {in_whole_ticks:,.0f}/s with all else", ticks <= 12),
        *_replay_bars(),
    )
    held = Table(title="Bars of design section 8")
    for heading in ("bar", "measured", "held"):
        held.add_column(heading)
    for bar, figure, holds in bars:
        held.add_row(bar, figure, "yes" if holds else "NO")
    console.print(held)
    beside = Table(
        title="Ticks beside the SQL of the release before, in a bare loop (medians, processor time, in turns)"
    )
    for heading in ("bar", "measured", "held"):
        beside.add_column(heading)
    for bar, figure, holds in (*_core_bars(rounds), *floors.bars()):
        beside.add_row(bar, figure, "yes" if holds else "NO")
    console.print(beside)


def _core_bars(rounds: int) -> Iterator[tuple[str, str, bool]]:
    """The rules alone, and replays of ticks that apply many heartbeats."""
    for live, most in ((LIVE, 0.75), (1_000, 7.0)):
        town = settle_in(an_aged_town(2 * live, live=live))
        spent = _median_ms(partial(_rules, town), rounds)
        yield f"rules <= {most} ms, {live:,} live agents", f"{spent:.2f} ms", spent <= most
    day = replay.replay_of(replay.a_day(live=LIVE, days=0.1, beats=50), live=LIVE)
    yield "replay >= 500 ticks/s, 100 live agents, 50 heartbeats a tick", f"{day.rate:,.0f}/s", day.rate >= 500


def _replay_bars() -> Iterator[tuple[str, str, bool]]:
    """Replay of a day: with as many live agents as a town of 1,000 beads may have, and with a hundred."""
    for live in (10, LIVE):
        day = replay.replay_of(replay.a_day(live=live), live=live)
        yield f"replay >= 1,000 ticks/s, 1,000 beads, {live} live agents", f"{day.rate:,.0f}/s", day.rate >= 1_000
        yield f"24 h at a tick a minute <= 2 s, {live} live agents", f"{day.seconds:.2f} s", day.seconds <= 2
    one, four = (replay.peak_megabytes(replay.a_day(live=10, days=days), live=10) for days in (1, 4))
    yield "memory of a replay of 4 days : 1 day <= 1.5", f"{four:.0f} MB : {one:.0f} MB", four / one <= 1.5


if __name__ == "__main__":
    main()

"""Many worlds from many seeds, and what they came to.

A run that is interrupted prints its totals and how to go on with the rest.
"""

import argparse
import gc
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import active_children
from typing import Final

from tests.simulation import coverage
from tests.simulation.simulate import Outcome, simulate
from tests.simulation.single import all_faults, problems_of

_PROGRESS: Final = 100
_OBJECTS_BEFORE_A_LOOK: Final = 200_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds (default: 100)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--minutes", type=float, help="simulated minutes with faults (default: each seed draws them)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--sweep", action="store_true", help="every single fault of a small story instead")
    given = parser.parse_args()
    return _sweep(given.jobs) if given.sweep else _worlds(given)


def _sweep(jobs: int) -> int:
    began = time.perf_counter()
    faults = list(all_faults())
    failed = 0
    with ProcessPoolExecutor(jobs) as pool:
        for problem in pool.map(problems_of, faults, chunksize=8):
            if problem is not None:
                failed += 1
                print(problem, flush=True)
    print(f"{len(faults)} single faults in {time.perf_counter() - began:.1f} s, {failed} with violations")
    return 1 if failed else 0


def _worlds(given: argparse.Namespace) -> int:
    began = time.perf_counter()
    seeds = range(given.start, given.start + given.seeds)
    total = Total()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ProcessPoolExecutor(min(given.jobs, given.seeds), initializer=_begin) as pool:
        try:
            for outcome, seconds in pool.map(partial(_timed, minutes=given.minutes), seeds, chunksize=1):
                total.add(outcome, seconds)
                if outcome.problems:
                    print(outcome.told(), flush=True)
                if total.seeds % _PROGRESS == 0:
                    print(f"seeds {given.start} to {outcome.seed}: {total.ticks} ticks", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            print(f"stopped; the rest: --seeds {given.seeds - total.seeds} --start {given.start + total.seeds}")
    total.tell(time.perf_counter() - began)
    return 1 if total.failed or total.missing else 0


def _timed(seed: int, *, minutes: float | None) -> tuple[Outcome, float]:
    """The outcome of a seed, and the seconds of a processor that it took."""
    began = time.process_time()
    outcome = simulate(seed, minutes=minutes)
    gc.collect()
    return outcome, time.process_time() - began


def _begin() -> None:
    """Ctrl-C reaches all processes of a terminal; the worlds that are on their way are dropped by the parent.

    What is loaded by now is never garbage, and a world makes few cycles until it ends: to look for them as often as usual takes a
    twentieth of the time.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_A_LOOK)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Total:
    """The sum over all worlds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed: list[int] = []
        self.ticks = 0
        self.fewest: int | None = None
        self.minutes = 0.0
        self.calls = 0
        self.processor_seconds = 0.0
        self.faults: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def add(self, outcome: Outcome, seconds: float) -> None:
        self.seeds += 1
        self.processor_seconds += seconds
        if outcome.problems:
            self.failed.append(outcome.seed)
        self.ticks += outcome.ticks
        self.fewest = outcome.ticks if self.fewest is None else min(self.fewest, outcome.ticks)
        self.minutes += outcome.simulated_minutes
        self.calls += outcome.calls
        self.faults.update(outcome.faults)
        self.figures.update(outcome.figures)
        self.rules.update(outcome.rules)
        self.reasons.update(outcome.reasons)

    @property
    def missing(self) -> Sequence[str]:
        """The rules and reasons that so many worlds must have reached and have not."""
        return coverage.missing(self.seeds, self.rules, self.reasons)

    def tell(self, seconds: float) -> None:
        print(
            f"{self.seeds} seeds, {self.ticks} ticks ({self.figures['ticks replayed']} replayed; at least {self.fewest} a seed), "
            f"{sum(self.faults.values())} faults, {self.calls} calls, {self.minutes / 60:.0f} simulated hours "
            f"in {seconds:.1f} s: {self.ticks / seconds:.0f} ticks/s, {self.seeds / seconds * 60:.0f} seeds/min"
        )
        if self.seeds:
            print(
                f"{self.processor_seconds:.1f} s of a processor: {self.processor_seconds / self.seeds:.2f} s a seed, "
                f"{1000 * self.processor_seconds / max(self.ticks, 1):.1f} ms a tick"
            )
        _table("faults", self.faults)
        _table("figures", self.figures)
        for line in coverage.table(self.rules, self.reasons):
            print(line)
        if self.missing:
            print(
                f"{self.seeds} seeds must reach every rule and every reason, and never reached: {', '.join(self.missing)}"
            )
        if self.failed:
            print(f"{len(self.failed)} seeds with violations: {' '.join(map(str, self.failed[:50]))}")
        else:
            print("no violation")


def _table(name: str, counts: Counter[str]) -> None:
    print(f"{name}: " + ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items())))


if __name__ == "__main__":
    sys.exit(main())

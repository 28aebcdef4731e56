"""Many worlds from many seeds, and what they came to."""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.simulate import Outcome, simulate
from tests.simulation.single import all_faults, problems_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds (default: 100)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--minutes", type=float, help="simulated minutes with faults (default: each seed draws them)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--sweep", action="store_true", help="every single fault of a small story instead")
    parser.add_argument("--rules", action="store_true", help="also count which rules acted")
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
    with ProcessPoolExecutor(min(given.jobs, given.seeds)) as pool:
        for outcome in pool.map(partial(simulate, minutes=given.minutes), seeds, chunksize=1):
            total.add(outcome)
            if outcome.problems:
                print(outcome.told(), flush=True)
    total.tell(time.perf_counter() - began, rules=given.rules)
    return 1 if total.failed else 0


class Total:
    """The sum over all worlds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed: list[int] = []
        self.ticks = 0
        self.fewest = 1 << 30
        self.minutes = 0.0
        self.calls = 0
        self.faults: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        if outcome.problems:
            self.failed.append(outcome.seed)
        self.ticks += outcome.ticks
        self.fewest = min(self.fewest, outcome.ticks)
        self.minutes += outcome.simulated_minutes
        self.calls += outcome.calls
        self.faults.update(outcome.faults)
        self.figures.update(outcome.figures)
        self.rules.update(outcome.rules)

    def tell(self, seconds: float, *, rules: bool) -> None:
        print(
            f"{self.seeds} seeds, {self.ticks} ticks (all replayed; at least {self.fewest} a seed), "
            f"{sum(self.faults.values())} faults, {self.calls} calls, {self.minutes / 60:.0f} simulated hours "
            f"in {seconds:.1f} s: {self.ticks / seconds:.0f} ticks/s, {self.seeds / seconds * 60:.0f} seeds/min"
        )
        _table("faults", self.faults)
        _table("figures", self.figures)
        if rules:
            _table("rules", self.rules)
        if self.failed:
            print(f"{len(self.failed)} seeds with violations: {' '.join(map(str, self.failed[:50]))}")
        else:
            print("no violation")


def _table(name: str, counts: Counter[str]) -> None:
    print(f"{name}: " + ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items())))


if __name__ == "__main__":
    sys.exit(main())

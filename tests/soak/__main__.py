"""Run real loops and agents under faults, then check what they left: `make soak MINUTES=30`.

Exit code 1 if something must not be; the table and what to look at are printed at the end.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Final

from shared.adapters import ids
from shared.ports.steps import drive
from shared.runner.founding import found_town
from shared.runner.surroundings import Surroundings
from shared.storage.towns import ObjectTownStore
from tests.soak import checks, disk, places, plan
from tests.soak.agent import starts
from tests.soak.faults import Trouble, kinds_of
from tests.soak.loops import Loop, faketime, loops_of
from tests.soak.places import FAST, TOWNS, Place
from tests.soak.producers import CONFIG, Producer

_STEP_SECONDS: Final = 0.2
_CALM_MINUTES: Final = 20.0
_LOOK_SECONDS: Final = 5.0


@dataclass
class Soak:
    """Everything of one place."""

    place: Place
    loops: tuple[Loop, ...]
    trouble: Trouble
    producers: tuple[Producer, ...]
    faults: list[plan.Fault]
    found: list[checks.Violation] = field(default_factory=list)

    @classmethod
    def at(cls, place: Place, logs: Path, *, seed: int, seconds: float, busy: Sequence[str]) -> "Soak":
        """Create the towns, and draw the faults. The `busy` towns get work for agents."""
        for town in TOWNS:
            around = Surroundings(ObjectTownStore(place.objects), place.clock_of(town), own_clock=town == FAST)
            drive(found_town(town, around, worker_id=ids.worker_id(), config=CONFIG))
        loops = loops_of(place, logs)
        faults = list(plan.faults(seed, place.name, kinds_of(place), seconds=seconds))
        producers = tuple(Producer(place, town, seed, with_work=town in busy) for town in TOWNS)
        return cls(place, loops, Trouble(place, loops), producers, faults)

    def tend(self, now: float) -> None:
        """Begin and mend what is due, and start what has ended."""
        self.trouble.mend(now)
        while self.faults and self.faults[0].at <= now:
            fault = self.faults.pop(0)
            print(fault, flush=True)
            self.trouble.begin(fault)
        for loop in self.loops:
            loop.tend()

    def is_settled(self) -> bool:
        """Whether all its towns have nothing left to do."""
        return not any(checks.unfinished(checks.status(self.place, town)) for town in TOWNS)


def main() -> int:
    """Run from the command line."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended by either, it ends what it has started
    reason = "--without-disks was given" if asked.without_disks else disk.with_own_mounts()
    seed = SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    print(
        f"seed {seed}: {asked.minutes:g} minutes of faults, then calm (again: make soak MINUTES={asked.minutes:g} SEED={seed})"
    )
    if reason:
        print(f"skipped: full and read-only disks, because {reason}")
    if faketime() is None:
        print("skipped: wrong clocks, because libfaketime is not installed (Debian: apt-get install libfaketime)")
    home = asked.home or Path(tempfile.mkdtemp(prefix="soak-"))
    with ExitStack() as stack:
        soaks = [
            Soak.at(place, home, seed=seed, seconds=asked.minutes * 60, busy=(FAST,) if asked.brief else TOWNS)
            for place in _places(stack, asked, home, seed=seed, own_disks=not reason)
        ]
        for soak in soaks:
            stack.callback(_end, soak)
        began = time.monotonic()
        _storm(soaks, seconds=asked.minutes * 60)
        settled = _calm(soaks, minutes=asked.calm)
        for soak in soaks:
            for loop in soak.loops:
                loop.end()
            soak.found += checks.violations(soak.place, soak.producers, soak.loops)
            if soak.found or not settled:
                _keep(soak.place, home)
        return _report(soaks, seed=seed, home=home, settled=settled, seconds=time.monotonic() - began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long faults happen (30)")
    parser.add_argument(
        "--calm", type=float, default=_CALM_MINUTES, help="how long the towns may take afterwards, in minutes (20)"
    )
    parser.add_argument("--seed", type=int, help="draw the faults and events of an earlier run again")
    parser.add_argument("--home", type=Path, help="an empty directory for data and logs; default: a new temporary one")
    parser.add_argument("--only", choices=("directory", "seaweedfs"), help="only this store")
    parser.add_argument("--speed", type=float, default=places.SPEED, help="how fast the clock of the fast town is (10)")
    parser.add_argument(
        "--brief", action="store_true", help="no work for agents in the town on real time, for a short calm"
    )
    parser.add_argument("--without-disks", action="store_true", help="no full and no read-only disks")
    return parser.parse_args()


def _places(stack: ExitStack, asked: argparse.Namespace, home: Path, *, seed: int, own_disks: bool) -> Iterator[Place]:
    if asked.only != "seaweedfs":
        place = places.on_a_directory(home / "directory", own_disks=own_disks, speed=asked.speed)
        yield stack.enter_context(place)
    if asked.only != "directory":
        yield stack.enter_context(places.on_seaweedfs(home / "seaweedfs", seed=seed, speed=asked.speed))


def _storm(soaks: Sequence[Soak], *, seconds: float) -> None:
    """Events come and faults happen for so long."""
    began = time.monotonic()
    for soak in soaks:
        for producer in soak.producers:
            producer.start()
    while (now := time.monotonic() - began) < seconds:
        for soak in soaks:
            soak.tend(now)
        time.sleep(_STEP_SECONDS)


def _calm(soaks: Sequence[Soak], *, minutes: float) -> bool:
    """Nothing fails any more. Wait until every event is accepted and every town has done its work; False if they do not."""
    print("calm", flush=True)
    for soak in soaks:
        soak.faults.clear()
        soak.trouble.mend_all()
        for producer in soak.producers:
            producer.stop()
    until = time.monotonic() + minutes * 60
    looked = 0.0
    while time.monotonic() < until:
        for soak in soaks:
            soak.tend(float("inf"))
        time.sleep(_STEP_SECONDS)
        if time.monotonic() - looked < _LOOK_SECONDS:
            continue
        all_accepted = all(producer.is_done for soak in soaks for producer in soak.producers)
        if all_accepted and all(soak.is_settled() for soak in soaks):
            return True
        looked = time.monotonic()
    for soak in soaks:
        for producer in soak.producers:
            producer.give_up()
    return False


def _end(soak: Soak) -> None:
    for loop in soak.loops:
        loop.end()
    soak.place.agents().stop_all()


def _keep(place: Place, home: Path) -> None:
    """Copy what lies on a disk of our own, which ends with this process."""
    if place.disk is not None:
        shutil.copytree(place.data, home / f"{place.name}-kept", symlinks=True, ignore=shutil.ignore_patterns("*.sock"))


def _report(soaks: Sequence[Soak], *, seed: int, home: Path, settled: bool, seconds: float) -> int:
    print(f"\n{'fault':<24}" + "".join(f"{soak.place.name:>12}" for soak in soaks))
    for kind in (*plan.PROCESSES, *plan.DISKS, *plan.NETWORKS):
        counts = [
            f"{soak.trouble.happened[kind]}"
            + (f" ({soak.trouble.missed[kind]} missed)" if soak.trouble.missed[kind] else "")
            for soak in soaks
        ]
        print(f"{kind:<24}" + "".join(f"{count:>12}" for count in counts))
    for soak in soaks:
        print(f"\n{soak.place.name}:")
        for producer in soak.producers:
            rows = sum(1 for _ in checks.journal(soak.place, producer.town))
            print(
                f"  town {producer.town}: {len(set(producer.accepted))} events accepted in {producer.tries} tries,"
                f" {producer.repeated} posted again, {len(producer.issues)} issues, {rows} ticks"
            )
        began = starts(soak.place.starts)
        print(f"  agents: {len(began)} starts of {len({start.agent for start in began})}")
        for loop in soak.loops:
            print(
                f"  {loop.name}: {', '.join(f'{what} {count}' for what, count in sorted(loop.ends.items())) or 'never ended'}"
            )
        if soak.place.proxy is not None:
            print(f"  proxy: {soak.place.proxy.counts}")
    found = [each for soak in soaks for each in soak.found]
    for each in found:
        print(f"VIOLATION {each}")
    how = "settled" if settled else "did not settle in time"
    print(f"\nseed {seed}: {len(found)} violations, {how}, {seconds:.0f} s; logs and data: {home}")
    return 1 if found or not settled else 0


if __name__ == "__main__":
    sys.exit(main())

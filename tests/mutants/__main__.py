"""Plant every bug of the catalogue, one at a time, and name the test that notices each.

Exit code 1 if a mutant survives that accepted.txt does not excuse. With --only or --since the map of an earlier run is used.
"""

import argparse
import fnmatch
import importlib
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.mutants import reach, running
from tests.mutants.catalogue import KINDS, Mutant, all_mutants

ACCEPTED: Final = Path(__file__).parent / "accepted.txt"


def main() -> int:
    """Run from the command line."""
    asked = _arguments()
    mutants = _wanted(asked)
    if asked.list:
        for mutant in mutants:
            print(f"{mutant.path}:{mutant.line} {mutant.name}")
        print(_counts(mutants))
        return 0
    began = time.monotonic()
    known = reach.known() if asked.only or asked.since else None
    if known is None:
        print("Seeing which test goes where ...", flush=True)
        known = reach.learned()
        assert known.ids, "pytest collected nothing"
        print(f"  {len(known.ids)} tests, {time.monotonic() - began:.0f} s", flush=True)
    for name in known.failing:
        print(f"  fails without any mutant, left out: {name}")
    excuses = _excuses()
    killers = _killers([mutant for mutant in mutants if mutant.name not in excuses], known, jobs=asked.jobs)
    known.remember({name: killer for name, killer in killers.items() if killer})
    return _report(mutants, killers, asked.survivors, seconds=time.monotonic() - began)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name contains this, or matches it as a pattern")
    parser.add_argument("--since", type=Path, help="only the mutants named in this file (survivors of an earlier run)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--list", action="store_true", help="name the mutants and end")
    parser.add_argument("--survivors", type=Path, default=reach.HOME / "survivors.txt", help="where to write survivors")
    return parser.parse_args()


def _wanted(asked: argparse.Namespace) -> list[Mutant]:
    mutants = all_mutants()
    if asked.only:
        mutants = [
            mutant for mutant in mutants if asked.only in mutant.name or fnmatch.fnmatchcase(mutant.name, asked.only)
        ]
    if asked.since:
        names = set(asked.since.read_text(encoding="utf-8").splitlines())
        mutants = [mutant for mutant in mutants if mutant.name in names]
    return mutants


def _killers(mutants: list[Mutant], known: reach.Reach, *, jobs: int) -> dict[str, str | None]:
    """Who killed each mutant, by its name."""
    numbered = list(enumerate(mutants))
    fresh = [pair for pair in numbered if _needs_a_fresh_process(pair[1])]
    loaded = [pair for pair in numbered if not _needs_a_fresh_process(pair[1])]
    killers: dict[str, str | None] = {}
    began = time.monotonic()
    if fresh:
        for name in running.third_party():
            _import_quietly(name)
    for run, some in ((running.verdicts, loaded), (running.fresh_verdicts, fresh)):
        if not some:
            continue
        for verdict in run(some, known.choose, jobs=jobs):
            mutant = mutants[verdict.index]
            killers[mutant.name] = verdict.killer
            what = f"killed by {verdict.killer}" if verdict.killer else f"SURVIVED {verdict.tests} tests"
            passed = f"[{len(killers)}/{len(mutants)} {time.monotonic() - began:.0f} s, this {verdict.seconds:.1f} s]"
            print(
                f"{passed} {mutant.path}:{mutant.line} {mutant.kind}: {mutant.was} => {mutant.now}: {what}", flush=True
            )
    missing = [mutant.name for mutant in mutants if mutant.name not in killers]
    if missing:
        raise RuntimeError(f"no verdict for {len(missing)} mutants, the first: {missing[0]}")
    return killers


def _needs_a_fresh_process(mutant: Mutant) -> bool:
    """A constant that a class body or another constant was made of."""
    return not mutant.function and any(not place.function for place in mutant.reach)


def _import_quietly(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 - made by a plugin, or not importable by itself
        return


def _report(mutants: list[Mutant], killers: dict[str, str | None], survivors_file: Path, *, seconds: float) -> int:
    excuses = _excuses()
    accepted = [mutant for mutant in mutants if mutant.name in excuses]
    open_ones = [mutant for mutant in mutants if mutant.name not in excuses and killers[mutant.name] is None]
    print(f"\n{'kind':<12}{'mutants':>8}{'killed':>8}{'accepted':>10}{'survived':>10}")
    for kind in (*KINDS, "all"):
        all_, good, bad = (
            sum(kind in (mutant.kind, "all") for mutant in some) for some in (mutants, accepted, open_ones)
        )
        print(f"{kind:<12}{all_:>8}{all_ - good - bad:>8}{good:>10}{bad:>10}")
    for mutant in accepted:
        print(f"accepted: {mutant.path}:{mutant.line} {mutant.was} => {mutant.now}: {excuses[mutant.name]}")
    for mutant in open_ones:
        print(f"SURVIVED: {mutant.path}:{mutant.line} {mutant.function} {mutant.kind}: {mutant.was} => {mutant.now}")
    survivors_file.parent.mkdir(parents=True, exist_ok=True)
    survivors_file.write_text("".join(f"{mutant.name}\n" for mutant in open_ones), encoding="utf-8")
    print(f"{len(mutants)} mutants, {len(open_ones)} survived, {seconds:.0f} s; survivors: {survivors_file}")
    return 1 if open_ones else 0


def _excuses() -> dict[str, str]:
    """Equivalent mutants: `name  # why no test can notice`."""
    lines = ACCEPTED.read_text(encoding="utf-8").splitlines()
    pairs = (line.rsplit("  # ", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {pair[0].strip(): pair[1] for pair in pairs}


def _counts(mutants: list[Mutant]) -> str:
    counted = Counter(mutant.kind for mutant in mutants)
    return ", ".join(f"{counted[kind]} {kind}" for kind in KINDS if counted[kind]) + f"; {len(mutants)} in all"


if __name__ == "__main__":
    sys.exit(main())

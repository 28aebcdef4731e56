"""Plant every bug of the catalogue, one at a time, and name the test that notices each.

What is found is kept in build/mutants as it is found: a run that was stopped goes on where it was. The order is that of a shuffle,
so a run that is stopped has judged a fair sample. Exit code 1 if a mutant survives that accepted.txt does not excuse, or if one has
no verdict because its tests take too long.
"""

import argparse
import fnmatch
import hashlib
import importlib
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.mutants import reach, running, type_checks
from tests.mutants.catalogue import KINDS, Mutant, all_mutants
from tests.mutants.running import Verdict
from tests.mutants.verdicts import FILE, Verdicts

ACCEPTED: Final = Path(__file__).parent / "accepted.txt"


def main() -> int:
    """Run from the command line."""
    asked = _arguments()
    everything = all_mutants()
    mutants = [mutant for mutant in everything if _wanted(mutant, asked.only)]
    if asked.list:
        for mutant in mutants:
            print(f"{mutant.path}:{mutant.line} {mutant.name}")
        print(_counts(mutants))
        return 0
    if asked.again:
        FILE.unlink(missing_ok=True)
    print("Watching which test goes where ...", flush=True)
    known = reach.learned(everything, jobs=asked.jobs)
    print(f"  {len(known.seconds)} tests are known; {_processor_seconds():.0f} s of the processor", flush=True)
    for name in sorted(known.failing):
        print(f"  fails without any mutant, left out: {name}")
    verdicts = Verdicts(known)
    excuses = _excuses(everything)
    asked_for = [mutant for mutant in mutants if mutant.name not in excuses]
    asked_for.sort(key=lambda mutant: hashlib.sha256(mutant.name.encode()).digest())
    sample = asked_for[: asked.sample]
    quick, thorough = running.ROUNDS
    new = [mutant for mutant in sample if not verdicts.rests(mutant)]
    open_ones = [mutant for mutant in sample if not verdicts.stands(mutant)]
    _judge(new, known, verdicts, jobs=asked.jobs, seconds=quick)
    _check_types(open_ones, verdicts)
    open_ones = [mutant for mutant in open_ones if not verdicts.stands(mutant)]
    _judge(open_ones, known, verdicts, jobs=asked.jobs, seconds=thorough)
    return _report(mutants, verdicts, excuses)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name contains this, or matches it as a pattern")
    parser.add_argument("--again", action="store_true", help="forget the verdicts of earlier runs")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--sample", type=int, help="judge only so many, and not more of one file than its share")
    parser.add_argument("--list", action="store_true", help="name the mutants and end")
    return parser.parse_args()


def _wanted(mutant: Mutant, only: str) -> bool:
    return only in mutant.name or fnmatch.fnmatchcase(mutant.name, only)


def _judge(mutants: list[Mutant], known: reach.Reach, verdicts: Verdicts, *, jobs: int, seconds: float) -> None:
    """Run the tests against each mutant."""
    print(f"{len(mutants)} mutants to be judged, in at most {seconds:.0f} s each", flush=True)
    judged = _judged(mutants, known, verdicts, jobs=jobs, seconds=seconds)
    for count, (mutant, verdict) in enumerate(judged, start=1):
        verdicts.write(mutant, verdict)
        print(f"[{count}/{len(mutants)}] {_told(mutant, verdict)}", flush=True)


def _check_types(mutants: list[Mutant], verdicts: Verdicts) -> None:
    """Let the type checker look at the mutants that no test has noticed so far."""
    alive = [mutant for mutant in mutants if verdicts.killer(mutant) is None]
    print(f"{len(alive)} to be seen by the type checker", flush=True)
    for mutant in type_checks.refused(alive):
        verdict = Verdict(0, type_checks.NAME, tests=0, chosen=0, seconds=0)
        verdicts.write(mutant, verdict)
        print(_told(mutant, verdict), flush=True)


def _judged(
    mutants: list[Mutant], known: reach.Reach, verdicts: Verdicts, *, jobs: int, seconds: float
) -> Iterator[tuple[Mutant, Verdict]]:
    numbered = list(enumerate(mutants))
    fresh = [pair for pair in numbered if _needs_a_fresh_process(pair[1])]
    loaded = [pair for pair in numbered if not _needs_a_fresh_process(pair[1])]

    def note(verdict: Verdict) -> None:
        verdicts.note(mutants[verdict.index], verdict)

    if loaded:
        for verdict in running.verdicts(
            loaded, verdicts.choose, jobs=jobs, spent=known.seconds, seconds=seconds, note=note
        ):
            yield mutants[verdict.index], verdict
    if fresh:
        for name in running.third_party():
            _import_quietly(name)
        for verdict in running.fresh_verdicts(fresh, verdicts.choose, list(known.seconds), known.seconds, jobs=jobs):
            yield mutants[verdict.index], verdict


def _needs_a_fresh_process(mutant: Mutant) -> bool:
    """A constant that a class body or another constant was made of."""
    return not mutant.function and any(not place.function for place in mutant.reach)


def _import_quietly(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 - made by a plugin, or not importable by itself
        return


def _told(mutant: Mutant, verdict: Verdict) -> str:
    became = "open" if verdict.tests < verdict.chosen else "SURVIVED"
    became = f"killed by {verdict.killer}" if verdict.killer else became
    cost = f"{verdict.tests} of {verdict.chosen} tests, {verdict.seconds:.1f} s"
    return f"{mutant.path}:{mutant.line} {mutant.kind}: {mutant.was} => {mutant.now}: {became} ({cost})"


def _report(mutants: list[Mutant], verdicts: Verdicts, excuses: dict[str, str]) -> int:
    accepted = [mutant for mutant in mutants if mutant.name in excuses]
    asked = [mutant for mutant in mutants if mutant.name not in excuses]
    unjudged = [mutant for mutant in asked if not verdicts.judged(mutant)]
    survived = [mutant for mutant in asked if verdicts.judged(mutant) and verdicts.killer(mutant) is None]
    columns = (mutants, accepted, survived, unjudged)
    print(f"\n{'kind':<12}{'mutants':>8}{'killed':>8}{'accepted':>10}{'survived':>10}{'unjudged':>10}")
    for kind in (*KINDS, "all"):
        all_, good, bad, unknown = (sum(kind in (mutant.kind, "all") for mutant in some) for some in columns)
        print(f"{kind:<12}{all_:>8}{all_ - good - bad - unknown:>8}{good:>10}{bad:>10}{unknown:>10}")
    for mutant in accepted:
        print(f"accepted: {mutant.path}:{mutant.line} {mutant.was} => {mutant.now}: {excuses[mutant.name]}")
    for word, some in (("SURVIVED", survived), ("UNJUDGED", unjudged)):
        for mutant in some:
            print(f"{word}: {mutant.path}:{mutant.line} {mutant.function} {mutant.kind}: {mutant.was} => {mutant.now}")
    print(
        f"{len(mutants)} mutants, {len(survived)} survived, {len(unjudged)} unjudged, {_processor_seconds():.0f} s of the processor"
    )
    return 1 if survived or unjudged else 0


def _excuses(mutants: list[Mutant]) -> dict[str, str]:
    """Equivalent mutants: `name  # why no test can notice`. Raises LookupError for a name that no mutant has."""
    lines = ACCEPTED.read_text(encoding="utf-8").splitlines()
    pairs = (line.rsplit("  # ", 1) for line in lines if line.strip() and not line.startswith("#"))
    excuses = {pair[0].strip(): pair[1] for pair in pairs}
    for name in sorted(excuses.keys() - {mutant.name for mutant in mutants}):
        raise LookupError(f"{ACCEPTED} excuses a mutant that does not exist; delete its line: {name}")
    return excuses


def _processor_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _counts(mutants: list[Mutant]) -> str:
    counted = Counter(mutant.kind for mutant in mutants)
    return ", ".join(f"{counted[kind]} {kind}" for kind in KINDS if counted[kind]) + f"; {len(mutants)} in all"


if __name__ == "__main__":
    sys.exit(main())

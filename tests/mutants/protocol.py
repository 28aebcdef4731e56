"""Plant the bugs of protocol and storage, one at a time, and see that the test that each of them names notices it.

Exit code 1 if a bug survives: its test is wrong or missing, or its place in the source has changed. With --find, every test near
the bug is tried, and the first that fails is printed.
"""

import argparse
import ast
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import pytest

from tests.mutants import planting, running
from tests.mutants.catalogue import ROOT, Mutant, Place, Replacement, nodes, source
from tests.mutants.protocol_bugs import BUGS, SIMULATION, Bug
from tests.mutants.running import Say, Verdict, Watch, Work

SEEDS: Final = 50
NEAR: Final = {
    "shared/storage/": ("tests/unit/storage", "tests/unit/runner/test_nothing_is_lost.py"),
    "shared/storage/towns.py": ("tests/unit/history", "tests/integration/test_lost_objects.py"),
    "shared/storage/layers.py": ("tests/integration/test_layer_faults.py",),
    "shared/storage/retention.py": ("tests/integration/test_restore_and_retention.py",),
    "shared/storage/archive.py": ("tests/integration/test_restore_and_retention.py",),
    "shared/storage/in_place.py": (
        "tests/integration/test_restore_and_retention.py",
        "tests/integration/test_restores_told.py",
        "tests/integration/test_lost_objects.py",
    ),
    "shared/images/restoring.py": (
        "tests/unit/images",
        "tests/integration/test_restore_and_retention.py",
        "tests/integration/test_restores_told.py",
    ),
    "shared/adapters/directory_objects.py": (
        "tests/unit/storage/test_object_stores.py",
        "tests/unit/runner/test_nothing_is_lost.py",
        "tests/integration/test_directory_store.py",
    ),
    "shared/runner/": ("tests/unit/runner",),
    "shared/runner/worker.py": ("tests/integration/test_races.py", "tests/integration/test_clock_skew.py"),
    "shared/engine/": ("tests/unit/engine", "tests/unit/runner/test_perform.py"),
    "shared/town/": ("tests/unit/engine", "tests/unit/town", "tests/unit/intake"),
    "shared/intake/": ("tests/unit/intake", "tests/unit/functions/test_events.py"),
    "functions/": ("tests/unit/functions/test_events.py",),
}
"""Where --find looks for the tests of a source file: all entries that its path begins with."""


def main() -> int:
    """Run from the command line."""
    asked = _arguments()
    bugs = [bug for bug in BUGS if asked.only in bug.what]
    began = time.monotonic()
    tested = [bug for bug in bugs if bug.killer != SIMULATION]
    survived = _by_tests(tested, find=asked.find, jobs=asked.jobs)
    survived += _by_simulation([bug for bug in bugs if bug.killer == SIMULATION])
    for bug in survived:
        print(f"SURVIVED: {bug.what} ({bug.path} {bug.function}), in spite of {bug.killer or 'all that are near'}")
    seconds = time.monotonic() - began
    print(
        f"{len(bugs)} bugs of protocol and storage, {len(bugs) - len(survived)} killed, {len(survived)} survived, {seconds:.0f} s"
    )
    return 1 if survived else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.protocol", description=__doc__)
    parser.add_argument("--only", default="", help="bugs whose description contains this")
    parser.add_argument(
        "--find", action="store_true", help="try all tests near the bug, not only the one that it names"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    return parser.parse_args()


def _by_tests(bugs: Sequence[Bug], *, find: bool, jobs: int) -> list[Bug]:
    """Those that no test noticed."""
    mutants = [(number, mutant_of(bug)) for number, bug in enumerate(bugs)]
    killers = {mutant.name: bug.killer for (_, mutant), bug in zip(mutants, bugs, strict=True)}
    named = sorted({bug.killer.partition("::")[0] for bug in bugs if bug.killer})
    suites = sorted({*named, *(suite for bug in bugs for suite in _near(bug.path))}) if find else named
    unnamed = [bug for bug in bugs if not bug.killer and not find]
    survived = list(unnamed)
    if not suites:
        return survived

    def choose(mutant: Mutant, collected: list[str]) -> list[str]:
        killer = killers[mutant.name]
        chosen = [name for name in collected if killer and name.partition("[")[0] == killer]
        return [*chosen, *_nearest(mutant, collected)] if find else chosen

    killed: dict[str, list[Bug]] = {}
    for verdict in running.verdicts(mutants, choose, jobs=jobs, suites=suites, marked=""):
        bug = bugs[verdict.index]
        if bug in unnamed:
            continue
        _tell(bug, verdict.killer, f"{verdict.tests} tests, {verdict.seconds:.1f} s")
        if verdict.killer is None:
            survived.append(bug)
        else:
            killed.setdefault(verdict.killer, []).append(bug)
    for name in sorted(_failing_anyway(killed, suites)):
        print(f"{name} fails without any bug, so it shows nothing", flush=True)
        survived += killed[name]
    return survived


def _failing_anyway(killers: Collection[str], suites: Sequence[str]) -> frozenset[str]:
    """Those of these tests that fail without any bug."""

    def work(say: Say) -> None:
        running.quiet()

        def loop(items: list[pytest.Item]) -> None:
            for item in items:
                if item.nodeid in killers:
                    watch.failed = None
                    watch.run([item])
                    if watch.failed:
                        say({"failed": item.nodeid})

        watch = Watch()
        running.in_session(watch, loop, suites, marked="")

    return frozenset(said["failed"] for said in running.one_fork(work))


def _near(path: str) -> list[str]:
    return [suite for beginning, suites in NEAR.items() if path.startswith(beginning) for suite in suites]


def _nearest(mutant: Mutant, collected: list[str]) -> list[str]:
    """The tests near a source file, those of the same name first."""
    suites = tuple(_near(mutant.path))
    stem = Path(mutant.path).stem
    near = [name for name in collected if name.startswith(suites)]
    return sorted(near, key=lambda name: stem not in Path(name.partition("::")[0]).stem)


def _by_simulation(bugs: Sequence[Bug]) -> list[Bug]:
    survived = []
    for bug in bugs:
        [said] = running.one_fork(_simulated(bug))
        verdict = Verdict(**said)
        _tell(bug, verdict.killer, f"{verdict.tests} seeds, {verdict.seconds:.1f} s")
        if verdict.killer is None:
            survived.append(bug)
    return survived


def _simulated(bug: Bug) -> Work:
    """Run worlds with the bug until one of their checkers sees it."""

    def work(say: Say) -> None:
        running.quiet()
        from tests.simulation.test_checkers import judgements

        planting.plant(mutant_of(bug), planting.loaded_functions())
        began = time.monotonic()
        seed = next((seed for seed in range(SEEDS) if judgements(seed)), None)
        killer = None if seed is None else f"seed {seed} of the simulation"
        tried = SEEDS if seed is None else seed + 1
        say(asdict(Verdict(0, killer, tried, SEEDS, time.monotonic() - began)))

    return work


def _tell(bug: Bug, killer: str | None, cost: str) -> None:
    print(f"{bug.what}: {f'killed by {killer}' if killer else 'SURVIVED'} ({cost})", flush=True)


def mutant_of(bug: Bug) -> Mutant:
    """The bug as a mutant. Raises LookupError if its function or text is no longer there."""
    first, last = _lines_of(bug)
    replacement = Replacement(first, last, bug.was, bug.now)
    replacement.applied(source(bug.path))
    reach = (Place(bug.path, bug.function, first, last),)
    return Mutant("protocol", bug.path, bug.function, first, bug.what, bug.now, replacement, reach)


def _lines_of(bug: Bug) -> tuple[int, int]:
    for first, last, name in _functions(bug.path):
        if name == bug.function:
            return first, last
    raise LookupError(f"{bug.path} has no function {bug.function}: {bug.what}")


def _functions(path: str) -> Iterator[tuple[int, int, str]]:
    """First line, last line and qualified name of every function of a module."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for _, node in nodes(tree):
        owners = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for each in owners:
            if isinstance(each, ast.FunctionDef) and (prefix or each in tree.body):
                yield each.lineno, each.end_lineno or each.lineno, f"{prefix}{each.name}"


if __name__ == "__main__":
    sys.exit(main())

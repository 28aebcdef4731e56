"""What became of each mutant, written down as it is found, so that a run can be stopped and continued.

A verdict stands while the source of its mutant and the tests that it rests on are the same: of a killed one the test that failed,
of a survivor every test that was tried.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.mutants.catalogue import Mutant
from tests.mutants.reach import HOME, Reach, subject, text_of, text_of_test
from tests.mutants.running import Verdict

FILE: Final = HOME / "verdicts.jsonl"
_LONG: Final = 6.0
"""Seconds from which on a test is too long to be tried against every mutant; the conformance cases are the exception."""


class Verdicts:
    """The verdicts of this run and of earlier ones, by the names of mutants, and the tests that they suggest."""

    def __init__(self, reach: Reach, file: Path = FILE) -> None:
        self._reach = reach
        self._file = file
        self._said: dict[str, dict[str, Any]] = {}
        self._kills: dict[tuple[str, str], Counter[str]] = {}
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            self._take(json.loads(line))

    def killer(self, mutant: Mutant) -> str | None:
        """The test that failed, if one did."""
        killer: str | None = self._said[mutant.name]["killer"]
        return killer

    def stands(self, mutant: Mutant) -> bool:
        """Whether the mutant need not be judged again."""
        return self.judged(mutant) and self.rests(mutant)

    def rests(self, mutant: Mutant) -> bool:
        """Whether what is known of the mutant is about the present sources and tests."""
        said = self._said.get(mutant.name)
        if said is None or said["source"] != text_of(mutant.path):
            return False
        if said["killer"] is None:
            return bool(said["tried"] == self._tried(mutant))
        return bool(said["text"] == text_of_test(said["killer"]))  # the type checker is no file, so its word stands

    def judged(self, mutant: Mutant) -> bool:
        """Whether a test failed or every test was tried."""
        said = self._said.get(mutant.name)
        return said is not None and (said["killer"] is not None or said["tests"] >= said["chosen"])

    def write(self, mutant: Mutant, verdict: Verdict) -> None:
        """Keep a verdict."""
        said: dict[str, Any] = {
            "mutant": mutant.name,
            "source": text_of(mutant.path),
            "killer": verdict.killer,
            "tests": verdict.tests,
            "chosen": verdict.chosen,
            "seconds": round(verdict.seconds, 2),
            "beside": _beside(mutant),
        }
        said |= {"text": text_of_test(verdict.killer)} if verdict.killer else {"tried": self._tried(mutant)}
        self._take(said)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")

    def note(self, mutant: Mutant, verdict: Verdict) -> None:
        """Let a verdict that is written elsewhere guide the choice of tests."""
        if verdict.killer:
            for key in _beside(mutant):
                self._kills.setdefault(key, Counter())[verdict.killer] += 1

    def _take(self, said: dict[str, Any]) -> None:
        self._said[said["mutant"]] = said
        if said["killer"]:
            for path, place in said["beside"]:
                self._kills.setdefault((path, place), Counter())[said["killer"]] += 1

    def choose(self, mutant: Mutant, collected: Iterable[str]) -> list[str]:
        """The tests to try, most telling first.

        Last time's killer, then a test whose parameter is the limit, then the killers of mutants beside it, then the quick ones,
        where a test about its module may take three times as long as another; of a test with many parameters first one, and the
        conformance cases last.
        """
        seconds = self._reach.seconds
        useful = self._reach.reaching(mutant).intersection(collected)
        names = sorted(
            (name for name in useful if seconds[name] < _LONG or "conformance" in name),
            key=lambda name: (seconds[name], name),
        )
        near = {subject(path) for path in (mutant.path, *(place.path for place in mutant.reach))}
        beside = [self._kills.get(key, Counter[str]()) for key in _beside(mutant)]
        last = self._said.get(mutant.name, {}).get("killer")
        limit = mutant.was.partition("[")[0] if mutant.kind == "limit" else None
        times: Counter[str] = Counter()

        def order(name: str) -> tuple[Any, ...]:
            function = name.partition("[")[0]
            times[function] += 1
            cost = seconds[name] if subject(name) in near else 3 * seconds[name]
            kills = [-kills[name] for kills in beside]
            is_named = limit is not None and name.endswith(f"[{limit}]")
            return name != last, name.startswith("tests/conformance"), not is_named, *kills, times[function], cost

        keys = {name: order(name) for name in names}
        return sorted(names, key=keys.__getitem__)

    def _tried(self, mutant: Mutant) -> str:
        """A digest of the tests that could notice a mutant."""
        files = {name.partition("::")[0] for name in self._reach.reaching(mutant)}
        return hashlib.sha256("".join(map(text_of, sorted(files))).encode()).hexdigest()[:16]


def _beside(mutant: Mutant) -> list[tuple[str, str]]:
    """Where the neighbours of a mutant are: in its function, or about its limit; in its file."""
    return [(mutant.path, mutant.function or mutant.was), (mutant.path, "")]

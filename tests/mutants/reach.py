"""Which tests come to which lines, and in which order they are tried against a mutant there.

Learned from one run of all tests, kept in build/mutants; so is who killed a mutant last time.
"""

import ast
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.mutants.catalogue import ROOT, Mutant, Place, nodes
from tests.mutants.running import Verdict, Watch, in_session, one_fork, quiet

HOME: Final = ROOT / "build" / "mutants"
_MAP: Final = HOME / "reach.json"
_KILLERS: Final = HOME / "killers.json"
_LONG: Final = 6.0
"""Seconds from which on a test is too long to be tried against every mutant; the conformance cases are the exception."""


@dataclass(slots=True)
class Reach:
    """By path and line, and by path::function, the numbers of the tests that came there; failing ones are of no use."""

    ids: list[str]
    seconds: list[float]
    failing: list[str]
    lines: dict[str, dict[str, list[int]]]
    functions: dict[str, list[int]]
    written: dict[str, float]
    killers: dict[str, str] = field(default_factory=dict)

    def choose(self, mutant: Mutant, collected: list[str]) -> list[str]:
        """The tests to try, most telling first: last time's killer, then the near ones, then the quick ones."""
        spent = dict(zip(self.ids, self.seconds, strict=True))
        reaching = {self.ids[number] for place in mutant.reach for number in self._at(place)}
        if any(not place.function for place in mutant.reach):
            reaching.update(self.ids)
        near = {Path(path).stem for path in (mutant.path, *(place.path for place in mutant.reach))}
        reaching.update(name for name in self.ids if _subject(name) == Path(mutant.path).stem)
        killer = self.killers.get(mutant.name)

        def order(name: str) -> tuple[bool, bool, bool, float]:
            path = name.partition("::")[0]
            far = _subject(name) not in near
            return name != killer, "conformance" in path, far and name in spent, spent.get(name, 0)

        return sorted((name for name in collected if self._useful(name, reaching, spent)), key=order)

    def _useful(self, name: str, reaching: set[str], spent: dict[str, float]) -> bool:
        if name in self.failing:
            return False
        return name not in spent or (name in reaching and (spent[name] < _LONG or "conformance" in name))

    def _at(self, place: Place) -> Iterable[int]:
        if (ROOT / place.path).stat().st_mtime != self.written.get(place.path):
            return self.functions.get(f"{place.path}::{place.function}", ())
        lines = self.lines.get(place.path, {})
        return {number for line in range(place.first, place.last + 1) for number in lines.get(str(line), ())}

    def remember(self, killers: dict[str, str]) -> None:
        """Keep who killed what, for the next run."""
        self.killers.update(killers)
        _KILLERS.write_text(json.dumps(self.killers, indent=0, sort_keys=True), encoding="utf-8")


def _subject(test: str) -> str:
    return Path(test.partition("::")[0]).stem.removeprefix("test_")


def known() -> Reach | None:
    """What an earlier run has learned."""
    if not _MAP.exists():
        return None
    stored: dict[str, Any] = json.loads(_MAP.read_text(encoding="utf-8"))
    killers = json.loads(_KILLERS.read_text(encoding="utf-8")) if _KILLERS.exists() else {}
    return Reach(**stored, killers=killers)


def learned() -> Reach:
    """Run every test once and see where it goes."""
    HOME.mkdir(parents=True, exist_ok=True)
    _MAP.unlink(missing_ok=True)
    for _ in one_fork(_look):
        pass
    found = known()
    assert found is not None, "the run that maps the tests did not end"
    return found


def _look(say: Callable[[Verdict], None]) -> None:
    quiet()
    os.environ["COVERAGE_CORE"] = "ctrace"
    from coverage import Coverage

    cover = Coverage(data_file=None, config_file=False, source=[str(ROOT / "shared")])
    watch = Watch()
    found = Reach([], [], [], {}, {}, {})

    def loop(items: list[Any]) -> None:
        for item in items:
            found.ids.append(item.nodeid)
            cover.switch_context(item.nodeid)
            watch.failed = None
            began = time.process_time()
            watch.run([item])
            found.seconds.append(round(time.process_time() - began, 3))
            if watch.failed:
                found.failing.append(item.nodeid)

    cover.start()
    in_session(watch, loop)
    cover.stop()
    _keep(found, cover.get_data())


def _keep(found: Reach, data: Any) -> None:
    number_of = {name: number for number, name in enumerate(found.ids)}
    for file in data.measured_files():
        path = Path(file).relative_to(ROOT).as_posix()
        functions = _functions_by_line(Path(file))
        found.written[path] = Path(file).stat().st_mtime
        lines = found.lines.setdefault(path, {})
        by_function: dict[str, set[int]] = {}
        for line, contexts in data.contexts_by_lineno(file).items():
            lines[str(line)] = sorted(number_of[name] for name in contexts if name)
            if line in functions:
                by_function.setdefault(f"{path}::{functions[line]}", set()).update(lines[str(line)])
        found.functions |= {name: sorted(numbers) for name, numbers in by_function.items()}
    stored = {name: getattr(found, name) for name in ("ids", "seconds", "failing", "lines", "functions", "written")}
    _MAP.write_text(json.dumps(stored, sort_keys=True), encoding="utf-8")


def _functions_by_line(path: Path) -> dict[int, str]:
    """The outermost function at each line; not its first lines, which run when it is defined."""
    return {
        node.lineno: function
        for function, node in nodes(ast.parse(path.read_text(encoding="utf-8")))
        if function and isinstance(node, ast.stmt)
    }

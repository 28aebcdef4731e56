"""Which tests come to which lines, learned by watching each test once, and kept in build/mutants.

A test is watched again when the text of its file has changed. Code that has changed since is found by the name of its function.
"""

import ast
import hashlib
import importlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import CodeType
from typing import Any, Final

import pytest

from tests.mutants import planting
from tests.mutants.catalogue import ROOT, Mutant, Place, nodes, source
from tests.mutants.running import Said, Say, Watch, forks, in_session, one_fork, quiet

HOME: Final = ROOT / "build" / "mutants"
_FILE: Final = HOME / "reach.jsonl"
_LONGEST: Final = 120.0
"""Seconds of the processor that a test may take while it is watched."""


@dataclass(slots=True)
class Reach:
    """By path and line the tests that came there, and by path and function those that came there in an older text of it."""

    seconds: dict[str, float] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    lines: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    functions: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def reaching(self, mutant: Mutant) -> set[str]:
        """The tests that come to the place of a mutant, or that are about its module."""
        found = {name for place in mutant.reach for name in self._at(place)}
        about = {subject(place.path) for place in mutant.reach if not place.function} | {subject(mutant.path)}
        found.update(name for name in self.seconds if subject(name) in about)
        return found - self.failing

    def _at(self, place: Place) -> Iterator[str]:
        yield from self.functions.get((place.path, place.function), ())
        for line in range(place.first, place.last + 1):
            yield from self.lines.get((place.path, line), ())

    def add(self, seen: Said) -> None:
        """What was seen of one test."""
        name = seen["test"]
        self.seconds[name] = seen["seconds"]
        if seen["failed"]:
            self.failing.add(name)
        for path, came in seen["came"].items():
            for function, lines in came["functions"].items():
                if came["text"] != text_of(path):
                    self.functions.setdefault((path, function), set()).add(name)
                    continue
                for line in lines:
                    self.lines.setdefault((path, line), set()).add(name)


def subject(test_or_path: str) -> str:
    """What a test module or a source file is about: the part of its name that both have."""
    path = Path(test_or_path.partition("::")[0])
    return (path.parent if path.stem == "__init__" else path).stem.removeprefix("test_")


@cache
def text_of(path: str) -> str:
    """A short digest of the text of a file; empty if there is no such file."""
    file = ROOT / path
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.exists() else ""


def text_of_test(name: str) -> str:
    """The digest of the file of a test."""
    return text_of(name.partition("::")[0])


def learned(mutants: list[Mutant], *, jobs: int) -> Reach:
    """Watch each test that is not known yet, and tell what is known of all."""
    HOME.mkdir(parents=True, exist_ok=True)
    kept = {seen["test"]: seen for seen in _kept()}
    collected: set[str] = set()
    with _FILE.open("a", encoding="utf-8") as file:
        for said in one_fork(lambda say: _look(say, set(kept), _lines_of(mutants), jobs)):
            if "collected" in said:
                collected.update(said["collected"])
                continue
            file.write(json.dumps(said) + "\n")
            file.flush()
            kept[said["test"]] = said
            print(f"  {len(kept)} of {len(collected)} tests watched", end="\r", flush=True)
    assert collected, "pytest collected nothing"
    found = Reach()
    for name in sorted(collected & set(kept)):
        found.add(kept[name])
    return found


def _kept() -> Iterator[Said]:
    if _FILE.exists():
        for line in _FILE.read_text(encoding="utf-8").splitlines():
            seen: Said = json.loads(line)
            if seen["text"] == text_of_test(seen["test"]):
                yield seen


def _lines_of(mutants: list[Mutant]) -> dict[str, dict[int, str]]:
    """The function at each line that matters, by path."""
    wanted: dict[str, dict[int, str]] = {}
    for place in {place for mutant in mutants for place in mutant.reach if place.function}:
        statements = _statements(place.path)
        for line in range(place.first, place.last + 1):
            if line in statements:
                wanted.setdefault(place.path, {})[line] = place.function
    return wanted


@cache
def _statements(path: str) -> frozenset[int]:
    return frozenset(node.lineno for _, node in nodes(ast.parse(source(path))) if isinstance(node, ast.stmt | ast.expr))


def _look(say: Say, known: set[str], wanted: dict[str, dict[int, str]], jobs: int) -> None:
    quiet()

    def loop(items: list[pytest.Item]) -> None:
        say({"collected": [item.nodeid for item in items]})
        fresh = [item for item in items if item.nodeid not in known]
        modules = sorted({item.nodeid.partition("::")[0] for item in fresh})
        for path in wanted:
            importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        codes = [function.__code__ for some in planting.loaded_functions().by_name.values() for function in some]

        def watch_share(tell: Say, share: int) -> None:
            mine = set(modules[share::jobs])
            _watch([item for item in fresh if item.nodeid.partition("::")[0] in mine], codes, wanted, tell)

        for said in forks([(partial(watch_share, share=share), None) for share in range(jobs)], jobs=jobs):
            say(said)

    in_session(Watch(), loop)


def _watch(items: list[pytest.Item], codes: list[CodeType], wanted: dict[str, dict[int, str]], tell: Say) -> None:
    """Run each test once, and tell which of the wanted lines it comes to: each line reports once a test, so this costs little."""
    if sys.version_info < (3, 12):
        raise RuntimeError("the mutants need Python 3.12 or newer: sys.monitoring watches lines")
    monitoring = sys.monitoring
    tool = monitoring.COVERAGE_ID
    monitoring.use_tool_id(tool, "mutants")
    came: set[tuple[str, int]] = set()

    def at(code: CodeType, line: int) -> object:
        came.add((code.co_filename, line))
        return monitoring.DISABLE

    monitoring.register_callback(tool, monitoring.events.LINE, at)
    for code in codes:
        for part in (code, *planting.inside(code)):
            monitoring.set_local_events(tool, part, monitoring.events.LINE)
    watch = Watch()
    for item, following in zip(items, [*items, None][1:], strict=True):
        came.clear()
        monitoring.restart_events()
        watch.failed = None
        began = time.process_time()
        watch.run_one(item, following, seconds=_LONGEST)
        tell(_seen(item.nodeid, came, wanted, failed=watch.failed is not None, seconds=time.process_time() - began))


def _seen(
    name: str, came: set[tuple[str, int]], wanted: dict[str, dict[int, str]], *, failed: bool, seconds: float
) -> Said:
    places: dict[str, dict[str, Any]] = {}
    for file, line in sorted(came):
        path = Path(file).relative_to(ROOT).as_posix()
        function = wanted.get(path, {}).get(line)
        if function:
            at = places.setdefault(path, {"text": text_of(path), "functions": {}})
            at["functions"].setdefault(function, []).append(line)
    return {"test": name, "text": text_of_test(name), "failed": failed, "seconds": round(seconds, 3), "came": places}

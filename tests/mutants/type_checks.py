"""Which mutants the type checker refuses: without `if agent is None: return`, the next line asks None for its hook.

Such a bug cannot pass `make lint`, so no test needs to notice it. Many are checked together, at most one of a function at a time.
"""

import ast
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.mutants.catalogue import ROOT, Edit, Mutant, changed, nodes, source, span
from tests.mutants.reach import HOME

NAME: Final = "mypy"
"""What is named as the killer of such a mutant."""
KINDS: Final = ("guard", "condition")


def refused(mutants: Iterable[Mutant]) -> Iterator[Mutant]:
    """Those of these mutants that the type checker refuses."""
    left = [mutant for mutant in mutants if mutant.kind in KINDS]
    while left:
        together = list({(mutant.path, mutant.function): mutant for mutant in left}.values())
        left = [mutant for mutant in left if mutant not in together]
        yield from _refused_of(together)


def _refused_of(together: list[Mutant]) -> Iterator[Mutant]:
    by_path: dict[str, list[Mutant]] = {}
    for mutant in together:
        by_path.setdefault(mutant.path, []).append(mutant)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        shutil.copytree(ROOT / "shared", copy / "shared", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for path, some in by_path.items():
            (copy / path).write_text(planted(path, some), encoding="utf-8")
        found = set(_errors(copy))
    for mutant in together:
        first, last = _lines_of(mutant)
        if any((mutant.path, line) in found for line in range(first, last + 1)):
            yield mutant


def planted(path: str, mutants: Iterable[Mutant]) -> str:
    """The source with these bugs in it; every line keeps its number."""
    lines = source(path).encode().splitlines(keepends=True)
    edits = [(_place(mutant), mutant) for mutant in mutants]
    for (first, column, last, end), mutant in sorted(edits, key=lambda edit: edit[0], reverse=True):
        breaks = "\n" * (last - first)
        new = f"({_new_text(mutant)}{breaks})".encode()
        rest = lines[last - 1][end:]
        lines[first - 1 : last] = [*(lines[first - 1][:column] + new + rest).splitlines(keepends=True)]
    return b"".join(lines).decode()


def _node(mutant: Mutant) -> ast.AST:
    edit = mutant.edit
    assert isinstance(edit, Edit)
    tree = ast.parse(source(mutant.path))
    return next(node for _, node in nodes(tree) if type(node).__name__ == edit.node and span(node) == edit.span)


def _place(mutant: Mutant) -> tuple[int, int, int, int]:
    node = _node(mutant)
    return span(node.test if isinstance(node, ast.If) else node)


def _new_text(mutant: Mutant) -> str:
    edit = mutant.edit
    assert isinstance(edit, Edit)
    node = changed(_node(mutant), edit.change, edit.index)
    return ast.unparse(node.test if isinstance(node, ast.If) else node)


def _lines_of(mutant: Mutant) -> tuple[int, int]:
    spans = [span(node) for function, node in nodes(ast.parse(source(mutant.path))) if function == mutant.function]
    return min(first for first, *_ in spans if first), max(last for _, _, last, _ in spans)


def _errors(copy: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(HOME / "mypy"), "--no-error-summary", "shared"]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    for said in run.stdout.splitlines():
        path, _, rest = said.partition(":")
        line, _, what = rest.partition(":")
        if line.isdecimal() and what.strip().startswith("error"):
            yield path, int(line)

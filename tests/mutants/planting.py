"""Puts a mutant into a process: into functions that are loaded already, or into a module while it is imported.

A function is exchanged by its code object, a constant wherever a module or a default value holds it. What a class body
took from a constant (the longest text of a model's field) cannot be exchanged: such a mutant needs a fresh process.
"""

import ast
import gc
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

from tests.mutants.catalogue import ROOT, Mutant


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of shared/ and functions/ in this process, by path and qualified name; and all that have default values."""

    by_name: dict[tuple[str, str], list[FunctionType]]
    with_defaults: list[FunctionType]


def loaded_functions() -> Functions:
    """What can be exchanged in this process."""
    found = Functions({}, [])
    home = (f"{ROOT}/shared/", f"{ROOT}/functions/")
    for thing in gc.get_objects():
        if not isinstance(thing, FunctionType):
            continue
        if thing.__kwdefaults__:
            found.with_defaults.append(thing)
        if thing.__code__.co_filename.startswith(home):
            path = Path(thing.__code__.co_filename).relative_to(ROOT).as_posix()
            found.by_name.setdefault((path, thing.__code__.co_qualname), []).append(thing)
    return found


def plant(mutant: Mutant, functions: Functions) -> None:
    """Plant it in the loaded modules of this process."""
    tree = mutant.tree()
    if mutant.function:
        code = compile(tree, str(ROOT / mutant.path), "exec")
        for changed in inside(code):
            # Closures that are alive already have the name of their maker in theirs.
            if changed.co_qualname == mutant.function or changed.co_qualname.startswith(f"{mutant.function}.<locals>."):
                for function in functions.by_name.get((mutant.path, changed.co_qualname), ()):
                    function.__code__ = changed
        return
    tree.body = [statement for statement in tree.body if isinstance(statement, ast.Assign | ast.AnnAssign)]
    before = vars(sys.modules[mutant.module])
    after = dict(before)
    exec(compile(tree, mutant.path, "exec"), after)
    for name, old in list(before.items()):
        if name.isupper() and isinstance(old, int | timedelta | tuple | dict) and old != after[name]:
            _exchange(name, old, after[name], functions.with_defaults)


def inside(code: CodeType) -> Iterator[CodeType]:
    """The code of all functions in a module or function, at any depth."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from inside(constant)


def _exchange(name: str, old: object, new: object, with_defaults: list[FunctionType]) -> None:
    for module in list(sys.modules.values()):
        if module.__name__.partition(".")[0] not in ("shared", "functions", "infra", "tests"):
            continue
        held = vars(module)
        if name in held and held[name] == old:
            held[name] = new
    for function in () if isinstance(old, int) else with_defaults:
        defaults = function.__kwdefaults__ or {}
        for key, value in defaults.items():
            if value is old:
                defaults[key] = new


class Hook(MetaPathFinder):
    """Plants a mutant while its module is imported; for processes that have not imported it yet."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, with a loader that changes the source."""
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin, self._mutant)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, mutant: Mutant) -> None:
        super().__init__(fullname, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._mutant.tree(), self.path, "exec")

"""Which bugs there are to plant: found in the syntax trees of the sources, nothing is imported.

A mutant is an edit of one node. Its name has no line number, so it survives changes elsewhere in its file.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LIMITS: Final = "shared/domain/limits.py"
ALLOWANCES: Final = "shared/domain/effect_allowances.py"
RULES: Final = "shared/rules/__init__.py"
INVARIANTS: Final = "shared/engine/invariants.py"
_ENGINE: Final = (
    *(f"shared/engine/{name}.py" for name in ("drain", "apply", "effects", "invariants")),
    *(f"shared/runner/{name}.py" for name in ("inputs", "worker", "perform")),
)
_OPPOSITE: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_NOTHING_HAPPENS: Final = {
    "event": "from shared.domain.outcomes import Applied\nfrom shared.events.base import EventResult\n"
    "return EventResult(Applied())",
    "action": "from shared.domain.outcomes import Applied\nreturn Applied()",
}

KINDS: Final = ("rule", "invariant", "event", "action", "limit", "comparison", "due", "guard", "condition")


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a function; of a module or class body, if `function` is empty."""

    path: str
    function: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug: `was` becomes `now` at a place. `reach`: the places that a test must come to in order to notice."""

    kind: str
    path: str
    function: str
    line: int
    was: str
    now: str
    edit: "Edit | Replacement"
    reach: tuple["Place", ...]
    number: int = 0

    @property
    def name(self) -> str:
        """What it is called in survivors.txt and accepted.txt."""
        again = f" #{self.number + 1}" if self.number else ""
        return f"{self.path}::{self.function or '<module>'} {self.kind}: {self.was} => {self.now}{again}"

    @property
    def module(self) -> str:
        """The module to plant it in."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def tree(self) -> ast.Module:
        """The syntax tree of the module with the bug in it."""
        if isinstance(self.edit, Replacement):
            return ast.parse(self.edit.applied(source(self.path)), self.path)
        planter = _Planter(self.edit)
        planted = planter.visit(ast.parse(source(self.path), self.path))
        if not planter.found:
            raise LookupError(f"{self.path} has no such place: {self.name}")
        return ast.fix_missing_locations(planted)


@dataclass(frozen=True, slots=True)
class Edit:
    """What to do with the node of that type and place."""

    node: str
    span: tuple[int, int, int, int]
    change: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Replacement:
    """The text to put in place of another one, which occurs exactly once in these lines."""

    first: int
    last: int
    was: str
    now: str

    def applied(self, text: str) -> str:
        """The text with the replacement. Raises LookupError."""
        lines = text.splitlines(keepends=True)
        part = "".join(lines[self.first - 1 : self.last])
        if part.count(self.was) != 1:
            raise LookupError(f"found {part.count(self.was)} times in lines {self.first} to {self.last}: {self.was!r}")
        return "".join((*lines[: self.first - 1], part.replace(self.was, self.now), *lines[self.last :]))


@cache
def source(path: str) -> str:
    """The text of a module, read once: a run is about one state of the sources."""
    return (ROOT / path).read_text(encoding="utf-8")


class _Planter(ast.NodeTransformer):
    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self.found = False

    def generic_visit(self, node: ast.AST) -> ast.AST:
        edit = self._edit
        if type(node).__name__ != edit.node or span(node) != edit.span:
            return super().generic_visit(node)
        self.found = True
        return changed(node, edit.change, edit.index)


def changed(node: ast.AST, change: str, index: int) -> ast.AST:
    """The node after one of the changes that the catalogue knows."""
    match node, change:
        case ast.Tuple() | ast.Set() | ast.List(), "drop":
            del node.elts[index]
        case ast.BoolOp(), "drop":
            del node.values[index]
            return node.values[0] if len(node.values) == 1 else node
        case ast.FunctionDef(), "event" | "action":
            node.body = ast.parse(_NOTHING_HAPPENS[change]).body
        case ast.If(), "never":
            node.test = ast.Constant(False)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp(), "filter":
            del node.generators[index // 10].ifs[index % 10]
        case ast.Compare(), "boundary":
            node.ops[index] = _OPPOSITE[type(node.ops[index])]()
        case ast.Call(), "shorter":
            node.args[1] = _moved(node.args[1], "- MS")
        case ast.Call(), "argument +1" | "argument -1" | "argument + MS" | "argument - MS":
            node.args[index] = _moved(node.args[index], change.removeprefix("argument "))
        case ast.Call(), "argument" | "at least":
            return node.args[0] if change == "argument" else ast.parse(_at_least(node), mode="eval").body
        case ast.Yield(), "nothing":
            return ast.YieldFrom(ast.Tuple([], ast.Load()))
        case ast.expr(), "+1" | "-1" | "+ MS" | "- MS":
            return _moved(node, change)
        case _:
            raise ValueError(f"cannot do {change!r} with {type(node).__name__}")
    return node


def _at_least(later_than: ast.Call) -> str:
    return ast.unparse(later_than).replace("later_than", "at_least", 1)


def _moved(node: ast.expr, by: str) -> ast.expr:
    step = "__import__('datetime').timedelta(milliseconds=1)" if by.endswith("MS") else "1"
    amount = ast.parse(step, mode="eval").body
    return ast.BinOp(node, ast.Add() if by[0] == "+" else ast.Sub(), amount)


# finding them -----------------------------------------------------------------------------------------


def all_mutants() -> list[Mutant]:
    """Every mutant, by kind, then by place; each name once."""
    sources = Sources()
    found = [
        *_registered(sources, RULES, "RULES", "rule"),
        *_registered(sources, INVARIANTS, "INVARIANTS", "invariant"),
        *_without_effect(sources, "shared/events", "event"),
        *_without_effect(sources, "shared/actions", "action"),
        *_limits(sources),
        *_allowances(sources),
        *_in_functions(sources),
    ]
    seen: dict[str, int] = {}
    numbered = []
    for mutant in found:
        number = seen.get(mutant.name, 0)
        seen[mutant.name] = number + 1
        numbered.append(replace(mutant, number=number))
    return sorted(numbered, key=lambda mutant: (KINDS.index(mutant.kind), mutant.path, mutant.line))


class Sources:
    """The parsed sources of shared/, and who mentions what."""

    def __init__(self) -> None:
        self.trees = {
            path: ast.parse(source(path))
            for path in sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "shared").rglob("*.py"))
        }

        self._users: dict[str, dict[Place, None]] = {}
        for path, tree in self.trees.items():
            for function, node in nodes(tree):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    self._users.setdefault(node.id, {})[_place(path, function, node)] = None
                elif isinstance(node, ast.Attribute):
                    self._users.setdefault(node.attr, {})[_place(path, function, node)] = None

    def users_of(self, name: str) -> tuple[Place, ...]:
        """Where a name is mentioned."""
        return tuple(self._users.get(name, ()))

    def yields_of(self, path: str, function: str) -> tuple[Place, ...]:
        """Where a generator yields."""
        return tuple(
            _place(path, function, node)
            for owner, node in nodes(self.trees[path])
            if owner == function and isinstance(node, ast.Yield | ast.YieldFrom)
        )


def nodes(tree: ast.AST, function: str = "", prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node with the name of the outermost function around it; a function's own defaults are outside of it."""
    for child in ast.iter_child_nodes(tree):
        yield function, child
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not function:
            name = f"{prefix}{child.name}"
            for part in (*child.decorator_list, child.args):
                yield from nodes(part, "", prefix)
            for statement in child.body:
                yield name, statement
                yield from nodes(statement, name, prefix)
        elif isinstance(child, ast.ClassDef) and not function:
            yield from nodes(child, "", f"{prefix}{child.name}.")
        else:
            yield from nodes(child, function, prefix)


def _place(path: str, function: str, node: ast.AST) -> Place:
    first: int = getattr(node, "lineno", 0)
    return Place(path, function, first, getattr(node, "end_lineno", None) or first)


def _edit(node: ast.AST, change: str, index: int = 0) -> Edit:
    return Edit(type(node).__name__, span(node), change, index)


def span(node: ast.AST) -> tuple[int, int, int, int]:
    """First line, first column, last line and last column of a node."""
    ends = (getattr(node, name, None) or 0 for name in ("lineno", "col_offset", "end_lineno", "end_col_offset"))
    first, column, last, end = ends
    return first, column, last, end


def _registered(sources: Sources, path: str, table: str, kind: str) -> Iterator[Mutant]:
    for statement in sources.trees[path].body:
        if not (isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == table):
            continue
        assert isinstance(statement.value, ast.Tuple)
        for index, element in enumerate(statement.value.elts):
            judge = next(part for part in _arguments(element) if isinstance(part, ast.Attribute | ast.Name))
            module, _, function = ast.unparse(judge).rpartition(".")
            reach = sources.yields_of(f"shared/rules/{module}.py" if module else path, function)
            edit = _edit(statement.value, "drop", index)
            yield Mutant(kind, path, "", element.lineno, ast.unparse(element), "removed", edit, reach)


def _arguments(node: ast.AST) -> list[ast.expr]:
    assert isinstance(node, ast.Call)
    return node.args


def _without_effect(sources: Sources, folder: str, kind: str) -> Iterator[Mutant]:
    for path, tree in sources.trees.items():
        if not path.startswith(folder):
            continue
        for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            for node in owner.body:
                if isinstance(node, ast.FunctionDef) and node.name == "apply" and owner.name not in ("Event", "Action"):
                    name = f"{owner.name}.apply"
                    edit = _edit(node, kind)
                    yield Mutant(
                        kind,
                        path,
                        name,
                        node.lineno,
                        name,
                        "applied without effect",
                        edit,
                        tuple(_place(path, name, part) for part in node.body),
                    )


def _limits(sources: Sources) -> Iterator[Mutant]:
    for statement in sources.trees[LIMITS].body:
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            continue
        name = ast.unparse(statement.target)
        table = isinstance(statement.value, ast.Tuple)
        reach = sources.users_of("backoff") if table else sources.users_of(name)
        for index, value in _values(statement.value):
            shown = f"{name}[{index}]" if index else name
            for step in ("+ MS", "- MS") if "timedelta" in ast.unparse(value) else ("+1", "-1"):
                yield Mutant("limit", LIMITS, "", value.lineno, shown, f"{shown} {step}", _edit(value, step), reach)


def _values(of: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The values of a limit, each with its place in a table."""
    match of:
        case ast.Tuple():
            yield from ((str(index), value) for index, value in enumerate(of.elts))
        case ast.Dict():
            yield from ((ast.unparse(key), value) for key, value in zip(of.keys, of.values, strict=True) if key)
        case _:
            yield "", of


def _allowances(sources: Sources) -> Iterator[Mutant]:
    users = sources.users_of("ALLOWANCE")
    starts = tuple(place for place in users if place.function)
    for _, node in nodes(sources.trees[ALLOWANCES]):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            assert key is not None
            for index, argument in enumerate(_arguments(value)):
                # Only the timeouts are part of another constant.
                reach = users if index == 2 else starts
                was = f"{ast.unparse(key)} {('attempts', 'deadline', 'timeout')[index]} {ast.unparse(argument)}"
                for sign in ("+", "-"):
                    step = f"{sign}1" if index == 0 else f"{sign} MS"
                    edit = _edit(value, f"argument {step}", index)
                    yield Mutant("limit", ALLOWANCES, "", value.lineno, was, step, edit, reach)


_Found = Iterator[tuple[str, str, str, Edit]]


def _in_functions(sources: Sources) -> Iterator[Mutant]:
    for path, tree in sources.trees.items():
        finders = _finders(path)
        for function, node in nodes(tree):
            for finder in finders:
                for kind, was, now, edit in finder(node) if function else ():
                    told = node.body[0] if isinstance(node, ast.If) else node
                    yield Mutant(kind, path, function, edit.span[0], was, now, edit, (_place(path, function, told),))


def _finders(path: str) -> list[Callable[[ast.AST], _Found]]:
    found: list[Callable[[ast.AST], _Found]] = []
    judged = path.startswith(
        ("shared/rules/", "shared/actions/", "shared/events/", "shared/intake/", "shared/town/writing/")
    )
    if judged or path.startswith(("shared/engine/", "shared/runner/")) or path == LIMITS:
        found += [_comparisons, _spans, _dues]
    if judged or path in _ENGINE:
        found += [_guards]
    if path.startswith("shared/rules/") or path in (INVARIANTS, "shared/engine/effects.py"):
        found += [_conditions]
    return found


def _comparisons(node: ast.AST) -> _Found:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            if type(operator) in _OPPOSITE:
                was = ast.unparse(node)
                edited = ast.Compare(node.left, [*node.ops], node.comparators)
                now = ast.unparse(changed(edited, "boundary", index))
                yield "comparison", was, now, _edit(node, "boundary", index)


def _spans(node: ast.AST) -> _Found:
    if (
        isinstance(node, ast.Call)
        and len(node.args) > 1
        and ast.unparse(node.func).rpartition(".")[2]
        in (
            "stale",
            "within",
        )
    ):
        was = ast.unparse(node)
        yield (
            "comparison",
            was,
            f"{was.partition('(')[0]}(..., {ast.unparse(node.args[1])} - MS)",
            _edit(node, "shorter"),
        )


_DUE: Final = ("Due(", "Due.", "backoff", "cooldown", "silence.until(")


def _dues(node: ast.AST) -> _Found:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "just_after":
        yield "due", ast.unparse(node), ast.unparse(node.args[0]), _edit(node, "argument")
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "Due.later_than":
        yield "due", ast.unparse(node), "Due.at_least(...)", _edit(node, "at least")
    if isinstance(node, ast.Yield) and node.value is not None and ast.unparse(node.value).startswith(_DUE):
        yield "due", ast.unparse(node), "no due", _edit(node, "nothing")


def _guards(node: ast.AST) -> _Found:
    if isinstance(node, ast.If):
        first = ast.unparse(node.body[0]).partition("\n")[0][:60]
        yield "guard", f"if {ast.unparse(node.test)}: {first}", "if False", _edit(node, "never")
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        for number, generator in enumerate(node.generators):
            for index, condition in enumerate(generator.ifs):
                yield (
                    "guard",
                    f"... if {ast.unparse(condition)}",
                    "no filter",
                    _edit(node, "filter", number * 10 + index),
                )


def _conditions(node: ast.AST) -> _Found:
    if isinstance(node, ast.BoolOp):
        for index, operand in enumerate(node.values):
            yield "condition", ast.unparse(node), f"without {ast.unparse(operand)}", _edit(node, "drop", index)

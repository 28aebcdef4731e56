"""Protocols to the outside are ports, and a port names the type of everything that passes through it.

Each `Any` in a port, and each Protocol of `shared` that is not a port, is listed here with its reason.
"""

import ast
from collections.abc import Iterator
from typing import Final

import pytest

from tests.conventions.sources import files_under, name_of

UNTYPED: Final = {
    "shared/ports/steps.py: Steps": "what a yield returns depends on the step; a generator has one type for all of them",
    "shared/ports/steps.py: Begin.steps": "a task may return anything: whoever awaits it knows what",
    "shared/ports/steps.py: Ended.result": "as Begin.steps",
    "shared/ports/steps.py: Await.tasks": "a task is what the driver makes of Begin: each driver has its own",
    "shared/ports/steps.py: drive": "as Steps: the answer to the last step",
    "shared/ports/steps.py: _done": "as Steps: the answer to a step",
    "shared/ports/steps.py: _make_all": "as Steps: the answers to calls",
    "shared/ports/town_past.py: JournalRow.inputs": "JSON whose shape depends on the code version that wrote it",
    "shared/ports/town_past.py: JournalRow.outputs": "as JournalRow.inputs",
    "shared/ports/town_past.py: journal_row": "decoded JSON: the function is what gives it a type",
}

NOT_PORTS: Final = {
    "shared/adapters/forges.py: PullRequestApi": "what the adapters of single forges have in common; nobody else sees it",
    "shared/domain/images.py: PagedImage": "an image as a value: the core imports no port",
    "shared/rules/beads.py: Dispatched": "what the rules need to know of an issue or a review: a value of the core",
    "shared/runner/figures.py: Figures": "what the loops tell beside `Metrics`: its values are reports of the runner",
    "shared/runner/passes.py: Watcher": "whoever started the local loop: its values are reports of the runner",
    "shared/town/large_images.py: ScratchFiles": "where the core keeps the file of a large image: the core imports no port",
}


def test_every_protocol_of_shared_is_a_port_or_has_a_reason() -> None:
    found = {
        f"{name_of(path)}: {node.name}"
        for path in files_under("shared")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in node.bases)
    }
    assert {each for each in found if not each.startswith("shared/ports/")} == set(NOT_PORTS)


def test_every_any_in_a_port_has_a_reason() -> None:
    found = {
        f"{name_of(path)}: {place}"
        for path in files_under("shared/ports")
        for place in untyped_places(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set(UNTYPED)


def untyped_places(tree: ast.Module) -> Iterator[str]:
    """Function, class attribute or constant of each annotation or alias that names `Any`."""
    yield from _places_in(tree.body, "")


def _places_in(statements: list[ast.stmt], around: str) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.ClassDef):
            yield from _places_in(statement.body, f"{around}{statement.name}.")
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if _names_any(statement):
                yield around + statement.name
        elif isinstance(statement, ast.AnnAssign):
            if _names_any(statement):
                yield around + ast.unparse(statement.target)
        elif isinstance(statement, ast.Assign) and _names_any(statement):
            yield around + ast.unparse(statement.targets[0])


def _names_any(tree: ast.AST) -> bool:
    """Whether `Any` stands anywhere in it, also in a quoted annotation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "Any":
            return True
        if isinstance(node, ast.Attribute) and node.attr == "Any":
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _quotes_any(node.value):
            return True
    return False


def _quotes_any(text: str) -> bool:
    try:
        return _names_any(ast.parse(text, mode="eval").body) if "Any" in text else False
    except SyntaxError:
        return False


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ("class Metrics(Protocol):\n    def tick_ran(self, report: Any) -> None: ...", ["Metrics.tick_ran"]),
        ("class Row:\n    inputs: dict[str, Any]", ["Row.inputs"]),
        ("Order = Mapping[str, Any]", ["Order"]),
        ("def late(future: 'Future[Any]') -> None: ...", ["late"]),
        ("def late(future: typing.Any) -> None: ...", ["late"]),
        ("def late(future: object) -> None:\n    'Any answer is late.'", []),
        ("from typing import Any", []),
    ],
)
def test_the_place_of_an_any_is_found(source: str, places: list[str]) -> None:
    assert list(untyped_places(ast.parse(source))) == places

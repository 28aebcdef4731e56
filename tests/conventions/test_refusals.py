"""Every refusal says what to do: mypy requires the hint, and here nobody writes an empty one."""

import ast
import json
from collections.abc import Iterator

import pytest

from functions import problems
from shared.domain import errors
from shared.domain.errors import Refused, TownError
from tests.conventions.sources import files_under, name_of


def refusals() -> Iterator[tuple[str, ast.expr | None]]:
    """The place and the hint of every refusal in the code."""
    for path in files_under("functions", "shared", "infra"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refused":
                hints = [each.value for each in node.keywords if each.arg == "hint"]
                yield f"{name_of(path)}:{node.lineno}", hints[0] if hints else None


def test_no_refusal_has_an_empty_hint() -> None:
    found = dict(refusals())
    assert len(found) > 100
    empty = [place for place, hint in found.items() if hint is None or ast.unparse(hint) in ("''", "None")]
    assert empty == []


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, TownError) and kind not in (Refused, errors.RowUnreadable)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_other_error_of_ours_is_answered_with_a_hint_too(kind: type[TownError]) -> None:
    shown = json.loads(problems.of_error(kind("something went wrong"))["body"])
    assert shown["hint"]

"""Which test shows which scenario: `@scenario(12)` or `@scenario(5, 6)` above a test enters it into the table."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

_PAGE = Path(__file__).parents[2] / "docs" / "spec" / "scenarios.md"
LISTED = [int(number) for number in re.findall(r"^(\d+)\. ", _PAGE.read_text(encoding="utf-8"), re.MULTILINE)]
NUMBERS = frozenset(LISTED)

LATER: dict[int, tuple[str, str]] = {}
"""Scenarios that need what a later issue builds: the issue, and the package whose existence ends the excuse."""

TABLE: dict[int, list[str]] = {}


def scenario(*numbers: int) -> Callable[[F], F]:
    """Enter a test into the table."""

    def enter(test: F) -> F:
        for number in numbers:
            TABLE.setdefault(number, []).append(f"{test.__module__}.{test.__name__}")
        return test

    return enter

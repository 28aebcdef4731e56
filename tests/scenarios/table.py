"""Which test shows which scenario: `@scenario(12)` or `@scenario(5, 6)` above a test enters it into the table."""

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

LAST = 215
NUMBERS = frozenset(range(1, 208)) | frozenset(range(208, LAST + 1))

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

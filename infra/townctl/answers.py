"""What a command answers: one value for machines, one view for people, one exit code.

Text of a town comes from outside. Before it reaches a terminal, everything that is not printable is replaced, so that a
bead's title can neither colour nor clear anybody's screen; and nothing in it is taken for markup.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

OK: Final = 0
FOUND: Final = 1
"""The command did what it was asked to, and found something that a person should look at."""
REFUSED: Final = 2
"""The command did not do what it was asked to, and says why."""
BROKEN: Final = 70
"""The command met a bug of its own."""
INTERRUPTED: Final = 130
"""Somebody stopped the command before it was done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command. `document` is printed with --json, `shown` without."""

    document: Any
    shown: tuple[RenderableType, ...]
    code: int = OK


def plain(text: object) -> str:
    """One line of text that is safe to show."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(text))


def table(*columns: str, rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """A table of texts; None is shown as nothing."""
    made = Table(*columns, box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for row in rows:
        made.add_row(*("" if cell is None else plain(cell) for cell in row))
    return made


def short(identifier: str | None) -> str:
    """An id as a table shows it: the first part of a UUID, others whole."""
    if identifier is None:
        return ""
    looks_like_uuid = len(identifier) == 36 and identifier.count("-") == 4
    return identifier[:8] if looks_like_uuid else identifier

"""The answer of a command: one JSON document for programs, one view for people, one exit code.

The texts in a town come from outside. Before they reach a terminal, every unprintable character is replaced, so that the
title of a bead can neither colour nor clear the screen. No text is interpreted as markup.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from typing import Any, Final, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from infra.townctl.tables import Rows
from shared.domain.times import to_text

OK: Final = 0
FOUND: Final = 1
"""The command is done, and something needs attention."""
REFUSED: Final = 2
"""The command was refused: nothing was done, and the error says why."""
BROKEN: Final = 70
"""The command hit a bug in townctl."""
INTERRUPTED: Final = 130
"""The command was interrupted before it was done."""

_WIDE: Final = 240
"""Columns if the output is not a terminal: enough for an event with the longest id on one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command. `said`, an answer model or JSON, is printed with --json, `shown` without."""

    said: Any
    shown: Iterable[RenderableType]
    code: int = OK

    @property
    def document(self) -> Any:
        """The JSON document."""
        if not is_dataclass(self.said):
            return self.said
        from shared.domain.shapes import document

        return document(self.said)


def lines(text: str) -> str:
    """Lines of text that are safe to show."""
    return "\n".join(plain(each) for each in text.split("\n"))


def plain(text: object) -> str:
    """One line of text that is safe to show."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(text))


def table(*columns: str, rows: Iterable[Sequence[object]], title: str | None = None) -> Rows:
    """A table; None is an empty cell. The first columns matter most: see `tables`."""
    made = tuple(tuple(cell if isinstance(cell, Text) else Text(_cell(cell)) for cell in row) for row in rows)
    return Rows(columns, made, title)


def _cell(cell: object) -> str:
    return "" if cell is None else plain(cell)


def time_text(at: datetime | None) -> str:
    """A time in a table; `unknown` if it could not be read."""
    return "unknown" if at is None else to_text(at)


def screen(stream: TextIO) -> Console:
    """A console that does not interpret markup. It is wide if it is not a terminal, so that pipes lose nothing."""
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=None if stream.isatty() else _WIDE)


def compact(value: Any) -> str:
    """The one JSON document of an answer, in ASCII, so that every terminal, locale and pipe can carry it."""
    return json.dumps(value, indent=2)

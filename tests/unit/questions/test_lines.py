"""Rows of the database as lines of answers, damaged ones too."""

from typing import Any

import pytest

from shared.domain.shapes import Time, answer, document
from shared.domain.states import BeadStatus
from shared.questions.lines import columns_of, line_of, lines_of
from tests.towns import T


@answer
class Line:
    bead_id: str
    status: BeadStatus
    since: Time | None
    staged: bool
    reason: str | None
    count: int
    more: tuple[str, ...]


ROW = ("b", "in_progress", "2026-01-10T12:00:00.000Z", 1, None, 3)


def test_a_row_becomes_a_line_by_the_types_of_the_fields() -> None:
    line = line_of(Line, ROW, more=("x",))
    assert line == Line("b", BeadStatus.IN_PROGRESS, T, staged=True, reason=None, count=3, more=("x",))
    assert isinstance(line.status, BeadStatus)
    assert columns_of(Line)[: len(ROW)] == ("bead_id", "status", "since", "staged", "reason", "count")


@pytest.mark.parametrize(
    ("column", "cell", "shown"),
    [(1, "nonsense", "nonsense"), (2, "yesterday", None), (2, None, None), (4, 5, "5"), (3, 0, False)],
)
def test_a_damaged_cell_does_not_hide_the_row(column: int, cell: Any, shown: Any) -> None:
    damaged = [*ROW[:column], cell, *ROW[column + 1 :]]
    [*lines] = (line_of(Line, each, more=()) for each in (ROW, damaged))
    [_, line] = map(document, lines)
    assert list(line.values())[column] == shown


def test_rows_become_lines_in_their_order() -> None:
    @answer
    class Short:
        bead_id: str

    assert lines_of(Short, [("b",), ("a",)]) == (Short("b"), Short("a"))

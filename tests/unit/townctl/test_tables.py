"""Tables for people: one row is one line, no word is broken, and what does not fit is named.

The status of a full town is kept as it looks on terminals of 80 and 140 columns; `make tables-accept` accepts a change.
"""

import io
import os
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from infra.townctl.output import screen, table
from infra.townctl.people import ABSOLUTE, span, when
from infra.townctl.status_view import status_view
from infra.townctl.tables import cut
from infra.ui.short_ids import shortened
from infra.ui.words import REASONS
from shared.questions.waiting import REASONS as KNOWN
from tests.towns import MS, T, ago
from tests.unit.townctl.a_full_town import CJK, EMOJI, LONG, a_full_town

FOLDER = Path(__file__).parent / "golden"
EVENT = "res-848902c6756193fd9e4ccf4b993bcd081b9f47af61dd362a4f5769a32dfcc181-1"


def printed(*parts: RenderableType, columns: int) -> list[str]:
    """The lines on a terminal so many columns wide, without colours."""
    console = Console(file=io.StringIO(), width=columns, markup=False, highlight=False, emoji=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str | Text))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [80, 140])
def test_the_status_of_a_full_town_looks_as_it_did(columns: int) -> None:
    lines = printed(*status_view(a_full_town()), columns=columns)
    file = FOLDER / f"status-{columns}.txt"
    if os.environ.get("ACCEPT_TABLES"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == file.read_text(encoding="utf-8").splitlines(), "make tables-accept, if this is how it shall look"


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 140, 240])
def test_each_row_is_one_line_that_fits_and_no_line_is_blank(columns: int) -> None:
    full = a_full_town()
    for part in status_view(full):
        if isinstance(part, Text):
            continue
        lines = printed(part, columns=columns)
        assert all(line.strip() for line in lines)
        assert all(cell_len(line) <= columns for line in lines)
    rows = [("Write the lexer", "in progress", "x"), (LONG, "waits", ""), (CJK, "waits", "")]
    lines = printed(table("title", "state", "", rows=rows), columns=columns)
    assert len([line for line in lines if not line.startswith("not shown")]) == len(rows) + 2


def test_a_long_text_is_cut_between_words() -> None:
    for text in (LONG, EMOJI, "one two three four five six"):
        words = set(text.split())
        for width in range(max(map(cell_len, words)) + 2, cell_len(text)):
            shown = cut(Text(text), width).plain
            assert cell_len(shown) <= width
            assert shown.endswith("…")
            assert set(shown[:-1].split()) <= words


def test_wide_characters_take_two_columns() -> None:
    assert cell_len(cut(Text(CJK), 11).plain) <= 11
    assert cut(Text(CJK), cell_len(CJK)).plain == CJK


def test_the_columns_that_matter_least_are_left_out_and_named() -> None:
    row = (
        "Fix the door of the house by the river",
        "in progress",
        EVENT[:24],
        "work-of-the-website",
        "2026-01-10T12:00:00Z",
    )
    lines = printed(table("title", "state", "bead", "rig", "created", rows=[row]), columns=60)
    assert lines[-1] == "not shown at this width: rig, created"
    assert lines[2].startswith("Fix the door")
    assert printed(table("title", "rig", rows=[("a", None)]), columns=60)[0] == "title"


def test_without_a_terminal_nothing_is_cut_and_nothing_is_coloured() -> None:
    file = io.StringIO()
    row = (Text("poisoned", style="red"), EVENT, "a text of some length that an event may well have as its error")
    screen(file).print(table("outcome", "event", "error", rows=[row]))
    shown = file.getvalue()
    assert all(str(cell) in shown for cell in row)
    assert "\x1b" not in shown


def test_colours_are_for_terminals_and_no_color_takes_them_away(monkeypatch: pytest.MonkeyPatch) -> None:
    row = (Text("failed", style="red"),)

    def coloured() -> str:
        console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
        console.print(table("state", rows=[row]))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m" in coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in coloured()


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (T, "0 s ago"),
        (ago(seconds=59), "59 s ago"),
        (ago(seconds=60), "1 min ago"),
        (ago(minutes=59, seconds=59), "59 min ago"),
        (ago(minutes=60), "1 h ago"),
        (ago(hours=23, minutes=50), "23 h 50 min ago"),
        (ago(days=1), "1 d ago"),
        (ago(days=3, hours=4), "3 d 4 h ago"),
        (ago(days=30), "30 d ago"),
        (ago(days=30) - MS, "2025-12-11T11:59:59.999Z"),
        (ago(minutes=-5), "in 5 min"),
        (None, "unknown"),
    ],
)
def test_a_time_is_said_as_people_say_it(at: object, said: str) -> None:
    assert when(at, T) == said  # type: ignore[arg-type] # a time or None


def test_a_time_is_absolute_if_that_is_asked() -> None:
    token = ABSOLUTE.set(True)
    try:
        assert when(ago(minutes=1), T) == "2026-01-10T11:59:00.000Z"
    finally:
        ABSOLUTE.reset(token)


def test_no_length_is_negative() -> None:
    assert span(T - ago(minutes=-5)) == "0 s"


def test_every_waiting_reason_has_words() -> None:
    assert set(REASONS) == set(KNOWN)
    assert all(re.fullmatch(r"[a-z ]+", reason.text) for reason in REASONS.values())


def test_ids_inside_a_sentence_are_as_short_as_those_of_tables() -> None:
    said = "agent_done d7f38600-f186-8899-b649-726fbe2f4b96 (d7f38600-f186-8899-b649-726fbe2f4b96:8:done) of bead-1"
    assert shortened(said) == "agent_done d7f38600 (d7f38600:8:done) of bead-1"

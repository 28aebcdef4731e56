"""Tables for people: on a narrow terminal a row takes more lines, and nothing of it is left out."""

import io

import pytest
from rich.console import Console

from infra.townctl.output import shortened, table

AT = "2026-01-10T12:00:00.000Z"
EVENT = "res-848902c6756193fd9e4ccf4b993bcd081b9f47af61dd362a4f5769a32dfcc181-1"


def shown(columns: int, monkeypatch: pytest.MonkeyPatch, *head: str, row: tuple[str, ...]) -> str:
    """A table with one row on a terminal so many columns wide, without its title line."""
    monkeypatch.setenv("COLUMNS", str(columns))
    console = Console(file=io.StringIO(), width=columns)
    console.print(table(*head, rows=[row]))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= columns for line in lines)
    return "\n".join(lines)


def test_a_story_on_a_narrow_terminal_keeps_its_times_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns every line of `townctl explain` began with `2026-11…`, and its ids were cut off alike."""
    row = ("41", AT, "event", "agent_status 9ea667a6", "applied: Writing features/write_the_lexer_3949d73f.py")
    story = shown(80, monkeypatch, "tick", "at", "by", "what", "outcome", row=row)
    assert AT in story
    assert "…" not in story
    assert "".join(story.split()).endswith("py")


@pytest.mark.parametrize("columns", [60, 80, 120, 240])
def test_every_character_of_an_event_is_shown_on_every_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    head = ("seq", "event", "type", "about", "received", "outcome", "error")
    row = ("5", EVENT, "dispatch_result", "5a6e7b9c", AT, "applied", "")
    lines = shown(columns, monkeypatch, *head, row=row).partition("\u2500 \n")[2].splitlines()
    starts = [shown_at for shown_at, _ in _cells(lines[0])]
    for number, cell in enumerate(row[:-1]):
        end = starts[number + 1] if number + 1 < len(starts) else columns
        assert "".join(line[starts[number] : end].strip() for line in lines) == cell


def test_without_a_terminal_the_longest_event_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ("123456", EVENT, "escalation_acknowledged", "5a6e7b9c", AT, "skipped: missing", "")
    head = ("seq", "event", "type", "about", "received", "outcome", "error")
    assert EVENT in shown(240, monkeypatch, *head, row=row)


def test_ids_inside_a_sentence_are_as_short_as_those_of_tables() -> None:
    said = "agent_done d7f38600-f186-8899-b649-726fbe2f4b96 (d7f38600-f186-8899-b649-726fbe2f4b96:8:done) of bead-1"
    assert shortened(said) == "agent_done d7f38600 (d7f38600:8:done) of bead-1"


def _cells(line: str) -> list[tuple[int, str]]:
    """Where the words of a line begin; every cell of a first line is one word here."""
    found, at = [], 0
    for word in line.split():
        at = line.index(word, at)
        found.append((at, word))
        at += len(word)
    return found

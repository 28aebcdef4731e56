"""What the demo prints to try next works in the shell that started it."""

import sys
from pathlib import Path

import pytest

from infra.demo.story import how_to_call


def program(folder: Path) -> Path:
    """A townctl that can be run."""
    path = folder / "townctl"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_demo_that_make_started_names_the_program_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make demo` ended with commands that began with `townctl`, which no new user has on the path."""
    monkeypatch.setattr(sys, "argv", [".venv/bin/townctl", "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert how_to_call() == ".venv/bin/townctl"
    program(tmp_path)  # another one, of somebody else
    assert how_to_call() == ".venv/bin/townctl"


def test_on_the_path_its_name_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(program(tmp_path)), "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert how_to_call() == "townctl"


def test_a_path_with_a_blank_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/my towns/bin/townctl", "demo"])
    assert how_to_call() == "'/my towns/bin/townctl'"

"""The docstring of `infra.townctl` is the map of the package."""

import re
from pathlib import Path

import infra.townctl
from infra.townctl import commands

FOLDER = Path(infra.townctl.__file__).parent


def test_the_map_names_every_module_and_no_other() -> None:
    """It named 6 of 16 modules, and one of those had moved away."""
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    named = set(re.findall(r"`(\w+)`", infra.townctl.__doc__ or ""))
    assert modules - named == set()
    assert named - modules == {"demo", "ui"}


def test_the_map_names_every_command() -> None:
    registered = {command.name.partition(" ")[0] for command in commands.COMMANDS}
    assert registered
    words = set(re.findall(r"[a-z][a-z-]*", infra.townctl.__doc__ or ""))
    assert registered - words == set()

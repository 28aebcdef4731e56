"""The wheel of `make dist` in an environment with nothing else in it, as `pipx install` and `uv tool install` make it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.townctl_calls import REPOSITORY

pytestmark = pytest.mark.long

BIN = REPOSITORY / "build/tried/bin"


@pytest.fixture(scope="module")
def installed() -> Path:
    """Where its programs are."""
    made = subprocess.run(["make", "try-dist"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return BIN


def call(program: Path, *words: str, data: Path) -> str:
    """What the program prints, far from the sources."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TOWNCTL_"))}
    done = subprocess.run(
        [str(program), *words],
        cwd=data,
        env=environment | {"TOWNCTL_DATA": str(data / "towns"), "HOME": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_townctl_runs_a_town_and_has_its_data_files(installed: Path, tmp_path: Path) -> None:
    def townctl(*words: str) -> str:
        return call(installed / "townctl", *words, data=tmp_path)

    assert "created town alpha" in townctl("town", "create", "alpha")
    townctl("bead", "create", "alpha", "Write the lexer")
    assert "committed" in townctl("tick", "alpha", "--force")
    assert "Write the lexer" in townctl("bead", "list", "alpha")
    assert "every tick does the same" in townctl("backtest", "--from", "2020-01-01T00:00:00Z", "--jobs", "1")
    assert "merge_strategy" in townctl("explain", "setting", "merge_strategy")
    assert "town-agent" in call(installed / "town-agent", "--help", data=tmp_path)


def test_everything_that_its_commands_import_is_installed_with_it(installed: Path, tmp_path: Path) -> None:
    """Commands import late, so a missing package would show only when somebody runs that command."""
    program = (
        "import importlib, infra, infra.townctl.commands as c\n"
        "assert 'tried' in infra.__path__[0], infra.__path__\n"
        "[importlib.import_module('infra.' + each.path.partition(':')[0]) for each in c.COMMANDS]\n"
        "import infra.ui.pages, infra.listening.live, infra.agents.town_agent.main, functions.debug.app\n"
        "print(importlib.resources.files('infra.ui').joinpath('assets/page.js').is_file())\n"
    )
    assert call(installed / "python", "-c", program, data=tmp_path).strip() == "True"

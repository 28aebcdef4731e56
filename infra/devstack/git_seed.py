"""A repository to work on: bare, with one commit, in a directory of this machine.

A rig's address must be https or ssh. `redirect` lets agents use an honest address that no network will ever see: git
itself replaces it by the directory (`url.<directory>.insteadOf`), and `GIT_ALLOW_PROTOCOL=file` refuses whatever was
not replaced.
"""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

OFFLINE: Final = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "file",
}
"""Git settings of the demo: no configuration of this machine or user, no question at the terminal, no network."""

_README: Final = """\
# Demo

Four agents' worth of work lands here. Every bead adds a module to `features/`.
"""


def create_repository(directory: Path, *, default_branch: str = "main") -> Path:
    """Make a bare repository with an initial commit and return its path. Raises FileExistsError if there is
    something.
    """
    directory.mkdir(parents=True)
    _git("init", "--quiet", "--bare", f"--initial-branch={default_branch}", ".", at=directory)
    _git("config", "gc.auto", "0", at=directory)  # several agents push at once; nothing is to be packed under them
    _git("config", "receive.autogc", "false", at=directory)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        _git("init", "--quiet", f"--initial-branch={default_branch}", ".", at=tree)
        (tree / "README.md").write_text(_README, encoding="utf-8")
        (tree / "features").mkdir()
        (tree / "features" / "__init__.py").write_text('"""What the beads of the demo have built."""\n')
        _git("add", ".", at=tree)
        _git("commit", "--quiet", "--no-verify", "-m", "Begin", at=tree)
        _git("push", "--quiet", str(directory.absolute()), default_branch, at=tree)
    return directory


def redirect(addresses: Mapping[str, Path]) -> dict[str, str]:
    """Environment in which git uses a directory wherever one of these addresses is named."""
    settings = {"GIT_CONFIG_COUNT": str(len(addresses))}
    for number, (address, directory) in enumerate(sorted(addresses.items())):
        settings[f"GIT_CONFIG_KEY_{number}"] = f"url.{directory.absolute()}.insteadOf"
        settings[f"GIT_CONFIG_VALUE_{number}"] = address
    return settings


def _git(*words: str, at: Path) -> None:
    """Run git as nobody in particular. Raises CalledProcessError; git has then said why on standard error."""
    who = ["-c", "user.name=Town Demo", "-c", "user.email=demo@town.invalid", "-c", "core.hooksPath=/dev/null"]
    subprocess.run(["git", *who, *words], check=True, cwd=at, env={**os.environ, **OFFLINE})

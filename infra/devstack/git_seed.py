"""A repository for agents to work on: bare, with one commit, in a local directory.

The URL of a rig must be https or ssh. With `redirect`, agents use such a URL, but git replaces it with the directory
(`url.<directory>.insteadOf`), and with `GIT_ALLOW_PROTOCOL=file` git refuses every URL that was not replaced.
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
"""Settings with which git ignores the configuration of the machine and the user, never prompts, and uses no network."""

IDENTITY: Final = {
    "GIT_AUTHOR_NAME": "Agent",
    "GIT_AUTHOR_EMAIL": "agent@town.invalid",
    "GIT_COMMITTER_NAME": "Agent",
    "GIT_COMMITTER_EMAIL": "agent@town.invalid",
}
"""Who commits, for agents that have no configuration of git."""

_README: Final = """\
# Demo

Four agents' worth of work lands here. Every bead adds a module to `features/`.
"""


def create_repository(directory: Path, *, default_branch: str = "main") -> Path:
    """Create a bare repository with one commit and return its path. Raises FileExistsError if the directory exists."""
    directory.mkdir(parents=True)
    _git("init", "--quiet", "--bare", f"--initial-branch={default_branch}", ".", at=directory)
    _git(
        "config", "gc.auto", "0", at=directory
    )  # several agents push at the same time, and garbage collection must not interfere
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
    """Environment variables with which git uses a directory in place of each of these URLs."""
    settings = {"GIT_CONFIG_COUNT": str(len(addresses))}
    for number, (address, directory) in enumerate(sorted(addresses.items())):
        settings[f"GIT_CONFIG_KEY_{number}"] = f"url.{directory.absolute()}.insteadOf"
        settings[f"GIT_CONFIG_VALUE_{number}"] = address
    return settings


def _git(*words: str, at: Path) -> None:
    """Run git as the author `Town Demo`. Raises CalledProcessError; git's message is on standard error."""
    who = ["-c", "user.name=Town Demo", "-c", "user.email=demo@town.invalid", "-c", "core.hooksPath=/dev/null"]
    subprocess.run(["git", *who, *words], check=True, cwd=at, env={**os.environ, **OFFLINE})

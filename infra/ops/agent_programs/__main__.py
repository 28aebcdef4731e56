"""Links the installed programs into one directory, for PATH: `python -m infra.ops.agent_programs .tools/agent-programs`.

npm runs no install scripts here, and without theirs, opencode and Claude Code only have placeholders in node_modules/.bin. Each has
its program in a package for its platform, and for some processors there is more than one: the first that runs is linked.

opencode is pinned by the packages for Linux on x86-64, without the package `opencode-ai`, which only chooses among them: `npm ci`
demands the hash of every package in the choice, and not every registry has them all.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "opencode": ("opencode-*/bin/opencode",),
    "claude": ("@anthropic-ai/claude-code-*/claude",),
    "codex": (".bin/codex",),
}
_SECONDS: Final = 120.0


def main() -> int:
    """Returns 1 if a program does not run on this machine."""
    home = Path(sys.argv[1]).absolute()
    missing = [name for name in _PLACES if not _link(home, name)]
    for name in missing:
        print(
            f"agent-programs: {name} has no program that runs on this machine; its packages are in {home}",
            file=sys.stderr,
        )
    return 1 if missing else 0


def _link(home: Path, name: str) -> bool:
    """Link the first program of this name that runs, and print its version."""
    for program in (path for place in _PLACES[name] for path in sorted((home / "node_modules").glob(place))):
        version = _version(program)
        if version is not None:
            link = home / "bin" / name
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(program)
            print(f"agent-programs: {name} {version}")
            return True
    return False


def _version(program: Path) -> str | None:
    """The program's version; None if it does not run."""
    try:
        done = subprocess.run(
            [program, "--version"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    return next((word for word in words if word[0].isdigit()), "") if done.returncode == 0 and words else None


if __name__ == "__main__":
    sys.exit(main())

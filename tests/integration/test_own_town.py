"""docs/own-town.md, as a newcomer follows it: every command of the page, from an empty directory to merged work."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.townctl import agent_programs
from shared.adapters.clock import wait_for
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/own-town.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LONGEST_SECONDS = 300


def environment(home: Path) -> dict[str, str]:
    """A newcomer's environment: townctl and town-agent on PATH, and no git configuration."""
    (home / "bin").mkdir(parents=True)
    for name in ("townctl", "town-agent"):
        (home / "bin" / name).symlink_to(Path(sys.executable).parent / name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "TOWN", "AWS_"))}
    return kept | {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.mark.long
def test_the_commands_of_the_page_lead_to_merged_work(tmp_path: Path) -> None:
    begin, watch = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    around, town, log = environment(tmp_path / "home"), tmp_path / "my-town", tmp_path / "log"
    with log.open("wb") as out:
        # `exec`: the signal is for townctl, as Ctrl-C would be
        shell = begin.replace("townctl run", "exec townctl run")
        running = subprocess.Popen(["bash", "-euc", shell], cwd=tmp_path, env=around, stdout=out, stderr=out)
        try:

            def is_closed() -> bool:
                if not town.exists():
                    return False
                shown = subprocess.run(
                    ["townctl", "bead", "show", "mine", "door"],
                    check=False,
                    cwd=town,
                    env=around,
                    capture_output=True,
                    text=True,
                )
                return re.search(r"status +closed", shown.stdout) is not None

            found = wait_for(lambda: is_closed() or running.poll() is not None, seconds=LONGEST_SECONDS, every=1)
            assert found, log.read_text()
            assert running.poll() is None, log.read_text()
            seen = subprocess.run(
                ["bash", "-euc", watch], check=False, cwd=town, env=around, capture_output=True, text=True
            )
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(PATIENCE_SECONDS)
            finally:
                running.kill()
                assert agent_programs.no_agents(town / "town-data").stop_all() == ()
    assert seen.returncode == 0, seen.stderr
    for said in ("Fix the door", "polecat of Fix the door", "review_completed"):
        assert said in seen.stdout
    assert seen.stdout.endswith("Fix the door\n")

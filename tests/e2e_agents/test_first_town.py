"""docs/agents/README.md, as a newcomer follows it: every command of the page, with each program and a scripted model."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.devstack.model_server.server import KEY, MODEL, ModelServer
from infra.devstack.model_server.workers import approves, implements, mayor_that_waits
from infra.townctl import agent_programs
from shared.adapters.clock import wait_for
from tests.e2e_agents.real_towns import LONGEST_SECONDS
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.agents
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/agents/README.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
TITLE = "Write poem.md, four lines about a door"
KEYS = {"opencode": "OPENAI_API_KEY", "claude": "ANTHROPIC_API_KEY", "codex": "OPENAI_API_KEY"}


def environment(home: Path, model: ModelServer) -> dict[str, str]:
    """A newcomer's environment: a home of its own, the three programs and townctl on PATH, and a key."""
    home.mkdir()
    (home / "bin").mkdir()
    for name in ("townctl", "town-agent"):
        (home / "bin" / name).symlink_to(Path(sys.executable).parent / name)
    ours = {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "TOWN_AGENT_MODEL_URL": model.url,
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(KEYS.values(), KEY),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "TOWN", "AWS_"))}
    return kept | ours


@pytest.mark.parametrize(
    "program", ["opencode", *(pytest.param(name, marks=pytest.mark.long) for name in ("claude", "codex"))]
)
def test_the_commands_of_the_page_bring_a_poem_into_main(tmp_path: Path, program: str) -> None:
    begin, watch = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    strategy = '"merge_strategy": "direct"'
    swaps = [("--agent opencode", f"--agent {program}"), ("OPENAI_API_KEY", KEYS[program])]
    if program == "codex":  # its built-in model calls tools in a way that the scripted model does not know
        swaps.append((strategy, f'{strategy}, "default_model": "{MODEL}"'))
    for before, after in swaps:
        assert before in begin
        begin = begin.replace(before, after)
    scripts = [implements(TITLE, "echo 'A door' > poem.md"), approves(TITLE), mayor_that_waits()]
    model, town = ModelServer(scripts), tmp_path / "first-town"
    log = tmp_path / "log"
    with model.serving(), log.open("wb") as out:
        around = environment(tmp_path / "home", model)
        # `exec`: the signal is for townctl, as Ctrl-C would be
        shell = begin.replace("townctl run", "exec townctl run")
        running = subprocess.Popen(["bash", "-euc", shell], cwd=tmp_path, env=around, stdout=out, stderr=out)
        try:

            def is_written() -> bool:
                words = ["git", f"--git-dir={town / 'work.git'}", "show", "main:poem.md"]
                return subprocess.run(words, check=False, capture_output=True).returncode == 0

            found = wait_for(lambda: is_written() or running.poll() is not None, seconds=LONGEST_SECONDS, every=0.5)
            assert found, log.read_text() + _logs(town)
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
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert TITLE in seen.stdout
    assert "A door" in seen.stdout
    said = log.read_text()
    assert "running town first" in said
    assert "no key" not in said


def _logs(town: Path) -> str:
    return "".join(path.read_text(errors="replace")[-3000:] for path in sorted(town.rglob("agent.log")))

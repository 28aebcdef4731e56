"""What the Makefile says where it cannot go on."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
_TOOLS: Final = ("sh", "bash", "find", "mkdir", "cp", "touch")


@pytest.mark.parametrize("missing", ["node", "npm"])
def test_coding_agents_without_node_or_npm_are_said_to_come_from_it(tmp_path: Path, missing: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (*_TOOLS, *({"node", "npm"} - {missing})):
        (tools / tool).symlink_to(shutil.which(tool) or "/bin/true")
    target = tmp_path / "agent-programs" / ".ready"
    words = [str(shutil.which("make")), f"AGENT_PROGRAMS={target}", "READY=", str(target)]
    done = subprocess.run(
        words, check=False, cwd=ROOT, env={**os.environ, "PATH": str(tools)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"there is no {missing} here" in done.stderr
    assert "install Node.js 20 or newer with npm" in done.stderr
    assert not target.parent.exists()


@pytest.mark.parametrize(("agent", "installs"), [("claude", True), ("gemini", False), ("", False)])
def test_a_demo_installs_coding_agents_for_a_known_one_only(tmp_path: Path, agent: str, installs: bool) -> None:
    """An unknown one was refused after a minute in which all three had been installed."""
    words = ["--dry-run", "READY=", f"AGENT_PROGRAMS={tmp_path / '.ready'}", "demo", f"AGENT={agent}"]
    planned = subprocess.run([str(shutil.which("make")), *words], check=True, cwd=ROOT, capture_output=True, text=True)
    assert ("npm ci" in planned.stdout) is installs
    assert (f'--agent "{agent}"' in planned.stdout) is bool(agent)

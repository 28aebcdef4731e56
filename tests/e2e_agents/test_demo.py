"""`townctl demo --agent NAME`: the story of the demo, told by a real coding agent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.demo import scenario, story
from tests.e2e_agents.real_towns import PROGRAMS, ROOT

pytestmark = [pytest.mark.agents, pytest.mark.long]
_LONGEST_SECONDS = 1800.0


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_demo_lands_with_a_crash_and_a_review_that_asks_for_changes(tmp_path: Path, program: str) -> None:
    line = [sys.executable, "-m", "infra.townctl.main", "--data", str(tmp_path / "data"), "demo", "--json"]
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*line, "--agent", program],
        check=False,
        cwd=tmp_path,
        env=around,
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    after = iter([beat["by"] for beat in told["recovery"]])
    assert [code for code in ("observed", *story.RECOVERY) if code not in after] == []
    subjects = "\n".join(told["merged"])
    assert [title for title, _ in scenario.works() if title not in subjects] == []
    assert "changes_requested" in done.stderr

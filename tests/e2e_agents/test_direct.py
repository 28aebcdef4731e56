"""One bead from its creation to the main branch, with each program, without a forge."""

from pathlib import Path

import pytest

from infra.devstack.model_server.workers import approves, implements, mayor_that_waits
from tests.e2e_agents.real_towns import PROGRAMS, a_real_town, driver

pytestmark = pytest.mark.agents


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_bead_is_written_reviewed_and_merged(tmp_path: Path, program: str) -> None:
    title = "Greet the reader"
    scripts = [implements(title, "echo hello > greeting.txt"), approves(title), mayor_that_waits()]
    with a_real_town(tmp_path, driver(program), scripts) as town:
        town.creates("greet", title)
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        assert town.git("show", "main:greeting.txt") == "hello\n"

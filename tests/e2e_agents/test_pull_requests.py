"""Work through pull requests at a forge with a private repository, in a container, with each program."""

from pathlib import Path

import pytest

from infra.devstack.model_server.workers import answers_feedback, approves_if, implements, mayor_that_waits
from tests.e2e_agents.forge_towns import a_town_at_a_forge, agents
from tests.e2e_agents.real_towns import PROGRAMS

pytestmark = pytest.mark.agents


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_pull_request_is_reviewed_with_a_comment_mended_and_merged(tmp_path: Path, program: str) -> None:
    title = "Greet the reader"
    wants = "Say good morning."
    scripts = [
        implements(title, "echo hello > greeting.txt"),
        answers_feedback(title, "echo 'good morning' > greeting.txt"),
        approves_if(title, "grep -q morning greeting.txt", wants=wants, file="greeting.txt"),
        mayor_that_waits(),
    ]
    with a_town_at_a_forge(tmp_path, agents(program), scripts) as town:
        town.creates("greet", title)
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        assert town.git("show", "main:greeting.txt") == "good morning\n"
        [pull] = town.github.site.pulls
        assert pull.state == "merged"
        assert pull.said["thread-1-1"][0].text == wants

"""One bead from its creation to the main branch, with each program, without a forge."""

import sys
from pathlib import Path
from typing import Final

import pytest

from infra.devstack.model_server.server import KEY
from infra.devstack.model_server.workers import approves, implements, lands, mayor_that_waits
from tests.e2e_agents.real_towns import PROGRAMS, RIG, a_real_town, driver

pytestmark = pytest.mark.agents
CONVOY: Final = "c0de0000-0000-4000-8000-000000000001"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_bead_is_written_reviewed_and_merged(tmp_path: Path, program: str) -> None:
    title = "Greet the reader"
    scripts = [implements(title, "echo hello > greeting.txt"), approves(title), mayor_that_waits()]
    with a_real_town(tmp_path, driver(program), scripts) as town:
        town.creates("greet", title)
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        assert town.git("show", "main:greeting.txt") == "hello\n"
        assert town.places_with(KEY) == []


@pytest.mark.long
def test_a_convoy_lands_in_a_town_whose_agents_are_of_several_kinds(tmp_path: Path) -> None:
    """Polecats are Claude Code, refineries Codex, the mayor is opencode. Each task stands on the one before it."""
    titles = ("Define the grammar", "Write the lexer", "Write the parser")
    edits = [implements(titles[0], "echo grammar > language")]
    edits += [
        implements(title, f"grep -q '{before}' language && echo '{title}' >> language")
        for title, before in ((titles[1], "grammar"), (titles[2], titles[1]))
    ]
    scripts = [*edits, *map(approves, titles), lands("Build a parser"), mayor_that_waits()]
    tasks = [{"title": title, "depends_on": [place - 1] if place else []} for place, title in enumerate(titles)]
    command = (sys.executable, "-m", "tests.e2e_agents.by_role", "polecat=claude", "refinery=codex", "mayor=opencode")
    with a_real_town(tmp_path, command, scripts) as town:
        town.post("convoy_created", {"convoy_id": CONVOY, "title": "Build a parser", "rig_id": RIG, "tasks": tasks})
        town.until("the convoy has landed", lambda: town.status(CONVOY) == "closed")
        assert town.git("show", "main:language").splitlines() == ["grammar", "Write the lexer", "Write the parser"]
        assert {each.protocol for each in town.model.asked if each.script.startswith("work")} == {"messages"}
        assert {each.protocol for each in town.model.asked if each.script.startswith("review")} == {"responses"}

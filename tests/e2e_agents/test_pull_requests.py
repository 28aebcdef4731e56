"""Work through pull requests at a forge with a private repository, in a container, with each program."""

from pathlib import Path

import pytest

from infra.devstack.model_server.server import KEY
from infra.devstack.model_server.workers import (
    answers_feedback,
    approves,
    approves_if,
    implements,
    lands,
    mayor_that_waits,
    resolves_conflicts,
)
from tests.e2e_agents.forge_towns import a_town_at_a_forge, agents, agents_by_role
from tests.e2e_agents.real_towns import RIG

pytestmark = pytest.mark.agents
LONG = pytest.mark.long
CONVOY = "c0de0000-0000-4000-8000-000000000001"


@pytest.mark.parametrize("program", [pytest.param("opencode", marks=LONG), "claude", pytest.param("codex", marks=LONG)])
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


@LONG
def test_a_convoy_lands_through_a_pull_request_that_conflicts(tmp_path: Path) -> None:
    """Polecats are Claude Code, refineries Codex, the mayor is opencode. Other work arrives when the landing is proposed."""
    titles = ("Define the grammar", "Write the lexer", "Write the parser")
    edits = [implements(titles[0], "echo grammar > language")]
    edits += [
        implements(title, f"grep -q '{before}' language && echo '{title}' >> language")
        for title, before in ((titles[1], "grammar"), (titles[2], titles[1]))
    ]
    convoy = "Build a parser"
    resolved = resolves_conflicts(convoy, "git checkout --ours language && echo theirs >> language")
    scripts = [*edits, *map(approves, titles), lands(convoy), resolved, mayor_that_waits()]
    tasks = [{"title": title, "depends_on": [place - 1] if place else []} for place, title in enumerate(titles)]
    programs = agents_by_role(polecat="claude", refinery="codex", mayor="opencode")
    with a_town_at_a_forge(tmp_path, programs, scripts) as town:
        town.github.site.on_open = lambda _pull: town.arrives("language", "theirs")
        town.post("convoy_created", {"convoy_id": CONVOY, "title": convoy, "rig_id": RIG, "tasks": tasks})
        town.until("the convoy has landed", lambda: town.status(CONVOY) == "closed")
        lines = town.git("show", "main:language").splitlines()
        assert lines == ["grammar", "Write the lexer", "Write the parser", "theirs"]
        assert [pull.state for pull in town.github.site.pulls] == ["merged"]
        assert town.model.requests_with(KEY) == []

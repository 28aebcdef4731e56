"""Work through pull requests at a forge with a private repository, in a container, with each program."""

from pathlib import Path

import pytest

from infra.devstack.fake_site import Pull, Said
from infra.devstack.model_server.server import KEY
from infra.devstack.model_server.workers import (
    answers_feedback,
    approves_if,
    implements,
    lands,
    mayor_that_waits,
    resolves_conflicts,
)
from tests.e2e_agents.forge_towns import REFINERY, a_town_at_a_forge, agents, agents_by_role
from tests.e2e_agents.real_towns import PROGRAMS, RIG

pytestmark = pytest.mark.agents
CONVOY = "c0de0000-0000-4000-8000-000000000001"
PROTOCOLS = {
    "opencode": {"chat"},
    "claude": {"messages"},
    "codex": {"responses"},
    "all three": {"messages", "responses"},
}
PROGRAMS_OF = {program: agents(program) for program in PROGRAMS} | {
    "all three": agents_by_role(polecat="claude", refinery="codex", mayor="opencode")
}


@pytest.mark.long
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


@pytest.mark.parametrize("program", [*(pytest.param(name, marks=pytest.mark.long) for name in PROGRAMS), "all three"])
def test_a_convoy_of_three_pull_requests_lands_after_a_comment_and_a_conflict(tmp_path: Path, program: str) -> None:
    """Each task has a pull request into the branch of the convoy. A person comments the second, and somebody else's work arrives
    in the main branch when the landing is proposed.
    """
    titles = ("Define the grammar", "Write the lexer", "Write the parser")
    edits = [implements(titles[0], "echo grammar > language")]
    edits += [
        implements(title, f"grep -q '{before}' language && echo '{title}' >> language")
        for title, before in ((titles[1], "grammar"), (titles[2], "in small letters"))
    ]
    mended = answers_feedback(titles[1], "sed -i 's/Write the lexer/& in small letters/' language")
    convoy = "Build a parser"
    resolved = resolves_conflicts(convoy, "git checkout --ours language && echo theirs >> language")
    scripts = [*edits, mended, lands(convoy), resolved, mayor_that_waits()]
    tasks = [{"title": title, "depends_on": [place - 1] if place else []} for place, title in enumerate(titles)]
    config = {"refinery": {**REFINERY, "code_review": False}}
    with a_town_at_a_forge(tmp_path, PROGRAMS_OF[program], scripts, config=config) as town:

        def at_the_forge(pull: Pull) -> None:
            if pull.title == titles[1]:
                town.github.site.comments(pull, Said("Small letters, please.", file="language", line=2))
            if pull.base == "main":
                town.arrives("language", "theirs")

        town.github.site.on_open = at_the_forge
        town.post("convoy_created", {"convoy_id": CONVOY, "title": convoy, "rig_id": RIG, "tasks": tasks})
        town.until("the convoy has landed", lambda: town.status(CONVOY) == "closed")
        lines = town.git("show", "main:language").splitlines()
        assert lines == ["grammar", "Write the lexer in small letters", "Write the parser", "theirs"]
        assert [(pull.title, pull.state) for pull in town.github.site.pulls] == [
            (title, "merged") for title in (*titles, convoy)
        ]
        assert town.model.requests_with(KEY) == []
        asked = {each.protocol for each in town.model.asked if each.script.startswith(("work", "landing"))}
        assert asked == PROTOCOLS[program]

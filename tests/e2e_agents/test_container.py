"""Real agents in a container that is evicted, and that keeps their secrets."""

from pathlib import Path
from typing import Final

import pytest

from infra.devstack.model_server.scripts import Shell, Step
from infra.devstack.model_server.workers import approves, implements, mayor_that_waits
from tests.e2e_agents.canaries import watched
from tests.e2e_agents.forge_towns import HOST, PROJECT, a_town_at_a_forge, agents
from tests.e2e_agents.plans import held

pytestmark = [pytest.mark.agents, pytest.mark.long]
TITLE: Final = "Greet the reader"
LEAK: Final = f"""env
cat "$TOWN_TOKEN_FILE"
printf 'protocol=https\\nhost={HOST}\\npath={PROJECT}.git\\n\\n' | git credential fill
GIT_TRACE=1 GIT_CURL_VERBOSE=1 GIT_TRACE_CURL=1 git fetch origin
GIT_CURL_VERBOSE=1 GIT_TRACE_CURL=1 GIT_TRACE_REDACT=0 git fetch origin 2>&1 | grep -i authorization
cat /proc/*/environ | tr '\\0' '\\n' | grep -i -e token -e key
true"""
"""What a careless or curious agent prints."""


def test_the_work_of_an_agent_in_an_evicted_container_goes_on_in_the_next_generation(tmp_path: Path) -> None:
    """The first generation has written and not committed; the second finds what it wrote, and adds to it."""
    work = implements(
        TITLE, "if test -e greeting.txt; then echo again >> greeting.txt; else echo hello > greeting.txt; fi"
    )
    scripts = [held(work, "it is evicted"), approves(TITLE), mayor_that_waits()]
    with a_town_at_a_forge(tmp_path, agents("claude"), scripts) as town:
        town.creates("greet", TITLE)
        town.until("the agent is at work", lambda: town.model.is_waited_for("it is evicted"))
        town.replace_container("two")
        town.model.release("it is evicted")
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        assert town.git("show", "main:greeting.txt") == "hello\nagain\n"
        [pull] = town.github.site.pulls
        assert pull.state == "merged"


def test_no_secret_is_kept_or_shown_or_told_to_others(tmp_path: Path) -> None:
    leaks = implements(TITLE, "echo hello > greeting.txt", Step(Shell(LEAK)))
    scripts = [leaks, approves(TITLE), mayor_that_waits()]
    with a_town_at_a_forge(tmp_path, agents("claude"), scripts) as town, watched(town) as watch:
        town.creates("greet", TITLE)
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        heard = "\n".join(result for each in town.model.asked_of(leaks.name) for result in each.conversation.results)
        named = watch.secrets()
        assert {name for name in ("control key", "signing key", "App key") if named[name] in heard} == set()
        leaked = [name for name, secret in named.items() if name.startswith("forge token") and secret in heard]
        assert {name.endswith("for HTTP") for name in leaked} == {True, False}, leaked  # or nothing would be tested
        watch.everything(but=leaks.name)
        assert watch.found == set()

"""A private repository: whom it lets in, and tokens that end while a real coding agent works."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from infra.agents.credentials import MARGIN
from infra.devstack.model_server.scripts import Shell, Step
from infra.devstack.model_server.workers import approves, implements, mayor_that_waits
from shared.adapters.clock import SystemClock
from tests.e2e_agents.forge_towns import ForgeTown, a_town_at_a_forge, agents
from tests.e2e_agents.plans import held

pytestmark = [pytest.mark.agents, pytest.mark.long]

TITLE = "Greet the reader"


def test_a_token_that_ends_while_the_agent_works_is_replaced_before_its_end(tmp_path: Path) -> None:
    """The agent has cloned with the first token, and pushes when it has ended. Nobody else gets in meanwhile."""
    script = held(implements(TITLE, "echo hello > greeting.txt"), "the token has ended")
    with a_town_at_a_forge(tmp_path, agents("claude"), [script, approves(TITLE), mayor_that_waits()]) as town:
        town.github.apps.life = MARGIN + timedelta(seconds=15)
        town.creates("greet", TITLE)
        town.until("the agent is at work", lambda: town.model.is_waited_for("the token has ended"))
        assert_that_nobody_else_gets_in(town)
        now = SystemClock().now
        first = max(grant.ends_at for grant in town.github.apps.grants.values())
        town.until("the token is about to end", lambda: now() + MARGIN > first)
        town.github.apps.end_tokens()
        town.refused.clear()
        town.model.release("the token has ended")
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        assert town.refused == []
        assert town.git("show", "main:greeting.txt") == "hello\n"


def test_a_token_that_is_revoked_while_the_agent_works_is_replaced_when_the_forge_refuses_it(tmp_path: Path) -> None:
    """The App is installed late. When its token is revoked, the agent has pushed: one fetch fails, and `town-agent pr` does not."""
    waits = Step(Shell("git fetch || git fetch"), waits_for="the token is revoked")
    script = implements(TITLE, "echo hello > greeting.txt", waits)
    with a_town_at_a_forge(tmp_path, agents("claude"), [script, approves(TITLE), mayor_that_waits()]) as town:
        [installation] = town.github.apps.installations
        installation.repositories = {"acme/other"}
        town.creates("greet", TITLE)
        town.until("the town cannot clone", lambda: town.rows("SELECT * FROM outbox WHERE state = 'failed'"))
        assert town.model.asked_of(script.name) == []
        installation.repositories = {"acme/work"}
        town.until("the agent is at work", lambda: town.model.is_waited_for("the token is revoked"))
        town.github.apps.end_tokens()
        town.model.release("the token is revoked")
        town.until("the bead is closed", lambda: town.status("greet") == "closed")
        assert "unknown" in town.refused


def assert_that_nobody_else_gets_in(town: ForgeTown) -> None:
    """Without a token, with one that nobody issued, and with one of the same App for another repository."""
    grants, other = town.github.apps.grants, town.github.site.home("acme/other")
    own = next(iter(grants))
    grants["ghs_for_another_repository"] = replace(grants[own], repositories=frozenset({other.id}))
    opens = {token: town.opens_to(token) for token in (own, "", "ghs_issued_by_nobody", "ghs_for_another_repository")}
    assert [token for token, opened in opens.items() if opened] == [own]

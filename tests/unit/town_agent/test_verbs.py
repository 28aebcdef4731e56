"""The table of verbs: each is complete, tells the truth about who may use it, and is documented."""

import inspect
import re
from pathlib import Path

import pytest

from infra.agents.town_agent.order import Caller
from infra.agents.town_agent.talk import function_of
from infra.agents.town_agent.tools import given_by, schema_of, tools_of
from infra.agents.town_agent.verb import Verb, Who, may_use
from infra.agents.town_agent.verbs import ALIASES, VERBS, named
from shared.domain.orders import AgentScope
from shared.domain.states import Role
from shared.events import BY_TYPE

PAGE = Path("docs/agents/town-agent.md")
OF_THE_MAYOR = (Who.MAYOR,)
OF_COORDINATORS = (Who.MAYOR, Who.COORDINATOR)


def a_caller(role: Role, scope: AgentScope) -> Caller:
    return Caller(
        town_id="t1",
        agent_id="a1",
        generation=1,
        role=role,
        scope=scope,
        bead_id="b1",
        branch=None,
        target_branch=None,
        rig_id=None,
        place=Path(),
    )


POLECAT = a_caller(Role.POLECAT, "agent")
TRIAGE = a_caller(Role.POLECAT, "coordinator")
REFINERY = a_caller(Role.REFINERY, "agent")
MAYOR = a_caller(Role.MAYOR, "coordinator")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_each_verb_has_a_function_of_its_own_module(verb: Verb) -> None:
    assert len(inspect.signature(function_of(verb)).parameters) == 2


def test_names_of_verbs_and_tools_are_unique_and_aliases_lead_to_verbs() -> None:
    assert len({verb.name for verb in VERBS}) == len({verb.tool for verb in VERBS}) == len(VERBS)
    assert set(ALIASES.values()) <= {verb.name for verb in VERBS}
    assert named(["rig", "list", "--json"]) == named(["list", "rigs", "--json"]) != None  # noqa: E711 - a chain
    assert named(["nothing"]) is None


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.event], ids=lambda verb: verb.name)
def test_a_verb_is_offered_to_those_whose_event_the_town_takes(verb: Verb) -> None:
    """Who may send an event is decided once, by the event: an offer that the town refuses would mislead a model."""
    event = BY_TYPE[verb.event or ""]
    if event.mayor_only and verb.name != "bead create":
        assert verb.who in OF_THE_MAYOR
    for caller in (POLECAT, TRIAGE, REFINERY, MAYOR):
        if may_use(verb, caller) and verb.who is not Who.REVIEWER:
            assert caller.scope in event.senders, f"{caller.role} of scope {caller.scope}"
    if not {"agent", "coordinator"} <= event.senders and verb.who is not Who.REVIEWER:
        assert verb.who in OF_COORDINATORS


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_what_not_everybody_may_do_names_the_right_way_for_the_others(verb: Verb) -> None:
    assert verb.who is Who.EVERYBODY or verb.reads or "town-agent" in verb.instead


def test_each_holder_has_the_tools_of_its_role() -> None:
    polecat, triage, refinery, mayor = (set(tools_of(each)) for each in (POLECAT, TRIAGE, REFINERY, MAYOR))
    assert {"convoy_create", "bead_cancel", "agent_reset", "ack", "say", "list_beads", "waiting"} <= mayor
    assert triage - polecat == {verb.tool for verb in VERBS if verb.who is Who.COORDINATOR}
    assert refinery - polecat == {"request_changes"}
    assert polecat - refinery == {"bead_create"}
    assert "mcp" not in mayor | polecat


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.is_tool], ids=lambda verb: verb.name)
def test_a_tool_describes_each_argument_and_takes_what_it_describes(verb: Verb) -> None:
    schema = schema_of(verb)
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert all(each["description"] for each in properties.values())
    samples = {"string": "x", "integer": 3, "boolean": True, "array": ["x"]}
    given = {name: each.get("enum", [samples[each["type"]]])[0] for name, each in properties.items()}
    assert vars(given_by(verb, given)) == given


def test_the_documentation_has_each_verb_with_its_arguments_and_who_may_use_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("## Every verb") : text.index("## What comes back")]
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE))
    assert rows == {verb.name: documented(verb) for verb in VERBS}


def documented(verb: Verb) -> str:
    """The rest of a verb's row in the table."""
    arguments = " ".join(f"`{each.name}`" for each in verb.arguments) or "-"
    return f"{arguments} | {_WHO[verb.who]} | {verb.about}"


_WHO = {
    Who.EVERYBODY: "every agent",
    Who.WORKER: "polecat, refinery",
    Who.REVIEWER: "refinery",
    Who.PLANNER: "mayor, polecat",
    Who.COORDINATOR: "mayor, triage",
    Who.MAYOR: "mayor",
}

"""W4: `town-agent` refuses what the role of its holder does not have, and an agent can forge its start file. The town refuses then.

Each test is an attack by an agent that says in its start file that it is the mayor. It has its own token all the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.agents.town_agent.command_line import given_in
from infra.agents.town_agent.main import OK, REFUSED
from infra.agents.town_agent.tool_server import called
from infra.agents.town_agent.verb import Verb, Who
from infra.agents.town_agent.verbs import VERBS
from shared.domain.senders import Sender
from tests.agent_places import Place
from tests.events_api import EventsApi, an_events_api
from tests.towns import T, TownBuilder, a_town

WORDS = {
    "bead update": ["b1", "--title", "Mine"],
    "bead release": ["b1"],
    "bead cancel": ["b1"],
    "bead reopen": ["b2"],
    "convoy create": ["--title", "Mine", "--rig", "rig-1", "--task", "Mine"],
    "convoy start": ["c1"],
    "convoy change": ["c1", "--add", "b1"],
    "convoy close": ["c1"],
    "agent reset": ["a2"],
    "agent nudge": ["a2", "stop"],
    "ack": ["e1"],
    "say": ["I am the mayor"],
}
STEERING = [verb for verb in VERBS if verb.who is Who.MAYOR]


def the_town() -> TownBuilder:
    town = a_town().bead("b1", labels=["gt:held"]).bead("b2", status="failed").bead("e1", "escalation")
    town.insert("escalation_metadata", bead_id="e1", severity="high")
    town.convoy("c1", staged=True).bead("own", status="in_progress")
    town.agent("a1", "polecat", "working", hook="own", generation=4, dispatched_at=T)
    return town.agent("a2", "polecat", "working", generation=4, dispatched_at=T)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path).with_town(the_town(), role="mayor", bead=None)


@contextmanager
def forged(place: Place, scope: str) -> Iterator[tuple[EventsApi, dict[str, str]]]:
    """The events API, and the environment of an agent with a token of this scope."""
    with an_events_api(place.world.objects, place.world.clock) as api:
        api.sender = Sender("coordinator" if scope == "coordinator" else "agent", "a1", 4)
        yield api, {"TOWN_API": api.address, "TOWN_TOKEN": api.token, "TOWNCTL_DATA": ""}


def test_the_attacks_cover_every_verb_of_the_mayor() -> None:
    assert set(WORDS) == {verb.name for verb in STEERING}


@pytest.mark.parametrize("verb", STEERING, ids=lambda verb: verb.name)
def test_a_polecat_with_a_forged_start_file_cannot_steer_by_the_command_line_or_by_a_tool(
    place: Place, capsys: pytest.CaptureFixture[str], verb: Verb
) -> None:
    with forged(place, "agent") as (api, way):
        assert place.says(*verb.name.split(), *WORDS[verb.name], **way) == REFUSED
        assert "403" in capsys.readouterr().err
        answer = called(verb, _as_a_tool(verb), place.environment | way)
        assert (answer.is_error, "403" in str(answer.content)) == (True, True)
        assert len(api.seen) == 2
    assert place.world.inbox() == ()


@pytest.mark.parametrize("verb", STEERING, ids=lambda verb: verb.name)
def test_a_triage_polecat_has_a_coordinator_s_token_and_the_town_still_knows_that_it_is_not_the_mayor(
    place: Place, verb: Verb
) -> None:
    with forged(place, "coordinator") as (_, way):
        assert place.says(*verb.name.split(), *WORDS[verb.name], **way) == OK
    before = place.world.town().rows("SELECT bead_id, status, title, labels FROM beads ORDER BY bead_id")
    after = place.ticks()
    (event,) = after.rows("SELECT outcome FROM town_events WHERE event_type = ?", verb.event)
    assert event[0].startswith("rejected: ")
    kept = {row[0]: row for row in after.rows("SELECT bead_id, status, title, labels FROM beads")}
    assert [kept[row[0]] for row in before if row[0] not in ("own", "a1", "a2")] == [
        row for row in before if row[0] not in ("own", "a1", "a2")
    ]
    assert after.one("convoy_metadata", "c1", "staged") == 1


def _as_a_tool(verb: Verb) -> dict[str, object]:
    """The same arguments in the form of a tool."""
    return {
        name: value for name, value in vars(given_in(verb, WORDS[verb.name])).items() if value not in (None, [], False)
    }

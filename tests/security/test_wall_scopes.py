"""W4: a token allows what its holder must do, and what it says counts by its holder's role. Each test is an attack.

`tests/scenarios/test_scopes.py` has those that are acceptance scenarios.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.domain.states import SCOPES, Scope
from shared.events import BY_TYPE
from tests.scenarios.test_scopes import MAYOR, SECOND_TICK, a_bead, at_work
from tests.security.tokens import outcome, said, status_of

PAGE = Path(__file__).parents[2] / "docs" / "spec" / "events.md"


# --- the table ----------------------------------------------------------------------------------------------------


def _allowed() -> dict[tuple[str, str], bool]:
    """What the table of events.md 4.0 says, by event and scope."""
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("### 4.0") : text.index("### 4.1")]
    found: dict[tuple[str, str], bool] = {
        (name, scope): scope == "operator" and bool(BY_TYPE[name].senders) for name in BY_TYPE for scope in SCOPES
    }
    for row in re.findall(r"^\|(.+)\|$", table, re.MULTILINE)[2:]:
        names, *cells = (cell.strip() for cell in row.split("|"))
        for name in names.split(", "):
            for scope, cell in zip(("agent", "coordinator", "container"), cells, strict=True):
                found[name, scope] = bool(cell)
    return found


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("event_type", sorted(BY_TYPE))
def test_each_event_is_accepted_from_the_scopes_of_the_table_and_from_no_other(event_type: str, scope: Scope) -> None:
    agent = "p" if scope in ("agent", "coordinator") else None
    event = {"event_id": "event-0001", "event_type": event_type, "agent_id": "p", "bead_id": "b", "payload": {}}
    allowed = _allowed()[event_type, scope]
    if not BY_TYPE[event_type].senders:
        assert status_of(Sender(scope, agent), event) == 400
    else:
        assert (status_of(Sender(scope, agent), event) != 403) is allowed


@pytest.mark.parametrize(
    "event_type", ["agent_done", "bead_created", "convoy_created", "escalation_raised", "mayor_said"]
)
def test_a_container_speaks_for_no_agent_about_its_work(event_type: str) -> None:
    event = {"event_id": "event-0001", "event_type": event_type, "agent_id": "p", "payload": {}}
    assert status_of(Sender("container"), event) == 403


@pytest.mark.parametrize("scope", ["agent", "coordinator"])
def test_an_agent_does_not_say_which_container_it_runs_in(scope: Scope) -> None:
    with pytest.raises(Refused) as refused:
        said(Sender(scope, "p", 1), "agent_heartbeat", event_id="beat-0001", container_instance_id="another")
    assert (refused.value.status, refused.value.path) == (403, "events[0].payload.container_instance_id")


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("bead_cancelled", {"by": "ann"}),
        ("triage_resolved", {"by": "ann", "action": "RESTART"}),
        ("bead_created", {"bead": a_bead(type="message", created_by="ann")}),
        ("bead_created", {"bead": a_bead(labels=["gt:triage"], created_by="patrol")}),
    ],
)
def test_nobody_speaks_in_the_name_of_another(event_type: str, payload: dict[str, Any]) -> None:
    event = {
        "event_id": "event-0001",
        "event_type": event_type,
        "agent_id": "mayor",
        "bead_id": "x",
        "payload": payload,
    }
    assert status_of(MAYOR, event) == 403


def test_what_the_mayor_says_stands_under_its_own_name() -> None:
    town = at_work()
    town.tick(said(MAYOR, "bead_cancelled", event_id="end-00001", about="x"))
    letter = a_bead(bead_id="l", type="message", assignee_agent_id="p")
    assert outcome(town, said(MAYOR, "bead_created", event_id="new-0001", bead=letter), at=SECOND_TICK) == "applied"
    assert town.one("beads", "l", "created_by") == "mayor"


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [("bead_cancelled", {}), ("bead_reopened", {}), ("bead_updated", {"title": "obeys me"})],
)
def test_the_mayor_ends_and_renames_no_agent(event_type: str, payload: dict[str, Any]) -> None:
    """A mayor that obeyed a stranger cancelled the bead of an agent at work: it was failed, and its agent worked on."""
    town = at_work()
    town.tick()
    before = town.one("beads", "p", "status", "title")
    envelope = said(MAYOR, event_type, event_id="end-00001", about="p", **payload)
    assert outcome(town, envelope, at=SECOND_TICK) == "rejected: only operators change agents"
    assert town.one("beads", "p", "status", "title") == before

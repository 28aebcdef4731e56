"""Scenarios 450 and 451: what a stranger wrote stands inside a quotation in every message that an agent reads."""

import json
from collections.abc import Callable
from typing import Final

import pytest

from tests.scenarios.table import scenario
from tests.security.test_wall_quoting import HOSTILE, MARK, dangerous, outside
from tests.towns import TownBuilder, a_town, event


def messages(town: TownBuilder) -> list[str]:
    """Every message to an agent or the mayor that the town has requested."""
    rows = town.rows("SELECT payload FROM outbox WHERE kind IN ('send_nudge', 'notify_mayor') ORDER BY seq")
    return [json.loads(payload)["message"] for (payload,) in rows]


def _mail(to: str) -> TownBuilder:
    town = a_town().agent("p", hook="b", status="working").bead("b", status="in_progress")
    town.bead("m", "message", assignee_agent_bead_id=to, title=HOSTILE, body=HOSTILE, created_by=HOSTILE)
    town.tick()
    return town


def _escalation() -> TownBuilder:
    town = a_town()
    town.tick(event("escalation_raised", {"title": HOSTILE.replace("\x00", ""), "body": HOSTILE, "severity": "high"}))
    return town


def _triage(action: str) -> TownBuilder:
    town = a_town().agent("p", hook="b", status="working").bead("b", status="in_progress")
    town.bead(
        "q",
        title=HOSTILE,
        labels=["gt:triage-request"],
        assignee_agent_bead_id="p",
        metadata={"triage_type": "stuck_agent", "agent_bead_id": "p", "hooked_bead_id": "b"},
    )
    town.tick(event("triage_resolved", {"action": action, "notes": HOSTILE}, bead="q"))
    return town


def _failed_blocker() -> TownBuilder:
    odd = f"{MARK} do it\u2028now"
    town = a_town().bead(odd, status="failed").bead("b").edge("b", odd)
    town.tick()
    return town


STORIES: Final[dict[str, Callable[[], TownBuilder]]] = {
    "mail to an agent": lambda: _mail("p"),
    "mail to the mayor": lambda: _mail("mayor"),
    "an escalation": _escalation,
    "notes of triage for an agent": lambda: _triage("NUDGE"),
    "notes of triage for a person": lambda: _triage("ESCALATE"),
    "the id of a failed bead": _failed_blocker,
}


@scenario(450)
@pytest.mark.parametrize("story", sorted(STORIES))
def test_nothing_that_a_stranger_wrote_stands_outside_a_quotation(story: str) -> None:
    told = [message for message in messages(STORIES[story]()) if MARK in message]
    assert told
    for message in told:
        assert MARK not in outside(message), message
        assert not dangerous(message)


@scenario(451)
def test_a_question_to_triage_is_one_line_with_its_title_in_quotes() -> None:
    town = a_town().bead(
        "q",
        title=HOSTILE,
        labels=["gt:triage-request"],
        metadata={"triage_type": "stuck_agent", "agent_bead_id": HOSTILE},
    )
    town.tick()

    [(body,)] = town.rows("SELECT body FROM beads WHERE created_by = 'patrol'")
    assert "\n" not in body
    assert MARK in body
    assert MARK not in outside(body)
    assert body.startswith('- q: "')

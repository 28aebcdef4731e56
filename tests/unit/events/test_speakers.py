"""Who may say what: the last judgement, when an event is applied, after the one at the door (spec/events.md 4.0)."""

from dataclasses import replace
from typing import Any

import pytest

from shared import events
from shared.domain.senders import Sender
from shared.events import speakers
from shared.town.inbox import Fact
from tests.unit.events.builders import ATown, a_town

MAYOR = Sender("coordinator", "boss", 1)


def a_fact(event_type: str, sender: Sender | None, payload: str = "{}", *, bead_id: str | None = None) -> Fact:
    at = "2026-01-10T12:00:00.000Z"
    return Fact("e", 1, event_type, None, bead_id, payload, "ingest", at, at, 0, sender)


def refused(town: ATown, sender: Sender | None, event_type: str = "agent_reset") -> Any:
    fact = replace(a_fact(event_type, sender, '{"target": "p"}'), agent_id="p")
    refusal = speakers.refusal(events.read(fact), fact, town.town)
    return None if refusal is None else refusal.text


def populated() -> ATown:
    return a_town().with_rig().with_agent("p").with_agent("boss", role="mayor")


def test_a_scope_that_may_not_send_an_event_is_refused() -> None:
    town = populated()
    assert refused(town, Sender("agent", "p", 1)) == "rejected: a token of scope agent may not send it"
    assert refused(town, Sender("operator")) is None
    assert refused(town, None) is None


def test_what_only_the_mayor_may_say_is_refused_from_others_and_missing_from_one_who_is_gone() -> None:
    town = populated()
    assert refused(town, MAYOR) is None
    assert refused(town, Sender("coordinator", "p", 1)) == "rejected: only the mayor and operators may send it"
    assert refused(town, Sender("coordinator", "gone", 1)) == "skipped: missing"


@pytest.mark.parametrize(
    ("agent", "refusal"),
    [
        ("boss", None),
        ("p", "rejected: the request is in no batch of this agent"),
        ("gone", "skipped: missing"),
        (None, None),
    ],
)
def test_triage_requests_are_answered_by_the_mayor_and_by_nobody_else_without_the_batch(
    agent: str | None, refusal: str | None
) -> None:
    sender = Sender("operator") if agent is None else Sender("agent", agent, 1)
    fact = a_fact("triage_resolved", sender)
    town = populated()
    found = speakers.triage_refusal(fact, "r1", town.town)
    assert (None if found is None else found.text) == refusal

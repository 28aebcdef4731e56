"""The wall between the generations of an agent: a token speaks for the generation that it was made for, and for nobody else.

The attacker is an old process of an agent, or whoever found its token. The town runs a newer generation. Whatever the old one
says, and whether or not it says which generation it is, changes nothing that counts for others.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.domain.times import to_text
from shared.events import BY_TYPE
from tests.properties.facts import FACTS
from tests.properties.views import View
from tests.security.holders import OPERATOR, a_busy_town, agent, said, sent
from tests.towns import T, TownBuilder, ago, outcome_of

OWN = {"agent_done": {"branch": "gt/toast/b"}, "agent_completed": {"status": "failed"}, "agent_heartbeat": {}}
TOLD: Mapping[str, Mapping[str, Any]] = {
    **OWN,
    "agent_status": {"message": "at it"},
    "nudge_acknowledged": {"nudge_id": "N"},
    "escalation_raised": {"title": "fire", "severity": "critical"},
}
"""What a polecat may say of itself."""

ORDERED: Mapping[str, tuple[Mapping[str, Any], str | None]] = {
    "bead_created": ({"bead": {"bead_id": "X", "type": "issue", "title": "x", "rig_id": "rig-1"}}, None),
    "bead_updated": ({"title": "other"}, "W"),
    "bead_cancelled": ({}, "B"),
    "bead_reopened": ({}, "F"),
    "convoy_created": ({"convoy_id": "C2", "title": "c", "rig_id": "rig-1", "tasks": [{"title": "t"}]}, None),
    "convoy_started": ({"convoy_id": "C"}, None),
    "convoy_changed": ({"convoy_id": "C", "add": ["S"]}, None),
    "convoy_closed": ({"convoy_id": "C"}, None),
    "triage_resolved": ({"action": "CLOSE_BEAD"}, "Q"),
}
"""What a coordinator may order."""

_OWN_BOOKS = ("town_events", "ticks", "sqlite_sequence")


def state_of(town: TownBuilder, stale: Sender) -> dict[str, list[tuple[Any, ...]]]:
    """All that counts in a town: everything but its books of events and ticks, and the stop of the stale generation itself."""
    tables = [row[0] for row in town.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    found = {name: town.rows(f"SELECT * FROM {name}") for name in tables if name not in (*_OWN_BOOKS, "town", "outbox")}
    found["town"] = town.rows(
        "SELECT key, value FROM town WHERE key NOT IN ('next_seq', 'next_due_at', 'budgets') ORDER BY key"
    )
    found["outbox"] = town.rows(
        "SELECT kind, subject, generation, payload, state FROM outbox "
        "WHERE NOT (kind = 'stop_agent' AND subject = ? AND generation = ?) ORDER BY kind, subject, generation",
        stale.agent,
        stale.generation,
    )
    return found


def outcome_for(town: TownBuilder, sender: Sender, event: Mapping[str, Any]) -> str | None:
    (envelope,) = sent(sender, event)
    return outcome_of(town.tick(envelope), envelope.event_id)


@pytest.mark.parametrize("event_type", TOLD)
@pytest.mark.parametrize("generation", [1, 4, 6])
def test_a_report_of_another_generation_without_its_number_is_skipped(event_type: str, generation: int) -> None:
    quiet, town = a_busy_town(), a_busy_town()
    stale = agent(generation=generation)
    quiet.tick()
    assert outcome_for(town, stale, said(event_type, TOLD[event_type], by="toast")) == "skipped: stale generation"
    assert state_of(town, stale) == state_of(quiet, stale)


@pytest.mark.parametrize("event_type", ORDERED)
@pytest.mark.parametrize("who", ["nux", "mayor"])
def test_an_order_of_an_older_coordinator_is_skipped(event_type: str, who: str) -> None:
    quiet, town = a_busy_town(), a_busy_town()
    stale = agent(who, 2, scope="coordinator")
    payload, bead = ORDERED[event_type]
    quiet.tick()
    assert outcome_for(town, stale, said(event_type, payload, by=who, bead=bead)) == "skipped: stale generation"
    assert state_of(town, stale) == state_of(quiet, stale)


@pytest.mark.parametrize("event_type", [*TOLD, *ORDERED])
def test_an_agent_that_was_deleted_says_nothing_any_more(event_type: str) -> None:
    quiet, town = a_busy_town(), a_busy_town()
    gone = agent("slit", 3, scope="coordinator")
    payload, bead = ORDERED.get(event_type, (TOLD.get(event_type), None))
    quiet.tick()
    assert outcome_for(town, gone, said(event_type, payload, by="slit", bead=bead)) == "skipped: missing"
    assert state_of(town, gone) == state_of(quiet, gone)


@pytest.mark.parametrize(
    "event_type", sorted(name for name in FACTS if {"agent", "coordinator"} & BY_TYPE[name].senders)
)
@settings(max_examples=5)
@given(
    who=st.sampled_from([("toast", 1), ("toast", 6), ("nux", 4), ("r", 2), ("r", 9), ("mayor", 4), ("slit", 1)]),
    pick=st.integers(0, 11),
    variant=st.integers(0, 7),
)
def test_whatever_a_stale_generation_says_changes_nothing_for_others(
    event_type: str, who: tuple[str, int], pick: int, variant: int
) -> None:
    quiet, town = a_busy_town(), a_busy_town()
    stale = agent(*who, scope="coordinator")
    fact = FACTS[event_type](View(town, T, 0), pick, variant)
    payload = {name: value for name, value in fact.payload.items() if name != "generation"}
    event = said(event_type, payload, by=stale.agent, bead=fact.bead)
    quiet.tick()
    try:
        outcome = outcome_for(town, stale, event)
    except Refused:
        return
    assert outcome in ("skipped: stale generation", "skipped: missing")
    assert state_of(town, stale) == state_of(quiet, stale)


def test_the_old_process_is_stopped_again_whatever_it_says() -> None:
    for event_type, (payload, bead) in ORDERED.items():
        town = a_busy_town()
        outcome_for(town, agent("nux", 4, scope="coordinator"), said(event_type, payload, by="nux", bead=bead))
        stops = town.rows("SELECT subject, generation FROM outbox WHERE kind = 'stop_agent'")
        assert stops == [("nux", 4)], event_type


def test_who_says_goodbye_is_not_stopped_for_it() -> None:
    town = a_busy_town()
    outcome_for(town, agent(generation=4), said("agent_completed", {"status": "completed"}, by="toast"))
    assert town.rows("SELECT subject FROM outbox WHERE kind = 'stop_agent'") == []


def test_the_newest_generation_is_heard_without_naming_itself() -> None:
    town = a_busy_town()
    assert outcome_for(town, agent(), said("agent_done", OWN["agent_done"], by="toast")) == "applied"
    assert town.status("B") == "in_review"


def test_a_token_without_a_generation_which_a_person_made_speaks_for_the_present_one() -> None:
    town = a_busy_town()
    made_by_hand = agent(generation=None)
    assert outcome_for(town, made_by_hand, said("agent_done", OWN["agent_done"], by="toast")) == "applied"


def test_a_heartbeat_of_the_old_generation_does_not_displace_one_of_the_new() -> None:
    town = a_busy_town().update("agent_metadata", "toast", last_activity_at=ago(minutes=1))
    late = {"last_event_type": "late", "last_event_at": to_text(T)}
    honest = sent(agent(), said("agent_heartbeat", {"last_event_type": "honest"}, by="toast", event_id="beat-new-1"))
    old = sent(agent(generation=1), said("agent_heartbeat", late, by="toast", event_id="beat-old-1"))
    report = town.tick(*honest, *old)
    assert outcome_of(report, "beat-old-1@toast") == "skipped: stale generation"
    assert town.one("agent_metadata", "toast", "last_event_type", "last_activity_at") == ("honest", to_text(T))


@pytest.mark.parametrize(
    ("event", "where"),
    [
        (said("agent_done", {"branch": "b", "generation": 1}, by="toast"), "payload.generation"),
        (said("agent_status", {"message": "hi"}, by="nux"), "agent_id"),
        (said("agent_status", {"message": "hi"}), "agent_id"),
        (said("agent_heartbeat", {"container_instance_id": "c-2"}, by="toast"), "payload.container_instance_id"),
        (said("triage_resolved", {"action": "NUDGE", "by": "alice"}, by="toast", bead="Q"), "payload.by"),
        (said("bead_cancelled", {"by": "mayor"}, by="toast", bead="B"), "payload.by"),
        (said("convoy_closed", {"convoy_id": "C", "by": "alice"}, by="toast"), "payload.by"),
        (
            said(
                "bead_created",
                {"bead": {"bead_id": "X", "type": "issue", "title": "x", "created_by": "mayor"}},
                by="toast",
            ),
            "payload.bead.created_by",
        ),
        (
            said(
                "bead_created",
                {"bead": {"bead_id": "X", "type": "issue", "title": "x", "created_by": "patrol"}},
                by="toast",
            ),
            "payload.bead.created_by",
        ),
    ],
    ids=range(9),
)
def test_a_claim_about_somebody_else_is_refused(event: dict[str, Any], where: str) -> None:
    with pytest.raises(Refused) as refused:
        sent(agent(scope="coordinator"), event)
    assert (refused.value.status, refused.value.path) == (403, f"events[0].{where}")


def test_nobody_speaks_in_the_name_of_the_town_itself() -> None:
    for name in ("patrol", "system"):
        bead = {"bead_id": "X", "type": "issue", "title": "x", "labels": ["gt:triage"], "created_by": name}
        with pytest.raises(Refused) as refused:
            sent(OPERATOR, said("bead_created", {"bead": bead}))
        assert refused.value.status == 403


def test_what_a_token_did_stands_in_the_audit_trail_under_its_name() -> None:
    town = a_busy_town()
    town.tick(*sent(agent("mayor", scope="coordinator"), said("bead_updated", {"title": "mine"}, by="mayor", bead="W")))
    (row,) = town.rows(
        "SELECT metadata ->> '$.said_by', metadata ->> '$.said_in' FROM bead_events WHERE event_type = 'fields_updated'"
    )
    assert row == ("coordinator mayor, generation 5", "report-1@mayor")

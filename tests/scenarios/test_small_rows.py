"""Scenarios 570 to 572: what is over takes little room, and is still known."""

import json
from datetime import timedelta

from shared.domain import strict_json
from shared.domain.states import EventSource
from shared.intake import ingest
from shared.intake.redrive import copy_of, id_of_copy
from shared.intake.stored_events import poisoned_event
from shared.questions.since import Beginnings
from shared.town.known_events import content_digest
from tests.scenarios.table import scenario
from tests.scenarios.test_poison import a_town_with_a_broken_bead
from tests.towns import MS, T, a_town, event, outcome_of

SECOND = timedelta(seconds=1)


@scenario(570)
def test_a_processed_event_keeps_a_digest_and_its_repetition_is_still_told_from_a_conflict() -> None:
    town = a_town()
    first = event("escalation_raised", {"title": "Help", "severity": "low", "body": "x" * 3000}, event_id="help-0001")
    other = event("escalation_raised", {"title": "Help", "severity": "low", "body": "y" * 3000}, event_id="help-0001")
    town.tick(first)
    assert town.one("town_events", "help-0001", "payload", "content_digest", "outcome") == (
        None,
        content_digest(first.payload),
        "applied",
    )
    again = town.tick(first, at=T + SECOND)
    assert (again.events, town.value("counters")["conflicts"]) == ((), 0)
    conflict = town.tick(other, at=T + 2 * SECOND)
    assert outcome_of(conflict, "help-0001") == "conflict"
    assert town.rows("SELECT COUNT(*) FROM beads WHERE type = 'escalation'") == [(1,)]


@scenario(571)
def test_a_poisoned_event_keeps_payload_and_digest_and_can_be_sent_again() -> None:
    town = a_town_with_a_broken_bead()
    bad = event("bead_updated", {"title": "New"}, bead="broken", event_id="bad-event")
    for number in range(4):
        town.tick(*([bad] if number == 0 else []), at=T + number * 10 * SECOND)
    payload, digest, outcome = town.one("town_events", "bad-event", "payload", "content_digest", "outcome")
    assert (payload, digest, outcome) == (bad.payload, content_digest(bad.payload), "poisoned")
    fact = poisoned_event(town.sql, "bad-event")
    assert fact is not None
    town.update("beads", "broken", metadata={})
    copies = ingest.batch_of(
        [copy_of(fact, id_of_copy("bad-event", 1))], received_at=T + 60 * SECOND, source=EventSource.OPERATOR
    )
    town.tick(*copies.envelopes, at=T + 60 * SECOND)
    assert town.one("beads", "broken", "title") == "New"


@scenario(572)
def test_a_finished_dispatch_keeps_what_is_still_read_and_nothing_that_people_wrote() -> None:
    town = a_town().bead("b1", title="Oil the gate", body="word " * 2000)
    claimed = town.tick().effects
    (start,) = (effect for effect in claimed if effect.kind == "dispatch_agent")
    assert len(town.one("outbox", start.effect_id, "payload")) > 10_000
    result = {
        "effect_id": start.effect_id,
        "attempt": 1,
        "generation": start.generation,
        "outcome": "started",
        "process_id": "p1",
    }
    done = event("dispatch_result", result, agent=start.subject, event_id="res-0001", source="effect")
    assert outcome_of(town.tick(done, at=T + SECOND), "res-0001") == "applied"
    state, payload = town.one("outbox", start.effect_id, "state", "payload")
    left = strict_json.stored(payload)
    assert state == "done"
    assert set(left) == {"town_id", "agent_id", "generation", "role", "branch", "bead"}
    assert left["bead"] == {"id": "b1"}
    branch = json.loads(town.one("beads", "b1", "metadata"))["branch"]
    assert left["branch"] == branch
    wrong = event(
        "agent_done", {"branch": "elsewhere", "generation": start.generation}, agent=start.subject, event_id="done-0001"
    )
    assert (outcome_of(town.tick(wrong, at=T + 2 * SECOND), "done-0001") or "").startswith("rejected")


def test_since_when_a_bead_is_held_is_read_from_the_audit_trail() -> None:
    town = a_town()
    bead = {"bead_id": "b1", "type": "issue", "title": "Oil", "rig_id": "rig-1", "labels": ["gt:held"]}
    town.tick(event("bead_created", {"bead": bead}))
    began = Beginnings(town.sql, T + 9 * SECOND)
    assert began.labelled("b1") == T
    town.tick(event("bead_updated", {"remove_labels": ["gt:held"]}, bead="b1"), at=T + SECOND)
    town.tick(event("bead_updated", {"labels": ["gt:held", "x"]}, bead="b1"), at=T + 2 * SECOND)
    town.tick(event("bead_updated", {"labels": ["gt:held"]}, bead="b1"), at=T + 3 * SECOND)
    town.tick(event("bead_updated", {"priority": "low"}, bead="b1"), at=T + 4 * SECOND + MS)
    assert Beginnings(town.sql, T + 9 * SECOND).labelled("b1") == T + 2 * SECOND

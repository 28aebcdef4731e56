"""An answer and its JSON: the names, the times, and the way back."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from shared.actions import ACTIONS
from shared.domain.report import JudgedAction
from shared.domain.senders import Sender
from shared.domain.shapes import Time, answer, document, read
from shared.domain.tick import Envelope, Observations
from tests.towns import T


@answer
class Part:
    last_seen_at: Time | None
    row: dict[str, Any]


@answer
class Whole:
    town_id: str
    parts: tuple[Part, ...]
    by_status: dict[str, int]


WHOLE = Whole("t1", (Part(T, {"bead_id": "b", "labels": ["a_b"]}), Part(None, {})), {"in_progress": 2})
DOCUMENT = {
    "townId": "t1",
    "parts": [
        {"lastSeenAt": "2026-01-10T12:00:00.000Z", "row": {"bead_id": "b", "labels": ["a_b"]}},
        {"lastSeenAt": None, "row": {}},
    ],
    "byStatus": {"in_progress": 2},
}


def test_fields_are_in_camel_case_and_the_columns_of_a_row_and_the_keys_of_counters_are_not_renamed() -> None:
    assert document(WHOLE) == DOCUMENT


def test_an_answer_is_read_back_from_its_document() -> None:
    assert read(Whole, DOCUMENT) == WHOLE


def test_what_a_newer_version_adds_is_ignored() -> None:
    assert read(Whole, DOCUMENT | {"nextDueAt": None}) == WHOLE


@pytest.mark.parametrize("missing", DOCUMENT)
def test_a_field_that_is_missing_is_an_error(missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        read(Whole, {name: value for name, value in DOCUMENT.items() if name != missing})


@pytest.mark.parametrize("text", ["2026-01-10", "2026-01-10T12:00:00Z", "12", ""])
def test_a_time_is_read_only_in_the_form_in_which_it_is_written(text: str) -> None:
    with pytest.raises(ValidationError, match="not a stored time"):
        read(Part, {"lastSeenAt": text, "row": {}})


def test_a_time_of_any_zone_is_written_in_utc_with_milliseconds() -> None:
    there = timezone(timedelta(hours=2))
    at = datetime(2026, 1, 10, 14, 0, 0, 123_456, there)
    assert document(Part(at, {}))["lastSeenAt"] == "2026-01-10T12:00:00.123Z"


def test_an_envelope_keeps_the_names_under_which_it_was_posted() -> None:
    sender = Sender("agent", "toast", 3, key="k", token="t", request="r")
    posted = Envelope("event-1@toast", "bead_created", None, "b", '{"bead_id": "b"}', "ingest", "t", "t", sender)
    assert document(posted) == posted.as_json()


def test_an_action_has_camel_case_fields_in_answers_and_its_wire_form_in_the_journal() -> None:
    action = {"type": "transition_bead", "bead_id": "b", "from": "open", "to": "closed", "context": {"agent_id": "p"}}
    judged = JudgedAction("beads.settle_reviewed", action, "applied")
    shown = document(judged)
    assert shown["action"] == {
        "type": "transition_bead",
        "beadId": "b",
        "from": "open",
        "to": "closed",
        "context": {"agent_id": "p"},
    }
    assert read(JudgedAction, shown) == judged
    assert judged.as_json()["action"] == action


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.type)
def test_the_fields_of_every_action_are_read_back_under_their_names(action: type) -> None:
    fields = {name.rstrip("_"): None for name in action.__dataclass_fields__}  # type: ignore[attr-defined] # a dataclass
    judged = JudgedAction("rule", {"type": "", **fields}, "applied")
    assert read(JudgedAction, document(judged)) == judged


def test_observations_are_an_object_by_agent_and_are_read_back_in_order() -> None:
    seen = {"status": "running", "exitReason": None, "generation": 1, "sign": None}
    shown = {"agents": {"b": seen, "a": seen}, "container": "running", "asked": True}
    found = read(Observations, shown)
    assert [agent for agent, _ in found.agents] == ["a", "b"]
    assert document(found) == shown

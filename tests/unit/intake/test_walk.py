"""The walk of an event: decoded once, then shape, sender, content. What is wrong first on the way is what is refused."""

import json
import types
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shared.domain import canonical
from shared.domain.errors import Refused
from shared.domain.field_errors import FieldError, all_errors
from shared.domain.senders import Sender
from shared.events import EVENTS
from shared.events.base import Event
from shared.intake import ingest
from shared.intake.repeats import require_no_other
from shared.intake.unreadable import UNREADABLE
from shared.ports.waiting_room import InboxObject

NOW = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)
KEY = "towns/t1/inbox/1768046400000-batch-1.json"
TOAST = Sender("agent", "toast", 2)

FINE: dict[str, Any] = {
    "event_id": "event-0001",
    "event_type": "agent_done",
    "agent_id": "toast",
    "payload": {"branch": "gt/x", "generation": 2},
}
BAD_SHAPE = {"occurred_at": "noon"}
OTHER_AGENT = {"agent_id": "nux"}
OTHER_TYPE = {"event_type": "town_started"}
OTHER_GENERATION = {"payload": {"branch": "", "generation": 1}}
MADE_BY_THE_TOWN = {"event_type": "stop_result"}
BAD_CONTENT = {"payload": {"branch": ""}}
TOO_OLD = {"occurred_at": "2025-01-10T12:00:00Z"}


def refused(*events: dict[str, Any], sent_by: Sender | None = TOAST) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        ingest.batch_of(events, received_at=NOW, sent_by=sent_by)
    return caught.value.status, caught.value.path


@pytest.mark.parametrize(
    ("wrong", "status", "place"),
    [
        pytest.param(BAD_SHAPE | OTHER_AGENT, 400, "occurred_at", id="shape before another agent"),
        pytest.param(BAD_SHAPE | OTHER_TYPE, 400, "occurred_at", id="shape before a type of others"),
        pytest.param(BAD_SHAPE | MADE_BY_THE_TOWN, 400, "occurred_at", id="shape before a type of the town's"),
        pytest.param(
            {"event_type": "agent_dreamt"} | OTHER_AGENT, 400, "event_type", id="unknown before another agent"
        ),
        pytest.param(
            {"agent_id": None} | MADE_BY_THE_TOWN, 400, "event_type", id="the town's types before a missing field"
        ),
        pytest.param({"agent_id": None}, 403, "agent_id", id="another agent, namely none, before a missing field"),
        pytest.param({"event_id": "res-0000"} | OTHER_AGENT, 400, "event_id", id="the town's ids before another agent"),
        pytest.param(OTHER_AGENT | BAD_CONTENT, 403, "agent_id", id="another agent before content"),
        pytest.param(OTHER_AGENT | TOO_OLD, 403, "agent_id", id="another agent before age"),
        pytest.param(OTHER_TYPE | TOO_OLD, 403, "event_type", id="a type of others before content"),
        pytest.param(OTHER_GENERATION, 403, "payload.generation", id="another generation before content"),
        pytest.param(BAD_CONTENT | TOO_OLD, 400, "payload.branch", id="payload before age"),
        pytest.param(TOO_OLD, 410, "occurred_at", id="age"),
    ],
)
def test_of_two_things_wrong_with_an_event_the_first_on_the_way_is_told(
    wrong: dict[str, Any], status: int, place: str
) -> None:
    assert refused(FINE | wrong) == (status, f"events[0].{place}")


@pytest.mark.parametrize(
    ("first", "then", "answer"),
    [
        (OTHER_AGENT, BAD_SHAPE, (403, "events[1].agent_id")),
        (BAD_CONTENT, BAD_SHAPE, (400, "events[1].payload.branch")),
        (TOO_OLD, OTHER_AGENT, (410, "events[1].occurred_at")),
        (BAD_SHAPE, OTHER_AGENT, (400, "events[1].occurred_at")),
        ({"event_id": "event-0000", "bead_id": "b"}, OTHER_AGENT, (409, "events[1].event_id")),
    ],
)
def test_the_events_of_a_body_walk_one_after_the_other(
    first: dict[str, Any], then: dict[str, Any], answer: tuple[int, str]
) -> None:
    fine = FINE | {"event_id": "event-0000"}
    assert refused(fine, FINE | first, FINE | {"event_id": "event-0002"} | then) == answer


def test_an_event_without_a_token_walks_past_the_sender() -> None:
    assert refused(FINE | OTHER_AGENT | BAD_CONTENT, sent_by=None) == (400, "events[0].payload.branch")


def test_an_object_of_the_inbox_is_read_in_the_same_order() -> None:
    """The problem is stored with the event that stands for the unreadable one, so its choice is pinned here."""
    [envelope] = ingest.read_object(KEY, json.dumps(FINE | BAD_SHAPE | MADE_BY_THE_TOWN).encode())
    assert envelope.event_type == UNREADABLE
    assert "occurred_at" in json.loads(envelope.payload)["problem"]

    [envelope] = ingest.read_object(KEY, json.dumps(FINE | MADE_BY_THE_TOWN).encode())
    assert "made by the town itself" in json.loads(envelope.payload)["problem"]


def test_a_conflict_with_what_waits_names_the_place_in_the_body_not_in_what_is_left_of_it() -> None:
    waits = ingest.batch_of([FINE], received_at=NOW)
    beat = {"event_id": "heart-0001", "event_type": "agent_heartbeat", "agent_id": "toast"}
    batch = ingest.batch_of([beat, beat, FINE | {"bead_id": "b"}], received_at=NOW)
    assert len(batch.envelopes) == 2

    with pytest.raises(Refused) as caught:
        require_no_other(batch, [InboxObject(KEY, waits.body)])
    assert (caught.value.status, caught.value.path) == (409, "events[2].event_id")


# What is accepted as a value, a tick reads as a text


LEAVES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63 - 1, 1.0, 1.5, "", "x", "true", "1", "x" * 5_000),
    *("2026-01-10T12:00:00Z", "https://github.com/acme/app/pull/1", "git@github.com:acme/app.git"),
)


def anything(random: Random, depth: int = 0) -> Any:
    kind = random.random() if depth < 3 else 0
    if kind < 0.6:
        return random.choice(LEAVES)
    if kind < 0.8:
        return [anything(random, depth + 1) for _ in range(random.randint(0, 3))]
    return {
        key: anything(random, depth + 1) for key in random.sample(["a", "b", "title", "type"], random.randint(0, 3))
    }


def nearly(model: type[BaseModel], random: Random) -> dict[str, Any]:
    """An object as the model wants it, except that a field may be missing, wrong, or one too many."""
    given_fields = {
        name: anything(random) if random.random() < 0.1 else fitting(field.annotation, random)
        for name, field in model.model_fields.items()
        if random.random() > 0.1
    }
    return given_fields | ({"unheard_of": 1} if random.random() < 0.05 else {})


def fitting(kind: Any, random: Random) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return random.choice(inner)
    if origin is typing.Annotated:
        return fitting(inner[0], random)
    if origin in (typing.Union, types.UnionType):
        return fitting(random.choice(inner), random)
    if origin is tuple:
        return [fitting(inner[0], random) for _ in range(random.randint(0, 2))]
    if origin is dict:
        return {"a": anything(random)}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return nearly(kind, random)
    known: dict[Any, tuple[Any, ...]] = {
        str: ("x", "https://github.com/acme/app/pull/1", "git@github.com:acme/app.git"),
        int: (1, 2, 0),
        bool: (True, False),
        datetime: ("2026-01-10T12:00:00Z", "2026-01-10T13:00:00.123456+01:00"),
        type(None): (None,),
    }
    return random.choice(known[kind]) if kind in known else anything(random)


def judged(read: Callable[[], Event]) -> tuple[FieldError, ...] | Event:
    try:
        return read()
    except ValidationError as error:
        return all_errors(error)


@pytest.mark.parametrize("event", EVENTS, ids=[event.event_type for event in EVENTS])
@settings(max_examples=40)
@given(random=st.randoms(use_true_random=True))
def test_a_payload_is_judged_as_a_value_exactly_as_its_text_is(event: type[Event], random: Random) -> None:
    text = canonical.dumps(nearly(event, random))
    value = json.loads(text)
    assert judged(lambda: event.model_validate(value)) == judged(lambda: event.model_validate_json(text))

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError, create_model

from shared import events
from shared.domain.field_errors import first_error
from shared.events import EVENTS, fields
from shared.events.base import Event, UnreadableEvent
from shared.events.fields import TOO_LARGE, FreeText, IdText, JsonList, JsonObject, Part, StatusMessage, Time

AT_THE_LIMIT = {
    "FreeText": ("x" * 4_096, "x" * 4_097),
    "NonEmptyText": ("ä" * 2_048, "ä" * 2_048 + "x"),
    "BodyText": ("😀" * 8_192, "😀" * 8_192 + "x"),
    "StatusMessage": ("ä" * 280, "ä" * 281),
    "HttpsUrl": ("https://" + "x" * 4_088, "https://" + "x" * 4_089),
    "GitUrl": ("https://x/" + "x" * 4_086, "https://x/" + "x" * 4_087),
}

REFUSED: dict[str, list[Any]] = {
    "FreeText": [1, True, None, "a\0b", ["a"]],
    "NonEmptyText": ["", "\0"],
    "BodyText": [1, "\0"],
    "StatusMessage": ["", " \n\t ", "a\0"],
    "IdText": ["", "x" * 65, "a\n", "a\x7f", "a\x85", "\0", 7],
    "Ids": ["abc", [""], [1]],
    "Generation": [0, -1, 1.0, "1", True, 2**63],
    "Integer": [1.0, "1", True, 2**63, -(2**63) - 1],
    "Time": ["2026-01-10T12:00:00", "yesterday", "", 1_768_046_400, "0001-01-01T00:00:00+14:00"],
    "Texts": ["abc", ["a", 1], ["\0"]],
    "JsonList": [{}, "a", [["\0"]]],
    "JsonObject": [[], {"a": {"b\0": 1}}, {"a": float("nan")}, {"a": [float("inf")]}, {"a": [2**63]}],
    "HttpsUrl": ["", "http://github.com/acme/app/pull/1", "HTTP://github.com/acme/app/pull/1"],
    "GitUrl": [
        "http://github.com/acme/app.git",
        "git://github.com/acme/app.git",
        "file://host/srv/app.git",
        "srv/app.git",
        "./app.git",
        "/srv/a\nb",
        "/",
        "https://github.com",
        "https://token@github.com/acme/app.git",
        "https://user:secret@github.com/acme/app.git",
        "ssh://git:secret@github.com/acme/app.git",
        "https://github.com/acme/app .git",
        "git@github.com://acme",
    ],
    "PriorityName": ["urgent", "HIGH", None],
}

TAKEN: dict[str, list[Any]] = {
    "FreeText": [""],
    "NonEmptyText": ["x", " "],
    "StatusMessage": ["x"],
    "IdText": ["x", "ä" * 64],
    "Ids": [[], ["a", "b"]],
    "Generation": [1, 2**63 - 1],
    "Integer": [0, -(2**63)],
    "Time": ["2026-01-10T12:00:00Z", "2026-01-10T12:00:00.123456+01:00"],
    "Texts": [[], ["a", ""]],
    "JsonList": [[], [1, "a", None, {"b": [True]}]],
    "JsonObject": [{}, {"a": [-(2**63), 1.5]}],
    "HttpsUrl": ["https://github.com/acme/app/pull/1"],
    "GitUrl": [
        "https://git.example.com:8443/acme/app",
        "ssh://git@git.example.com:22/acme/app.git",
        "git@github.com:acme/app.git",
        "/srv/app.git",
        "file:///srv/app.git",
    ],
    "PriorityName": ["low", "medium", "high", "critical"],
}


def problem(kind: str, value: Any) -> str | None:
    """The error type of a value, the same from Python and from JSON text; None if it is taken."""
    payload = create_model("Payload", __base__=Part, value=(getattr(fields, kind), ...))
    from_python = _problem(lambda: payload.model_validate({"value": value}))
    from_json = _problem(lambda: payload.model_validate_json(json.dumps({"value": value})))
    assert from_python == from_json
    return from_python


def _problem(read: Callable[[], object]) -> str | None:
    try:
        read()
    except ValidationError as error:
        return error.errors()[0]["type"]
    return None


@pytest.mark.parametrize("kind", AT_THE_LIMIT)
def test_a_text_of_exactly_the_limit_is_taken_and_a_longer_one_is_too_large(kind: str) -> None:
    largest, too_large = AT_THE_LIMIT[kind]

    assert problem(kind, largest) is None
    assert problem(kind, too_large) == TOO_LARGE


@pytest.mark.parametrize(("kind", "largest"), [("JsonList", 4_096), ("Checkpoint", 32_768)])
def test_json_of_exactly_the_limit_is_taken_and_more_is_too_large(kind: str, largest: int) -> None:
    assert problem(kind, ["x" * (largest - len('[""]'))]) is None
    assert problem(kind, ["x" * (largest - len('[""]') + 1)]) == TOO_LARGE


@pytest.mark.parametrize("kind", REFUSED)
def test_nothing_is_coerced_and_no_shape_is_guessed(kind: str) -> None:
    for value in REFUSED[kind]:
        assert problem(kind, value) not in (None, TOO_LARGE), value


@pytest.mark.parametrize("kind", TAKEN)
def test_what_the_specification_allows_is_taken(kind: str) -> None:
    for value in TAKEN[kind]:
        assert problem(kind, value) is None, value


@pytest.mark.parametrize("text", ["", "x" * 65, "a\n"])
def test_what_is_no_id_is_refused_in_words_and_not_with_a_pattern(text: str) -> None:
    """It said that the text should match a regular expression."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(IdText).validate_python(text)
    problem = first_error(refused.value)
    assert problem.message == "an id has 1 to 64 characters and no control characters"
    assert "shorten this id" in problem.hint


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FreeText).validate_json('"\\ud800"')
    for kind in (FreeText, StatusMessage, IdText, JsonList):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python("\ud800")
    with pytest.raises(ValidationError):
        TypeAdapter(JsonObject).validate_python({"a": ["\ud800"]})


def test_a_time_is_kept_in_whole_milliseconds_of_utc() -> None:
    noon = TypeAdapter(Time).validate_python("2026-01-10T13:00:00.123999+01:00")

    assert noon == datetime(2026, 1, 10, 12, 0, 0, 123_000, tzinfo=UTC)


def test_a_status_message_is_trimmed() -> None:
    assert TypeAdapter(StatusMessage).validate_python(" \tat work\n") == "at work"


# the registry


@pytest.mark.parametrize(
    ("event_type", "payload", "message"),
    [
        ("bead_exploded", "{}", "unknown event type"),
        ("agent_done", "{", "payload: json_invalid"),
        ("agent_done", "[]", "payload: model_type"),
        ("agent_done", "{}", "payload.branch: missing"),
        ("agent_done", '{"branch":"x","colour":1}', "payload.colour: extra_forbidden"),
        ("container_status", '{"status":"asleep"}', "payload.status: literal_error"),
    ],
)
def test_an_event_that_cannot_be_read_says_where_without_repeating_what(
    event_type: str, payload: str, message: str
) -> None:
    with pytest.raises(UnreadableEvent) as refused:
        events.parse(event_type, payload)

    assert refused.value.message == message


@pytest.mark.parametrize("event", EVENTS, ids=[event.event_type for event in EVENTS])
def test_no_event_takes_a_field_that_it_does_not_know(event: type[Event]) -> None:
    with pytest.raises(ValidationError) as refused:
        event.model_validate({"unheard_of": 1})

    assert ("unheard_of",) in [error["loc"] for error in refused.value.errors()]

"""The one way in: what is accepted, what is refused, with which answer (spec/events.md 1, scenarios 145 to 147)."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain import canonical, limits, strict_json
from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.domain.times import from_milliseconds, to_milliseconds, to_text
from shared.intake import ingest, stored
from shared.intake.redrive import copy_of, id_of_copy
from shared.intake.unreadable import UNREADABLE
from shared.town.inbox import Fact

NOW = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)
KEY = f"towns/t1/inbox/{to_milliseconds(NOW)}-batch-1.json"
DONE: dict[str, Any] = {
    "event_id": "event-0001",
    "event_type": "agent_done",
    "agent_id": "p",
    "payload": {"branch": "gt/toast/1"},
}


def body(event: Any) -> bytes:
    return canonical.dumps(event).encode()


def done(**changes: Any) -> dict[str, Any]:
    return {**DONE, **changes}


def accept(given: bytes, **options: Any) -> ingest.AcceptedBatch:
    return ingest.accept(given, received_at=NOW, **options)


def refused(given: bytes, **options: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        accept(given, **options)
    return caught.value


def judged(given: bytes) -> int:
    """The status that ingest answers with."""
    try:
        accept(given)
    except Refused as error:
        return error.status
    return 202


# What is accepted


def test_an_event_becomes_an_envelope_with_what_only_the_receiver_knows() -> None:
    batch = accept(body(done(occurred_at="2026-01-10T12:30:00+01:00")))
    assert batch.envelopes == (
        Envelope(
            event_id="event-0001",
            event_type="agent_done",
            agent_id="p",
            bead_id=None,
            payload='{"branch":"gt/toast/1"}',
            source="ingest",
            created_at="2026-01-10T11:30:00.000Z",
            received_at="2026-01-10T12:00:00.000Z",
        ),
    )


@pytest.mark.parametrize(
    "wrap",
    [lambda event: event, lambda event: [event], lambda event: {"events": [event]}],
    ids=["one", "list", "object"],
)
def test_one_event_a_list_and_an_object_of_events_are_the_same(wrap: Any) -> None:
    assert accept(body(wrap(DONE))) == accept(body(DONE))


def test_what_was_accepted_is_read_back_as_it_was() -> None:
    events = [
        DONE,
        done(event_id="event-0002", bead_id="b", occurred_at="2026-01-09T12:00:00Z"),
        {"event_id": "event-0003", "event_type": "container_eviction"},
    ]
    batch = accept(body(events), source=EventSource.OPERATOR)
    assert ingest.read_object(KEY, batch.body) == batch.envelopes
    assert len(batch.envelopes) == 3


@pytest.mark.parametrize(
    ("types", "transient"),
    [
        (["agent_heartbeat"], True),
        (["agent_heartbeat", "agent_status"], True),
        (["agent_heartbeat", "container_eviction"], False),
    ],
)
def test_only_a_batch_of_signs_of_life_does_not_wake_the_town(types: list[str], transient: bool) -> None:
    events = [
        {
            "event_id": f"event-000{index}",
            "event_type": event_type,
            "agent_id": "p",
            "payload": {"message": "building"} if event_type == "agent_status" else {},
        }
        for index, event_type in enumerate(types)
    ]
    assert accept(body(events)).transient_only is transient


def test_the_same_event_twice_in_a_batch_is_one() -> None:
    assert len(accept(body([DONE, DONE])).envelopes) == 1


def test_the_same_id_with_other_content_is_a_conflict() -> None:
    error = refused(body([DONE, done(payload={"branch": "other"})]))
    assert (error.status, error.path) == (409, "events[1].event_id")


# Sizes


def padded(size: int) -> bytes:
    """An event of exactly so many bytes that is full of allowed texts."""
    event = {
        "event_id": "event-0001",
        "event_type": "bead_created",
        "payload": {
            "bead": {
                "bead_id": "b",
                "type": "issue",
                "title": "t",
                "body": "x" * 32_768,
                "metadata": {"a": "", "b": ""},
            }
        },
    }
    metadata: Any = event["payload"]["bead"]["metadata"]  # type: ignore[index]
    missing = size - len(body(event))
    metadata["a"], metadata["b"] = "y" * (missing // 2), "z" * (missing - missing // 2)
    return body(event)


@pytest.mark.parametrize(("size", "status"), [(65_535, 202), (65_536, 202), (65_537, 413)])
def test_an_event_has_64_kib(size: int, status: int) -> None:
    assert len(padded(size)) == size
    assert judged(padded(size)) == status
    assert judged(b"[" + padded(size) + b"]") == status


def test_blanks_count_where_the_body_is_one_event() -> None:
    assert judged(padded(65_536) + b" ") == 413


@pytest.mark.parametrize(("size", "status"), [(4_096, 202), (4_097, 413)])
@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
def test_a_text_has_4_kib_of_utf_8(size: int, status: int, letter: str) -> None:
    width = len(letter.encode())
    text = letter * (size // width) + "x" * (size % width)
    assert judged(body(done(payload={"branch": text}))) == status


@pytest.mark.parametrize(("size", "status"), [(32_768, 202), (32_769, 413)])
def test_a_bead_s_body_has_32_kib(size: int, status: int) -> None:
    bead = {"bead_id": "b", "type": "issue", "title": "t", "body": "x" * size}
    assert judged(body({"event_id": "event-0001", "event_type": "bead_created", "payload": {"bead": bead}})) == status


@pytest.mark.parametrize(
    ("message", "status"), [("x" * 280, 202), ("x" * 281, 413), ("", 400), ("  ", 400), (f" {'x' * 280} ", 202)]
)
def test_a_status_message_has_1_to_280_characters(message: str, status: int) -> None:
    event = {"event_id": "event-0001", "event_type": "agent_status", "agent_id": "p", "payload": {"message": message}}
    assert judged(body(event)) == status


@pytest.mark.parametrize(
    ("length", "problem"),
    [
        (0, "event_type must be one of the catalogue"),
        (1, f"unknown event_type {'x'!r}"),
        (64, f"unknown event_type {'x' * 64!r}"),
        (65, "event_type must be one of the catalogue"),
    ],
)
def test_a_type_of_1_to_64_characters_is_looked_up(length: int, problem: str) -> None:
    assert problem in str(refused(body(done(event_type="x" * length))))


def test_whoever_sends_an_unknown_type_is_told_the_types_that_may_be_sent() -> None:
    hint = refused(body(done(event_type="agent_dome"))).hint
    assert "did you mean agent_done" in hint
    assert "pr_adopted" in hint
    assert "pr_polled" not in hint, "only the town makes these"


@pytest.mark.parametrize(("length", "status"), [(0, 400), (1, 202), (64, 202), (65, 400)])
def test_an_agent_id_has_1_to_64_characters(length: int, status: int) -> None:
    assert judged(body(done(agent_id="x" * length))) == status


@pytest.mark.parametrize(
    ("character", "status"),
    [("\x1f", 400), (" ", 202), ("~", 202), ("\x7f", 400), ("\x80", 400), ("\x9f", 400), ("\xa0", 202)],
    ids=ascii,
)
def test_an_agent_id_has_no_control_characters(character: str, status: int) -> None:
    assert judged(body(done(agent_id=f"a{character}b"))) == status


@pytest.mark.parametrize(("length", "status"), [(63, 202), (64, 202), (65, 400)])
def test_a_time_has_at_most_64_characters(length: int, status: int) -> None:
    start = "2026-01-10T11:59:00."
    assert judged(body(done(occurred_at=start + "0" * (length - len(start) - 1) + "Z"))) == status


@pytest.mark.parametrize(("limit", "accepted"), [(1, False), (2, True)])
def test_a_body_of_exactly_the_limit_is_parsed(limit: int, accepted: bool) -> None:
    if accepted:
        assert strict_json.parse(b"[]", limit=limit, depth=1) == []
    else:
        with pytest.raises(Refused, match="2 bytes: at most 1"):
            strict_json.parse(b"[]", limit=limit, depth=1)


@pytest.mark.parametrize("code", [0xD7FF, 0xE000])
def test_the_neighbours_of_the_surrogates_are_text(code: int) -> None:
    assert strict_json.parse(b'"\\u%04x"' % code, limit=100, depth=1) == chr(code)


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_a_lone_surrogate_of_either_end_is_no_text(code: int) -> None:
    with pytest.raises(Refused, match="text contains a lone surrogate"):
        strict_json.parse(b'"\\u%04x"' % code, limit=100, depth=1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\xef\xbb\xbf[]", "the body starts with a byte order mark"),
        (b'"\\u0000"', "U+0000 is not allowed in text"),
        (b"9223372036854775808", "the integer 9223372036854775808 does not fit into 64 bits"),
        (b"-9223372036854775809", "the integer -9223372036854775809 does not fit into 64 bits"),
        (b"][", "not JSON"),
    ],
)
def test_the_strict_parser_says_what_it_refuses(text: bytes, problem: str) -> None:
    with pytest.raises(Refused) as caught:
        strict_json.parse(text, limit=100, depth=1)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (done(event_type=7), "event_type must be one of the catalogue"),
        (done(event_type="agent\ndone"), "event_type must be one of the catalogue"),
        (done(payload=[]), "payload must be a JSON object"),
    ],
)
def test_the_envelope_says_what_it_refuses(event: dict[str, Any], problem: str) -> None:
    assert problem in str(refused(body(event)))


@pytest.mark.parametrize(("length", "shown"), [(100, "x" * 100), (101, ascii("x" * 100))])
def test_a_path_shows_a_key_of_100_characters_whole(length: int, shown: str) -> None:
    assert strict_json.below("", "x" * length) == shown


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 202), (100, 202), (101, 400)])
def test_a_batch_has_1_to_100_events(count: int, status: int) -> None:
    assert judged(body([done(event_id=f"event-{index:04}") for index in range(count)])) == status


def test_a_body_over_all_limits_is_not_even_parsed() -> None:
    assert judged(b"[" * 7_000_000) == 413


# JSON that two readers could understand differently

HOSTILE = {
    "nothing": b"",
    "blanks": b"  ",
    "not UTF-8": b'{"event_id": "\xff"}',
    "an encoded surrogate": b'{"event_id": "\xed\xa0\x80"}',
    "UTF-16": canonical.dumps(DONE).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + body(DONE),
    "two objects": body(DONE) + body(DONE),
    "text": b'"event"',
    "a number": b"1",
    "null": b"null",
    "a list in a list": b"[[]]",
    "trailing comma": body(DONE)[:-1] + b",}",
    "single quotes": b"{'event_id': 'event-0001'}",
    "a comment": body(DONE) + b"// done",
    "control character in text": b'{"event_id": "event\n0001"}',
    "unfinished text": b'{"event_id": "event',
    "unfinished escape": b'{"event_id": "event\\',
    "other field beside events": body({"events": [DONE], "town": "t1"}),
    "events that are no list": body({"events": DONE}),
    "an event that is no object": body({"events": ["agent_done"]}),
}


@pytest.mark.parametrize("given_body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_body_that_is_no_event_is_refused(given_body: bytes) -> None:
    assert judged(given_body) == 400


def raw(value: str, *, field: str = "metadata", key: str = "k") -> bytes:
    """bead_created with this JSON text as a value somewhere inside."""
    inside = (
        value if field == "payload" else f'{{"bead":{{"bead_id":"b","type":"issue","title":"t","{field}":{value}}}}}'
    )
    return f'{{"event_id":"event-0001","event_type":"bead_created","payload":{inside}}}'.encode()


VALUES = {
    "a duplicate key": '{"a":1,"a":1}',
    "a duplicate key in disguise": '{"a":1,"\\u0061":1}',
    "NaN": '{"a":NaN}',
    "Infinity": '{"a":Infinity}',
    "-Infinity": '{"a":-Infinity}',
    "a float that is infinite": '{"a":1e999}',
    "an integer over 64 bits": '{"a":9223372036854775808}',
    "an integer under 64 bits": '{"a":-9223372036854775809}',
    "a long number": '{"a":0.' + "1" * 63 + "}",
    "a very long integer": '{"a":' + "1" * 5_000 + "}",
    "a lone high surrogate": '{"a":"\\ud800"}',
    "a lone low surrogate": '{"a":"\\udc00x"}',
    "a lone surrogate in a key": '{"\\ud800":1}',
    "surrogates in the wrong order": '{"a":"\\udc00\\ud800"}',
    "U+0000": '{"a":"\\u0000"}',
    "U+0000 in a key": '{"a\\u0000":1}',
    "a leading zero": '{"a":01}',
    "a plus": '{"a":+1}',
    "a bare point": '{"a":.5}',
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_value_that_two_readers_could_read_differently_is_refused(value: str) -> None:
    assert judged(raw(value)) == 400


@pytest.mark.parametrize(
    "value",
    [
        '{"a":9223372036854775807,"b":-9223372036854775808}',
        '{"a":0.' + "1" * 62 + "}",
        '{"a":1e308,"b":-0.0,"c":1E-400}',
        '{"a":"\\ud83d\\ude00"}',
        '{"a":"\\\\u0000 and \\\\ud800"}',
        '{"a":{"a":1},"b":{"a":1}}',
        '{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[","b":"\\"{{{{{{"}',
    ],
)
def test_a_value_at_the_limits_is_accepted_and_read_back(value: str) -> None:
    batch = accept(raw(value))
    assert json.loads(batch.envelopes[0].payload)["bead"]["metadata"] == json.loads(value)
    assert ingest.read_object(KEY, batch.body) == batch.envelopes


def nested(depth: int, start: str, end: str) -> str:
    """A metadata value that makes the whole event so many levels deep."""
    inner = depth - 4  # event, payload, bead, metadata
    return '{"a":' + start * inner + "1" + end * inner + "}"


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize(("depth", "status"), [(31, 202), (32, 202), (33, 400), (34, 400), (35, 400), (10_000, 400)])
def test_an_event_has_32_levels(depth: int, status: int, start: str, end: str) -> None:
    event = raw(nested(depth, start, end))
    assert judged(event) == status
    assert judged(b"[" + event + b"]") == status
    assert judged(b'{"events":[' + event + b"]}") == status


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'"\\', b'\\"', b'"', b"{", b"]"], ids=range(7))
def test_hostile_repetition_is_refused_in_no_time(unit: bytes) -> None:
    assert judged(unit * (6_000_000 // len(unit))) == 400


# The envelope


WRONG: list[tuple[dict[str, Any], str]] = [
    (done(source="operator"), "source"),
    (done(received_at="2026-01-10T12:00:00Z"), "received_at"),
    (done(extra=1), "extra"),
    ({key: value for key, value in DONE.items() if key != "event_id"}, "event_id"),
    (done(event_id="event-1"), "event_id"),
    (done(event_id="e" * 129), "event_id"),
    (done(event_id="event 0001"), "event_id"),
    (done(event_id="event-0001\n"), "event_id"),
    (done(event_id="évent-0001"), "event_id"),
    (done(event_id=12345678), "event_id"),
    (done(event_id="res-0000-1"), "event_id"),
    (done(event_id="unreadable-0001"), "event_id"),
    ({key: value for key, value in DONE.items() if key != "event_type"}, "event_type"),
    (done(event_type="agent_dreamt"), "event_type"),
    (done(event_type=""), "event_type"),
    (done(event_type=None), "event_type"),
    (done(event_type="unreadable"), "event_type"),
    (done(event_type="dispatch_result"), "event_type"),
    (done(agent_id=""), "agent_id"),
    (done(agent_id="p" * 65), "agent_id"),
    (done(agent_id="p\t1"), "agent_id"),
    (done(agent_id="p\x85"), "agent_id"),
    (done(agent_id=7), "agent_id"),
    (done(agent_id=None), "agent_id"),
    (done(bead_id=["b"]), "bead_id"),
    ({"event_id": "event-0001", "event_type": "bead_cancelled"}, "bead_id"),
    (done(payload=[]), "payload"),
    (done(payload=None), "payload"),
    (done(payload="{}"), "payload"),
    (done(payload={}), "payload.branch"),
    (done(payload={"branch": ""}), "payload.branch"),
    (done(payload={"branch": 1}), "payload.branch"),
    (done(payload={"branch": "b", "generation": "1"}), "payload.generation"),
    (done(payload={"branch": "b", "generation": True}), "payload.generation"),
    (done(payload={"branch": "b", "generation": 1.0}), "payload.generation"),
    (done(payload={"branch": "b", "generation": 0}), "payload.generation"),
    (done(payload={"branch": "b", "twig": "c"}), "payload.twig"),
    (done(occurred_at="yesterday"), "occurred_at"),
    (done(occurred_at="2026-01-10T12:00:00"), "occurred_at"),
    (done(occurred_at="0001-01-01T00:00:00+23:59"), "occurred_at"),
    (done(occurred_at=1_768_046_400), "occurred_at"),
    (done(occurred_at=""), "occurred_at"),
]


@pytest.mark.parametrize(("event", "path"), WRONG, ids=[f"{path} {n}" for n, (_, path) in enumerate(WRONG)])
def test_what_is_wrong_is_named_by_its_place(event: dict[str, Any], path: str) -> None:
    error = refused(body([done(event_id="event-0000"), event]))
    assert (error.status, error.path) == (400, f"events[1].{path}")
    assert error.message


@pytest.mark.parametrize("length", [8, 128])
def test_event_ids_of_both_limits_are_accepted(length: int) -> None:
    assert judged(body(done(event_id="a" * length))) == 202


def test_a_path_never_repeats_what_cannot_be_printed() -> None:
    error = refused(body(done(**{"\x1b[31m" + "x" * 500: 1})))
    assert error.path.isprintable()
    assert len(error.path) < 150


@pytest.mark.parametrize("source", [EventSource.EFFECT, EventSource.OPERATOR])
def test_the_town_s_own_performer_and_operators_may_send_results(source: EventSource) -> None:
    event = {
        "event_id": "res-abc-1",
        "event_type": "stop_result",
        "agent_id": "p",
        "payload": {"effect_id": "abc", "attempt": 1, "generation": 1, "ok": True},
    }
    batch = accept(body(event), source=source)
    assert batch.envelopes[0].source == source.value
    assert ingest.read_object(KEY, batch.body) == batch.envelopes


# Age


@pytest.mark.parametrize(
    ("age", "window", "status"),
    [
        (timedelta(days=7), timedelta(days=7), 202),
        (timedelta(days=7, milliseconds=1), timedelta(days=7), 410),
        (timedelta(days=7), timedelta(days=1), 202),
        (timedelta(days=7, milliseconds=1), timedelta(days=1), 410),
        (timedelta(days=14), timedelta(days=14), 202),
        (timedelta(days=14, milliseconds=1), timedelta(days=14), 410),
        (timedelta(days=-400), timedelta(days=7), 202),
    ],
)
def test_an_event_older_than_what_is_remembered_is_gone(age: timedelta, window: timedelta, status: int) -> None:
    event = body(done(occurred_at=to_text(NOW - age)))
    if status == 202:
        assert accept(event, restore_window=window).envelopes
        return
    error = refused(event, restore_window=window)
    assert (error.status, error.path) == (410, "events[0].occurred_at")
    assert error.hint


# Objects that lie in the inbox


def test_an_object_that_somebody_wrote_himself_is_read_like_any_other() -> None:
    (envelope,) = ingest.read_object(KEY, body(DONE))
    assert (envelope.event_id, envelope.source, envelope.received_at) == ("event-0001", "ingest", to_text(NOW))


@pytest.mark.parametrize("event", [done(event_type="agent_dreamt"), done(payload={"twig": 1})], ids=["type", "payload"])
def test_a_wrong_type_or_payload_keeps_its_own_id_for_the_tick_to_poison(event: dict[str, Any]) -> None:
    (envelope,) = ingest.read_object(KEY, body(event))
    assert envelope.event_id == "event-0001"
    assert envelope.event_type == event["event_type"]
    assert json.loads(envelope.payload) == event["payload"]


UNREADABLE_OBJECTS = [
    *HOSTILE.values(),
    body({"events": [], "received_at": "2026-01-10T12:00:00.000Z", "source": "ingest"}),
    body({"events": [DONE], "received_at": "noon"}),
    body({"events": [DONE], "received_at": 5}),
    body({"events": [DONE], "source": "heaven"}),
    body({"events": [DONE], "source": ["ingest"]}),
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", UNREADABLE_OBJECTS, ids=map(str, range(len(UNREADABLE_OBJECTS))))
def test_an_object_that_nobody_can_read_becomes_one_event_to_be_poisoned(content: bytes) -> None:
    (envelope,) = ingest.read_object(KEY, content)
    assert envelope.event_type == UNREADABLE
    assert envelope.payload.isascii()
    assert json.loads(envelope.payload)["size"] == len(content)
    assert envelope.received_at == to_text(NOW)
    assert ingest.read_object(KEY, content) == (envelope,)
    assert ingest.read_object(KEY + "2", content)[0].event_id != envelope.event_id


def test_the_stand_in_of_an_object_that_is_too_large_says_how_large_it_is() -> None:
    (envelope,) = ingest.read_object(KEY, b"x" * (limits.INBOX_OBJECT_SIZE + 1), size=70_000_000)
    described = json.loads(envelope.payload)
    assert (envelope.event_type, described["size"]) == (UNREADABLE, 70_000_000)
    assert f"at most {limits.INBOX_OBJECT_SIZE}" in described["problem"]


def test_one_bad_event_does_not_take_the_others_with_it() -> None:
    events = [DONE, done(event_id="no"), done(event_id="event-0003", event_type="stop_result")]
    first, second, third = ingest.read_object(KEY, body(events))
    assert first.event_id == "event-0001"
    assert (second.event_type, third.event_type) == (UNREADABLE, UNREADABLE)
    assert second.event_id != third.event_id
    assert json.loads(third.payload)["index"] == 2
    assert "event-0003" in json.loads(third.payload)["begins"]


def test_an_object_that_is_too_deep_is_one_stand_in_although_its_other_event_is_fine() -> None:
    deep: Any = "x"
    for _ in range(33):
        deep = [deep]
    (envelope,) = ingest.read_object(KEY, body([DONE, done(event_id="event-0002", payload={"branch": deep})]))
    assert envelope.event_type == UNREADABLE
    assert "nested deeper than 34 levels" in json.loads(envelope.payload)["problem"]


@pytest.mark.parametrize("counts", [(), (60, 41), (60, 40), (1,)], ids=str)
def test_batches_that_share_an_object_have_1_to_100_events_together(counts: tuple[int, ...]) -> None:
    batches = [
        {"events": [done(event_id=f"event-{first}-{each:03}") for each in range(count)]}
        for first, count in enumerate(counts)
    ]
    envelopes = ingest.read_object(KEY, body({"batches": batches}))
    if 1 <= sum(counts) <= limits.EVENTS_PER_BATCH:
        assert [each.event_type for each in envelopes] == ["agent_done"] * sum(counts)
    else:
        assert [each.event_type for each in envelopes] == [UNREADABLE]
        assert "too many events" in json.loads(envelopes[0].payload)["problem"]


def test_an_object_whose_key_has_no_time_is_as_old_as_time() -> None:
    (envelope,) = ingest.read_object("towns/t1/inbox/by-hand.json", body(DONE))
    assert envelope.received_at == to_text(from_milliseconds(0))


# Re-drive


def test_a_poisoned_event_is_sent_again_under_a_name_that_tells_so() -> None:
    (poisoned,) = accept(body(done(bead_id="b", occurred_at="2026-01-10T11:00:00Z"))).envelopes
    copy = copy_of(poisoned, id_of_copy(poisoned.event_id, 1))
    assert copy == done(bead_id="b", event_id="event-0001:r1")
    (envelope,) = accept(body(copy), source=EventSource.OPERATOR).envelopes
    assert envelope.source == "operator"
    assert id_of_copy(envelope.event_id, 2) == "event-0001:r2"


def test_a_copy_has_no_field_that_its_original_lacks() -> None:
    """So an event of the largest size is not too large as a copy."""
    (poisoned,) = accept(body({"event_id": "event-0001", "event_type": "container_eviction"})).envelopes
    assert copy_of(poisoned, "event-0001:r1") == {
        "event_id": "event-0001:r1",
        "event_type": "container_eviction",
        "payload": {},
    }


@pytest.mark.parametrize("length", [8, 125, 126, 128])
def test_a_poisoned_event_with_the_longest_id_can_be_sent_again_and_again(length: int) -> None:
    (poisoned,) = accept(body(done(event_id="x" * length))).envelopes
    copies = [id_of_copy(poisoned.event_id, attempt) for attempt in (1, 2, 999)]
    assert len(set(copies)) == 3
    for each in copies:
        (envelope,) = accept(body(copy_of(poisoned, each)), source=EventSource.OPERATOR).envelopes
        assert envelope.event_id == each


def test_what_cannot_be_read_cannot_be_sent_again() -> None:
    broken = Envelope("event-0001", "agent_done", "p", None, "{", "ingest", to_text(NOW), to_text(NOW))
    with pytest.raises(Refused):
        copy_of(broken, "event-0001:r1")


def test_an_event_whose_sender_is_damaged_is_not_sent_again_in_the_name_of_nobody() -> None:
    damaged = Fact(
        "event-0001", 1, "agent_done", "p", None, "{}", "ingest", "", "", 3, unreadable="sender: not an object"
    )
    with pytest.raises(Refused, match="event-0001 is damaged: sender: not an object"):
        copy_of(damaged, "event-0001:r1")


# Anything at all


JSON_TEXT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
).map(json.dumps)

NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "event_id": st.sampled_from(["event-0001", "event-0002", "x", "res-00000001"]) | st.text(max_size=4),
        "event_type": st.sampled_from(["agent_done", "bead_created", "pr_polled", "unreadable"]) | st.text(max_size=4),
        "agent_id": st.none() | st.text(max_size=3),
        "bead_id": st.none() | st.text(max_size=3) | st.integers(),
        "payload": st.dictionaries(
            st.sampled_from(["branch", "generation", "bead", "x"]),
            st.text(max_size=3) | st.integers() | st.floats() | st.none(),
            max_size=3,
        ),
        "occurred_at": st.none() | st.datetimes().map(str) | st.just("2026-01-10T12:00:00Z"),
    },
)
NEARLY_EVENTS = st.lists(NEARLY, max_size=3).map(lambda events: json.dumps({"events": events}))
ANY_BODY = st.binary(max_size=200) | JSON_TEXT.map(str.encode) | NEARLY_EVENTS.map(str.encode)


@given(ANY_BODY)
@example(b'{"events":[{"event_id":"event-0001","event_type":"\\ud800"}]}')
@example(b'[{"event_id":"event-0001","event_type":"agent_done","occurred_at":"9999-12-31T23:59:59-23:59"}]')
def test_whatever_comes_is_accepted_or_refused(given_body: bytes) -> None:
    try:
        batch = accept(given_body)
    except Refused as error:
        status = error.status
    else:
        status = 202
        assert ingest.read_object(KEY, batch.body) == batch.envelopes
    assert status in (202, 400, 409, 410, 413)


@given(ANY_BODY, st.text(max_size=20) | st.just(KEY))
def test_whatever_lies_in_the_inbox_is_read_as_at_least_one_event(content: bytes, key: str) -> None:
    envelopes = ingest.read_object(key, content)
    assert envelopes
    for envelope in envelopes:
        canonical.dumps(envelope.as_json()).encode()


@given(JSON_TEXT)
def test_what_the_strict_parser_accepts_it_reads_as_python_does(text: str) -> None:
    try:
        value = strict_json.parse(text.encode(), limit=100_000, depth=64)
    except Refused:
        return
    assert value == json.loads(text)


def test_senders_do_not_share_their_ids_and_generations_not_their_batches() -> None:
    body = b'{"event_id": "done-0001", "event_type": "agent_status", "agent_id": "p", "payload": {"message": "Done"}}'

    def sent_by(generation: int | None, agent: str = "p") -> ingest.AcceptedBatch:
        return ingest.accept(body, received_at=NOW, sent_by=Sender("agent", agent, generation))

    first, second = sent_by(1), sent_by(2)
    assert [event.event_id for event in first.envelopes] == [event.event_id for event in second.envelopes]
    assert first.envelopes[0].event_id != "done-0001"
    assert stored.batch_id(first.envelopes) != stored.batch_id(second.envelopes)

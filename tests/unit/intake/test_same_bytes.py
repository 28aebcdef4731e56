"""What lies in inboxes stays byte for byte what it was: other releases read it, and a repeated request has the same batch id.

The expected values were recorded before the walk was written anew; they are never recorded again.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.domain.states import EventSource
from shared.intake import ingest

NOW = datetime(2026, 1, 10, 12, 0, 0, 123_456, tzinfo=UTC)

BODIES: dict[str, tuple[bytes, EventSource]] = {
    "one event": (
        b'{"event_id": "event-0001", "event_type": "agent_done", "agent_id": "p", "payload": {"branch": "gt/x"}}',
        EventSource.INGEST,
    ),
    "a batch with times, a repetition and no payload": (
        json.dumps(
            {
                "events": [
                    {
                        "payload": {
                            "status": "failed",
                            "reason": "\u20ac\U0001f600\u00a0 \u2028",
                            "generation": 9223372036854775807,
                        },
                        "occurred_at": "2026-01-10T12:30:00.5+01:00",
                        "event_type": "agent_completed",
                        "event_id": "done:0001",
                        "bead_id": "b\u00e9",
                    },
                    {"event_id": "evict-0001", "event_type": "container_eviction"},
                    {"event_id": "evict-0001", "event_type": "container_eviction", "payload": {}, "agent_id": None},
                    {
                        "event_id": "evict-0002",
                        "event_type": "container_eviction",
                        "occurred_at": "2026-01-10T12:00:00.123456Z",
                    },
                ]
            }
        ).encode(),
        EventSource.INGEST,
    ),
    "numbers of every form": (
        (
            b'[{"event_id":"event-0002","event_type":"bead_created","payload":{"bead":{"title":"t","type":"issue","bead_id":"b",'
            b'"metadata":{"z":-0.0,"e":1E-400,"big":1e308,"int":-9223372036854775808,"x":1.10,"deep":[[{"k":[null,true]}]],'
            b'"esc":"\\u00e9\\ud83d\\ude00\\n\\u007f"}}}}]'
        ),
        EventSource.INGEST,
    ),
    "a result of an effect": (
        (
            b'{"event_id":"res-abc-1","event_type":"stop_result","agent_id":"p",'
            b'"payload":{"ok":true,"generation":1,"attempt":1,"effect_id":"abc"}}'
        ),
        EventSource.EFFECT,
    ),
    "a copy that an operator sends": (
        b'{"event_id":"event-0001:r1","event_type":"town_configured","payload":{"config":{"merge_strategy":"pr"}}}',
        EventSource.OPERATOR,
    ),
    "signs of life": (
        (
            b'[{"event_id":"heart-0001","event_type":"agent_heartbeat","agent_id":"p"},'
            b'{"event_id":"status-01","event_type":"agent_status","agent_id":"p","payload":{"message":"  at it  "}}]'
        ),
        EventSource.INGEST,
    ),
}

EXPECTED: dict[str, tuple[str, str, bool]] = {
    "one event": (
        '{"events":[{"agent_id":"p","event_id":"event-0001","event_type":"agent_done","payload":{"branch":"gt/x"}}],"received_at":"2026-01-10T12:00:00.123Z","source":"ingest"}',
        "eff002d513e3a2b67f6662bd5afd866a",
        False,
    ),
    "a batch with times, a repetition and no payload": (
        '{"events":[{"bead_id":"b\xe9","event_id":"done:0001","event_type":"agent_completed","occurred_at":"2026-01-10T11:30:00.500Z","payload":{"generation":9223372036854775807,"reason":"\u20ac\U0001f600\xa0 \u2028","status":"failed"}},{"event_id":"evict-0001","event_type":"container_eviction","payload":{}},{"event_id":"evict-0002","event_type":"container_eviction","payload":{}}],"received_at":"2026-01-10T12:00:00.123Z","source":"ingest"}',  # noqa: E501
        "f60fd93b9caabdf3b0ec12415557efc5",
        False,
    ),
    "numbers of every form": (
        '{"events":[{"event_id":"event-0002","event_type":"bead_created","payload":{"bead":{"bead_id":"b","metadata":{"big":1e+308,"deep":[[{"k":[null,true]}]],"e":0.0,"esc":"\xe9\U0001f600\\n\x7f","int":-9223372036854775808,"x":1.1,"z":-0.0},"title":"t","type":"issue"}}}],"received_at":"2026-01-10T12:00:00.123Z","source":"ingest"}',
        "5dfea9ef38eb717a3aec2fcc5ae24527",
        False,
    ),
    "a result of an effect": (
        '{"events":[{"agent_id":"p","event_id":"res-abc-1","event_type":"stop_result","payload":{"attempt":1,"effect_id":"abc","generation":1,"ok":true}}],"received_at":"2026-01-10T12:00:00.123Z","source":"effect"}',
        "289f73c53d6a88966c4de6941df1b985",
        False,
    ),
    "a copy that an operator sends": (
        '{"events":[{"event_id":"event-0001:r1","event_type":"town_configured","payload":{"config":{"merge_strategy":"pr"}}}],"received_at":"2026-01-10T12:00:00.123Z","source":"operator"}',
        "bba2b4c22a6aace3e448802d230a4d26",
        False,
    ),
    "signs of life": (
        '{"events":[{"agent_id":"p","event_id":"heart-0001","event_type":"agent_heartbeat","payload":{}},{"agent_id":"p","event_id":"status-01","event_type":"agent_status","payload":{"message":"  at it  "}}],"received_at":"2026-01-10T12:00:00.123Z","source":"ingest"}',  # noqa: E501
        "4ef9dcafbaef9c1034c2c70359571499",
        True,
    ),
}
"""By body: the inbox object, the batch id, whether the batch wakes nobody."""


@pytest.mark.parametrize("name", BODIES)
def test_an_accepted_batch_is_stored_in_the_same_bytes_under_the_same_id(name: str) -> None:
    given, source = BODIES[name]
    batch = ingest.accept(given, received_at=NOW, source=source)

    assert (batch.body.decode(), batch.id, batch.transient_only) == EXPECTED[name]


OBJECTS: dict[str, bytes] = {
    "not JSON": b'{"events": [',
    "unreadable in part": json.dumps(
        [
            {"event_id": "event-0001", "event_type": "agent_done", "payload": {"branch": "\u00e9"}},
            {"event_id": "short", "event_type": "agent_done"},
            {"event_id": "event-0003", "event_type": "stop_result"},
            {"event_id": "res-0000-1", "event_type": "agent_done"},
            {"event_id": "event-0004", "event_type": "agent_dreamt", "payload": {"a": 1.5}},
        ]
    ).encode(),
    "of another time": b'{"events":[{"event_id":"event-0001","event_type":"town_started"}],"received_at":"noon"}',
}

READ: dict[str, str] = {
    "not JSON": "4502e2a670ff9ee1eff12d4bf3b4a1fa41cbc534e68df09f9c0ce25a4244ef40",
    "unreadable in part": "b2fc1c81ef13e5cb5c0ab2a2876f09f772dad9b13594b7b4f5f5b76719c194a6",
    "of another time": "09737bc11b9a65ef93cb7ddd3563902f4d569b405b268ba14e03df9e73cf9f0f",
}
"""By object: the sha256 of the events that it is read as."""


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_of_the_inbox_is_read_as_the_same_events(name: str) -> None:
    read = ingest.read_object("towns/t1/inbox/1768046400000-batch-1.json", OBJECTS[name])

    assert digest_of([each.as_json() for each in read]) == READ[name]


def digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

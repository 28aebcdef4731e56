"""Decodes bodies and inbox objects into events, in each of their forms. They are decoded nowhere else."""

import re
from dataclasses import dataclass
from typing import Any, Final

from shared.domain import limits, strict_json
from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.domain.states import EventSource
from shared.domain.times import from_milliseconds, from_text, to_text
from shared.intake.shape import DEPTH, too_large

_BODY_SIZE: Final = limits.EVENTS_PER_BATCH * limits.EVENT_SIZE
_BODY_DEPTH: Final = DEPTH + 2  # a list of events, in an object
_FORMS: Final = (
    'send one event {"event_id": ..., "event_type": ..., "payload": {...}}, a list of events, or {"events": [...]}'
)
_RECEIVED: Final = re.compile(r"/inbox/(\d{13})-", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A decoded inbox object, with the time of receipt, the source and the sender of its events."""

    events: tuple[dict[str, object], ...]
    received_at: str
    source: EventSource
    sender: Sender | None = None


def events_of(body: bytes) -> tuple[dict[str, object], ...]:
    """The 1 to 100 events of a body: one object, a list, or {"events": [...]}. Raises Refused (400, 413)."""
    value = strict_json.parse(body, limit=_BODY_SIZE, depth=_BODY_DEPTH)
    if isinstance(value, dict) and "events" not in value and len(body) > limits.EVENT_SIZE:
        raise too_large(len(body), "events[0]")
    return _events_in(value)


def stored_batches(key: str, body: bytes) -> tuple[StoredBatch, ...]:
    """Decode an inbox object: one batch, or several that were received together. Raises Refused.

    Its key gives the time of receipt of a batch that does not say it.
    """
    value = strict_json.parse(body, limit=limits.INBOX_OBJECT_SIZE, depth=_BODY_DEPTH + 2)
    if isinstance(value, dict) and set(value) == {"batches"} and isinstance(value["batches"], list):
        batches = tuple(_stored_batch(key, each) for each in value["batches"])
        if not 1 <= sum(len(each.events) for each in batches) <= limits.EVENTS_PER_BATCH:
            hint = f"write 1 to {limits.EVENTS_PER_BATCH} events into an object"
            raise Refused("an object with too many events, or with none", status=400, path="batches", hint=hint)
        return batches
    if body.count(b"[") + body.count(b"{") > _BODY_DEPTH and strict_json.depth_of(value) > _BODY_DEPTH:
        raise Refused(f"nested deeper than {_BODY_DEPTH} levels", status=400, hint="send a flatter value")
    return (_stored_batch(key, value),)


def _stored_batch(key: str, value: object) -> StoredBatch:
    received, source, sender = received_at(key), EventSource.INGEST, None
    if isinstance(value, dict) and "events" in value:
        received = _stored_time(value.pop("received_at", received))
        source = _known_source(value.pop("source", source.value))
        sender = _known_sender(value.pop("sender", None))
    return StoredBatch(_events_in(value), received, source, sender)


def received_at(key: str) -> str:
    """The time of receipt in an object's key; 1970-01-01T00:00:00.000Z if there is none."""
    found = _RECEIVED.search(key)
    return to_text(from_milliseconds(int(found[1]) if found else 0))


def _events_in(value: object) -> tuple[dict[str, object], ...]:
    if isinstance(value, dict) and "events" in value:
        other = next((key for key in sorted(value) if key != "events"), None)
        if other is not None:
            raise Refused("unknown field beside `events`", status=400, path=strict_json.below("", other), hint=_FORMS)
        value = value["events"]
    elif isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise Refused("expected one event object or a list of events", status=400, hint=_FORMS)
    if not 1 <= len(value) <= limits.EVENTS_PER_BATCH:
        raise Refused(
            f"{len(value)} events: a batch has 1 to {limits.EVENTS_PER_BATCH}",
            status=400,
            path="events",
            hint="split them into several batches" if value else "send at least one event",
        )
    for index, event in enumerate(value):
        if not isinstance(event, dict):
            raise Refused("an event must be a JSON object", status=400, path=f"events[{index}]", hint=_FORMS)
    return tuple(value)


def _stored_time(value: object) -> str:
    try:
        return to_text(from_text(value))
    except (TypeError, ValueError):
        hint = "write it as 2026-01-10T12:00:00.000Z, or leave it out"
        raise Refused("received_at is not a valid stored time", status=400, path="received_at", hint=hint) from None


def _known_source(value: Any) -> EventSource:
    try:
        return EventSource(value)
    except ValueError:
        hint = f"known: {', '.join(EventSource)}"
        raise Refused("unknown source", status=400, path="source", hint=hint) from None


def _known_sender(value: object) -> Sender | None:
    try:
        return None if value is None else Sender.from_json(value)
    except ValueError as error:
        raise Refused(str(error), status=400, path="sender", hint="leave the field out if nobody is known") from None

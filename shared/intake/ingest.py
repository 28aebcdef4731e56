"""The one way in: events from HTTP, from the command line and from objects that somebody wrote himself.

`accept` is strict and stores nothing when it refuses. `read_object` is what the worker uses: it never raises, because
one unreadable object must not hold up a town; what it cannot read becomes one event that the tick poisons, so that
somebody hears of it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from shared.domain import canonical, limits
from shared.domain.errors import Refused
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.domain.times import from_milliseconds, from_text, parse_iso, to_text
from shared.events import BY_TYPE
from shared.events.base import Event
from shared.events.fields import TOO_LARGE
from shared.intake import strict_json
from shared.town.inbox import Fact

UNREADABLE: Final = "unreadable"
"""The type of the event that stands for what could not be read. It is in no catalogue, so a tick poisons it."""

_DEPTH: Final = 32
_BODY_SIZE: Final = limits.EVENTS_PER_BATCH * limits.EVENT_SIZE
_OBJECT_SIZE: Final = _BODY_SIZE + limits.EVENT_SIZE
_FIELDS: Final = ("event_id", "event_type", "agent_id", "bead_id", "payload", "occurred_at")
_EVENT_ID: Final = re.compile(r"[A-Za-z0-9._:-]{8,128}", re.ASCII)
_OWN_IDS: Final = ("res-", f"{UNREADABLE}-")
_MAY_SEND_INTERNAL: Final = (EventSource.EFFECT, EventSource.OPERATOR)
_RECEIVED: Final = re.compile(r"/inbox/(\d{13})-", re.ASCII)
_REDRIVEN: Final = re.compile(r":r\d+\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """Events that may be stored. `body` is the inbox object; a `transient_only` batch does not wake its town."""

    envelopes: tuple[Envelope, ...]
    body: bytes
    transient_only: bool


def decode(body: bytes) -> tuple[dict[str, Any], ...]:
    """The 1 to 100 events of a body: one object, a list, or {"events": [...]}. Raises Refused (400, 413)."""
    value = strict_json.parse(body, limit=_BODY_SIZE, depth=_DEPTH + 2)
    if isinstance(value, dict) and "events" not in value and len(body) > limits.EVENT_SIZE:
        raise _too_large(len(body), "events[0]")
    return _events_in(value)


def accept(
    body: bytes,
    *,
    received_at: datetime,
    source: EventSource = EventSource.INGEST,
    restore_window: timedelta = limits.RESTORE_WINDOW,
) -> AcceptedBatch:
    """Decode a body and judge every event in it. Raises Refused (400, 409, 410, 413) for the first offence."""
    return batch_of(decode(body), received_at=received_at, source=source, restore_window=restore_window)


def batch_of(
    events: Sequence[dict[str, Any]],
    *,
    received_at: datetime,
    source: EventSource = EventSource.INGEST,
    restore_window: timedelta = limits.RESTORE_WINDOW,
) -> AcceptedBatch:
    """Judge events that are decoded already, as `accept` does. Raises Refused."""
    received = to_text(received_at)
    oldest = received_at - max(limits.EVENT_RETENTION, restore_window)
    envelopes: dict[str, Envelope] = {}
    for index, event in enumerate(events):
        path = f"events[{index}]"
        envelope = _sealed(event, path, received_at=received, source=source)
        _require_payload(envelope, path)
        if from_text(envelope.created_at) < oldest:
            raise Refused(
                f"the event happened at {envelope.created_at}, longer ago than events are remembered",
                status=410,
                path=f"{path}.occurred_at",
                hint="a repetition could no longer be told from news: check what became of it, then send a new event",
            )
        known = envelopes.setdefault(envelope.event_id, envelope)
        if content_of(known) != content_of(envelope):
            raise Refused(
                "two events of this batch have the same event_id and different content",
                status=409,
                path=f"{path}.event_id",
                hint="an event_id belongs to one event for ever; choose a new one for new content",
            )
    kept = tuple(envelopes.values())
    return AcceptedBatch(
        kept, _inbox_object(kept, received, source), all(BY_TYPE[e.event_type].transient for e in kept)
    )


def read_object(key: str, body: bytes) -> tuple[Envelope, ...]:
    """The events of an inbox object, written by `accept` or by anybody else. Never raises.

    A type or payload that is wrong stays as it is: the tick poisons the event under its own id.
    """
    try:
        value = strict_json.parse(body, limit=_OBJECT_SIZE, depth=_DEPTH + 2)
        received, source = _received_at(key), EventSource.INGEST
        if isinstance(value, dict) and "events" in value:
            received = _stored_time(value.pop("received_at", received))
            source = _known_source(value.pop("source", source.value))
        events = _events_in(value)
    except Refused as problem:
        return (_unreadable(key, None, body, problem.message),)
    except Exception as error:  # noqa: BLE001 - whatever it is, the town must go on
        return (_unreadable(key, None, body, type(error).__name__),)
    return tuple(_read(key, index, event, received, source) for index, event in enumerate(events))


def redrive(event: Fact | Envelope, attempt: int) -> dict[str, Any]:
    """The copy of a poisoned event that an operator posts (source operator): `<original id>:r<attempt>`.

    Raises Refused if the stored event cannot be sent again as it is.
    """
    payload = strict_json.parse(event.payload.encode(), limit=limits.EVENT_SIZE, depth=_DEPTH)
    copy = {
        "event_id": f"{_REDRIVEN.sub('', event.event_id)}:r{attempt}",
        "event_type": event.event_type,
        "agent_id": event.agent_id,
        "bead_id": event.bead_id,
        "payload": payload,
    }
    return {field: value for field, value in copy.items() if value is not None}


def _events_in(value: Any) -> tuple[dict[str, Any], ...]:
    if isinstance(value, dict) and "events" in value:
        other = next((key for key in sorted(value) if key != "events"), None)
        if other is not None:
            raise Refused("unknown field beside the events", status=400, path=strict_json.below("", other))
        value = value["events"]
    elif isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise Refused("one event object, or a list of them, is due", status=400)
    if not 1 <= len(value) <= limits.EVENTS_PER_BATCH:
        raise Refused(
            f"{len(value)} events: a batch has 1 to {limits.EVENTS_PER_BATCH}",
            status=400,
            path="events",
            hint="send several batches",
        )
    for index, event in enumerate(value):
        if not isinstance(event, dict):
            raise Refused("an event is a JSON object", status=400, path=f"events[{index}]")
    return tuple(value)


def _sealed(event: dict[str, Any], path: str, *, received_at: str, source: EventSource) -> Envelope:
    """The envelope of a decoded event; whether its payload fits its type is not looked at. Raises Refused."""
    _require_shape(event, path)
    event_id = event.get("event_id")
    if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
        raise Refused(
            "event_id is 8 to 128 characters of A-Z a-z 0-9 . _ : -",
            status=400,
            path=f"{path}.event_id",
            hint="choose one per event and keep it over all repetitions",
        )
    event_type = event.get("event_type")
    if not isinstance(event_type, str) or not 1 <= len(event_type) <= 64 or not event_type.isprintable():
        raise Refused("event_type is one of the catalogue", status=400, path=f"{path}.event_type")
    _require_entitled(event_id, event_type, source, path)
    payload = event.get("payload", {})
    if not isinstance(payload, dict):
        raise Refused("payload is a JSON object", status=400, path=f"{path}.payload")
    return Envelope(
        event_id=event_id,
        event_type=event_type,
        agent_id=_subject(event, "agent_id", path),
        bead_id=_subject(event, "bead_id", path),
        payload=canonical.dumps(payload),
        source=source.value,
        created_at=_occurred_at(event, path) or received_at,
        received_at=received_at,
    )


def _require_shape(event: dict[str, Any], path: str) -> None:
    for field in sorted(event):
        if field not in _FIELDS:
            hint = "the receiver sets it" if field in ("source", "received_at") else f"known: {', '.join(_FIELDS)}"
            raise Refused("unknown field of an event", status=400, path=strict_json.below(path, field), hint=hint)
    size = len(canonical.dumps(event).encode())
    if size > limits.EVENT_SIZE:
        raise _too_large(size, path)
    if strict_json.depth_of(event) > _DEPTH:
        raise Refused(f"nested deeper than {_DEPTH} levels", status=400, path=path)


def _too_large(size: int, path: str) -> Refused:
    return Refused(f"an event of {size} bytes: at most {limits.EVENT_SIZE} are accepted", status=413, path=path)


def _require_entitled(event_id: str, event_type: str, source: EventSource, path: str) -> None:
    """Events that the town makes itself, and their ids, are not for producers."""
    if source in _MAY_SEND_INTERNAL:
        return
    known = BY_TYPE.get(event_type)
    if known is not None and known.internal:
        raise Refused(f"{event_type} is made by the town itself", status=400, path=f"{path}.event_type")
    if event_id.startswith(_OWN_IDS):
        raise Refused("an event_id of this form is made by the town itself", status=400, path=f"{path}.event_id")


def _subject(event: dict[str, Any], field: str, path: str) -> str | None:
    value = event.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= 64 or any(_is_control(character) for character in value):
        raise Refused(
            f"{field} is text of 1 to 64 characters without control characters", status=400, path=f"{path}.{field}"
        )
    return value


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def _occurred_at(event: dict[str, Any], path: str) -> str | None:
    value = event.get("occurred_at")
    if value is None:
        return None
    try:
        if isinstance(value, str) and len(value) <= 64:
            return to_text(parse_iso(value))
    except (ValueError, OverflowError):
        pass
    raise Refused(
        "occurred_at is an ISO 8601 time with offset, as in 2026-01-10T12:00:00Z",
        status=400,
        path=f"{path}.occurred_at",
    )


def _require_payload(envelope: Envelope, path: str) -> None:
    """Refuse what the type does not allow: unknown type, missing envelope field, payload."""
    known = BY_TYPE.get(envelope.event_type)
    if known is None:
        raise Refused(f"unknown event_type {envelope.event_type!r}", status=400, path=f"{path}.event_type")
    given = {"agent_id": envelope.agent_id, "bead_id": envelope.bead_id}
    for field in known.needs:
        if given[field] is None:
            raise Refused(f"{envelope.event_type} needs {field}", status=400, path=f"{path}.{field}")
    _require_valid(known, envelope.payload, f"{path}.payload")


def _require_valid(known: type[Event], payload: str, path: str) -> None:
    try:
        known.model_validate_json(payload)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = path
        for part in problem["loc"]:
            place = f"{place}[{part}]" if isinstance(part, int) else strict_json.below(place, part)
        status = 413 if problem["type"] == TOO_LARGE else 400
        raise Refused(problem["msg"], status=status, path=place) from None


def content_of(envelope: Envelope) -> tuple[str | None, ...]:
    """What two events of one id must have in common."""
    return (envelope.event_type, envelope.agent_id, envelope.bead_id, envelope.payload)


def _inbox_object(envelopes: tuple[Envelope, ...], received_at: str, source: EventSource) -> bytes:
    events = []
    for envelope in envelopes:
        event = {
            "event_id": envelope.event_id,
            "event_type": envelope.event_type,
            "agent_id": envelope.agent_id,
            "bead_id": envelope.bead_id,
            "occurred_at": None if envelope.created_at == received_at else envelope.created_at,
        }
        events.append({field: value for field, value in event.items() if value is not None})
        events[-1]["payload"] = strict_json.parse(envelope.payload.encode(), limit=limits.EVENT_SIZE, depth=_DEPTH)
    return canonical.dumps({"received_at": received_at, "source": source.value, "events": events}).encode()


def _read(key: str, index: int, event: dict[str, Any], received_at: str, source: EventSource) -> Envelope:
    try:
        return _sealed(event, f"events[{index}]", received_at=received_at, source=source)
    except Refused as problem:
        return _unreadable(key, index, canonical.dumps(event).encode(), problem.message)


def _unreadable(key: str, index: int | None, content: bytes, problem: str) -> Envelope:
    """One event that stands for an object, or for one event in it, that nobody can read. All of it is ASCII."""
    name = hashlib.sha256(f"{key}\n{'' if index is None else index}\n".encode(errors="replace")).hexdigest()
    described = {
        "object": ascii(key[:200]),
        "index": index,
        "problem": ascii(problem[:400]),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "begins": ascii(content[:1024]),
    }
    return Envelope(
        event_id=f"{UNREADABLE}-{name[:40]}",
        event_type=UNREADABLE,
        agent_id=None,
        bead_id=None,
        payload=canonical.dumps(described),
        source=EventSource.INGEST.value,
        created_at=_received_at(key),
        received_at=_received_at(key),
    )


def _received_at(key: str) -> str:
    """When an object was received, as its key says; the beginning of time if the key says nothing."""
    found = _RECEIVED.search(key)
    return to_text(from_milliseconds(int(found[1]) if found else 0))


def _stored_time(value: Any) -> str:
    try:
        return to_text(from_text(value))
    except (TypeError, ValueError):
        raise Refused("received_at is not a stored time", status=400, path="received_at") from None


def _known_source(value: Any) -> EventSource:
    try:
        return EventSource(value)
    except ValueError:
        raise Refused("source is none of the known ones", status=400, path="source") from None

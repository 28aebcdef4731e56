"""Checks the shape of an event: its size and depth, its envelope, and that its type is in the catalogue."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.domain import canonical, limits, strict_json
from shared.domain.errors import Refused
from shared.domain.field_errors import did_you_mean
from shared.domain.ids import is_subject_id
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.domain.times import parse_iso, to_text
from shared.events import BY_TYPE
from shared.events.base import Event

DEPTH: Final = 32
_FIELDS: Final = ("event_id", "event_type", "agent_id", "bead_id", "payload", "occurred_at")
_OF_AN_ID: Final = "8 to 128 characters of A-Z a-z 0-9 . _ : -"
_EVENT_ID: Final = re.compile(r"[A-Za-z0-9._:-]{8,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event before it is stored: the envelope, and the decoded payload, so that its text is not parsed again.

    `path` is its place in the request, for refusals.
    """

    envelope: Envelope
    payload: Mapping[str, object]
    path: str


def incoming(event: dict[str, object], path: str, *, received_at: str, source: EventSource) -> Incoming:
    """Check the fields, size and envelope of a decoded event. Its type may still be unknown. Raises Refused (400, 413)."""
    _require_fields_and_size(event, path)
    event_id = event.get("event_id")
    if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
        problem = "event_id is missing" if event_id is None else f"event_id must be {_OF_AN_ID}"
        hint = f"choose one per event, {_OF_AN_ID}, and send the same one with every retry"
        raise Refused(problem, status=400, path=f"{path}.event_id", hint=hint)
    event_type = event.get("event_type")
    if not isinstance(event_type, str) or not 1 <= len(event_type) <= 64 or not event_type.isprintable():
        problem = "event_type is missing" if event_type is None else "event_type must be one of the catalogue"
        raise Refused(problem, status=400, path=f"{path}.event_type", hint=_types_hint())
    payload = event.get("payload", {})
    if not isinstance(payload, dict):
        raise Refused(
            "payload must be a JSON object",
            status=400,
            path=f"{path}.payload",
            hint="send {} if there is nothing to say",
        )
    envelope = Envelope(
        event_id=event_id,
        event_type=event_type,
        agent_id=_subject(event, "agent_id", path),
        bead_id=_subject(event, "bead_id", path),
        payload=canonical.dumps(payload),
        source=source.value,
        created_at=_occurred_at(event, path) or received_at,
        received_at=received_at,
    )
    return Incoming(envelope, payload, path)


def type_of(event: Incoming) -> type[Event]:
    """The event's type. Raises Refused (400) if the catalogue does not have it."""
    name = event.envelope.event_type
    known = BY_TYPE.get(name)
    if known is None:
        raise Refused(
            f"unknown event_type {name!r}", status=400, path=f"{event.path}.event_type", hint=_types_hint(name)
        )
    return known


def _types_hint(name: str = "") -> str:
    """The types that may be sent, and the one that a wrong name probably means."""
    known = sorted(event_type for event_type, event in BY_TYPE.items() if event.senders)
    return f"{did_you_mean(name, known)}known types: {', '.join(known)}"


def too_large(size: int, path: str) -> Refused:
    """The refusal of an event of that many bytes."""
    hint = "shorten its texts; put long ones into the repository and refer to them"
    return Refused(
        f"an event of {size} bytes: at most {limits.EVENT_SIZE} are accepted", status=413, path=path, hint=hint
    )


def _require_fields_and_size(event: dict[str, object], path: str) -> None:
    for field in sorted(event):
        if field not in _FIELDS:
            hint = "the receiver sets it" if field in ("source", "received_at") else f"known: {', '.join(_FIELDS)}"
            raise Refused("unknown field of an event", status=400, path=strict_json.below(path, field), hint=hint)
    size = len(canonical.dumps(event).encode())
    if size > limits.EVENT_SIZE:
        raise too_large(size, path)
    if strict_json.depth_of(event) > DEPTH:
        raise Refused(f"nested deeper than {DEPTH} levels", status=400, path=path, hint="send a flatter value")


def _subject(event: dict[str, object], field: str, path: str) -> str | None:
    value = event.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not is_subject_id(value):
        raise Refused(
            f"{field} must be text of 1 to 64 characters without control characters",
            status=400,
            path=f"{path}.{field}",
            hint="send the id that the town shows, or leave the field out",
        )
    return value


def _occurred_at(event: dict[str, object], path: str) -> str | None:
    value = event.get("occurred_at")
    if value is None:
        return None
    try:
        if isinstance(value, str) and len(value) <= 64:
            return to_text(parse_iso(value))
    except (ValueError, OverflowError):
        pass
    raise Refused(
        "occurred_at must be an ISO 8601 time with an offset, as in 2026-01-10T12:00:00Z",
        status=400,
        path=f"{path}.occurred_at",
        hint="correct it, or leave it out: then the time of receipt counts",
    )

"""The schemas of posted events, for the OpenAPI document: the envelope of ingest, with the payload of each type from its class."""

from typing import Any, Final

from shared.domain.states import SCOPES
from shared.events import EVENTS
from shared.events.base import Event

_COMPONENTS: Final = "#/components/schemas"
_ID: Final = {"type": "string", "minLength": 1, "maxLength": 64}
_ENVELOPE: Final = {
    "event_id": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{8,128}$"},
    "agent_id": {**_ID, "type": ["string", "null"]},
    "bead_id": {**_ID, "type": ["string", "null"]},
    "occurred_at": {"type": ["string", "null"], "format": "date-time"},
}
PAYLOADS: Final[tuple[type[Event], ...]] = tuple(event for event in EVENTS if event.senders)
"""The payload of each event that can be posted; the document needs their schemas as components."""


def _posted(event: type[Event]) -> dict[str, Any]:
    """The schema of a posted event: the envelope with what the type needs, and its payload."""
    fields = event.model_fields.values()
    required = [
        "event_id",
        "event_type",
        *event.needs,
        *(("payload",) if any(each.is_required() for each in fields) else ()),
    ]
    properties: dict[str, Any] = {**_ENVELOPE, **dict.fromkeys(event.needs, _ID)}
    senders = ", ".join(scope for scope in SCOPES if scope in event.senders)
    return {
        "description": f"{(event.__doc__ or '').partition('.')[0]}. Senders: {senders}.",
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": {
            "event_id": properties.pop("event_id"),
            "event_type": {"type": "string", "const": event.event_type},
            **properties,
            "payload": {"$ref": f"{_COMPONENTS}/{event.__name__}"},
        },
    }


def _name(event: type[Event]) -> str:
    return f"{event.__name__}Event"


_EVENT: Final = {
    "description": "A fact to be reported to a town, with the payload of its type; see docs/events.md.",
    "oneOf": [{"$ref": f"{_COMPONENTS}/{_name(event)}"} for event in PAYLOADS],
    "discriminator": {
        "propertyName": "event_type",
        "mapping": {event.event_type: f"{_COMPONENTS}/{_name(event)}" for event in PAYLOADS},
    },
}
_EVENTS: Final = {"type": "array", "minItems": 1, "maxItems": 100, "items": {"$ref": f"{_COMPONENTS}/Event"}}
_EVENT_BATCH: Final = {
    "description": "Events of one town, which are stored together.",
    "type": "object",
    "required": ["events"],
    "additionalProperties": False,
    "properties": {"events": _EVENTS},
}
COMPONENTS: Final[dict[str, Any]] = {
    "Event": _EVENT,
    "EventBatch": _EVENT_BATCH,
    **{_name(event): _posted(event) for event in PAYLOADS},
}
POSTED: Final = {
    "anyOf": [
        {"$ref": f"{_COMPONENTS}/Event"},
        _EVENTS,
        {"$ref": f"{_COMPONENTS}/EventBatch"},
    ]
}

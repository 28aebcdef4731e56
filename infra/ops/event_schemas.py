"""The schemas of posted events, for the OpenAPI document. No type defines them, because ingest has its own decoder."""

from typing import Any, Final

_EVENT: Final = {
    "description": "A fact to be reported to a town. Its payload depends on its type: see docs/spec/events.md.",
    "type": "object",
    "required": ["event_id", "event_type"],
    "additionalProperties": False,
    "properties": {
        "event_id": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{8,128}$"},
        "event_type": {"type": "string", "minLength": 1, "maxLength": 64},
        "agent_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 64},
        "bead_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 64},
        "payload": {"type": "object"},
        "occurred_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
_EVENTS: Final = {"type": "array", "minItems": 1, "maxItems": 100, "items": {"$ref": "#/components/schemas/Event"}}
_EVENT_BATCH: Final = {
    "description": "Events of one town, which are stored together.",
    "type": "object",
    "required": ["events"],
    "additionalProperties": False,
    "properties": {"events": _EVENTS},
}
COMPONENTS: Final[dict[str, Any]] = {"Event": _EVENT, "EventBatch": _EVENT_BATCH}
POSTED: Final = {
    "anyOf": [
        {"$ref": "#/components/schemas/Event"},
        _EVENTS,
        {"$ref": "#/components/schemas/EventBatch"},
    ]
}

"""The OpenAPI document of both APIs: `python -m infra.openapi` writes infra/openapi.json, `--check` says whether it is fresh.

Routes and parameters are the code's own. What the framework cannot know, because bodies are read by our strict decoder
and guards stand in the template, is added here: bodies, answers, problem documents, who has to show what.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from functions.debug.app import app as debug
from functions.events.app import app as events
from functions.events.schemas import NewTown
from shared.engine.replay.requests import DryRunRequest, ReplayRequest

TARGET: Final = Path(__file__).with_name("openapi.json")
TOKEN_ROUTES: Final = frozenset({("post", "/api/towns/{townId}/events")})

_EVENT: Final = {
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
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "path": {"type": "string"},
        "hint": {"type": "string"},
    },
}
_BODIES: Final[dict[tuple[str, str], Any]] = {
    ("post", "/api/towns/{townId}/events"): {
        "anyOf": [
            {"$ref": "#/components/schemas/Event"},
            _EVENTS,
            {
                "type": "object",
                "required": ["events"],
                "additionalProperties": False,
                "properties": {"events": _EVENTS},
            },
        ]
    },
    ("put", "/api/towns/{townId}"): NewTown,
    ("post", "/api/towns/{townId}/debug/reconcile-dry-run"): DryRunRequest,
    ("post", "/api/towns/{townId}/debug/replay-events"): ReplayRequest,
}
_SUCCESS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("post", "/api/towns/{townId}/events"): ("202", "The events are durable."),
    ("put", "/api/towns/{townId}"): ("201", "The town exists, and is due."),
    ("post", "/api/towns/{townId}/events/{eventId}/redrive"): ("202", "The copy is durable."),
}
_PROBLEMS: Final = {
    "400": "The body is no strict JSON, or breaks its contract.",
    "401": "Nobody has proven who asks.",
    "403": "The caller or the token may not do that.",
    "404": "There is no such town, or it is not the caller's; or no such thing in it.",
    "409": "It exists already, or an event id stands for other content.",
    "410": "An event happened longer ago than events are remembered.",
    "413": "Too much at once.",
    "422": "A parameter or a field is none of those that are allowed.",
    "500": "A bug of ours; the operator has been told.",
    "503": "The store does not answer; try again.",
}


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Event": _EVENT, "Problem": _PROBLEM}
    for app in (events, debug):
        made = json.loads(app.get_openapi_json_schema(title="Town reconciler", version="1"))
        for path, operations in made["paths"].items():
            written = re.sub(r"<(\w+)>", r"{\1}", path)
            for method, operation in operations.items():
                paths.setdefault(written, {})[method] = _completed((method, written), operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Town reconciler",
            "version": "1",
            "description": "Facts with a town token, the rest with SigV4; refusals are RFC 9457 problem documents.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4",
                },
                "townToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def _completed(route: tuple[str, str], operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        name: operation[name]
        for name in ("summary", "description", "operationId", "tags", "parameters")
        if name in operation
    }
    shown["security"] = [{"townToken": []} if route in TOKEN_ROUTES else {"sigv4": []}]
    body = _BODIES.get(route)
    if body is not None:
        required = route in TOKEN_ROUTES
        shown["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": _schema_of(body, schemas)}},
        }
    status, says = _SUCCESS.get(route, ("200", "The answer."))
    shown["responses"] = {
        status: {"description": says, "content": {"application/json": {"schema": {"type": "object"}}}}
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    shown["responses"] |= {code: {"description": text, "content": problem} for code, text in _PROBLEMS.items()}
    return shown


def _schema_of(body: Any, schemas: dict[str, Any]) -> Any:
    if isinstance(body, dict):
        return body
    made = body.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    schemas.update(made.pop("$defs", {}))
    schemas[body.__name__] = made
    return {"$ref": f"#/components/schemas/{body.__name__}"}


def text() -> str:
    """The document as the file holds it."""
    return json.dumps(document(), indent=2) + "\n"


def main() -> int:
    """Write the file, or with --check say whether it is fresh."""
    fresh = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text()
    if "--check" in sys.argv:
        print("fresh" if fresh else "not fresh: make openapi")
        return int(not fresh)
    TARGET.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

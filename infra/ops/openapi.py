"""The OpenAPI document of both APIs: `python -m infra.ops.openapi` writes `openapi.json` beside this file; `--check` only
compares.

Routes, parameters and the schemas of bodies are derived from the code and its type annotations, here and not in the functions,
so that cold starts stay short. The framework knows neither the bodies, which our strict decoder reads, nor the authorizers,
which the template configures. So this module adds the request body, answer, refusals and credentials of each route.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from functions.debug.answers import HealthDocument, TicksDocument
from functions.debug.app import app as debug
from functions.events.answers import BatchDocument, ReportDocument, TownDocument, TownsDocument
from functions.events.app import app as events
from functions.events.schemas import NewTown
from functions.problems import Problem
from shared.questions.bead_view import BeadAnswer
from shared.questions.dry_run import DryRun
from shared.questions.status import TownStatus
from shared.replay.replayed import Replay
from shared.replay.requests import DryRunRequest, ReplayRequest
from shared.replay.what_if.run import WhatIf

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
_POSTED: Final = {
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
}


class Contract(NamedTuple):
    """A route's success status and answer, the statuses with which it may refuse, and its request body: a type or a schema."""

    status: int
    says: str
    answer: Any
    refuses: tuple[int, ...]
    body: Any = None


_ABOUT_A_TOWN: Final = (401, 403, 404, 413, 500, 503)
_CONTRACTS: Final[dict[tuple[str, str], Contract]] = {
    ("post", "/api/towns/{townId}/events"): Contract(
        202, "The events are stored.", ReportDocument, (400, 409, 410, 422, *_ABOUT_A_TOWN), _POSTED
    ),
    ("put", "/api/towns/{townId}"): Contract(
        201, "The town was created; its first tick is due.", TownDocument, (400, 409, 422, *_ABOUT_A_TOWN), NewTown
    ),
    ("get", "/api/towns"): Contract(200, "A page of towns.", TownsDocument, (401, 404, 413, 422, 500, 503)),
    ("post", "/api/towns/{townId}/events/{eventId}/redrive"): Contract(
        202, "A copy of the event is stored.", BatchDocument, (400, 409, 410, 422, *_ABOUT_A_TOWN)
    ),
    ("get", "/api/health"): Contract(200, "The API works.", HealthDocument, (401, 500)),
    ("get", "/api/towns/{townId}/status"): Contract(200, "The town's status.", TownStatus, _ABOUT_A_TOWN),
    ("get", "/api/towns/{townId}/ticks"): Contract(
        200, "Journal rows of the newest ticks.", TicksDocument, (422, *_ABOUT_A_TOWN)
    ),
    ("get", "/api/towns/{townId}/beads/{beadId}"): Contract(
        200, "The bead with its history.", BeadAnswer, _ABOUT_A_TOWN
    ),
    ("post", "/api/towns/{townId}/debug/reconcile-dry-run"): Contract(
        200, "The tick that would run next.", DryRun, (400, 409, 410, 422, *_ABOUT_A_TOWN), DryRunRequest
    ),
    ("post", "/api/towns/{townId}/debug/replay-events"): Contract(
        200,
        "The replayed window; with overrides, the ticks that would have happened.",
        Replay | WhatIf,
        (400, 409, 410, 422, *_ABOUT_A_TOWN),
        ReplayRequest,
    ),
}
_PROBLEMS: Final = {
    400: "The body is not strict JSON or does not match its schema.",
    401: "The request is not signed, or its token is missing or invalid.",
    403: "The caller or the token is not allowed to do this.",
    404: "The town does not exist or the caller may not see it, or the town has no such bead or event.",
    409: "The town already exists, or the event id was used with different content.",
    410: "The event is older than the period in which duplicates are detected.",
    413: "The request is too large.",
    422: "A parameter or field has a value that is not allowed.",
    500: "Internal error; the function's log names it.",
    503: "The store is unavailable; retry.",
}


class _Schemas(GenerateJsonSchema):
    """Schemas of the JSON that is really sent: an object has every field of its type and, unless the type is open, no other."""

    def typed_dict_schema(self, schema: Any) -> JsonSchemaValue:
        """A closed object, unless its type is open."""
        return {"additionalProperties": False} | super().typed_dict_schema(schema)

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        """A closed object."""
        return super().dataclass_schema(schema) | {"additionalProperties": False}

    def field_is_required(self, field: Any, total: bool) -> bool:
        """Required, because an answer has every field of its dataclass, also those with a default."""
        return field["type"] == "dataclass-field" or super().field_is_required(field, total)

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """Without the default in an answer, which always has the field."""
        return super().default_schema(schema) if self.mode == "validation" else self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        """Omit titles, which only repeat the field's name."""
        return False


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    bodies, schemas = _bodies()
    for app in (events, debug):
        made = json.loads(app.get_openapi_json_schema(title="Town reconciler", version="1"))
        for path, operations in made["paths"].items():
            written = re.sub(r"<(\w+)>", r"{\1}", path)
            for method, operation in operations.items():
                paths.setdefault(written, {})[method] = _completed((method, written), operation, bodies)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Town reconciler",
            "version": "1",
            "description": (
                "Posting events requires a town token, every other route SigV4. Errors are RFC 9457 problem documents."
            ),
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


def _bodies() -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schemas of request and response bodies by type, and the components that they refer to."""
    taken = {each.body for each in _CONTRACTS.values() if each.body is not None and each.body is not _POSTED}
    given = {Problem, *(each.answer for each in _CONTRACTS.values())}
    wanted: list[tuple[Any, Any, TypeAdapter[Any]]] = [
        *((shape, "validation", TypeAdapter(shape)) for shape in sorted(taken, key=repr)),
        *((shape, "serialization", TypeAdapter(shape)) for shape in sorted(given, key=repr)),
    ]
    made, found = TypeAdapter.json_schemas(
        wanted, ref_template="#/components/schemas/{model}", schema_generator=_Schemas
    )
    return {shape: schema for (shape, _), schema in made.items()}, {"Event": _EVENT, **found["$defs"]}


def _completed(route: tuple[str, str], operation: dict[str, Any], bodies: dict[Any, Any]) -> dict[str, Any]:
    contract = _CONTRACTS[route]
    shown: dict[str, Any] = {
        name: operation[name]
        for name in ("summary", "description", "operationId", "tags", "parameters")
        if name in operation
    }
    shown["security"] = [{"townToken": []} if route in TOKEN_ROUTES else {"sigv4": []}]
    if contract.body is not None:
        schema = contract.body if contract.body is _POSTED else bodies[contract.body]
        shown["requestBody"] = {"required": route in TOKEN_ROUTES, "content": {"application/json": {"schema": schema}}}
    answer = {"application/json": {"schema": bodies[contract.answer]}}
    problem = {"application/problem+json": {"schema": bodies[Problem]}}
    shown["responses"] = {str(contract.status): {"description": contract.says, "content": answer}} | {
        str(status): {"description": _PROBLEMS[status], "content": problem} for status in sorted(contract.refuses)
    }
    return shown


def text() -> str:
    """The content of the file."""
    return json.dumps(document(), indent=2) + "\n"


def main() -> int:
    """Write the file; with --check, only say whether it is up to date, and return 1 if it is stale."""
    fresh = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text()
    if "--check" in sys.argv:
        print("up to date" if fresh else "openapi.json is stale; run: make openapi")
        return int(not fresh)
    TARGET.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

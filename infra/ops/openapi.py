"""The OpenAPI document of both APIs: `python -m infra.ops.openapi` writes `openapi.json` beside this file, `--check` compares.

Routes and parameters are the code's own, and so are the shapes of bodies: they are made of the types that the code is
annotated with, here and not in a cold start. What the framework cannot know, because bodies are read by our strict
decoder and guards stand in the template, is added: what each route takes, answers and refuses, and who has to show what.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from functions.debug.answers import BeadDocument, HealthDocument, StatusDocument, TicksDocument
from functions.debug.app import app as debug
from functions.events.answers import BatchDocument, ReportDocument, TownDocument, TownsDocument
from functions.events.app import app as events
from functions.events.schemas import NewTown
from functions.problems import Problem
from shared.questions.answers import DryRunAnswer
from shared.replay.answers import ReplayAnswer, WhatIfAnswer
from shared.replay.requests import DryRunRequest, ReplayRequest

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
    """What a route answers when it does what it is asked, how it may refuse, and the body that it takes: a type or a schema."""

    status: int
    says: str
    answer: Any
    refuses: tuple[int, ...]
    body: Any = None


_ABOUT_A_TOWN: Final = (401, 403, 404, 413, 500, 503)
_CONTRACTS: Final[dict[tuple[str, str], Contract]] = {
    ("post", "/api/towns/{townId}/events"): Contract(
        202, "The events are durable.", ReportDocument, (400, 409, 410, 422, *_ABOUT_A_TOWN), _POSTED
    ),
    ("put", "/api/towns/{townId}"): Contract(
        201, "The town exists, and is due.", TownDocument, (400, 409, 422, *_ABOUT_A_TOWN), NewTown
    ),
    ("get", "/api/towns"): Contract(200, "A page of towns.", TownsDocument, (401, 404, 413, 422, 500, 503)),
    ("post", "/api/towns/{townId}/events/{eventId}/redrive"): Contract(
        202, "The copy is durable.", BatchDocument, (400, 409, 410, 422, *_ABOUT_A_TOWN)
    ),
    ("get", "/api/health"): Contract(200, "It is up.", HealthDocument, (401, 500)),
    ("get", "/api/towns/{townId}/status"): Contract(200, "The status.", StatusDocument, _ABOUT_A_TOWN),
    ("get", "/api/towns/{townId}/ticks"): Contract(200, "Rows of the journal.", TicksDocument, (422, *_ABOUT_A_TOWN)),
    ("get", "/api/towns/{townId}/beads/{beadId}"): Contract(200, "The bead.", BeadDocument, _ABOUT_A_TOWN),
    ("post", "/api/towns/{townId}/debug/reconcile-dry-run"): Contract(
        200, "The tick that would run.", DryRunAnswer, (400, 409, 410, 422, *_ABOUT_A_TOWN), DryRunRequest
    ),
    ("post", "/api/towns/{townId}/debug/replay-events"): Contract(
        200,
        "The window as it ran again, or with overrides as it would have been.",
        ReplayAnswer | WhatIfAnswer,
        (400, 409, 410, 422, *_ABOUT_A_TOWN),
        ReplayRequest,
    ),
}
_PROBLEMS: Final = {
    400: "The body is no strict JSON, or breaks its contract.",
    401: "Nobody has proven who asks.",
    403: "The caller or the token may not do that.",
    404: "There is no such town, or it is not the caller's; or no such thing in it.",
    409: "It exists already, or an event id stands for other content.",
    410: "An event happened longer ago than events are remembered.",
    413: "Too much at once.",
    422: "A parameter or a field is none of those that are allowed.",
    500: "A bug of ours; the operator has been told.",
    503: "The store does not answer; try again.",
}


class _Schemas(GenerateJsonSchema):
    """Schemas of what really goes over the wire: an object has the fields of its type, all of them, and unless that says
    otherwise no other.
    """

    def typed_dict_schema(self, schema: Any) -> JsonSchemaValue:
        """A closed object, if its type is not an open one."""
        return {"additionalProperties": False} | super().typed_dict_schema(schema)

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        """A closed object."""
        return super().dataclass_schema(schema) | {"additionalProperties": False}

    def field_is_required(self, field: Any, total: bool) -> bool:
        """`asdict` shows every field of a dataclass, whatever its default is."""
        return field["type"] == "dataclass-field" or super().field_is_required(field, total)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        """A field's name says it already."""
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


def _bodies() -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schemas of what goes in and out, by type, and the components that they are made of."""
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

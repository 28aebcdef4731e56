"""The OpenAPI document of the APIs: `python -m infra.ops.openapi` writes `functions/openapi.json`; `--check` only compares.

Routes and their parameters come from the tables of routes, the schemas of bodies from the shapes of questions and answers. The
functions do not import those shapes at start, so `infra.ops.contracts` has the request body, answer and refusals of each route.
"""

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from functions.api import Route
from functions.archive import app as archive
from functions.credentials import app as credentials
from functions.debug import app as debug
from functions.events import app as events
from functions.problems import Problem
from functions.redrive import app as redrive
from infra.ops.contracts import BODIES, CONTRACTS, PAGE, TEXT, Contract
from infra.ops.event_schemas import COMPONENTS, PAYLOADS, POSTED
from infra.ops.named_schemas import ANY_OBJECT, Names
from shared.replay.requests import ReplayRequest

TARGET: Final = debug.OPENAPI
EXAMPLES: Final = Path(__file__).with_name("openapi_examples.json")
"""An example of each answer by its route; `python -m tests.contracts.examples` makes them."""

_IDS: Final = {
    "townId": "The town's id: lower-case letters, digits and hyphens.",
    "eventId": "The poisoned event.",
    "beadId": "The bead's id in percent encoding, or `~` and the id in base64url without padding, which works for every id.",
    "agentId": "The agent's id, written as a bead's id is.",
    "tick": "The number of the tick.",
    "txid": "The number of the commit.",
    "link": "What stands in the notice; it is signed, good for one escalation, and ends after seven days.",
}
_ID_EXAMPLES: Final = {
    "townId": "my-town",
    "eventId": "event-001",
    "beadId": "5649000b",
    "agentId": "polecat-toast",
    "tick": "41",
    "txid": "41",
    "link": "WyJteS10b3duIiwiNTY0OTAwMGIiLCJtYWlsIiwxNzY4NjUxMjAwXQ.c2lnbmF0dXJl",
}
_PROBLEMS: Final = {
    400: "The body is not strict JSON or does not match its schema.",
    401: "The request is not signed, or its token or link is missing or invalid.",
    403: "The caller or the token is not allowed to do this.",
    404: "The town does not exist or the caller may not see it, or the town has no such bead or event.",
    409: "The town already exists, its state does not allow this, or the event id was used with different content.",
    410: "The event is older than the period in which duplicates are detected; or the link has expired.",
    413: "The request is too large.",
    415: "The body is not sent as application/json.",
    422: "A parameter or field has a value that is not allowed.",
    429: "Too many events of this sender wait, or it asks or reports too often; retry later.",
    500: "Internal error; the function's log has the details.",
    503: "The store, the secrets or the forge are unavailable; retry.",
}
_NOT_MODIFIED: Final = "Not modified: the caller already has the answer with this ETag."


class _Schemas(GenerateJsonSchema):
    """Schemas of the JSON as sent: an object has every field of its type and, unless the type is open, no other field."""

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
        """Without the default in an answer, which always has the field, and without null as a default in a request."""
        stays = self.mode == "validation" and schema.get("default") is not None
        return super().default_schema(schema) if stays else self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        """Omit titles, which only repeat the field's name."""
        return False


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    bodies, schemas = _bodies()
    names = Names(schemas)
    tables = (
        ("events", (*events.ROUTES, *redrive.ROUTES, *archive.ROUTES)),
        ("debug", debug.ROUTES),
        ("credentials", credentials.ROUTES),
    )
    for tag, routes in tables:
        for route in routes:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, tag, bodies)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Town reconciler",
            "version": "0.2",
            "description": (
                "Posting events, reading as an agent and getting an agent's credential require a town token, every other route "
                "SigV4, except for the links in notices, which are a credential themselves and answer with pages. Errors are "
                "RFC 9457 problem documents. "
                "Every answer has the header X-Request-Id. HEAD works like GET, without a body; OPTIONS returns 204 with "
                "Allow; any other method that a path does not support returns 405 with Allow. Unknown query parameters are "
                "refused."
            ),
        },
        "paths": names.named(dict(sorted(paths.items()))),
        "components": {
            "schemas": names.components,
            "headers": {
                "X-Request-Id": {
                    "description": "The request's id, by which the logs identify it.",
                    "schema": {"type": "string"},
                },
                "ETag": {
                    "description": "A digest of the answer; send it as If-None-Match to get 304 as long as the answer is the same.",
                    "schema": {"type": "string"},
                },
            },
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
    taken = {each.body for each in CONTRACTS.values() if each.body not in (None, TEXT) and each.body is not POSTED}
    given = {Problem, *(each.answer for each in CONTRACTS.values() if each.answer not in (None, PAGE))}
    wanted: list[tuple[Any, Any, TypeAdapter[Any]]] = [
        *((shape, "validation", TypeAdapter(shape)) for shape in (*sorted(taken, key=repr), *PAYLOADS)),
        *((shape, "serialization", TypeAdapter(shape)) for shape in sorted(given, key=repr)),
    ]
    made, found = TypeAdapter.json_schemas(
        wanted, ref_template="#/components/schemas/{model}", schema_generator=_Schemas
    )
    return {shape: schema for (shape, _), schema in made.items()}, COMPONENTS | found["$defs"]


def _operation(route: Route[Any], tag: str, bodies: dict[Any, Any]) -> dict[str, Any]:
    key = (route.method.lower(), route.path)
    contract = CONTRACTS[key]
    shown: dict[str, Any] = {
        "summary": route.summary,
        "description": re.sub(r"\s+", " ", route.answer.__doc__ or ""),
        "operationId": contract.name,
        "tags": [tag],
        "parameters": [*_ids_in(route), *_query_of(route)],
        "security": [] if route.guard == "link" else [{route.guard: []}],
    }
    if contract.body is TEXT:
        content = {"text/plain": {"schema": {"type": "string"}, "example": BODIES[key]}}
        shown["requestBody"] = {"required": True, "content": content}
    elif contract.body is not None:
        schema = contract.body if contract.body is POSTED else bodies[contract.body]
        shown["requestBody"] = {
            "required": contract.body in (POSTED, ReplayRequest),
            "content": {"application/json": {"schema": schema, "example": BODIES[key]}},
        }
    shown["responses"] = _pages(contract) if contract.answer is PAGE else _answers(route, contract, bodies)
    return shown


def _pages(contract: Contract) -> dict[str, Any]:
    """The answers of a route that people open in a browser."""
    said = {contract.status: contract.says, **{status: _PROBLEMS[status] for status in sorted(contract.refuses)}}
    content = {"text/html": {"schema": {"type": "string"}}}
    return {
        str(status): {"description": says, "headers": _headers(), "content": content} for status, says in said.items()
    }


def _answers(route: Route[Any], contract: Contract, bodies: dict[Any, Any]) -> dict[str, Any]:
    example = _examples().get(f"{route.method.lower()} {route.path}")
    answer = {"schema": bodies.get(contract.answer, ANY_OBJECT)} | ({} if example is None else {"example": example})
    problem = {"application/problem+json": {"schema": bodies[Problem]}}
    return {
        str(contract.status): {
            "description": contract.says,
            "headers": _headers(route.method),
            "content": {"application/json": answer},
        },
        **({"304": {"description": _NOT_MODIFIED, "headers": _headers("GET")}} if route.method == "GET" else {}),
        **{
            str(status): {"description": _PROBLEMS[status], "headers": _headers(), "content": problem}
            for status in sorted(contract.refuses)
        },
    }


@cache
def _examples() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXAMPLES.read_text(encoding="utf-8")) if EXAMPLES.exists() else {}
    return found


def _headers(method: str = "") -> dict[str, Any]:
    named = ("X-Request-Id", "ETag") if method == "GET" else ("X-Request-Id",)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in named}


def _ids_in(route: Route[Any]) -> list[dict[str, Any]]:
    return [
        _parameter(name, "path", _IDS[name], {"type": "string"}, _ID_EXAMPLES[name]) | {"required": True}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]


def _query_of(route: Route[Any]) -> list[dict[str, Any]]:
    schema = route.query.model_json_schema()
    found = []
    for name, field in schema.get("properties", {}).items():
        kept = {key: value for key, value in field.items() if key not in ("title", "description", "examples")}
        shown = _parameter(name, "query", f"{field['description']}.", _given(kept), field["examples"][0])
        found.append(shown | ({"required": True} if name in schema.get("required", ()) else {}))
    return found


def _parameter(name: str, place: str, description: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    # the description is there twice, because some generators of clients read only that of the schema
    shown = {**schema, "description": description}
    return {"name": name, "in": place, "description": description, "schema": shown, "example": example}


_BOUNDS: Final = {"ge": "minimum", "le": "maximum"}
"""How pydantic names the bounds of a type with a validator of its own, and how JSON Schema names them."""


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that is given: it is never null, because a query has only text."""
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    shapes = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    default = {} if schema.get("default") is None else {"default": schema["default"]}
    shown = {**(shapes[0] if shapes else {}), **rest, **default}
    return {_BOUNDS.get(key, key): value for key, value in shown.items()}


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

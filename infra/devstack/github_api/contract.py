"""Checks answers against GitHub's own description, and builds the smallest answer that it allows."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
_TIME: Final = "2026-01-10T12:00:00Z"


@cache
def rest() -> dict[str, Any]:
    """The slice of the REST description as JSON Schema, in which the type `null` replaces `nullable`."""
    described: dict[str, Any] = _with_null(json.loads((HERE / "rest.json").read_text(encoding="utf-8")))
    return described


def schema_of(operation: str, status: int) -> dict[str, Any] | None:
    """The schema of an answer, for example ("GET /repos/{owner}/{repo}/pulls/{pull_number}", 200); None if it has no body.

    Raises KeyError for an operation that is not in the slice.
    """
    found = rest()["operations"][operation].get(str(status))
    return None if found is None else {**found, "components": rest()["components"]}


def problems_of(operation: str, status: int, body: Any) -> list[str]:
    """The differences between an answer and GitHub's description; empty if there are none."""
    from jsonschema import Draft202012Validator

    schema = schema_of(operation, status)
    if schema is None:
        return []
    found = Draft202012Validator(schema).iter_errors(body)
    return [f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:200]}" for error in found]


def smallest(operation: str, status: int) -> Any:
    """An answer with every required field and no other."""
    return smallest_of(rest()["operations"][operation][str(status)])


def smallest_of(schema: Any) -> Any:
    """The smallest value that a schema allows."""
    return _smallest(schema, rest())


def _smallest(schema: Any, root: Any) -> Any:
    if "$ref" in schema:
        for part in schema["$ref"].removeprefix("#/").split("/"):
            root = root[part]
        return _smallest(root, rest())
    for choice in ("allOf", "oneOf", "anyOf"):
        if choice in schema:
            parts = [_smallest(each, rest()) for each in schema[choice]]
            return {key: value for part in parts for key, value in part.items()} if choice == "allOf" else parts[0]
    kinds = schema.get("type", "object" if "properties" in schema else "null")
    if isinstance(kinds, list) and "null" in kinds:
        return None
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _smallest(properties.get(name, {}), root) for name in schema.get("required", ())}
    if kind == "string":
        return {"date-time": _TIME, "uri": "https://github.invalid/"}.get(schema.get("format", ""), "text")
    return {"integer": 1, "number": 1, "boolean": False, "array": []}.get(kind)


def _with_null(value: Any) -> Any:
    """Replace `nullable` of OpenAPI 3.0 with the type `null` of JSON Schema."""
    if isinstance(value, list):
        return [_with_null(each) for each in value]
    if not isinstance(value, dict):
        return value
    schema = {key: _with_null(each) for key, each in value.items() if key != "nullable"}
    if value.get("nullable") is not True:
        return schema
    if "type" in schema:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
        return schema
    return {"anyOf": [schema, {"type": "null"}]}

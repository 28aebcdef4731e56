"""Checks REST answers against the shapes that GitLab documents (`rest.json`), which says of each operation where it was read."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent


@cache
def described() -> dict[str, Any]:
    """The whole description: `operations`, each with its source and its answers by status, and the shapes that they share."""
    found: dict[str, Any] = json.loads((HERE / "rest.json").read_text(encoding="utf-8"))
    return found


def problems_of(operation: str, status: int, body: Any) -> list[str]:
    """The differences between an answer and GitLab's documentation; empty if there are none. Raises KeyError."""
    from jsonschema import Draft202012Validator

    shape = described()["operations"][operation]["answers"][str(status)]
    schema = {**shape, "$defs": described()["$defs"]}
    found = Draft202012Validator(schema).iter_errors(body)
    return [f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:200]}" for error in found]


@cache
def graphql_schema() -> Any:
    """The slice of GitLab's GraphQL schema."""
    from graphql import build_schema

    return build_schema((HERE / "schema.graphql").read_text(encoding="utf-8"))

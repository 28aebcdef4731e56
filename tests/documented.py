"""What the OpenAPI document says of an answer, for tests that have one."""

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from infra.ops import openapi
from shared.domain.shapes import read
from shared.questions.dry_run import DryRun


def complaints(method: str, route: str, status: int, body: Any) -> list[str]:
    """Where a body is not what the document says of that answer; nothing if it is."""
    response = _document()["paths"][route][method.lower()]["responses"][str(status)]
    [content] = response["content"].values()
    return _against(content["schema"], body)


def documented_paths() -> dict[str, Any]:
    """The routes, with an operation for each method."""
    paths: dict[str, Any] = _document()["paths"]
    return paths


def unlike(component: str, value: Any) -> list[str]:
    """Where a value is not what the document says of a component, also after a journey as JSON."""
    return _against({"$ref": f"#/components/schemas/{component}"}, json.loads(json.dumps(value)))


def below(component: str) -> set[str]:
    """A component and all that it consists of."""
    components, found, waiting = _document()["components"]["schemas"], set[str](), [component]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += re.findall(r'"#/components/schemas/(\w+)"', json.dumps(components[name]))
    return found


def misfits(schema: dict[str, Any], value: Any) -> list[str]:
    """Where a value is not what a schema of the document says."""
    return _against(schema, value)


def as_stored(shown: dict[str, Any]) -> dict[str, Any]:
    """What a dry run shows of the outputs of a tick, as the journal stores it."""
    run = read(DryRun, shown)
    return {
        "events": [event.as_json() for event in run.events],
        "actions": [judged.as_json() for judged in run.actions],
        "effects": [{"effect_id": effect.effect_id, "attempt": effect.attempt} for effect in run.effects],
        "violations": [violation.as_json() for violation in run.violations],
        "metrics": shown["metrics"],
    }


@cache
def _document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(openapi.TARGET.read_text(encoding="utf-8"))
    return found


def _against(schema: dict[str, Any], value: Any) -> list[str]:
    whole = {**schema, "components": _document()["components"]}
    checked = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message[:200]}" for error in checked.iter_errors(value)]

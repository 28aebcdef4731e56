"""The transformed template for tests. If it is missing or stale, they fail and say how to make it."""

import hashlib
import json
from functools import cache
from typing import Any

from tests.conventions.sources import ROOT

HOW = "run: make transformed"


@cache
def template(*, gradual: bool = False, traced: bool = False) -> dict[str, Any]:
    """The transformed template. Fails if it is missing or was not made from the current template.

    SAM's transform itself reads GradualDeployment and Tracing, so with one of them CloudFormation sees another template.
    """
    assert not (gradual and traced), "no template was made for both"
    path = ROOT / f"build/template{'-gradual' if gradual else '-traced' if traced else ''}.json"
    assert path.exists(), f"{path.name} is missing in build; {HOW}"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    made_from = hashlib.sha256((ROOT / "template.yaml").read_bytes()).hexdigest()
    assert found["Metadata"]["MadeFrom"] == made_from, f"template.yaml has changed since; {HOW}"
    return found


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type, by logical id."""
    found = template()["Resources"]
    return {name: each["Properties"] for name, each in found.items() if each["Type"] == kind}


def routes() -> dict[tuple[str, str], dict[str, Any]]:
    """The operations of the HTTP API, by method and path."""
    [api] = resources("AWS::ApiGatewayV2::Api").values()
    return {
        ("ANY" if method == "x-amazon-apigateway-any-method" else method.upper(), path): operation
        for path, methods in api["Body"]["paths"].items()
        for method, operation in methods.items()
        if method != "options"
    }


def statements(function: str) -> list[dict[str, Any]]:
    """Every statement of the inline policies of a function's role, with secrets in Secrets Manager, as is the default."""
    [role] = [properties for name, properties in resources("AWS::IAM::Role").items() if name == f"{function}Role"]
    written = [each for policy in role.get("Policies", ()) for each in policy["PolicyDocument"]["Statement"]]
    by_default = [found for each in written if (found := _by_default(each)) != {"Ref": "AWS::NoValue"}]
    return [{name: _by_default(value) for name, value in statement.items()} for statement in by_default]


def _by_default(value: Any) -> Any:
    if not isinstance(value, dict) or "Fn::If" not in value:
        return value
    condition, _, otherwise = value["Fn::If"]
    assert condition == "SecretsAreParameters"
    return otherwise


def actions(function: str) -> set[str]:
    """Every action that a function's role allows inline."""
    found: set[str] = set()
    for statement in statements(function):
        assert statement["Effect"] == "Allow"
        named = statement["Action"]
        found |= set(named if isinstance(named, list) else [named])
    return found

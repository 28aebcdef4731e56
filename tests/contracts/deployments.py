"""Evaluates the transformed template for given parameters, as CloudFormation does, as far as this template requires it.

deployed(EcsTaskPer="town", ...)["WorkerFunction"]["Properties"]    with conditions and parameters resolved
refused(EcsTaskPer="town")                                          the rules that refuse these parameters
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from functions.settings import (
    ArchiveSettings,
    AuthorizerSettings,
    CredentialsSettings,
    DebugSettings,
    EventsSettings,
    FunctionSettings,
    RedriveSettings,
    RetentionSettings,
    TickSettings,
    WorkerSettings,
)
from tests.contracts.transformed import template

ON_ECS: Final[Mapping[str, str]] = {
    "EcsTaskPer": "agent",
    "EcsCluster": "agents",
    "EcsTaskDefinition": "town-agent",
    "EcsRoles": "arn:aws:iam::111122223333:role/execution,arn:aws:iam::111122223333:role/task",
    "EcsSubnets": "subnet-11111111,subnet-22222222",
    "EcsSecurityGroups": "sg-11111111",
    "FunctionSubnets": "subnet-33333333",
    "FunctionSecurityGroups": "sg-33333333",
}
"""Parameters of a deployment with one task per agent."""

SETTINGS: Final[Mapping[str, type[FunctionSettings]]] = {
    "TickFunction": TickSettings,
    "WorkerFunction": WorkerSettings,
    "EventsFunction": EventsSettings,
    "RedriveFunction": RedriveSettings,
    "ArchiveFunction": ArchiveSettings,
    "AuthorizerFunction": AuthorizerSettings,
    "CredentialsFunction": CredentialsSettings,
    "DebugFunction": DebugSettings,
    "RetentionFunction": RetentionSettings,
}
"""The settings of each function, by its logical id."""

_NOTHING: Final = object()


def deployed(**parameters: str) -> dict[str, dict[str, Any]]:
    """The resources that are created, by logical id."""
    values = _values(parameters)
    conditions = {name: _holds({"Condition": name}, values) for name in template()["Conditions"]}
    return {
        name: _filled(resource, values, conditions)
        for name, resource in _template(values)["Resources"].items()
        if "Condition" not in resource or conditions[resource["Condition"]]
    }


def _template(values: Mapping[str, Any]) -> dict[str, Any]:
    return template(gradual=values["GradualDeployment"] == "true", traced=values["Tracing"] == "Active")


def refused(**parameters: str) -> list[str]:
    """The names of wrong parameters and the messages of violated rules; empty if the parameters can be deployed."""
    values = _values(parameters)
    said = [name for name, about in template()["Parameters"].items() if not _accepted(str(values[name]), about)]
    for rule in template()["Rules"].values():
        if _holds(rule["RuleCondition"], values):
            said += [each["AssertDescription"] for each in rule["Assertions"] if not _holds(each["Assert"], values)]
    return said


def _accepted(value: str, about: Mapping[str, Any]) -> bool:
    """Whether CloudFormation accepts this value of a parameter."""
    if value not in [str(each) for each in about.get("AllowedValues", [value])]:
        return False
    if about["Type"] != "Number":
        return re.fullmatch(about.get("AllowedPattern", "(?s:.*)"), value) is not None
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value) is None:
        return False
    return about.get("MinValue", -math.inf) <= float(value) <= about.get("MaxValue", math.inf)


def _values(parameters: Mapping[str, str]) -> dict[str, Any]:
    known = {name: about["Default"] for name, about in template()["Parameters"].items()}
    assert set(parameters) <= set(known)
    return {**known, **parameters}


def _holds(test: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    [(name, arguments)] = test.items()
    if name == "Fn::Not":
        return not _holds(arguments[0], values)
    if name == "Fn::And":
        return all(_holds(each, values) for each in arguments)
    if name == "Fn::Or":
        return any(_holds(each, values) for each in arguments)
    if name == "Condition":
        return _holds(template()["Conditions"][arguments], values)
    assert name == "Fn::Equals"
    left, right = (_filled(each, values, {}) for each in arguments)
    return bool(left == right)


def _filled(node: Any, values: Mapping[str, Any], conditions: Mapping[str, bool]) -> Any:
    if isinstance(node, list):
        return [each for each in (_filled(each, values, conditions) for each in node) if each is not _NOTHING]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        [(name, arguments)] = node.items()
        if name == "Ref":
            return _NOTHING if arguments == "AWS::NoValue" else values.get(arguments, node)
        if name == "Fn::If":
            condition, then, otherwise = arguments
            return _filled(then if conditions[condition] else otherwise, values, conditions)
        if name == "Fn::Sub" and isinstance(arguments, str):
            text = re.sub(r"\$\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), arguments)
            return {"Fn::Sub": text} if "${" in text else text
        if name == "Fn::Split":
            separator, text = arguments[0], _filled(arguments[1], values, conditions)
            return text.split(separator)
    filled = {name: _filled(each, values, conditions) for name, each in node.items()}
    return {name: each for name, each in filled.items() if each is not _NOTHING}

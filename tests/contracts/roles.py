"""The roles of the template as IAM evaluates them: an action on a resource, with the condition keys of the request.

It knows the operators that the template uses, and fails at any other, so that no condition is passed over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from tests.contracts.deployments import deployed
from tests.contracts.transformed import template

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
BUCKET: Final = "towns"
TABLE: Final = "waiting"
QUEUE: Final = "wakes.fifo"
QUEUE_URL: Final = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{QUEUE}"
KEY_SECRET: Final = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:TownTokenKey-a1b2c3-d4e5f6"
TABLE_ARN: Final = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLE}"
_PSEUDO: Final = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "towns",
}
_REFS: Final = {
    **_PSEUDO,
    "Towns": BUCKET,
    "Waiting": TABLE,
    "Wakes": QUEUE_URL,
    "TownTokenKey": KEY_SECRET,
    "Api": "a1b2c3",
}
_IN_A_TEXT: Final = re.compile(r"\$\{([\w:]+)(?:\.(\w+))?\}")


@dataclass(frozen=True, slots=True)
class Right:
    """What a request needs: an action on a resource. `context` has the condition keys of the request that it sets."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Permission:
    """One action on one pattern of resources that a role allows; its condition must hold."""

    sid: str
    action: str
    resource: str
    condition: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def covers(self, right: Right) -> bool:
        """Whether it allows the right."""
        return (
            fnmatchcase(right.action.lower(), self.action.lower())
            and fnmatchcase(right.resource, self.resource)
            and _hold(self.condition, right.context)
        )

    def __str__(self) -> str:
        return f"{self.sid}: {self.action} on {self.resource}"


class Stack:
    """The resources of a deployment with these parameters, and what its roles allow."""

    def __init__(self, **parameters: str) -> None:
        self.resources = deployed(**parameters)

    def environment(self, function: str) -> dict[str, str]:
        """The variables that the template gives to a function."""
        variables = self.resources[function]["Properties"]["Environment"]["Variables"]
        return {name: str(self.said(value)) for name, value in variables.items()}

    def permissions(self, role: str) -> tuple[Permission, ...]:
        """What a role allows, in itself and by the policies that are attached to it. Managed policies of AWS are not read."""
        inside = self.resources[role]["Properties"].get("Policies", ())
        attached = [
            each["Properties"]
            for each in self.resources.values()
            if each["Type"] == "AWS::IAM::Policy" and {"Ref": role} in each["Properties"]["Roles"]
        ]
        found: list[Permission] = []
        for policy in (*inside, *attached):
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Allow"
                found += self._permissions_in(statement, str(policy["PolicyName"]))
        return tuple(found)

    def denies(self, right: Right) -> bool:
        """Whether the policy of the bucket forbids it to everybody."""
        [policy] = [each for each in self.resources.values() if each["Type"] == "AWS::S3::BucketPolicy"]
        statements = policy["Properties"]["PolicyDocument"]["Statement"]
        assert {each["Effect"] for each in statements} == {"Deny"}
        over_tls = Right(right.action, right.resource, {**right.context, "aws:SecureTransport": "true"})
        return any(one.covers(over_tls) for each in statements for one in self._permissions_in(each, "TownsPolicy"))

    def allows(self, role: str, right: Right) -> bool:
        """Whether a role has a right."""
        return not self.denies(right) and any(each.covers(right) for each in self.permissions(role))

    def _permissions_in(self, statement: Mapping[str, Any], policy: str) -> Iterator[Permission]:
        for action in _listed(statement["Action"]):
            for resource in _listed(statement["Resource"]):
                condition = {
                    operator: {name: self._said_of(value) for name, value in tests.items()}
                    for operator, tests in statement.get("Condition", {}).items()
                }
                yield Permission(statement.get("Sid", policy), action, str(self.said(resource)), condition)

    def _said_of(self, value: Any) -> Any:
        return [self.said(each) for each in value] if isinstance(value, list) else self.said(value)

    def said(self, node: Any) -> Any:
        """A value of the template with references, attributes and texts filled in as CloudFormation would."""
        if not isinstance(node, dict):
            return node
        [(name, argument)] = node.items()
        if name == "Ref":
            return self._ref(argument)
        if name == "Fn::GetAtt":
            resource, attribute = argument
            assert attribute == "Arn", argument
            return self.arn(resource)
        assert name == "Fn::Sub", node
        return _IN_A_TEXT.sub(lambda found: self.arn(found[1]) if found[2] else self._ref(found[1]), argument)

    def _ref(self, name: str) -> str:
        if name in _REFS:
            return _REFS[name]
        if name in template()["Parameters"]:
            return str(template()["Parameters"][name]["Default"])
        return self.arn(name)  # that of a topic, an alias and a secret is its ARN

    def arn(self, resource: str) -> str:
        """The ARN of a resource."""
        kind = "AWS::Lambda::Alias" if resource.endswith("Aliaslive") else self.resources[resource]["Type"]
        if kind == "AWS::S3::Bucket":
            return f"arn:aws:s3:::{BUCKET}"
        if kind == "AWS::DynamoDB::Table":
            return TABLE_ARN
        service, what = {
            "AWS::SQS::Queue": ("sqs", QUEUE if resource == "Wakes" else resource),
            "AWS::Lambda::Function": ("lambda", f"function:{resource}"),
            "AWS::Lambda::Alias": ("lambda", f"function:{resource.removesuffix('Aliaslive')}:live"),
            "AWS::SecretsManager::Secret": ("secretsmanager", f"secret:{resource}"),
            "AWS::SNS::Topic": ("sns", resource),
        }[kind]
        return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{what}"


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _hold(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """Whether every test of a condition holds for the condition keys of a request."""
    return all(
        _holds(operator, [str(each) for each in _listed(wanted)], context.get(key))
        for operator, tests in condition.items()
        for key, wanted in tests.items()
    )


def _holds(operator: str, wanted: Sequence[str], found: str | None) -> bool:
    if operator == "Null":
        return wanted == [str(found is None).lower()]
    if operator.endswith("IfExists"):
        return found is None or _holds(operator.removesuffix("IfExists"), wanted, found)
    if found is None:
        return False
    if operator in ("StringEquals", "Bool"):
        return found in wanted
    assert operator in ("StringLike", "ArnEquals", "ArnLike"), f"the evaluator does not know the operator {operator}"
    return any(fnmatchcase(found, each) for each in wanted)

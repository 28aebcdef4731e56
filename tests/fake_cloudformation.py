"""CloudFormation and the bucket of `sam deploy` on this machine: it judges parameters as CloudFormation does, and deploys nothing.

`sam` sends its requests here if AWS_ENDPOINT_URL is the address of a `serving(FakeCloudFormation())`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

from tests.contracts.deployments import refused
from tests.contracts.transformed import template

BUCKET: Final = "sam-artifacts"
_OF_SAM: Final = "aws-sam-cli-managed-default"
_XMLNS: Final = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """One accepted change set: `given` are the parameters that `sam` sent, without those that keep their previous value."""

    stack: str
    kind: str
    given: Mapping[str, str]


@dataclass
class FakeCloudFormation:
    """The change sets that were created, the stacks that exist with their parameters, and the names of uploaded objects."""

    change_sets: list[ChangeSet] = field(default_factory=list)
    stacks: dict[str, dict[str, str]] = field(default_factory=dict)
    uploaded: list[str] = field(default_factory=list)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Answer a request to S3, or to CloudFormation and STS (forms)."""
        if method != "POST" or not body.startswith(b"Action="):
            return self._stored(method, target)
        asked = dict(parse_qsl(body.decode(), keep_blank_values=True))
        actions: dict[str, Callable[[dict[str, str]], str]] = {
            "DescribeStacks": self._describe_stacks,
            "CreateChangeSet": self._create_change_set,
            "DescribeChangeSet": self._describe_change_set,
            "GetTemplateSummary": self._summary,
            "GetCallerIdentity": lambda _: (
                "<Arn>arn:aws:iam::123456789012:user/me</Arn><Account>123456789012</Account>"
            ),
        }
        try:
            found = actions[asked["Action"]](asked)
        except _Invalid as problem:
            error = f"<Error><Type>Sender</Type><Code>ValidationError</Code><Message>{escape(str(problem))}</Message></Error>"
            return _xml(400, f'<ErrorResponse xmlns="{_XMLNS}">{error}</ErrorResponse>')
        name = asked["Action"]
        result = f"<{name}Result>{found}</{name}Result>"
        return _xml(200, f'<{name}Response xmlns="{_XMLNS}">{result}</{name}Response>')

    def _stored(self, method: str, target: str) -> dict[str, Any]:
        key = urlsplit(target).path
        if method == "PUT":
            self.uploaded.append(key)
        known = method == "PUT" or key in self.uploaded
        return {"statusCode": 200 if known else 404, "headers": {"ETag": '"0"'}, "body": "", "isBase64Encoded": False}

    def _describe_stacks(self, asked: dict[str, str]) -> str:
        name = asked["StackName"]
        if name == _OF_SAM:
            tag = "<Tags><member><Key>ManagedStackSource</Key><Value>AwsSamCli</Value></member></Tags>"
            output = f"<member><OutputKey>SourceBucket</OutputKey><OutputValue>{BUCKET}</OutputValue></member>"
            return f"<Stacks><member>{_described(name)}{tag}<Outputs>{output}</Outputs></member></Stacks>"
        if name not in self.stacks:
            raise _Invalid(f"Stack with id {name} does not exist")
        return f"<Stacks><member>{_described(name)}</member></Stacks>"

    def _create_change_set(self, asked: dict[str, str]) -> str:
        stack, parameters = asked["StackName"], _parameters(asked)
        given = {name: value for name, value in parameters.items() if value is not None}
        if unknown := sorted(set(given) - set(template()["Parameters"])):
            raise _Invalid(f"Parameters: {unknown} do not exist in the template")
        if problems := refused(**{**self.stacks.get(stack, {}), **given}):
            raise _Invalid(f"Parameters are refused: {problems}")
        if asked.get("Capabilities.member.1") != "CAPABILITY_IAM":
            raise _Invalid("Requires capabilities : [CAPABILITY_IAM]")
        self.change_sets.append(ChangeSet(stack, asked["ChangeSetType"], given))
        return f"<Id>arn:aws:cloudformation:eu-west-1:1:changeSet/a</Id><StackId>{_arn(stack)}</StackId>"

    def _describe_change_set(self, asked: dict[str, str]) -> str:
        change = "<Action>Add</Action><LogicalResourceId>Towns</LogicalResourceId><ResourceType>AWS::S3::Bucket</ResourceType>"
        changes = f"<Changes><member><Type>Resource</Type><ResourceChange>{change}</ResourceChange></member></Changes>"
        about = f"<ChangeSetName>{escape(asked['ChangeSetName'])}</ChangeSetName><StackId>{_arn(asked['StackName'])}</StackId>"
        return f"{about}<Status>CREATE_COMPLETE</Status><ExecutionStatus>AVAILABLE</ExecutionStatus>{changes}"

    def _summary(self, asked: dict[str, str]) -> str:
        keys = "".join(f"<member><ParameterKey>{name}</ParameterKey></member>" for name in template()["Parameters"])
        return f"<Parameters>{keys}</Parameters><Description>{escape(asked['StackName'])}</Description>"


class _Invalid(Exception):
    """CloudFormation refuses a request."""


def _parameters(asked: Mapping[str, str]) -> dict[str, str | None]:
    """The parameters of a request; None for one that keeps its previous value."""
    found: dict[str, str | None] = {}
    number = 1
    while (key := asked.get(f"Parameters.member.{number}.ParameterKey")) is not None:
        found[key] = asked.get(f"Parameters.member.{number}.ParameterValue")
        number += 1
    return found


def _described(stack: str) -> str:
    when = "<CreationTime>2026-01-10T12:00:00Z</CreationTime>"
    return f"<StackName>{stack}</StackName><StackId>{_arn(stack)}</StackId>{when}<StackStatus>CREATE_COMPLETE</StackStatus>"


def _arn(stack: str) -> str:
    return f"arn:aws:cloudformation:eu-west-1:123456789012:stack/{stack}/1"


def _xml(status: int, body: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": "text/xml"}, "body": body, "isBase64Encoded": False}

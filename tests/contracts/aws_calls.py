"""Which rights calls of AWS need, as AWS documents them for each operation, and a recorder of these calls."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.signers import RequestSigner
from moto.core.botocore_stubber import BotocoreStubber

from shared.adapters.aws_http import AwsHttp, AwsRequest, Place, RefusedRequest
from shared.adapters.aws_sdk import code_of
from shared.adapters.aws_transport import HttpAnswer
from tests.contracts.roles import ACCOUNT, REGION, Right

_PRESIGNED: Final = "presigned "
_MISSING: Final = ("404", "NoSuchKey", "NoSuchVersion")


@dataclass(frozen=True, slots=True)
class SdkCall:
    """One call, by the SDK or as a signed request: service, operation, parameters, and the code of its error, if it had one."""

    service: str
    operation: str
    given: Mapping[str, Any]
    error: str = ""

    def __str__(self) -> str:
        said = {name: value for name, value in self.given.items() if name not in ("Body", "overrides")}
        return f"{self.service} {self.operation} {said}"


@dataclass
class Recorder:
    """The calls that were made, each with the function that made it."""

    function: str = ""
    calls: list[tuple[str, SdkCall]] = field(default_factory=list)

    def of(self, function: str) -> tuple[SdkCall, ...]:
        """The calls of one function."""
        return tuple(call for name, call in self.calls if name == function)

    @contextmanager
    def acting_as(self, function: str) -> Iterator[None]:
        """What is called in the block is called by this function."""
        self.function = function
        try:
            yield
        finally:
            self.function = ""

    def heard(self, call: SdkCall) -> None:
        """Remember a call, unless it is the test's own."""
        if self.function:
            self.calls.append((self.function, call))


def record(patched: pytest.MonkeyPatch) -> Recorder:
    """Record each call of every client of the SDK, each URL that it signs, and each signed request. Lets moto say the time."""
    recorder = Recorder()
    sent = AwsHttp.send
    made, signed = BaseClient._make_api_call, RequestSigner.generate_presigned_url
    answered = BotocoreStubber.__call__

    def call(client: Any, operation: str, given: Any) -> Any:
        service = client.meta.service_model.service_name
        try:
            answer = made(client, operation, given)
        except ClientError as error:
            recorder.heard(SdkCall(service, operation, given, str(error.response["Error"]["Code"])))
            raise
        recorder.heard(SdkCall(service, operation, given))
        return answer

    def send(http: AwsHttp, request: AwsRequest) -> HttpAnswer:
        given = _given(http.place, request)
        try:
            answer_ = sent(http, request)
        except RefusedRequest as refusal:
            recorder.heard(SdkCall(http.place.scope.service, request.operation, given, code_of(refusal)))
            raise
        recorder.heard(SdkCall(http.place.scope.service, request.operation, given))
        return answer_

    def sign(signer: Any, request_dict: Any, operation_name: str, **more: Any) -> Any:
        url = signed(signer, request_dict, operation_name, **more)
        key = unquote(urlsplit(url).path).lstrip("/")
        recorder.heard(SdkCall(f"{_PRESIGNED}s3", operation_name, {"Key": key, "Bucket": urlsplit(url).hostname}))
        return url

    def answer(stubber: BotocoreStubber, event_name: str, request: Any, **more: Any) -> Any:
        found = answered(stubber, event_name, request, **more)
        if found is not None:
            found.headers["Date"] = format_datetime(datetime.now(UTC), usegmt=True)
        return found

    patched.setattr(BaseClient, "_make_api_call", call)
    patched.setattr(AwsHttp, "send", send)
    patched.setattr(BotocoreStubber, "__call__", answer)
    patched.setattr(RequestSigner, "generate_presigned_url", sign)
    return recorder


def _given(place: Place, request: AwsRequest) -> Mapping[str, Any]:
    """What a signed request asks for, as the parameters of the SDK's operation."""
    if place.scope.service != "s3":
        said: Mapping[str, Any] = json.loads(request.body)
        return said
    names = {"if-match": "IfMatch", "if-none-match": "IfNoneMatch", "x-amz-tagging": "Tagging"}
    names |= {"prefix": "Prefix", "versionId": "VersionId"}
    conditions = {names[name]: value for name, value in {**request.headers, **request.query}.items() if name in names}
    key = {"Key": request.path.removeprefix("/")} if request.path else {}
    return {"Bucket": str(urlsplit(place.url).hostname).partition(".s3.")[0], **key, **conditions}


def rights_of(call: SdkCall, *, kms_key: str = "") -> tuple[Right, ...]:
    """What IAM asks for a call. With a KMS key, what AWS decrypts and encrypts in the name of the caller is asked too."""
    service = call.service.removeprefix(_PRESIGNED)
    of = {"s3": _of_s3, "sqs": _of_sqs, "secretsmanager": _of_secrets, "ecs": _of_ecs}
    of |= {"ssm": _of_ssm, "dynamodb": _of_tables, "sns": _of_sns}
    found = tuple(of[service](call))
    return (*found, *_of_kms(found, kms_key)) if kms_key else found


def _of_s3(call: SdkCall) -> Iterator[Right]:
    given = call.given
    bucket = f"arn:aws:s3:::{str(given['Bucket']).partition('.s3')[0]}"
    if call.operation in ("ListObjectsV2", "ListObjectVersions"):
        action = "s3:ListBucket" if call.operation == "ListObjectsV2" else "s3:ListBucketVersions"
        yield Right(action, bucket, {"s3:prefix": given["Prefix"]})
        return
    at, version = f"{bucket}/{given['Key']}", "Version" if "VersionId" in given else ""
    if call.operation in ("GetObject", "HeadObject"):
        yield Right(f"s3:GetObject{version}", at)
        if call.error in _MISSING:  # who may not list gets 403 instead of 404
            yield Right("s3:ListBucket", bucket)
    elif call.operation == "DeleteObject":
        yield Right(f"s3:DeleteObject{version}", at)
    else:
        assert call.operation == "PutObject", call
        conditions = {"IfMatch": "s3:if-match", "IfNoneMatch": "s3:if-none-match"}
        yield Right("s3:PutObject", at, {key: str(given[name]) for name, key in conditions.items() if name in given})
        if "Tagging" in given:
            yield Right("s3:PutObjectTagging", at)


def _of_sqs(call: SdkCall) -> Iterator[Right]:
    name = str(call.given["QueueUrl"]).rpartition("/")[2]
    yield Right(f"sqs:{call.operation.removesuffix('Batch')}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")


def _of_sns(call: SdkCall) -> Iterator[Right]:
    assert call.operation == "Publish", call
    yield Right("sns:Publish", str(call.given["TopicArn"]))


def _of_tables(call: SdkCall) -> Iterator[Right]:
    yield Right(f"dynamodb:{call.operation}", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{call.given['TableName']}")


def _of_secrets(call: SdkCall) -> Iterator[Right]:
    name = str(call.given["SecretId"])
    arn = name if name.startswith("arn:") else f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-a1b2c3"
    yield Right(f"secretsmanager:{call.operation}", arn)


def _of_ssm(call: SdkCall) -> Iterator[Right]:
    assert call.operation in ("GetParameters", "GetParametersByPath"), call
    for name in call.given.get("Names") or [call.given["Path"]]:
        yield Right(f"ssm:{call.operation}", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{name}")


def _of_ecs(call: SdkCall) -> Iterator[Right]:
    given = call.given
    name = str(given["cluster"]).rpartition("/")[2]
    here = {"ecs:cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{name}"}
    tasks = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{name}"
    if call.operation == "RunTask":
        family = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{given['taskDefinition']}:7"
        yield Right("ecs:RunTask", family, here)
        yield Right("ecs:TagResource", f"{tasks}/new", {"ecs:CreateAction": "RunTask"})
        for role in ("execution", "task"):
            passed = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
            yield Right("iam:PassRole", f"arn:aws:iam::111122223333:role/{role}", passed)
        assert given["tags"]
    elif call.operation == "ListTasks":
        yield Right("ecs:ListTasks", "*", here)
    else:
        assert call.operation in ("DescribeTasks", "StopTask"), call
        for task in given.get("tasks", [given.get("task")]):
            assert str(task).startswith(f"{tasks}/")
            yield Right(f"ecs:{call.operation}", str(task), here)


def _of_kms(rights: tuple[Right, ...], key: str) -> Iterator[Right]:
    for right in rights:
        if right.action in ("s3:PutObject", "sqs:SendMessage", "sns:Publish"):
            yield Right("kms:GenerateDataKey", key)
        if right.action in ("s3:GetObject", "s3:GetObjectVersion", "sqs:SendMessage", "secretsmanager:GetSecretValue"):
            yield Right("kms:Decrypt", key)

"""Services of AWS that speak JSON: every call is a POST of a JSON object to `/`, and a header names its operation.

Calls are signed and sent without the SDK, as those of `shared.adapters.s3_objects`, and the SDK finds the same things for them.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from shared.adapters import aws_place, aws_sdk
from shared.adapters.aws_http import AwsHttp, AwsRequest, Patience, Place, RefusedRequest
from shared.adapters.aws_sdk import AwsClient, OnDemand
from shared.adapters.aws_transport import HttpAnswer, NoWholeAnswer
from shared.domain import strict_json

_LARGEST_ANSWER: Final = 8 << 20  # a page of a table has at most 1 MB, in base64 and with names less than 2 MB
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `target` is the first part of the header that names an operation.

    `listing` is the name of an operation that needs no parameters, and `ask` calls it: the SDK is asked where this request goes.
    """

    name: str
    target: str
    listing: str
    ask: Callable[[AwsClient], object]


TABLES: Final = Service("dynamodb", "DynamoDB_20120810", "ListTables", lambda client: client.list_tables())
QUEUES: Final = Service("sqs", "AmazonSQS", "ListQueues", lambda client: client.list_queues())


class AwsJson:
    """Calls of one service. Safe for threads. Where it is and who signs is found at the first call."""

    def __init__(self, service: Service, patience: Patience, *, endpoint_url: str | None, region: str | None) -> None:
        self._service = service
        self._patience = patience
        self._endpoint_url = endpoint_url
        self._region = region
        self._way = OnDemand(self._new_way)

    def call(self, operation: str, given: Mapping[str, object]) -> Mapping[str, Any]:
        """The answer to a call. Raises one of `shared.adapters.aws_http.FAILURES`."""
        way: AwsHttp = self._way()
        headers = {"content-type": _CONTENT_TYPE, "x-amz-target": f"{self._service.target}.{operation}"}
        body = json.dumps(given, separators=(",", ":")).encode()
        answer = way.send(AwsRequest(operation, "POST", "/", headers=headers, body=body))
        found = _object_in(answer)
        if found is None:
            raise NoWholeAnswer("not a JSON object")
        return found

    def _new_way(self) -> AwsHttp:
        """How calls reach the service. Raises SdkFailed."""
        place = (
            aws_place.in_environment(self._service.name, os.environ, region=self._region, url_in=self._url_in)
            or self._found_by_sdk()
        )
        return AwsHttp(place, self._patience, largest=_LARGEST_ANSWER, refusal_of=_refusal_in)

    def _url_in(self, region: str) -> str | None:
        if self._endpoint_url is not None:
            return aws_place.ordinary_endpoint(self._endpoint_url)
        ordinary = aws_place.has_ordinary_endpoints(region)
        return f"https://{self._service.name}.{region}.amazonaws.com" if ordinary else None

    def _found_by_sdk(self) -> Place:
        session = OnDemand(aws_sdk.session)
        found = aws_place.found_by_sdk(
            lambda: self._client(session()), session, self._service.listing, self._service.ask
        )
        return replace(found, url=found.url.rstrip("/"))

    def _client(self, session: aws_sdk.AwsSession) -> AwsClient:
        return aws_sdk.client(
            self._service.name,
            connect_seconds=self._patience.connect_seconds,
            read_seconds=self._patience.read_seconds,
            attempts=self._patience.attempts,
            endpoint_url=self._endpoint_url,
            region=self._region,
            session=session,
        )


def _refusal_in(answer: HttpAnswer) -> RefusedRequest:
    """The error of an answer. One without a readable body has its status as its code."""
    said = _object_in(answer) or {}
    # as in `com.amazonaws.dynamodb.v20120810#ThrottlingException`, or with a URL behind a colon
    code = str(said.get("__type") or said.get("code") or "").rpartition("#")[2].partition(":")[0]
    message = str(said.get("message") or said.get("Message") or "")
    return RefusedRequest(answer, code or str(answer.status), message)


def _object_in(answer: HttpAnswer) -> Mapping[str, Any] | None:
    try:
        found = strict_json.foreign(answer.body, limit=_LARGEST_ANSWER)
    except strict_json.UnreadableJson:
        return None
    return found if isinstance(found, dict) else None

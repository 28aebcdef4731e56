"""Requests as an HTTP API hands them to a function (payload format 2.0), and what such a function answered."""

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

OPERATOR = "arn:aws:sts::123456789012:assumed-role/Operator/somebody"


def request(
    method: str,
    path: str,
    body: Any = None,
    *,
    caller: str | None = None,
    claims: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    encoded: bool = False,
    route: str | None = None,
    parameters: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The event of one request; `caller` as IAM has verified it, `claims` as the authorizer has handed them on.

    `route` and `parameters` are the path of the gateway's route and what it found in it.
    """
    authorizer: dict[str, Any] = {}
    if caller is not None:
        authorizer["iam"] = {
            "accessKey": "AKIAEXAMPLE",
            "accountId": "123456789012",
            "callerId": "AROAEXAMPLE:somebody",
            "principalOrgId": None,
            "userArn": caller,
            "userId": "AROAEXAMPLE:somebody",
        }
    if claims is not None:
        authorizer["lambda"] = claims
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    context: dict[str, Any] = {
        "accountId": "123456789012",
        "apiId": "api",
        "domainName": "api.execute-api.eu-west-1.amazonaws.com",
        "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"},
        "requestId": "request-1",
        "routeKey": f"{method} {route or path}",
        "stage": "$default",
        "time": "10/Jan/2026:12:00:00 +0000",
        "timeEpoch": 1768046400000,
    }
    if authorizer:
        context["authorizer"] = authorizer
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {route or path}",
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
        "headers": {"content-type": "application/json", **(headers or {})},
        "requestContext": context,
        "isBase64Encoded": encoded,
    }
    if query:
        event["queryStringParameters"] = query
    if parameters is not None:
        event["pathParameters"] = parameters
    if raw:
        event["body"] = base64.b64encode(raw).decode() if encoded else raw.decode(errors="surrogateescape")
    return event


@dataclass(frozen=True)
class Answer:
    """What a function answered."""

    status: int
    document: Any
    headers: dict[str, str]

    @classmethod
    def of(cls, answered: dict[str, Any]) -> "Answer":
        body = answered.get("body") or ""
        headers = {name.lower(): value for name, value in (answered.get("headers") or {}).items()}
        return cls(answered["statusCode"], json.loads(body) if body else None, headers)

    @property
    def is_problem(self) -> bool:
        """Whether it is a well-formed problem document of its own status that nobody keeps and that says what to do."""
        return (
            self.headers["content-type"] == "application/problem+json"
            and self.headers["cache-control"] == "no-store"
            and self.document["status"] == self.status
            and bool(self.document["title"] and self.document["detail"] and self.document["type"])
            and bool(self.document["hint"])
        )


class Context:
    """A Lambda context."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "request-1"

    def __init__(self, remaining_ms: int = 55_000) -> None:
        self._remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining_ms

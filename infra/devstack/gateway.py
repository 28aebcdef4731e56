"""A local API Gateway in front of functions: builds their events, verifies SigV4 signatures and calls the authorizer.

It reads the routes and their authorizers from the transformed template, so a route without an authorizer there has none here
either. It is meant for the loopback interface only.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import parse_qsl, unquote

from starlette.responses import Response

from infra.listening.callers import Callers
from infra.listening.door import opened
from infra.listening.guard import Guard, Head, Request
from infra.listening.limits import Limits
from shared.adapters.escalation_links import PATH

Invoke = Callable[[str, Any], Any]

REGION: Final = "us-east-1"
_SERVICE: Final = "execute-api"
_ANY: Final = "ANY"
LARGEST_BODY: Final = 10 << 20
"""The most bytes of a request that API Gateway takes."""
_LIMITS: Final = Limits(body=LARGEST_BODY)
_CALLERS: Final = Callers(own_pages=True)
_SKEW: Final = timedelta(minutes=5)
_ORIGIN: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_CREDENTIAL: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class IamCaller:
    """An IAM principal with its access key."""

    access_key: str
    secret_key: str
    arn: str


@dataclass(frozen=True, slots=True)
class Route:
    """One route, the function that answers it, and its authorizer (`AWS_IAM`, another name, or None)."""

    method: str
    path: str
    function: str
    guard: str | None

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The path parameters of a request to this route; None if the request is for another route.

        API Gateway decodes a path before it compares it, so an encoded slash separates segments like any other.
        """
        if self.method not in (method, _ANY):
            return None
        found = _pattern(self.path).fullmatch(unquote(path))
        return None if found is None else found.groupdict()

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """The order in which routes are tried: the exact method first, a path that takes everything last, the longest first."""
        return ("+}" in self.path, self.method == _ANY, -len(self.path))


@cache
def _pattern(path: str) -> re.Pattern[str]:
    """What a request's decoded path must be for a route with this path."""
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
    return re.compile(re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+)", pattern), re.DOTALL)


def routes_of(template: Mapping[str, Any]) -> tuple[Route, ...]:
    """The routes of a transformed template's HTTP API, in the order in which they are tried."""
    [api] = [each for each in template["Resources"].values() if each["Type"] == "AWS::ApiGatewayV2::Api"]
    functions = [name for name, each in template["Resources"].items() if each["Type"] == "AWS::Lambda::Function"]
    found = []
    for path, methods in api["Properties"]["Body"]["paths"].items():
        for method, operation in methods.items():
            uri = json.dumps(operation["x-amazon-apigateway-integration"]["uri"])
            [guards] = operation.get("security") or [{}]
            function = next(name for name in functions if name in uri)
            named = _ANY if method == "x-amazon-apigateway-any-method" else method.upper()
            found.append(Route(named, path, function, next(iter(guards), None)))
    return tuple(sorted(found, key=lambda route: route.rank))


class Gateway:
    """Routes and authorizes requests. `serving` makes it listen on a port."""

    def __init__(
        self, routes: tuple[Route, ...], invoke: Invoke, callers: tuple[IamCaller, ...], *, authorizer: str
    ) -> None:
        self._routes = routes
        self._invoke = invoke
        self._callers = {caller.access_key: caller for caller in callers}
        self._authorizer = authorizer

    def refused(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
        """The answer to a request without credentials on a route that requires some. They are judged with the body."""
        path, _ = parts_of(target)
        route = next((route for route in self._routes if route.match(method, path) is not None), None)
        if route is None or route.guard is None or "authorization" in headers:
            return None
        return _said(403, "Forbidden") if route.guard == "AWS_IAM" else _said(401, "Unauthorized")

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The answer to a request: the function's, or the gateway's own if it refuses the request."""
        path, query = parts_of(target)
        for route in self._routes:
            parameters = route.match(method, path)
            if parameters is not None:
                break
        else:
            return _said(404, "Not Found")
        event = event_of(method, path, query, headers, body=body, route=route, parameters=parameters)
        if route.guard == "AWS_IAM":
            caller = self._signed_by(method, target, headers, body)
            if caller is None:
                return _said(403, "Forbidden")
            event["requestContext"]["authorizer"] = {"iam": {"userArn": caller.arn, "accessKey": caller.access_key}}
        elif route.guard is not None:
            if "authorization" not in headers:
                return _said(401, "Unauthorized")
            judged = self._invoke(
                self._authorizer, {**event, "type": "REQUEST", "identitySource": [headers["authorization"]]}
            )
            if not isinstance(judged, dict) or judged.get("isAuthorized") is not True:
                return _said(403, "Forbidden")
            event["requestContext"]["authorizer"] = {"lambda": judged["context"]}
        answered = self._invoke(route.function, event)
        if not isinstance(answered, dict) or "statusCode" not in answered:
            return _said(500, "Internal Server Error")
        return answered

    def _signed_by(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> IamCaller | None:
        """The caller who signed this request; None if the signature, which is computed again, differs or is too old."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        claimed = _CREDENTIAL.fullmatch(headers.get("authorization", ""))
        at = headers.get("x-amz-date", "")
        if claimed is None or claimed[1] not in self._callers or (claimed[3], claimed[4]) != (REGION, _SERVICE):
            return None
        try:
            signed_at = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None
        names = claimed[5].split(";")
        if abs(datetime.now(UTC) - signed_at) > _SKEW or "host" not in names or "x-amz-date" not in names:
            return None
        caller = self._callers[claimed[1]]
        shown = {name: headers[name] for name in names if name in headers}
        request = AWSRequest(method, f"http://{headers['host']}{target}", data=body, headers=shown)
        request.context["timestamp"] = at
        signer = SigV4Auth(Credentials(caller.access_key, caller.secret_key), _SERVICE, REGION)
        canonical = signer.canonical_request(request)
        expected = signer.signature(signer.string_to_sign(request, canonical), request)
        return caller if expected == claimed[6] else None


def parts_of(target: str) -> tuple[str, str]:
    """The path and the query of a request's target, both still in percent encoding. Any text is a target."""
    text = _ORIGIN.sub("", target, count=1).partition("#")[0]
    path, _, query = text.partition("?")
    return path if path.startswith("/") else f"/{path}", query


class Answering(Protocol):
    """Anything that answers requests."""

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The answer with status, headers and body, in the format of a function's answer to an HTTP API."""
        ...


@runtime_checkable
class Refusing(Protocol):
    """Something that answers requests and can refuse some of them before it has read their bodies."""

    def refused(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
        """The answer to a request that is refused, whatever its body; None if the body matters."""
        ...


@runtime_checkable
class Joining(Answering, Protocol):
    """Something that answers some requests together, with those that arrive at the same time."""

    def joins(self, method: str, target: str) -> bool:
        """Whether a request that was not refused is answered by `answer_all`."""
        ...

    def answer_all(self, asked: Sequence[tuple[str, str, Mapping[str, str], bytes]]) -> Sequence[dict[str, Any]]:
        """The answers to several requests, each as `answer` takes and gives it."""
        ...


class _Front:
    """Lets something that answers as functions do listen on a port of the loopback interface."""

    def __init__(self, gateway: Answering) -> None:
        self._gateway = gateway
        self._joining = gateway if isinstance(gateway, Joining) else None

    def admit(self, head: Head) -> Response | None:
        """Refuse the pages of other sites, foreign names of this machine (DNS rebinding), and whom the gateway refuses."""
        followed = head.method == "GET" and parts_of(head.target)[0].startswith(PATH)
        problem = _CALLERS.problem(head.headers, reached=head.reached, linked=followed)
        if problem is not None:
            return _response(_said(403, problem))
        refused = None
        if isinstance(self._gateway, Refusing):
            refused = self._gateway.refused(head.method, head.target, head.headers)
        return None if refused is None else _response(refused)

    def answer(self, request: Request) -> Response:
        """The gateway's answer."""
        head = request.head
        return _response(self._gateway.answer(head.method, head.target, head.headers, request.body))

    def joins(self, head: Head) -> bool:
        """Whether the gateway answers a request together with others."""
        return self._joining is not None and self._joining.joins(head.method, head.target)

    def answer_all(self, requests: Sequence[Request]) -> Sequence[Response]:
        """The gateway's answers."""
        if self._joining is None:
            return [self.answer(each) for each in requests]
        asked = [(each.head.method, each.head.target, each.head.headers, each.body) for each in requests]
        return [_response(answered) for answered in self._joining.answer_all(asked)]


@contextmanager
def serving(gateway: Answering, *, port: int = 0) -> Iterator[str]:
    """Listen on a port of the loopback interface while the `with` block runs; its value is the URL. Raises Refused."""
    with opened(Guard(_Front(gateway), _LIMITS), port=port, limits=_LIMITS) as door:
        yield door.url


def _response(answered: Mapping[str, Any]) -> Response:
    content = str(answered.get("body") or "").encode()
    if answered.get("isBase64Encoded"):
        content = base64.b64decode(content)
    return Response(content, answered["statusCode"], answered.get("headers"))


def event_of(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    body: bytes,
    route: Route,
    parameters: Mapping[str, str],
) -> dict[str, Any]:
    """The event of a request in payload format 2.0."""
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{route.method} {route.path}",
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": dict(headers),
        "pathParameters": dict(parameters),
        "requestContext": _request_context(method, path, route),
        "isBase64Encoded": False,
    }
    if query:
        event["queryStringParameters"] = dict(parse_qsl(query, keep_blank_values=True))
    try:
        event["body"] = body.decode()
    except UnicodeDecodeError:
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return event


def _request_context(method: str, path: str, route: Route) -> dict[str, Any]:
    return {
        "accountId": "123456789012",
        "apiId": "local",
        "http": {
            "method": method,
            "path": unquote(path),
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "",
        },
        "requestId": f"local-{threading.get_ident()}-{datetime.now(UTC).timestamp()}",
        "routeKey": f"{route.method} {route.path}",
        "stage": "$default",
    }


def _said(status: int, message: str) -> dict[str, Any]:
    """An answer of the gateway itself."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"message": message}),
    }

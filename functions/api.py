"""What both APIs share: routing, and one way to answer every request, including an invalid one.

Every answer carries the request's id in a header. A read carries an ETag; if the caller already has that version, the answer is
304. HEAD is a read without its body. Every refusal is a problem document that says what to do. Our own strict decoder decodes
bodies, so that hostile JSON is refused before any other code reads it.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from functions import audit, log, paths, problems
from functions.access import SignedRequest, request_of
from functions.audit import Trail
from functions.headers import header
from functions.queries import Query, query_of
from shared.domain import shapes, strict_json
from shared.domain.errors import Refused, TownError
from shared.domain.field_errors import first_error, what_is_expected
from shared.ports.steps import Steps, drive
from shared.questions.pages import carried

M = TypeVar("M", bound=BaseModel)
Q = TypeVar("Q", bound=Query)
Reply = dict[str, Any]
"""What a function returns to an HTTP API: statusCode, headers, body."""

BODY_SIZE: Final = 64 * 1024
NO_ROUTE: Final = "there is no such route"
SEE_ROUTES: Final = "GET /openapi.json describes every route"
ANSWER_SIZE: Final = 6_000_000
"""The longest body, counted as a Lambda returns it: a little less than the 6 MB that it may return."""
REQUEST_ID: Final = "X-Request-Id"
_REVALIDATE: Final = {"Cache-Control": "private, no-cache"}
_DEPTH: Final = 32
_JSON: Final = "application/json"
_ETAGS: Final = re.compile(r'(?:W/)?("[^"]*")')
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Call(Generic[Q]):
    """One request to a route: its path parameters, its query, and the event of the gateway. `signed` is None with a town token.

    `trail` is for the audit line.
    """

    event: Mapping[str, Any]
    ids: Mapping[str, str]
    query: Q
    signed: SignedRequest | None
    trail: Trail = field(default_factory=Trail)

    @property
    def town_id(self) -> str:
        """The town in the path."""
        return self.ids["townId"]

    @property
    def body(self) -> bytes:
        """The bytes of the body. Raises Refused (400, 415)."""
        content = body_of(self.event)
        if content:
            require_json(self.event)
        return content


Guard = Literal["sigv4", "townToken", "link"]
"""Who verifies the caller: the gateway, or with `link` the route itself, which people open in a browser."""


@dataclass(frozen=True, slots=True)
class Route(Generic[Q]):
    """A route. `admit` checks the caller before the query is read: it returns the verified caller, or None for a town token.

    The docstring of `answer` describes the route in the OpenAPI document.
    """

    method: Literal["GET", "PUT", "POST"]
    path: str
    summary: str
    admit: Callable[[Mapping[str, Any], Mapping[str, str]], SignedRequest | None]
    answer: Callable[[Call[Q]], Reply | Steps[Reply]]
    query: type[Q]
    guard: Guard = "sigv4"


BESIDES: Final[tuple[tuple[str, str, str, Guard], ...]] = (
    ("HEAD", "/api/towns", "events", "sigv4"),
    ("HEAD", "/api/archived-towns", "archive", "sigv4"),
    ("HEAD", "/acknowledge/{link}", "redrive", "link"),
    ("ANY", "/{proxy+}", "debug", "sigv4"),
)
"""Additional routes of the gateway, their functions and guards: HEAD, and every request that matches no route."""


def run(
    routes: Sequence[Route[Any]],
    event: Any,
    tell: Callable[[Exception | SystemExit], object],
    *,
    others: Mapping[str, tuple[str, ...]] = {},
    write_line: Callable[[str], object] = log.write_line,
) -> Reply:
    """Answer a request, as `answering` does."""
    return drive(answering(routes, event, tell, others=others, write_line=write_line))


def answering(
    routes: Sequence[Route[Any]],
    event: Any,
    tell: Callable[[Exception | SystemExit], object],
    *,
    others: Mapping[str, tuple[str, ...]] = {},
    write_line: Callable[[str], object] = log.write_line,
) -> Steps[Reply]:
    """Answer a request. This is the error boundary: an unexpected error is reported and answered with 500, without details.

    `others` are the paths of other functions with their methods, because requests that match no route arrive here. Every request
    leaves an audit line.
    """
    context = event.get("requestContext") or {}
    method = str((context.get("http") or {}).get("method", ""))
    found, trail = paths.found_in(event, {*(route.path for route in routes), *others}), Trail()
    reply = yield from _reply(routes, event, tell, found=found, method=method, others=others, trail=trail)
    reply["headers"][REQUEST_ID] = _UNPRINTABLE.sub("", str(context.get("requestId", "")))[:128] or "none"
    town_id = None if found is None else found[1].get("townId")
    status = reply["statusCode"]
    write_line(audit.of_request(event, status, town_id=town_id, known_path=found is not None, trail=trail))
    return {**reply, "body": ""} if method == "HEAD" else reply


def _reply(
    routes: Sequence[Route[Any]],
    event: Mapping[str, Any],
    tell: Callable[[Exception | SystemExit], object],
    *,
    found: tuple[str, dict[str, str]] | None,
    method: str,
    others: Mapping[str, tuple[str, ...]],
    trail: Trail,
) -> Steps[Reply]:
    """The answer to a request, whatever happens."""
    try:
        return (yield from _answered(routes, event, found, method, others, trail))
    except TownError as error:
        reply = problems.of_error(error)
        if reply["statusCode"] == 500:  # the caller sees only its type, so the operator must see the rest
            log.error_told("request.broken", error)
        return reply
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary: the error is reported and not shown
        tell(error)
        detail = "the request could not be answered; the error was reported to the operator"
        return problems.response(500, detail, hint=problems.TELL_THE_OPERATOR)


def _answered(
    routes: Sequence[Route[Any]],
    event: Mapping[str, Any],
    found: tuple[str, dict[str, str]] | None,
    method: str,
    others: Mapping[str, tuple[str, ...]],
    trail: Trail,
) -> Steps[Reply]:
    wanted = "GET" if method == "HEAD" else method
    if found is None:
        request_of(event)
        raise Refused(NO_ROUTE, status=404, hint=SEE_ROUTES)
    path, ids = found
    route = next((each for each in routes if (each.method, each.path) == (wanted, path)), None)
    if route is None:
        request_of(event)
        return _other_method(method, {*others.get(path, ()), *(each.method for each in routes if each.path == path)})
    signed = route.admit(event, ids)
    # programs for mail and chats add parameters of their own to links, which must open all the same
    query = route.query() if route.guard == "link" else query_of(event, route.query)
    answered = route.answer(Call(event, ids, query, signed, trail))
    reply = (yield from answered) if isinstance(answered, Generator) else answered
    return _tagged(reply, event) if wanted == "GET" and route.guard != "link" else reply


def _other_method(method: str, methods: set[str]) -> Reply:
    """The answer to OPTIONS, and to a method that a path does not have."""
    allowed = ", ".join(sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}))
    if method == "OPTIONS":
        return {"statusCode": 204, "headers": {"Allow": allowed, **problems.NO_STORE}, "body": ""}
    refusal = problems.response(405, "this path does not support this method", hint=f"use one of: {allowed}")
    refusal["headers"]["Allow"] = allowed
    return refusal


def _tagged(reply: Reply, event: Mapping[str, Any]) -> Reply:
    """A read with its ETag, a digest of the body; or 304 without a body if the caller already has it."""
    tag = f'"{hashlib.sha256(reply["body"].encode()).hexdigest()[:32]}"'
    headers = reply["headers"] | {"ETag": tag, **_REVALIDATE}
    known = header(event, "if-none-match")
    if known.strip() == "*" or tag in _ETAGS.findall(known):
        del headers["Content-Type"]
        return {"statusCode": 304, "headers": headers, "body": ""}
    return {**reply, "headers": headers}


def answer(status: int, value: object) -> Reply:
    """A JSON answer. Raises Refused (413) if it is longer than a Lambda may return."""
    return answer_text(
        json.dumps(value if isinstance(value, dict) else shapes.document(value), separators=(",", ":")), status=status
    )


def answer_text(body: str, *, status: int = 200) -> Reply:
    """A JSON answer from JSON text. Raises Refused (413)."""
    if carried(body) > ANSWER_SIZE:
        hint = "request a smaller `limit` or a shorter window, use the lists instead of the status, or use townctl --bucket"
        raise Refused("the answer would be too large", status=413, hint=hint)
    headers = {"Content-Type": _JSON, **problems.NO_STORE}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def body_of(event: Mapping[str, Any]) -> bytes:
    """The bytes of the request. Raises Refused."""
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode(errors="surrogatepass")
    try:
        return base64.b64decode(str(body), validate=True)
    except (binascii.Error, ValueError):
        hint = "send the body as UTF-8 text with the content type application/json"
        raise Refused("the body is not valid base64", status=400, path="body", hint=hint) from None


def require_json(event: Mapping[str, Any]) -> None:
    """Refuse a body that is said to be something else than JSON, as the forms of web pages are. Raises Refused (415)."""
    said = header(event, "content-type").partition(";")[0].strip().lower()
    if said not in ("", _JSON):
        hint = f"send the body as JSON with the header `Content-Type: {_JSON}`, or without that header"
        raise Refused("this content type is not accepted", status=415, path="Content-Type", hint=hint)


def json_of(body: bytes, *, limit: int = BODY_SIZE) -> Any:
    """The decoded body; None if it is empty. Raises Refused: 400 if it is not strict JSON, 413 if it is too long."""
    return strict_json.parse(body, limit=limit, depth=_DEPTH) if body.strip() else None


def read(model: type[M], body: bytes, *, limit: int = BODY_SIZE) -> M:
    """The body as a model; an empty body counts as an empty object. Raises Refused: 400, 413 as `json_of`, 422."""
    value = json_of(body, limit=limit)
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        problem = first_error(error)
        hint = what_is_expected(model, problem)
        raise Refused(problem.message, status=422, path=problem.place or "body", hint=hint) from None

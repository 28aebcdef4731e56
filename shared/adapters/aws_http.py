"""Signed requests over connections that are kept, a tenth to a third of what the SDK computes for each.

A request that got no answer, or one that says that the next may be different, is sent again: three attempts in all, each with 2 s
to connect and 10 s of silence, and pauses that grow. So a call ends within 40 s, and our own success may be answered with 412.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from shared.adapters import aws_sdk, aws_transport
from shared.adapters.aws_sdk import PASSING, THROTTLED, SdkCall
from shared.adapters.aws_signature import Credentials, Scope, signed
from shared.adapters.aws_transport import (
    AnswerTooLarge,
    HttpAnswer,
    NotConnected,
    NoWholeAnswer,
    Server,
    WireRequest,
)
from shared.domain.errors import TownError

_PASSING_STATUS: Final = frozenset({429, 500, 502, 503, 504})
_PAUSE_SECONDS: Final = 0.05
_PAUSE_OF_A_THROTTLE_SECONDS: Final = 1.0


class SdkFailed(Exception):
    """The SDK could not say where a service is, or who signs. Its error is the cause."""


class RefusedRequest(Exception):
    """An answer that is not a success. `response` has the form in which the SDK describes one (shared.adapters.aws_sdk)."""

    def __init__(self, answer: HttpAnswer, code: str, message: str, region: str = "") -> None:
        super().__init__(f"{answer.status} {code}")
        self.status, self.request_id = answer.status, answer.request_id
        self.response: Mapping[str, Any] = {
            "Error": {"Code": code, "Message": message, "Region": region},
            "ResponseMetadata": {"HTTPStatusCode": answer.status, "HTTPHeaders": answer.headers},
        }


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests go, and who signs them.

    `url` has the base of every path, not percent-encoded; `ca_bundle` is a file of the authorities that are trusted.
    """

    url: str
    scope: Scope
    credentials: Callable[[], Credentials] = field(repr=False)
    ca_bundle: str | None = None

    @property
    def is_aws(self) -> bool:
        """Whether AWS itself answers there, not another store."""
        return ".amazonaws.com" in str(urlsplit(self.url).hostname)


@dataclass(frozen=True, slots=True)
class AwsRequest:
    """One request. `operation` is its name in the log; `path` and the parameters are not yet percent-encoded."""

    operation: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one attempt may take, and how many there are."""

    connect_seconds: float
    read_seconds: float
    attempts: int


class AwsHttp:
    """Sends requests to one place. Safe for threads. `refusal_of` reads the error of an answer that is not a success."""

    def __init__(
        self,
        place: Place,
        patience: Patience,
        *,
        largest: int,
        refusal_of: Callable[[HttpAnswer], RefusedRequest],
        hear: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.place = place
        self._attempts = patience.attempts
        self._largest = largest
        self._refusal_of = refusal_of
        self._hear = hear
        self._server = Server(urlsplit(place.url), patience.connect_seconds, patience.read_seconds, place.ca_bundle)
        self._transport = aws_transport.transport_to(self._server)

    def send(self, request: AwsRequest) -> HttpAnswer:
        """The answer to a request. Raises RefusedRequest, NotConnected, NoWholeAnswer, AnswerTooLarge."""
        begun, retries = time.monotonic(), 0
        outcome = self._outcome(request)
        while retries + 1 < self._attempts and _may_pass(outcome):
            time.sleep(random.random() * _longest_pause(outcome) * 2**retries)  # noqa: S311 - jitter, not a secret
            retries += 1
            outcome = self._outcome(request)
        _tell(request, self.place, outcome, retries=retries, seconds=time.monotonic() - begun)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _outcome(self, request: AwsRequest) -> "_Outcome":
        try:
            answer = self._attempt(request)
        except (NotConnected, NoWholeAnswer, AnswerTooLarge) as error:
            return error
        return answer if answer.status < 300 else self._refusal_of(answer)

    def _attempt(self, request: AwsRequest) -> HttpAnswer:
        path = quote(f"{self._server.parts.path}{request.path}") or "/"
        query = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(request.query.items())
        )
        headers = signed(
            request.method,
            path,
            query,
            {**request.headers, "host": self._server.host},
            request.body,
            credentials=self.place.credentials(),
            scope=self.place.scope,
            at=datetime.now(UTC),
        )
        headers["user-agent"] = "town-reconciler"
        wire = WireRequest(request.method, f"{path}?{query}" if query else path, headers, request.body)
        answer = self._transport.exchange(wire, largest=self._largest)
        self._hear(answer.headers.get("date", ""))
        return answer


FAILURES: Final = (RefusedRequest, NotConnected, NoWholeAnswer, AnswerTooLarge, SdkFailed)
"""How a request fails."""

_Outcome = HttpAnswer | RefusedRequest | NotConnected | NoWholeAnswer | AnswerTooLarge


def unanswered(error: Exception, at: str, kind: str, *, name: str, form: str) -> TownError | None:
    """The error for a request that got no answer; None for one that was answered.

    `kind` is what was asked, such as a bucket; `form` says how its names look.
    """
    if isinstance(error, NotConnected):
        return aws_sdk.unreachable(at, str(error), kind, name=name)
    if isinstance(error, NoWholeAnswer | AnswerTooLarge):
        return aws_sdk.incomplete(at, str(error))
    if isinstance(error, SdkFailed) and isinstance(error.__cause__, Exception):
        return aws_sdk.without_answer(error.__cause__, at, kind, name=name, form=form)
    return None


def without_userinfo(url: str) -> str:
    """A URL as messages may show it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _may_pass(outcome: _Outcome) -> bool:
    """Whether the same request may have another outcome now."""
    if isinstance(outcome, RefusedRequest):
        return aws_sdk.status_of(outcome) in _PASSING_STATUS or aws_sdk.code_of(outcome) in PASSING
    return isinstance(outcome, NotConnected | NoWholeAnswer)


def _longest_pause(outcome: _Outcome) -> float:
    is_throttled = isinstance(outcome, RefusedRequest) and aws_sdk.code_of(outcome) in THROTTLED
    return _PAUSE_OF_A_THROTTLE_SECONDS if is_throttled else _PAUSE_SECONDS


def _tell(request: AwsRequest, place: Place, outcome: _Outcome, *, retries: int, seconds: float) -> None:
    aws_sdk.tell_watchers(
        lambda: SdkCall(
            place.scope.service,
            request.operation,
            status=outcome.status if isinstance(outcome, HttpAnswer | RefusedRequest) else 0,
            took_ms=round(seconds * 1000),
            retries=retries,
            request_id=outcome.request_id if isinstance(outcome, HttpAnswer | RefusedRequest) else "",
        )
    )

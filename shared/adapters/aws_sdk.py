"""The parts of boto3 that every AWS adapter needs: a client, its exceptions, and the content of an error answer, or of none.

Importing boto3 takes a quarter of a second, so it is imported at its first use.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

from shared.domain.errors import AccessDenied, Refused, StoreNotFound, StoreUnavailable, TownError

THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
"""Codes of answers that refuse a request because there are too many."""

PASSING: Final = THROTTLED | {"RequestTimeout", "RequestTimeTooSlow", "RequestTimeoutException"}
"""Codes of answers that may be different the next time."""

CLOCK: Final = "correct this machine's clock: AWS refuses requests whose time is some minutes off"
"""What to do if an answer `says_clock_is_off`."""

OPEN: Final = "try again; the request may or may not have been carried out"
"""What to do after a request whose outcome is unknown."""

CREDENTIALS: Final = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
)
"""Codes of answers that refuse the credentials themselves."""

_LONGEST_SENTENCE: Final = 300
_DATE_HOLDS_SECONDS: Final = 5.0

AwsClient = Any
"""A boto3 client. Its methods are generated at run time from descriptions of the services, so it has no static type."""

AwsSession = Any
"""A session of botocore: the settings and credentials of this user. It has no static type either."""


def session() -> AwsSession:
    """A new session, for a client and its credentials."""
    from botocore.session import get_session  # noqa: PLC0415 - slow; only at the first use

    return get_session()


def client(
    service: str,
    *,
    connect_seconds: float,
    read_seconds: float,
    attempts: int,
    endpoint_url: str | None = None,
    region: str | None = None,
    session: AwsSession | None = None,
    **more: object,
) -> AwsClient:
    """A thread-safe client that makes at most `attempts` attempts for each call.

    It has its own session if none is given, because the default session is not thread-safe while a client is created.
    """
    import boto3  # noqa: PLC0415 - slow; only at the first use
    from botocore.config import Config  # noqa: PLC0415 - as boto3

    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    settings = Config(connect_timeout=connect_seconds, read_timeout=read_seconds, retries=retries, **more)
    of = boto3.session.Session(botocore_session=session)
    made = of.client(service, endpoint_url=endpoint_url, region_name=region, config=settings)
    for watcher in _watchers:
        _Watch(service, watcher).over(made)
    return made


class OnDemand:
    """A client that is made at its first use, by one thread for all: importing the SDK is slow, and most runs need few services."""

    def __init__(self, make: Callable[[], AwsClient]) -> None:
        self._make = make
        self._lock = Lock()
        self.made: AwsClient = None
        """The client; None before its first use."""

    def __call__(self) -> AwsClient:
        """The client."""
        with self._lock:
            if self.made is None:
                self.made = self._make()
            return self.made


class NotSent(Exception):
    """A request that was made only to be looked at."""


@dataclass(frozen=True, slots=True)
class SdkCall:
    """One call of a service as it ended. It has nothing of what was asked or answered. `status` is 0 if there was no answer."""

    service: str
    operation: str
    status: int
    took_ms: int
    retries: int
    request_id: str


Watcher = Callable[[SdkCall], object]

_watchers: list[Watcher] = []


def watch_calls(watcher: Watcher) -> None:
    """Tell `watcher` of each call of every client that is made from now on, and of each signed request."""
    _watchers.append(watcher)


def tell_watchers(call: Callable[[], SdkCall]) -> None:
    """Tell all watchers of a request that was made without the SDK. Usually there are none, and `call` is not called."""
    for watcher in _watchers:
        watcher(call())


@dataclass(frozen=True, slots=True)
class _Watch:
    """One watcher of one client."""

    service: str
    watcher: Watcher

    def over(self, client_: AwsClient) -> None:
        """Register for the events of a client."""
        events = client_.meta.events
        events.register("before-call", self._begins)
        events.register("after-call", self._answered)
        events.register("after-call-error", self._failed)

    def _begins(self, *, context: dict[str, Any], **_: object) -> None:
        context["town_reconciler_begun"] = time.monotonic()

    def _answered(self, *, model: Any, parsed: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
        self._tell(str(model.name), context, parsed.get("ResponseMetadata", {}))

    def _failed(self, *, event_name: str, context: dict[str, Any], exception: Exception, **_: object) -> None:
        if not isinstance(exception, NotSent):
            self._tell(event_name.rpartition(".")[2], context, {})

    def _tell(self, operation: str, context: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        took = time.monotonic() - context["town_reconciler_begun"]
        self.watcher(
            SdkCall(
                self.service,
                operation,
                status=int(about.get("HTTPStatusCode") or 0),
                took_ms=round(took * 1000),
                retries=int(about.get("RetryAttempts") or 0),
                request_id=str(about.get("RequestId") or ""),
            )
        )


class AnsweredDate:
    """The clock of a service, as its answers show it.

    A machine that slept meanwhile, or whose clock was set, has heard nothing: then its two clocks disagree about the time passed.
    """

    def __init__(self) -> None:
        self._heard: tuple[str, float, float] | None = None

    def hear(self, said: str) -> None:
        """Remember the header `Date` of an answer, and when it arrived. An answer without one is ignored."""
        if said:
            self._heard = said, time.monotonic(), time.time()

    def now(self) -> datetime | None:
        """The service's time now, if it said it within the last seconds, in a readable form; else None."""
        if self._heard is None:
            return None
        said, arrived, arrived_on_the_wall = self._heard
        passed = time.monotonic() - arrived
        if passed > _DATE_HOLDS_SECONDS or abs(time.time() - arrived_on_the_wall - passed) > 1:
            return None
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - who has heard an answer has imported it

        try:
            at = parsedate_to_datetime(said)
        except ValueError:
            return None
        return None if at.tzinfo is None else at.astimezone(UTC) + timedelta(seconds=passed)


def sdk_errors() -> tuple[type[Exception], ...]:
    """The exception classes that the SDK raises, including ValueError for a malformed endpoint.

    Call it in an `except` clause, so that nothing is imported before an error occurs.
    """
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - imported anyway by now
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    return BotoCoreError, ClientError, Boto3Error, HTTPError, ValueError


def response_of(error: Exception) -> Mapping[str, Any]:
    """The error answer of the service; empty if there was no answer."""
    found: Mapping[str, object] = getattr(error, "response", None) or {}
    return found


def code_of(error: Exception) -> str:
    """The error code of the answer, such as AccessDenied; empty if there was no answer."""
    return str(response_of(error).get("Error", {}).get("Code", ""))


def status_of(error: Exception) -> int:
    """The HTTP status of the answer; 0 if there was no answer or it contains no status."""
    return int(response_of(error).get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def sentence_of(error: Exception) -> str:
    """The message of the answer, on one line and truncated; empty if there is none."""
    said = " ".join(str(response_of(error).get("Error", {}).get("Message") or "").split())
    return said[:_LONGEST_SENTENCE]


def says_clock_is_off(error: Exception) -> bool:
    """Whether the request was refused because its time is not that of the service."""
    of_signature = ("Signature expired", "Signature not yet current")
    return code_of(error) in ("RequestTimeTooSkewed", "RequestExpired") or sentence_of(error).startswith(of_signature)


def without_answer(error: Exception, at: str, kind: str, *, name: str, form: str) -> TownError:
    """A failure before an answer, or instead of one. `kind` is what was asked, such as a bucket, `form` says how its names look."""
    from botocore import exceptions as sdk  # noqa: PLC0415 - only once it was imported anyway

    what = type(error).__name__
    no_credentials = (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError)
    if isinstance(error, (*no_credentials, sdk.ProfileNotFound, sdk.SSOError)):
        hint = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
        return AccessDenied(f"{at}: no usable credentials ({what})", hint=hint)
    if isinstance(error, sdk.NoRegionError):
        return StoreNotFound(
            f"{at}: no region is set", hint=f"name the {kind}'s region: --region, or AWS_DEFAULT_REGION"
        )
    if isinstance(error, (sdk.ParamValidationError, sdk.InvalidRegionError, ValueError)):
        problem = f"{at}: not a valid {kind}, region or endpoint ({what})"
        return Refused(problem, status=400, path=kind, hint=f"{form}; an endpoint is http(s)://HOST")
    if isinstance(
        error, (sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.SSLError, sdk.ProxyConnectionError)
    ):
        return unreachable(at, what, kind, name=name)
    return incomplete(at, what)


def unreachable(at: str, what: str, kind: str, *, name: str) -> TownError:
    """No connection was made. `what` went wrong, `kind` and `name` say what was asked."""
    hint = f"the endpoint of {kind} {name} could not be reached; check endpoint, region and network, then try again"
    return StoreUnavailable(f"{at}: no connection ({what})", hint=hint)


def incomplete(at: str, what: str) -> TownError:
    """No whole answer came back. `what` went wrong."""
    return StoreUnavailable(f"{at}: no complete answer ({what})", hint=OPEN)

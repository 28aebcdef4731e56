"""Sentry. This module is imported, and data is sent, only if the deployment names a DSN.

Alerts of a tick become events with their own fingerprints. Each is captured inside its own scope, so that no event carries the
tags of another. What is sent is a list of what may be sent, not of what is removed: of an exception its type, its place in the code
and the digest of its message, of an alert its own words and the fields that are known here. Free text never leaves: no message of
an exception, no local variable, no line of source, no request, no header, no user, no breadcrumb.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import sentry_sdk
from sentry_sdk.crons import monitor
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

from shared.domain.alert import Alert
from shared.domain.errors import AlreadyTold
from shared.domain.secret_texts import digest_of, masked, named

MONITOR: Final = "town-reconciler"
MONITOR_CONFIG: Final[Any] = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "checkin_margin": 2,  # minutes; a smaller margin reports false misses for a schedule of one minute
    "max_runtime": 1,  # minutes; if longer than the interval, overlapping calls would hide a timeout
    "failure_issue_threshold": 3,
    "recovery_threshold": 1,
}

_KEPT: Final = ("event_id", "timestamp", "level", "platform", "environment", "release", "sdk")
"""The parts of an event that the SDK and the deployment set, and no text of others can reach."""
_CHECK_IN: Final = (*_KEPT, "type", "check_in_id", "monitor_slug", "monitor_config", "status", "duration")
_TAGS: Final = frozenset(
    """
    kind townId name eventType obstacle host error invariant number message scope aws_region
    """.split()  # noqa: SIM905 - a table
)
_IDS: Final = frozenset(
    """
    action agent deaths error error_sha256 event_id event_type events generation key number payload_bytes payload_sha256 retry_count
    scope secret subject tick tick_id townId where aws_request_id function_name function_version log_group
    """.split()  # noqa: SIM905 - a table
)
_WORDS: Final = frozenset(("hint", "message", "places", "subject"))
"""Fields of our own words and of ids. Like the messages of alerts, they are sent as text without secrets."""
_FRAME: Final = ("filename", "function", "module")


def start(dsn: str, *, stage: str, release: str, transport: Any = None) -> None:
    """Start sending. Call it before the first invocation, because it wraps the runtime. `transport` is for tests.

    Raises ValueError, and sends nothing, if this is not a DSN.
    """
    sentry_sdk.init(
        dsn=dsn,
        environment=stage,
        release=release,
        transport=transport,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[AwsLambdaIntegration(timeout_warning=True)],
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_send=scrub,
        before_send_transaction=_nothing,
    )


class SentryAlerts:
    """The Alerts port over Sentry. Events are sent at the end of the invocation."""

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Capture the alerts of one tick, each with its own tags, extra and fingerprint."""
        for alert in alerts:
            with sentry_sdk.isolation_scope() as scope:
                scope.set_tags({"kind": alert.kind, **alert.tags})
                for name, value in alert.extra.items():
                    scope.set_extra(name, value)
                scope.fingerprint = list(alert.fingerprint)
                scope.capture_message(alert.message, level="error")


def tell(error: Exception | SystemExit) -> None:
    """Capture an error that was caught at an error boundary."""
    with sentry_sdk.isolation_scope() as scope:
        scope.capture_exception(error)


@contextmanager
def schedule_watched() -> Iterator[None]:
    """Check in with Sentry's monitor of the schedule: in progress, then ok, or error if the block raises."""
    with monitor(monitor_slug=MONITOR, monitor_config=MONITOR_CONFIG):
        yield


def _nothing(_event: Any, _hint: Mapping[str, object]) -> Any:
    """Transactions are not sent: they carry headers of requests."""
    return None


def scrub(event: Any, hint: Mapping[str, Any]) -> Any:
    """The part of an event that may be sent; None if it only says that a function ended with an error that was told before."""
    if event.get("type") == "check_in":
        return {name: event[name] for name in _CHECK_IN if name in event}
    if any(isinstance(each, AlreadyTold) for each in hint.get("exc_info") or ()):
        return None
    kept = {name: event[name] for name in _KEPT if name in event}
    if isinstance(event.get("message"), str):
        kept["message"] = masked(event["message"])
    for part, known in (("tags", _TAGS), ("extra", _IDS | _WORDS)):
        kept[part] = dict(_fields(event.get(part), known))
    if event.get("fingerprint"):
        kept["fingerprint"] = [named(str(each)) for each in event["fingerprint"]]
    exceptions = (event.get("exception") or {}).get("values") or ()
    if exceptions:
        kept["exception"] = {"values": [_exception(each) for each in exceptions]}
    return kept


def _fields(given: object, known: frozenset[str]) -> Iterator[tuple[str, object]]:
    """The known fields. An unknown one is named by its digest; the fields of an object are taken out of it."""
    for name, value in given.items() if isinstance(given, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _fields(value, known)
        elif name in known:
            yield name, _value(value, as_text=name in _WORDS)
        else:
            yield named(str(name)), f"sha256:{digest_of(repr(value))}"


def _value(value: object, *, as_text: bool) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_value(each, as_text=as_text) for each in value]
    return masked(str(value)) if as_text else named(str(value))


def _exception(given: Mapping[str, Any]) -> dict[str, Any]:
    """An exception without its message. Notes are a part of the message; chained exceptions are exceptions of their own."""
    message = str(given.get("value") or "")
    frames = ((given.get("stacktrace") or {}).get("frames")) or ()
    return {
        "type": named(str(given.get("type") or "unknown")),
        "module": named(str(given.get("module") or "unknown")),
        "value": f"(message of {len(message)} characters, sha256:{digest_of(message)})" if message else "",
        "mechanism": {
            name: value if isinstance(value, bool | int) else named(str(value))
            for name, value in (given.get("mechanism") or {}).items()
            if name in ("type", "handled", "exception_id", "parent_id", "is_exception_group")
        },
        "stacktrace": {"frames": [_frame(each) for each in frames]},
    }


def _frame(given: Mapping[str, Any]) -> dict[str, Any]:
    """A place in the code."""
    place = {name: named(str(given[name])) for name in _FRAME if given.get(name)}
    return {**place, "lineno": given.get("lineno"), "in_app": bool(given.get("in_app"))}

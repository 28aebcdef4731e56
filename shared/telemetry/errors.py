"""Sentry. This module is imported, and data is sent, only if the deployment names a DSN.

Alerts of a tick become events with their own fingerprints. Each is captured inside its own scope, so that no event carries the
tags of another. Everything is scrubbed before it is sent: no local variables, requests, tokens or bodies.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import sentry_sdk
from sentry_sdk.crons import monitor
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

from shared.domain.alert import Alert

REMOVED: Final = "[removed]"
MONITOR: Final = "town-reconciler"
MONITOR_CONFIG: Final[Any] = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "checkin_margin": 2,  # minutes; a smaller margin reports false misses for a schedule of one minute
    "max_runtime": 1,  # minutes; if longer than the interval, overlapping calls would hide a timeout
    "failure_issue_threshold": 3,
    "recovery_threshold": 1,
}

_SENSITIVE: Final = re.compile(
    r"authorization|body|content|cookie|credential|feedback|git_url|instructions|password|prompt|secret|signature|token",
    re.IGNORECASE,
)
_SECRETS: Final = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JWT
    r"|\b(?:gh[opsur]_|github_pat_|glpat-)[\w.-]{10,}"  # those of GitHub's Apps have dots in them
    r"|\b(?:xox[a-z]-|sk-)[\w-]{10,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|(?i:bearer\s+\S+)"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password in a URL
)
_DROPPED: Final = ("request", "user", "breadcrumbs", "modules", "server_name")


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
        max_breadcrumbs=0,
        before_send=scrub,
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


def tell(error: Exception) -> None:
    """Capture an error that was caught at an error boundary."""
    with sentry_sdk.isolation_scope() as scope:
        scope.capture_exception(error)


@contextmanager
def schedule_watched() -> Iterator[None]:
    """Check in with Sentry's monitor of the schedule: in progress, then ok, or error if the block raises."""
    with monitor(monitor_slug=MONITOR, monitor_config=MONITOR_CONFIG):
        yield


def scrub(event: Any, hint: Mapping[str, object]) -> Any:  # noqa: ARG001 - the shape of before_send
    """The part of an event that may be sent."""
    kept = {name: value for name, value in event.items() if name not in _DROPPED}
    for part in ("message", "logentry", "extra", "tags", "contexts"):
        if part in kept:
            kept[part] = scrubbed(kept[part])
    for exception in (kept.get("exception") or {}).get("values", ()):
        exception["value"] = scrubbed(exception.get("value") or "")
        for frame in (exception.get("stacktrace") or {}).get("frames", ()):
            frame.pop("vars", None)
    return kept


def scrubbed(value: object) -> object:
    """The value without fields with sensitive names and without texts that look like secrets, also inside JSON texts."""
    if isinstance(value, Mapping):
        return {name: REMOVED if _SENSITIVE.search(str(name)) else scrubbed(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(each) for each in value]
    if not isinstance(value, str):
        return value
    if value[:1] in ("{", "["):
        inner = _decoded(value)
        if inner is not None:
            return json.dumps(scrubbed(inner), sort_keys=True)
    return _SECRETS.sub(REMOVED, value)


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None

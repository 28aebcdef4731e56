"""Alerts as JSON lines, one for each alert. On a single machine they replace Sentry."""

import contextlib
import json
from collections.abc import Callable, Sequence

from shared.domain.alert import Alert
from shared.domain.times import to_text
from shared.ports.clock import Clock


def line_of(alert: Alert, *, at: str) -> str:
    """One alert as a line of ASCII, so that no content can break the line or the terminal."""
    shown: dict[str, object] = {
        "event": "alert.raised",
        "at": at,
        "kind": alert.kind,
        "message": alert.message,
        "fingerprint": list(alert.fingerprint),
        "tags": dict(alert.tags),
        "extra": dict(alert.extra),
    }
    return json.dumps(shown, default=str)


class AlertLog:
    """The Alerts port over a function that writes one line, such as the `write` of a stream."""

    def __init__(self, write_line: Callable[[str], object], clock: Clock) -> None:
        self._write_line = write_line
        self._clock = clock

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Write the alerts of one tick. If the stream is closed or full, they are dropped, so that a town is not stopped."""
        with contextlib.suppress(OSError, ValueError):
            for alert in alerts:
                self._write_line(line_of(alert, at=to_text(self._clock.now())))

"""Alerts as JSON lines, one each: what a town on one machine has instead of Sentry."""

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from shared.domain.alert import Alert
from shared.domain.times import to_text
from shared.ports.clock import Clock


def line_of(alert: Alert, *, at: str) -> str:
    """One alert as a line, in ASCII, so that no content can break the line or the terminal."""
    shown: dict[str, Any] = {
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
    """The Alerts port over a function that writes one line, such as a stream's."""

    def __init__(self, write_line: Callable[[str], object], clock: Clock) -> None:
        self._write_line = write_line
        self._clock = clock

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Write the alerts of one tick. A stream that is closed or full must not stop a town: then they are lost."""
        with contextlib.suppress(OSError, ValueError):
            for alert in alerts:
                self._write_line(line_of(alert, at=to_text(self._clock.now())))

"""Combining alert receivers: sending to several, and filtering repeats before one."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from shared.domain.alert import Alert
from shared.ports.alerts import Alerts
from shared.ports.clock import Clock

REPEATED: Final = frozenset({"town_failed"})
"""Kinds that every run raises until somebody acts. The tick raises all other kinds once, or at most hourly."""

_REMEMBERED: Final = 1000


class EveryAlert:
    """The Alerts port over several receivers, in order."""

    def __init__(self, *listeners: Alerts) -> None:
        self._listeners = listeners

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Send the alerts of one tick to each receiver."""
        for listener in self._listeners:
            listener.raise_all(alerts)


class SeldomAlerts:
    """The Alerts port in front of another: passes on repeats about one town at most once in `span`, within this process."""

    def __init__(self, behind: Alerts, clock: Clock, *, span: timedelta = timedelta(minutes=10)) -> None:
        self._behind = behind
        self._clock = clock
        self._span = span
        self._passed: dict[tuple[str, ...], datetime] = {}

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Pass on the alerts that are not repeats."""
        if new := [alert for alert in alerts if alert.kind not in REPEATED or self._is_new(alert)]:
            self._behind.raise_all(new)

    def _is_new(self, alert: Alert) -> bool:
        now, before = self._clock.now(), self._passed.get(alert.fingerprint)
        if before is not None and timedelta(0) <= now - before < self._span:
            return False
        self._passed[alert.fingerprint] = now
        while len(self._passed) > _REMEMBERED:
            del self._passed[next(iter(self._passed))]
        return True

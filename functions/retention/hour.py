"""One hour of retention. Each town has its hour of the day; a few towns are tidied at the same time.

Retention affects only the amount of stored data: a town that fails, or for which no time is left, is tidied a day later.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal
from zlib import crc32

from functions.schedule import ScheduledCall
from shared.domain.errors import Retryable
from shared.domain.times import to_text
from shared.engine import alerts
from shared.ports.alerts import Alerts
from shared.ports.clock import Clock
from shared.ports.object_store import ObjectStore, VersionedObjects
from shared.ports.steps import drive
from shared.runner.clock_guard import ClockGuard
from shared.runner.life import RETENTION_TURN, Life
from shared.storage import retention
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.telemetry.emf import EmfMetrics

HOURS: Final = 24
TOWNS_AT_ONCE: Final = 4

TidyOutcome = retention.RetentionPlan | Exception | Literal["left"]


@dataclass(slots=True)
class HourReport:
    """The results of one hour. `left` is the number of towns for which no time was left."""

    towns: int = 0
    objects: int = 0
    freed_bytes: int = 0
    left: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """The metrics of the hour, zeros included."""
        return {
            "townsTidied": self.towns,
            "objectsForgotten": self.objects,
            "bytesForgotten": self.freed_bytes,
            "townsNotTidied": self.left + len(self.failed),
        }


@dataclass(frozen=True, slots=True)
class Retention:
    """Everything that an hour of retention needs. `objects` and `versions` are the same bucket."""

    objects: ObjectStore
    versions: VersionedObjects
    keep: retention.Keep
    clock: Clock
    guard: ClockGuard
    metrics: EmfMetrics
    alerts: Alerts

    def hour(self, call: ScheduledCall, *, remaining: timedelta) -> HourReport:
        """Tidy the towns of this hour and write one summary line.

        Raises an error if the towns cannot be listed, and ClocksDisagree if this clock cannot be trusted: then nothing was deleted.
        """
        report = HourReport()
        drive(self.guard.time())
        stops = Life(self.clock.now() + remaining, RETENTION_TURN).begin_town_until
        for town_id, outcome in self._outcomes(call.scheduled_time.hour, stops):
            if isinstance(outcome, retention.RetentionPlan):
                report.towns += 1
                report.objects += len(outcome.doomed)
                report.freed_bytes += outcome.freed_bytes
            elif isinstance(outcome, Exception):
                report.failed[town_id] = type(outcome).__name__
                if not isinstance(outcome, Retryable):
                    self.alerts.raise_all((alerts.retention_failed(town_id, outcome),))
            else:
                report.left += 1
        self.metrics.write(
            report.values,
            {
                "event": "retention.completed",
                "scheduled_time": to_text(call.scheduled_time),
                "left": report.left,
                "failed": dict(sorted(report.failed.items())[:20]),
            },
        )
        return report

    def _outcomes(self, hour: int, stops: datetime) -> Iterator[tuple[str, TidyOutcome]]:
        towns = [town for town in drive(ObjectTownStore(self.objects).towns()) if hour_of(town) == hour]
        with ThreadPoolExecutor(TOWNS_AT_ONCE) as pool:
            yield from zip(towns, pool.map(partial(self._tidied, stops=stops), towns), strict=True)

    def _tidied(self, town_id: str, *, stops: datetime) -> TidyOutcome:
        if self.clock.now() >= stops:
            return "left"
        try:
            now = drive(self.guard.time())
            return drive(retention.forget(KeptPast(self.objects, self.versions, town_id), self.keep, now=now))
        except Exception as error:  # noqa: BLE001 - the error boundary of a town: it is reported, and the other towns are tidied
            return error


def hour_of(town_id: str) -> int:
    """The hour of the day (UTC) in which a town is tidied."""
    return crc32(town_id.encode()) % HOURS

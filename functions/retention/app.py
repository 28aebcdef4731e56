"""The handler of retention: the schedule's call in, one summary out. Only its role may delete what towns were."""

from datetime import timedelta
from functools import cache
from typing import Any

from functions import wiring
from functions.retention.hour import Retention
from functions.schedule import ScheduledCall
from functions.settings import RetentionSettings
from shared.storage.retention import Keep
from shared.telemetry.emf import EmfMetrics

wiring.watch_errors()  # before the first call, which its time-out warning has to surround


@cache
def retention() -> Retention:
    """What this environment keeps for its life. Raises Terminal if the settings are wrong."""
    settings = RetentionSettings.from_environment()
    objects = wiring.objects_of(settings.town_bucket, settings.store_endpoint)
    return Retention(
        objects=objects,
        versions=objects,
        keep=Keep(
            commits=None,  # the bucket's lifecycle forgets replaced heads
            spills=timedelta(days=settings.spill_days),
            snapshots=timedelta(days=settings.snapshot_days),
            window=settings.restore_window,
        ),
        clock=wiring.CLOCK,
        metrics=EmfMetrics(wiring.write_line, stage=settings.stage),
        alerts=wiring.alerts(),
    )


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Tidy the towns of one hour."""
    call = ScheduledCall.read(event)
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    report = retention().hour(call, remaining=remaining)
    return {
        "towns": report.towns,
        "objects": report.objects,
        "freedBytes": report.freed_bytes,
        "left": report.left,
        "failed": report.failed,
    }

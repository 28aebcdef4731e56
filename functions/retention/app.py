"""The handler of retention: reads the scheduled call and answers with a summary. Only its role may delete the past of towns."""

from datetime import timedelta
from functools import cache
from typing import Any

from functions import wiring
from functions.boundary import told
from functions.retention.hour import Retention
from functions.schedule import ScheduledCall
from functions.settings import RetentionSettings
from shared.storage.retention import Keep

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call


@cache
def retention() -> Retention:
    """Built once for this environment. Raises Terminal if the settings are invalid."""
    settings = RetentionSettings.from_environment()
    objects = wiring.objects_of(settings)
    alerts = wiring.alerts()
    return Retention(
        objects=objects,
        versions=objects,
        keep=Keep(
            commits=None,  # the bucket's lifecycle deletes replaced heads
            spills=timedelta(days=settings.spill_days),
            snapshots=timedelta(days=settings.snapshot_days),
            window=settings.restore_window,
        ),
        clock=wiring.CLOCK,
        guard=wiring.clock_guard(settings, alerts=alerts),
        metrics=wiring.metrics(settings),
        alerts=alerts,
    )


@told(wiring.tell_failure)
def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Delete what the towns of one hour no longer need."""
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

"""The handler of the dispatcher: reads the scheduled call and answers with a summary."""

from datetime import timedelta
from functools import cache
from typing import Any

from functions import wiring
from functions.boundary import told
from functions.schedule import ScheduledCall
from functions.settings import TickSettings
from shared.adapters import ids
from shared.ports.steps import drive
from shared.runner.minute import Dispatcher

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call


@cache
def dispatcher() -> Dispatcher:
    """Built once for this environment. Raises Terminal if the settings are invalid."""
    settings = TickSettings.from_environment()
    metrics = wiring.metrics(settings)
    return Dispatcher(
        around=wiring.surroundings(settings, wiring.proven_store(settings), alerts=wiring.alerts(), metrics=metrics),
        queue=wiring.queue(settings),
        figures=metrics,
        worker_id=ids.worker_id,
        pause=timedelta(seconds=settings.pass_seconds),
        in_process=settings.in_process,
    )


@told(wiring.tell_failure)
def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Work for one scheduled minute."""
    call = ScheduledCall.read(event)
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    with wiring.schedule_watched():
        report = drive(
            dispatcher().minute(call.minute, remaining=remaining, execution_id=call.execution_id, attempt=call.attempt)
        )
    return {
        "late": report.late,
        "passes": report.passes,
        "due": report.due,
        "handedOver": report.handed_over,
        "left": report.left,
        "outcomes": dict(report.outcomes),
        "failed": report.failed,
    }

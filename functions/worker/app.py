"""The handler of the worker: a batch of SQS records in, the messages that must come again out."""

from datetime import timedelta
from functools import cache
from typing import Any

from functions import wiring
from functions.settings import WorkerSettings
from shared.adapters import ids
from shared.adapters.sqs_queue import deliveries_of
from shared.ports.steps import drive
from shared.runner.batch import Worker
from shared.telemetry.emf import EmfMetrics

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call


@cache
def worker() -> Worker:
    """What this environment keeps for its life. Raises Terminal if the settings are wrong."""
    settings = WorkerSettings.from_environment()
    metrics = EmfMetrics(wiring.write_line, stage=settings.stage)
    around = wiring.surroundings(settings, wiring.proven_store(settings), alerts=wiring.alerts(), metrics=metrics)
    return Worker(around, wiring.queue(settings), metrics, ids.worker_id)


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Tick the towns of one batch."""
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    again = drive(worker().batch(deliveries_of(event["Records"]), remaining=remaining))
    return {"batchItemFailures": [{"itemIdentifier": message} for message in again]}

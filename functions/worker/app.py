"""The handler of the worker: reads a batch of SQS records and answers with the messages that SQS must deliver again."""

from datetime import timedelta
from functools import cache
from typing import Any

from functions import wiring
from functions.boundary import told
from functions.settings import WorkerSettings
from shared.adapters import ids
from shared.adapters.sqs_queue import deliveries_of
from shared.ports.steps import drive
from shared.runner.batch import Worker

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call


@cache
def worker() -> Worker:
    """Built once for this environment. Raises Terminal if the settings are invalid."""
    settings = WorkerSettings.from_environment()
    metrics = wiring.metrics(settings)
    around = wiring.surroundings(settings, wiring.proven_store(settings), alerts=wiring.alerts(), metrics=metrics)
    return Worker(around, wiring.queue(settings), metrics, ids.worker_id)


@told(wiring.tell_failure)
def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Tick the towns of one batch."""
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    again = drive(worker().batch(deliveries_of(event["Records"]), remaining=remaining))
    return {"batchItemFailures": [{"itemIdentifier": message} for message in again]}

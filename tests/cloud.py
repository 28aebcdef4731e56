"""The functions for tests: a dispatcher and a worker over a world in memory, and the lines that they wrote."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.adapters.sqs_queue import deliveries_of
from shared.ports.steps import drive
from shared.runner.batch import Worker
from shared.runner.minute import Dispatcher
from shared.runner.run_report import MinuteReport
from shared.runner.surroundings import Surroundings
from shared.telemetry.emf import EmfMetrics
from tests.queues import FifoQueue
from tests.towns import a_town, event
from tests.worlds import World, a_world


@dataclass
class Cloud:
    """A world with a queue, a dispatcher and a worker."""

    world: World
    queue: FifoQueue
    dispatcher: Dispatcher
    worker: Worker
    lines: list[dict[str, Any]] = field(default_factory=list)

    def minute(
        self, scheduled: datetime | None = None, *, remaining: timedelta = timedelta(seconds=55), attempt: int = 1
    ) -> MinuteReport:
        """The schedule calls the dispatcher."""
        at = scheduled or self.world.clock.now()
        return drive(self.dispatcher.minute(at, remaining=remaining, attempt=attempt))

    def work(self, event: dict[str, Any], *, remaining: timedelta = timedelta(seconds=175)) -> dict[str, Any]:
        """The queue calls the worker."""
        again = drive(self.worker.batch(deliveries_of(event["Records"]), remaining=remaining))
        return {"batchItemFailures": [{"itemIdentifier": message} for message in again]}

    def summaries(self) -> list[dict[str, Any]]:
        """The dispatcher's lines."""
        return [line for line in self.lines if line["event"] == "minute.completed"]


def a_cloud(world: World) -> Cloud:
    """The functions over a world."""
    lines: list[dict[str, Any]] = []
    metrics = EmfMetrics(lambda line: lines.append(json.loads(line)), stage="test")
    around = Surroundings(
        store=world.store, clock=world.clock, outside=world.around.outside, alerts=world.alerts, metrics=metrics
    )
    queue = FifoQueue(world.clock)
    return Cloud(
        world=world,
        queue=queue,
        dispatcher=Dispatcher(around, queue, metrics, world.worker_id),
        worker=Worker(around, queue, metrics, world.worker_id),
        lines=lines,
    )


def a_fleet(*towns: str) -> Cloud:
    """The functions over towns of which each has an event waiting, and so is due."""
    cloud = a_cloud(a_world(*(a_town(town) for town in towns)))
    for town in towns:
        cloud.world.post(event("town_started"), town_id=town)
    return cloud

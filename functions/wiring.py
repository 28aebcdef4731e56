"""The composition of the functions: which adapter stands behind which port. Made once for each cold start."""

import json
import sys
import traceback
from functools import cache
from typing import Final

from functions.settings import QueueSettings, Settings, StoreSettings
from shared.adapters import ids
from shared.adapters.clock import SystemClock
from shared.adapters.s3_objects import S3Objects
from shared.adapters.sqs_queue import SqsQueue
from shared.domain.past import TownPast
from shared.domain.ports import Alerts, Clock, Metrics
from shared.domain.steps import drive
from shared.engine.perform import Outside
from shared.engine.surroundings import Surroundings
from shared.storage import keys
from shared.storage.past import StoredPast
from shared.storage.probe import prove_conditional_writes
from shared.storage.towns import ObjectTownStore
from shared.telemetry.alert_log import AlertLog
from shared.telemetry.alerts import EveryAlert, SeldomAlerts

CLOCK: Final[Clock] = SystemClock()


def write_line(line: str) -> None:
    """One line of the function's log."""
    print(line, file=sys.stdout, flush=True)  # noqa: T201 - standard output is the log of a Lambda


def tell_bug(error: Exception) -> None:
    """Say in the log, with the place and without any content, that a request met a bug of ours."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    where = [f"{frame.name}:{frame.lineno}" for frame in frames]
    write_line(json.dumps({"event": "request.broken", "error": type(error).__name__, "where": where}))


@cache
def objects_of(bucket: str, endpoint_url: str | None) -> S3Objects:
    """The objects of a bucket, over one client for the life of this environment."""
    return S3Objects(bucket, endpoint_url=endpoint_url, kind_of=keys.kind_of)


def store(settings: StoreSettings) -> ObjectTownStore:
    """The towns of the bucket. Nothing is asked for yet."""
    return ObjectTownStore(objects_of(settings.town_bucket, settings.store_endpoint))


def past(settings: StoreSettings) -> TownPast:
    """What the bucket retains of its towns' past; it remembers what it has listed, so it serves one request."""
    objects = objects_of(settings.town_bucket, settings.store_endpoint)
    return StoredPast(objects, objects)


def proven_store(settings: StoreSettings) -> ObjectTownStore:
    """The towns of the bucket, for whoever commits. A store that is not AWS's has to show that it honours conditions.

    Raises StoreIncapable. Of a bucket of AWS `townctl doctor --stack` sees to it.
    """
    if settings.store_endpoint is not None:
        objects = objects_of(settings.town_bucket, settings.store_endpoint)
        drive(prove_conditional_writes(objects, ids.batch_id()))
    return store(settings)


def alerts(settings: Settings) -> Alerts:  # noqa: ARG001 - who else listens is named there
    """Who hears of alerts: the log."""
    return SeldomAlerts(EveryAlert(AlertLog(write_line, CLOCK)), CLOCK)


def queue(settings: QueueSettings) -> SqsQueue:
    """The wakes on their way to workers."""
    return SqsQueue(settings.queue_url, endpoint_url=settings.queue_endpoint)


def surroundings(
    settings: StoreSettings, towns: ObjectTownStore, *, alerts: Alerts | None = None, metrics: Metrics | None = None
) -> Surroundings:
    """Everything outside a town that a run needs."""
    return Surroundings(
        store=towns,
        clock=CLOCK,
        outside=outside(settings),
        alerts=alerts,
        metrics=metrics,
        restore_window=settings.restore_window,
    )


def outside(settings: Settings) -> Outside:  # noqa: ARG001 - the runtime and the forge of a deployment are named there
    """Whom effects call. What no adapter is named for answers with the typed failure of its kind."""
    return Outside()

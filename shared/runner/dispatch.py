"""The towns that are due, and one run of each. A loop runs a town only for a due marker in the past: an idle town has none."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from shared.domain.errors import ImageTooLarge, Retryable, UnknownTown
from shared.engine import alerts
from shared.ports.steps import Call, Steps
from shared.ports.waiting_room import DueMarker
from shared.runner.run_report import ApartRun, FailedRun, RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.warm_images import WarmImages
from shared.runner.worker import run_town


def due_towns(around: Surroundings, *, by: datetime | None = None) -> Steps[dict[str, tuple[DueMarker, ...]]]:
    """The towns with due markers up to now (or `by`), longest waiting first, each with all these markers."""
    until = by or (yield from around.time())
    markers = yield from around.store.due(until)
    by_town: dict[str, list[DueMarker]] = {}
    for marker in markers:
        by_town.setdefault(marker.town_id, []).append(marker)
    return {town_id: tuple(found) for town_id, found in by_town.items()}


def run_due_town(
    around: Surroundings, town_id: str, markers: tuple[DueMarker, ...], *, warm: WarmImages, worker_id: str
) -> Steps[RunReport | FailedRun]:
    """Run one due town. This is the error boundary of the town: its failure does not hold up the others."""
    try:
        return (yield from run_town(town_id, around, worker_id=worker_id, warm=warm, markers=markers))
    except UnknownTown as error:
        # The town was never created, or was removed.
        yield from around.store.clear_due(tuple(marker.key for marker in markers))
        return (yield from failed_run(around, town_id, error))
    except ImageTooLarge as error:
        return (
            FailedRun(town_id, error) if around.has_larger_workers else (yield from failed_run(around, town_id, error))
        )
    except Exception as error:  # noqa: BLE001 - the one boundary per town: the failure is reported, and the others go on
        return (yield from failed_run(around, town_id, error))


def run_warm(
    around: Surroundings,
    town_id: str,
    markers: tuple[DueMarker, ...],
    *,
    warm: WarmImages,
    worker_id: Callable[[], str],
) -> Steps[RunReport | FailedRun]:
    """Run one due town from its warm image, and remember the image that it leaves."""
    worker: str = yield Call("worker id", worker_id)
    done = yield from run_due_town(around, town_id, markers, warm=warm, worker_id=worker)
    remember(done, warm)
    return done


def remember(run: RunReport | FailedRun | ApartRun, warm: WarmImages) -> None:
    """Keep the image that a run left. After a failed run or one in another process, drop the image of the town."""
    if isinstance(run, RunReport):
        warm.keep(run.image)
    else:
        warm.forget(run.town_id)


def failed_run(around: Surroundings, town_id: str, error: Exception) -> Steps[FailedRun]:
    """The report of a town that failed. A retryable error is only reported to the caller; any other error also raises an alert."""
    if around.alerts is not None and not isinstance(error, Retryable):
        yield Call("alerts", partial(around.alerts.raise_all, (alerts.town_failed(town_id, error),)))
    return FailedRun(town_id, error)

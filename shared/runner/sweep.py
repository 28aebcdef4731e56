"""The hourly sweep of all towns: it writes lost due markers again, and a marker for each event that has none.

It never moves an existing marker and runs no town; the markers that it writes lead to runs.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from shared.domain.errors import TownError
from shared.ports.steps import Call, Steps
from shared.ports.waiting_room import DueMarker
from shared.runner.run_report import FailedRun
from shared.runner.surroundings import Surroundings

_EVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
TOWNS_PER_PAGE: Final = 1000


@dataclass(slots=True)
class SweepReport:
    """The findings of one sweep. The next one continues after the town `resume_after`; None: this one saw all towns."""

    towns: int = 0
    restored: list[DueMarker] = field(default_factory=list)
    failed: list[FailedRun] = field(default_factory=list)
    resume_after: str | None = None


def sweep(
    around: Surroundings, *, after: str = "", until: datetime | None = None, page: int = TOWNS_PER_PAGE
) -> Steps[SweepReport]:
    """Compare the due markers of every town with its head and its inbox. A town that fails does not hold up the others.

    `until` ends the sweep early, for a process whose time is short; `after` is the `resume_after` of the previous sweep. The store
    is asked for `page` towns at a time.
    """
    report = SweepReport()
    earliest: dict[str, datetime] = {}
    for marker in (yield from around.store.due(_EVER)):
        earliest.setdefault(marker.town_id, marker.at)
    place: str | None = after
    while place is not None:
        towns = yield from around.store.towns(after=place, limit=page)
        place = _behind(towns, page)
        for town_id in towns:
            now: datetime = yield Call("clock", around.clock.now)
            if until is not None and now >= until:
                report.resume_after = after
                return report
            yield from _look(around, town_id, now, report, present=earliest.get(town_id))
            after = town_id
    return report


def _behind(towns: tuple[str, ...], page: int) -> str | None:
    """The town after which the next page begins; None if this page was the last one."""
    return towns[-1] if len(towns) == page else None


def _look(
    around: Surroundings, town_id: str, now: datetime, report: SweepReport, *, present: datetime | None
) -> Steps[None]:
    report.towns += 1
    try:
        wanted = yield from _wanted(around, town_id, now, present=present)
        if wanted is not None:
            report.restored.append((yield from around.store.mark_due(town_id, wanted)))
    except TownError as error:
        report.failed.append(FailedRun(town_id, error))


def _wanted(around: Surroundings, town_id: str, now: datetime, *, present: datetime | None) -> Steps[datetime | None]:
    """The time of the marker that the town lacks; None if it lacks none.

    If an event waits and no marker is due, that is now. If the town has no marker, it is the due time in its head. A marker later
    than the head says is correct: a quiet tick wrote it and committed nothing.
    """
    if present is None or present > now:
        waiting = yield from around.store.read_inbox(town_id, limit=1)
        if waiting.objects:
            return now
    if present is not None:
        return None
    image = yield from around.store.load(town_id)
    return image.facts.next_due

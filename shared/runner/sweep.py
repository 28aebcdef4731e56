"""The hourly sweep of all towns: it writes lost due markers again, and a marker for each event that has none.

It never moves an existing marker and runs no town; the markers that it writes lead to runs. Where a table keeps what waits, it also
takes in what was left in the bucket, by code that was older or had other settings (`shared.storage.gathering`). It also reports the
towns whose newest commit is from the future. An idle town costs a part of one listing, which shows heads and inboxes of many towns,
and the start of its head; with a table, also a query of its inbox.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from shared.domain.errors import TownError, UnknownTown
from shared.images import summary
from shared.ports.steps import Steps
from shared.ports.town_store import CommitFacts, SeenTown
from shared.ports.waiting_room import DueMarker
from shared.runner.clock_guard import from_the_future, lead_of
from shared.runner.dispatch import failed_run
from shared.runner.run_report import FailedRun
from shared.runner.surroundings import Surroundings
from shared.town import migrations

_EVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
TOWNS_PER_PAGE: Final = 100
HEADS_AT_ONCE: Final = 16
"""So many heads are read at the same time, as many as there are threads for calls."""


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
    if not after:
        yield from _look_at_violations(around)
        yield from around.store.gather_markers()
    earliest: dict[str, datetime] = {}
    for marker in (yield from around.store.due(_EVER)):
        earliest.setdefault(marker.town_id, marker.at)
    place: str | None = after
    while place is not None:
        towns = yield from around.store.towns_seen(after=place, limit=page)
        place = _behind(towns, page)
        for begin in range(0, len(towns), HEADS_AT_ONCE):
            now = yield from around.time()
            if until is not None and now >= until:
                report.resume_after = after
                return report
            part = towns[begin : begin + HEADS_AT_ONCE]
            yield from around.store.gather_inboxes(part, now=now)
            yield from _look_at(around, part, now, report, earliest)
            after = part[-1].town_id
    return report


def _look_at(
    around: Surroundings,
    towns: tuple[SeenTown, ...],
    now: datetime,
    report: SweepReport,
    earliest: Mapping[str, datetime],
) -> Steps[None]:
    """Look at a few towns whose heads are read at the same time; a town with a marker that is due needs no look."""
    report.towns += len(towns)
    asked = [town for town in towns if earliest.get(town.town_id, _EVER) > now]
    newest = yield from around.store.manifests([town.town_id for town in asked])
    # Judged by the clock as it is after the look. If this process stood still before it (a laptop that slept, a container that was
    # frozen), the towns have gone on meanwhile, and by the older reading their newest commits would be from the future.
    now = yield from around.time()
    for town, found in zip(asked, newest, strict=True):
        yield from _look(around, town, found, now, report, present=earliest.get(town.town_id))


def _look_at_violations(around: Surroundings) -> Steps[None]:
    """Delete the markers of towns without an open violation; they are left if the run that ended it could not delete them."""
    for town_id in sorted((yield from around.store.watched()).violated):
        try:
            image = yield from around.store.load(town_id)
            with migrations.readable(image.content) as sql:
                is_violated = summary.is_violated(sql)
        except UnknownTown:
            is_violated = False
        except TownError:
            continue  # a town that cannot be read is reported by its runs
        if not is_violated:
            yield from around.store.mark_violated(town_id, open_=False)


def _behind(towns: tuple[SeenTown, ...], page: int) -> str | None:
    """The town after which the next page begins; None if this page was the last one."""
    return towns[-1].town_id if len(towns) == page else None


def _look(
    around: Surroundings,
    town: SeenTown,
    newest: CommitFacts | TownError,
    now: datetime,
    report: SweepReport,
    *,
    present: datetime | None,
) -> Steps[None]:
    try:
        if isinstance(newest, TownError):
            raise newest
        wanted = yield from _wanted(around, town, newest, now, present=present)
        if wanted is not None:
            report.restored.append((yield from around.store.mark_due(town.town_id, wanted)))
    except TownError as error:
        report.failed.append((yield from failed_run(around, town.town_id, error)))


def _wanted(
    around: Surroundings, town: SeenTown, newest: CommitFacts, now: datetime, *, present: datetime | None
) -> Steps[datetime | None]:
    """The time of the marker that the town lacks; None if it lacks none.

    If an event waits and no marker is due, that is now. If the town has no marker, it is the due time in its head. If its only
    markers are later than its head says, that is now: a quiet tick may have written them and committed nothing, but it may also
    have been a clock that was ahead, and only a tick can tell. Raises FromTheFuture.
    """
    town_id = town.town_id
    yield from _require_present(around, town_id, newest.time, now)
    if town.waits or (town.waits is None and (yield from _something_waits(around, town_id))):
        return now
    if present is None:
        return newest.next_due
    if newest.next_due is None or newest.next_due > now:
        return None
    image = yield from around.store.load(town_id)  # every byte of it is verified, unlike the start of a head
    due = summary.next_due_in(image.content)
    return now if due is not None and due <= now else None


def _something_waits(around: Surroundings, town_id: str) -> Steps[bool]:
    waiting = yield from around.store.read_inbox(town_id, limit=1)
    return bool(waiting.objects)


def _require_present(around: Surroundings, town_id: str, newest: datetime, now: datetime) -> Steps[None]:
    """Raise FromTheFuture if a clock that was ahead made the newest commit. Nobody else tells: the town is not due for so long."""
    lead = None if around.guard is None else lead_of(newest, now=now)
    if lead is None:
        return
    image = yield from around.store.load(town_id)
    if not summary.has_own_clock(image.content):
        raise from_the_future(town_id, newest, lead, own_clock=False)

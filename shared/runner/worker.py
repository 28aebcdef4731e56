"""One run of the reconciler over one town, as steps: load, observe, tick, commit, clean up, perform (spec/tick.md, 0 to 16).

Every call to the outside is yielded (`shared.ports.steps`), so that the real loop, the simulation and the crash sweep
drive the same code. Effects are performed only after the commit, so a run that loses the race performs none.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from shared.domain import limits
from shared.domain.errors import Conflict, OutOfTime, Refused, Retryable, TownError
from shared.domain.images import Content
from shared.domain.report import TickReport
from shared.domain.states import EventSource
from shared.domain.tick import TickInput
from shared.engine import tick
from shared.history import self_check
from shared.history.differences import Difference
from shared.images import summary
from shared.intake import ingest
from shared.ports.steps import Call, Steps
from shared.ports.town_store import CommitFacts, Published, TownImage
from shared.ports.waiting_room import DueMarker, InboxReading
from shared.runner.inputs import as_marked, gathered, read_batches, taken_by
from shared.runner.life import Life
from shared.runner.perform import Performed, can_be_heard, perform
from shared.runner.result_events import ResultEvent
from shared.runner.run_report import RunReport
from shared.runner.surroundings import Surroundings
from shared.town import database, journal


def run_town(
    town_id: str,
    around: Surroundings,
    *,
    worker_id: str,
    known: TownImage | None = None,
    markers: tuple[DueMarker, ...] = (),
    force: bool = False,
    exactly: TickInput | None = None,
) -> Steps[RunReport]:
    """Run one tick of a town if it is due; `markers` are the due markers that led here.

    `force` runs the tick whether or not the town is due; `exactly` runs the tick that a dry run showed, and no other. Raises the
    errors of the store: then nothing was committed, or a later run continues from what was committed.
    """
    image = yield from around.store.load(town_id, known=known)
    waiting = yield from around.store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    with database.opened(image.content) as sql:
        database.check_identity(sql, town_id)
        about = summary.before_tick(sql)
        now: datetime = yield Call("clock", around.clock.now)
        if exactly is not None:
            _require_same_image(exactly, image)
        elif not force:
            later = _not_yet(about, waiting, now, image)
            if later is not None:
                woken = yield from _keep_due(around, image, markers, due=later.at, now=now)
                return RunReport(town_id, "not_due", image, next_due=later.at, woken_at=woken)
        reading = read_batches(waiting)
        wanted = as_marked(about, markers)
        given, published = exactly, Published()
        if given is None:
            publication = around.store.publication(image, journal.oldest_block(sql))
            given, published = yield from gathered(around, image, reading, wanted, publication, worker_id=worker_id)
        begun = yield from _moment(around)
        report = tick.run(sql, given, town_id=town_id)
        if report.quiet:
            ended = yield from _moment(around)
            woken = yield from _keep_due(around, image, markers, due=report.next_due, now=given.now)
            took = max(ended - begun, timedelta(0))
            done = RunReport(
                town_id, "quiet", image, tick=report, next_due=report.next_due, wall_clock=took, woken_at=woken
            )
        else:
            base = _Base(image, published, taken_by(reading, given), markers, begun)
            done = yield from _commit(around, base, database.content_of(sql), report, summary.drain_nonce(sql))
    yield from _tell(around, done)
    if done.trouble is not None:
        raise done.trouble
    return done


@dataclass(frozen=True, slots=True)
class _Base:
    """The base image of a commit, and the inbox batches and due markers to clear after it."""

    image: TownImage
    published: Published
    batches: tuple[str, ...]
    markers: tuple[DueMarker, ...]
    begun: datetime


def _commit(
    around: Surroundings, base: _Base, image: Content, report: TickReport, drain_nonce: str | None
) -> Steps[RunReport]:
    """Phases 14 and 15. A lost race discards everything."""
    town_id = report.town_id
    facts = CommitFacts(
        commit_id=report.input.tick_id,
        tick_no=report.input.tick_no,
        time=report.input.now,
        next_due=report.next_due,
        schema_version=database.SCHEMA_VERSION,
        drain_nonce=drain_nonce,
    )
    if around.life is not None and (yield from _too_late(around, around.life, report)):
        return RunReport(town_id, "no_time", base.image)
    try:
        committed = yield from around.store.commit(base.image, image, facts, published=base.published)
    except Conflict:
        return RunReport(town_id, "lost", base.image, save_conflicts=1)
    ended = yield from _moment(around)
    trouble: TownError | None = None
    effects = Performed()
    woken_at: list[datetime] = []
    try:
        yield from around.store.clear_inbox(base.batches)
        woken_at += yield from _keep_due(around, committed, base.markers, due=report.next_due, now=report.input.now)
    except TownError as error:
        # A later run clears what is left; the effects are claimed and cannot wait.
        trouble = error
    try:
        effects = yield from perform(
            report.effects,
            around.outside,
            clock=around.clock,
            claimed_at=report.input.now,
            life=around.life,
            post=partial(_post_results, around, town_id, report.input.tick_id, woken_at),
        )
    except TownError as error:
        trouble = error
    return RunReport(
        town_id,
        "committed",
        committed,
        tick=report,
        effects=effects,
        next_due=report.next_due,
        trouble=trouble,
        diverged=_checked_again(around, base.image, committed),
        wall_clock=max(ended - base.begun, timedelta(0)),
        woken_at=tuple(woken_at),
    )


def _too_late(around: Surroundings, life: Life, report: TickReport) -> Steps[bool]:
    """Whether an effect of this tick could be cut off by the end of the process. Raises OutOfTime if its commit could."""
    now: datetime = yield Call("clock", around.clock.now)
    if now > life.begin_commit_until:
        raise OutOfTime(
            f"town {report.town_id}: the tick was ready too late to be committed safely",
            hint="nothing was committed; the next run repeats the tick. Give the worker more time or fewer towns",
        )
    # An unperformed effect stays claimed for minutes, and the start of an agent has no second attempt.
    return not all(can_be_heard(effect, now, life) for effect in report.effects)


def _moment(around: Surroundings) -> Steps[datetime]:
    """The present time; if metrics are off, a constant, without reading the clock."""
    if around.metrics is None:
        return datetime.min  # noqa: DTZ901 - only ever subtracted from itself
    now: datetime = yield Call("clock", around.clock.now)
    return now


def _checked_again(around: Surroundings, base: TownImage, committed: TownImage) -> tuple[Difference, ...] | None:
    """The self-check, after commit and effects, from what is recorded; None if this tick is not among those that are checked."""
    if not self_check.chosen(committed.facts.commit_id, around.self_check_share):
        return None
    return self_check.differences(base, committed)


def _post_results(
    around: Surroundings, town_id: str, tick_id: str, woken_at: list[datetime], results: tuple[ResultEvent, ...]
) -> Steps[None]:
    """Post the results of a round as events, which wakes the town, and add the time to `woken_at`.

    There are none if no effect of the round was begun.
    """
    if not results:
        return
    now: datetime = yield Call("clock", around.clock.now)
    for start in range(0, len(results), limits.EVENTS_PER_BATCH):
        part = results[start : start + limits.EVENTS_PER_BATCH]
        batch = ingest.batch_of(part, received_at=now, source=EventSource.EFFECT)
        batch_id = f"{tick_id}-{part[0]['event_id'][4:20]}"
        yield from around.store.post(town_id, batch.body, received_at=now, batch_id=batch_id, wake=True)
    woken_at.append(now)


@dataclass(frozen=True, slots=True)
class _Later:
    """The answer that a town is not due yet. `at` is when it will be; None: only an event can make it due."""

    at: datetime | None


def _not_yet(about: summary.BeforeTick, waiting: InboxReading, now: datetime, image: TownImage) -> _Later | None:
    """When the town will be due; None if it is due. Two of its ticks are at least `about.interval` apart."""
    if image.facts.tick_no == 0:
        return None
    wanted = about.next_due if not waiting.objects else now
    if wanted is None or wanted > now:
        return _Later(wanted)
    last = about.last_tick_at
    if last is not None and last - about.interval <= now < last + about.interval:
        return _Later(last + about.interval)
    return None  # if the last tick is further ahead, another clock made it: do not wait until ours catches up


def _keep_due(
    around: Surroundings, image: TownImage, markers: tuple[DueMarker, ...], *, due: datetime | None, now: datetime
) -> Steps[tuple[datetime, ...]]:
    """Write the new marker, then delete the old ones, so that a town that will be due always has a marker in time.

    After deleting, look at inbox and head again: an event may have arrived, or another worker may have committed and rely on a
    marker of the same second. In these cases, and if the store cannot be read, write a marker for now and return its time.
    """
    keep = None
    if due is not None:
        keep = (yield from around.store.mark_due(image.town_id, due)).key
    old = tuple(marker.key for marker in markers if marker.key != keep)
    if not old:
        return ()
    try:
        yield from around.store.clear_due(old)
        waiting = yield from around.store.read_inbox(image.town_id, limit=1)
        newest = yield from around.store.load(image.town_id, known=image)
        missed = bool(waiting.objects) or newest.etag != image.etag
    except Retryable:
        missed = True
    if not missed:
        return ()
    yield from around.store.mark_due(image.town_id, now)
    return (now,)


def _tell(around: Surroundings, done: RunReport) -> Steps[None]:
    """Phase 16: alerts and metrics, after the commit. The tick of a lost race raises no alerts."""
    told = () if done.tick is None else done.tick.alerts
    if done.diverged:
        told = (*told, self_check.alert(done.image, done.diverged))
    if around.alerts is not None and told:
        yield Call("alerts", partial(around.alerts.raise_all, told))
    if around.metrics is not None:
        yield Call("metrics", partial(around.metrics.tick_ran, done))


def _require_same_image(exactly: TickInput, image: TownImage) -> None:
    if exactly.prev_image_digest != image.image_digest or exactly.tick_no != image.facts.tick_no + 1:
        raise Refused(
            f"town {image.town_id} has moved on: it is at tick {image.facts.tick_no}, "
            f"and the given input is for tick {exactly.tick_no} of another image",
            status=409,
            path="input",
            hint="make a new dry run and run its input",
        )

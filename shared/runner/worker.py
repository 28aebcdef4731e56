"""One run of the reconciler over one town, as steps: load, look, tick, commit, clean up, perform (spec/tick.md, 0 to 16).

Every call to the outside is yielded (`shared.ports.steps`), so that the real loop, the simulation and the crash sweep
drive the same code. Nothing outside is touched before the commit stands; who loses the race has called nobody.
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
from shared.runner.result_events import Result
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
    """Bring one town one tick further, if it is due; `markers` are the due markers that led here.

    `force` runs a tick whether it is due or not; `exactly` runs the tick that a dry run showed, and no other. Raises what
    the store raises; then nothing was done, or what was committed is taken up by a later run.
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
            new_image = database.content_of(sql)
            base = _Base(image, published, taken_by(reading, given), markers, begun)
            done = yield from _commit(around, base, new_image, report)
    yield from _tell(around, done)
    if done.trouble is not None:
        raise done.trouble
    return done


@dataclass(frozen=True, slots=True)
class _Base:
    """What a commit starts from, and what it clears when it stands."""

    image: TownImage
    published: Published
    batches: tuple[str, ...]
    markers: tuple[DueMarker, ...]
    begun: datetime


def _commit(around: Surroundings, base: _Base, image: Content, report: TickReport) -> Steps[RunReport]:
    """Phases 14 and 15. A lost race discards everything."""
    town_id = report.town_id
    facts = CommitFacts(
        commit_id=report.input.tick_id,
        tick_no=report.input.tick_no,
        time=report.input.now,
        next_due=report.next_due,
        schema_version=database.SCHEMA_VERSION,
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
        # what is not tidied up is found by the next run; the effects are claimed and cannot wait
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
            hint="nothing was done; the next run does it. Give the worker more time or fewer towns",
        )
    # A claim that nobody performs would hold its effect back for minutes, and a start has no second attempt.
    return not all(can_be_heard(effect, now, life) for effect in report.effects)


def _moment(around: Surroundings) -> Steps[datetime]:
    """The present time where figures are wanted; without them nobody asks, and every moment is the same."""
    if around.metrics is None:
        return datetime.min  # noqa: DTZ901 - only ever subtracted from itself
    now: datetime = yield Call("clock", around.clock.now)
    return now


def _checked_again(around: Surroundings, base: TownImage, committed: TownImage) -> tuple[Difference, ...] | None:
    """The self-check of a share of the ticks: after commit and effects, from what is recorded."""
    if not self_check.chosen(committed.facts.commit_id, around.self_check_share):
        return None
    return self_check.differences(base, committed)


def _post_results(
    around: Surroundings, town_id: str, tick_id: str, woken_at: list[datetime], results: tuple[Result, ...]
) -> Steps[None]:
    """Results are events like any others; they wake the town, and `woken_at` learns when. Of a round that found no room to
    begin there is none.
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
    """A run that has nothing to do yet, and when it will have; None = only an event can tell."""

    at: datetime | None


def _not_yet(about: summary.BeforeTick, waiting: InboxReading, now: datetime, image: TownImage) -> _Later | None:
    """None if the town is due; ticks of a town keep their distance (ACTIVE_INTERVAL)."""
    if image.facts.tick_no == 0:
        return None
    wanted = about.next_due if not waiting.objects else now
    if wanted is None or wanted > now:
        return _Later(wanted)
    last = about.last_tick_at
    if last is not None and last - about.interval <= now < last + about.interval:
        return _Later(last + about.interval)
    return None  # a last tick further ahead of us was made by another clock; to wait for ours to catch up helps nobody


def _keep_due(
    around: Surroundings, image: TownImage, markers: tuple[DueMarker, ...], *, due: datetime | None, now: datetime
) -> Steps[tuple[datetime, ...]]:
    """The new marker first, then the old ones go; so a town with something to do always has one not later than it.

    Whoever deletes a marker looks at inbox and head again afterwards: an event may have come, and another worker may
    have committed and rely on a marker of the same second. Who cannot look leaves a marker for somebody who can. Returns the
    times of the markers that were written for that.
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
    """Phase 16: alerts and metrics, after the commit and never for a lost race's decisions."""
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
            f"town {image.town_id} has moved on: it stands at tick {image.facts.tick_no}, "
            f"the given input is for tick {exactly.tick_no} of another image",
            status=409,
            path="input",
            hint="take a new dry run and run its input",
        )

"""One run of the reconciler over one town, as steps: load, observe, tick, commit, clean up, perform (spec/tick.md, 0 to 16).

Every call to the outside is yielded (`shared.ports.steps`), so that the real loop, the simulation and the crash sweep
drive the same code. Effects are performed only after the commit, so a run that loses the race performs none.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from shared.domain import limits
from shared.domain.errors import Conflict, NoRoomLeft, OutOfTime, Retryable, TownError
from shared.domain.images import Content
from shared.domain.report import TickReport
from shared.domain.states import EventSource
from shared.domain.tick import Archived, TickInput
from shared.engine import tick
from shared.history import self_check
from shared.history.differences import Difference
from shared.images import summary
from shared.intake import ingest
from shared.ports.steps import Call, Steps
from shared.ports.town_store import CommitFacts, Published, TownImage
from shared.ports.waiting_room import DueMarker
from shared.runner import pacing
from shared.runner.clock_guard import from_the_future, lead_of
from shared.runner.code_version import code_version
from shared.runner.inputs import (
    as_marked,
    batches_behind,
    fix_input,
    heard_out,
    observed,
    read_batches,
    require_same_image,
    taken_by,
)
from shared.runner.life import Life
from shared.runner.perform import Performed, acknowledge, can_be_heard, perform
from shared.runner.result_events import ResultEvent
from shared.runner.returning import returned_families
from shared.runner.run_report import RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.warm_images import WarmImages
from shared.town import archive, database, journal
from shared.town.town_keys import TownKeys


def run_town(
    town_id: str,
    around: Surroundings,
    *,
    worker_id: str,
    warm: WarmImages | None = None,
    markers: tuple[DueMarker, ...] = (),
    force: bool = False,
    exactly: TickInput | None = None,
) -> Steps[RunReport]:
    """Run one tick of a town if it is due; `markers` are the due markers that led here, `warm` is what earlier runs have kept.

    `force` runs the tick whether or not the town is due; `exactly` runs the tick that a dry run showed, and no other. Raises the
    errors of the store: then nothing was committed, or a later run continues from what was committed.
    """
    warm = warm or WarmImages(open_limit=0)
    image = yield from around.store.load(town_id, known=warm.get(town_id))
    waiting = yield from around.store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    now = yield from around.time()
    _require_present(image, around, now)
    if exactly is None and not force and pacing.head_says_later(image, waiting, now):
        return (yield from _not_due(around, image, markers, image.facts.next_due, now=now))
    with warm.opened(image) as town:
        sql = town.sql
        database.check_identity(sql, town_id)
        about = summary.before_tick(sql)
        if exactly is not None:
            require_same_image(exactly, image)
        elif not force:
            later = pacing.not_yet(about, waiting, now, image)
            if later is not None:
                return (yield from _not_due(around, image, markers, later.at, now=now, held=waiting.objects != ()))
        reading = read_batches(waiting, behind=(yield from batches_behind(around, town_id, waiting)))
        wanted = as_marked(about, markers)
        given, published = exactly, Published()
        if given is None:
            archived = yield from _archive(around, sql, image)
            publication = around.store.publication(image, journal.oldest_block(sql))
            observations, published = yield from observed(town_id, around, wanted.watched, publication)
            reading, observations = yield from heard_out(town_id, around, reading, observations)
            returned = yield from returned_families(around.store, sql, reading.envelopes, town_id=town_id)
            given = fix_input(
                around,
                image,
                wanted,
                now=(yield from around.time()),
                worker_id=worker_id,
                reading=reading,
                observations=observations,
                code=code_version(),
            )
            given = replace(given, journal_published_to=published.journal_to, archived=archived, returned=returned)
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
            town.shows = None
            base = _Base(image, published, taken_by(reading, given), markers, begun)
            done = yield from _commit(around, base, database.content_of(sql), report, summary.drain_nonce(sql))
            town.shows = done.image if done.outcome == "committed" else None
    done = yield from _with_marked_violations(around, done, was_violated=about.violated)
    yield from _tell(around, done)
    if done.trouble is not None:
        raise done.trouble
    return done


def _archive(around: Surroundings, sql: database.Database, image: TownImage) -> Steps[Archived | None]:
    """Publish the beads that may leave the image, if there are any."""
    block = archive.block_to_publish(sql)
    if block is None:
        return None
    return (yield from around.store.archive(image, block, index=TownKeys(sql).archive_index))


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
        epoch=base.image.facts.epoch,
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
        # Only the markers that led here. That of the due time which this commit replaces may have become the marker of a commit
        # after it, and a process that dies before it has looked again would take it from that one (seeds 637 and 974).
        woken_at += yield from _keep_due(around, committed, base.markers, due=report.next_due, now=report.input.now)
    except TownError as error:
        # A later run clears what is left; the effects are claimed and cannot wait.
        trouble = error
    try:
        effects = yield from perform(
            report.effects,
            around.outside,
            time=around.time,
            claimed_at=report.input.now,
            life=around.life,
            post=partial(_post_results, around, town_id, report.input.tick_id, woken_at),
        )
    except TownError as error:
        trouble = error
    yield from acknowledge(report.input.observations, around.outside, town_id=town_id)
    diverged: tuple[Difference, ...] | None = None
    try:
        diverged = _checked_again(around, base.image, committed)
    except NoRoomLeft as error:
        trouble = error
    return RunReport(
        town_id,
        "committed",
        committed,
        tick=report,
        effects=effects,
        next_due=report.next_due,
        trouble=trouble,
        diverged=diverged,
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
    """The self-check, after commit and effects, from what is recorded; None if this tick is not among those that are checked.

    Raises NoRoomLeft.
    """
    if not self_check.chosen(committed.facts.commit_id, around.self_check_share):
        return None
    return self_check.differences(base, committed)


def _post_results(
    around: Surroundings, town_id: str, tick_id: str, woken_at: list[datetime], results: tuple[ResultEvent, ...]
) -> Steps[None]:
    """Post the results of a round as events, which wakes the town, and add the time to `woken_at`.

    There are none if no effect of the round was begun. The clock may have been set while the effects ran: by a clock a day ahead,
    the results would be heard a day later, and after an older clock's they would be applied out of order.
    """
    if not results:
        return
    posted = 0
    try:
        now = yield from around.stamp()
        while posted < len(results):
            part = results[posted : posted + limits.EVENTS_PER_BATCH]
            batch = ingest.batch_of(part, received_at=now, source=EventSource.EFFECT)
            batch_id = f"{tick_id}-{part[0]['event_id'][4:20]}"
            yield from around.store.post(town_id, batch.body, received_at=now, batch_id=batch_id, wake=True)
            posted += len(part)
    except TownError as error:
        _say_what_was_lost(error, town_id, len(results) - posted)
        raise
    woken_at.append(now)


def _say_what_was_lost(error: TownError, town_id: str, lost: int) -> None:
    """Let the error of a store call say what it means for the town."""
    results = "1 result of an effect" if lost == 1 else f"{lost} results of effects"
    error.args = (f"town {town_id}: {results} could not be stored: {error.message}",)
    claimed = f"the effect stays claimed; a later tick tries it again or calls its outcome unknown. {error.hint}"
    error.hint = claimed.strip()


def _not_due(
    around: Surroundings,
    image: TownImage,
    markers: tuple[DueMarker, ...],
    due: datetime | None,
    *,
    now: datetime,
    held: bool = False,
) -> Steps[RunReport]:
    """The report of a run that did nothing but to move the markers to the time when the town will be due.

    If that is in seconds, or events are `held` until then, whatever arrives meanwhile needs no marker of its own.
    """
    is_soon = due is not None and due <= now + limits.ACTIVE_INTERVAL
    woken = yield from _keep_due(around, image, markers, due=due, now=now, look=not (is_soon or held))
    return RunReport(image.town_id, "not_due", image, next_due=due, woken_at=woken)


def _keep_due(
    around: Surroundings,
    image: TownImage,
    markers: tuple[DueMarker, ...],
    *,
    due: datetime | None,
    now: datetime,
    look: bool = True,
) -> Steps[tuple[datetime, ...]]:
    """Write the new marker, then delete the old ones, so that a town that will be due always has a marker in time.

    After deleting, `look` at inbox and head again: an event may have arrived, or another worker may have committed and rely on a
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
        if not look:
            return ()
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


def _with_marked_violations(around: Surroundings, done: RunReport, *, was_violated: bool) -> Steps[RunReport]:
    """Mark a town with an open violation, so that it stays visible between its ticks, and end the mark when the violation ends."""
    if done.tick is None or done.outcome not in ("committed", "quiet"):
        return done
    is_violated = done.tick.metrics.invariant_violations > 0
    if not is_violated and not was_violated:
        return done
    try:
        yield from around.store.mark_violated(done.town_id, open_=is_violated)
    except TownError as error:
        return replace(done, trouble=done.trouble or error)
    return done


def _require_present(image: TownImage, around: Surroundings, now: datetime) -> None:
    """Raise FromTheFuture if a clock that was far ahead made the newest commit: our own agrees with the store's."""
    lead = None if around.guard is None else lead_of(image.facts.time, now=now)
    if lead is not None:
        own_clock = summary.has_own_clock(image.content)
        raise from_the_future(image.town_id, image.facts.time, lead, own_clock=own_clock)

"""One run of the reconciler over one town, as steps: load, look, tick, commit, clean up, perform (spec/tick.md, 0 to 16).

Every call to the outside is yielded (`shared.domain.steps`), so that the real loop, the simulation and the crash sweep
drive the same code. Nothing outside is touched before the commit stands; who loses the race has called nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

from shared.domain import limits
from shared.domain.errors import Conflict, OutOfTime, Refused, Retryable, TownError
from shared.domain.limits import MILLISECOND
from shared.domain.ports import Alerts, Clock, Metrics, ProcessStatus
from shared.domain.report import TickReport
from shared.domain.states import EventSource
from shared.domain.steps import Call, Steps, Together
from shared.domain.tick import Envelope, Observations, TickInput, config_digest
from shared.domain.town_store import (
    CommitFacts,
    DueMarker,
    InboxReading,
    Publication,
    Published,
    TownImage,
    TownStore,
)
from shared.engine import tick
from shared.engine.code_version import code_version
from shared.engine.perform import Outside, Performed, Result, perform
from shared.events import ingest
from shared.town import database, journal, summary

RunOutcome = Literal["committed", "quiet", "not_due", "lost"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything outside a town that a run needs."""

    store: TownStore
    clock: Clock
    outside: Outside = field(default_factory=Outside)
    alerts: Alerts | None = None
    metrics: Metrics | None = None
    restore_window: timedelta = limits.RESTORE_WINDOW
    settings: Mapping[str, Any] = field(default_factory=dict)
    commit_until: datetime | None = None
    """No commit is begun after it: the last seconds of a Lambda's life are for ending. None = the process is its own."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did. `image` is the newest image that it knows, to be handed to the next run as `known`.

    `trouble` is what went wrong after the commit stood: nothing is lost, a later run does what is missing.
    """

    town_id: str
    outcome: RunOutcome
    image: TownImage
    tick: TickReport | None = None
    effects: Performed = field(default_factory=Performed)
    save_conflicts: int = 0
    next_due: datetime | None = None
    trouble: TownError | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The inbox as one tick takes it. `taken` are the batches that are in `envelopes` with all their events."""

    envelopes: tuple[Envelope, ...]
    taken: tuple[tuple[str, tuple[str, ...]], ...]
    more: bool


CONTAINER: Final = "container"


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
    sql = database.open_image(image.image)
    try:
        database.check_identity(sql, town_id)
        about = summary.before_tick(sql)
        now: datetime = yield Call("clock", around.clock.now)
        if exactly is not None:
            _require_same_image(exactly, image)
        elif not force:
            later = _not_yet(about, waiting, now, image)
            if later is not None:
                yield from _keep_due(around, image, markers, due=later.at, now=now)
                return RunReport(town_id, "not_due", image, next_due=later.at)
        reading = read_batches(waiting)
        wanted = _as_marked(about, markers)
        given, published = exactly, Published()
        if given is None:
            publication = around.store.publication(image, journal.oldest_block(sql))
            given, published = yield from _input(around, image, reading, wanted, publication, worker_id=worker_id)
        report = tick.run(sql, given, town_id=town_id)
        if report.quiet:
            yield from _keep_due(around, image, markers, due=report.next_due, now=given.now)
            done = RunReport(town_id, "quiet", image, tick=report, next_due=report.next_due)
        else:
            new_image = database.image_of(sql)
            base = _Base(image, published, _taken(reading, given), markers)
            done = yield from _commit(around, base, new_image, report)
    finally:
        database.close(sql)
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


def _commit(around: Surroundings, base: _Base, image: bytes, report: TickReport) -> Steps[RunReport]:
    """Phases 14 and 15. A lost race discards everything."""
    town_id = report.town_id
    facts = CommitFacts(
        commit_id=report.input.tick_id,
        tick_no=report.input.tick_no,
        time=report.input.now,
        next_due=report.next_due,
        schema_version=database.SCHEMA_VERSION,
    )
    if around.commit_until is not None:
        now: datetime = yield Call("clock", around.clock.now)
        if now > around.commit_until:
            raise OutOfTime(
                f"town {town_id}: the tick was ready too late to be committed safely",
                hint="nothing was done; the next run does it. Give the worker more time or fewer towns",
            )
    try:
        committed = yield from around.store.commit(base.image, image, facts, published=base.published)
    except Conflict:
        return RunReport(town_id, "lost", base.image, save_conflicts=1)
    trouble: TownError | None = None
    effects = Performed()
    try:
        yield from around.store.clear_inbox(base.batches)
        yield from _keep_due(around, committed, base.markers, due=report.next_due, now=report.input.now)
    except TownError as error:
        # what is not tidied up is found by the next run; the effects are claimed and cannot wait
        trouble = error
    try:
        effects = yield from perform(
            report.effects,
            around.outside,
            clock=around.clock,
            claimed_at=report.input.now,
            post=partial(_post_results, around, town_id, report.input.tick_id),
        )
    except TownError as error:
        trouble = error
    return RunReport(
        town_id, "committed", committed, tick=report, effects=effects, next_due=report.next_due, trouble=trouble
    )


def _post_results(around: Surroundings, town_id: str, tick_id: str, results: tuple[Result, ...]) -> Steps[None]:
    """Results are events like any others; they wake the town."""
    now: datetime = yield Call("clock", around.clock.now)
    for start in range(0, len(results), limits.EVENTS_PER_BATCH):
        part = results[start : start + limits.EVENTS_PER_BATCH]
        batch = ingest.batch_of(part, received_at=now, source=EventSource.EFFECT)
        batch_id = f"{tick_id}-{part[0]['event_id'][4:20]}"
        yield from around.store.post(town_id, batch.body, received_at=now, batch_id=batch_id, wake=True)


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
    if about.last_tick_at is not None and now < about.last_tick_at + about.interval:
        return _Later(about.last_tick_at + about.interval)
    return None


def _as_marked(about: summary.BeforeTick, markers: tuple[DueMarker, ...]) -> summary.BeforeTick:
    """What the image says, without a due time that a quiet tick has dealt with: its marker is gone, and it was no commit.

    It would count as waiting time of this tick (tickLagMs). Where no marker led here (a tick by hand) it stands.
    """
    due = about.next_due
    if due is None or not markers or any(marker.at <= due < marker.at + timedelta(seconds=1) for marker in markers):
        return about
    return replace(about, next_due=None)


def _input(
    around: Surroundings,
    image: TownImage,
    reading: Reading,
    about: summary.BeforeTick,
    publication: Publication,
    *,
    worker_id: str,
) -> Steps[tuple[TickInput, Published]]:
    """Phases 1 to 3: the events, the observations, the one clock reading. What the committed image has grown enough for
    is made immutable beside it.
    """
    asking = _questions(image.town_id, around, about.watched)
    calls = (*publication.calls, *asking)
    answers = (yield Together(calls)) if calls else []
    published = yield from publication.settled(tuple(answers[: len(publication.calls)]))
    observations = _observations(about.watched, answers[len(publication.calls) :])
    wall: datetime = yield Call("clock", around.clock.now)
    given = fix_input(
        around,
        image,
        about,
        now=wall,
        worker_id=worker_id,
        reading=reading,
        observations=observations,
        journal_published_to=published.journal_to,
    )
    return given, published


def fix_input(
    around: Surroundings,
    image: TownImage,
    about: summary.BeforeTick,
    *,
    now: datetime,
    worker_id: str,
    reading: Reading,
    observations: Observations,
    journal_published_to: int = 0,
) -> TickInput:
    """Phase 3: what the tick will be given. Time strictly increases from tick to tick, whatever the wall clock says."""
    tick_no = image.facts.tick_no + 1
    return TickInput(
        tick_no=tick_no,
        tick_id=f"{tick_no}-{worker_id}",
        now=now if about.last_tick_at is None else max(now, about.last_tick_at + MILLISECOND),
        code_version=code_version(),
        sqlite_version=database.SQLITE_VERSION,
        config_digest=config_digest(about.config),
        prev_image_digest=image.image_digest,
        new_events=reading.envelopes,
        more_waiting=reading.more,
        observations=observations,
        due_at=about.next_due,
        journal_published_to=journal_published_to,
        restore_window=around.restore_window,
        settings=around.settings,
    )


def observe(town_id: str, around: Surroundings, watched: tuple[str, ...]) -> Steps[Observations]:
    """Phase 2: ask for the status of every agent in working or stalled, and of the container; no answer is `unknown`."""
    asking = _questions(town_id, around, watched)
    answers = (yield Together(asking)) if asking else []
    return _observations(watched, answers)


def _questions(town_id: str, around: Surroundings, watched: tuple[str, ...]) -> tuple[Call, ...]:
    runtime = around.outside.runtime
    if runtime is None:
        return ()
    agents = [Call(f"status {agent_id}", partial(runtime.status, town_id, agent_id)) for agent_id in sorted(watched)]
    return (*agents, Call(CONTAINER, partial(runtime.container_state, town_id)))


def _observations(watched: tuple[str, ...], answers: Sequence[Any]) -> Observations:
    if not answers:
        return Observations(asked=False)
    *statuses, container = answers
    seen = tuple(
        (agent_id, ProcessStatus("unknown") if isinstance(status, Exception) else status)
        for agent_id, status in zip(sorted(watched), statuses, strict=True)
    )
    return Observations(agents=seen, container="unknown" if isinstance(container, Exception) else container)


def read_batches(waiting: InboxReading) -> Reading:
    """At most 1,000 events, in order of receipt; a batch that is taken in part stays until its rest is taken."""
    envelopes: list[Envelope] = []
    taken: list[tuple[str, tuple[str, ...]]] = []
    for batch in waiting.objects:
        events = ingest.read_object(batch.key, batch.body)
        room = limits.EVENTS_PER_TICK - len(envelopes)
        envelopes.extend(events[:room])
        if len(events) > room:
            return Reading(tuple(envelopes), tuple(taken), more=True)
        taken.append((batch.key, tuple(event.event_id for event in events)))
    return Reading(tuple(envelopes), tuple(taken), more=waiting.more)


def _keep_due(
    around: Surroundings, image: TownImage, markers: tuple[DueMarker, ...], *, due: datetime | None, now: datetime
) -> Steps[None]:
    """The new marker first, then the old ones go; so a town with something to do always has one not later than it.

    Whoever deletes a marker looks at inbox and head again afterwards: an event may have come, and another worker may
    have committed and rely on a marker of the same second. Who cannot look leaves a marker for somebody who can.
    """
    keep = None
    if due is not None:
        keep = (yield from around.store.mark_due(image.town_id, due)).key
    old = tuple(marker.key for marker in markers if marker.key != keep)
    if not old:
        return
    try:
        yield from around.store.clear_due(old)
        waiting = yield from around.store.read_inbox(image.town_id, limit=1)
        newest = yield from around.store.load(image.town_id, known=image)
        missed = bool(waiting.objects) or newest.etag != image.etag
    except Retryable:
        missed = True
    if missed:
        yield from around.store.mark_due(image.town_id, now)


def _tell(around: Surroundings, done: RunReport) -> Steps[None]:
    """Phase 16: alerts and metrics, after the commit and never for a lost race's decisions."""
    if around.alerts is not None and done.tick is not None and done.tick.alerts:
        yield Call("alerts", partial(around.alerts.raise_all, done.tick.alerts))
    if around.metrics is not None:
        yield Call("metrics", partial(around.metrics.tick_ran, done))


def _taken(reading: Reading, given: TickInput) -> tuple[str, ...]:
    """Keys of the batches whose events the tick was given, all of them."""
    events = {event.event_id for event in given.new_events}
    return tuple(key for key, ids in reading.taken if events.issuperset(ids))


def _require_same_image(exactly: TickInput, image: TownImage) -> None:
    if exactly.prev_image_digest != image.image_digest or exactly.tick_no != image.facts.tick_no + 1:
        raise Refused(
            f"town {image.town_id} has moved on: it stands at tick {image.facts.tick_no}, "
            f"the given input is for tick {exactly.tick_no} of another image",
            status=409,
            path="input",
            hint="take a new dry run and run its input",
        )

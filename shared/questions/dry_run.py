"""Dry run: runs the next tick on a private copy of the town and never commits it (spec/tick.md section 10)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.report import (
    ActionFields,
    AppliedEvent,
    BrokenInvariant,
    Claim,
    JudgedAction,
    TickMetrics,
    TickReport,
)
from shared.domain.shapes import Time, answer
from shared.domain.tick import Envelope, Observations, TickInput
from shared.domain.times import to_text
from shared.engine import reconcile, tick
from shared.images import dump, image_digest, summary
from shared.ports.steps import Call, Steps
from shared.ports.town_store import TownImage
from shared.questions import waits
from shared.questions.other_config import override_config
from shared.questions.snapshot import AsOf
from shared.runner.code_version import code_version
from shared.runner.inputs import batches_behind, fix_input, heard_out, observe, read_batches
from shared.runner.returning import returned_families
from shared.runner.surroundings import Surroundings
from shared.town import database, migrations

_LAST_YEAR: Final = 9000
"""The limit of `now`: up to this far ahead of it, a tick can still write its due times."""


@answer
class WantedAction:
    """An action that a rule would yield if the paused town were started."""

    rule: str
    action: ActionFields


@answer
class PendingCount:
    """The number of pending events, before and after the drain."""

    before: int
    after: int


@answer
class Digests:
    """The digests of the image that would be committed."""

    image: str
    logical: str


@answer
class DryRun:
    """What the next tick would do. `input` is the tick's complete input; a real tick with this input does the same.

    A quiet tick commits nothing, so `digests` are then those of the present image. `without_effect` says why a setting that was
    changed for it makes less of a difference than was asked for: its value holds already, or a rig has its own.
    """

    town_id: str
    as_of: AsOf
    quiet: bool
    input: TickInput
    events: tuple[AppliedEvent, ...]
    actions: tuple[JudgedAction, ...]
    if_started: tuple[WantedAction, ...]
    effects: tuple[Claim, ...]
    violations: tuple[BrokenInvariant, ...]
    metrics: TickMetrics
    pending_event_count: PendingCount
    waiting: dict[str, int]
    next_due_at: Time | None
    digests: Digests
    without_effect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The next tick and the image that it would commit; the present image if the tick is quiet.

    `if_started` are the actions that the rules would yield if the paused town were started, `waiting` the numbers of beads that
    wait for each reason afterwards.
    """

    base: TownImage
    report: TickReport
    image: bytes
    logical_digest: str
    if_started: tuple[WantedAction, ...] = ()
    waiting: Mapping[str, int] = field(default_factory=dict)
    without_effect: tuple[str, ...] = ()

    def answer(self) -> DryRun:
        """The answer about this tick."""
        report, base = self.report, self.base
        given = report.input
        return DryRun(
            town_id=base.town_id,
            as_of=AsOf(base.txid, base.facts.tick_no, base.facts.time, given.sqlite_version, given.code_version),
            quiet=report.quiet,
            input=given,
            events=report.events,
            actions=report.actions,
            if_started=self.if_started,
            effects=report.effects,
            violations=report.violations,
            metrics=report.metrics,
            pending_event_count=PendingCount(report.pending_before, report.pending_after),
            waiting=dict(self.waiting),
            next_due_at=report.next_due,
            digests=Digests(image_digest.of_image(self.image), self.logical_digest),
            without_effect=self.without_effect,
        )


def rehearse(
    town_id: str,
    around: Surroundings,
    *,
    worker_id: str,
    ask_runtime: bool = False,
    now: datetime | None = None,
    extra_events: tuple[Envelope, ...] = (),
    config: Mapping[str, Any] | None = None,
) -> Steps[Rehearsal]:
    """Run the next tick on a copy of the newest image, with the events that wait in the inbox. Nothing is written.

    With `ask_runtime` the agents' processes are observed as in a real tick; otherwise the runtime is not asked. `config`
    replaces values of the town's configuration. Raises Refused: 422 if the resulting configuration is not valid, 400 if `now` is
    not after the last tick.
    """
    image = yield from around.store.load(town_id)
    inbox = yield from around.store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    reading = read_batches(inbox, behind=(yield from batches_behind(around, town_id, inbox)))
    with database.opened(image.image) as sql:
        database.check_identity(sql, town_id)
        held: tuple[str, ...] = ()
        if config:
            from shared.questions.held_settings import without_effect  # noqa: PLC0415 - only if settings are changed
            from shared.questions.rosters import settings_in  # noqa: PLC0415

            with migrations.newest_schema(sql):
                present = settings_in(town_id, sql, tick=image.facts.tick_no)
            held = tuple(without_effect(config, present, present, {}))
            override_config(sql, config, path="config")
        about = summary.before_tick(sql)
        if now is not None:
            _require_time(town_id, now, about.last_tick_at)
        observations = Observations(asked=False)
        if ask_runtime:
            observations = yield from observe(town_id, around, about.watched)
            reading, observations = yield from heard_out(town_id, around, reading, observations)
        at: datetime = now or (yield Call("clock", around.clock.now))
        given = fix_input(
            around,
            image,
            about,
            now=at,
            worker_id=worker_id,
            reading=replace(reading, envelopes=(*reading.envelopes, *extra_events)),
            observations=observations,
            code=code_version(),
        )
        returned = yield from returned_families(around.store, sql, given.new_events, town_id=town_id)
        return replace(_run(sql, image, replace(given, returned=returned)), without_effect=held)


def _require_time(town_id: str, now: datetime, last_tick_at: datetime | None) -> None:
    """Check the time of a what-if. Raises Refused."""
    if last_tick_at is not None and now <= last_tick_at:
        raise Refused(
            f"now is {to_text(now)}, but the last tick of town {town_id} was at {to_text(last_tick_at)}",
            status=400,
            path="now",
            hint="give a later time, or omit it for the present; a replay shows what past ticks did",
        )
    if now.year > _LAST_YEAR:
        hint = f"give a time before the year {_LAST_YEAR + 1}, or omit it for the present"
        raise Refused(f"now is {to_text(now)}, which is too late for a tick", status=400, path="now", hint=hint)


def _run(sql: database.Database, image: TownImage, given: TickInput) -> Rehearsal:
    with migrations.newest_schema(sql):
        wanted = _if_started(sql, given, image.town_id)
    report = tick.run(sql, given, town_id=image.town_id)
    with migrations.newest_schema(sql):
        waiting = waits.counts_after(sql, given, town_id=image.town_id)
    return Rehearsal(
        base=image,
        report=report,
        image=image.image if report.quiet else database.image_of(sql),
        logical_digest=dump.logical_digest(sql),
        if_started=wanted,
        waiting=waiting,
    )


def _if_started(sql: database.Database, given: TickInput, town_id: str) -> tuple[WantedAction, ...]:
    """The actions that the rules of a paused town would yield in its present state; none if the town is not paused."""
    reader, about = tick.current_state(sql, given, town_id=town_id)
    if not about.paused:
        return ()
    intents = reconcile.decide(reader, about).intents
    return tuple(WantedAction(rule, action.as_json()) for rule, action in intents)

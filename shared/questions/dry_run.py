"""Dry run: runs the next tick on a private copy of the town and never commits it (spec/tick.md section 10)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain import limits
from shared.domain.report import TickReport
from shared.domain.shapes import document
from shared.domain.tick import Envelope, Observations, TickInput
from shared.domain.times import text_or_none, to_text
from shared.engine import reconcile, tick
from shared.images import dump, summary
from shared.ports.steps import Call, Steps
from shared.ports.town_store import TownImage
from shared.questions.answers import DryRunAnswer, WantedAction
from shared.questions.other_config import override_config
from shared.questions.snapshot import AsOf
from shared.runner.inputs import Reading, fix_input, observe, read_batches
from shared.runner.surroundings import Surroundings
from shared.town import database


@dataclass(frozen=True, slots=True)
class DryRun:
    """The next tick and the image that it would commit. A quiet tick commits nothing; `image` is then the present image.

    `if_started` are the actions that the rules would yield if the paused town were started.
    """

    base: TownImage
    report: TickReport
    image: bytes
    logical_digest: str
    if_started: tuple[WantedAction, ...] = ()

    def as_json(self, *, image_digest: str) -> DryRunAnswer:
        """The answer of a dry run. It contains the whole input; a real tick with this input does the same."""
        given = self.report.input
        return {
            "townId": self.base.town_id,
            "asOf": document(
                AsOf(
                    self.base.txid,
                    self.base.facts.tick_no,
                    self.base.facts.time,
                    given.sqlite_version,
                    given.code_version,
                )
            ),
            "quiet": self.report.quiet,
            "input": {
                "tick_no": given.tick_no,
                "tick_id": given.tick_id,
                "now": to_text(given.now),
                "code_version": given.code_version,
                "sqlite_version": given.sqlite_version,
                "config_digest": given.config_digest,
                "prev_image_digest": given.prev_image_digest,
                "inputs": given.as_json(),
            },
            "events": [event.as_json() for event in self.report.events],
            "actions": [action.as_json() for action in self.report.actions],
            "ifStarted": list(self.if_started),
            "effects": [effect.as_json() for effect in self.report.effects],
            "violations": [violation.as_json() for violation in self.report.violations],
            "metrics": self.report.metrics,
            "pendingEventCount": {"before": self.report.pending_before, "after": self.report.pending_after},
            "waiting": dict(self.report.waiting_counts),
            "nextDueAt": text_or_none(self.report.next_due),
            "digests": {"image": image_digest, "logical": self.logical_digest},
        }


def dry_run(
    town_id: str,
    around: Surroundings,
    *,
    worker_id: str,
    ask_runtime: bool = False,
    now: datetime | None = None,
    extra_events: tuple[Envelope, ...] = (),
    config: Mapping[str, Any] | None = None,
) -> Steps[DryRun]:
    """Run the next tick on a copy of the newest image, with the events that wait in the inbox. Nothing is written.

    With `ask_runtime` the agents' processes are observed as in a real tick; otherwise the input records `none`. `config`
    replaces values of the town's configuration. Raises Refused (422) if the resulting configuration is not valid.
    """
    image = yield from around.store.load(town_id)
    reading = read_batches((yield from around.store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)))
    with database.opened(image.image) as sql:
        database.check_identity(sql, town_id)
        if config:
            override_config(sql, config, path="config")
        about = summary.before_tick(sql)
        observations = Observations(asked=False)
        if ask_runtime:
            observations = yield from observe(town_id, around, about.watched)
        at: datetime = now or (yield Call("clock", around.clock.now))
        given = fix_input(
            around,
            image,
            about,
            now=at,
            worker_id=worker_id,
            reading=Reading((*reading.envelopes, *extra_events), reading.taken, reading.more),
            observations=observations,
        )
        return _run(sql, image, given)


def _run(sql: database.Database, image: TownImage, given: TickInput) -> DryRun:
    wanted = _if_started(sql, given, image.town_id)
    report = tick.run(sql, given, town_id=image.town_id)
    return DryRun(
        base=image,
        report=report,
        image=image.image if report.quiet else database.image_of(sql),
        logical_digest=dump.logical_digest(sql),
        if_started=wanted,
    )


def _if_started(sql: database.Database, given: TickInput, town_id: str) -> tuple[WantedAction, ...]:
    """The actions that the rules of a paused town would yield in its present state; none if the town is not paused."""
    reader, about = tick.current_state(sql, given, town_id=town_id)
    if not about.paused:
        return ()
    intents = reconcile.decide(reader, about).intents
    return tuple({"rule": rule, "action": action.as_json()} for rule, action in intents)

"""One batch of wakes: each town in it is run once, and no town's failure touches another's.

Wakes need no order, so towns stand side by side where the queue would have them in line: what failed goes back to the
queue by itself, and of its town nothing else is tried in this batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from shared.adapters.sqs_queue import wake_of
from shared.domain import limits
from shared.domain.errors import Refused, UnknownTown
from shared.domain.ports import Wake
from shared.domain.steps import drive
from shared.engine.dispatch import run_due_town
from shared.engine.run_report import FailedRun, RunReport
from shared.engine.surroundings import Surroundings
from shared.engine.warm_images import WarmImages
from shared.storage import keys
from shared.telemetry.emf import EmfMetrics

BEGIN_NO_TOWN: Final = timedelta(seconds=90)
"""Before the end of its life: a tick with its look at the agents, and an effect as slow as effects may be (60 s)."""
BEGIN_NO_COMMIT: Final = timedelta(seconds=4)


@dataclass(slots=True)
class Worker:
    """What stays warm between two batches: the newest image of each town, under its ETag."""

    around: Surroundings
    metrics: EmfMetrics
    worker_id: Callable[[], str]
    warm: WarmImages = field(default_factory=WarmImages)

    def batch(self, records: Sequence[Mapping[str, Any]], *, remaining: timedelta) -> list[str]:
        """Run the towns of these SQS records; returns the ids of the messages that must come again."""
        dies = self.around.clock.now() + remaining
        around = replace(self.around, commit_until=dies - BEGIN_NO_COMMIT, effects_until=dies - BEGIN_NO_COMMIT)
        again: list[str] = []
        too_early: list[tuple[datetime, Wake]] = []
        for messages, wake in _towns_of(records, again):
            done = None if self.around.clock.now() >= dies - BEGIN_NO_TOWN else self._run(wake, around)
            if isinstance(done, FailedRun):
                again += (
                    () if isinstance(done.error, UnknownTown) else messages
                )  # an unknown town would not become known
            elif done is None or done.outcome == "no_time":
                again += messages
            elif done.outcome == "not_due" and done.next_due is not None:
                too_early.append((done.next_due, wake))
        self._run_those_that_came_too_early(too_early, around, until=dies - BEGIN_NO_TOWN)
        return again

    def _run_those_that_came_too_early(
        self, waiting: list[tuple[datetime, Wake]], around: Surroundings, *, until: datetime
    ) -> None:
        """Ticks of a town keep their distance, so what woke it a moment after a tick waits a few seconds: here, for the
        dispatcher may not look again before the next minute. If that fails too, the town's marker brings it back.
        """
        soon = self.around.clock.now() + limits.ACTIVE_INTERVAL
        for at, wake in sorted(waiting, key=lambda each: (each[0], each[1].town_id)):
            if at <= min(soon, until):
                self.around.clock.sleep((at - self.around.clock.now()).total_seconds())
                self._run(replace(wake, due=(*wake.due, at)), around)

    def _run(self, wake: Wake, around: Surroundings) -> RunReport | FailedRun:
        """One run of one town; its image stays warm unless it failed."""
        markers = tuple(keys.due_marker(wake.town_id, at) for at in wake.due)
        known = self.warm.get(wake.town_id)
        done = drive(run_due_town(around, wake.town_id, markers, known=known, worker_id=self.worker_id()))
        if isinstance(done, FailedRun):
            self.warm.forget(wake.town_id)
            self.metrics.town_failed(done)
        else:
            self.warm.keep(done.image)
        return done


def _towns_of(records: Sequence[Mapping[str, Any]], unreadable: list[str]) -> list[tuple[list[str], Wake]]:
    """One wake per town, with the ids of all its messages, in the order of the batch."""
    found: dict[str, tuple[list[str], Wake]] = {}
    for record in records:
        message = str(record["messageId"])
        try:
            wake = wake_of(str(record["body"]))
            keys.checked_town_id(wake.town_id)
        except Refused:
            unreadable.append(message)
            continue
        messages, known = found.get(wake.town_id, ([], replace(wake, due=())))
        due = tuple(sorted({*known.due, *wake.due}))
        found[wake.town_id] = ([*messages, message], replace(known, due=due))
    return list(found.values())

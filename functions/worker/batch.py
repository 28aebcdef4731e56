"""One batch of wakes: each town in it is run once, and no town's failure touches another's.

Wakes need no order, so towns stand side by side where the queue would have them in line: what failed is put back for a
few seconds by itself, and of its town nothing else is tried in this batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from shared.adapters.sqs_queue import wake_of
from shared.domain import limits
from shared.domain.errors import Refused, UnknownTown
from shared.ports.queue import Queue, Wake
from shared.ports.steps import drive
from shared.runner.dispatch import remember, run_due_town
from shared.runner.run_report import FailedRun, RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.warm_images import WarmImages
from shared.storage import keys
from shared.telemetry.emf import EmfMetrics

BEGIN_NO_TOWN: Final = timedelta(seconds=90)
"""Before the end of its life: a tick with its look at the agents, and an effect as slow as effects may be (60 s)."""
BEGIN_NO_COMMIT: Final = timedelta(seconds=4)
AT_ONCE: Final = timedelta(0)
AFTER_FAILURES: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 45, 60))
"""How long what failed waits, by how often it was delivered; then it goes to the dead ones, and its marker wakes it anew."""


@dataclass(frozen=True, slots=True)
class _Delivered:
    """One town of a batch: its wakes as one, and the records that they came in."""

    wake: Wake
    records: tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class Worker:
    """What stays warm between two batches: the newest image of each town, under its ETag."""

    around: Surroundings
    queue: Queue
    metrics: EmfMetrics
    worker_id: Callable[[], str]
    warm: WarmImages = field(default_factory=WarmImages)

    def batch(self, records: Sequence[Mapping[str, Any]], *, remaining: timedelta) -> list[str]:
        """Run the towns of these SQS records; returns the ids of the messages that must come again.

        Raises QueueUnavailable, AccessDenied if these could not be put back; then all come again, which does no harm.
        """
        dies = self.around.clock.now() + remaining
        around = replace(self.around, commit_until=dies - BEGIN_NO_COMMIT, effects_until=dies - BEGIN_NO_COMMIT)
        towns, unreadable = _towns_of(records)
        again = [(record, _patience(record)) for record in unreadable]
        soon: list[tuple[datetime, Wake]] = []
        for town in towns:
            done = None if self.around.clock.now() >= dies - BEGIN_NO_TOWN else self._run(town.wake, around)
            if done is None or (isinstance(done, RunReport) and done.outcome == "no_time"):
                again += [(record, AT_ONCE) for record in town.records]
            elif isinstance(done, RunReport):
                soon += self._follow_up(done, town.wake)
            elif not isinstance(done.error, UnknownTown):  # which would not become known
                again += [(record, _patience(record)) for record in town.records]
        if again:
            self.queue.put_back({str(record["receiptHandle"]): wait for record, wait in again})
        self._follow(soon, around, until=dies - BEGIN_NO_TOWN)
        return [str(record["messageId"]) for record, _ in again]

    def _follow(self, soon: list[tuple[datetime, Wake]], around: Surroundings, *, until: datetime) -> None:
        """Run again the towns that are due within seconds: what came a moment after a tick, and the results of effects.

        For nobody woke them but an event, and the dispatcher may not look before the next minute. If time is short, a town's
        marker brings it back.
        """
        while soon:
            soon.sort(key=lambda each: (each[0], each[1].town_id))
            at, wake = soon.pop(0)
            now = self.around.clock.now()
            if at > min(now + limits.ACTIVE_INTERVAL, until):
                continue
            self.around.clock.sleep(max((at - now).total_seconds(), 0))
            done = self._run(wake, around)
            if isinstance(done, RunReport):
                soon += self._follow_up(done, wake)

    def _follow_up(self, done: RunReport, wake: Wake) -> list[tuple[datetime, Wake]]:
        """When this worker runs the town again, and for which due markers; nothing where nobody need, or the sender does.

        The sender sees to what would have to be waited for. It is not sure to be there when effects took long, and a marker of
        the same second as one that it sent it takes for that one.
        """
        wanted = _due_within_seconds(done)
        if wanted is None:
            return []
        at, times = wanted
        due = tuple(keys.due_marker(wake.town_id, each).at for each in times)
        if wake.watched and at > self.around.clock.now() and not set(due) & set(wake.due):
            return []
        return [(at, replace(wake, due=due))]

    def _run(self, wake: Wake, around: Surroundings) -> RunReport | FailedRun:
        """One run of one town; its image stays warm unless it failed."""
        markers = tuple(keys.due_marker(wake.town_id, at) for at in wake.due)
        known = self.warm.get(wake.town_id)
        done = drive(run_due_town(around, wake.town_id, markers, known=known, worker_id=self.worker_id()))
        remember(done, self.warm)
        if isinstance(done, FailedRun):
            self.metrics.town_failed(done)
        return done


def _due_within_seconds(done: RunReport) -> tuple[datetime, tuple[datetime, ...]] | None:
    """When a town may run again, and the times of the markers that want it then; None if none does."""
    next_due = () if done.next_due is None else (done.next_due,)
    if done.outcome == "not_due" and next_due:
        return next_due[0], (*done.woken_at, *next_due)
    if done.tick is None:
        return None
    may = done.tick.input.now + limits.ACTIVE_INTERVAL
    due = (*done.woken_at, *(at for at in next_due if at <= may))
    return (may, due) if due else None


def _patience(record: Mapping[str, Any]) -> timedelta:
    """How long a message waits that has failed as often as it was delivered."""
    failures = int(record["attributes"]["ApproximateReceiveCount"])
    return AFTER_FAILURES[min(failures, len(AFTER_FAILURES)) - 1]


def _towns_of(records: Sequence[Mapping[str, Any]]) -> tuple[list[_Delivered], list[Mapping[str, Any]]]:
    """One wake per town with all its records, in the order of the batch; and the records that hold no wake."""
    found: dict[str, _Delivered] = {}
    unreadable: list[Mapping[str, Any]] = []
    for record in records:
        try:
            wake = wake_of(str(record["body"]))
            keys.checked_town_id(wake.town_id)
        except Refused:
            unreadable.append(record)
            continue
        known = found.get(wake.town_id, _Delivered(replace(wake, due=()), ()))
        due = tuple(sorted({*known.wake.due, *wake.due}))
        together = replace(known.wake, due=due, watched=known.wake.watched and wake.watched)
        found[wake.town_id] = _Delivered(together, (*known.records, record))
    return list(found.values()), unreadable

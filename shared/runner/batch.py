"""One batch of wakes: each town in it is run, and the failure of one town does not affect the others.

Wakes need no order, so a failure does not stop the batch as it would in a strict FIFO consumer. The messages of the failed
town go back to the queue, with a delay, and the town is not tried again in this batch.

A wake of a town that runs apart is a run of its own, and so is one that is delivered again: the worker that had it may have
died. These runs are counted (`shared.runner.neighbours`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.domain import limits
from shared.domain.errors import Refused, TownError, UnknownTown
from shared.ports.queue import Delivery, Queue, Wake
from shared.ports.steps import Call, Steps
from shared.runner import neighbours
from shared.runner.dispatch import run_warm
from shared.runner.figures import Figures
from shared.runner.life import WORKER_TURN, Life
from shared.runner.run_report import FailedRun, RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.warm_images import WarmImages
from shared.storage import keys

AT_ONCE: Final = timedelta(0)
AFTER_FAILURES: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 45, 60))
"""Retry delay by delivery count; after the last, the message goes to the dead-letter queue; its due marker remains."""


@dataclass(frozen=True, slots=True)
class _Delivered:
    """One town of a batch: its wakes merged into one, and their messages."""

    wake: Wake
    messages: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class SetAside:
    """A town that was not run, because its runs have died too often. Its due markers stay, for when it is resumed."""

    town_id: str


Again = list[tuple[Delivery, timedelta]]
"""The messages to deliver again, each with its delay."""


@dataclass(slots=True)
class Worker:
    """One worker. Between batches it keeps the newest image of its recent towns warm."""

    around: Surroundings
    queue: Queue
    figures: Figures
    worker_id: Callable[[], str]
    warm: WarmImages = field(default_factory=WarmImages)
    own_runs: neighbours.OwnRuns = field(default_factory=neighbours.OwnRuns)

    def batch(self, messages: Sequence[Delivery], *, remaining: timedelta) -> Steps[list[str]]:
        """Run the towns of these messages; returns the ids of the messages that the queue must deliver again.

        Raises QueueUnavailable or AccessDenied if these could not be put back. Then the whole batch is delivered again, which is
        harmless.
        """
        now: datetime = yield Call("clock", self.around.clock.now)
        life = Life(now + remaining, WORKER_TURN)
        around = replace(self.around, life=life)
        towns, unreadable = _towns_of(messages)
        again = [(message, _patience(message)) for message in unreadable]
        soon: list[tuple[datetime, Wake]] = []
        for town in towns:
            begin: datetime = yield Call("clock", self.around.clock.now)
            done = None if begin >= life.begin_town_until else (yield from self._run(town.wake, around))
            again += _not_done(town, done)
            if isinstance(done, RunReport):
                soon += yield from self._follow_up(done, town.wake)
        if again:
            waits = {message.receipt: wait for message, wait in again}
            yield Call("put back wakes", partial(self.queue.put_back, waits))
        yield from self._follow(soon, around, until=life.begin_town_until)
        return [message.message_id for message, _ in again]

    def _follow(self, soon: list[tuple[datetime, Wake]], around: Surroundings, *, until: datetime) -> Steps[None]:
        """Run again the towns that are due within seconds, for events that arrived just after a tick or results of effects.

        The dispatcher may not look at their due markers before the next minute. If time is short, a town is left to its marker.
        """
        while soon:
            soon.sort(key=lambda each: (each[0], each[1].town_id))
            at, wake = soon.pop(0)
            now: datetime = yield Call("clock", self.around.clock.now)
            if at > min(now + limits.ACTIVE_INTERVAL, until):
                continue
            yield Call("sleep", partial(self.around.clock.sleep, max((at - now).total_seconds(), 0)))
            done = yield from self._run(wake, around)
            if isinstance(done, RunReport):
                soon += yield from self._follow_up(done, wake)

    def _follow_up(self, done: RunReport, wake: Wake) -> Steps[list[tuple[datetime, Wake]]]:
        """When this worker runs the town again, with the due markers; empty if no run is needed or the sender starts it.

        A sender that watches the markers starts the runs that are due later. It does not do so in two cases: it may have ended if
        effects took long, and it mistakes a new marker for one that it sent if both are of the same second.
        """
        wanted = _due_within_seconds(done)
        if wanted is None:
            return []
        at, times = wanted
        due = tuple(keys.due_marker(wake.town_id, each).at for each in times)
        now: datetime = yield Call("clock", self.around.clock.now)
        if wake.watched and at > now and not set(due) & set(wake.due):
            return []
        return [(at, replace(wake, due=due))]

    def _run(self, wake: Wake, around: Surroundings) -> Steps[RunReport | FailedRun | SetAside]:
        """One run of one town; if the wake says so, a counted one."""
        markers = tuple(keys.due_marker(wake.town_id, at) for at in wake.due)
        run = run_warm(around, wake.town_id, markers, warm=self.warm, worker_id=self.worker_id)
        done = yield from (self._counted(wake.town_id, around, run) if wake.alone else run)
        if isinstance(done, FailedRun):
            yield Call("metrics", partial(self.figures.town_failed, done))
        return done

    def _counted(
        self, town_id: str, around: Surroundings, run: Steps[RunReport | FailedRun]
    ) -> Steps[RunReport | FailedRun | SetAside]:
        """A run that is known to have died if it does not end."""
        try:
            before = yield from self.own_runs.begun(around, town_id)
            if neighbours.is_set_aside(before):
                return SetAside(town_id)
            done = yield from run
            yield from self.own_runs.ended(around, before)
        except TownError as error:
            return FailedRun(town_id, error)
        return done


def _not_done(town: _Delivered, done: RunReport | FailedRun | SetAside | None) -> Again:
    """The messages of a town to deliver again. Those of an unknown town are not: the town would still be unknown."""
    if done is None or (isinstance(done, RunReport) and done.outcome == "no_time"):
        return [(message, AT_ONCE) for message in town.messages]
    if isinstance(done, FailedRun) and not isinstance(done.error, UnknownTown):
        return [(message, _patience(message)) for message in town.messages]
    return []


def _due_within_seconds(done: RunReport) -> tuple[datetime, tuple[datetime, ...]] | None:
    """When a town may run again, and the times of the markers that require it; None if no marker does."""
    next_due = () if done.next_due is None else (done.next_due,)
    if done.outcome == "not_due" and next_due:
        return next_due[0], (*done.woken_at, *next_due)
    if done.tick is None:
        return None
    may = done.tick.input.now + limits.ACTIVE_INTERVAL
    due = (*done.woken_at, *(at for at in next_due if at <= may))
    return (min(done.woken_at, default=may), due) if due else None


def _patience(message: Delivery) -> timedelta:
    """The retry delay of a message: each of its deliveries has failed."""
    return AFTER_FAILURES[min(message.receives, len(AFTER_FAILURES)) - 1]


def _towns_of(messages: Sequence[Delivery]) -> tuple[list[_Delivered], list[Delivery]]:
    """One wake per town with all its messages, in the order of the batch; and the messages that contain no valid wake."""
    found: dict[str, _Delivered] = {}
    unreadable: list[Delivery] = []
    for message in messages:
        wake = _checked(message.wake)
        if wake is None:
            unreadable.append(message)
            continue
        known = found.get(wake.town_id, _Delivered(replace(wake, due=()), ()))
        due = tuple(sorted({*known.wake.due, *wake.due}))
        alone = known.wake.alone or wake.alone or message.receives > 1
        together = replace(known.wake, due=due, watched=known.wake.watched and wake.watched, alone=alone)
        found[wake.town_id] = _Delivered(together, (*known.messages, message))
    return list(found.values()), unreadable


def _checked(wake: Wake | None) -> Wake | None:
    """The wake, or None if its town id is not valid."""
    if wake is None:
        return None
    try:
        keys.checked_town_id(wake.town_id)
    except Refused:
        return None
    return wake

"""One scheduled minute: read the due markers every few seconds, run a few towns here, hand many to the queue.

If an effect of a tick might outlive this process, as the start of an agent may, the tick is not committed here. The town goes
to the queue, because workers live longer. So does a town whose image is too large for this process: it is asleep for most of a
minute, so it has little memory, and workers have more.

The dispatcher is level-triggered: a marker is deleted only after a tick has dealt with it. So the next minute finds all work
that this one leaves for lack of time or after an error. A call that is a minute late does nothing. If no marker falls into a
minute, the call ends at once and costs next to nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.domain import limits
from shared.domain.errors import ImageTooLarge, Retryable
from shared.domain.times import to_text
from shared.ports.queue import Queue, Wake
from shared.ports.steps import Call, Steps
from shared.ports.waiting_room import DueMarker
from shared.ports.watch import LifeNote
from shared.runner.dispatch import due_towns, run_warm
from shared.runner.figures import Figures
from shared.runner.life import DISPATCHER_TURN, Life
from shared.runner.neighbours import Neighbours
from shared.runner.run_report import FailedRun, MinuteReport
from shared.runner.surroundings import Surroundings
from shared.runner.sweep import TOWNS_PER_PAGE, sweep
from shared.runner.warm_images import WarmImages

MINUTE: Final = timedelta(minutes=1)
STUCK_AFTER: Final = timedelta(seconds=90)
"""A town that was handed over and has been due for this long is run here too: a worker should have run it by then."""

DueTowns = Mapping[str, tuple[DueMarker, ...]]


@dataclass(slots=True)
class Dispatcher:
    """The dispatcher. Between minutes it keeps warm images, and the town at which the sweep of this hour ran out of time."""

    around: Surroundings
    queue: Queue
    figures: Figures
    worker_id: Callable[[], str]
    pause: timedelta = limits.ACTIVE_INTERVAL
    in_process: int = 3
    sweep_page: int = TOWNS_PER_PAGE
    warm: WarmImages = field(default_factory=WarmImages)
    sweep_after: str | None = None
    swept: datetime | None = None
    neighbours: Neighbours | None = None

    def minute(
        self, minute: datetime, *, remaining: timedelta, execution_id: str = "", attempt: int = 1
    ) -> Steps[MinuteReport]:
        """Work for one scheduled minute, at most as long as the process lives, and report one summary.

        Raises errors of the store or the queue that stopped the minute, so that the call counts as failed. A town that fails
        raises nothing: it is reported by a metric, and by an alert unless its error is retryable.
        """
        report = MinuteReport(minute, execution_id, attempt)
        begun: datetime = yield Call("clock", self.around.clock.now)
        try:
            yield from self._work(report, begun, Life(begun + remaining, DISPATCHER_TURN))
        except Exception:
            yield from self._tell(report, begun)
            raise
        yield from self._tell(report, begun)
        return report

    def _work(self, report: MinuteReport, begun: datetime, life: Life) -> Steps[None]:
        yield from self.around.time()  # first: to a clock that is ahead, every call is late
        if begun - report.minute >= MINUTE:
            report.late = True
            return
        neighbours = yield from self._neighbours()
        yield from neighbours.look()
        report.set_aside, report.violated = len(neighbours.set_aside), len(neighbours.watched.violated)
        self._begin_sweep(report.minute)
        yield from _Shift(self, report, life, neighbours).passes(until=min(begun + MINUTE, life.begin_town_until))
        yield from neighbours.done()

    def _neighbours(self) -> Steps[Neighbours]:
        """What this process runs together. Only one dispatcher runs at a time, so any other that left a note has ended."""
        if self.neighbours is None:
            life: str = yield Call("worker id", self.worker_id)
            now: datetime = yield Call("clock", self.around.clock.now)
            self.neighbours = Neighbours(self.around, LifeNote(life, (), now), has_ended=lambda _, __: True)
        return self.neighbours

    def _tell(self, report: MinuteReport, begun: datetime) -> Steps[None]:
        now: datetime = yield Call("clock", self.around.clock.now)
        report.took = now - begun
        yield Call("metrics", partial(self.figures.minute_ran, report))

    def _begin_sweep(self, minute: datetime) -> None:
        """Sweep all towns once an hour. A sweep that runs out of time continues in the next minutes.

        An environment that starts during an hour leaves the sweep of that hour to the environment that ran at its beginning.
        """
        hour = minute.replace(minute=0, second=0, microsecond=0)
        if self.sweep_after is None and self.swept != hour and (minute.minute == 0 or self.swept is not None):
            self.sweep_after = ""
        self.swept = hour

    def sweep_until(self, until: datetime, report: MinuteReport) -> Steps[int]:
        """Go on with the sweep, if there is one, in time that is left over; returns how many markers it has written."""
        if self.sweep_after is None:
            return 0
        found = yield from sweep(self.around, after=self.sweep_after, until=until, page=self.sweep_page)
        self.sweep_after = found.resume_after
        report.restored += len(found.restored)
        for failed in found.failed:
            yield Call("metrics", partial(self.figures.town_failed, failed))
            report.failed[failed.town_id] = type(failed.error).__name__
        return len(found.restored)


class _Shift:
    """The passes of one minute."""

    def __init__(self, dispatcher: Dispatcher, report: MinuteReport, life: Life, neighbours: Neighbours) -> None:
        self._at = dispatcher
        self._neighbours = neighbours
        self._around = replace(dispatcher.around, life=life, has_larger_workers=True)
        self._clock = dispatcher.around.clock
        self._report = report
        self._life = life
        self._handed_over: set[tuple[str, datetime]] = set()
        self._too_slow: set[tuple[str, datetime]] = set()
        self._given_up: set[str] = set()

    def passes(self, *, until: datetime) -> Steps[None]:
        """Make passes until the minute is over, or until no marker falls into the rest of it.

        The sweep fills the pauses between them and the rest of the minute, so that no tick waits for it.
        """
        while True:
            begun = yield from self._around.time()
            known = yield from due_towns(self._around, by=max(begun, until))
            self._report.passes += 1
            given_up = self._given_up.union(self._neighbours.set_aside)
            waiting = {town: markers for town, markers in known.items() if town not in given_up}
            due = {town: markers for town, markers in waiting.items() if markers[0].at <= begun}
            yield from self._run(due, begun)
            next_pass = begun + self._at.pause
            is_last = not waiting or next_pass >= until
            restored = yield from self._at.sweep_until(until if is_last else next_pass, self._report)
            now: datetime = yield Call("clock", self._clock.now)
            if (is_last and not restored) or max(now, next_pass) >= until:
                return
            yield Call("sleep", partial(self._clock.sleep, max(0.0, (next_pass - now).total_seconds())))

    def _run(self, due: DueTowns, now: datetime) -> Steps[None]:
        """Run a few towns here, one after another; hand many to the queue, for workers to run in parallel."""
        for markers in due.values():
            self._report.oldest_due = max(self._report.oldest_due, now - markers[0].at)
        new = {town: found for town, found in due.items() if (town, found[0].at) not in self._handed_over}
        self._report.due += len(new)
        apart = {town: found for town, found in new.items() if self._neighbours.is_apart(town)}
        together = {town: found for town, found in new.items() if town not in apart}
        if apart:
            # a new wake every minute: the one before may be held by a worker that died
            yield from self._hand_over(apart, reason=f":alone:{to_text(self._report.minute)}", alone=True)
        if len(together) > self._at.in_process:
            yield from self._hand_over(together)
        else:
            yield from self._run_here(together)
        yield from self._run_here(self._stuck(due, now))

    def _stuck(self, due: DueTowns, now: datetime) -> DueTowns:
        """A few of the towns that were handed over and are long due: a dead worker or a failing message may block their group."""
        may_be_run_here = self._handed_over - self._too_slow
        stuck = [
            town
            for town, found in due.items()
            if now - found[0].at >= STUCK_AFTER
            and (town, found[0].at) in may_be_run_here
            and not self._neighbours.is_apart(town)
        ]
        return {town: due[town] for town in stuck[: self._at.in_process]}

    def _hand_over(self, due: DueTowns, *, reason: str = "", alone: bool = False) -> Steps[None]:
        wakes = [
            Wake(
                town,
                tuple(each.at for each in markers),
                f"{town}:{to_text(markers[0].at)}{reason}",
                watched=True,
                alone=alone,
            )
            for town, markers in due.items()
        ]
        left: tuple[Wake, ...] = yield Call("send wakes", partial(self._at.queue.send, wakes))
        refused = {wake.town_id for wake in left}
        taken = [wake for wake in wakes if wake.town_id not in refused]
        self._report.handed_over += len(taken)
        self._report.left += len(refused)
        self._remember(taken)

    def _remember(self, taken: list[Wake]) -> None:
        """Remember the wakes that the queue accepted: they are not sent again in this minute."""
        self._handed_over |= {(wake.town_id, wake.due[0]) for wake in taken}

    def _run_here(self, due: DueTowns) -> Steps[None]:
        """Run towns one after another; those that need more time or memory than is left go to the queue."""
        yield from self._neighbours.note(due)
        slow: dict[str, tuple[DueMarker, ...]] = {}
        for number, (town, markers) in enumerate(due.items()):
            now: datetime = yield Call("clock", self._clock.now)
            if now >= self._life.begin_town_until:
                self._report.left += len(due) - number
                break
            done = yield from run_warm(self._around, town, markers, warm=self._at.warm, worker_id=self._at.worker_id)
            if isinstance(done, FailedRun) and isinstance(done.error, ImageTooLarge):
                slow[town] = markers  # workers have more memory
            elif isinstance(done, FailedRun):
                yield from self._failed(done)
            elif done.outcome == "no_time":
                slow[town] = markers
            else:
                self._report.outcomes[done.outcome] += 1
        if slow:
            # They are few, so every minute sends them a new wake: a worker may have failed, and only workers can run them.
            self._too_slow |= {(town, markers[0].at) for town, markers in slow.items()}
            yield from self._hand_over(slow, reason=f":{to_text(self._report.minute)}")

    def _failed(self, failed: FailedRun) -> Steps[None]:
        """Report the failure. The next pass retries the town after a retryable error; otherwise, only the next minute does."""
        yield Call("metrics", partial(self._at.figures.town_failed, failed))
        self._report.failed[failed.town_id] = type(failed.error).__name__
        if not isinstance(failed.error, Retryable):
            self._given_up.add(failed.town_id)

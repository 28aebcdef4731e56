"""One scheduled minute: look at the due markers every few seconds, run few towns here, hand many to the queue.

A town whose effects might outlive this function, as the start of an agent may, is no town to be run here: its tick is not
committed, and it goes to the queue, for workers live longer.

It is level-triggered: whatever a minute leaves, by lack of time or by an error, the next one finds, because a marker
goes only with the tick that dealt with it. So a call that comes a minute late does nothing, and a minute into which no
marker falls ends at once and costs next to nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from functions.schedule import ScheduledCall
from shared.domain import limits
from shared.domain.errors import Retryable
from shared.domain.times import to_text
from shared.ports.queue import Queue, Wake
from shared.ports.steps import drive
from shared.ports.waiting_room import DueMarker
from shared.runner.dispatch import due_towns, remember, run_due_town
from shared.runner.run_report import FailedRun
from shared.runner.surroundings import Surroundings
from shared.runner.sweep import sweep
from shared.runner.warm_images import WarmImages
from shared.telemetry.emf import EmfMetrics, zeros

MINUTE: Final = timedelta(minutes=1)
BEGIN_NO_TOWN: Final = timedelta(seconds=10)
"""So long before the end of the function's life no town is begun any more."""
BEGIN_NO_COMMIT: Final = timedelta(seconds=4)
STUCK_AFTER: Final = timedelta(seconds=90)
"""A town that was handed over and is due since so long is run here too: by then a worker should have come to it."""

Due = Mapping[str, tuple[DueMarker, ...]]


@dataclass(slots=True)
class MinuteReport:
    """What came of one scheduled minute."""

    late: bool = False
    passes: int = 0
    due: int = 0
    handed_over: int = 0
    left: int = 0
    restored: int = 0
    oldest_due: timedelta = timedelta(0)
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """Its metrics, zeros included."""
        return zeros(idle=self.due == 0) | {
            "scheduledRuns": int(not self.late),
            "scheduledRunsLate": int(self.late),
            "dispatchPasses": self.passes,
            "townsDue": self.due,
            "townsHandedOver": self.handed_over,
            "townsLeft": self.left,
            "townsFailed": 0,  # every failed run has written its own line
            "oldestDueMs": self.oldest_due.total_seconds() * 1000,
            "markersRestored": self.restored,
        }


@dataclass(slots=True)
class Dispatcher:
    """What stays warm between two minutes: images, and where the sweep of this hour stopped for lack of time."""

    around: Surroundings
    queue: Queue
    metrics: EmfMetrics
    worker_id: Callable[[], str]
    pause: timedelta = limits.ACTIVE_INTERVAL
    in_process: int = 3
    warm: WarmImages = field(default_factory=WarmImages)
    sweep_after: str | None = None
    swept: datetime | None = None

    def minute(self, call: ScheduledCall, *, remaining: timedelta) -> MinuteReport:
        """Work for one scheduled minute, at most as long as the function lives, and write one summary line.

        Raises what made a look at the markers impossible, so that the failure is seen; a town that fails is reported by
        its alert and its metric, and raises nothing.
        """
        report = MinuteReport()
        begun = self.around.clock.now()
        dies = begun + remaining
        try:
            if begun - call.minute >= MINUTE:
                report.late = True
                return report
            self._sweep(call, report, until=dies - BEGIN_NO_TOWN)
            shift = _Shift(self, report, call.minute, stops=dies - BEGIN_NO_TOWN, commit_until=dies - BEGIN_NO_COMMIT)
            shift.passes(until=min(begun + MINUTE, dies - BEGIN_NO_TOWN))
            return report
        finally:
            self.metrics.write(report.values, self._about(call, report, begun))

    def _about(self, call: ScheduledCall, report: MinuteReport, begun: datetime) -> dict[str, Any]:
        return {
            "event": "minute.completed",
            "scheduled_time": to_text(call.minute),
            "execution_id": call.execution_id,
            "attempt": call.attempt,
            "took_ms": int((self.around.clock.now() - begun).total_seconds() * 1000),
            "outcomes": dict(sorted(report.outcomes.items())),
            "failed": dict(sorted(report.failed.items())[:20]),
        }

    def _sweep(self, call: ScheduledCall, report: MinuteReport, *, until: datetime) -> None:
        """Once an hour, and in the minutes after it as long as it is not through, look at every town.

        An environment that begins within an hour leaves that one to whoever was there at its beginning.
        """
        hour = call.minute.replace(minute=0, second=0, microsecond=0)
        if self.sweep_after is None and self.swept != hour and (call.minute.minute == 0 or self.swept is not None):
            self.sweep_after = ""
        self.swept = hour
        if self.sweep_after is None:
            return
        half = self.around.clock.now() + (until - self.around.clock.now()) / 2  # the due towns have a right to time too
        found = drive(sweep(self.around, after=self.sweep_after, until=half))
        self.sweep_after = found.resume_after
        report.restored = len(found.restored)
        for failed in found.failed:
            self.metrics.town_failed(failed)
            report.failed[failed.town_id] = type(failed.error).__name__


class _Shift:
    """The passes of one minute."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        report: MinuteReport,
        minute: datetime,
        *,
        stops: datetime,
        commit_until: datetime,
    ) -> None:
        self._at = dispatcher
        self._minute = minute
        self._around = replace(dispatcher.around, commit_until=commit_until, effects_until=commit_until)
        self._clock = dispatcher.around.clock
        self._report = report
        self._stops = stops
        self._handed_over: set[tuple[str, datetime]] = set()
        self._too_slow: set[tuple[str, datetime]] = set()
        self._given_up: set[str] = set()

    def passes(self, *, until: datetime) -> None:
        """One pass after another until the minute is over, or until no marker falls into it."""
        while True:
            begun = self._clock.now()
            known = drive(due_towns(self._around, by=max(begun, until)))
            self._report.passes += 1
            waiting = {town: markers for town, markers in known.items() if town not in self._given_up}
            due = {town: markers for town, markers in waiting.items() if markers[0].at <= begun}
            self._run(due, begun)
            next_pass = begun + self._at.pause
            if not waiting or next_pass >= until:
                return
            self._clock.sleep((next_pass - self._clock.now()).total_seconds())

    def _run(self, due: Due, now: datetime) -> None:
        """Few towns here, one after another; many by the queue, to as many workers as there are."""
        for markers in due.values():
            self._report.oldest_due = max(self._report.oldest_due, now - markers[0].at)
        new = {town: found for town, found in due.items() if (town, found[0].at) not in self._handed_over}
        self._report.due += len(new)
        if len(new) > self._at.in_process:
            self._hand_over(new)
        else:
            self._run_here(new)
        self._run_here(self._stuck(due, now))

    def _stuck(self, due: Due, now: datetime) -> Due:
        """Few of those that were handed over long ago: their group waits behind a worker that died or a message that fails."""
        may_be_run_here = self._handed_over - self._too_slow
        stuck = [
            town
            for town, found in due.items()
            if now - found[0].at >= STUCK_AFTER and (town, found[0].at) in may_be_run_here
        ]
        return {town: due[town] for town in stuck[: self._at.in_process]}

    def _hand_over(self, due: Due, *, reason: str = "") -> None:
        wakes = [
            Wake(town, tuple(each.at for each in markers), f"{town}:{to_text(markers[0].at)}{reason}", watched=True)
            for town, markers in due.items()
        ]
        refused = {wake.town_id for wake in self._at.queue.send(wakes)}
        taken = [wake for wake in wakes if wake.town_id not in refused]
        self._report.handed_over += len(taken)
        self._report.left += len(refused)
        self._handed_over |= {(wake.town_id, wake.due[0]) for wake in taken}

    def _run_here(self, due: Due) -> None:
        """One after another; those that need more time than is left go to the queue."""
        slow: dict[str, tuple[DueMarker, ...]] = {}
        for number, (town, markers) in enumerate(due.items()):
            if self._clock.now() >= self._stops:
                self._report.left += len(due) - number
                break
            worker_id = self._at.worker_id()
            warm = self._at.warm
            done = drive(run_due_town(self._around, town, markers, known=warm.get(town), worker_id=worker_id))
            remember(done, warm)
            if isinstance(done, FailedRun):
                self._failed(done)
                continue
            if done.outcome == "no_time":
                slow[town] = markers
            else:
                self._report.outcomes[done.outcome] += 1
        if slow:
            # They are few, so each minute may wake them anew: a worker may have failed, and only workers can do it.
            self._too_slow |= {(town, markers[0].at) for town, markers in slow.items()}
            self._hand_over(slow, reason=f":{to_text(self._minute)}")

    def _failed(self, failed: FailedRun) -> None:
        """What will pass by itself is tried again by the next pass; anything else not before the next minute."""
        self._at.metrics.town_failed(failed)
        self._report.failed[failed.town_id] = type(failed.error).__name__
        if not isinstance(failed.error, Retryable):
            self._given_up.add(failed.town_id)

"""The local loop: pass after pass over the due towns, each town run as its own task, with the sweep and retention.

A town that fails, or that waits for its runtime or forge, does not hold up the others: a pass goes on without the slow runs,
and a later pass collects their reports. Several loops may run on one store: the run that commits second discards its tick. A
loop that is killed at any step loses nothing: its commits stand, and another loop takes over its claims when they end.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from shared.domain import limits
from shared.domain.errors import TownError
from shared.ports.steps import Await, Begin, Call, Ended, Steps
from shared.ports.waiting_room import DueMarker
from shared.runner.dispatch import due_towns, remember, run_due_town
from shared.runner.run_report import FailedRun, PassReport
from shared.runner.surroundings import Surroundings
from shared.runner.sweep import TOWNS_PER_PAGE, sweep
from shared.runner.warm_images import WarmImages
from shared.storage.restore import Archive
from shared.storage.retention import Keep, forget

PATIENCE_SECONDS: Final = 2.0
"""A pass waits for its runs at least this long, in real seconds, before it goes on without them."""

TIDY_EVERY: Final = timedelta(days=1)


class Watcher(Protocol):
    """Is told what the loop does. Its methods never raise."""

    def passed(self, report: PassReport) -> None:
        """A pass ended; the report contains the runs that ended in it."""
        ...

    def not_tidied(self, failed: FailedRun) -> None:
        """The retention of a town ended with an error; the others go on."""
        ...


class Passes:
    """One loop and its state between passes. `pause` is in real seconds, as is the patience of a pass."""

    def __init__(
        self,
        around: Surroundings,
        watcher: Watcher,
        *,
        worker_id: Callable[[], str],
        pause: float = limits.ACTIVE_INTERVAL.total_seconds(),
        archives: Callable[[str], Archive] | None = None,
        sweep_page: int = TOWNS_PER_PAGE,
    ) -> None:
        self._around = around
        self._watcher = watcher
        self._worker_id = worker_id
        self._pause = pause
        self._archives = archives
        self._sweep_page = sweep_page
        self._warm = WarmImages()
        self._swept_at: datetime | None = None
        self._tidied_at: datetime | None = None
        self._tidying: tuple[object, ...] = ()
        self._is_ending = False
        self._going: dict[str, object] = {}
        self._slow: set[str] = set()

    def until(self, wait: Callable[[float], bool]) -> Steps[None]:
        """Make passes until `wait` returns True; before each pass it waits for the given number of real seconds.

        At the end, wait for the runs that have not ended and for retention to finish its current town.
        """
        seconds = 0.0
        while not (yield Call("sleep", partial(wait, seconds))):
            yield from self._pass(max(self._pause, PATIENCE_SECONDS))
            seconds = self._pause
        self._is_ending = True
        yield Await(self._tidying)
        report = PassReport()
        yield from self._take_in(report, None)
        yield Call("tell", partial(self._watcher.passed, report))

    def once(self) -> Steps[PassReport]:
        """Run every due town once, to its end. The first call, and then one every hour, also sweeps for lost markers."""
        report = yield from self._pass(None)
        yield Await(self._tidying)
        return report

    def _pass(self, patience: float | None) -> Steps[PassReport]:
        """Begin the due towns that are not running yet; report the runs that end within `patience` real seconds."""
        report = PassReport()
        due: dict[str, tuple[DueMarker, ...]] = {}
        try:
            yield from self._sweep()
            yield from self._tidy()
            due = yield from due_towns(self._around)
            report.looked = True
        except TownError as error:
            report.problem = error
        for town_id, markers in due.items():
            if town_id not in self._going:
                yield from self._begin(town_id, markers)
        yield from self._take_in(report, patience)
        yield Call("tell", partial(self._watcher.passed, report))
        return report

    def _begin(self, town_id: str, markers: tuple[DueMarker, ...]) -> Steps[None]:
        worker: str = yield Call("worker id", self._worker_id)
        run = run_due_town(self._around, town_id, markers, known=self._warm.get(town_id), worker_id=worker)
        self._going[town_id] = yield Begin(f"town {town_id}", run)

    def _take_in(self, report: PassReport, patience: float | None) -> Steps[None]:
        """Wait up to `patience` real seconds for the runs, then collect those that have ended; None: wait for all to end.

        A run that did not end in time is slow: later passes collect it when it has ended, but do not wait for it.
        """
        going = dict(self._going)
        awaited = going if patience is None else {town: task for town, task in going.items() if town not in self._slow}
        yield Await(tuple(awaited.values()), patience)
        endings: list[Ended | None] = yield Await(tuple(going.values()), 0)
        for town_id, ended in zip(going, endings, strict=True):
            if ended is None:
                self._slow.add(town_id)
                continue
            del self._going[town_id]
            self._slow.discard(town_id)
            run = ended.result if ended.error is None else FailedRun(town_id, ended.error)
            remember(run, self._warm)
            report.add(run)

    def _sweep(self) -> Steps[None]:
        now: datetime = yield Call("clock", self._around.clock.now)
        if self._swept_at is None or now - self._swept_at >= limits.SWEEP_INTERVAL:
            yield from sweep(self._around, page=self._sweep_page)
            self._swept_at = now

    def _tidy(self) -> Steps[None]:
        """In the first pass and then once a day, begin retention of every town, in parallel with the ticks."""
        if self._archives is None:
            return
        now: datetime = yield Call("clock", self._around.clock.now)
        if self._tidied_at is not None and now - self._tidied_at < TIDY_EVERY:
            return
        if None in (yield Await(self._tidying, 0)):
            return  # the previous one is still running
        towns = yield from self._around.store.towns()
        self._tidying = ((yield Begin("retention", self._forget(self._archives, towns, now))),)
        self._tidied_at = now

    def _forget(self, archives: Callable[[str], Archive], towns: tuple[str, ...], now: datetime) -> Steps[None]:
        for town_id in towns:
            if self._is_ending:
                return
            try:
                yield from forget(archives(town_id), Keep(window=self._around.restore_window), now=now)
            except Exception as error:  # noqa: BLE001 - the one boundary per town: the failure is reported, and the others go on
                yield Call("tell", partial(self._watcher.not_tidied, FailedRun(town_id, error)))

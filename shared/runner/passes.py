"""The local loop: pass after pass over the due towns, each town run as its own task, with the sweep and retention.

A town that fails, or that waits for its runtime or forge, does not hold up the others: a pass goes on without the slow runs,
and a later pass collects their reports. Several loops may run on one store: the run that commits second discards its tick. A
loop that is killed at any step loses nothing: its commits stand, and another loop takes over its claims when they end. A town that
a loop did not survive runs in a child process (`neighbours`), if the loop is given a way to make one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from shared.domain import limits
from shared.domain.errors import Retryable, TownError
from shared.ports.steps import Await, Begin, Call, Ended, Steps
from shared.ports.waiting_room import DueMarker
from shared.ports.watch import LifeNote
from shared.runner import neighbours
from shared.runner.dispatch import due_towns, remember, run_due_town
from shared.runner.neighbours import Neighbours
from shared.runner.run_report import ApartRun, FailedRun, PassReport
from shared.runner.surroundings import Surroundings
from shared.runner.sweep import TOWNS_PER_PAGE, sweep
from shared.runner.warm_images import WarmImages
from shared.storage.restore import KeptPast
from shared.storage.retention import Keep, forget

PATIENCE_SECONDS: Final = 2.0
"""A pass waits for its runs at least this long, in real seconds, before it goes on without them."""

TIDY_EVERY: Final = timedelta(days=1)
LOOK_EVERY: Final = timedelta(minutes=1)
APART_AT_ONCE: Final = 2
"""So many child processes run at the same time; each takes a second or two of a processor to start."""


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """How a loop runs a town apart: the note that identifies the loop, and how to run one town in a child process.

    `run` waits for the child and never raises. `has_ended` says whether the loop of another note has ended.
    """

    life: LifeNote
    has_ended: Callable[[LifeNote, datetime], bool]
    run: Callable[[str], ApartRun]


class Watcher(Protocol):
    """Is told what the loop does. Its methods never raise."""

    def passed(self, report: PassReport) -> None:
        """A pass ended; the report contains the runs that ended in it."""
        ...

    def not_tidied(self, failed: FailedRun) -> None:
        """The retention of a town ended with an error; the others go on."""
        ...


class Passes:
    """One loop and its state between passes. `pause` is in real seconds, as is the patience of a pass.

    However short the pause is, a town whose run failed is run again after ACTIVE_INTERVAL at the earliest.
    """

    def __init__(
        self,
        around: Surroundings,
        watcher: Watcher,
        *,
        worker_id: Callable[[], str],
        pause: float = limits.ACTIVE_INTERVAL.total_seconds(),
        pasts: Callable[[str], KeptPast] | None = None,
        sweep_page: int = TOWNS_PER_PAGE,
        own_process: OwnProcess | None = None,
    ) -> None:
        self._around = around
        self._watcher = watcher
        self._worker_id = worker_id
        self._pause = pause
        self._pasts = pasts
        self._sweep_page = sweep_page
        self._warm = WarmImages()
        self._swept_at: datetime | None = None
        self._tidied_at: datetime | None = None
        self._tidying: tuple[object, ...] = ()
        self._is_ending = False
        self._going: dict[str, object] = {}
        self._slow: set[str] = set()
        self._own_process = own_process
        self._neighbours = None if own_process is None else Neighbours(around, own_process.life, own_process.has_ended)
        self._own_runs = neighbours.OwnRuns()
        self._looked_at: datetime | None = None
        self._apart: set[str] = set()
        self._failed_at: dict[str, datetime] = {}

    def until(self, wait: Callable[[float], bool]) -> Steps[None]:
        """Make passes until `wait` returns True; before each pass it waits for the given number of real seconds, or less.

        A pass after which an event of a town waits, such as the result of an effect, is followed by the next one at once.
        At the end, wait for the runs that have not ended and for retention to finish its current town.
        """
        seconds = 0.0
        while not (yield Call("sleep", partial(wait, seconds))):
            report = yield from self._pass(max(self._pause, PATIENCE_SECONDS))
            is_woken = any(run.outcome == "committed" and run.woken_at for run in report.runs)
            seconds = 0.0 if is_woken else self._pause
        self._is_ending = True
        yield Await(self._tidying)
        report = PassReport()
        yield from self._take_in(report, None)
        yield Call("tell", partial(self._watcher.passed, report))
        yield from self._done()

    def once(self) -> Steps[PassReport]:
        """Run every due town once, to its end. The first call, and then one every hour, also sweeps for lost markers."""
        report = yield from self._pass(None)
        yield Await(self._tidying)
        yield from self._done()
        return report

    def _pass(self, patience: float | None) -> Steps[PassReport]:
        """Begin the due towns that are not running yet; report the runs that end within `patience` real seconds."""
        report = PassReport()
        try:
            yield from self._sweep(report)
            yield from self._tidy()
            yield from self._look()
            due = yield from due_towns(self._around)
            resting = yield from self._resting()
            new = {town: markers for town, markers in due.items() if town not in self._going and town not in resting}
            yield from self._note(new)
            report.looked = True
        except TownError as error:
            report.problem = error
            new = {}
        if self._neighbours is not None:
            report.set_aside = self._neighbours.set_aside
        for town_id, markers in new.items():
            yield from self._begin(town_id, markers)
        yield from self._take_in(report, patience)
        yield Call("tell", partial(self._watcher.passed, report))
        return report

    def _resting(self) -> Steps[frozenset[str]]:
        """The towns whose runs have just failed."""
        if not self._failed_at:
            return frozenset()
        now: datetime = yield Call("clock", self._around.clock.now)
        rest = (
            limits.ACTIVE_INTERVAL * 0.9
        )  # a loop that looks every five seconds must not miss its turn by a millisecond
        self._failed_at = {town_id: at for town_id, at in self._failed_at.items() if timedelta(0) <= now - at < rest}
        return frozenset(self._failed_at)

    def _look(self) -> Steps[None]:
        """Once a minute, look for towns that a loop did not survive."""
        if self._neighbours is None:
            return
        now: datetime = yield Call("clock", self._around.clock.now)
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY:
            yield from self._neighbours.look()
            self._looked_at = now

    def _note(self, new: Iterable[str]) -> Steps[None]:
        """Note which towns this process runs, before it begins the new ones."""
        if self._neighbours is not None:
            here = (*self._going, *new)
            yield from self._neighbours.note(town for town in here if not self._neighbours.is_apart(town))

    def _done(self) -> Steps[None]:
        if self._neighbours is not None:
            yield from self._neighbours.done()

    def _begin(self, town_id: str, markers: tuple[DueMarker, ...]) -> Steps[None]:
        if self._neighbours is not None and self._neighbours.is_apart(town_id):
            yield from self._begin_apart(town_id)
            return
        worker: str = yield Call("worker id", self._worker_id)
        run = run_due_town(self._around, town_id, markers, warm=self._warm, worker_id=worker)
        self._going[town_id] = yield Begin(f"town {town_id}", run)

    def _begin_apart(self, town_id: str) -> Steps[None]:
        """Run a town in a child process, unless it is set aside or enough of them run: then a later pass does."""
        if self._neighbours is None or self._own_process is None:
            return
        if len(self._apart) < APART_AT_ONCE and not self._neighbours.is_set_aside(town_id):
            self._apart.add(town_id)
            run = self._run_apart(town_id, self._own_process, self._neighbours)
            self._going[town_id] = yield Begin(f"town {town_id}", run)

    def _run_apart(self, town_id: str, own: OwnProcess, among: Neighbours) -> Steps[ApartRun | FailedRun]:
        try:
            before = yield from self._own_runs.begun(self._around, town_id)
            if neighbours.is_set_aside(before):
                among.ran(town_id, before)
                return ApartRun(town_id)
            done: ApartRun = yield Call(f"run {town_id} apart", partial(own.run, town_id))
            died = done.death is not None
            among.ran(town_id, (yield from self._own_runs.ended(self._around, before, died=died)))
        except TownError as error:
            return FailedRun(town_id, error)
        if died:
            self._looked_at = None  # the next pass tells whether the town is set aside
        return done

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
            self._apart.discard(town_id)
            run = ended.result if ended.error is None else FailedRun(town_id, ended.error)
            remember(run, self._warm)
            report.add(run)
        if report.failed:
            now: datetime = yield Call("clock", self._around.clock.now)
            self._failed_at |= {failed.town_id: now for failed in report.failed}

    def _sweep(self, report: PassReport) -> Steps[None]:
        now = yield from self._around.time()
        if self._swept_at is None or now - self._swept_at >= limits.SWEEP_INTERVAL:
            found = yield from sweep(self._around, page=self._sweep_page)
            report.failed += [failed for failed in found.failed if not isinstance(failed.error, Retryable)]
            self._swept_at = now

    def _tidy(self) -> Steps[None]:
        """In the first pass and then once a day, begin retention of every town, in parallel with the ticks."""
        if self._pasts is None:
            return
        now = yield from self._around.time()
        if self._tidied_at is not None and now - self._tidied_at < TIDY_EVERY:
            return
        if None in (yield Await(self._tidying, 0)):
            return  # the previous one is still running
        towns = yield from self._around.store.towns()
        self._tidying = ((yield Begin("retention", self._forget(self._pasts, towns, now))),)
        self._tidied_at = now

    def _forget(self, pasts: Callable[[str], KeptPast], towns: tuple[str, ...], now: datetime) -> Steps[None]:
        for town_id in towns:
            if self._is_ending:
                return
            try:
                yield from forget(pasts(town_id), Keep(window=self._around.restore_window), now=now)
            except Exception as error:  # noqa: BLE001 - the one boundary per town: the failure is reported, and the others go on
                yield Call("tell", partial(self._watcher.not_tidied, FailedRun(town_id, error)))

"""`townctl run`: pass after pass over the towns that are due, every five seconds of the clock, until somebody says stop.

Several loops may run on one directory: who commits second has done nothing. A loop that is killed at any instruction
has lost nothing: what it committed stands, what it claimed another one takes up, and its agents run on and are found.
"""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from types import FrameType
from typing import Annotated, Any, Final

from cyclopts import Parameter

from infra.townctl import forges, wiring
from infra.townctl.context import Context, TheContext
from infra.townctl.live import Lines, Watcher
from infra.townctl.output import FOUND, OK, Answer
from infra.townctl.summaries import message_of
from shared.adapters import ids
from shared.adapters.clock import Budget
from shared.domain import limits
from shared.domain.errors import TownError, UnknownTown
from shared.ports.steps import drive
from shared.ports.waiting_room import DueMarker
from shared.runner.dispatch import due_towns, run_due_town, take_in
from shared.runner.run_report import FailedRun, PassReport, RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.sweep import sweep
from shared.runner.warm_images import WarmImages
from shared.storage.restore import Archive
from shared.storage.retention import Keep, forget

EVERYTHING: Final = "*"
"""The name under which a pass that could not even begin is reported: it concerns every town."""

_PATIENCE_SECONDS: Final = 2.0
_SAY_AGAIN_AFTER: Final = limits.SWEEP_INTERVAL / 60
_TIDY_EVERY: Final = timedelta(days=1)


@dataclass(slots=True)
class Tally:
    """What a loop has done so far."""

    passes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, report: PassReport) -> None:
        """Count one pass."""
        self.passes += 1
        for run in report.runs:
            self.outcomes[run.outcome] += 1
            self.effects["succeeded"] += run.effects.succeeded
            self.effects["failed"] += run.effects.failed
            self.failures.pop(run.town_id, None)
        for failed in report.failed:
            self.failures[failed.town_id] = message_of(failed.error)

    def as_json(self) -> dict[str, Any]:
        """The tally as `townctl run --json` prints it. `failing` are the towns whose last run failed, and why."""
        return {
            "passes": self.passes,
            "ticks": {name: self.outcomes[name] for name in ("committed", "quiet", "not_due", "lost")},
            "effects": {name: self.effects[name] for name in ("succeeded", "failed")},
            "failing": dict(sorted(self.failures.items())),
        }


class Stop:
    """Set by the first SIGINT or SIGTERM: the pass that is going on is finished. The second one interrupts it."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGINT and SIGTERM while it lasts. Outside the main thread nobody listens."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait(self, seconds: float) -> bool:
        """Wait for so many real seconds, or until somebody asks; True if somebody did."""
        return self.asked.wait(seconds)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's shape
        if self.asked.is_set():
            raise KeyboardInterrupt
        self.asked.set()


class _TownRun(threading.Thread):
    """One run of one town, beside those of the others. It dies with the process: what it has not finished another does."""

    def __init__(self, town_id: str, run: Callable[[], RunReport | FailedRun]) -> None:
        super().__init__(name=f"town {town_id}", daemon=True)
        self.town_id = town_id
        self.outcome: RunReport | FailedRun | None = None
        self.is_slow = False
        self._run_town = run

    def run(self) -> None:
        """Run the town; a bug is an outcome too, for whoever waits."""
        try:
            self.outcome = self._run_town()
        except Exception as error:  # noqa: BLE001 - handed to the loop, which says it
            self.outcome = FailedRun(self.town_id, error)


class TownLoop:
    """Passes over due towns, with warm images from one to the next. A town that fails, or whose runtime or forge lets it
    wait, does not hold up the others: each runs in a thread, and a pass goes on without those that take longer.
    """

    def __init__(
        self, around: Surroundings, watcher: Watcher, *, speed: float, archives: Callable[[str], Archive] | None = None
    ) -> None:
        self._around = around
        self._watcher = watcher
        self._archives = archives
        self._pause = limits.ACTIVE_INTERVAL.total_seconds() / speed
        self._warm = WarmImages()
        self._said: dict[tuple[str, str], datetime] = {}
        self._swept_at: datetime | None = None
        self._tidied_at: datetime | None = None
        self._tidying: threading.Thread | None = None
        self._is_ending = False
        self._going: dict[str, _TownRun] = {}
        self._patience = max(self._pause, _PATIENCE_SECONDS)
        self.tally = Tally()

    def passes(self, stop: Stop) -> Iterator[PassReport]:
        """One pass after another, five seconds of the clock apart, until somebody asks to stop."""
        try:
            while not stop.asked.is_set():
                yield self._pass(self._patience)
                stop.wait(self._pause)
        except GeneratorExit:
            self.finish()  # whoever has seen enough may take the store away next
            raise
        yield self.finish()

    def one_pass(self) -> PassReport:
        """Run every town that is due once, to its end; first and then every hour look for lost markers too."""
        report = self._pass(None)
        self._await_tidying()
        return report

    def finish(self) -> PassReport:
        """Wait for the runs that are going on, and for the town that forgets just now."""
        self._is_ending = True
        self._await_tidying()
        return self._told(self._ended(None))

    def _pass(self, patience: float | None) -> PassReport:
        """Begin what is due and not going on already; report what has ended within so many real seconds."""
        problem: TownError | None = None
        try:
            self._sweep()
            self._tidy()
            due = drive(due_towns(self._around))
        except TownError as error:
            due, problem = {}, error
        for town_id, markers in due.items():
            if town_id not in self._going:
                self._begin(town_id, markers)
        report = self._ended(patience)
        if problem is not None:
            report.failed.append(FailedRun(EVERYTHING, problem))
        else:
            self.tally.failures.pop(EVERYTHING, None)
        return self._told(report)

    def _begin(self, town_id: str, markers: tuple[DueMarker, ...]) -> None:
        known, worker_id = self._warm.get(town_id), ids.worker_id()
        steps = run_due_town(self._around, town_id, markers, known=known, worker_id=worker_id)
        self._going[town_id] = run = _TownRun(town_id, partial(drive, steps))
        run.start()

    def _ended(self, patience: float | None) -> PassReport:
        """Take in the runs that have ended, having waited for all of them for so many real seconds; None = to the end.

        One that was waited for in vain is only looked at.
        """
        report = PassReport()
        budget = None if patience is None else Budget(patience)
        for town_id, run in list(self._going.items()):
            run.join(None if budget is None else 0 if run.is_slow else budget.left())
            if run.outcome is not None:
                del self._going[town_id]
                take_in(run.outcome, report, self._warm)
            else:
                run.is_slow = True
        return report

    def _told(self, report: PassReport) -> PassReport:
        self.tally.add(report)
        for run in report.runs:
            self._watcher.ran(run)
        for failed in report.failed:
            self._say(failed)
        return report

    def _sweep(self) -> None:
        now = self._around.clock.now()
        if self._swept_at is None or now - self._swept_at >= limits.SWEEP_INTERVAL:
            drive(sweep(self._around))
            self._swept_at = now

    def _tidy(self) -> None:
        """At first and then once a day let every town forget what no restore point needs any more, beside the ticks."""
        now = self._around.clock.now()
        is_early = self._tidied_at is not None and now - self._tidied_at < _TIDY_EVERY
        if self._archives is None or is_early or (self._tidying is not None and self._tidying.is_alive()):
            return
        self._tidied_at = now
        towns = drive(self._around.store.towns())
        self._tidying = threading.Thread(
            target=self._forget, args=(self._archives, towns, now), name="retention", daemon=True
        )
        self._tidying.start()

    def _forget(self, archives: Callable[[str], Archive], towns: tuple[str, ...], now: datetime) -> None:
        for town_id in towns:
            if self._is_ending:
                return
            try:
                drive(forget(archives(town_id), Keep(window=self._around.restore_window), now=now))
            except Exception as error:  # noqa: BLE001 - the one boundary per town: it is told, and the others go on
                self._watcher.failed(FailedRun(town_id, error))

    def _await_tidying(self) -> None:
        if self._tidying is not None:
            self._tidying.join()

    def _say(self, failed: FailedRun) -> None:
        """The same failure of one town is said once a minute, not at every pass."""
        now = self._around.clock.now()
        what = (failed.town_id, message_of(failed.error))
        said = self._said.get(what)
        if said is None or now - said >= _SAY_AGAIN_AFTER:
            self._said[what] = now
            self._watcher.failed(failed)


def run(
    *,
    speed: Annotated[float, Parameter(help="How many times as fast as the wall the clock runs.")] = 1,
    towns: Annotated[list[str] | None, Parameter(help="Only these towns.", consume_multiple=True, negative="")] = None,
    once: Annotated[bool, Parameter(help="One pass over the due towns, and no more.", negative="")] = False,
    agent_command: Annotated[
        str | None, Parameter(help="The program that agents run; remembered for this data directory.")
    ] = None,
    forge_host: Annotated[
        list[str] | None, Parameter(help=forges.HOST_HELP, negative="", consume_multiple=True)
    ] = None,
    secrets_prefix: Annotated[str | None, Parameter(help=forges.PREFIX_HELP)] = None,
    control_server: Annotated[
        str | None,
        Parameter(
            help="Agents live behind this control server (a base URL, {town} for the town's id) instead of here."
        ),
    ] = None,
    context: TheContext,
) -> Answer:
    """Tick the towns of the data directory or bucket whenever they are due, until Ctrl-C or SIGTERM.

    Two loops on one place are safe. Agents run on when it ends; the next `townctl run` finds them again.
    Exit code 1 if the last run of some town failed.
    """
    wanted = tuple(towns or ())
    store = context.store(towns=wanted)
    context.prove_store()
    known = drive(store.towns())
    _require_known(wanted, known)
    clock = context.clock_of(store, *(wanted or known), speed=speed)
    runtime = context.runtime(wiring.program(context.data, agent_command), clock)
    hosts = forges.hosts_of(context.data, forge_host or ())
    forge = forges.forge_of(context.data, clock, hosts=hosts, secrets_prefix=secrets_prefix)
    elsewhere = None if control_server is None else wiring.behind_a_control_server(control_server)
    around = context.around(store, clock=clock, runtime=elsewhere or runtime, forge=forge)
    loop = TownLoop(around, Lines(context.talk), speed=speed_of(clock), archives=context.archive)
    if once:
        loop.one_pass()
    else:
        stop = Stop()
        with stop.on_signals():
            _announce(context, wanted or known, clock)
            for _ in loop.passes(stop):
                pass
        left = runtime.running()
        if left:
            context.talk(f"agents that run on: {len(left)}; the next `townctl run` finds them")
    tally = loop.tally
    counts = ", ".join(f"{count} {name}" for name, count in sorted(tally.outcomes.items())) or "no town was due"
    return Answer(tally.as_json(), (f"{tally.passes} passes: {counts}",), FOUND if tally.failures else OK)


def speed_of(clock: wiring.LocalClock) -> float:
    """How many seconds of the clock pass in a real one."""
    return getattr(clock, "speed", 1.0)


def _announce(context: Context, towns: tuple[str, ...], clock: wiring.LocalClock) -> None:
    speed = speed_of(clock)
    what = f"{len(towns)} towns" if len(towns) != 1 else f"town {towns[0]}"
    pace = "" if speed == 1 else f" on a clock {speed:g} times as fast as the wall"
    context.talk(f"running {what} of {context.place}{pace}; Ctrl-C stops after the pass that is going on")


def _require_known(wanted: tuple[str, ...], known: tuple[str, ...]) -> None:
    for town_id in wanted:
        if town_id not in known:
            raise UnknownTown(f"there is no town {town_id} here", hint="see which there are: townctl town list")

"""`townctl run`: pass after pass over the towns that are due, every five seconds of the clock, until somebody says stop.

The passes themselves are `shared.runner.passes`. The agents of a loop that is killed run on and are found by the next one.
"""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType
from typing import Annotated, Any, Final

from cyclopts import Parameter

from infra.townctl import forges, wiring
from infra.townctl.context import Context, TheContext
from infra.townctl.live import Lines, RunWatcher
from infra.townctl.output import FOUND, OK, Answer
from infra.townctl.summaries import message_of
from shared.adapters import ids
from shared.domain import limits
from shared.domain.errors import UnknownTown
from shared.ports.steps import drive
from shared.runner.passes import Passes
from shared.runner.run_report import FailedRun, PassReport
from shared.runner.surroundings import Surroundings
from shared.storage.restore import Archive

EVERYTHING: Final = "*"
"""The name under which a pass that could not even begin is reported: it concerns every town."""

_SAY_AGAIN_AFTER: Final = limits.SWEEP_INTERVAL / 60


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
        if report.looked:
            self.failures.pop(EVERYTHING, None)
        if report.problem is not None:
            self.failures[EVERYTHING] = message_of(report.problem)

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


class TownLoop:
    """The passes of `shared.runner.passes`, driven for real, and what is printed and counted of them."""

    def __init__(
        self,
        around: Surroundings,
        watcher: RunWatcher,
        *,
        speed: float,
        archives: Callable[[str], Archive] | None = None,
    ) -> None:
        pause = limits.ACTIVE_INTERVAL.total_seconds() / speed
        self._passes = Passes(around, self, worker_id=ids.worker_id, pause=pause, archives=archives)
        self._clock = around.clock
        self._watcher = watcher
        self._said: dict[tuple[str, str], datetime] = {}
        self.tally = Tally()

    def until(self, wait: Callable[[float], bool]) -> None:
        """One pass after another until `wait`, which waits between them for so many real seconds, answers True."""
        drive(self._passes.until(wait))

    def one_pass(self) -> PassReport:
        """Run every town that is due once, to its end."""
        return drive(self._passes.once())

    def passed(self, report: PassReport) -> None:
        """Count one pass, and say what it did."""
        self.tally.add(report)
        for run in report.runs:
            self._watcher.ran(run)
        for failed in report.failed:
            self._say(failed)
        if report.problem is not None:
            self._say(FailedRun(EVERYTHING, report.problem))

    def not_tidied(self, failed: FailedRun) -> None:
        """Say which town's retention failed."""
        self._watcher.failed(failed)

    def _say(self, failed: FailedRun) -> None:
        """The same failure of one town is said once a minute, not at every pass."""
        now = self._clock.now()
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
            loop.until(stop.wait)
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

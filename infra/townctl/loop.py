"""`townctl run`: a pass over the due towns every five seconds of the clock, until it is stopped.

`shared.runner.passes` makes the passes. If the loop is killed, its agents keep running and the next loop finds them.
"""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType
from typing import Annotated, Final, get_args

from cyclopts import Parameter

from infra.townctl import agent_programs, forges, wiring
from infra.townctl.context import Context, TheContext
from infra.townctl.live import Lines, RunWatcher
from infra.townctl.output import FOUND, OK, Answer, plain
from infra.townctl.provers import prover_of
from infra.townctl.wording import message_of, quantity
from shared.adapters import ids
from shared.domain import limits
from shared.domain.shapes import answer
from shared.ports.steps import drive
from shared.runner.passes import Passes
from shared.runner.run_report import FailedRun, PassReport, RunOutcome, RunReport
from shared.runner.surroundings import Surroundings
from shared.storage.restore import Archive

EVERYTHING: Final = "*"
"""Stands for the town in the report of a pass that could not read the due markers: this concerns every town."""

_SAY_AGAIN_AFTER: Final = limits.SWEEP_INTERVAL / 60


@answer
class LoopCounts:
    """What a loop did: its passes, its ticks and its effects by outcome. `failing` has the error of each town whose last run
    failed, by town id.
    """

    passes: int
    ticks: Mapping[str, int]
    effects: Mapping[str, int]
    failing: Mapping[str, str]


@dataclass(slots=True)
class Tally:
    """The counts of a loop so far."""

    passes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    failed_effects: dict[str, str] = field(default_factory=dict)

    def add(self, report: PassReport) -> None:
        """Count one pass."""
        self.passes += 1
        for run in report.runs:
            self.outcomes[run.outcome] += 1
            self.effects["succeeded"] += run.effects.succeeded
            self.effects["failed"] += run.effects.failed
            self.failures.pop(run.town_id, None)
            self._judge_effects(run)
        for failed in report.failed:
            self.failures[failed.town_id] = message_of(failed.error)
        if report.looked:
            self.failures.pop(EVERYTHING, None)
        if report.problem is not None:
            self.failures[EVERYTHING] = message_of(report.problem)

    def _judge_effects(self, run: RunReport) -> None:
        """Note a tick whose effects failed, such as the start of an agent, until a later tick of the town goes well."""
        if run.effects.failed:
            failed = quantity(run.effects.failed, "effect")
            self.failed_effects[run.town_id] = f"{failed} failed; `townctl event list {run.town_id}` shows why"
        elif run.tick is not None:
            self.failed_effects.pop(run.town_id, None)

    @property
    def failing(self) -> dict[str, str]:
        """What is wrong with each town whose last run, or whose last effects, failed."""
        return self.failed_effects | self.failures

    def counts(self) -> LoopCounts:
        """The counts, for an answer."""
        return LoopCounts(
            passes=self.passes,
            ticks={outcome: self.outcomes[outcome] for outcome in get_args(RunOutcome)},
            effects={outcome: self.effects[outcome] for outcome in ("succeeded", "failed")},
            failing=dict(sorted(self.failing.items())),
        )


class Stop:
    """Set by the first SIGINT or SIGTERM: the loop ends after the current pass. A second signal interrupts the pass."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM inside the `with` block. Outside the main thread this is a no-op."""
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
        """Wait for so many real seconds or until a signal arrives; True if one has arrived."""
        return self.asked.wait(seconds)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's shape
        if self.asked.is_set():
            raise KeyboardInterrupt
        self.asked.set()


class TownLoop:
    """Drives the passes of `shared.runner.passes`, prints what they do and counts it."""

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
        """Make passes until `wait` returns True; before each pass it waits for the given number of real seconds."""
        drive(self._passes.until(wait))

    def one_pass(self) -> PassReport:
        """Run every due town once, to its end."""
        return drive(self._passes.once())

    def passed(self, report: PassReport) -> None:
        """Count one pass, and print what it did."""
        self.tally.add(report)
        for run in report.runs:
            self._watcher.ran(run)
        for failed in report.failed:
            self._say(failed)
        if report.problem is not None:
            self._say(FailedRun(EVERYTHING, report.problem))

    def not_tidied(self, failed: FailedRun) -> None:
        """Print the town whose retention failed, and the error."""
        self._watcher.failed(failed)

    def _say(self, failed: FailedRun) -> None:
        """Print a failure. The same failure of the same town is printed once a minute, not in every pass."""
        now = self._clock.now()
        what = (failed.town_id, message_of(failed.error))
        said = self._said.get(what)
        if said is None or now - said >= _SAY_AGAIN_AFTER:
            self._said[what] = now
            self._watcher.failed(failed)


def run(  # noqa: PLR0913 - one for each option
    *,
    speed: Annotated[float, Parameter(help="The speed of the clock: 1 is real time, 2 is twice as fast.")] = 1,
    towns: Annotated[
        list[str] | None, Parameter(help="Run only these towns.", consume_multiple=True, negative="")
    ] = None,
    once: Annotated[bool, Parameter(help="Make one pass over the due towns, then end.", negative="")] = False,
    agent_command: Annotated[
        str | None, Parameter(help="The program that agents run; remembered for this data directory.")
    ] = None,
    agent: Annotated[str | None, Parameter(help=agent_programs.AGENT_HELP)] = None,
    agent_login: Annotated[str | None, Parameter(help=agent_programs.LOGIN_HELP)] = None,
    agent_env: Annotated[
        list[str] | None, Parameter(help=agent_programs.ENV_HELP, negative="", consume_multiple=True)
    ] = None,
    forge_host: Annotated[
        list[str] | None, Parameter(help=forges.HOST_HELP, negative="", consume_multiple=True)
    ] = None,
    secrets_prefix: Annotated[str | None, Parameter(help=forges.PREFIX_HELP)] = None,
    control_server: Annotated[
        str | None,
        Parameter(
            help="Run agents through this control server (a base URL; {town} stands for the town id) instead of locally."
        ),
    ] = None,
    context: TheContext,
) -> Answer:
    """Tick the towns of the data directory or bucket whenever they are due, until Ctrl-C or SIGTERM.

    Several loops may run on the same data. When a loop ends, its agents keep running; the next `townctl run` finds them.
    Exit code 1 if the last run of any town failed, or an effect of its last tick, such as the start of an agent.
    """
    wanted = tuple(towns or ())
    store = context.store(towns=wanted)
    context.prove_store()
    known = context.require_towns(store, *wanted)
    clock = context.clock_of(store, *(wanted or known), speed=speed)
    program = agent_programs.program(context.data, agent_command, agent_env, agent=agent, login=agent_login)
    runtime = context.runtime(program, clock)
    hosts = forges.hosts_of(context.data, forge_host or ())
    forge = forges.forge_of(context.data, clock, hosts=hosts, secrets_prefix=secrets_prefix)
    elsewhere = None if control_server is None else agent_programs.behind_a_control_server(control_server)
    if elsewhere is None:
        agent_programs.tell_about_agents(context.data, program, context.talk)
    prover = prover_of(context.data, forge=forge, runtime=elsewhere or runtime, environment=program.around)
    around = context.around(store, clock=clock, runtime=elsewhere or runtime, forge=forge, prover=prover)
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
            context.talk(f"agents still running: {len(left)}; the next `townctl run` finds them")
    tally = loop.tally
    lines = [f"{quantity(tally.passes, 'pass', 'passes')}: {_outcomes(tally.outcomes)}"]
    lines += [plain(f"{town_id}: {problem}") for town_id, problem in sorted(tally.failed_effects.items())]
    return Answer(tally.counts(), tuple(lines), FOUND if tally.failing else OK)


def _outcomes(outcomes: Mapping[str, int]) -> str:
    """The outcomes of the runs, in words."""
    said = {
        "committed": quantity(outcomes.get("committed", 0), "tick committed", "ticks committed"),
        "quiet": quantity(outcomes.get("quiet", 0), "tick that changed nothing", "ticks that changed nothing"),
        "not_due": quantity(
            outcomes.get("not_due", 0), "look at a town that was not due", "looks at towns that were not due"
        ),
        "lost": f"{outcomes.get('lost', 0)} lost to another worker",
    }
    return ", ".join(text for name, text in said.items() if outcomes.get(name)) or "no town was due"


def speed_of(clock: wiring.LocalClock) -> float:
    """The number of seconds that pass on the clock in one real second."""
    return getattr(clock, "speed", 1.0)


def _announce(context: Context, towns: tuple[str, ...], clock: wiring.LocalClock) -> None:
    speed = speed_of(clock)
    what = quantity(len(towns), "town") if len(towns) != 1 else f"town {towns[0]}"
    pace = "" if speed == 1 else f" at {speed:g} times real time"
    context.talk(f"running {what} of {context.place}{pace}; Ctrl-C stops it after the current pass")

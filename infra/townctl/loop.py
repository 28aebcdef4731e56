"""`townctl run`: pass after pass over the due towns, until it is stopped.

A pass over a directory costs next to nothing, so there is one every fifth of a second, and an event acts at once. Each pass over a
bucket is a paid request, so there is one every five seconds of the clock, or when an event arrives through the loop's own process.

`shared.runner.passes` makes the passes. If the loop is killed, its agents keep running and the next loop finds them.
"""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType
from typing import Annotated, Final, get_args

from cyclopts import Parameter

from infra.townctl import agent_programs, forges, own_clocks, own_runs, wiring
from infra.townctl.context import Context, TheContext
from infra.townctl.live import Lines, RunWatcher
from infra.townctl.output import FOUND, OK, Answer, plain
from infra.townctl.provers import prover_of
from infra.townctl.wording import message_of, quantity
from shared.adapters import ids
from shared.domain import limits
from shared.domain.errors import Terminal
from shared.domain.shapes import answer
from shared.ports.steps import drive
from shared.runner.passes import OwnProcess, Passes
from shared.runner.run_report import FailedRun, PassReport, RunOutcome, RunReport
from shared.runner.surroundings import Surroundings
from shared.storage.restore import KeptPast

EVERYTHING: Final = "*"
"""Stands for the town in the report of a pass that could not read the due markers: this concerns every town."""

_SAY_AGAIN_AFTER: Final = limits.SWEEP_INTERVAL / 60
_LOOK_AT_DIRECTORY_SECONDS: Final = 0.2
_GATHER_SECONDS: Final = 0.02
"""What arrives so soon after an event that wakes the loop is taken with it."""


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
        for apart in report.apart:
            self.outcomes.update(apart.outcomes)
            self.failures.pop(apart.town_id, None)
        for failed in (*report.failed, *troubles_apart(report)):
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


def troubles_apart(report: PassReport) -> Iterator[FailedRun]:
    """The towns of a pass whose runs of their own failed or died, and those that are set aside."""
    for run in report.apart:
        if run.death is not None:
            problem = f"its run in a child process was ended by {run.death}"
            hint = "look at the memory of this machine; after three such deaths the town is set aside"
            yield FailedRun(run.town_id, Terminal(problem, hint=hint))
        elif run.problem is not None:
            yield FailedRun(run.town_id, Terminal(run.problem))
    for town_id in report.set_aside:
        hint = f"correct the cause, then: townctl town resume {town_id}"
        yield FailedRun(town_id, Terminal("it is set aside, because its runs ended their processes", hint=hint))


class Stop:
    """Set by the first SIGINT or SIGTERM: the loop ends after the current pass. A second signal interrupts the pass.

    `wake` ends the wait for the next pass.
    """

    def __init__(self) -> None:
        self._asked = False
        self._bell = threading.Event()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM inside the `with` block. Outside the main thread this is a no-op."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait(self, seconds: float) -> bool:
        """Wait for so many real seconds or until a signal or a wake arrives; True if the loop is to end."""
        if self._bell.wait(seconds) and not self._asked:
            time.sleep(_GATHER_SECONDS)
        self._bell.clear()  # what rings from now on comes after the look of this pass, or is seen by it
        return self._asked

    def wake(self) -> None:
        """Begin the next pass now."""
        self._bell.set()

    def ask(self) -> None:
        """Let the loop end after the current pass."""
        self._asked = True
        self._bell.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's shape
        if self._asked:
            raise KeyboardInterrupt
        self.ask()


class TownLoop:
    """Drives the passes of `shared.runner.passes`, prints what they do and counts it."""

    def __init__(
        self,
        around: Surroundings,
        watcher: RunWatcher,
        *,
        speed: float,
        in_directory: bool = False,
        pasts: Callable[[str], KeptPast] | None = None,
        own_process: OwnProcess | None = None,
    ) -> None:
        """`pasts` is for retention, which runs on real time only, because objects are dated by the store's clock.

        `in_directory`: the towns are on a disk of this machine, so a look at them is cheap.
        """
        pause = limits.ACTIVE_INTERVAL.total_seconds() / speed
        if in_directory:
            pause = min(pause, _LOOK_AT_DIRECTORY_SECONDS)
        self._passes = Passes(
            around,
            self,
            worker_id=ids.worker_id,
            pause=pause,
            pasts=None if around.own_clock else pasts,
            own_process=own_process,
        )
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
        for failed in (*report.failed, *troubles_apart(report)):
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
    context.prove_store()
    known = context.require_towns(context.store(towns=wanted), *wanted)
    chosen = own_clocks.towns_of_a_loop(context.store(), known, wanted=wanted, speed=speed)
    store = context.store(towns=chosen.only, others=chosen.others)
    ticked = chosen.only or tuple(town for town in known if town not in chosen.others)
    clock = context.clock_of(store, *ticked, speed=speed)
    program = agent_programs.program(context.data, agent_command, agent_env, agent=agent, login=agent_login)
    runtime = context.runtime(program, clock)
    hosts = forges.hosts_of(context.data, forge_host or ())
    forge = forges.forge_of(context.data, clock, hosts=hosts, secrets_prefix=secrets_prefix)
    elsewhere = None if control_server is None else agent_programs.behind_a_control_server(control_server)
    if elsewhere is None:
        agent_programs.tell_about_agents(context.data, program, context.talk)
    prover = prover_of(context.data, forge=forge, runtime=elsewhere or runtime, environment=program.around)
    around = context.around(store, clock=clock, runtime=elsewhere or runtime, forge=forge, prover=prover)
    alone = own_runs.is_alone()
    if alone:
        own_runs.end_first()
    given = {"--control-server": control_server, "--secrets-prefix": secrets_prefix}  # the others are remembered
    options = tuple(word for option, value in given.items() if value for word in (option, value))
    loop = TownLoop(
        around,
        Lines(context.talk),
        speed=speed_of(clock),
        in_directory=context.bucket is None,
        pasts=None if alone else context.kept_past,
        own_process=own_runs.own_process(context, clock, options=options),
    )
    if once:
        loop.one_pass()
        if alone:
            own_runs.tell_the_end(around, ticked, context.talk)
    else:
        stop = Stop()
        with stop.on_signals():
            _announce(context, ticked, chosen.others, clock)
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


def _announce(context: Context, towns: tuple[str, ...], others: tuple[str, ...], clock: wiring.LocalClock) -> None:
    speed = speed_of(clock)
    what = quantity(len(towns), "town") if len(towns) != 1 else f"town {towns[0]}"
    pace = "" if speed == 1 else f" at {speed:g} times real time"
    context.talk(f"running {what} of {context.place}{pace}; Ctrl-C stops it after the current pass")
    for town_id in others:
        context.talk(
            f"town {town_id} runs on its own clock, ahead of real time: `townctl run --towns {town_id}` ticks it"
        )

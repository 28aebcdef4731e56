"""The workers: hosts with clocks and warm images of their own, the triggers that start them, the hourly sweep.

A host does one thing at a time. A trigger may be lost, late or doubled; an acknowledged event may wake its town at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Any

from shared.domain.errors import Conflict, Refused, Retryable
from shared.ports.steps import Steps
from shared.questions import dry_run
from shared.questions.dry_run import DryRun
from shared.runner import dispatch, sweep, worker
from shared.runner.perform import Outside
from shared.runner.run_report import PassReport, RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.sweep import SweepReport
from shared.runner.warm_images import WarmImages
from tests.simulation.agents import SimulatedRuntime
from tests.simulation.differences import first_difference
from tests.simulation.forge import SimulatedForge
from tests.simulation.ground import Ground, Post
from tests.simulation.processes import Ending
from tests.simulation.scheduler import HOUR, SECOND, SkewedClock

_MOST_HOSTS = 4


@dataclass(eq=False)
class Host:
    """Where runs happen, one at a time. `warm` is lost with the host."""

    around: Surroundings
    warm: WarmImages = field(default_factory=WarmImages)
    busy: bool = False


class Fleet:
    """All hosts and triggers of a world."""

    def __init__(self, ground: Ground, post: Post, runtime: SimulatedRuntime, forge: SimulatedForge) -> None:
        self._ground = ground
        self._random = Random(f"{ground.random.random()} fleet")
        self._outside = Outside(runtime=runtime, forge=forge)
        self._hosts: list[Host] = []
        self._workers = count(1)
        self.passes = 0
        self.rescued = 0
        self.dry_runs = 0
        self.resting = False
        self.quick = self._random.random() < 0.7
        post.on_wake = self._wake

    def begin(self, *, interval: int = 5 * SECOND, sweep: bool) -> None:
        """Passes every few seconds, and a sweep every hour if `sweep`."""
        self._pass_soon(interval)
        if sweep:
            self._sweep_soon()

    # triggers

    def _pass_soon(self, interval: int) -> None:
        self._ground.scheduler.after(interval, partial(self._pass_soon, interval))
        happens = self._ground.plan.happens
        if happens("trigger_lost"):
            return
        late = self._random.randrange(60 * SECOND) if happens("trigger_late") else 0
        for _ in range(2 if happens("trigger_doubled") else 1):
            self._ground.scheduler.after(late, self._pass)

    def _pass(self) -> None:
        self.passes += 1
        host = self._free_host()
        if host is not None:
            self._start(host, f"pass {self.passes}", self._looking(host), self._judge_pass)

    def _looking(self, host: Host) -> Steps[PassReport]:
        report = PassReport()
        for town, markers in (yield from dispatch.due_towns(host.around)).items():
            report.add(
                (yield from dispatch.run_warm(host.around, town, markers, warm=host.warm, worker_id=self._worker_id))
            )
        return report

    def _wake(self, town_id: str) -> None:
        if self.quick and self._random.random() < 0.5:
            self._ground.scheduler.after(self._random.randrange(2 * SECOND), partial(self._run_one, town_id))

    def _run_one(self, town_id: str) -> None:
        host = self._free_host()
        if host is not None:
            worker_id = self._worker_id()
            steps = worker.run_town(town_id, host.around, worker_id=worker_id, known=host.warm.get(town_id))
            self._start(host, f"run {worker_id}", steps, partial(self._keep, host), town=town_id)

    def _keep(self, host: Host, report: RunReport) -> None:
        host.warm.keep(report.image)

    def _judge_pass(self, report: PassReport) -> None:
        for failed in report.failed:
            self._judge_error(f"run of {failed.town_id}", failed.error)

    def _judge_error(self, name: str, error: Exception) -> None:
        if not isinstance(error, Retryable | Conflict):
            self._ground.checks.fail("run failed", f"{name}: {type(error).__name__}: {error}")

    # hosts

    def _free_host(self) -> Host | None:
        free = [host for host in self._hosts if not host.busy]
        if not free and len(self._hosts) < _MOST_HOSTS:
            free = [self._new_host()]
        if not free:
            return None
        host = self._random.choice(free)
        if self._ground.plan.happens("host_replaced"):
            self._hosts.remove(host)
            host = self._new_host()
        return host

    def _new_host(self) -> Host:
        ground = self._ground
        clock = SkewedClock(ground.scheduler, ground.skew.draw())
        around = Surroundings(
            store=ground.store, clock=clock, outside=self._outside, alerts=ground.checks, metrics=ground.checks
        )
        host = Host(around)
        self._hosts.append(host)
        return host

    def _worker_id(self) -> str:
        return f"w{next(self._workers)}"

    def _start(
        self, host: Host, name: str, steps: Steps[Any], done: Callable[[Any], None], *, town: str | None = None
    ) -> None:
        host.busy = True

        def ended(ending: Ending) -> None:
            host.busy = False
            if ending.crashed:
                self._hosts.remove(host)
            elif ending.error is not None:
                self._judge_error(name, ending.error)
            else:
                done(ending.result)

        self._ground.driver.start(name, steps, ended, town=town)

    # the operator

    def dry_run(self, town_id: str) -> None:
        """What would the next tick do? Often that very tick is run then."""
        host = self._free_host()
        if host is not None:
            ask = self._random.random() < 0.5
            steps = dry_run.dry_run(town_id, host.around, worker_id=self._worker_id(), ask_runtime=ask)
            self._start(host, "dry run", steps, partial(self._run_exactly, host), town=town_id)

    def tick_now(self, town_id: str) -> None:
        """A tick by hand, whether it is due or not."""
        host = self._free_host()
        if host is not None:
            steps = worker.run_town(town_id, host.around, worker_id=self._worker_id(), force=True)
            self._start(host, "by hand", steps, partial(self._keep, host), town=town_id)

    def _run_exactly(self, host: Host, dry: DryRun) -> None:
        self.dry_runs += 1
        if host.busy or self._random.random() < 0.3:
            return
        given = dry.report.input
        steps = worker.run_town(dry.base.town_id, host.around, worker_id="exactly", exactly=given)

        def ended(ending: Ending) -> None:
            host.busy = False
            if ending.crashed:
                self._hosts.remove(host)
            elif ending.error is None:
                self._compare(dry, ending.result)
            elif not isinstance(ending.error, Refused):
                self._judge_error("exactly", ending.error)

        host.busy = True
        self._ground.driver.start("exactly", steps, ended, town=dry.base.town_id)

    def _compare(self, dry: DryRun, ran: RunReport) -> None:
        fail = self._ground.checks.fail
        self._ground.checks.figures["dry runs compared"] += 1
        if ran.outcome == "lost":
            return
        if ran.tick is None or ran.tick.outputs() != dry.report.outputs() or ran.tick.quiet != dry.report.quiet:
            fail("dry run", f"tick {dry.report.input.tick_id} did something else than its dry run")
        elif ran.image.image != dry.image:
            fail("dry run", first_difference(ran.image.image, dry.image))

    # the sweep

    def _sweep_soon(self) -> None:
        self._ground.scheduler.after(HOUR, self._sweep_soon)
        self.sweep()

    def sweep(self) -> None:
        """Every town that waits for something has a marker again."""
        host = self._free_host()
        if host is not None and not self.resting:
            self._start(host, "sweep", sweep.sweep(host.around), self._swept)

    def _swept(self, report: SweepReport) -> None:
        self.rescued += len(report.restored)
        for failed in report.failed:
            self._judge_error(f"sweep of {failed.town_id}", failed.error)

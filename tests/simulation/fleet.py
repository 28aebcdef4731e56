"""Who works on the towns of a world: a deployment, local loops or both, and an operator with commands of his own.

A seed draws which of them there are. Each process has a clock of its own, wrong as the seed wants it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Any, Literal

from shared.domain.errors import Refused
from shared.ports.steps import Steps, drive
from shared.questions import dry_run
from shared.questions.dry_run import Rehearsal
from shared.runner import sweep, worker
from shared.runner.neighbours import is_set_aside, resume
from shared.runner.perform import Outside
from shared.runner.run_report import RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.sweep import SweepReport
from shared.runner.warm_images import WarmImages
from shared.storage import keys, retention
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from shared.storage.retention import Keep, RetentionPlan
from tests.simulation.agents import SimulatedRuntime
from tests.simulation.cloud import Cloud, Settings
from tests.simulation.differences import first_difference
from tests.simulation.forge import SimulatedForge
from tests.simulation.ground import Ground, Post
from tests.simulation.loops import Loops
from tests.simulation.processes import Ending, paused
from tests.simulation.scheduler import HOUR, MINUTE, SECOND, SkewedClock

Mode = Literal["cloud", "loops", "both"]

_MOST_HOSTS = 4
_RESUMED_EVERY = 10 * MINUTE
_POINTS_SHOWN = 20
_LIKELY_IN_USE = 8
_YEAR = 365 * 24 * HOUR
_JUMPS = (31 * SECOND, 100 * SECOND, HOUR, 24 * HOUR, _YEAR, 10 * _YEAR)


@dataclass(eq=False)
class Host:
    """Where runs happen, one at a time. `warm` is lost with the host."""

    around: Surroundings
    warm: WarmImages = field(default_factory=WarmImages)
    busy: bool = False


class Fleet:
    """Everything that ticks towns. `mode` and `settings` are drawn if they are not given."""

    def __init__(
        self, ground: Ground, post: Post, runtime: SimulatedRuntime, forge: SimulatedForge, *, keep: Keep
    ) -> None:
        self._ground = ground
        self._keep_objects = keep
        self._post = post
        self._random = Random(f"{ground.random.random()} fleet")
        self._outside = Outside(runtime=runtime, forge=forge)
        self._hosts: list[Host] = []
        self._clocks: list[SkewedClock] = []
        self._workers = count(1)
        self.settings = Settings.drawn(self._random)
        drawn = self._random.random()
        self.mode: Mode = "cloud" if drawn < 0.5 else "loops" if drawn < 0.75 else "both"
        self.loops = self._random.choice((1, 1, 2))
        self.dry_runs = 0
        self._working: list[Cloud | Loops] = []

    def begin(self) -> None:
        """From now on they work."""
        ground = self._ground
        ground.checks.figures[f"seeds with mode {self.mode}"] = 1
        if self.mode != "loops":
            cloud = Cloud(ground, self.settings, self._around, self._worker_id)
            self._post.queue = cloud.queue
            cloud.begin()
            self._working.append(cloud)
        if self.mode != "cloud":
            page, pause = self.settings.sweep_page, self.settings.pass_seconds * SECOND
            loops = Loops(ground, pause=pause, sweep_page=page, around=self._around, worker_id=self._worker_id)
            loops.begin(self.loops)
            self._working.append(loops)
        ground.scheduler.after(_RESUMED_EVERY, self._resume)
        ground.scheduler.after(self._random.randrange(MINUTE), self._go_out)
        if ground.skew.is_guarded:
            ground.scheduler.after(self._random.randrange(MINUTE), self._go_wrong)

    def _go_out(self) -> None:
        """Now and then nobody works for some minutes."""
        ground, draw = self._ground, self._random.randrange
        if ground.plan.happens("outage"):
            ground.outage_until = ground.scheduler.now + draw(2 * MINUTE, 8 * MINUTE)
        ground.scheduler.after(draw(20 * SECOND, 2 * MINUTE), self._go_out)

    def _go_wrong(self) -> None:
        """Now and then a clock is set wrong and right again."""
        ground = self._ground
        if ground.plan.happens("clock_jumps"):
            self._set_wrong(self._random.choice((*self._clocks[-_LIKELY_IN_USE:], *self._post.clocks)))
        ground.scheduler.after(self._random.randrange(10 * SECOND, MINUTE), self._go_wrong)

    def _set_wrong(self, clock: SkewedClock) -> None:
        clock.skew = clock.usual + self._random.choice((-1, 1)) * self._random.choice(_JUMPS)
        self._ground.checks.figures["clocks set wrong"] += 1

        def set_right() -> None:
            clock.skew = clock.usual

        self._ground.scheduler.after(self._random.randrange(5 * SECOND, 5 * MINUTE), set_right)

    def _resume(self) -> None:
        """An operator hears the alert and resumes each town that was set aside because its runs died."""
        ground = self._ground
        here = Surroundings(store=ground.store, clock=SkewedClock(ground.scheduler, 0))
        for town_id in ground.checks.ledgers:
            if is_set_aside(drive(ground.store.apart(town_id))):
                drive(resume(here, town_id))
                ground.checks.figures["towns set aside and resumed"] += 1
        ground.scheduler.after(_RESUMED_EVERY, self._resume)

    def _around(self, most: int | None) -> Surroundings:
        """The surroundings of a new process, whose clock is wrong by at most so many milliseconds."""
        ground = self._ground
        skew = ground.skew.draw()
        clock = SkewedClock(ground.scheduler, skew if most is None else max(-most, min(skew, most)))
        self._clocks.append(clock)
        return Surroundings(
            store=ground.store,
            clock=clock,
            outside=self._outside,
            alerts=ground.checks,
            metrics=ground.checks,
            restore_window=self._keep_objects.window,
            guard=ground.guard(clock),
        )

    def _worker_id(self) -> str:
        return f"w{next(self._workers)}"

    def _keep(self, host: Host, report: RunReport) -> None:
        host.warm.keep(report.image)

    def _judge_error(self, name: str, error: Exception) -> None:
        self._ground.checks.require_passing(name, error)

    # hosts of the operator

    def calm_down(self) -> None:
        """Correct the clocks that are wrong by an hour, and look at the towns less often.

        A host an hour ahead holds up each town that it ticks, and a loop an hour behind comes an hour late to each. While an
        operator ticks the towns at the right time, a town could wait for such a loop for ever.
        """
        for works in self._working:
            works.calm_down()
        self._ground.outage_until = 0
        for clock in (*self._clocks, *self._post.clocks):
            clock.skew = max(-MINUTE, min(clock.usual, MINUTE))

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
        host = Host(self._around(None))
        self._hosts.append(host)
        return host

    def _lose(self, host: Host) -> None:
        if host in self._hosts:
            self._hosts.remove(host)

    def _start(
        self,
        host: Host,
        name: str,
        steps: Steps[Any],
        done: Callable[[Any], None] = lambda _: None,
        *,
        town: str | None = None,
        excused: type[Exception] | tuple[()] = (),
    ) -> None:
        """Begin with something at a host. `excused` are errors with which it may end."""
        host.busy = True

        def ended(ending: Ending) -> None:
            host.busy = False
            if ending.crashed:
                self._lose(host)
            elif ending.error is None:
                done(ending.result)
            elif not isinstance(ending.error, excused):
                self._judge_error(name, ending.error)

        self._ground.driver.start(name, steps, ended, town=town)

    # the operator

    def dry_run(self, town_id: str) -> None:
        """What would the next tick do? Often that very tick is run then."""
        host = self._free_host()
        if host is not None:
            ask = self._random.random() < 0.5
            steps = dry_run.rehearse(town_id, host.around, worker_id=self._worker_id(), ask_runtime=ask)
            self._start(host, "dry run", steps, partial(self._run_exactly, host), town=town_id)

    def tick_now(self, town_id: str) -> None:
        """A tick by hand, whether it is due or not."""
        host = self._free_host()
        if host is not None:
            steps = worker.run_town(town_id, host.around, worker_id=self._worker_id(), force=True)
            self._start(host, "by hand", steps, partial(self._keep, host), town=town_id)

    def tidy(self, town_id: str) -> None:
        """Retention, as the deployment runs it beside everything else."""
        host = self._free_host()
        if host is not None:
            kept = KeptPast(self._ground.objects, self._ground.objects, town_id)
            self._start(host, "tidy", self._tidying(host, kept), self._tidied, town=town_id)

    def _tidying(self, host: Host, kept: KeptPast) -> Steps[RetentionPlan]:
        now = yield from host.around.time()
        return (yield from retention.forget(kept, self._keep_objects, now=now))

    def _tidied(self, plan: RetentionPlan) -> None:
        self._ground.checks.figures["objects deleted by retention"] += len(plan.doomed)

    def restore(self, town_id: str) -> None:
        """An operator brings back what the town was at one of its restore points.

        The point may be gone before it is read: retention goes on meanwhile. An operator would choose another one.
        """
        host = self._free_host()
        if host is not None:
            kept = KeptPast(self._ground.objects, self._ground.objects, town_id)
            self._start(host, "restore", self._restoring(host, kept), town=town_id, excused=Refused)

    def _restoring(self, host: Host, kept: KeptPast) -> Steps[None]:
        points = yield from kept.points(limit=_POINTS_SHOWN)
        point = self._random.choice(points)
        old = yield from kept.at_txid(point.txid)
        now = yield from host.around.time()
        worker_id = self._worker_id()
        yield from restore_in_place(self._ground.store, kept, old, now=now, worker_id=worker_id)

    def rush(self, town_id: str) -> None:
        """Within one second a worker that is slow at the wrong moment, an event, and a tick by hand.

        The slow one is led by a marker of that second, sees no event, and deletes the marker late. The other one commits
        meanwhile, and what it wants at once has the marker of that very second.
        """
        around, scheduler = self._around(None), self._ground.scheduler
        soon = 1000 - around.clock.now().microsecond // 1000
        pause = self._random.uniform(0.6, 1.2)

        def slow() -> None:
            marker = keys.due_marker(town_id, around.clock.now())
            self._ground.objects.waiting.put(marker.key, b"")
            run = worker.run_town(town_id, around, worker_id=self._worker_id(), markers=(marker,))
            self._start(Host(around), "slow", paused(run, before="delete due/", seconds=pause), _nothing, town=town_id)

        def quick() -> None:
            run = worker.run_town(town_id, around, worker_id=self._worker_id(), force=True)
            self._start(Host(around), "by hand in a rush", run, _nothing, town=town_id)

        self._ground.checks.figures["rushes"] += 1
        scheduler.after(soon, slow)
        call = {"title": "look at this", "severity": "high"}
        scheduler.after(soon + 250, lambda: _nothing(self._post.send(town_id, "escalation_raised", call)))
        scheduler.after(soon + 450, quick)

    def _run_exactly(self, host: Host, dry: Rehearsal) -> None:
        self.dry_runs += 1
        self._ground.checks.reasons.update(dry.waiting)
        if host.busy or self._random.random() < 0.3:
            return
        given = dry.report.input
        steps = worker.run_town(dry.base.town_id, host.around, worker_id="exactly", exactly=given)

        def ended(ending: Ending) -> None:
            host.busy = False
            if ending.crashed:
                self._lose(host)
            elif ending.error is None:
                self._compare(dry, ending.result)
            elif not isinstance(ending.error, Refused):
                self._judge_error("exactly", ending.error)

        host.busy = True
        self._ground.driver.start("exactly", steps, ended, town=dry.base.town_id)

    def _compare(self, dry: Rehearsal, ran: RunReport) -> None:
        fail = self._ground.checks.fail
        self._ground.checks.figures["dry runs compared"] += 1
        if ran.outcome == "lost":
            return
        if ran.tick is None or ran.tick.outputs() != dry.report.outputs() or ran.tick.quiet != dry.report.quiet:
            fail("dry run", f"tick {dry.report.input.tick_id} did something else than its dry run")
        elif ran.image.image != dry.image:
            fail("dry run", first_difference(ran.image.image, dry.image))

    # the sweep

    def sweep(self) -> None:
        """Every town that waits for something has a marker again."""
        host = self._free_host()
        if host is not None:
            self._start(host, "sweep", sweep.sweep(host.around, page=self.settings.sweep_page), self._swept)

    def _swept(self, report: SweepReport) -> None:
        self._ground.checks.figures["rescued by the sweep"] += len(report.restored)
        everything = len(self._ground.checks.ledgers)
        if report.towns != everything:
            self._ground.checks.fail("sweep", f"it is through with {report.towns} of {everything} towns")
        for failed in report.failed:
            self._judge_error(f"sweep of {failed.town_id}", failed.error)


def _nothing(_: Any) -> None:
    """Its result is of no use."""

"""The deployment: a schedule, dispatchers, the queue of wakes and its workers, with the production code in each of them.

A schedule calls the dispatcher every minute; a call may be lost, late or doubled. Each function runs in environments
with clocks and warm images of their own, does one thing at a time there, and is killed at its time-out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, Generic, TypeVar

from shared.adapters.sqs_queue import wake_of
from shared.ports.queue import Delivery, Wake
from shared.ports.steps import Steps
from shared.runner.batch import SetAside, Worker
from shared.runner.minute import Dispatcher
from shared.runner.run_report import FailedRun, RunReport
from shared.runner.surroundings import Surroundings
from tests.queues import Message
from tests.simulation.ground import Ground
from tests.simulation.processes import Ending, Process
from tests.simulation.scheduler import BEGINNING, CALM_PASS_SECONDS, MINUTE, SECOND
from tests.simulation.wakes import SimulatedQueue, delivery_of

F = TypeVar("F")

_DISPATCHER_LIVES = 58 * SECOND
_WORKER_LIVES = 180 * SECOND
_MOST_DISPATCHERS = 3
_MOST_WORKERS = 4
_NOT_LATE = 50 * SECOND  # a dispatcher whose clock is a minute ahead takes every call for a late one, and does nothing


@dataclass(slots=True)
class NotingWorker(Worker):
    """A worker that notes of its batch the towns whose first run failed. A later one may fail: its town has had its tick."""

    failed: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def batch(self, messages: Sequence[Delivery], *, remaining: timedelta) -> Steps[list[str]]:
        self.failed, self.ended = set(), set()
        return (yield from Worker.batch(self, messages, remaining=remaining))

    def _run(self, wake: Wake, around: Surroundings) -> Steps[RunReport | FailedRun | SetAside]:
        done = yield from Worker._run(self, wake, around)
        if not isinstance(done, FailedRun):
            self.ended.add(wake.town_id)
        elif wake.town_id not in self.ended:
            self.failed.add(wake.town_id)
        return done


@dataclass(frozen=True)
class Settings:
    """What a deployment may choose."""

    pass_seconds: int
    in_process: int
    batch_size: int
    sweep_page: int

    @classmethod
    def drawn(cls, random: Random) -> "Settings":
        """The settings of a seed."""
        return cls(
            pass_seconds=random.choice((5, 5, 15, 60)),
            in_process=random.choice((0, 1, 1, 3)),
            batch_size=random.choice((1, 1, 3)),
            sweep_page=random.choice((1, 1, 2, 1000)),
        )


@dataclass(eq=False)
class Environment(Generic[F]):
    """Where a function runs, one call at a time; what is warm in it is lost with it."""

    function: F
    busy: bool = False


class Cloud:
    """Schedule, dispatchers, queue and workers. `around` makes the surroundings of a new environment."""

    def __init__(
        self,
        ground: Ground,
        settings: Settings,
        around: Callable[[int | None], Surroundings],
        worker_id: Callable[[], str],
    ) -> None:
        self._ground = ground
        self._settings = settings
        self._around = around
        self._worker_id = worker_id
        self._random = Random(f"{ground.random.random()} cloud")
        self._dispatchers: list[Environment[Dispatcher]] = []
        self._workers: list[Environment[NotingWorker]] = []
        self._calls = 0
        self.queue = SimulatedQueue(ground)
        self.queue.on_change = self._deliver

    def begin(self) -> None:
        """From now on the schedule calls."""
        self._minute()

    def calm_down(self) -> None:
        """From now on a minute has few passes: most of them would find nothing."""
        self._settings = replace(self._settings, pass_seconds=max(self._settings.pass_seconds, CALM_PASS_SECONDS))
        for environment in self._dispatchers:
            environment.function.pause = timedelta(seconds=self._settings.pass_seconds)

    # the schedule

    def _minute(self) -> None:
        scheduler, happens = self._ground.scheduler, self._ground.plan.happens
        scheduler.after(MINUTE, self._minute)
        if happens("trigger_lost") or scheduler.now < self._ground.outage_until:
            return
        late = self._random.randrange(90 * SECOND) if happens("trigger_late") else self._random.randrange(SECOND)
        at = scheduler.now // MINUTE
        for _ in range(2 if happens("trigger_doubled") else 1):
            scheduler.after(late, partial(self._dispatch, at))

    def _dispatch(self, minute: int) -> None:
        environment = self._free(self._dispatchers, _MOST_DISPATCHERS, self._new_dispatcher)
        if environment is None:
            return
        self._calls += 1
        life = timedelta(milliseconds=_DISPATCHER_LIVES)
        steps = environment.function.minute(BEGINNING + timedelta(minutes=minute), remaining=life)
        name = f"minute {minute}, call {self._calls}"
        self._run(self._dispatchers, environment, name, steps, _DISPATCHER_LIVES, lambda _: None)

    def _new_dispatcher(self) -> Dispatcher:
        around = self._around(_NOT_LATE)
        return Dispatcher(
            around,
            self.queue,
            self._ground.checks,
            self._worker_id,
            pause=timedelta(seconds=self._settings.pass_seconds),
            in_process=self._settings.in_process,
            sweep_page=self._settings.sweep_page,
        )

    # the queue's event source

    def _deliver(self) -> None:
        out_for = self._ground.outage_until - self._ground.scheduler.now
        if out_for > 0:
            self._ground.scheduler.after(out_for, self._deliver)
            return
        while self.queue.messages:
            environment = self._free(self._workers, _MOST_WORKERS, self._new_worker)
            batch = self.queue.receive(self._settings.batch_size) if environment is not None else []
            if environment is None or not batch:
                return
            self._work(environment, batch)

    def _work(self, environment: Environment[NotingWorker], batch: list[Message]) -> None:
        wakes = [(message, wake_of(message.body)) for message in batch]
        towns = {wake.town_id for _, wake in wakes}
        deliveries = tuple(delivery_of(message, wake) for message, wake in wakes)
        steps = environment.function.batch(deliveries, remaining=timedelta(milliseconds=_WORKER_LIVES))

        def answered(again: Any) -> None:
            self.queue.done(batch, again, failed=environment.function.failed)

        name = f"batch {', '.join(message.message_id for message in batch)}"
        only = min(towns) if len(towns) == 1 else None
        self._run(self._workers, environment, name, steps, _WORKER_LIVES, answered, town=only)

    def _new_worker(self) -> NotingWorker:
        return NotingWorker(self._around(None), self.queue, self._ground.checks, self._worker_id)

    # environments

    def _free(self, environments: list[Environment[F]], most: int, new: Callable[[], F]) -> Environment[F] | None:
        """The one that was used last, as Lambda likes to have it, or a new one."""
        free = [each for each in environments if not each.busy]
        if free and self._ground.plan.happens("host_replaced"):
            environments.remove(free.pop())
        if not free and len(environments) < most:
            free = [Environment(new())]
            environments += free
        return free[-1] if free else None

    def _run(
        self,
        environments: list[Environment[F]],
        environment: Environment[F],
        name: str,
        steps: Steps[Any],
        lives: int,
        done: Callable[[Any], None],
        *,
        town: str | None = None,
    ) -> Process:
        environment.busy = True
        environments.remove(environment)
        environments.append(environment)

        def ended(ending: Ending) -> None:
            environment.busy = False
            if ending.crashed:
                environments.remove(environment)
            elif ending.error is None:
                done(ending.result)
            else:
                self._ground.checks.require_passing(name, ending.error)
            self._ground.scheduler.after(1, self._deliver)

        return self._ground.driver.start(name, steps, ended, town=town, lives=lives)

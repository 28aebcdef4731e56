"""The simulation's driver keeps the contract of tasks, and a death takes the whole process."""

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

from shared.domain.report import ClaimedEffect
from shared.ports.steps import Await, Begin, Call, Ended, Steps
from tests.simulation.faults import CallFault, One
from tests.simulation.processes import Driver, Ending, Process
from tests.simulation.scheduler import MINUTE, Scheduler


class NobodyWatches:
    """Takes everything that a driver tells."""

    markers_may_be_missing = False

    def __init__(self) -> None:
        self.rests = 0
        self.problems: list[str] = []

    def effect_started(self, effect: ClaimedEffect, *, start: int, end: int) -> None:
        raise AssertionError(effect)

    def require_posted(self, name: str, result_ids: Sequence[str]) -> None:
        raise AssertionError(name)

    def looked_again(self, process: Process) -> None:
        raise AssertionError(process)

    def at_rest(self) -> None:
        self.rests += 1

    def fail(self, what: str, detail: str) -> None:
        self.problems.append(f"{what}: {detail}")


def driven(
    steps: Steps[Any], *, fault: CallFault | None = None, at: int = -1, lives: int | None = None
) -> Ending | None:
    """How it ended within ten simulated minutes; None if it has not."""
    scheduler, watch = Scheduler(), NobodyWatches()
    endings: list[Ending] = []
    driver = Driver(scheduler, One(fault, at), Random(1), watch)
    driver.start("it", steps, endings.append, lives=lives)
    scheduler.run(until=10 * MINUTE, enough=lambda: bool(watch.problems))
    assert watch.problems == []
    assert watch.rests or not endings
    return endings[0] if endings else None


def task(made: list[str], seconds: float) -> Steps[str]:
    yield Call("sleep", partial(_sleep, seconds))
    yield Call("work", partial(made.append, "work"))
    return "done"


def _sleep(_: float) -> None:
    """The driver lets the time pass."""


def parent(made: list[str], *, patience: float | None) -> Steps[list[Ended | None]]:
    quick = yield Begin("quick", task(made, 1))
    slow = yield Begin("slow", task(made, 60))
    endings: list[Ended | None] = yield Await((quick, slow), patience)
    yield Call("tell", partial(made.append, "tell"))
    return endings


def test_whoever_waits_to_the_end_sees_every_task_end() -> None:
    made: list[str] = []
    ending = driven(parent(made, patience=None))
    assert ending is not None
    assert ending.result == [Ended("done"), Ended("done")]
    assert made == ["work", "work", "tell"]


def test_whoever_has_no_more_patience_goes_on_and_a_task_dies_with_its_process() -> None:
    made: list[str] = []
    ending = driven(parent(made, patience=2))
    assert ending is not None
    assert ending.result == [Ended("done"), None]
    assert made == ["work", "tell"]


def test_a_task_that_meets_death_takes_its_process_with_it() -> None:
    """Calls: two sleeps, then the work of the quick one, at which it dies."""
    made: list[str] = []
    ending = driven(parent(made, patience=None), fault="crash_before", at=2)
    assert ending == Ending(crashed=True)
    assert made == []


def test_a_process_is_killed_at_the_end_of_its_life() -> None:
    made: list[str] = []
    ending = driven(parent(made, patience=None), lives=30_000)
    assert ending == Ending(crashed=True)
    assert made == ["work"]


def test_a_bug_of_a_task_is_told_to_whoever_awaits_it() -> None:
    def broken() -> Steps[None]:
        yield Call("clock", lambda: None)
        raise KeyError("x")

    def waiting() -> Steps[Any]:
        begun = yield Begin("broken", broken())
        return (yield Await((begun,)))

    scheduler, watch = Scheduler(), NobodyWatches()
    endings: list[Ending] = []
    Driver(scheduler, One(), Random(1), watch).start("it", waiting(), endings.append)
    scheduler.run(until=MINUTE, enough=lambda: False)
    assert [type(ended.error) for ended in endings[0].result] == [KeyError]
    assert watch.problems == ["process raised: it, broken: KeyError: 'x'"]


def test_when_the_world_ends_every_process_closes_what_it_holds_tasks_first() -> None:
    closed: list[str] = []

    def holding(name: str, begins: Steps[Any] | None = None) -> Steps[None]:
        try:
            if begins is not None:
                yield Begin("task", begins)
            yield Call("sleep", partial(_sleep, 3600))
        finally:
            closed.append(name)

    scheduler, watch = Scheduler(), NobodyWatches()
    driver = Driver(scheduler, One(), Random(1), watch)
    driver.start("it", holding("parent", holding("task")))
    scheduler.run(until=MINUTE, enough=lambda: False)
    assert closed == []
    driver.close()
    assert closed == ["task", "parent"]

"""Work with the outside as steps: a generator that yields every call instead of making it.

The same generator is driven by `drive` in production, by a seeded scheduler in the simulation and by the crash sweep,
which may fail, delay, repeat or abandon any single call. A generator never touches the outside between two yields.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the outside that was not made yet. `name` is verb and subject, as in `put towns/t1/head`.

    Among calls that are made together, one that has no answer after `seconds` answers with a TimeoutError: whether it
    was made, nobody knows. It is NotBegun where it is certain that it was not: the others left no room for it.
    """

    name: str
    make: Callable[[], Any]
    seconds: float | None = None


class NotBegun(TimeoutError):
    """The answer to a call that was not begun in its time and will not be."""


@dataclass(frozen=True, slots=True)
class Together:
    """Calls that may be made at once. The answers come back in order; a call that raised answers with its exception."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin other steps as a task that goes on beside the steps that yield this; the answer is the task, at once.

    The steps learn how the task goes only from `Await`. A task dies with the process, and a process that ends does not
    wait for its tasks: steps that need a task's end await it.
    """

    name: str
    steps: "Steps[Any]"


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until all these tasks have ended, or until `seconds` have passed; None waits to the end, 0 only looks.

    The answers come back in order: an `Ended` for each task that has ended, None for each that still goes on. A task may
    be awaited again, whether it has ended or not.
    """

    tasks: tuple[Any, ...]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended: with `result`, or with the exception that its steps raised."""

    result: Any = None
    error: Exception | None = None


Steps = Generator[Call | Together | Begin | Await, Any, T]

_PARALLEL_CALLS = 16


def drive(steps: Steps[T]) -> T:
    """Make every call of `steps` for real, one after another, and return what the steps return.

    Tasks run in daemon threads, each driven like this.
    """
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        error = None
        try:
            answer = _done(step)
        except Exception as raised:  # noqa: BLE001 - handed to the steps, which decide
            error = raised


def _done(step: Call | Together | Begin | Await) -> Any:
    """The answer to one step. Raises what a single call raises."""
    match step:
        case Call():
            return step.make()
        case Together():
            return _make_all(step.calls)
        case Begin():
            task = _Task(step)
            task.start()
            return task
        case Await():
            return _awaited(step)


class _Task(Thread):
    """A task of `drive`: a daemon thread, so that it dies with the process."""

    def __init__(self, begin: Begin) -> None:
        super().__init__(name=begin.name, daemon=True)
        self.ended: Future[Ended] = Future()
        self._steps = begin.steps

    def run(self) -> None:
        """Drive the steps to their end."""
        try:
            self.ended.set_result(Ended(result=drive(self._steps)))
        except Exception as raised:  # noqa: BLE001 - told to whoever awaits the task
            self.ended.set_result(Ended(error=raised))


def _awaited(step: Await) -> list[Ended | None]:
    wait([task.ended for task in step.tasks], timeout=step.seconds)
    return [task.ended.result() if task.ended.done() else None for task in step.tasks]


def _make_all(calls: tuple[Call, ...]) -> list[Any]:
    hurried = [call.seconds for call in calls if call.seconds is not None]
    if len(calls) <= 1 and not hurried:
        return [answer_of(call) for call in calls]
    pool = ThreadPoolExecutor(min(len(calls), _PARALLEL_CALLS))
    try:
        asked = [(call, pool.submit(answer_of, call)) for call in calls]
        wait([future for call, future in asked if call.seconds is not None], timeout=max(hurried, default=None))
        return [
            _late(call, future) if call.seconds is not None and not future.done() else future.result()
            for call, future in asked
        ]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _late(call: Call, future: "Future[Any]") -> TimeoutError:
    if future.cancel():
        return NotBegun(f"{call.name}: not begun within {call.seconds} s")
    return TimeoutError(f"{call.name}: no answer within {call.seconds} s")


def answer_of(call: Call) -> Any:
    """The call's result, or the exception that it raised."""
    try:
        return call.make()
    except Exception as raised:  # noqa: BLE001 - an answer like any other; the steps decide
        return raised

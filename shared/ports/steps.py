"""Work with the outside as steps: a generator that yields every call instead of making it.

The same generator is driven by `drive` in production, by a seeded scheduler in the simulation and by the crash sweep,
which may fail, delay, repeat or abandon any single call. A generator never touches the outside between two yields.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
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


Steps = Generator[Call | Together, Any, T]

_PARALLEL_CALLS = 16


def drive(steps: Steps[T]) -> T:
    """Make every call of `steps` for real, one after another, and return what the steps return."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        error = None
        if isinstance(step, Together):
            answer = _make_all(step.calls)
            continue
        try:
            answer = step.make()
        except Exception as raised:  # noqa: BLE001 - handed to the steps, which decide
            error = raised


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

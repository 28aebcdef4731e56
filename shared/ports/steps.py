"""External calls as steps: a generator that yields every call instead of making it.

Production drives a generator with `drive`. The simulation drives the same generator with a seeded scheduler, and the crash
tests fail, delay, repeat or abandon any single call. Between two yields a generator makes no external call.

    def head_of(objects: ObjectStore) -> Steps[StoredObject | None]:
        found: StoredObject | None = yield Call("get towns/t1/head", partial(objects.get, "towns/t1/head"))
        return found

The error of a call is raised at its `yield`, where the generator may catch it.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, Final, TypeVar

T = TypeVar("T")

AT_ONCE: Final = 16
"""So many calls are made at the same time, unless a store wants fewer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One external call that has not been made yet. `name` is a verb and its object, as in `put towns/t1/head`.

    `seconds` limits the wait for the answer if the call is part of a Together; the longest limit applies to all its calls that
    have one. After that the answer is a TimeoutError: the call may have been carried out, or still may be. If the call was
    certainly not made, because the other calls occupied every thread, the answer is NotBegun.
    """

    name: str
    make: Callable[[], object]
    seconds: float | None = None
    several: "Several | None" = None


@dataclass(frozen=True, slots=True)
class Several:
    """How equal calls of several steps are made as one, by `drive_all`: `make_all` is given what each is `of`.

    It returns their answers in order, those of calls that failed as exceptions.
    """

    make_all: Callable[[Sequence[Any]], Sequence[object]]
    of: object


class NotBegun(TimeoutError):
    """The answer of a call that was not begun in time and will never be made."""


@dataclass(frozen=True, slots=True)
class Together:
    """Calls that may be made in parallel.

    The `yield` returns a list with the answer of each call, in order. The answer of a call that raised is its exception:
    nothing is raised at the `yield` itself. No more than `at_once` are made at the same time.
    """

    calls: tuple[Call, ...]
    at_once: int = AT_ONCE


@dataclass(frozen=True, slots=True)
class Begin:
    """Start other steps as a task that runs in parallel; the answer is the task, at once.

    Only `Await` tells how the task ended. A task dies with the process, and a process that ends waits neither for its tasks nor
    for their calls: await a task whose end matters.
    """

    name: str
    steps: "Steps[Any]"


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until all these tasks have ended, or until `seconds` have passed; None waits without a limit, 0 does not wait.

    The answers are in order: an `Ended` for each task that has ended, None for each that is still running. A task may
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
"""A generator of steps that returns a T. What a `yield` returns depends on the step, so its type is Any: annotate it."""

_REST_SECONDS = 10.0


def all_of(calls: tuple[Call, ...], *, at_once: int = AT_ONCE) -> Steps[list[Any]]:
    """The answers of calls that are made together. Raises the first failure, after all calls were made."""
    answers: list[object] = yield Together(calls, at_once)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def drive(steps: Steps[T]) -> T:
    """Make the calls of `steps` for real, step by step, and return what the steps return.

    The calls of a Together run in a thread pool, and each task in a daemon thread.
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
        except Exception as raised:  # noqa: BLE001 - raised again inside the steps, which handle it
            error = raised


def drive_all(many: Sequence[Steps[T]]) -> list[T | Exception]:
    """Drive several steps in this thread, in turns: what each returned, or the exception that it raised.

    All go on until their next call is one that can be made as one with those of others; then these are made.
    """
    ends: dict[int, T | Exception] = {}
    waiting: dict[int, Several] = {}
    for place, steps in enumerate(many):
        _go_on(steps, None, place, waiting, ends)
    while waiting:
        for make_all in list(dict.fromkeys(each.make_all for each in waiting.values())):
            alike = {place: each.of for place, each in waiting.items() if each.make_all == make_all}
            for place, answer in zip(alike, _answers(make_all, tuple(alike.values())), strict=True):
                del waiting[place]
                _go_on(many[place], answer, place, waiting, ends)
    return [ends[place] for place in range(len(many))]


def _answers(make_all: Callable[[Sequence[Any]], Sequence[object]], wanted: Sequence[object]) -> Sequence[object]:
    try:
        return make_all(wanted)
    except Exception as raised:  # noqa: BLE001 - raised again inside each of the steps
        return [raised] * len(wanted)


def _go_on(
    steps: Steps[T], answer: object, place: int, waiting: dict[int, Several], ends: dict[int, T | Exception]
) -> None:
    """Give steps an answer, and make their calls up to one that can be made with those of others, or to their end."""
    try:
        while True:
            step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            if isinstance(step, Call) and step.several is not None:
                waiting[place] = step.several
                return
            try:
                answer = _done(step)
            except Exception as raised:  # noqa: BLE001 - raised again inside the steps, which handle it
                answer = raised
    except StopIteration as end:
        ends[place] = end.value
    except Exception as raised:  # noqa: BLE001 - the end of these steps, not of the others
        ends[place] = raised


def _done(step: Call | Together | Begin | Await) -> Any:
    """The answer to one step. Raises the error of a single call."""
    match step:
        case Call():
            return step.make()
        case Together():
            return _make_all(step.calls, step.at_once)
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
        except Exception as raised:  # noqa: BLE001 - the answer to the steps that await the task
            self.ended.set_result(Ended(error=raised))
        except BaseException as raised:
            # A panic of a library in Rust is not an Exception. Without an ending, whoever awaits the task would wait for ever.
            self.ended.set_result(Ended(error=RuntimeError(f"{self.name} ended with {type(raised).__name__}")))
            raise


def _awaited(step: Await) -> list[Ended | None]:
    wait([task.ended for task in step.tasks], timeout=step.seconds)
    return [task.ended.result() if task.ended.done() else None for task in step.tasks]


def _make_all(calls: tuple[Call, ...], at_once: int) -> list[Any]:
    time_limits = [call.seconds for call in calls if call.seconds is not None]
    if min(len(calls), at_once) <= 1 and not time_limits:
        return [answer_of(call) for call in calls]
    asked: list[tuple[Call, Future[object]]] = [(call, Future()) for call in calls]
    waiting: _Waiting = deque(asked)
    try:
        for _ in range(min(len(calls), at_once)):
            _HELPERS.give(waiting)
        longest = max(time_limits, default=None)
        wait([future for call, future in asked if call.seconds is not None], timeout=longest)
        return [
            _late(call, future, longest) if call.seconds is not None and not future.done() else future.result()
            for call, future in asked
        ]
    finally:
        for _, future in asked:
            future.cancel()  # does nothing to a call that was begun


_Waiting = deque[tuple[Call, Future[object]]]


@dataclass(eq=False, slots=True)
class _Helper:
    waiting: _Waiting
    called: Event = field(default_factory=Event)


class _Helpers:
    """The threads of this process that make the calls of Togethers. One that has nothing to do rests a while to be used again.

    They are daemon threads: those of an executor would keep a process that ends until the last call has an answer.
    """

    def __init__(self) -> None:
        self._resting: list[_Helper] = []
        self._lock = Lock()

    def give(self, waiting: _Waiting) -> None:
        """Let one more thread make these calls, as long as any waits."""
        with self._lock:
            helper = self._resting.pop() if self._resting else None
        if helper is not None:
            helper.waiting = waiting
            helper.called.set()
        else:
            Thread(target=self._help, args=(_Helper(waiting),), name="calls", daemon=True).start()

    def _help(self, helper: _Helper) -> None:
        while True:
            _make_waiting(helper.waiting)
            with self._lock:
                self._resting.append(helper)
            if not helper.called.wait(_REST_SECONDS):
                with self._lock:
                    if helper in self._resting:
                        self._resting.remove(helper)
                        return
                helper.called.wait()  # somebody took this thread in the last moment
            helper.called.clear()


_HELPERS = _Helpers()


def _make_waiting(waiting: _Waiting) -> None:
    """Make one waiting call after another until none is left."""
    while True:
        try:
            call, future = waiting.popleft()
        except IndexError:
            return
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(answer_of(call))
        except BaseException as raised:  # noqa: BLE001 - a panic, raised again where the answer is read
            future.set_exception(raised)


def _late(call: Call, future: "Future[object]", seconds: float | None) -> TimeoutError:
    if future.cancel():
        return NotBegun(f"{call.name}: not begun within {seconds} s")
    return TimeoutError(f"{call.name}: no answer within {seconds} s")


def answer_of(call: Call) -> object:
    """The call's result, or the exception that it raised."""
    try:
        return call.make()
    except Exception as raised:  # noqa: BLE001 - an answer like any other; the steps handle it
        return raised

"""Faults for steps: they let one call fail, lose its answer, be made twice, or take the process with it.

    faults = Faults(Fault("lost_answer", at=2))
    with contextlib.suppress(TownError, Crash):
        faults.drive(store.commit(base, image, facts))
    drive(store.load("demo"))  # what is true afterwards

Calls are counted from 0 over everything that one `Faults` drives, each call of a `Together` by itself. A
fault `for_ever` also hits every later call of the same name. `sweep` finds out how many calls there are and
gives a fault for each.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Literal, TypeVar, get_args

from shared.domain.errors import ConditionRace, StoreUnavailable, TownError
from shared.ports.steps import Call, Steps, Together, drive

T = TypeVar("T")

FaultKind = Literal["error", "lost_answer", "race", "twice", "crash_before", "crash_after"]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

_CONDITIONAL_WRITES = ("create ", "replace ")


class Crash(BaseException):
    """The process died. Not an Exception, so nothing that catches errors survives it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the call number `at`.

    error: not made, StoreUnavailable. lost_answer: made, StoreUnavailable all the same. race: a conditional
    write is not made and answers 409; other calls are spared. twice: made twice, the second answer counts, as
    when a client library repeats a request. crash_before, crash_after: the process dies with the call not
    made, or made.
    """

    kind: FaultKind
    at: int
    for_ever: bool = False


@dataclass(slots=True)
class Faults:
    """Puts at most one fault into all steps that it is given, and remembers the names of their calls."""

    fault: Fault | None = None
    names: list[str] = field(default_factory=list)

    def into(self, steps: Steps[T]) -> Steps[T]:
        """The same steps, in which the fault strikes."""
        return each_call(steps, self._changed)

    def drive(self, steps: Steps[T]) -> T:
        """Make all calls under the fault. Raises Crash if the fault is one."""
        return drive(self.into(steps))

    def _changed(self, call: Call) -> Call:
        number = len(self.names)
        self.names.append(call.name)
        if self.fault is None or not self._strikes(self.fault, number):
            return call
        return Call(call.name, partial(_make_under, self.fault.kind, call))

    def _strikes(self, fault: Fault, number: int) -> bool:
        if number <= fault.at:
            return number == fault.at
        return fault.for_ever and self.names[number] == self.names[fault.at]


def interrupted(steps: Steps[T], *, before_call: int, by: Callable[[], object]) -> Steps[T]:
    """The same steps, but just before the call of that number is made somebody else does something."""
    numbers = count()

    def changed(call: Call) -> Call:
        return Call(call.name, partial(_after, by, call)) if next(numbers) == before_call else call

    return each_call(steps, changed)


def meanwhile(steps: Steps[T], *, before: str, by: Callable[[], object]) -> Steps[T]:
    """The same steps, but just before the first call whose name begins so, somebody else does something.

    To let the process die there: `by=death`.
    """
    numbers = count()

    def changed(call: Call) -> Call:
        if call.name.startswith(before) and next(numbers) == 0:
            return Call(call.name, partial(_after, by, call))
        return call

    return each_call(steps, changed)


def death() -> None:
    """The process dies here."""
    raise Crash("before the call")


def each_call(steps: Steps[T], changed: Callable[[Call], Call]) -> Steps[T]:
    """The same steps with every call changed. Calls that could be made at once are made in their order."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as end:
            return end.value
        answer, error = None, None
        if isinstance(step, Together):
            answer = []
            for call in step.calls:
                try:
                    answer.append((yield changed(call)))
                except Exception as raised:  # noqa: BLE001 - an answer like any other, as in shared.ports.steps
                    answer.append(raised)
            continue
        if not isinstance(step, Call):  # tasks beside these steps go on undisturbed
            answer = yield step
            continue
        try:
            answer = yield changed(step)
        except Exception as raised:  # noqa: BLE001 - handed to the steps, which decide
            error = raised


def sweep(kind: FaultKind, *, for_ever: bool, of: Callable[[], Steps[Any]]) -> Iterator[Fault]:
    """A fault of this kind for every call that the steps make when nothing fails. `of` starts from a fresh
    world.
    """
    undisturbed = Faults()
    undisturbed.drive(of())
    for at in range(len(undisturbed.names)):
        yield Fault(kind, at=at, for_ever=for_ever)


def _after(by: Callable[[], object], call: Call) -> Any:
    by()
    return call.make()


def _make_under(kind: FaultKind, call: Call) -> Any:
    match kind:
        case "error":
            raise StoreUnavailable(f"{call.name}: no answer (injected, not made)")
        case "lost_answer":
            call.make()
            raise StoreUnavailable(f"{call.name}: no answer (injected, made)")
        case "race":
            if call.name.startswith(_CONDITIONAL_WRITES):
                raise ConditionRace(f"{call.name}: 409 (injected, not made)")
            return call.make()
        case "twice":
            with suppress(TownError):  # only the second answer reaches the caller
                call.make()
            return call.make()
        case "crash_before":
            raise Crash(call.name)
        case "crash_after":
            call.make()
            raise Crash(call.name)

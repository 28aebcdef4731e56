"""Processes in simulated time: the steps of the real code, every call made under the faults that a plan wants.

Each call takes its time, and while it does, all other processes go on. Calls that may be made at once really overlap.
A process that crashes is never resumed; what it had sent already still arrives.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final, Protocol, TypeVar

from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.errors import ConditionRace, QueueUnavailable, StoreUnavailable, TownError
from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.ports.steps import Await, Begin, Call, Ended, Steps, Together
from tests.simulation.faults import CALLS_OF_OUR_OWN, CallFault, Plan
from tests.simulation.scheduler import SECOND, Scheduler

T = TypeVar("T")
Reply = Callable[[Any, Exception | None], None]

_PAUSE_AT_MOST: Final = 400 * SECOND
_PAUSE_BEFORE_EFFECT: Final = 20 * SECOND  # what the claim leaves room for: 300 s > 60 + 60 + 2 x 60 + 20
_TRACE: Final = 60


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended. Neither result nor error: it crashed."""

    result: Any = None
    error: Exception | None = None
    crashed: bool = False


@dataclass(eq=False, slots=True)
class Process:
    """One generator on its way: a process, or a task of one. `town` is the only town that it may touch; None = any.

    `unwatched`: it has deleted a due marker and not looked again yet; if it dies now, only the sweep may find an event.
    `committed` is the town whose head it has written and for which it has not written the next marker yet. `answered` are
    the result events that the effects of its run have had so far.
    """

    name: str
    steps: Steps[Any]
    ended: Callable[[Ending], None]
    town: str | None
    parent: "Process | None" = None
    alive: bool = True
    asleep: bool = False
    unwatched: bool = False
    committed: str | None = None
    answered: list[str] = field(default_factory=list)
    tasks: list["Process"] = field(default_factory=list)
    ending: Ended | None = None
    awaits: Await | None = None

    @property
    def root(self) -> "Process":
        """The process that it is, or that it is a task of."""
        return self if self.parent is None else self.parent.root

    def family(self) -> "Iterator[Process]":
        """It and its tasks, and theirs."""
        yield self
        for task in self.tasks:
            yield from task.family()


class Watch(Protocol):
    """Who looks on."""

    markers_may_be_missing: bool

    def effect_started(self, effect: ClaimedEffect, *, start: int, end: int) -> None:
        """An attempt of an effect is on its way, from start to end."""
        ...

    def require_posted(self, name: str, result_ids: Sequence[str]) -> None:
        """A process goes on to its next effects: the results of those before must have been posted."""
        ...

    def looked_again(self, process: Process) -> None:
        """A process that had deleted due markers has done what must follow."""
        ...

    def at_rest(self) -> None:
        """No process is on its way, or all are asleep."""
        ...

    def fail(self, what: str, detail: str) -> None:
        """Something happened that must not."""
        ...


class Driver:
    """Drives all processes of a world."""

    def __init__(self, scheduler: Scheduler, plan: Plan, random: Random, watch: Watch) -> None:
        self._scheduler = scheduler
        self._plan = plan
        self._random = random
        self._watch = watch
        self.running: Process | None = None
        self.making: Call | None = None
        self._awake = 0
        self._roots: dict[Process, None] = {}
        self.answered_by = 0
        """When the last of all calls that were made so far is over, and a copy that comes late has arrived."""
        self.calls = 0
        self.trace: deque[tuple[int, str, str, str]] = deque(maxlen=_TRACE)

    def start(
        self,
        name: str,
        steps: Steps[Any],
        ended: Callable[[Ending], None] | None = None,
        *,
        town: str | None = None,
        lives: int | None = None,
    ) -> Process:
        """Begin with a process; `ended` is told how it ended. It is killed after so many milliseconds if it `lives` so long."""
        process = Process(name, steps, ended or (lambda _: None), town)
        self._roots[process] = None
        self._begin(process)
        if lives is not None:
            self._scheduler.after(lives, partial(self._crash, process))
        return process

    def close(self) -> None:
        """The world ends: nobody goes on, and each process closes what it holds, an open database among it; tasks go first.

        Left to the garbage collector, a database could go before the steps that would close it.
        """
        while self._roots:
            root, _ = self._roots.popitem()
            self._kill_tasks(root)
            root.steps.close()
            root.alive = False

    def _begin(self, process: Process) -> None:
        self._awake += 1
        self._go_on(process, None, None)

    def _go_on(self, process: Process, answer: Any, error: Exception | None) -> None:
        if not process.alive:
            return
        if process.asleep:
            process.asleep = False
            self._awake += 1
        try:
            step = process.steps.send(answer) if error is None else process.steps.throw(error)
        except StopIteration as end:
            self._end(process, Ending(result=end.value))
        except TownError as raised:
            self._end(process, Ending(error=raised))
        except Exception as raised:  # noqa: BLE001 - a bug, and the seed shows it
            self._watch.fail("process raised", f"{process.name}: {type(raised).__name__}: {raised}")
            self._end(process, Ending(error=raised))
        else:
            self._take(process, step)

    def _take(self, process: Process, step: Call | Together | Begin | Await) -> None:
        match step:
            case Call():
                self._issue(process, step, partial(self._go_on, process))
            case Together():
                self._issue_all(process, step.calls)
            case Begin():
                self._begin_task(process, step)
            case Await():
                self._await(process, step)

    def _begin_task(self, process: Process, step: Begin) -> None:
        town = step.name.removeprefix("town ") if step.name.startswith("town ") else process.town
        task = Process(f"{process.name}, {step.name}", step.steps, lambda _: None, town, parent=process)
        process.tasks.append(task)
        self._scheduler.after(0, partial(self._begin, task))
        self._scheduler.after(0, lambda: self._go_on(process, task, None))

    def _await(self, process: Process, step: Await) -> None:
        process.awaits = step
        self._fall_asleep(process)
        if step.seconds is not None:
            self._scheduler.after(int(step.seconds * SECOND), partial(self._awaited, process, step))
        elif all(task.ending is not None for task in step.tasks):
            self._scheduler.after(0, partial(self._awaited, process, step))

    def _awaited(self, process: Process, step: Await) -> None:
        """It is over with waiting: everything has ended, or its time has passed."""
        if process.awaits is step:
            process.awaits = None
            self._go_on(process, [task.ending for task in step.tasks], None)

    def _fall_asleep(self, process: Process) -> None:
        process.asleep = True
        self._awake -= 1
        if self._awake == 0:
            self._watch.at_rest()

    def _crash(self, process: Process) -> None:
        """The whole process dies, whichever of its tasks met the fault."""
        root = process.root
        if not root.alive:
            return
        root.steps.close()
        self._end(root, Ending(crashed=True))

    def _kill_tasks(self, process: Process) -> None:
        for each in process.family():
            if each.alive and each is not process:
                each.steps.close()
                self._no_more(each, died=True)

    def _no_more(self, process: Process, *, died: bool) -> None:
        process.alive = False
        self._awake -= not process.asleep
        if process.unwatched and died:
            self._watch.markers_may_be_missing = True
        self._looked_again(process)

    def _end(self, process: Process, ending: Ending) -> None:
        self._roots.pop(process, None)
        self._kill_tasks(process)
        self._no_more(process, died=ending.crashed or ending.error is not None)
        how = "crashed" if ending.crashed else "ends" if ending.error is None else f"ends: {ending.error}"
        self._note(process, how, "")
        process.ending = Ended(ending.result, ending.error)
        process.ended(ending)
        parent = process.parent
        waiting = None if parent is None else parent.awaits
        if parent is not None and waiting is not None and all(task.ending is not None for task in waiting.tasks):
            self._scheduler.after(0, partial(self._awaited, parent, waiting))
        if self._awake == 0:
            self._watch.at_rest()

    def _issue_all(self, process: Process, calls: tuple[Call, ...]) -> None:
        answers: list[Any] = [None] * len(calls)
        missing = set(range(len(calls)))

        def arrived(place: int, answer: Any, error: Exception | None) -> None:
            answers[place] = answer if error is None else error
            missing.discard(place)
            if not missing:
                self._go_on(process, answers, None)

        effects = [effect for effect in map(effect_of, calls) if effect is not None]
        if effects:
            self._watch.require_posted(process.name, process.answered)
            process.answered = [f"res-{effect.effect_id}-{effect.attempt}" for effect in effects]
        for place, call in enumerate(calls):
            self._issue(process, call, partial(arrived, place))
        if not calls:
            self._go_on(process, answers, None)

    def _issue(self, process: Process, call: Call, reply: Reply) -> None:
        self.calls += 1
        kind = self._plan.strike(call)
        self._note(process, call.name, kind or "")
        if call.name in CALLS_OF_OUR_OWN:
            self._own_call(process, call)
        effect = effect_of(call)
        pause, span = self._timing(call, effect, kind)
        if effect is not None and kind != "crash_before":
            begin = partial(self._watch.effect_started, effect)
            self._scheduler.after(pause, lambda: begin(start=self._scheduler.now, end=self._scheduler.now + span))
        self._plan_call(process, call, reply, kind=kind, pause=pause, span=span)

    def _own_call(self, process: Process, call: Call) -> None:
        """None of these lies between the steps that belong together: what must follow a commit or a deletion is done."""
        process.committed = None
        self._looked_again(process)
        if call.name == "worker id":
            process.answered = []
        if call.name == "sleep":
            self._fall_asleep(process)

    def _looked_again(self, process: Process) -> None:
        if process.unwatched:
            process.unwatched = False
            self._watch.looked_again(process)

    def _plan_call(
        self, process: Process, call: Call, reply: Reply, *, kind: CallFault | None, pause: int, span: int
    ) -> None:
        after = self._scheduler.after
        middle, end = pause + span // 2, pause + span
        late = self._random.randrange(1, 60 * SECOND) if kind == "late" else 0
        self.answered_by = max(self.answered_by, self._scheduler.now + end + late)

        def make() -> tuple[Any, Exception | None]:
            return self._make(process, call)

        def no_answer() -> None:
            reply(None, _no_answer(call.name))

        match kind:
            case None:
                after(end, lambda: reply(*make()))
            case "delay":  # a process that was killed meanwhile has not sent it
                after(end, lambda: reply(*make()) if process.alive or effect_of(call) is not None else None)
            case "error":
                after(end, no_answer)
            case "lost_answer":
                after(middle, lambda: _drop(make()))
                after(end, no_answer)
            case "late":
                after(end, no_answer)
                after(end + late, lambda: _drop(make()))
            case "twice":
                after(middle, lambda: _drop(make()))
                after(end, lambda: reply(*make()))
            case "race":
                after(end, lambda: reply(None, ConditionRace(f"{call.name}: 409 (injected)")))
            case "crash_before":
                after(end, lambda: self._crash(process))
            case "crash_after":
                after(middle, lambda: _drop(make()))
                after(end, lambda: self._crash(process))

    def _make(self, process: Process, call: Call) -> tuple[Any, Exception | None]:
        self.running, self.making = process, call
        try:
            return call.make(), None
        except TownError as raised:
            return None, raised
        except Exception as raised:  # noqa: BLE001 - nothing here raises by itself
            self._watch.fail("call raised", f"{call.name}: {type(raised).__name__}: {raised}")
            return None, raised
        finally:
            self.running = self.making = None

    def _timing(self, call: Call, effect: ClaimedEffect | None, kind: CallFault | None) -> tuple[int, int]:
        """How long the process waits before the call, and how long the call takes."""
        draw = self._random.randrange
        if effect is not None:
            most = ALLOWANCE[EffectKind(effect.kind)].timeout.seconds * SECOND
            if kind in ("delay", "lost_answer", "error"):
                return draw(_PAUSE_BEFORE_EFFECT), draw(100, most)
            return 0, draw(most // 2, most) if self._plan.slow_effects else draw(50, 2 * SECOND)
        span = _slept(call) if call.name == "sleep" else 1 if call.name in CALLS_OF_OUR_OWN else draw(2, 40)
        if kind == "delay":
            if self._plan.pause is not None:
                return self._plan.pause, span
            return int(SECOND * (_PAUSE_AT_MOST / SECOND) ** self._random.random()), span
        if kind in ("error", "lost_answer", "late"):
            return 0, draw(10, 10 * SECOND)
        return 0, span

    def _note(self, process: Process, what: str, kind: str) -> None:
        self.trace.append((self._scheduler.now, process.name, what, kind))


def paused(steps: Steps[T], *, before: str, seconds: float) -> Steps[T]:
    """The same steps, of a process that is stopped for so long just before its first call whose name begins so."""
    answer: Any = None
    error: Exception | None = None
    is_new = True
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        calls = (step,) if isinstance(step, Call) else step.calls if isinstance(step, Together) else ()
        if is_new and any(call.name.startswith(before) for call in calls):
            is_new = False
            yield Call("sleep", partial(_drop, seconds))
        answer, error = None, None
        try:
            answer = yield step
        except Exception as raised:  # noqa: BLE001 - handed to the steps, which decide
            error = raised


def effect_of(call: Call) -> ClaimedEffect | None:
    """The effect that a call of the performer attempts."""
    arguments = getattr(call.make, "args", ())
    first = arguments[0] if arguments else None
    return first if isinstance(first, ClaimedEffect) else None


def _slept(call: Call) -> int:
    """How many milliseconds a process wants to sleep."""
    seconds: float = getattr(call.make, "args", (0,))[0]
    return max(int(seconds * SECOND), 1)


def _no_answer(name: str) -> Exception:
    if name.endswith(" wakes"):
        return QueueUnavailable(f"{name}: no answer (injected)")
    return StoreUnavailable(f"{name}: no answer (injected)")


def _drop(_: Any) -> None:
    """Nobody hears of it."""

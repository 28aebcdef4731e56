"""Processes in simulated time: the steps of the real code, every call made under the faults that a plan wants.

Each call takes its time, and while it does, all other processes go on. Calls that may be made at once really overlap.
A process that crashes is never resumed; what it had sent already still arrives.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final, Protocol

from shared.domain.effects import ALLOWANCE
from shared.domain.errors import ConditionRace, StoreUnavailable, TownError
from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.ports.steps import Call, Steps, Together
from tests.simulation.faults import CallFault, Plan
from tests.simulation.scheduler import SECOND, Scheduler

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
    """One generator on its way. `town` is the only town that it may touch; None = any.

    `unwatched`: it has deleted a due marker; who dies then may leave an event that nobody is told of, but the sweep.
    """

    name: str
    steps: Steps[Any]
    ended: Callable[[Ending], None]
    town: str | None
    alive: bool = True
    unwatched: bool = False


class Watch(Protocol):
    """Who looks on."""

    def effect_started(self, effect: ClaimedEffect, *, start: int, end: int) -> None:
        """An attempt of an effect is on its way, from start to end."""
        ...

    markers_may_be_missing: bool

    def at_rest(self) -> None:
        """No process is on its way."""
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
        self._alive = 0
        self.calls = 0
        self.trace: deque[tuple[int, str, str, str]] = deque(maxlen=_TRACE)

    def start(
        self, name: str, steps: Steps[Any], ended: Callable[[Ending], None] | None = None, *, town: str | None = None
    ) -> None:
        """Begin with a process; `ended` is told how it ended."""
        self._alive += 1
        self._go_on(Process(name, steps, ended or (lambda _: None), town), None, None)

    def _go_on(self, process: Process, answer: Any, error: Exception | None) -> None:
        if not process.alive:
            return
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
            if isinstance(step, Together):
                self._issue_all(process, step.calls)
            elif isinstance(step, Call):
                self._issue(process, step, partial(self._go_on, process))

    def _crash(self, process: Process) -> None:
        if process.alive:
            process.steps.close()
            self._end(process, Ending(crashed=True))

    def _end(self, process: Process, ending: Ending) -> None:
        process.alive = False
        self._alive -= 1
        if process.unwatched and (ending.crashed or ending.error is not None):
            self._watch.markers_may_be_missing = True
        how = "crashed" if ending.crashed else "ends" if ending.error is None else f"ends: {ending.error}"
        self._note(process, how, "")
        process.ended(ending)
        if self._alive == 0:
            self._watch.at_rest()

    def _issue_all(self, process: Process, calls: tuple[Call, ...]) -> None:
        answers: list[Any] = [None] * len(calls)
        missing = set(range(len(calls)))

        def arrived(place: int, answer: Any, error: Exception | None) -> None:
            answers[place] = answer if error is None else error
            missing.discard(place)
            if not missing:
                self._go_on(process, answers, None)

        for place, call in enumerate(calls):
            self._issue(process, call, partial(arrived, place))
        if not calls:
            self._go_on(process, answers, None)

    def _issue(self, process: Process, call: Call, reply: Reply) -> None:
        self.calls += 1
        kind = self._plan.strike(call)
        self._note(process, call.name, kind or "")
        effect = effect_of(call)
        pause, span = self._timing(call.name, effect, kind)
        if effect is not None and kind != "crash_before":
            begin = partial(self._watch.effect_started, effect)
            self._scheduler.after(pause, lambda: begin(start=self._scheduler.now, end=self._scheduler.now + span))
        self._plan_call(process, call, reply, kind=kind, pause=pause, span=span)

    def _plan_call(
        self, process: Process, call: Call, reply: Reply, *, kind: CallFault | None, pause: int, span: int
    ) -> None:
        after = self._scheduler.after
        middle, end = pause + span // 2, pause + span

        def make() -> tuple[Any, Exception | None]:
            return self._make(process, call)

        def no_answer() -> None:
            reply(None, _no_answer(call.name))

        match kind:
            case None | "delay":
                after(end, lambda: reply(*make()))
            case "error":
                after(end, no_answer)
            case "lost_answer":
                after(middle, lambda: _drop(make()))
                after(end, no_answer)
            case "late":
                after(end, no_answer)
                after(end + self._random.randrange(1, 60 * SECOND), lambda: _drop(make()))
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
        self.running = process
        try:
            return call.make(), None
        except TownError as raised:
            return None, raised
        except Exception as raised:  # noqa: BLE001 - nothing here raises by itself
            self._watch.fail("call raised", f"{call.name}: {type(raised).__name__}: {raised}")
            return None, raised
        finally:
            self.running = None

    def _timing(self, name: str, effect: ClaimedEffect | None, kind: CallFault | None) -> tuple[int, int]:
        """How long the process waits before the call, and how long the call takes."""
        draw = self._random.randrange
        if effect is not None:
            most = ALLOWANCE[EffectKind(effect.kind)].timeout.seconds * SECOND
            if kind in ("delay", "lost_answer", "error"):
                return draw(_PAUSE_BEFORE_EFFECT), draw(100, most)
            return 0, draw(most // 2, most) if self._plan.slow_effects else draw(50, 2 * SECOND)
        span = 1 if name == "clock" else draw(2, 40)
        if kind == "delay":
            if self._plan.pause is not None:
                return self._plan.pause, span
            return int(SECOND * (_PAUSE_AT_MOST / SECOND) ** self._random.random()), span
        if kind in ("error", "lost_answer", "late"):
            return 0, draw(10, 10 * SECOND)
        return 0, span

    def _note(self, process: Process, what: str, kind: str) -> None:
        self.trace.append((self._scheduler.now, process.name, what, kind))


def effect_of(call: Call) -> ClaimedEffect | None:
    """The effect that a call of the performer attempts."""
    arguments = getattr(call.make, "args", ())
    first = arguments[0] if arguments else None
    return first if isinstance(first, ClaimedEffect) else None


def _no_answer(name: str) -> Exception:
    return StoreUnavailable(f"{name}: no answer (injected)")


def _drop(_: tuple[Any, Exception | None]) -> None:
    """Nobody hears of it."""

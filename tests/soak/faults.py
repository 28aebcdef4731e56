"""Makes the faults of the plan happen, and counts those that did."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from tests.soak import agent
from tests.soak.loops import WRONG_BY, Loop, faketime
from tests.soak.places import Place
from tests.soak.plan import DISKS, NETWORKS, PROCESSES, Fault
from tests.soak.proxy import Weather

Thing = TypeVar("Thing")
Heal = Callable[[], None]
_WEATHER: Final[dict[str, Weather]] = {
    "slow answers": "slow",
    "reset connections": "reset",
    "answers cut short": "cut",
    "refused connections": "refuse",
    "silence": "silent",
}


def kinds_of(place: Place) -> tuple[str, ...]:
    """The faults that can happen at a place, on this machine."""
    processes = tuple(kind for kind in PROCESSES if kind != "wrong clock" or faketime() is not None)
    return (*processes, *(DISKS if place.disk else ()), *(NETWORKS if place.proxy else ()))


@dataclass
class Trouble:
    """What is wrong at one place at the moment, and how to mend it."""

    place: Place
    loops: Sequence[Loop]
    happened: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    _mending: list[tuple[float, Heal]] = field(default_factory=list)

    def begin(self, fault: Fault) -> None:
        """Make it happen; it is mended when its time is over."""
        heal = self._begun(fault)
        (self.missed if heal is None else self.happened)[fault.kind] += 1
        if heal is not None:
            self._mending.append((fault.at + fault.seconds, heal))

    def mend(self, now: float) -> None:
        """Mend what has lasted long enough."""
        over = [heal for until, heal in self._mending if until <= now]
        self._mending = [each for each in self._mending if each[0] > now]
        for heal in over:
            heal()

    def mend_all(self) -> None:
        """From now on nothing fails."""
        self.mend(float("inf"))

    def _begun(self, fault: Fault) -> Heal | None:
        """The way to mend it; None if it could not happen."""
        place = self.place
        match fault.kind:
            case "kill a loop":
                _chosen(self.loops, fault).kill()
                return _nothing
            case "stop a loop":
                loop = _chosen(self.loops, fault)
                loop.stand_still()
                return loop.go_on
            case "kill an agent" | "stop an agent":
                return self._hit_an_agent(fault)
            case "wrong clock":
                [loop] = [loop for loop in self.loops if loop.name == "real"]
                loop.with_clock(_chosen(WRONG_BY, fault))
                return partial(loop.with_clock, None)
            case "full disk" | "full disk of agents":
                disk = place.disk if fault.kind == "full disk" else place.agents_disk
                assert disk is not None
                disk.fill()
                return disk.free
            case "read-only disk":
                assert place.disk is not None
                return place.disk.become_writable if place.disk.become_read_only() else None
            case _:
                return self._bad_weather(_WEATHER[fault.kind])

    def _bad_weather(self, weather: Weather) -> Heal:
        assert self.place.proxy is not None
        self.place.proxy.weather = weather
        return self._fair_weather

    def _fair_weather(self) -> None:
        assert self.place.proxy is not None
        self.place.proxy.weather = "fair"

    def _hit_an_agent(self, fault: Fault) -> Heal | None:
        living = [start.pid for start in agent.starts(self.place.starts) if _is_agent(start.pid)]
        if not living:
            return None
        pid = _chosen(living, fault)
        _signal(pid, signal.SIGKILL if fault.kind == "kill an agent" else signal.SIGSTOP)
        return partial(_signal, pid, signal.SIGCONT) if fault.kind == "stop an agent" else _nothing


def _nothing() -> None:
    """A process that was killed is not mended."""


def _chosen(things: Sequence[Thing], fault: Fault) -> Thing:
    return things[int(fault.draw * len(things))]


def _is_agent(pid: int) -> bool:
    with suppress(OSError):
        return b"tests.soak.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _signal(pid: int, number: signal.Signals) -> None:
    if _is_agent(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, number)

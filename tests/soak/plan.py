"""Which faults happen when: drawn from the seed before anything starts."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

PROCESSES: Final = ("kill a loop", "stop a loop", "kill an agent", "stop an agent", "wrong clock")
DISKS: Final = ("full disk", "full disk of agents", "read-only disk")
NETWORKS: Final = ("slow answers", "reset connections", "answers cut short", "refused connections", "silence")
_GAP_SECONDS: Final = (3.0, 9.0)
_LENGTH_SECONDS: Final = {
    "stop a loop": (3.0, 40.0),
    "stop an agent": (3.0, 20.0),
    "wrong clock": (15.0, 40.0),
    "silence": (5.0, 40.0),
}
_USUAL_LENGTH_SECONDS: Final = (2.0, 12.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when it begins and how long it lasts, in seconds since the start; `draw` in [0, 1) chooses whom it hits."""

    at: float
    place: str
    kind: str
    seconds: float
    draw: float

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.place:<10} {self.kind} for {self.seconds:.1f} s"


def faults(seed: int, place: str, kinds: tuple[str, ...], *, seconds: float) -> Iterator[Fault]:
    """The faults of one place, in order. Each kind comes once before any comes again."""
    chance = Random(f"{seed}-{place}")
    at, bag = chance.uniform(*_GAP_SECONDS), list[str]()
    while at < seconds:
        bag = bag or chance.sample(kinds, len(kinds))
        kind = bag.pop()
        length = chance.uniform(*_LENGTH_SECONDS.get(kind, _USUAL_LENGTH_SECONDS))
        yield Fault(at, place, kind, min(length, max(0.0, seconds - at)), chance.random())
        at += chance.uniform(*_GAP_SECONDS)

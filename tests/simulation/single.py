"""Every single fault of a small story: one bead is dispatched, worked on, reviewed and merged; the mayor hears of something.

The story is told once undisturbed. Then, for each of its calls and each kind of fault, it is told again with that fault
at that call, once or for ever (the next ten calls of the same name). Whatever the fault, the checkers must be content
and the bead must come to its end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from random import Random
from typing import Final

from tests.simulation.cloud import Settings
from tests.simulation.endings import unsettled
from tests.simulation.faults import CallFault, One, applies
from tests.simulation.fleet import Mode
from tests.simulation.ground import Skew
from tests.simulation.scheduler import HOUR, MINUTE, SECOND
from tests.simulation.simulate import Outcome, World

KINDS: Final[tuple[CallFault, ...]] = ("error", "lost_answer", "crash_before", "crash_after", "delay", "twice", "late")
FOR_EVER: Final = 10

_TOWN: Final = "town-1"
_LONGEST: Final = 4 * HOUR
"""Ten looks at a merge that fail one after another take three hours and twelve minutes, because the town waits longer each time."""


_SETTINGS: Final = Settings(pass_seconds=60, in_process=1, batch_size=1, sweep_page=1)
_MODES: Final[tuple[Mode, ...]] = ("cloud", "loops")


@dataclass(frozen=True)
class SingleFault:
    """A fault of the sweep, in the story of a deployment or of a local loop."""

    mode: Mode
    kind: CallFault
    at: int
    times: int

    def __str__(self) -> str:
        return f"{self.mode}: {self.kind} at call {self.at}" + (f", {self.times} times" if self.times > 1 else "")


class ExactClocks(Skew):
    """All clocks agree."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.kind = "none"
        self.at_most = timedelta(0)


def tell(mode: Mode, fault: SingleFault | None = None) -> tuple[Outcome, list[str]]:
    """The story under that fault: what came of it, and the names of its calls."""
    plan = One() if fault is None else One(fault.kind, fault.at, times=fault.times)
    world = World(0, plan, skew=ExactClocks())
    people = world.found(_TOWN, {"merge_strategy": "direct", "refinery": {"code_review": True}})
    world.checks.markers_may_be_missing = fault is not None and fault.kind == "late"
    world.calm_down()
    world.fleet.mode, world.fleet.settings, world.fleet.loops = mode, _SETTINGS, 1
    world.fleet.begin()
    people.want_bead()
    world.post.send(_TOWN, "escalation_raised", {"title": "look at this", "severity": "high"})
    statuses = {}
    while not world.checks.problems and world.scheduler.now < _LONGEST:
        world.live(until=world.scheduler.now + MINUTE)
        statuses = {
            bead: status for bead, (kind, status) in world.checks.ledgers[_TOWN].statuses.items() if kind == "issue"
        }
        if statuses and not unsettled(world.ground, world.runtime):
            break
    world.come_to_an_end(at_most=SECOND)
    expected = {"closed"} if fault is None or fault.times == 1 else {"closed", "failed"}
    if not world.checks.problems and (not statuses or set(statuses.values()) - expected):
        world.checks.fail("ending", f"the bead did not come to its end: {statuses}")
    world.close()
    return world.outcome(), plan.names


def all_faults() -> Iterator[SingleFault]:
    """Every fault at every call that the undisturbed story makes, where such a fault can befall such a call."""
    for mode in _MODES:
        for at, name in enumerate(_undisturbed(mode)):
            for kind in KINDS:
                if applies(kind, name):
                    yield SingleFault(mode, kind, at, 1)
                    yield SingleFault(mode, kind, at, FOR_EVER)


@cache
def _undisturbed(mode: Mode) -> tuple[str, ...]:
    """The names of the calls of the story without a fault."""
    _, names = tell(mode)
    return tuple(names)


def problems_of(fault: SingleFault) -> str | None:
    """What the checkers have to say about the story under this fault; None if nothing."""
    outcome, names = tell(fault.mode, fault)
    if not outcome.problems:
        return None
    call = names[fault.at] if fault.at < len(names) else "?"
    lines = [f"{fault} ({call}):", *outcome.problems[:5], *outcome.trace[-40:]]
    return "\n  ".join(lines)

"""Thieves in the simulation's world: the honest beads land as without them, and a wall that is torn down is seen."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from shared.engine.budgets import Accounts
from shared.events import fence
from shared.intake import sender
from shared.town import database
from tests.simulation.evil import Thief
from tests.simulation.faults import One
from tests.simulation.scheduler import HOUR, MINUTE
from tests.simulation.simulate import Outcome, World
from tests.simulation.single import ExactClocks

_TOWN: Final = "town-1"
_BEADS: Final = 5


def an_hour(*, seed: int, with_thief: bool) -> tuple[Outcome, dict[str, str], frozenset[str]]:
    """A town of exact clocks and no faults, whose people file a bead every few minutes.

    Returns also the end of each bead, and the beads that a thief may fail: that of the agent that he robbed, and what waits for it.
    """
    world = World(seed, One(), skew=ExactClocks())
    people = world.found(_TOWN, {"merge_strategy": "direct", "refinery": {"code_review": True}})
    people.most_beads = _BEADS
    world.runtime.calm = True
    world.fleet.begin()
    people.want_bead()
    if with_thief:
        world.thieves = [Thief(world.ground, world.runtime, _TOWN, seed)]
        world.thieves[0].begin()
    for _ in range(_BEADS - 1):
        world.live(until=world.scheduler.now + 10 * MINUTE)
        people.want_bead()
    world.live(until=HOUR)
    world.calm_down()
    world.come_to_an_end(at_most=HOUR)
    world.close()
    ledger = world.checks.ledgers[_TOWN]
    beads = {bead: status for bead, (_, status) in ledger.statuses.items() if bead.startswith(f"{_TOWN}-bead-")}
    robbed = {thief.robbed for thief in world.thieves}
    with database.opened(ledger.image) as sql:
        needs = sql.execute("SELECT bead_id, depends_on_bead_id FROM bead_dependencies").fetchall()
    for _ in beads:
        robbed |= {bead for bead, needed in needs if needed in robbed}
    return world.outcome(), beads, frozenset(beads).intersection(robbed)


@pytest.mark.slow
def test_in_an_hour_beside_a_thief_the_honest_beads_land_as_they_would_without_him() -> None:
    seed = 11
    alone, expected, _ = an_hour(seed=seed, with_thief=False)
    outcome, beads, his = an_hour(seed=seed, with_thief=True)
    assert not alone.problems
    assert not outcome.problems, outcome.told()
    assert outcome.figures["tokens stolen"] == 1
    assert outcome.figures["forgeries"] > 300
    assert len(beads) == _BEADS
    honest = beads.keys() - his
    assert len(honest) >= _BEADS - 2
    assert {bead: beads[bead] for bead in honest} == {bead: expected[bead] for bead in honest}
    assert set(expected.values()) <= {"closed", "open"}  # open: it depends on a bead that nobody ever files


def _no_fence(*_: Any) -> None:
    """A fence that stops nobody."""


def _no_limit(*_: Any) -> bool:
    return True


def _anybody_may(event: Any, _: Any) -> None:
    sender.require_from_outside(event)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "wall", "instead", "says"),
    [
        (fence, "stopped", _no_fence, "is over, and its"),
        (sender, "require_entitled", _anybody_may, "was accepted"),
        (Accounts, "has_room", _no_limit, "new beads and escalations of one window were applied"),
    ],
    ids=["the fence of generations", "the scopes", "the budgets"],
)
def test_a_wall_that_is_torn_down_is_seen(
    place: Any, wall: str, instead: Callable[..., Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, wall, instead)
    outcome, _, _ = an_hour(seed=11, with_thief=True)
    assert any(problem.startswith("wall: ") and says in problem for problem in outcome.problems), outcome.told()

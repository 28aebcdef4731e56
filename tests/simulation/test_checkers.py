"""Do the checkers check? Code that breaks the protocol is seen within a few seeds."""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.simulate import simulate

_SEEDS = 50
_MERELY_BROKEN = ("process raised", "call raised", "loop ended", "run failed")


def judgements(seed: int) -> list[str]:
    """What the checkers say about that world; a mutant that raises by itself has not been judged."""
    return [problem for problem in simulate(seed, minutes=3).problems if not problem.startswith(_MERELY_BROKEN)]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_protocol_is_seen(mutant: Mutant) -> None:
    """Within fifty seeds; most within the first five."""
    with mutant.installed():
        assert any(judgements(seed) for seed in range(_SEEDS))

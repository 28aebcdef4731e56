"""Do the checkers check? Workers that break the protocol are seen within a few seeds."""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.simulate import simulate


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_protocol_is_seen(mutant: Mutant) -> None:
    """Within twenty seeds."""
    with mutant.installed():
        assert any(simulate(seed).problems for seed in range(20))

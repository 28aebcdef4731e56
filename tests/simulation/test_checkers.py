"""Do the checkers check? Code that breaks the protocol is seen within a few seeds."""

from inspect import Parameter, signature

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.simulate import simulate

_SEEDS = 50
_MERELY_BROKEN = ("process raised", "call raised", "loop ended", "run failed")


_FROM_THE_FUTURE = "FromTheFuture"
"""A run refuses a commit that a clock ahead has made: the protocol has judged that there should be none."""


def judgements(seed: int, *, minutes: float = 3) -> list[str]:
    """What the checkers say about that world; a mutant that raises by itself has not been judged."""
    found = simulate(seed, minutes=minutes).problems
    return [each for each in found if not each.startswith(_MERELY_BROKEN) or _FROM_THE_FUTURE in each]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_protocol_is_called_as_the_real_one_is(mutant: Mutant) -> None:
    """Code that got a parameter once let three mutants raise a TypeError in every world, and so no checker judged what they do."""
    real = getattr(mutant.target, mutant.attribute)
    if callable(real):
        parameters = signature(real).parameters.values()
        by_name = {each.name: each for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
        by_place = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        signature(mutant.instead).bind(*by_place, **by_name)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_protocol_is_seen(mutant: Mutant) -> None:
    """Within fifty seeds; most within the first five."""
    with mutant.installed():
        assert any(judgements(seed, minutes=mutant.minutes) for seed in range(_SEEDS))

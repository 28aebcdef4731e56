"""One fault at one call of a small story, for a sample of all of them; `make simulate ARGS=--sweep` tries every one."""

from itertools import islice

import pytest

from tests.simulation.fleet import Mode
from tests.simulation.single import all_faults, problems_of, tell

_PARTS = 4
_EVERY = 61  # of about 6,450; a prime, so that no kind and no call is left out


@pytest.mark.parametrize("mode", ["cloud", "loops"])
def test_the_story_undisturbed(mode: Mode) -> None:
    outcome, names = tell(mode)
    assert not outcome.problems, outcome.told()
    assert 100 < len(names) < 700


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("part", range(_PARTS))
def test_no_single_fault_does_harm(part: int) -> None:
    """The bead comes to its end, nothing is lost, nothing is done twice."""
    sample = islice(all_faults(), part * _EVERY // _PARTS, None, _EVERY)
    assert [problem for problem in map(problems_of, sample) if problem is not None] == []

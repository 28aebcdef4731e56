"""Forty worlds: workers that crash, answers that are lost, clocks that are wrong, agents that lie; then calm."""

import os
import subprocess
import sys

import pytest

from tests.simulation.simulate import simulate

_SEEDS = 40
_CHUNK = 5


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("first", range(0, _SEEDS, _CHUNK))
def test_no_seed_shows_what_must_never_be_seen(first: int) -> None:
    """Every commit is replayed to the same bytes, nothing is lost or done twice, and in calm everything ends."""
    for seed in range(first, first + _CHUNK):
        outcome = simulate(seed)
        assert not outcome.problems, outcome.told()


def test_a_seed_is_the_same_world_again_whatever_the_hash_seed() -> None:
    """Two processes with other hash seeds run the same calls and come to the same ticks and faults."""
    tell = (
        "from tests.simulation.simulate import simulate; o = simulate(7, minutes=4); print(o.calls, o.ticks, o.faults)"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", tell],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]


def test_a_failing_seed_says_how_to_see_it_again() -> None:
    """What is printed of a failure: the problem, the last calls, one command."""
    outcome = simulate(7, minutes=1)
    outcome.problems.append("replay: beads ('b1',): open and closed")
    told = outcome.told()
    assert "beads ('b1',)" in told
    assert "the last calls:\n" in told
    assert any(call.endswith(": ends") for call in told.splitlines())
    assert told.endswith("again: python -m tests.simulation --seeds 1 --start 7")

"""Ticks of one town keep their distance, also from a last tick that lies a little ahead of our clock."""

from datetime import timedelta

import pytest

from shared.domain.times import to_text
from tests.towns import MS, T, a_town
from tests.worlds import a_world

INTERVAL = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("ahead", "runs"),
    [
        (-INTERVAL - MS, True),
        (-INTERVAL, True),
        (-INTERVAL + MS, False),
        (INTERVAL - MS, False),
        (INTERVAL, False),
        (INTERVAL + MS, True),
    ],
    ids=["long ago", "5 s ago", "a moment ago", "ahead", "5 s ahead", "another clock"],
)
def test_a_tick_waits_for_its_distance_from_the_last_one(ahead: timedelta, runs: bool) -> None:
    world = a_world(a_town().key("last_tick_at", to_text(T + ahead)))
    report = world.run(force=False)
    assert (report.outcome != "not_due") is runs

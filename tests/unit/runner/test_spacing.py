"""Ticks of one town keep their distance, also from a last tick that lies a little ahead of our clock."""

from datetime import timedelta

import pytest

from shared.domain.times import to_text
from tests.towns import MS, T, a_town, event
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


RECORD = {
    "code_version": "",
    "sqlite_version": "",
    "config_digest": "",
    "prev_image_digest": "",
    "inputs": "{}",
    "outputs": "{}",
}


@pytest.mark.parametrize(
    ("began", "runs"),
    [(6 * INTERVAL - MS, False), (6 * INTERVAL, True), (6 * INTERVAL + MS, True)],
    ids=["a moment too early", "as many intervals", "a moment later"],
)
def test_an_event_is_heard_at_once_unless_there_were_six_ticks_in_as_many_intervals(
    began: timedelta, runs: bool
) -> None:
    town = a_town().key("last_tick_at", to_text(T - MS))
    town.insert("ticks", tick_no=1, tick_id="tick-1", now=T - began, **RECORD)
    for number in range(2, 7):
        town.insert("ticks", tick_no=number, tick_id=f"tick-{number}", now=T - MS, **RECORD)
    town.key("tick_no", 6).tick_no = 6
    world = a_world(town)
    world.post(event("town_started"))
    assert (world.run(force=False).outcome != "not_due") is runs

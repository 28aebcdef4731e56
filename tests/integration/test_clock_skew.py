"""Two writers whose clocks disagree work on one town: its time only goes forward, and neither keeps the other waiting."""

from datetime import timedelta
from itertools import pairwise

import pytest

from shared.domain.tick import Envelope
from shared.domain.times import from_text
from shared.ports.steps import drive
from shared.storage.restore import KeptPast
from tests.fakes import FakeClock
from tests.towns import TOWN, T, a_town, event
from tests.worlds import World, a_world

SECOND = timedelta(seconds=1)


def two_writers(*, apart: timedelta) -> tuple[World, World]:
    """The second one's clock is ahead by so much."""
    slow = a_world(a_town())
    fast = World(objects=slow.objects, clock=FakeClock(T + apart))
    slow._workers, fast._workers = 1000, 2000  # worker ids are never shared
    return slow, fast


def a_bead(number: int) -> Envelope:
    """Somebody files a bead that no rule touches."""
    bead = {"bead_id": f"b{number}", "type": "issue", "title": "t", "labels": ["gt:held"]}
    return event("bead_created", {"bead": bead})


@pytest.mark.parametrize("apart", [4 * SECOND, timedelta(minutes=20), timedelta(days=1)], ids=str)
def test_writers_with_other_clocks_take_turns_and_time_goes_forward(apart: timedelta) -> None:
    slow, fast = two_writers(apart=apart)
    for number in range(6):
        writer = fast if number % 2 == 0 else slow
        writer.post(a_bead(number))
        assert writer.run().outcome == "committed"
        slow.clock.at += 10 * SECOND
        fast.clock.at += 10 * SECOND
    times = [from_text(record["now"]) for record in slow.journal()]
    assert len(times) == 6
    assert all(earlier < later for earlier, later in pairwise(times))
    assert slow.image() == fast.image()
    points = drive(KeptPast(slow.objects, slow.objects, TOWN).points())  # type: ignore[arg-type]
    assert [point.txid for point in points] == list(range(7, 0, -1))
    assert sorted(points, key=lambda point: point.time) == points[::-1]


@pytest.mark.parametrize("apart", [timedelta(minutes=20), timedelta(days=1)], ids=str)
def test_an_event_is_not_kept_waiting_until_a_slow_clock_has_caught_up(apart: timedelta) -> None:
    """The last tick was made by a clock far ahead; for the slow one it lies in the future, and is no reason to wait."""
    slow, fast = two_writers(apart=apart)
    fast.post(a_bead(1))
    assert [run.outcome for run in fast.look().runs] == ["committed"]
    slow.clock.at += 10 * SECOND
    slow.post(a_bead(2))
    assert [run.outcome for run in slow.look().runs] == ["committed"]
    assert slow.inbox() == ()

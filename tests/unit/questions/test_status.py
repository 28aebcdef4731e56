"""What the status report says of a town as it stands, without a tick."""

from datetime import datetime, timedelta

import pytest

from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.questions.status import status
from tests.towns import MS, T, a_town, event
from tests.worlds import a_world


@pytest.mark.parametrize(("until", "shown"), [(T - MS, False), (T, False), (T + MS, True)], ids=str)
def test_a_town_settles_until_its_time_and_not_at_it(until: datetime, shown: bool) -> None:
    world = a_world(a_town().key("settling_until", to_text(until)))
    assert drive(status("t1", world.around)).settling is shown


@pytest.mark.parametrize("minutes", [0, 6, 8])
def test_a_town_drains_until_a_tick_ends_it(minutes: int) -> None:
    drain = {"nonce": "n", "started_at": to_text(T - timedelta(minutes=minutes))}
    assert drive(status("t1", a_world(a_town().key("drain", drain)).around)).draining


@pytest.mark.parametrize(
    ("bead", "reason", "due"),
    [
        ("in_review", "awaiting_review", T + timedelta(minutes=4, milliseconds=1)),
        ("in_progress", "cooldown", T + timedelta(minutes=4, milliseconds=1)),
    ],
)
def test_what_waits_for_a_rule_says_when_it_may_act(bead: str, reason: str, due: datetime) -> None:
    town = a_town().bead("b", status=bead, updated_at=T - timedelta(minutes=1))
    [waiting] = drive(status("t1", a_world(town).around)).waiting
    assert (waiting.bead_id, waiting.reason, waiting.due_at) == ("b", reason, due)


@pytest.mark.parametrize(("until", "reason"), [(T, "awaiting_ci"), (T + 2 * MS, "rate_limited")])
def test_a_pull_request_is_rate_limited_until_its_time(until: datetime, reason: str) -> None:
    town = a_town().review("m", "in_progress", pr_url="https://x/1", metadata={"poll_not_before": to_text(until)})
    [waiting] = drive(status("t1", a_world(town).around)).waiting
    assert waiting.reason == reason


def test_a_convoy_whose_work_is_done_waits_for_the_last_review() -> None:
    town = a_town().bead("b", status="closed").review("m", "in_progress", of="b", pr_url="https://x/1")
    town.convoy("c", tracked=["b"], closed=1)
    waiting = {each.bead_id: each.reason for each in drive(status("t1", a_world(town).around)).waiting}
    assert waiting["c"] == "awaiting_review"


def test_after_a_tick_that_changed_nothing_no_time_that_is_over_is_named() -> None:
    """Such a tick is not committed, so the image names for ever the time at which it ran; the doctor missed a marker, too."""
    world = a_world(a_town())
    world.post(event("town_configured", {"config": {"alarm_interval_active": 10}}))
    world.run()
    world.clock.sleep(10)
    [ran] = world.look().runs
    assert ran.outcome == "quiet"
    found = drive(status("t1", world.around))
    assert (found.next_due_at, found.only_an_event_wakes_it) == (None, True)
    assert world.image().facts.next_due is not None


def test_a_town_that_is_overdue_says_since_when() -> None:
    world = a_world(a_town().rig("rig-2", name="r2").bead("b"))
    world.run()
    due = world.image().facts.next_due
    assert due is not None
    world.clock.sleep(600)
    found = drive(status("t1", world.around))
    assert (found.next_due_at, found.only_an_event_wakes_it) == (due, False)
    assert due < found.now

"""Scenarios 123, 124 and 199: agents that nobody needed for a day."""

from datetime import datetime, timedelta

import pytest

from shared.domain import limits
from tests.scenarios.stories import BOUNDARY, around, deeds, outbox
from tests.scenarios.table import scenario
from tests.towns import MS, T, a_town, ago

DAY = limits.AGENT_FORGET_AFTER
FORGOTTEN = ["garbage.forget_idle_agent: delete_agent p"]


@scenario(123)
@pytest.mark.parametrize("status", ["idle", "dead"])
@pytest.mark.parametrize("role", ["polecat", "refinery"])
@pytest.mark.parametrize(("quiet_for", "forgotten"), around(DAY), ids=BOUNDARY)
def test_an_agent_is_forgotten_after_more_than_a_day(
    role: str, status: str, quiet_for: timedelta, forgotten: bool
) -> None:
    town = a_town().agent("p", role, status, last_activity_at=T - quiet_for)
    report = town.tick()
    assert deeds(report) == (FORGOTTEN if forgotten else [])
    assert (town.one("agent_metadata", "p", "status"), town.status("p")) == (
        (None, None) if forgotten else (status, "open")
    )
    if not forgotten:
        assert report.next_due == T - quiet_for + DAY + MS


@scenario(123)
@pytest.mark.parametrize(
    ("created_at", "forgotten"), [(ago(hours=1), False), (ago(hours=24), False), (ago(hours=24, ms=1), True)]
)
def test_an_agent_that_was_never_active_is_as_old_as_its_bead(created_at: datetime, forgotten: bool) -> None:
    town = a_town().agent("p", last_activity_at=None, created_at=created_at)
    assert deeds(town.tick()) == (FORGOTTEN if forgotten else [])


@scenario(123)
def test_the_mayor_and_whoever_is_hooked_are_never_forgotten() -> None:
    town = a_town().update("agent_metadata", "mayor", last_activity_at=ago(days=2))
    town.bead("b", status="in_review", assignee_agent_bead_id="p").agent("p", hook="b", last_activity_at=ago(days=2))
    town.review("m", of="b").edge("m", "held").bead("held", labels=["gt:held"])
    assert deeds(town.tick()) == []
    assert (town.doing("mayor"), town.doing("p")) == (("idle", None), ("idle", "b"))


@scenario(123)
@pytest.mark.parametrize("status", ["working", "stalled"])
def test_a_busy_agent_is_not_forgotten(status: str) -> None:
    town = a_town().agent("p", status=status, last_activity_at=ago(days=2), stalled_at=ago(minutes=1))
    assert deeds(town.tick(), of="garbage") == []


@scenario(124)
def test_the_beads_of_a_forgotten_agent_are_free() -> None:
    town = a_town().agent("p", last_activity_at=ago(hours=24, ms=1))
    for status in ("closed", "failed", "in_progress", "in_review", "open"):
        town.bead(status, status=status, assignee_agent_bead_id="p", labels=["gt:held"])
    report = town.tick()
    assert deeds(report, of="garbage") == FORGOTTEN
    assert town.one("agent_metadata", "p", "status") is None
    found = dict(town.rows("SELECT bead_id, status FROM beads WHERE type = 'issue' AND assignee_agent_bead_id IS NULL"))
    assert found == {
        "closed": "closed",
        "failed": "failed",
        "in_progress": "open",
        "in_review": "in_review",
        "open": "open",
    }


@scenario(124)
def test_of_what_waits_in_the_outbox_for_a_forgotten_agent_only_the_stops_stay_and_what_was_claimed_ends() -> None:
    town = a_town().agent("p", last_activity_at=ago(hours=24, ms=1), generation=2)
    waiting = [("update_model", "pending"), ("stop_agent", "pending"), ("stop_agent", "claimed")]
    for number, (kind, state) in enumerate(waiting):
        town.insert(
            "outbox",
            effect_id=f"effect-{number}",
            seq=number + 1,
            kind=kind,
            subject="p",
            generation=number,
            payload={"agent_id": "p"},
            state=state,
            attempts=int(state == "claimed"),
            claimed_until=T + timedelta(minutes=5) if state == "claimed" else None,
            not_before=T + timedelta(minutes=1) if state == "pending" else None,
            deadline=T + timedelta(minutes=10),
            created_at=ago(minutes=1),
        )
    assert deeds(town.tick()) == FORGOTTEN
    assert outbox(town) == [
        ("update_model", "p", 0, "expired"),
        ("stop_agent", "p", 1, "pending"),
        ("stop_agent", "p", 2, "claimed"),
    ]


@scenario(199)
def test_a_refinery_that_is_needed_again_is_dispatched_and_not_forgotten() -> None:
    town = a_town().agent("f", "refinery", last_activity_at=ago(hours=25)).review("m")
    assert deeds(town.tick()) == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: hook_agent f m",
        "reviews.dispatch_refinery: dispatch_agent f m",
    ]
    assert town.doing("f") == ("working", "m")


@scenario(199)
def test_a_dead_refinery_is_forgotten_even_if_its_rig_needs_one() -> None:
    town = a_town().agent("p", "refinery", "dead", last_activity_at=ago(hours=25)).review("m")
    assert deeds(town.tick()) == FORGOTTEN
    assert deeds(town.tick(at=T + timedelta(seconds=5))) == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: dispatch_agent m",
    ]


@scenario(199)
def test_a_polecat_that_gets_work_after_a_day_is_not_forgotten() -> None:
    """Both rules saw it idle; the guard of the deletion sees that it works now."""
    town = a_town().agent("p", last_activity_at=ago(hours=25)).bead("b")
    report = town.tick()
    assert deeds(report) == [
        "beads.dispatch_ready: dispatch_agent b",
        "garbage.forget_idle_agent: delete_agent p (skipped: moved_on)",
    ]
    assert (town.doing("p"), report.metrics.actions_skipped) == (("working", "b"), 1)


@scenario(199)
def test_a_polecat_is_forgotten_whatever_is_reviewed_in_its_rig() -> None:
    town = a_town().agent("p", last_activity_at=ago(hours=25)).bead("held", labels=["gt:held"]).review("m")
    assert deeds(town.edge("m", "held").tick()) == FORGOTTEN

"""H1 and H6 where a scenario does not look."""

from datetime import timedelta

import pytest

from shared.domain import limits
from tests.scenarios.stories import deeds
from tests.towns import MS, T, a_town, ago


@pytest.mark.parametrize("status", ["working", "stalled", "idle", "dead", "waiting"])
def test_the_container_of_a_mayor_that_works_or_stalled_is_not_stopped(status: str) -> None:
    town = a_town().update(
        "agent_metadata", "mayor", status=status, last_activity_at=ago(hours=1), stalled_at=ago(hours=1)
    )
    stopped = deeds(town.tick(container="running"), of="housekeeping.stop_idle_container")
    assert bool(stopped) == (status not in ("working", "stalled"))


@pytest.mark.parametrize(("bumps", "raised"), [(limits.ESCALATION_BUMPS - 1, True), (limits.ESCALATION_BUMPS, False)])
def test_an_escalation_is_raised_three_times(bumps: int, raised: bool) -> None:
    created = T - (bumps + 1) * limits.ESCALATION_BUMP - timedelta(milliseconds=1)
    town = a_town().bead("e", "escalation", created_at=created, rig_id=None)
    town.insert("escalation_metadata", bead_id="e", severity="high", re_escalation_count=bumps)
    assert bool(deeds(town.tick(), of="housekeeping.bump_escalation")) is raised


@pytest.mark.parametrize(
    ("older", "stopped"), [(-MS, False), (0 * MS, False), (MS, True)], ids=["before", "at", "after"]
)
def test_a_stalled_agent_keeps_the_container_running_for_half_an_hour(older: timedelta, stopped: bool) -> None:
    silent_since = T - limits.STALLED_ACTIVE_FOR - older
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p")
    town.agent("p", status="stalled", hook="b", last_activity_at=silent_since, stalled_at=T)
    town.update("agent_metadata", "mayor", status="idle", last_activity_at=ago(hours=9))
    found = deeds(town.tick(container="running"), of="housekeeping.stop_idle_container")
    assert bool(found) is stopped

"""Hooks that no legal town has: A8 leaves them to whoever made them."""

import pytest

from tests.scenarios.stories import deeds
from tests.towns import a_town, ago


@pytest.mark.parametrize("status", ["open", "in_progress", "in_review"])
def test_a_silent_refinery_on_an_issue_is_left_alone(status: str) -> None:
    town = a_town().bead("b", status=status, assignee_agent_bead_id="f")
    town.agent("f", "refinery", hook="b", last_activity_at=ago(minutes=10))
    assert deeds(town.tick(), of="agents") == []


def test_an_idle_polecat_on_an_open_review_is_not_dispatched_again() -> None:
    town = a_town().review("m").agent("p", hook="m")
    assert deeds(town.tick(), of="beads") == []

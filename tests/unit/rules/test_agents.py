"""Hooks that no legal town has, which A8 leaves to whoever made them; agents of older releases."""

import pytest

from shared.rules.liveness import without_a_word_since
from shared.town import lookup
from tests.scenarios.stories import deeds
from tests.towns import a_town, ago
from tests.unit.actions.builders import on


@pytest.mark.parametrize("status", ["open", "in_progress", "in_review"])
def test_a_silent_refinery_on_an_issue_is_left_alone(status: str) -> None:
    town = a_town().bead("b", status=status, assignee_agent_bead_id="f")
    town.agent("f", "refinery", hook="b", last_activity_at=ago(minutes=10))
    assert deeds(town.tick(), of="agents") == []


def test_an_idle_polecat_on_an_open_review_is_not_dispatched_again() -> None:
    town = a_town().review("m").agent("p", hook="m")
    assert deeds(town.tick(), of="beads") == []


def test_an_agent_whose_dispatch_an_older_release_did_not_note_is_silent_since_its_hook() -> None:
    stage = on(a_town().bead("b", status="in_progress").agent("p", status="working", hook="b", hooked_at=ago(hours=2)))
    agent = lookup.agent(stage.town, "p")
    assert agent is not None
    assert (agent.dispatched_at, without_a_word_since(agent)) == (None, ago(hours=2))

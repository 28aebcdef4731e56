"""B2: whose rig a second dispatch is for, and what it keeps from A8."""

from typing import Any

import pytest

from tests.towns import a_town, actions, ago


@pytest.mark.parametrize(
    ("of_bead", "of_agent", "used"), [("rig-2", "rig-1", "rig-2"), (None, "rig-1", "rig-1"), (None, None, "")]
)
def test_a_second_dispatch_is_for_the_rig_of_the_bead_else_of_the_agent(
    of_bead: str | None, of_agent: str | None, used: str
) -> None:
    town = a_town().rig("rig-2", name="other").bead("b", rig_id=of_bead, assignee_agent_bead_id="p")
    town.agent("p", hook="b", rig=of_agent)
    [dispatched] = actions(town.tick(), rule="beads.redispatch_hooked")
    assert dispatched["rig_id"] == used


@pytest.mark.parametrize(
    ("agent", "bead", "recovered"),
    [
        ({}, {"status": "in_progress"}, False),
        ({"status": "dead"}, {"status": "in_progress"}, True),
        ({"last_dispatch_outcome": "lost"}, {"status": "in_progress"}, True),
        ({}, {"status": "in_progress", "type": "merge_request"}, True),
        ({}, {"status": "open", "type": "merge_request"}, True),
        ({"role": "refinery"}, {"status": "open", "type": "merge_request"}, True),
        ({"role": "refinery"}, {"status": "in_progress", "type": "merge_request"}, False),
    ],
)
def test_a_rejection_holds_a_silent_agents_hook_only_where_b2_or_r6_tries_again(
    agent: dict[str, Any], bead: dict[str, Any], recovered: bool
) -> None:
    town = a_town()
    if bead.get("type") == "merge_request":
        town.review("b", bead["status"])
    else:
        town.bead("b", status=bead["status"], dispatch_attempts=1, last_dispatch_attempt_at=ago(minutes=5))
    town.agent("p", hook="b", **{"last_dispatch_outcome": "rejected", "last_activity_at": ago(minutes=5), **agent})
    assert bool(actions(town.tick(), rule="agents.recover_silent_hook")) is recovered

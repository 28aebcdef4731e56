"""Invariants whose breach the schema itself forbids: a damaged image can show them all the same."""

from tests.towns import TownBuilder, a_town


def two_agents_on_one_bead() -> TownBuilder:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    with town._unguarded():
        town.sql.execute("DROP INDEX agents_by_hook")
    return town.agent("q", status="working", hook="b")


def test_two_agents_on_one_bead_are_reported_at_once() -> None:
    report = two_agents_on_one_bead().tick()
    assert [(seen.name, seen.subject, seen.message, seen.captured) for seen in report.violations] == [
        ("one_agent_per_hook", "b", "2 agents are hooked to bead b", True)
    ]

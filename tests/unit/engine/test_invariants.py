"""Invariants in states that a healthy town does not show."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.engine import invariants
from tests.towns import T, TownBuilder, a_town


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


def test_reviews_without_a_rig_are_no_reviews_of_one_rig() -> None:
    town = a_town()
    for number in ("1", "2"):
        town.review(f"m{number}", "in_progress", rig_id=None)
        town.agent(f"f{number}", "refinery", "working", hook=f"m{number}", rig=None)
    assert town.tick().violations == ()


def test_a_violation_is_not_forgotten_while_its_check_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    town = two_agents_on_one_bead()
    first = town.tick()

    def fails(*_: object) -> Iterator[tuple[str, str]]:
        raise KeyError("a bug in the check")

    broken = tuple(
        replace(each, breaches=fails) if each.name == "one_agent_per_hook" else each for each in invariants.INVARIANTS
    )
    monkeypatch.setattr(invariants.check, "__kwdefaults__", {"invariants": broken})
    second = town.tick(at=T + timedelta(minutes=1))
    assert [alert.kind for alert in second.alerts] == ["check_failed"]
    assert town.rows("SELECT subject, first_seen_tick FROM open_violations") == [("b", first.input.tick_no)]
    monkeypatch.undo()
    [still] = town.tick(at=T + timedelta(minutes=2)).violations
    assert not still.captured


@pytest.mark.parametrize("column", ["first_seen_at", "opened_at", "last_captured_at"])
def test_a_note_of_a_violation_that_cannot_be_read_stops_no_tick_is_reported_and_written_anew(column: str) -> None:
    town = two_agents_on_one_bead()
    town.tick()
    with town._unguarded():
        town.sql.execute(f"UPDATE open_violations SET {column} = 'yesterday'")
    report = town.tick(at=T + timedelta(minutes=1))
    assert [(seen.name, seen.subject) for seen in report.violations] == [
        ("row_readable", "open_violations 6 b"),
        ("one_agent_per_hook", "b"),
    ]
    healed = town.tick(at=T + timedelta(minutes=2))
    assert [(seen.name, seen.captured) for seen in healed.violations] == [("one_agent_per_hook", False)]

"""Scenarios 640 and 641: the brake pauses a running town, and stops its agents if that is wanted."""

from datetime import timedelta

import pytest

from shared.town.town_keys import TownKeys
from tests.scenarios.stories import outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, actions, ago, event

LATER = T + timedelta(seconds=10)


def a_working_town() -> TownBuilder:
    """P works on `b`, and `next` waits for an agent. In the outbox, a message to P and the stop of an older agent wait."""
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p", dispatch_attempts=3)
    town.agent("p", status="working", hook="b", generation=3)
    town.bead("next")
    for number, kind in enumerate(("send_nudge", "stop_agent"), start=1):
        columns = {
            "state": "pending",
            "attempts": 0,
            "deadline": T + timedelta(minutes=15),
            "created_at": ago(minutes=1),
        }
        town.insert(
            "outbox", effect_id=f"e{number}", seq=number, kind=kind, subject=kind, generation=1, payload={}, **columns
        )
    return town


@scenario(640)
def test_from_the_tick_that_hears_of_the_pause_no_rule_acts_and_only_stops_are_performed() -> None:
    town = a_working_town()
    report = town.tick(event("town_paused", {"by": "ann"}))
    assert outcomes(report) == [("town_paused", "applied")]
    assert actions(report) == []
    assert [effect.kind for effect in report.effects] == ["stop_agent"]
    assert town.doing("p") == ("working", "b")
    assert town.waits()["next"].reason == "paused"
    brake = TownKeys(town.sql).brake
    assert brake is not None
    assert (brake.by, brake.at, brake.stopped_agents) == ("ann", T, False)


@scenario(640)
def test_what_an_agent_reports_in_a_paused_town_counts() -> None:
    town = a_working_town()
    town.tick(event("town_paused"))
    town.tick(
        event("agent_done", {"branch": "gt/p/b", "pr_url": "https://github.com/acme/main-rig/pull/1"}, agent="p"),
        at=LATER,
    )
    assert (town.status("b"), town.doing("p")[1]) == ("in_review", None)


@scenario(640)
def test_a_paused_town_is_started_and_settles_and_its_rules_act_again() -> None:
    town = a_working_town()
    town.tick(event("town_paused"))
    report = town.tick(event("town_started", {"by": "ann"}), at=LATER)
    assert actions(report) == []
    assert report.next_due == LATER
    assert TownKeys(town.sql).brake is None
    after = town.tick(at=LATER + timedelta(seconds=5))
    assert [each["bead_id"] for each in actions(after) if each["type"] == "dispatch_agent"] == ["next"]


@scenario(640)
def test_an_effect_of_a_paused_town_expires_at_its_deadline() -> None:
    town = a_working_town()
    town.tick(event("town_paused"))
    town.tick(at=T + timedelta(minutes=15) + MS)
    assert town.one("outbox", "e1", "state") == "expired"


@scenario(641)
def test_the_brake_stops_the_agents_and_their_beads_wait_without_a_lost_attempt() -> None:
    town = a_working_town().update("agent_metadata", "mayor", status="waiting", generation=7)
    report = town.tick(event("town_paused", {"by": "ann", "stop_agents": True}))
    stopped = {effect.subject: effect.payload["reason"] for effect in report.effects if effect.subject != "stop_agent"}
    assert stopped == {"p": "the town was paused", "mayor": "the town was paused"}
    assert (town.doing("p"), town.doing("mayor")) == (("idle", None), ("idle", None))
    columns = ("status", "assignee_agent_bead_id", "dispatch_attempts", "last_dispatch_attempt_at")
    assert town.one("beads", "b", *columns) == ("open", None, 2, None)
    assert "go on from there" in town.metadata("b")["note_for_next"]["text"]
    again = town.tick(event("town_paused", {"by": "bob", "stop_agents": True}), at=LATER)
    assert outcomes(again) == [("town_paused", "skipped: already paused")]
    assert town.value("brake")["by"] == "ann"


@scenario(641)
def test_a_second_pause_can_still_stop_the_agents() -> None:
    town = a_working_town()
    town.tick(event("town_paused", {"by": "ann"}))
    report = town.tick(event("town_paused", {"by": "bob", "stop_agents": True}), at=LATER)
    assert [effect.subject for effect in report.effects] == ["p"]
    assert (town.value("brake")["by"], town.value("brake")["stopped_agents"]) == ("ann", True)


@scenario(641)
def test_the_agents_that_the_brake_has_stopped_get_their_beads_again() -> None:
    town = a_working_town()
    town.tick(event("town_paused", {"stop_agents": True}))
    town.tick(event("town_started"), at=LATER)
    report = town.tick(at=LATER + timedelta(seconds=5))
    assert {each["bead_id"] for each in actions(report) if each["type"] == "dispatch_agent"} == {"b", "next"}


@pytest.mark.parametrize("stop_agents", [True, False])
def test_a_town_that_never_ran_here_is_not_paused_again(stop_agents: bool) -> None:
    town = a_town().key("paused", True)
    report = town.tick(event("town_paused", {"stop_agents": stop_agents}))
    assert outcomes(report) == [("town_paused", "skipped: already paused")]
    assert town.value("brake") is None

"""Leases: which generation is stopped, when, and how often (spec/data-model.md 3.16)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.actions import DeleteAgent, DispatchAgent, StopAgent, UnhookAgent
from shared.domain.outcomes import Applied, Skipped
from shared.domain.states import AgentStatus
from shared.domain.times import to_text
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import agents, beads, hooks, leases
from tests.towns import T, TownBuilder, a_town, ago
from tests.unit.actions.builders import Stage, on

DISPATCHED = ago(hours=1)


def working(**columns: Any) -> TownBuilder:
    """Polecat p works on b in generation 3."""
    given = {"status": "working", "hook": "b", "generation": 3, "dispatched_at": DISPATCHED, **columns}
    return a_town().bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", **given)


def stops(stage: Stage) -> list[tuple[str, int]]:
    return [(effect[1], effect[2]) for effect in stage.effects if effect[0] == "stop_agent"]


def settle(stage: Stage, state: str) -> None:
    """The stops so far end in this state."""
    stage.rows.sql.execute("UPDATE outbox SET state = ?, finished_at = created_at WHERE kind = 'stop_agent'", (state,))


def later(stage: Stage, **span: float) -> Stage:
    """The same town in a later tick."""
    tick = stage.town.tick
    town = Town(
        sql=stage.town.sql,
        tick=replace(tick, now=tick.now + timedelta(**span), number=tick.number + 1),
        next_audit_seq=1000 * tick.number,
        next_effect_seq=1000 * tick.number,
    )
    return Stage(stage.rows, town)


def hears(stage: Stage, agent_id: str = "p", generation: int | None = None) -> list[tuple[str, int]]:
    """A report arrives; all stops so far."""
    leases.heard_from(stage.town, agent_id, lookup.agent(stage.town, agent_id), generation)
    return stops(stage)


# who is stopped


def test_unhooking_stops_the_generation_that_may_still_work() -> None:
    stage = on(working())
    assert stage.apply(UnhookAgent(agent_id="p", reason="silent")) == Applied()
    payload = {"town_id": "t1", "agent_id": "p", "generation": 3, "reason": leases.GIVEN_BACK}
    assert stage.effects == [("stop_agent", "p", 3, payload)]
    assert stage.agent("p", "hook_ended_at") == to_text(T)


def test_hooking_another_agent_to_the_bead_stops_the_one_that_loses_it() -> None:
    stage = on(working().agent("q"))
    assert hooks.hook(stage.town, "q", "b") is None
    assert stops(stage) == [("p", 3)]
    assert stage.agent("q", "hooked_at") == to_text(T)


def test_a_dispatch_stops_the_generation_before_it() -> None:
    stage = on(working(status="idle", hook="b"))
    assert stage.apply(DispatchAgent(agent_id="p", bead_id="b", rig_id="rig-1")) == Applied()
    assert [effect[:3] for effect in stage.effects] == [("stop_agent", "p", 3), ("dispatch_agent", "p", 4)]
    assert stage.agent("p", "dispatched_at", "hook_ended_at") == (to_text(T), None)


def test_two_successive_dispatches_stop_two_generations() -> None:
    stage = on(working(status="idle", hook="b"))
    stage.apply(DispatchAgent(agent_id="p", bead_id="b", rig_id="rig-1"))
    stage = later(stage, minutes=3)
    agents.move(stage.town, "p", AgentStatus.IDLE)
    assert stage.apply(DispatchAgent(agent_id="p", bead_id="b", rig_id="rig-1")) == Applied()
    assert stops(stage) == [("p", 3), ("p", 4)]


def test_the_stop_of_a_deleted_agent_stays() -> None:
    stage = on(a_town().agent("p", generation=3))
    assert stage.apply(DeleteAgent(agent_id="p", reason="forgotten")) == Applied()
    assert stage.rows.rows("SELECT subject, generation, state FROM outbox") == [("p", 3, "pending")]


def test_a_deleted_agent_is_stopped_once_although_it_loses_its_hook_too() -> None:
    stage = on(working())
    agents.delete(stage.town, "p")
    assert stage.rows.rows("SELECT subject, generation, state FROM outbox") == [("p", 3, "pending")]


def test_deleting_its_bead_stops_the_agent() -> None:
    stage = on(working())
    beads.delete(stage.town, "b")
    assert stops(stage) == [("p", 3)]


# who is known to have ended


@pytest.mark.parametrize(
    "known",
    [
        {"generation": 0},
        {"last_dispatch_outcome": "rejected"},
        {"ended_generation": 3},
    ],
    ids=["never dispatched", "rejected", "ended"],
)
def test_what_is_known_to_have_ended_is_not_stopped(known: dict[str, Any]) -> None:
    stage = on(working(**known))
    hooks.unhook(stage.town, "p")
    agents.delete(stage.town, "p")
    assert stops(stage) == []


@pytest.mark.parametrize("outcome", [None, "pending", "started", "unknown", "alive", "lost"])
@pytest.mark.parametrize("seen", [None, "unknown", "not_found", "error"])
def test_every_other_outcome_of_a_dispatch_leaves_it_open(outcome: str | None, seen: str | None) -> None:
    stage = on(working(last_dispatch_outcome=outcome, observed_status=seen, ended_generation=2))
    hooks.unhook(stage.town, "p")
    assert stops(stage) == [("p", 3)]


def test_an_end_counts_for_the_generation_that_it_names() -> None:
    stage = on(working())
    leases.note_end(stage.town, "p", 2)
    assert stage.agent("p", "ended_generation") is None
    leases.note_end(stage.town, "p", 3)
    assert stage.agent("p", "ended_generation") == 3
    leases.note_end(stage.town, "nobody", None)


def test_a_heartbeat_revives_what_was_believed_to_have_ended() -> None:
    stage = on(working(ended_generation=3))
    agent = lookup.agent(stage.town, "p")
    assert agent is not None
    agents.touch(stage.town, agent, T, agents.Watermark())
    hooks.unhook(stage.town, "p")
    assert stops(stage) == [("p", 3)]


def test_work_that_is_reported_as_done_is_not_stopped_at_once() -> None:
    stage = on(working())
    hooks.unhook(stage.town, "p", done=True)
    assert stops(stage) == []
    assert stage.agent("p", "hook_ended_at") == to_text(T)


# actions that stop


def test_an_action_gives_the_stop_of_this_tick_its_own_reason() -> None:
    stage = on(working())
    hooks.unhook(stage.town, "p")
    assert stage.apply(StopAgent(agent_id="p", reason="the bead was cancelled")) == Applied()
    assert [effect[3]["reason"] for effect in stage.effects] == ["the bead was cancelled"]
    assert stage.refused(StopAgent(agent_id="p", reason="again")) == Skipped("duplicate effect")


@pytest.mark.parametrize("state", ["failed", "expired"])
def test_a_second_stop_is_a_new_effect_if_the_first_did_not_succeed(state: str) -> None:
    stage = on(working())
    stage.apply(StopAgent(agent_id="p", reason="one"))
    settle(stage, state)
    assert later(stage, minutes=1).apply(StopAgent(agent_id="p", reason="two")) == Applied()
    assert [(effect[2], effect[3].get("rearm")) for effect in stage.effects] == [(3, None), (3, 8)]


def test_a_second_stop_is_a_duplicate_if_the_first_succeeded_and_nothing_was_heard_since() -> None:
    stage = on(working())
    stage.apply(StopAgent(agent_id="p", reason="one"))
    settle(stage, "done")
    leases.note_end(stage.town, "p", 3)
    assert later(stage, minutes=1).apply(StopAgent(agent_id="p", reason="two")) == Skipped("duplicate effect")
    agent = lookup.agent(stage.town, "p")
    assert agent is not None
    agents.touch(stage.town, agent, T, agents.Watermark())
    assert later(stage, minutes=1).apply(StopAgent(agent_id="p", reason="two")) == Applied()


def test_an_unfinished_stop_is_not_requested_twice_by_the_end_of_a_lease() -> None:
    stage = on(working())
    stage.apply(StopAgent(agent_id="p", reason="GUPP"))
    hooks.unhook(later(stage, minutes=1).town, "p")
    assert stops(stage) == [("p", 3)]


def test_a_stop_that_failed_is_requested_again_when_the_lease_ends() -> None:
    stage = on(working())
    stage.apply(StopAgent(agent_id="p", reason="GUPP"))
    settle(stage, "failed")
    hooks.unhook(later(stage, minutes=1).town, "p")
    assert stops(stage) == [("p", 3), ("p", 3)]


# reports after the end of a lease


@pytest.mark.parametrize("generation", [2, 4])
def test_a_report_of_another_generation_stops_that_generation(generation: int) -> None:
    assert hears(on(working()), generation=generation) == [("p", generation)]


def test_a_report_of_the_generation_that_works_stops_nothing() -> None:
    assert hears(on(working()), generation=3) == []
    assert hears(on(working())) == []


@pytest.mark.parametrize(("minutes", "stopped"), [(15, []), (15.001, [("p", 3)])])
def test_a_finished_generation_may_report_for_a_while(minutes: float, stopped: list[tuple[str, int]]) -> None:
    stage = on(working(hook=None, status="idle", hook_ended_at=ago(minutes=minutes)))
    assert hears(stage, generation=3) == stopped


def test_a_generation_that_was_stopped_is_stopped_again_after_five_minutes() -> None:
    stage = on(working())
    hooks.unhook(stage.town, "p")
    assert hears(later(stage, minutes=6), generation=3) == [("p", 3)], "its stop is unfinished"
    settle(stage, "failed")
    assert hears(later(stage, minutes=5), generation=3) == [("p", 3)], "too soon"
    stage = later(stage, minutes=5, milliseconds=1)
    assert hears(stage, generation=3) == [("p", 3)] * 2
    settle(stage, "done")
    assert hears(later(stage, minutes=5), generation=3) == [("p", 3)] * 2, "too soon after the second"
    assert hears(later(stage, minutes=6), generation=3) == [("p", 3)] * 3
    ids = [row[0] for row in stage.rows.rows("SELECT DISTINCT effect_id FROM outbox")]
    assert len(ids) == 3


def test_a_stop_of_the_same_number_before_the_dispatch_does_not_count() -> None:
    """A process of another life of the town was stopped under a number that the agent reached later."""
    stage = on(working(generation=2))
    hears(stage, generation=3)
    settle(stage, "done")
    stage.rows.update("agent_metadata", "p", generation=3, dispatched_at=to_text(T + timedelta(minutes=1)))
    assert hears(later(stage, minutes=10), generation=3) == [("p", 3)]


def test_an_agent_that_is_gone_is_stopped_under_the_generation_that_it_names() -> None:
    assert hears(on(a_town()), "gone", 7) == [("gone", 7)]


def test_an_agent_that_is_gone_and_names_no_generation_is_stopped_in_the_newest_that_is_known() -> None:
    stage = on(working())
    agents.delete(stage.town, "p")
    settle(stage, "done")
    assert hears(later(stage, minutes=6)) == [("p", 3)] * 2
    assert hears(on(a_town()), "gone") == []


def test_the_mayor_is_left_alone() -> None:
    stage = on(a_town())
    stage.rows.update("agent_metadata", "mayor", generation=3, hook_ended_at=ago(hours=1))
    assert hears(stage, "mayor", 2) == []
    assert hears(stage, "mayor") == []


def test_nothing_is_judged_by_what_an_older_town_does_not_know() -> None:
    stage = on(working(hook=None, status="idle", dispatched_at=None))
    assert hears(stage, generation=3) == []

"""Scenarios 167 to 170: nothing leaves a town before its commit stands, and what was to leave does so under one key."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shared.domain.errors import StoreUnavailable
from shared.domain.states import EffectKind
from shared.domain.times import from_text, to_text
from shared.ports.runtime import NotDone
from shared.ports.steps import Call, NotBegun, drive
from shared.runner.run_report import RunReport
from tests.fakes import FakeProcess
from tests.fault_injection import Crash, Fault, Faults, death, each_call, meanwhile
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event, outcome_of, rules_of, types_of
from tests.worlds import World, a_world, outcomes

PR = "https://github.com/acme/main-rig/pull/1"


def a_dying_run(world: World, *, before: str) -> None:
    """A run of the worker that dies just before that call."""
    with pytest.raises(Crash):
        drive(meanwhile(world.steps(), before=before, by=death))


def a_town_with_a_worker() -> TownBuilder:
    """Agent p works on b1 in generation 3."""
    town = a_town().bead("b1", status="in_progress", assignee_agent_bead_id="p")
    return town.agent("p", status="working", hook="b1", generation=3)


def test_effects_that_found_no_room_to_begin_wake_nobody() -> None:
    """A worker waited for the town to be due again, and ran it, for results that nobody had posted."""
    world = a_world(a_town().bead("b1"))

    def without_room(call: Call) -> Call:
        if not call.name.startswith("dispatch_agent"):
            return call
        return Call(call.name, partial(throw, NotBegun("no room")), call.seconds)

    done = drive(each_call(world.steps(), without_room))

    assert (done.effects.attempted, done.effects.not_started) == (0, 1)
    assert done.woken_at == ()
    assert world.inbox() == ()


def throw(error: Exception) -> None:
    raise error


# 167: the race for the commit


@scenario(167)
def test_who_loses_the_race_has_called_nobody() -> None:
    world = a_world(a_town().bead("b1"))
    world.post(event("bead_created", {"bead": {"bead_id": "b2", "type": "issue", "title": "x"}}, event_id="create-b2"))
    world.put_raw(b"no JSON at all")
    winners: list[RunReport] = []

    lost = drive(meanwhile(world.steps(), before="replace", by=lambda: winners.append(world.run())))

    assert lost.tick is None
    assert (lost.outcome, lost.save_conflicts) == ("lost", 1)
    assert [won.outcome for won in winners] == ["committed"]
    assert [run.save_conflicts for run in world.metrics.runs] == [0, 1]
    assert world.metrics.runs[1].effects.attempted == 0
    assert world.alerts.kinds() == ["event_poisoned"]  # the winner's
    assert len(world.runtime.seen("start")) == 1
    [row] = world.journal()
    assert row["tick_id"] == winners[0].image.facts.commit_id
    assert outcomes(row)["create-b2"] == "applied"
    assert world.town().rows("SELECT bead_id FROM beads WHERE bead_id = 'b2'") == [("b2",)]


@scenario(167)
def test_the_events_of_a_lost_race_are_applied_once_and_the_inbox_is_empty_afterwards() -> None:
    world = a_world(a_town().bead("b1"))
    world.post(event("bead_cancelled", bead="b1", event_id="cancel-b1"))

    drive(meanwhile(world.steps(), before="replace", by=world.run))
    world.clock.move(seconds=5)
    world.run()

    seen = [outcomes(row).get("cancel-b1") for row in world.journal()]
    assert seen.count("applied") == 1
    assert world.inbox() == ()


@scenario(167)
def test_an_answer_that_was_lost_is_no_lost_race() -> None:
    names = Faults()
    twin = a_world(a_town().bead("b1"))
    names.drive(twin.steps())
    world = a_world(a_town().bead("b1"))

    done = Faults(Fault("lost_answer", at=names.names.index("replace towns/t1/head"))).drive(world.steps())

    assert done.outcome == "committed"
    assert done.tick is not None
    assert rules_of(done.tick) == ["beads.dispatch_ready"]
    assert len(world.runtime.seen("start")) == 1


@scenario(167)
def test_a_store_that_stays_silent_ends_the_run_before_anybody_is_called() -> None:
    names = Faults()
    names.drive(a_world(a_town().bead("b1")).steps())
    world = a_world(a_town().bead("b1"))

    with pytest.raises(StoreUnavailable):
        Faults(Fault("error", at=names.names.index("replace towns/t1/head"), for_ever=True)).drive(world.steps())

    assert world.runtime.seen("start") == []
    assert world.alerts.raised == []
    assert world.metrics.runs == []
    assert world.journal() == []


# 168: a crash between commit and effect


def a_town_that_has_much_to_say() -> TownBuilder:
    """The next tick stops p (its bead is cancelled), merges m1, delivers mail to q and tells the mayor."""
    passed = {"head_sha": "head-1", "review_passed_head": "head-1"}
    return (
        a_town_with_a_worker()
        .bead("b2", status="in_progress", assignee_agent_bead_id="q")
        .agent("q", status="working", hook="b2")
        .bead("mail", "message", assignee_agent_bead_id="q", body="Hello")
        .review(
            "m1", "in_progress", pr_url=PR, metadata={"auto_merge_pending": 1, "last_poll_at": to_text(T), **passed}
        )
    )


@scenario(168)
def test_after_a_crash_every_effect_with_a_long_deadline_runs_once_under_its_key() -> None:
    world = a_world(a_town_that_has_much_to_say())
    world.forge.opens(PR)
    world.post(
        event("bead_cancelled", bead="b1"),
        event("escalation_raised", {"title": "Help", "severity": "high"}),
    )
    a_dying_run(world, before="stop_agent")
    keys = dict(world.town().rows("SELECT kind, effect_id FROM outbox ORDER BY seq"))
    assert set(keys) == {"stop_agent", "send_nudge", "merge_pr", "notify_mayor"}
    assert {state for state, _ in world.outbox().values()} == {"claimed"}
    assert world.runtime.seen("stop") == world.runtime.seen("message") == world.forge.seen("merge") == []

    world.clock.at = T + timedelta(seconds=300)
    early = world.run()
    world.clock.move(ms=1)
    late = world.run()

    assert early.tick is not None
    begun = {(effect.kind.value, effect.subject): effect for effect in early.tick.effects}
    assert begun.keys() == {
        ("poll_pr", "m1"),
        ("stop_agent", "q"),
    }  # q's bead was taken from it; nothing that is claimed
    assert early.effects.attempted == 2
    assert late.tick is not None
    assert {(effect.effect_id, effect.attempt) for effect in late.tick.effects} == {(key, 2) for key in keys.values()}
    stop_of_q = begun[EffectKind.STOP_AGENT, "q"].effect_id
    assert [call.effect_id for call in world.runtime.seen("stop")] == [stop_of_q, keys["stop_agent"]]
    assert [call.effect_id for call in world.forge.seen("merge")] == [keys["merge_pr"]]
    told = [call.effect_id for call in world.runtime.seen("message")]
    assert len(told) == 2
    assert keys["notify_mayor"] in told
    world.clock.move(seconds=5)
    world.run()
    assert {row[0] for row in world.town().rows("SELECT state FROM outbox WHERE attempts = 2")} == {"done"}


@scenario(168)
def test_after_a_crash_a_dispatch_is_never_started_late_and_a_heartbeat_decides() -> None:
    world = a_world(a_town().bead("b1").agent("p"))
    a_dying_run(world, before="dispatch_agent")
    assert world.town().one("agent_metadata", "p", "last_dispatch_outcome") == "pending"
    beat = event("agent_heartbeat", {"generation": 1}, agent="p", at=T + timedelta(seconds=290))
    world.clock.at = T + timedelta(seconds=290)
    world.runtime.processes["t1", "p"] = FakeProcess("half-started", 1)
    world.post(beat)

    world.clock.at = T + timedelta(milliseconds=300_001)
    run = world.run()

    assert world.runtime.seen("start") == []
    assert world.outbox()["dispatch_agent p 1"] == ("expired", 1)
    assert run.tick is not None
    assert outcome_of(run.tick, beat.event_id) == "applied"
    assert world.town().doing("p") == ("working", "b1")
    assert world.town().one("agent_metadata", "p", "last_dispatch_outcome") == "alive"


@scenario(168)
def test_after_a_crash_a_dispatch_that_nobody_hears_of_is_unknown_and_then_lost() -> None:
    world = a_world(a_town().bead("b1").agent("p"))
    a_dying_run(world, before="dispatch_agent")

    runs = world.live_through(timedelta(seconds=90))
    world.clock.move(ms=1)
    lost = world.run()

    assert all("agents.heartbeat_lost" not in rules_of(run.tick) for run in runs if run.tick is not None)
    assert lost.tick is not None
    assert types_of(lost.tick, rule="agents.heartbeat_lost") == ["transition_agent"]
    assert world.town().one("agent_metadata", "p", "last_dispatch_outcome") == "lost"
    assert world.town().one("beads", "b1", "dispatch_attempts") == 1
    assert world.runtime.seen("start") == []


@scenario(168)
def test_a_dispatch_whose_claim_is_over_is_handled_as_unknown() -> None:
    town = a_town().bead("b1", status="in_progress", assignee_agent_bead_id="p")
    town.agent("p", status="working", hook="b1", last_dispatch_outcome="pending", generation=1)
    an_effect(
        town, "dispatch_agent", "p", 1, state="claimed", attempts=1, claimed_until=ago(ms=1), deadline=ago(minutes=4)
    )

    town.tick()

    assert town.rows("SELECT state, attempts FROM outbox") == [("expired", 1)]
    assert town.one("agent_metadata", "p", "last_dispatch_outcome") == "unknown"
    assert town.doing("p") == ("working", "b1")
    assert town.one("beads", "b1", "last_dispatch_failed_at") is None


@scenario(168)
def test_a_dispatch_that_was_never_attempted_expires_as_a_rejection() -> None:
    tried: dict[str, Any] = {"dispatch_attempts": 3, "last_dispatch_attempt_at": ago(seconds=91)}
    town = a_town().bead("b1", status="in_progress", assignee_agent_bead_id="p", **tried)
    town.agent("p", status="working", hook="b1", last_dispatch_outcome="pending", generation=1)
    an_effect(town, "dispatch_agent", "p", 1, deadline=ago(ms=1), not_before=T + MS)

    town.tick()

    assert town.rows("SELECT state, attempts FROM outbox") == [("expired", 0)]
    assert town.one("agent_metadata", "p", "last_dispatch_outcome") == "rejected"
    assert town.doing("p") == ("idle", "b1")
    assert town.one("beads", "b1", "last_dispatch_failed_at") == to_text(T)


def an_effect(town: TownBuilder, kind: str, subject: str, generation: int, **columns: Any) -> str:
    """A row of the outbox; its id."""
    effect_id = f"{kind}-{subject}-{generation}"
    row = {
        "payload": {"agent_id": subject},
        "created_at": ago(minutes=5),
        "deadline": T + timedelta(minutes=5),
        **columns,
    }
    town.insert("outbox", effect_id=effect_id, seq=1, kind=kind, subject=subject, generation=generation, **row)
    return effect_id


# 169: a stop that fails


@scenario(169)
def test_a_stop_is_tried_five_times_with_growing_waits() -> None:
    world = a_world(a_town_with_a_worker())
    world.runtime.fails("stop", NotDone("no answer", passing=True), times=None)
    world.post(event("bead_cancelled", bead="b1"))
    first = world.run()
    assert first.tick is not None
    assert types_of(first.tick, rule="event:bead_cancelled") == ["stop_agent"]

    waits: list[float] = []
    for _ in range(4):
        world.clock.move(seconds=5)
        answered = world.run()  # takes the failure in
        assert answered.tick is not None
        assert [seen.outcome for seen in answered.tick.events if seen.event_type == "stop_result"] == ["applied"]
        not_before = from_text(world.town().rows("SELECT not_before FROM outbox WHERE kind = 'stop_agent'")[0][0])
        waits.append((not_before - world.clock.now()).total_seconds())
        world.clock.at = not_before - MS
        assert world.run().effects.attempted == 0
        world.clock.at = not_before
        assert world.run().effects.failed == 1
    world.clock.move(seconds=5)
    world.run()

    assert waits == [5, 10, 20, 40]
    assert len(world.runtime.seen("stop")) == 5
    assert len({call.effect_id for call in world.runtime.seen("stop")}) == 1
    assert world.outbox()["stop_agent p 3"] == ("failed", 5)


@scenario(169)
def test_the_result_of_a_stop_counts_once() -> None:
    world = a_world(a_town_with_a_worker())
    world.post(event("bead_cancelled", bead="b1"))
    world.run()
    [effect_id] = [call.effect_id for call in world.runtime.seen("stop")]
    world.clock.move(seconds=5)
    world.run()
    result = {"effect_id": effect_id, "attempt": 1, "generation": 3, "ok": True}
    same = event("stop_result", result, agent="p", event_id=f"res-{effect_id}-1", source="effect")
    twin = event("stop_result", result, agent="p", event_id=f"res-{effect_id}-1:r1", source="operator")

    world.clock.move(seconds=5)
    world.post(same)
    world.run()
    world.clock.move(seconds=5)
    world.post(twin)
    second = world.run()

    first_taken, repeated, last = world.journal()[1:]
    assert outcomes(first_taken) == {same.event_id: "applied"}
    assert outcomes(repeated) == {}
    assert outcomes(last) == {twin.event_id: "skipped: late"}
    assert second.outcome == "committed"
    exits = world.town().rows("SELECT COUNT(*) FROM bead_events WHERE event_type = 'agent_exited' AND agent_id = 'p'")
    assert exits == [(1,)]


# 170: a stop that comes late


@scenario(170)
def test_a_late_stop_of_an_old_generation_lets_the_new_one_live() -> None:
    world = a_world(a_town_with_a_worker().bead("b2", created_at=ago(minutes=1)))
    world.runtime.processes["t1", "p"] = FakeProcess("old", 3)
    world.runtime.fails("stop", NotDone("no answer", passing=True))
    world.post(event("bead_cancelled", bead="b1"))

    first = world.run()  # the stop of generation 3 fails
    world.clock.move(seconds=5)
    world.run()  # and is put off, while p starts anew for b2
    world.clock.move(seconds=5)
    late = world.run()
    world.clock.move(seconds=5)
    last = world.run()

    assert first.tick is not None
    assert late.tick is not None
    assert last.tick is not None
    assert [(effect.kind, effect.generation, effect.attempt) for effect in late.tick.effects] == [("stop_agent", 3, 2)]
    assert world.runtime.running() == {"p": 4}
    assert [(seen.event_type, seen.outcome) for seen in last.tick.events] == [("stop_result", "applied")]
    assert world.outbox()["stop_agent p 3"] == ("done", 2)
    assert world.town().doing("p") == ("working", "b2")

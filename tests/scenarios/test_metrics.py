"""Scenario 184: the figures of a tick count what really happened, once."""

from datetime import timedelta

from shared.domain.shapes import document
from shared.ports.runtime import StartRejected, StartUnknown
from shared.ports.steps import drive
from tests.fault_injection import meanwhile
from tests.scenarios.table import scenario
from tests.towns import T, a_town, ago, event
from tests.worlds import a_world


@scenario(184)
def test_side_effects_are_counted_as_they_went() -> None:
    world = a_world(a_town().bead("b1").bead("b2").bead("b3"))
    world.runtime.fails("start", StartUnknown("time-out"))

    world.run()

    [run] = world.metrics.runs
    assert run.tick is not None
    assert (run.effects.attempted, run.effects.succeeded, run.effects.failed) == (3, 2, 1)
    assert run.tick.metrics.actions_by_type == {"dispatch_agent": 3}


@scenario(184)
def test_a_rejection_and_a_broken_adapter_count_as_failed() -> None:
    world = a_world(a_town().bead("b1").bead("b2").bead("b3"))
    world.runtime.fails("start", StartRejected("no capacity"))
    world.runtime.fails("start", ConnectionError("reset"))

    world.run()

    [run] = world.metrics.runs
    assert (run.effects.attempted, run.effects.succeeded, run.effects.failed) == (3, 1, 2)
    world.clock.move(seconds=5)
    answered = world.run()
    assert answered.tick is not None
    assert [seen.outcome for seen in answered.tick.events] == ["applied"] * 3
    outcomes = world.town().rows("SELECT last_dispatch_outcome FROM agent_metadata WHERE generation = 1 ORDER BY 1")
    assert [row[0] for row in outcomes] == ["rejected", "started", "unknown"]


@scenario(184)
def test_what_cannot_be_started_in_time_is_neither_attempted_nor_failed() -> None:
    """The stop takes 61 s; the start of the same agent, which waits for it, is left to a later tick."""
    world = a_world(
        a_town().bead("b1", status="in_progress").agent("p", status="working", hook="b1").bead("b2", created_at=ago())
    )
    world.post(event("bead_cancelled", bead="b1"))

    run = drive(meanwhile(world.steps(), before="stop_agent", by=lambda: world.clock.move(seconds=61)))

    assert (run.effects.attempted, run.effects.succeeded, run.effects.not_started) == (1, 1, 1)
    assert world.outbox() == {"stop_agent p 1": ("claimed", 1), "dispatch_agent p 2": ("claimed", 1)}
    assert world.runtime.seen("start") == []


@scenario(184)
def test_the_figures_of_a_busy_tick() -> None:
    town = a_town().bead("ready", created_at=ago(hours=3)).bead("b1")
    report = town.tick(
        event("bead_cancelled", bead="b1", event_id="cancel-b1"),
        event("bead_cancelled", bead="b1", event_id="cancel-b1-again"),
        event("no_such_type", event_id="nonsense-1"),
        event("agent_status", {"message": "hm"}, agent="nobody", event_id="status-1"),
    )

    metrics = document(report.metrics)

    assert metrics.pop("tickLagMs") == 0
    assert metrics == {
        "eventsDrained": 4,
        "actionsEmitted": 1,
        "actionsByType": {"dispatch_agent": 1},
        "invariantViolations": 0,
        "pendingEventCount": 0,
        "eventsPoisoned": 1,
        "mergesUnproven": 0,
        "actionsSkipped": 0,
        "circuitBreakerOpen": 0,
        "agentTokens": 0,
        "agentCostMicros": 0,
    }


@scenario(184)
def test_dry_runs_emit_nothing() -> None:
    world = a_world(a_town().bead("b1"))
    world.put_raw(b"nothing that could be read")

    shown = world.dry_run()

    assert shown.report.metrics.actions_emitted == 1
    assert shown.report.metrics.events_poisoned == 1
    assert world.metrics.runs == []
    assert world.alerts.raised == []
    assert world.runtime.calls == []


@scenario(184)
def test_the_lag_is_the_time_between_due_and_now() -> None:
    town = a_town().bead("b1", status="in_progress").agent("p", status="working", hook="b1")
    town.tick()  # due again at T + 60 s

    late = town.tick(at=T + timedelta(seconds=67))
    waited = town.tick(
        event("bead_updated", {"priority": "high"}, bead="b1", at=T + timedelta(seconds=70)),
        at=T + timedelta(seconds=72),
    )

    assert late.metrics.tick_lag_ms == 7_000
    assert waited.metrics.tick_lag_ms == 2_000


@scenario(184)
def test_a_quiet_tick_leaves_no_lag_behind() -> None:
    """Seen on 2026-11-21: a quiet tick is not committed, so the image kept its old due time, and the first event a week
    later was reported as a week late.
    """
    world = a_world(a_town().bead("b1", labels=["gt:held"]))
    world.runtime.container = "none"
    world.look()
    world.clock.move(days=7)
    world.post(event("bead_updated", {"labels": []}, bead="b1"))

    world.clock.move(seconds=2)
    [run] = world.look().runs

    assert run.tick is not None
    assert run.tick.metrics.tick_lag_ms == 2_000

"""Scenarios 178 and 179: a dry run is the next tick, stopped before its commit. The same from another process:
tests/integration/test_dry_run_equals_tick.py.
"""

from collections.abc import Callable

import pytest

from shared.domain.report import AppliedEvent
from shared.domain.shapes import document
from shared.domain.times import to_text
from shared.images import dump
from shared.ports.forge import ForgeError
from shared.questions.dry_run import PendingCount
from tests.scenarios.table import scenario
from tests.towns import TownBuilder, a_town, ago, event
from tests.worlds import World, a_world

PR = "https://github.com/acme/main-rig/pull/1"


def busy(town: TownBuilder) -> TownBuilder:
    return (
        town.bead("ready")
        .bead("b1", status="in_progress", assignee_agent_bead_id="p")
        .agent("p", status="working", hook="b1", last_activity_at=ago(minutes=3))
        .review("m1", "in_progress", pr_url=PR)
    )


STATES: dict[str, Callable[[], TownBuilder]] = {
    "busy": lambda: busy(a_town()),
    "draining": lambda: busy(a_town()).key("drain", {"nonce": "n", "started_at": to_text(ago(minutes=1))}),
    "settling": lambda: busy(a_town()).key("last_tick_at", to_text(ago(hours=1))),
    "paused": lambda: busy(a_town()).key("paused", True),
    "configured": lambda: busy(a_town()).config(max_dispatch_attempts=2, max_polecats_per_rig=1),
    "quiet": a_town,
}


@scenario(178)
@pytest.mark.parametrize("state", list(STATES))
@pytest.mark.parametrize("ask_runtime", [False, True], ids=["unobserved", "observed"])
def test_a_dry_run_is_the_tick_with_its_input(state: str, ask_runtime: bool) -> None:
    world = a_world(STATES[state]())
    posted = None
    if state != "quiet":
        posted = world.post(
            event("bead_cancelled", bead="ready"),
            event("agent_heartbeat", agent="p"),
            event("container_ready", {"nonce": "x"}),
        )

    shown = world.dry_run(ask_runtime=ask_runtime)
    done = world.run(exactly=shown.report.input)

    assert done.tick == shown.report
    assert done.image.image == shown.image
    committed = world.town()
    assert dump.logical_digest(committed.sql) == shown.logical_digest
    if state != "quiet":
        assert world.journal()[-1]["outputs"]["actions"] == [judged.as_json() for judged in shown.report.actions]
        assert posted not in world.inbox()


@scenario(178)
def test_a_dry_run_leaves_the_world_as_it_is() -> None:
    world = a_world(STATES["busy"]())
    world.post(event("bead_cancelled", bead="ready"))
    before = everything(world)

    world.dry_run(ask_runtime=True)

    assert everything(world) == before
    assert {call.verb for call in world.runtime.calls} == {"status", "container_state"}
    assert world.alerts.raised == []
    assert world.metrics.runs == []


def everything(world: World) -> list[tuple[str, object]]:
    """Every object in the store, with its version."""
    keys = world.objects.list("").keys
    return [(key, world.objects.get(key)) for key in keys]


@scenario(178)
def test_without_asking_the_answer_says_that_nobody_was_observed() -> None:
    world = a_world(STATES["busy"]())
    shown = document(world.dry_run().answer())

    assert shown["input"]["observations"] == {"agents": {}, "container": "unknown", "asked": False}
    assert {"actions", "metrics", "pendingEventCount", "events", "effects", "violations", "digests"} <= shown.keys()
    assert {"eventsDrained", "actionsEmitted", "actionsByType", "pendingEventCount"} <= shown["metrics"].keys()


@scenario(178)
def test_a_paused_town_shows_what_its_rules_would_do() -> None:
    world = a_world(STATES["paused"]())

    shown = world.dry_run()

    assert shown.report.actions == ()
    assert {wanted.rule for wanted in shown.if_started} >= {"agents.heartbeat_lost", "beads.dispatch_ready"}


@scenario(178)
def test_the_input_of_a_dry_run_is_refused_once_the_town_has_moved_on() -> None:
    world = a_world(STATES["busy"]())
    shown = world.dry_run()
    world.clock.move(seconds=5)
    world.run()

    with pytest.raises(Exception, match="town t1 has moved on"):
        world.run(exactly=shown.report.input)


@scenario(178)
def test_the_effects_of_the_tick_that_was_shown_are_performed() -> None:
    world = a_world(STATES["busy"]())
    world.forge.fails("pull_request", ForgeError("transient", "503"))
    shown = world.dry_run()

    done = world.run(exactly=shown.report.input)

    assert done.effects.attempted == len(shown.report.effects) == 2
    assert [effect.kind for effect in shown.report.effects] == ["dispatch_agent", "poll_pr"]


# 179: poison


@pytest.mark.illegal_state
@scenario(179)
def test_a_dry_run_lists_what_fails_and_all_the_rest() -> None:
    world = a_world(a_town().agent("stranger", "witness", "working").bead("ready"))
    world.post(
        event("agent_status", {"message": "x"}, agent="stranger", event_id="fails-01"),
        event("bead_updated", {"priority": "high"}, bead="ready", event_id="fine-001"),
    )
    world.put_raw(b'{"event_id":"poison-1","event_type":"no_such_event","payload":{}}')

    shown = world.dry_run().answer()

    seen = {seen.event_id: seen for seen in shown.events}
    failed = seen.pop("fails-01")
    assert (failed.outcome, failed.attempt) == ("failed", 1)
    assert "'witness' is not one of mayor, polecat, refinery" in str(failed.error)
    assert seen == {
        "fine-001": AppliedEvent("fine-001", "bead_updated", "applied"),
        "poison-1": AppliedEvent("poison-1", "no_such_event", "poisoned", 1, "UnreadableEvent: unknown event type"),
    }
    assert [judged.rule for judged in shown.actions] == ["beads.dispatch_ready"]
    assert shown.pending_event_count == PendingCount(before=3, after=1)
    assert shown.metrics.events_poisoned == 1


@pytest.mark.illegal_state
@scenario(179)
def test_a_dry_run_counts_the_attempts_that_were_made_before() -> None:
    world = a_world(a_town().agent("stranger", "witness", "working"))
    world.post(event("agent_status", {"message": "x"}, agent="stranger", event_id="fails-01"))
    shown: list[tuple[str, int]] = []
    for _ in range(3):
        [seen] = world.dry_run().report.events
        shown.append((seen.outcome, seen.attempt))
        world.run()
        world.clock.move(seconds=5)

    assert shown == [("failed", 1), ("failed", 2), ("poisoned", 3)]
    assert world.alerts.kinds().count("event_poisoned") == 1  # from the tick
    assert world.dry_run().report.events == ()

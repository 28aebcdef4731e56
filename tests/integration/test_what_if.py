"""What-ifs never show a recorded result as the answer to a changed order, and tick when the changed town would have ticked."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain.errors import Refused
from shared.domain.states import EffectKind
from shared.replay.what_if.comparison import Parting
from shared.replay.what_if.overrides import Overrides
from shared.replay.what_if.run import WhatIf
from tests.fakes import GREEN
from tests.replayed import a_world_with_a_past, asked_for, dry_run_of, otherwise
from tests.towns import MS, T, TownBuilder, a_town, event
from tests.worlds import World

PR = "https://github.com/acme/main-rig/pull/1"
DIRECT = Overrides(config={"merge_strategy": "direct"})


def a_town_that_opens_pull_requests(**config: Any) -> TownBuilder:
    return a_town().config(merge_strategy="pr", **config)


def a_world_whose_agent_crashed(**config: Any) -> World:
    """B1 is started at T, and its agent crashes within 20 s. Nothing happens for 20 minutes after its last attempt has failed."""
    world = a_world_with_a_past(
        a_town_that_opens_pull_requests(max_dispatch_attempts=1, **config).bead("b1", title="Preface")
    )
    world.run()
    world.clock.move(seconds=5)
    world.run()
    [agent_id] = world.runtime.running()
    world.runtime.exits(agent_id.rpartition("/")[2], reason="crashed (exit code 1)")
    world.live_through(timedelta(minutes=20))
    return world


def ends(found: WhatIf) -> dict[str, tuple[str | None, str | None, bool]]:
    return {
        each.bead_id: (
            None if each.then is None else each.then.status,
            None if each.now is None else each.now.status,
            each.known,
        )
        for each in found.beads
    }


def unknown(found: WhatIf, kind: EffectKind = EffectKind.DISPATCH_AGENT) -> list[tuple[str | None, str]]:
    return [(each.bead_id, each.why) for each in found.unknown_effects if each.kind == kind]


def acts(partings: tuple[Parting, ...]) -> list[str]:
    return [str(judged.action["type"]) for parting in partings for judged in parting.only_now.actions]


def test_the_crash_of_an_agent_that_was_started_with_another_order_is_not_played_again() -> None:
    """An operator asked whether another merge strategy would have saved a bead, and was told that nothing would have changed."""
    world = a_world_whose_agent_crashed()
    assert world.town().status("b1") == "failed"
    found = otherwise(world, DIRECT)
    [order] = [each for each in found.unknown_effects if each.why == "other_order"]
    fields = {each.column: (each.expected, each.got) for each in order.order}
    assert fields["payload.merge_strategy"] == ("pr", "direct")
    assert (order.bead_id, found.names["b1"]) == ("b1", "Preface")
    first = found.partings[0]
    assert (first.tick, first.tick) == (order.tick, found.first_parted)
    assert first.other_outputs
    events = [each.event_type for parting in found.partings for each in parting.only_in_history.events]
    assert "container_status" in events
    assert ends(found)["b1"] == ("failed", "failed", False)


def test_what_another_order_would_have_brought_is_unknown_also_where_its_agent_reported_its_work_done() -> None:
    world = a_world_with_a_past(a_town_that_opens_pull_requests().bead("b1").bead("b2").edge("b2", "b1"))
    world.run()
    world.clock.move(seconds=5)
    world.run()
    [(agent_id, generation)] = world.town().rows(
        "SELECT bead_id, generation FROM agent_metadata WHERE current_hook_bead_id = 'b1'"
    )
    done = {"branch": "gt/toast/b1", "pr_url": PR, "generation": generation}
    world.forge.opens(PR)
    world.clock.move(seconds=5)
    world.post(event("agent_done", done, agent=agent_id, bead="b1", event_id="done-0001"))
    world.run()
    assert world.town().status("b1") == "in_review"
    found = otherwise(world, DIRECT)
    assert unknown(found) == [("b1", "other_order")]
    assert ends(found)["b1"] == ("in_review", "in_progress", False)
    assert ends(found)["b2"][2] is False, "what waits for it depends on it"
    assert any("1 report of agents was left out" in note for note in found.notes)


def test_a_setting_that_changes_no_order_leaves_every_result_as_it_was() -> None:
    world = a_world_whose_agent_crashed()
    found = otherwise(world, Overrides(config={"max_polecats_per_rig": 7}))
    assert (found.unknown_effects, found.beads, found.partings, found.rows) == ((), (), (), ())
    assert (found.ticks_between, found.first_parted) == (0, None)


def test_an_event_that_was_left_out_changes_the_order_that_follows_it() -> None:
    world = a_world_with_a_past(a_town())
    world.run()
    world.clock.move(seconds=5)
    world.post(event("town_configured", {"config": {"merge_strategy": "pr"}}, event_id="configured-1"))
    world.run()
    world.clock.move(seconds=5)
    bead = {"bead_id": "b1", "type": "issue", "title": "Preface", "rig_id": "rig-1"}
    world.post(event("bead_created", {"bead": bead}, event_id="created-1"))
    world.run()
    world.clock.move(seconds=5)
    world.run()
    assert unknown(otherwise(world, Overrides(leave_out=("configured-1",)))) == [("b1", "other_order")]


def test_an_event_that_did_not_occur_cannot_be_left_out_and_those_with_a_similar_id_are_named() -> None:
    world = a_world_with_a_past(a_town())
    world.post(event("bead_created", {"bead": {"bead_id": "b1", "type": "issue", "title": "x"}}, event_id="created-b1"))
    world.run()
    with pytest.raises(Refused) as problem:
        otherwise(world, Overrides(leave_out=("created-b2",)))
    assert (problem.value.status, problem.value.path) == (422, "overrides.leaveOut[0]")
    assert problem.value.hint == "did you mean created-b1?"


def test_another_model_is_another_order() -> None:
    world = a_world_whose_agent_crashed()
    found = otherwise(world, Overrides(config={"default_model": "another"}))
    [order] = [each for each in found.unknown_effects if each.why == "other_order"]
    assert [each.column for each in order.order] == ["payload.model"]


# The changed town ticks when it is due


def test_the_changed_town_acts_on_silence_at_a_time_when_history_had_nothing_to_do() -> None:
    world = a_world_whose_agent_crashed()
    found = otherwise(world, DIRECT)
    assert found.ticks_between > 0
    lost = [
        parting
        for parting in found.partings
        if any(judged.rule.endswith("heartbeat_lost") for judged in parting.only_now.actions)
    ]
    assert lost
    assert lost[0].between
    silent_for = lost[0].time - T
    assert timedelta(seconds=90) < silent_for < timedelta(minutes=3)


def test_the_changed_town_sleeps_through_an_outage_of_history() -> None:
    """Nobody ran the town then, so nobody would have run the changed one."""
    world = a_world_with_a_past(a_town_that_opens_pull_requests().bead("b1"))
    world.run()
    world.clock.move(seconds=5)
    world.run()
    world.clock.move(minutes=30)
    world.run()
    found = otherwise(world, DIRECT)
    between = [parting.time for parting in found.partings if parting.between]
    assert all(at < T + timedelta(minutes=1) for at in between)


def test_the_ticks_of_the_changed_town_are_limited_and_a_note_says_from_when_on() -> None:
    from shared.ports.steps import drive
    from shared.replay.time_window import PageLimits, Window
    from shared.replay.what_if import run
    from tests.replayed import past_of

    world = a_world_whose_agent_crashed()
    ticks = world.image().facts.tick_no
    page = PageLimits(ticks=ticks + 3)
    found = drive(run.what_if("t1", past_of(world), Window(T, world.clock.now()), DIRECT, page=page))
    assert found.ticks_compared + found.ticks_between <= ticks + 3
    assert any("from there on it only has those of history" in note for note in found.notes)


def test_an_added_event_wakes_the_changed_town_at_its_time() -> None:
    world = a_world_with_a_past(a_town())
    world.live_through(timedelta(minutes=5))
    world.clock.move(minutes=5)
    world.post(event("town_configured", {"config": {}}, event_id="configured-1"))
    world.run()
    bead = {"bead_id": "b9", "type": "issue", "title": "Added", "rig_id": "rig-1"}
    added = {
        "at": "2026-01-10T12:03:00Z",
        "event": {"event_id": "added-b9", "event_type": "bead_created", "payload": {"bead": bead}},
    }
    answer = asked_for(world, T, world.clock.now(), overrides={"add": [added]})
    created = [
        parting
        for parting in answer["partings"]
        if any(each["eventType"] == "bead_created" for each in parting["onlyNow"]["events"])
    ]
    assert (created[0]["time"], created[0]["between"]) == ("2026-01-10T12:03:00.000Z", True)


# What depends on what was done before


def a_world_that_merged() -> World:
    """A green pull request of B is polled and merged."""
    town = a_town().config(merge_strategy="pr", refinery={"auto_merge_delay_minutes": 0, "code_review": False})
    town.bead("b", status="in_review").review("m", "in_progress", of="b", pr_url=PR)
    world = a_world_with_a_past(town)
    world.forge.opens(PR)
    world.forge.pull_requests[PR] = replace(world.forge.pull_requests[PR], feedback=GREEN)
    world.live_through(timedelta(minutes=10))
    assert world.town().status("b") == "closed"
    return world


def test_a_pull_request_that_only_history_merged_is_not_seen_merged() -> None:
    world = a_world_that_merged()
    later = Overrides(config={"refinery": {"auto_merge_delay_minutes": 600, "code_review": False}})
    found = otherwise(world, later)
    assert ("b", ("closed", "in_review", False)) in ends(found).items()
    assert unknown(found, EffectKind.POLL_PR)[0] == ("m", "never_made")


def test_an_agent_that_only_history_stopped_has_an_unknown_future() -> None:
    world = a_world_with_a_past(a_town().bead("b1"))
    world.run()
    world.clock.move(seconds=5)
    world.run()
    world.post(event("bead_cancelled", bead="b1", event_id="cancelled-1"))
    world.clock.move(seconds=5)
    world.run()
    world.clock.move(seconds=5)
    world.run()
    assert world.runtime.running() == {}
    found = otherwise(world, Overrides(leave_out=("cancelled-1",)))
    assert unknown(found, EffectKind.STOP_AGENT) == [("b1", "stopped")]
    assert ends(found)["b1"] == ("failed", "in_progress", False)


def test_a_window_that_begins_between_an_order_and_its_result_has_the_recorded_result() -> None:
    world = a_world_whose_agent_crashed()
    start: datetime = T + MS
    found = otherwise(world, Overrides(config={"max_polecats_per_rig": 7}), start=start)
    assert (found.partings, found.unknown_effects) == ((), ())


def test_a_setting_that_held_already_or_that_a_rig_has_of_its_own_is_said_to_change_nothing() -> None:
    """Seen: a rig had merge_strategy pr; asked what direct would have done, everybody was told that nothing would have changed."""
    world = a_world_with_a_past(a_town().config(merge_strategy="direct", max_dispatch_attempts=3).bead("b1"))
    world.run()
    world.clock.move(minutes=1)
    own = {"rig_id": "rig-1", "name": "main-rig", "git_url": "https://github.com/acme/main-rig.git"}
    world.post(event("rig_registered", {**own, "config": {"merge_strategy": "pr"}}, event_id="ben-sets-it"))
    world.run()
    world.live_through(timedelta(minutes=5))
    found = otherwise(world, Overrides(config={"merge_strategy": "direct", "max_dispatch_attempts": 4}))
    own_value = "rig main-rig has its own merge_strategy, pr, which goes before the town's"
    assert found.without_effect == (
        "merge_strategy was direct already",
        f"{own_value}: to see the window without it, leave out event ben-sets-it",
    )
    without = otherwise(world, Overrides(leave_out=("ben-sets-it",)))
    assert (without.without_effect, without.sum.events_left_out) == ((), 1)
    dry = dry_run_of(world, {"config": {"merge_strategy": "direct"}})
    assert dry["withoutEffect"] == [
        "merge_strategy was direct already",
        f"{own_value}: an added town_configured event can change it",
    ]

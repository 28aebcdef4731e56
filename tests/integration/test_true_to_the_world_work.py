"""Scenarios 9 to 13 of "true to the world": work that joins late, leases, the order of work, wrong clocks, and mail."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.processes import ProcessStatus
from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.questions import status as reports
from tests.integration.true_to_the_forge import DAY, HOUR, MINUTE, Scene, a_scene, on_both_forges
from tests.towns import TOWN, a_town, event
from tests.worlds import World, a_world, outcomes

SECOND = timedelta(seconds=1)


# --- 9: work that joins late ----------------------------------------------------------------------------------------

LATE = {"bead_id": "late-task", "type": "issue", "title": "x", "rig_id": "rig-1", "convoy_id": "convoy"}


def a_landing_convoy(scene: Scene) -> None:
    """A convoy whose one task is merged into the convoy's branch, and which lands by a pull request of its own."""
    tasks = [{"title": "The one task", "depends_on": []}]
    payload = {"convoy_id": "convoy", "title": "Build it", "rig_id": "rig-1", "merge_mode": "review-then-land"}
    scene.posts("convoy_created", {**payload, "staged": False, "tasks": tasks})


def bases(scene: Scene) -> list[str]:
    """The base branches of what the town merged, in order."""
    return [base for _, _, base in scene.merged_by_town()]


@on_both_forges
def test_a_task_that_is_added_during_the_landing_lands_too(server: Any) -> None:
    with a_scene(server) as scene:
        a_landing_convoy(scene)
        scene.until(lambda: len(scene.site.pulls) == 2)
        convoy_branch = scene.site.pulls[0].base
        scene.posts("bead_created", {"bead": LATE}, event_id="late-0001")
        scene.until(lambda: scene.status("convoy") == "closed", minutes=180)
        assert bases(scene) == [convoy_branch, convoy_branch, "main"]
        assert (scene.status("late-task"), scene.starts("late-task"), scene.escalations()) == ("closed", ["work"], [])


@on_both_forges
def test_a_task_that_is_added_together_with_the_landing_merge_lands_by_a_second_landing(server: Any) -> None:
    with a_scene(server) as scene:
        a_landing_convoy(scene)
        scene.until(lambda: "main" in bases(scene), minutes=120)
        assert scene.status("convoy") != "closed", "the town does not know yet that it has merged"
        convoy_branch = scene.site.pulls[0].base
        scene.posts("bead_created", {"bead": LATE}, event_id="late-0001")
        scene.until(lambda: scene.status("convoy") == "closed", minutes=180)
        assert scene.status("late-task") == "closed"
        assert bases(scene) == [convoy_branch, "main", convoy_branch, "main"]
        [told] = scene.escalations()
        assert told.startswith("Merged after its end"), (
            "a person is told that the first landing was merged all the same"
        )


@on_both_forges
def test_a_task_that_is_added_after_the_landing_stands_alone_on_main(server: Any) -> None:
    with a_scene(server) as scene:
        a_landing_convoy(scene)
        scene.until(lambda: scene.status("convoy") == "closed", minutes=180)
        before = len(scene.merged())
        scene.posts("bead_created", {"bead": LATE}, event_id="late-0001")
        scene.until(lambda: scene.status("late-task") == "closed", minutes=60)
        assert bases(scene)[before:] == ["main"]
        assert (scene.status("convoy"), scene.starts("late-task"), scene.escalations()) == ("closed", ["work"], [])


# --- 10: leases -----------------------------------------------------------------------------------------------------


def at_work() -> tuple[World, str, int]:
    """A town whose bead b an agent has begun; the agent and its generation."""
    world = a_world(a_town().config(merge_strategy="direct", refinery={"code_review": False}).bead("b"))
    world.run()
    [(agent, generation)] = world.runtime.running().items()
    return world, agent, generation


def says(world: World, kind: str, agent: str, generation: int, **payload: Any) -> str:
    """What an agent reports reaches the town, which looks at it. Returns the outcome."""
    at = world.clock.now()
    name = f"{kind}-{agent[:8]}-{generation}-{at.timestamp():.0f}"
    world.post(event(f"agent_{kind}", {"generation": generation, **payload}, event_id=name, agent=agent, at=at))
    world.run()
    return next(told[name] for told in map(outcomes, reversed(world.journal())) if name in told)


def lives_on(world: World, span: timedelta, *, beating: bool) -> None:
    """Time passes; the newest process of each bead says that it lives, if its network is there."""
    end = world.clock.now() + span
    while world.clock.now() < end:
        world.clock.at += 30 * SECOND
        for order in world.runtime.orders[1:] if beating else ():
            if world.runtime.running().get(order.agent_id) == order.generation:
                says(world, "heartbeat", order.agent_id, order.generation, last_event_type="tool_use")
        world.run()


@pytest.mark.parametrize("minutes", [4, 40])
def test_an_agent_that_was_cut_off_is_replaced_once_stopped_and_not_believed(minutes: int) -> None:
    world, agent, generation = at_work()
    world.runtime.fails("status", ProcessStatus("unknown"), times=None)
    lives_on(world, timedelta(minutes=minutes), beating=True)
    world.runtime.recovers("status")
    world.clock.at += 5 * SECOND
    late = says(world, "done", agent, generation, branch="gt/late", summary="late")
    assert late.startswith("skipped"), late
    lives_on(world, 20 * MINUTE, beating=True)
    assert [order.bead.id for order in world.runtime.orders if order.bead] == ["b", "b"], "given away once"
    assert world.runtime.seen("stop", agent) != []
    assert len(world.runtime.running()) == 1
    assert world.town().rows("SELECT bead_id FROM beads WHERE type = 'merge_request'") == []


def test_a_late_report_about_a_bead_that_its_successor_finished_changes_nothing() -> None:
    world, agent, generation = at_work()
    world.runtime.fails("status", ProcessStatus("unknown"), times=None)
    lives_on(world, 4 * MINUTE, beating=True)
    world.runtime.recovers("status")
    successor = world.runtime.orders[-1]
    assert (successor.agent_id, successor.generation) != (agent, generation)
    done = says(world, "done", successor.agent_id, successor.generation, branch=successor.branch or "", summary="ok")
    assert done == "applied"
    before = world.town().rows("SELECT bead_id, type, status FROM beads WHERE type <> 'agent' ORDER BY bead_id")
    assert says(world, "done", agent, generation, branch="gt/late", summary="late").startswith("skipped")
    after = world.town().rows("SELECT bead_id, type, status FROM beads WHERE type <> 'agent' ORDER BY bead_id")
    assert after == before


# --- 11: the order of work ------------------------------------------------------------------------------------------


def files(world: World, *beads: dict[str, Any]) -> dict[str, str]:
    """Somebody files beads in one batch, and the town looks at it. Returns the outcomes by bead."""
    given = {"type": "issue", "title": "x", "rig_id": "rig-1"}
    at = world.clock.now()
    world.post(
        *[
            event("bead_created", {"bead": {**given, **bead}}, event_id=f"made-{bead['bead_id']}", at=at)
            for bead in beads
        ]
    )
    world.run()
    told = outcomes(world.journal()[-1])
    return {bead["bead_id"]: told[f"made-{bead['bead_id']}"] for bead in beads}


def waits(world: World) -> dict[str, str | None]:
    """Why each bead waits."""
    return {each.bead_id: each.reason for each in drive(reports.status(TOWN, world.around)).waiting}


def started(world: World) -> list[str]:
    """The beads that were begun, in order."""
    return [order.bead.id for order in world.runtime.orders if order.bead]


def with_one_place() -> World:
    return a_world(a_town().config(max_polecats_per_rig=1))


def test_the_critical_bead_takes_the_only_place_before_older_low_ones() -> None:
    world = with_one_place()
    files(
        world,
        *({"bead_id": f"low-{number}", "priority": "low"} for number in range(3)),
        {"bead_id": "now", "priority": "critical"},
    )
    assert started(world) == ["now"]
    assert {reason for bead, reason in waits(world).items() if bead.startswith("low")} == {"rig_full"}


@pytest.mark.parametrize(("days", "first"), [(1, "fresh"), (3, "aged")])
def test_a_low_bead_rises_by_one_level_for_each_day(days: int, first: str) -> None:
    world = a_world(a_town().key("paused", True))
    files(world, {"bead_id": "aged", "priority": "low"})
    world.clock.at += days * DAY
    files(world, {"bead_id": "fresh", "priority": "high"})
    world.post(
        event("town_configured", {"config": {"max_polecats_per_rig": 1}}, event_id="one-place", at=world.clock.now()),
        event("town_started", {}, event_id="started-1", at=world.clock.now()),
    )
    for _ in range(60):
        world.clock.at += 5 * SECOND
        world.run()
    assert started(world)[:1] == [first]


def test_a_dependency_that_stands_later_in_the_batch_is_one() -> None:
    world = a_world(a_town())
    assert files(world, {"bead_id": "second", "depends_on": ["first"]}, {"bead_id": "first"}) == {
        "second": "applied",
        "first": "applied",
    }
    assert started(world) == ["first"]
    assert waits(world)["second"] == "blocked_by"


def test_a_misspelled_dependency_is_told_after_a_day_and_ends_with_the_bead_of_that_name() -> None:
    world = a_world(a_town())
    files(world, {"bead_id": "task", "depends_on": ["frist"]})
    assert waits(world)["task"] == "missing_blocker"
    world.live_through(25 * HOUR, every=HOUR)
    escalations = "SELECT status FROM beads WHERE type = 'escalation'"
    assert world.town().rows(escalations) == [("open",)]
    files(world, {"bead_id": "frist"})
    assert (started(world), waits(world)["task"]) == (["frist"], "blocked_by")
    world.clock.at += 5 * SECOND
    world.run()
    assert world.town().rows(escalations) == [("closed",)]
    world.post(event("bead_cancelled", {}, bead="frist", event_id="cancel-01", at=world.clock.now()))
    world.run()
    assert (started(world), waits(world)["task"]) == (["frist"], "failed_dependency")


@pytest.mark.parametrize("apart", [False, True])
def test_a_cycle_is_rejected_in_one_batch_and_through_three(apart: bool) -> None:
    world = a_world(a_town())
    ring = [{"bead_id": a, "depends_on": [b]} for a, b in (("one", "two"), ("two", "three"), ("three", "one"))]
    told = {
        key: said
        for batch in ([[bead] for bead in ring] if apart else [ring])
        for key, said in files(world, *batch).items()
    }
    assert told == {"one": "applied", "two": "applied", "three": "rejected: cycle"}
    assert files(world, {"bead_id": "alone", "depends_on": ["alone"]}) == {"alone": "rejected: it depends on itself"}
    assert started(world) == []


# --- 12: wrong clocks -----------------------------------------------------------------------------------------------

YEAR = timedelta(days=365)


def watched(dates: str, wrong: timedelta) -> tuple[list[tuple[str, int]], Any]:
    """What the watch does after one heartbeat with wrong dates, and silence: its starts, and what is stored of the heartbeat."""
    world, agent, generation = at_work()
    world.clock.at += 10 * SECOND
    now = world.clock.now()
    told = now if dates == "occurred_at" else now + wrong
    payload = {"generation": generation, "last_event_type": "x", "last_event_at": to_text(told)}
    occurred = now if dates == "last_event_at" else now + wrong
    world.post(event("agent_heartbeat", payload, event_id="beat-0001", agent=agent, at=occurred), at=now)
    world.run()
    stored = world.town().rows(
        "SELECT last_event_at >= dispatched_at, last_activity_at FROM agent_metadata WHERE bead_id = ?", agent
    )
    world.live_through(5 * MINUTE, every=30 * SECOND)
    return [(order.agent_id, order.generation) for order in world.runtime.orders], stored


@pytest.mark.parametrize("wrong", [YEAR, -YEAR, SECOND], ids=["a year ahead", "last year", "a second ahead"])
@pytest.mark.parametrize("dates", ["last_event_at", "occurred_at", "both"])
def test_the_watch_works_as_if_a_heartbeat_were_dated_now(wrong: timedelta, dates: str) -> None:
    starts, stored = watched(dates, wrong)
    assert (starts, stored) == watched("both", timedelta())
    assert len(starts) >= 2, "an agent that is silent after such a heartbeat is replaced like any other"


# --- 13: mail -------------------------------------------------------------------------------------------------------


def writes(world: World, to: str = "mayor", body: str = "What is going on?") -> None:
    """A person writes to somebody."""
    bead = {"bead_id": "letter", "type": "message", "title": "Hello", "body": body, "assignee_agent_id": to}
    world.post(event("bead_created", {"bead": bead}, event_id="letter-01", at=world.clock.now(), source="operator"))


def ticks(world: World, count: int) -> None:
    for _ in range(count):
        world.clock.at += 5 * SECOND
        world.run()


def test_a_letter_of_32_kib_reaches_a_sleeping_mayor_and_is_answered() -> None:
    world = a_world(a_town())
    world.runtime.knows_who_runs = True
    body = "ü" * (16 * 1024)
    writes(world, body=body)
    ticks(world, 3)
    assert [said.endswith(body[-1000:]) for _, said in world.runtime.messages.values()] == [True]
    assert world.town().status("letter") == "closed"
    answer = {"text": "All is well", "in_reply_to": "letter"}
    world.post(event("mayor_said", answer, event_id="said-0001", agent="mayor", at=world.clock.now()))
    ticks(world, 1)
    report = drive(reports.status(TOWN, world.around))
    assert [(each.text, each.in_reply_to) for each in report.mayor_said] == [("All is well", "letter")]


def test_a_reply_to_a_message_that_does_not_exist_is_rejected() -> None:
    world = a_world(a_town())
    world.post(event("mayor_said", {"text": "Yes", "in_reply_to": "nothing"}, event_id="said-0001", agent="mayor"))
    world.run()
    assert outcomes(world.journal()[-1])["said-0001"] == "rejected: unknown message"


def test_mail_to_a_mayor_that_dies_while_it_is_told_is_told_to_the_next_one() -> None:
    world = a_world(a_town())
    world.runtime.knows_who_runs = True
    world.runtime.fails("start", TimeoutError("died"), times=1)
    writes(world)
    ticks(world, 3)
    world.live_through(15 * MINUTE, every=30 * SECOND)
    assert len(world.runtime.messages) == 1
    assert world.town().status("letter") == "closed"

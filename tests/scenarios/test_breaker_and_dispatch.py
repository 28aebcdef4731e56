"""Scenarios 24 to 61, 208 and 209: what is dispatched, what waits, what is given up."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest

from shared.actions import DispatchAgent, UnhookAgent
from shared.domain import limits
from shared.domain.times import to_text
from shared.engine import reconcile
from shared.ports.runtime import StartRejected
from shared.rules.base import Decision, Rule
from shared.runner import perform
from shared.runner.result_events import failure
from tests.scenarios.stories import BOUNDARY, Given, answers, around, as_usual, beat, deeds, draining, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event
from tests.worlds import a_world

SECOND = timedelta(seconds=1)
AT_ONCE = "beads.dispatch_ready: dispatch_agent b"
STARTS = ["dispatch_agent"]
AGAIN = "beads.redispatch_hooked: dispatch_agent p b"


def failed_starts(town: TownBuilder, *times: datetime) -> TownBuilder:
    """One failed bead for each time at which one failed to start."""
    for number, at in enumerate(times):
        town.bead(f"lost-{number:02}", status="failed", last_dispatch_failed_at=at)
    return town


def breaker_open(town: TownBuilder) -> TownBuilder:
    """Twenty beads failed to start a minute ago, and the mayor knows."""
    return failed_starts(town, *[ago(minutes=1)] * 20).key(
        "breaker", {"open": True, "since": to_text(ago(minutes=1)), "episode": 1}
    )


def a_waiting_agent(
    bead_status: str = "open", *, attempts: int = 1, tried: datetime | None = None, **agent: object
) -> TownBuilder:
    """P is idle and hooked to B, which was dispatched 31 s ago."""
    return (
        a_town()
        .bead(
            "b",
            status=bead_status,
            assignee_agent_bead_id="p",
            dispatch_attempts=attempts,
            last_dispatch_attempt_at=tried or ago(seconds=31),
        )
        .agent("p", **{"hook": "b", **agent})  # type: ignore[arg-type]
    )


# --- The circuit breaker ----------------------------------------------------------------------------


@scenario(24)
def test_nineteen_failed_starts_leave_the_breaker_closed() -> None:
    town = failed_starts(a_town().bead("b"), *[ago(minutes=1)] * 19)
    report = town.tick()
    assert deeds(report) == [AT_ONCE]
    assert report.metrics.circuit_breaker_open == 0


@scenario(24)
def test_a_closed_breaker_wakes_nobody() -> None:
    assert failed_starts(a_town(), *[ago(minutes=1)] * 19).tick().next_due is None


@scenario(24)
def test_twenty_failed_starts_open_the_breaker_and_the_mayor_is_told() -> None:
    town = failed_starts(a_town().bead("b"), *[ago(minutes=1)] * 20)
    report = town.tick()
    assert deeds(report) == ["breaker.announce: notify_mayor breaker:1:open"]
    assert report.actions[0].action["message"] == "dispatch paused: 20 beads failed to start in 30 min"
    assert report.metrics.circuit_breaker_open == 1
    assert town.waiting() == {"breaker_open": 1}
    assert town.value("breaker") == {"open": True, "since": to_text(T), "episode": 1}
    assert town.status("b") == "open"


@scenario(25)
def test_an_open_breaker_says_nothing_until_it_closes_and_dispatches_in_the_same_tick() -> None:
    first_out = ago(minutes=20)
    town = failed_starts(a_town().bead("b"), first_out, *[ago(minutes=1)] * 19)
    opened = town.tick()
    told = town.tick(*answers(opened, T), at=T + 5 * SECOND)
    town.update("agent_metadata", "mayor", status="idle")
    quiet = town.ticks(50, start=T + 10 * SECOND)
    assert [line for report in (told, *quiet) for line in deeds(report, of="breaker")] == []
    closes = first_out + limits.BREAKER_WINDOW + MS
    assert quiet[-1].next_due == closes
    assert deeds(town.tick(at=closes - MS)) == []
    report = town.tick(at=closes)
    assert deeds(report) == [AT_ONCE, "breaker.announce: notify_mayor breaker:1:closed"]
    assert report.actions[1].action["message"] == "dispatch resumed"
    assert town.value("breaker") == {"open": False, "since": to_text(closes), "episode": 1}


@scenario(25)
def test_each_episode_of_the_breaker_is_told_once() -> None:
    town = breaker_open(a_town()).key("breaker", {"open": False, "since": to_text(ago(hours=2)), "episode": 4})
    assert deeds(town.tick()) == ["breaker.announce: notify_mayor breaker:5:open"]


@scenario(26)
@pytest.mark.parametrize(("age", "out_of_the_window"), around(limits.BREAKER_WINDOW), ids=BOUNDARY)
def test_a_failed_start_counts_for_half_an_hour(age: timedelta, out_of_the_window: bool) -> None:
    town = failed_starts(a_town().bead("b"), T - age, *[ago(minutes=1)] * 19)
    report = town.tick()
    assert deeds(report) == ([AT_ONCE] if out_of_the_window else ["breaker.announce: notify_mayor breaker:1:open"])
    assert town.value("breaker")["open"] is not out_of_the_window


@scenario(27)
def test_forty_healthy_dispatches_do_not_open_the_breaker() -> None:
    town = a_town()
    for number in range(40):
        town.bead(f"b-{number:02}")
    dispatched = town.tick()
    assert len(deeds(dispatched, of="beads.dispatch_ready")) == 40
    now = T
    agents = [row[1] for row in outbox(town, "dispatch_agent")]
    for minute in range(5):
        now = T + timedelta(minutes=minute, seconds=30)
        results = answers(dispatched, now) if minute == 0 else []
        report = town.tick(*results, *[beat(agent, now, generation=1) for agent in agents], at=now)
        assert (deeds(report), report.metrics.circuit_breaker_open) == ([], 0)
    assert town.rows("SELECT COUNT(*) FROM beads WHERE last_dispatch_failed_at IS NOT NULL") == [(0,)]


@scenario(28)
def test_a_bead_that_was_closed_since_does_not_count() -> None:
    town = breaker_open(a_town().bead("b")).update("beads", "lost-00", status="open", labels=["gt:held"])
    report = town.tick(event("bead_cancelled", {"cancel_status": "closed"}, bead="lost-00"))
    assert outcomes(report) == [("bead_cancelled", "applied")]
    assert deeds(report) == [AT_ONCE, "breaker.announce: notify_mayor breaker:1:closed"]


@scenario(29)
def test_an_open_breaker_does_not_save_a_bead_from_its_cap() -> None:
    town = breaker_open(a_town().bead("b", dispatch_attempts=5))
    assert deeds(town.tick()) == ["beads.dispatch_ready: transition_bead b failed"]
    assert town.status("b") == "failed"


# --- B1: dispatch what is ready ---------------------------------------------------------------------


@scenario(30)
def test_a_ready_bead_gets_a_new_polecat() -> None:
    town = a_town().bead("b")
    report = town.tick()
    assert deeds(report) == [AT_ONCE]
    [(toast,)] = town.rows("SELECT bead_id FROM agent_metadata WHERE role = 'polecat'")
    assert town.one("beads", toast, "title", "rig_id", "type") == ("Toast", "rig-1", "agent")
    assert town.doing(toast) == ("working", "b")
    assert town.one("agent_metadata", toast, "generation", "dispatch_attempts", "last_dispatch_outcome") == (
        1,
        1,
        "pending",
    )
    assert town.one("agent_metadata", toast, "identity") == "Toast-polecat-rig-1@t1"
    assert town.one("beads", "b", "status", "dispatch_attempts", "assignee_agent_bead_id") == ("in_progress", 1, toast)
    assert outbox(town) == [("dispatch_agent", toast, 1, "claimed")]


@scenario(31)
def test_tasks_of_a_convoy_are_assigned_by_b1_and_not_before() -> None:
    town = draining(a_town())
    created = event(
        "convoy_created", {"convoy_id": "c", "title": "One", "rig_id": "rig-1", "tasks": [{"title": "Only"}]}
    )
    first = town.tick(created)
    assert (outcomes(first), deeds(first)) == ([("convoy_created", "applied")], [])
    [(task, assignee)] = town.rows("SELECT bead_id, assignee_agent_bead_id FROM beads WHERE title = 'Only'")
    assert assignee is None
    second = town.tick(event("container_ready", {"nonce": "n"}), at=T + 5 * SECOND)
    assert deeds(second) == [f"beads.dispatch_ready: dispatch_agent {task}"]
    assert town.one("beads", task, "assignee_agent_bead_id") is not None


@scenario(32)
def test_the_second_task_waits_for_the_first() -> None:
    town = a_town()
    tasks = [{"title": "First"}, {"title": "Second", "depends_on": [0]}]
    town.tick(event("convoy_created", {"convoy_id": "c", "title": "Two", "rig_id": "rig-1", "tasks": tasks}))
    ids = dict(town.rows("SELECT title, bead_id FROM beads WHERE type = 'issue'"))
    assert deeds(town.reports[-1]) == [f"beads.dispatch_ready: dispatch_agent {ids['First']}"]
    assert town.waiting() == {"agent_working": 1, "blocked_by": 1}
    assert town.one("beads", ids["Second"], "assignee_agent_bead_id") is None
    report = town.tick(event("bead_cancelled", {"cancel_status": "closed"}, bead=ids["First"]), at=T + 5 * SECOND)
    assert deeds(report, of="beads") == [f"beads.dispatch_ready: dispatch_agent {ids['Second']}"]
    assert town.one("beads", ids["Second"], "assignee_agent_bead_id") is not None


@scenario(33)
def test_a_bead_waits_for_all_of_its_blockers() -> None:
    town = a_town().bead("a", labels=["gt:held"]).bead("b", labels=["gt:held"]).bead("c").edge("c", "a").edge("c", "b")
    town.update("beads", "a", status="closed")
    assert deeds(town.tick()) == []
    town.update("beads", "b", status="closed")
    assert deeds(town.tick(at=T + 5 * SECOND)) == ["beads.dispatch_ready: dispatch_agent c"]


@scenario(34)
def test_after_five_attempts_a_bead_fails_and_says_why() -> None:
    town = a_town().bead("b", dispatch_attempts=5, last_dispatch_attempt_at=ago(hours=1))
    assert deeds(town.tick()) == ["beads.dispatch_ready: transition_bead b failed"]
    [(notes,)] = town.rows("SELECT metadata FROM bead_events WHERE bead_id = 'b' AND event_type = 'status_changed'")
    assert json.loads(notes)["failure_reason"] == {
        "code": "reconciler",
        "message": "max dispatch attempts exceeded (5)",
        "source": "scheduler",
    }


@scenario(34)
def test_the_fifth_attempt_is_still_made() -> None:
    town = a_town().bead("b", dispatch_attempts=4, last_dispatch_attempt_at=ago(hours=1))
    assert deeds(town.tick()) == [AT_ONCE]
    assert town.one("beads", "b", "dispatch_attempts") == 5


def _free_bead(town: TownBuilder, attempts: int) -> TownBuilder:
    return town.bead("x", dispatch_attempts=attempts)


def _hooked_bead(town: TownBuilder, attempts: int) -> TownBuilder:
    return town.bead("x", dispatch_attempts=attempts).agent("p", hook="x")


def _lost_bead(town: TownBuilder, attempts: int) -> TownBuilder:
    return town.bead("x", status="in_progress", dispatch_attempts=attempts, updated_at=ago(minutes=6))


def _open_review(town: TownBuilder, attempts: int) -> TownBuilder:
    return town.review("x", dispatch_attempts=attempts)


def _hooked_review(town: TownBuilder, attempts: int) -> TownBuilder:
    return town.review("x", "in_progress", dispatch_attempts=attempts).agent("f", "refinery", hook="x")


@scenario(35)
@pytest.mark.parametrize(
    ("given", "rule", "reason"),
    [
        (_free_bead, "beads.dispatch_ready", "max dispatch attempts exceeded"),
        (_hooked_bead, "beads.redispatch_hooked", "max dispatch attempts exceeded"),
        (_lost_bead, "beads.reopen_lost", "agent lost, max dispatch attempts exhausted"),
        (_open_review, "reviews.dispatch_refinery", "review dispatch attempts exceeded"),
        (_hooked_review, "reviews.redispatch_refinery", "refinery max dispatch attempts exceeded"),
    ],
    ids=["B1", "B2", "B3", "R5", "R6"],
)
@pytest.mark.parametrize(
    ("town_cap", "rig_cap", "attempts", "failed"),
    [(5, 2, 2, True), (5, 2, 1, False), (3, None, 3, True), (3, None, 2, False), (3, 4, 3, False)],
)
def test_every_rule_honours_the_cap_of_rig_and_town(
    given: Callable[[TownBuilder, int], TownBuilder],
    rule: str,
    reason: str,
    town_cap: int,
    rig_cap: int | None,
    attempts: int,
    failed: bool,
) -> None:
    town = given(a_town().config(max_dispatch_attempts=town_cap), attempts)
    town.update("rigs", "rig-1", config={} if rig_cap is None else {"max_dispatch_attempts": rig_cap})
    report = town.tick()
    assert (f"{rule}: transition_bead x failed" in deeds(report)) is failed
    assert (town.status("x") == "failed") is failed
    if failed:
        given_up = next(judged for judged in report.actions if judged.action["type"] == "transition_bead")
        assert given_up.action["reason"] == f"{reason} ({attempts})"


@scenario(36)
@pytest.mark.parametrize(("attempts", "seconds"), [(0, 30), (1, 30), (2, 60), (3, 120), (4, 300), (5, 600), (9, 600)])
def test_the_backoff_grows_with_the_attempts(attempts: int, seconds: int) -> None:
    town = a_town().config(max_dispatch_attempts=10)
    town.bead("b", dispatch_attempts=attempts, last_dispatch_attempt_at=ago(seconds=seconds))
    report = town.tick()
    assert (deeds(report), report.next_due) == ([], T + MS)
    assert town.waiting() == {"cooldown": 1}
    assert deeds(town.tick(at=T + MS)) == [AT_ONCE]


def _staged(town: TownBuilder) -> TownBuilder:
    return town.bead("b").convoy("c", tracked=["b"], staged=1)


@scenario(37)
@pytest.mark.parametrize(
    ("given", "waiting"),
    [
        (lambda town: town.bead("b", labels=["gt:held"]), {"held": 1}),
        (lambda town: town.bead("b", rig_id=None), {"no_rig": 1}),
        (_staged, {"staged": 2}),
        (lambda town: town.bead("b", labels=["gt:triage-request"]), None),
        (lambda town: town.bead("b", assignee_agent_bead_id="somebody"), None),
        (lambda town: town.bead("b", assignee_agent_bead_id="system"), None),
    ],
    ids=["held", "no rig", "staged", "triage request", "assigned", "of the system"],
)
def test_what_b1_leaves_alone(given: Given, waiting: dict[str, int] | None) -> None:
    town = given(a_town())
    report = town.tick()
    assert deeds(report, of="beads.dispatch_ready") == []
    assert town.status("b") == "open"
    if waiting is not None:
        assert (deeds(report), town.waiting()) == ([], waiting)


@scenario(37)
def test_a_label_matches_only_as_a_whole() -> None:
    assert deeds(a_town().bead("b", labels=["not gt:held", "gt:held-back"]).tick()) == [AT_ONCE]


@scenario(38)
def test_nothing_is_dispatched_or_failed_while_draining_and_both_after_it() -> None:
    town = a_town().bead("b").bead("tired", dispatch_attempts=5)
    evicted = town.tick(event("container_eviction", event_id="eviction-1"))
    assert (outcomes(evicted), deeds(evicted)) == ([("container_eviction", "applied")], [])
    assert town.waiting() == {"draining": 2}
    assert [deeds(report) for report in town.ticks(20, start=T + 5 * SECOND)] == [[]] * 20
    ready = event("container_ready", {"nonce": town.value("drain")["nonce"]})
    assert deeds(town.tick(ready, at=T + timedelta(minutes=2))) == [
        AT_ONCE,
        "beads.dispatch_ready: transition_bead tired failed",
    ]


# --- B5: failed blockers ----------------------------------------------------------------------------


@scenario(39)
def test_a_bead_waits_for_ever_for_a_failed_one_and_the_mayor_is_told_once() -> None:
    town = a_town().bead("x", status="failed").bead("b").edge("b", "x")
    first = town.tick()
    assert deeds(first) == ["beads.report_failed_blocker: notify_mayor failed_blocker:x"]
    assert first.actions[0].action["message"] == "bead x failed and holds back b"
    assert town.waiting() == {"failed_dependency": 1}
    assert town.metadata("x") == {"failed_blocker_notified": 1}
    later = town.ticks(100, start=T + 5 * SECOND)
    assert [line for report in later for line in deeds(report)] == []
    assert [row[:2] for row in outbox(town)] == [("notify_mayor", "failed_blocker:x")]
    assert town.status("b") == "open"


@scenario(40)
def test_with_proceed_a_failed_blocker_holds_nobody_back() -> None:
    town = a_town().config(on_failed_dependency="proceed").bead("x", status="failed").bead("b").edge("b", "x")
    assert deeds(town.tick()) == [AT_ONCE]


@scenario(40)
def test_a_failed_blocker_that_is_reopened_and_closes_lets_its_dependent_go() -> None:
    town = a_town().bead("x", status="failed").bead("b").edge("b", "x")
    town.tick()
    reopened = town.tick(event("bead_reopened", bead="x"), at=T + 5 * SECOND)
    assert outcomes(reopened) == [("bead_reopened", "applied")]
    assert deeds(reopened) == ["beads.dispatch_ready: dispatch_agent x"]
    closed = town.tick(event("bead_cancelled", {"cancel_status": "closed"}, bead="x"), at=T + 10 * SECOND)
    assert deeds(closed, of="beads") == [AT_ONCE]


@scenario(41)
def test_the_mayor_is_told_of_each_failed_blocker() -> None:
    town = a_town().bead("x", status="failed").bead("y", status="failed").bead("b").edge("b", "x").edge("b", "y")
    assert deeds(town.tick()) == [
        "beads.report_failed_blocker: notify_mayor failed_blocker:x",
        "beads.report_failed_blocker: notify_mayor failed_blocker:y",
    ]


@scenario(41)
def test_a_failed_blocker_of_many_is_told_in_one_message_that_names_ten() -> None:
    town = a_town().bead("x", status="failed")
    for number in range(12):
        town.bead(f"b-{number:02}").edge(f"b-{number:02}", "x")
    report = town.tick()
    assert deeds(report) == ["beads.report_failed_blocker: notify_mayor failed_blocker:x"]
    named = ", ".join(f"b-{number:02}" for number in range(10))
    assert report.actions[0].action["message"] == f"bead x failed and holds back {named}"


# --- B1b: stale assignees ---------------------------------------------------------------------------


@scenario(42)
@pytest.mark.parametrize(
    ("assignee", "labels", "cleared"),
    [("p", [], True), ("gone", [], True), ("system", [], False), ("p", ["gt:triage-request"], False)],
)
def test_an_open_bead_that_nobody_is_hooked_to_has_no_assignee(assignee: str, labels: list[str], cleared: bool) -> None:
    town = a_town().agent("p").bead("b", assignee_agent_bead_id=assignee, labels=labels)
    report = town.tick()
    assert deeds(report, of="beads") == (["beads.clear_stale_assignee: clear_bead_assignee b"] if cleared else [])
    assert town.one("beads", "b", "assignee_agent_bead_id") == (None if cleared else assignee)


@scenario(43)
def test_an_open_bead_belongs_to_the_agent_that_is_hooked_to_it() -> None:
    town = (
        a_town()
        .bead("first", labels=["gt:held"])
        .bead("b", assignee_agent_bead_id="p1")
        .edge("b", "first")
        .agent("p1")
        .agent("p2", hook="b")
    )
    assert deeds(town.tick()) == ["beads.clear_stale_assignee: assign_bead p2 b"]
    assert town.one("beads", "b", "assignee_agent_bead_id") == "p2"


# --- B2: agents that are hooked and idle ------------------------------------------------------------


@scenario(44)
def test_an_idle_agent_is_dispatched_again_on_its_hook() -> None:
    town = a_waiting_agent()
    assert deeds(town.tick()) == [AGAIN]
    assert town.one("beads", "b", "dispatch_attempts", "status", "last_dispatch_attempt_at") == (
        2,
        "in_progress",
        to_text(T),
    )
    assert town.doing("p") == ("working", "b")


@scenario(44)
@pytest.mark.parametrize(
    ("role", "status"), [("polecat", "working"), ("polecat", "stalled"), ("polecat", "dead"), ("refinery", "idle")]
)
def test_only_an_idle_polecat_is_dispatched_again(role: str, status: str) -> None:
    town = a_town().bead("b", assignee_agent_bead_id="p", dispatch_attempts=5)
    town.agent("p", role, status, hook="b", stalled_at=ago(minutes=1) if status == "stalled" else None)
    assert deeds(town.tick()) == []


@scenario(45)
@pytest.mark.parametrize("circumstance", [as_usual, draining])
def test_a_hooked_bead_at_its_cap_fails_even_while_draining(circumstance: Given) -> None:
    town = circumstance(a_waiting_agent(attempts=5))
    assert deeds(town.tick()) == [
        "beads.redispatch_hooked: transition_bead b failed",
        "beads.redispatch_hooked: unhook_agent p",
    ]
    assert (town.status("b"), town.doing("p")) == ("failed", ("idle", None))


@scenario(45)
def test_a_hooked_bead_below_its_cap_waits_while_draining() -> None:
    assert deeds(draining(a_waiting_agent()).tick()) == []


@scenario(46)
def test_a_hooked_bead_that_is_blocked_waits() -> None:
    town = a_waiting_agent().bead("first", labels=["gt:held"]).edge("b", "first")
    report = town.tick()
    assert deeds(report) == []
    assert town.waiting() == {"blocked_by": 1, "held": 1}


@scenario(47)
@pytest.mark.parametrize(("waited", "over"), around(timedelta(seconds=30)), ids=BOUNDARY)
def test_a_rejected_agent_is_dispatched_again_when_the_backoff_is_over(waited: timedelta, over: bool) -> None:
    town = a_waiting_agent("in_progress", tried=T - waited, last_dispatch_outcome="rejected")
    assert deeds(town.tick()) == ([AGAIN] if over else [])
    assert town.one("beads", "b", "dispatch_attempts", "status") == (2 if over else 1, "in_progress")
    assert town.rows("SELECT * FROM bead_events WHERE event_type = 'status_changed'") == []


@scenario(47)
def test_a_rejected_agent_on_a_bead_in_review_waits_for_the_review() -> None:
    town = a_waiting_agent("in_review", last_dispatch_outcome="rejected")
    town.bead("first", labels=["gt:held"]).review("m", of="b").edge("m", "first")
    assert deeds(town.tick()) == []


# --- B3: lost beads ---------------------------------------------------------------------------------


def a_lost_bead(updated: datetime, *, attempts: int = 1) -> TownBuilder:
    """B is in progress and nobody is hooked to it."""
    return a_town().bead(
        "b", status="in_progress", updated_at=updated, dispatch_attempts=attempts, assignee_agent_bead_id="gone"
    )


REOPENED = ["beads.reopen_lost: transition_bead b open", "beads.reopen_lost: clear_bead_assignee b"]


@scenario(48)
@pytest.mark.parametrize("circumstance", [as_usual, draining], ids=["as usual", "draining"])
@pytest.mark.parametrize(("age", "lost"), around(limits.BEAD_LOST_AFTER), ids=BOUNDARY)
def test_a_bead_in_progress_that_nobody_works_on_goes_back_after_five_minutes(
    circumstance: Given, age: timedelta, lost: bool
) -> None:
    town = circumstance(a_lost_bead(T - age))
    report = town.tick()
    assert deeds(report) == (REOPENED if lost else [])
    assert town.one("beads", "b", "status", "assignee_agent_bead_id") == (
        ("open", None) if lost else ("in_progress", "gone")
    )
    if not lost:
        assert report.next_due == T - age + limits.BEAD_LOST_AFTER + MS


@scenario(48)
def test_a_lost_bead_is_left_alone_while_the_town_settles() -> None:
    town = a_lost_bead(ago(minutes=6)).bead("c", status="in_progress").agent("q", status="working", hook="c")
    town.key("last_tick_at", to_text(ago(minutes=4)))
    assert deeds(town.tick()) == []
    still = town.tick(beat("q", T + 89 * SECOND), at=T + 90 * SECOND - MS)
    assert (deeds(still), still.next_due) == ([], T + 90 * SECOND)
    assert deeds(town.tick(at=T + 90 * SECOND)) == REOPENED


@scenario(49)
def test_a_lost_bead_at_its_cap_fails() -> None:
    town = a_lost_bead(ago(minutes=5, ms=1), attempts=5)
    report = town.tick()
    assert deeds(report) == ["beads.reopen_lost: transition_bead b failed", "beads.reopen_lost: clear_bead_assignee b"]
    assert report.actions[0].action["reason"] == "agent lost, max dispatch attempts exhausted (5)"
    assert town.one("beads", "b", "status", "assignee_agent_bead_id") == ("failed", None)


@scenario(50)
@pytest.mark.parametrize(
    ("updated", "last_bead", "beat_ago", "lost"),
    [
        (ago(minutes=5, ms=1), "b", timedelta(seconds=20), False),
        (ago(minutes=5, ms=1), "b", timedelta(seconds=90), False),
        (ago(minutes=5, ms=1), "b", timedelta(seconds=90, milliseconds=1), True),
        (ago(minutes=5, ms=1), "another", timedelta(seconds=20), True),
        (ago(minutes=30), "b", timedelta(seconds=20), False),
        (ago(minutes=30, ms=1), "b", timedelta(seconds=20), True),
    ],
)
def test_a_bead_is_not_lost_while_the_agent_that_was_dispatched_for_it_beats(
    updated: datetime, last_bead: str, beat_ago: timedelta, lost: bool
) -> None:
    town = a_lost_bead(updated).update("beads", "b", assignee_agent_bead_id="p")
    town.agent("p", last_dispatch_bead_id=last_bead, last_activity_at=T - beat_ago, generation=1)
    report = town.tick()
    assert deeds(report) == (REOPENED if lost else [])
    if not lost:
        assert report.next_due == min(T - beat_ago + timedelta(seconds=90), updated + timedelta(minutes=30)) + MS


@scenario(51)
def test_a_bead_that_an_agent_works_on_is_not_lost() -> None:
    town = a_lost_bead(ago(minutes=5, ms=1)).agent("p", status="working", hook="b")
    assert deeds(town.tick()) == []


# --- B4: reviewed beads -----------------------------------------------------------------------------


@scenario(52)
@pytest.mark.parametrize(
    ("reviews", "status"),
    [
        (["failed", "closed"], "closed"),
        (["failed", "failed"], "open"),
        (["failed", "open"], "in_review"),
        ([], "open"),
    ],
)
def test_a_bead_in_review_follows_its_reviews(reviews: list[str], status: str) -> None:
    town = a_town().bead("b", status="in_review", updated_at=ago(minutes=5, ms=1), assignee_agent_bead_id="p")
    for number, state in enumerate(reviews):
        town.review(f"m-{number}", state, of="b", dispatch_attempts=1, last_dispatch_attempt_at=ago(seconds=5))
    reopened = ["beads.settle_reviewed: transition_bead b open", "beads.settle_reviewed: clear_bead_assignee b"]
    wanted = {"closed": ["beads.settle_reviewed: transition_bead b closed"], "open": reopened, "in_review": []}
    assert deeds(town.tick()) == wanted[status]
    assert town.one("beads", "b", "status", "assignee_agent_bead_id") == (status, None if status == "open" else "p")


@scenario(52)
@pytest.mark.parametrize(("age", "settled"), around(limits.REVIEW_RECOVERY_AFTER), ids=BOUNDARY)
def test_a_bead_in_review_without_a_live_review_has_five_minutes(age: timedelta, settled: bool) -> None:
    town = a_town().bead("b", status="in_review", updated_at=T - age)
    report = town.tick()
    assert (town.status("b") == "open") is settled
    assert report.next_due == (T if settled else T - age + limits.REVIEW_RECOVERY_AFTER + MS)


# --- What becomes of a dispatch ---------------------------------------------------------------------


@scenario(53)
def test_an_attempt_counts_even_if_its_effect_is_never_performed() -> None:
    town = a_waiting_agent(attempts=0)
    town.tick()
    assert town.one("beads", "b", "dispatch_attempts") == 1
    town.tick(at=T + limits.EFFECT_CLAIM)
    assert town.one("beads", "b", "dispatch_attempts") == 1
    [(effect, state)] = town.rows("SELECT effect_id, state FROM outbox WHERE kind = 'dispatch_agent'")
    assert (len(effect), state) == (64, "claimed")
    town.tick(at=T + limits.EFFECT_CLAIM + MS)
    assert outbox(town, "dispatch_agent")[0] == ("dispatch_agent", "p", 2, "expired")


@scenario(54)
def test_a_start_that_succeeds_forgives_a_polecat_and_not_a_refinery() -> None:
    town = (
        a_waiting_agent(dispatch_attempts=2)
        .review("m", "in_progress")
        .agent("f", "refinery", hook="m", dispatch_attempts=2)
    )
    dispatched = town.tick()
    counted = [town.one("agent_metadata", agent, "dispatch_attempts") for agent in ("p", "f")]
    assert counted == [3, 3]
    report = town.tick(*answers(dispatched, T + SECOND, only=STARTS), at=T + 5 * SECOND)
    assert outcomes(report) == [("dispatch_result", "applied")] * 2
    assert town.one("agent_metadata", "p", "dispatch_attempts", "last_dispatch_outcome") == (0, "started")
    assert town.one("agent_metadata", "f", "dispatch_attempts", "last_dispatch_outcome") == (3, "started")
    assert town.one("agent_metadata", "p", "container_process_id") == "process-2"
    assert outbox(town, "stop_agent") == [("stop_agent", "p", 1, "claimed"), ("stop_agent", "f", 1, "claimed")]


@scenario(55)
def test_a_rejected_start_frees_the_agent_at_once_and_is_tried_again_after_the_backoff() -> None:
    town = a_waiting_agent(attempts=0)
    dispatched = town.tick()
    refused = answers(dispatched, T + 2 * SECOND, starts="rejected", reason="connection refused", only=STARTS)
    report = town.tick(*refused, at=T + 5 * SECOND)
    assert (outcomes(report), deeds(report)) == ([("dispatch_result", "applied")], [])
    assert town.doing("p") == ("idle", "b")
    assert town.one("agent_metadata", "p", "last_dispatch_outcome") == "rejected"
    assert town.one("beads", "b", "status", "last_dispatch_failed_at") == ("in_progress", to_text(T + 5 * SECOND))
    assert town.rows("SELECT metadata FROM bead_events WHERE event_type = 'notification_failed'") == [
        ('{"reason":"connection refused"}',)
    ]
    assert report.next_due == T + 30 * SECOND + MS
    assert deeds(town.tick(at=T + 30 * SECOND)) == []
    assert deeds(town.tick(at=T + 30 * SECOND + MS)) == [AGAIN]


@scenario(56)
def test_an_unknown_start_that_beats_goes_on() -> None:
    town = a_waiting_agent(attempts=0)
    dispatched = town.tick()
    report = town.tick(*answers(dispatched, T + SECOND, starts="unknown", only=STARTS), at=T + 5 * SECOND)
    assert outcomes(report) == [("dispatch_result", "applied")]
    assert town.one("agent_metadata", "p", "status", "last_dispatch_outcome") == ("working", "unknown")
    now = T + 5 * SECOND
    for _ in range(10):
        now += 30 * SECOND
        assert deeds(town.tick(beat("p", now, generation=2), at=now)) == []
    assert town.one("agent_metadata", "p", "status", "last_dispatch_outcome") == ("working", "alive")
    assert len(outbox(town, "dispatch_agent")) == 1


@scenario(56)
def test_an_unknown_start_that_never_beats_is_lost_after_90_seconds() -> None:
    town = a_waiting_agent(attempts=0)
    dispatched = town.tick()
    town.tick(*answers(dispatched, T + SECOND, starts="unknown"), at=T + 5 * SECOND)
    assert deeds(town.tick(at=T + 90 * SECOND)) == []
    assert town.reports[-1].next_due == T + 90 * SECOND + MS
    assert deeds(town.tick(at=T + 90 * SECOND + MS)) == ["agents.heartbeat_lost: transition_agent p idle"]
    assert town.one("beads", "b", "last_dispatch_failed_at") == to_text(T + 90 * SECOND + MS)


@scenario(57)
def test_a_rejection_that_comes_after_a_heartbeat_is_late() -> None:
    town = a_waiting_agent(attempts=0)
    dispatched = town.tick()
    refused = answers(dispatched, T + 3 * SECOND, starts="rejected", only=STARTS)
    report = town.tick(beat("p", T + 2 * SECOND, generation=2), *refused, at=T + 5 * SECOND)
    assert outcomes(report) == [("agent_heartbeat", "applied"), ("dispatch_result", "skipped: late")]
    assert town.doing("p") == ("working", "b")
    assert town.one("beads", "b", "last_dispatch_failed_at") is None


@scenario(58)
def test_a_dispatch_without_a_rig_is_rejected_until_its_bead_fails() -> None:
    town = a_waiting_agent(attempts=0, rig=None).update("beads", "b", rig_id=None)
    report = town.tick()
    start = next(effect for effect in report.effects if effect.kind == "dispatch_agent")
    assert start.payload["rig"] is None
    expected = failure(generation=2, outcome="rejected", reason="no_rig_config")
    assert perform._answer(start, perform.Outside()) == expected
    now = T
    while town.status("b") != "failed":
        results = answers(report, now + SECOND, starts="rejected", reason="no_rig_config", only=STARTS)
        now = max(report.next_due or now, now + 2 * SECOND)
        assert now < T + timedelta(hours=1)
        report = town.tick(*results, at=now)
    assert town.one("beads", "b", "dispatch_attempts") == 5
    assert deeds(report)[:2] == [
        "beads.redispatch_hooked: transition_bead b failed",
        "beads.redispatch_hooked: unhook_agent p",
    ]
    assert [row[2:] for row in outbox(town, "dispatch_agent")] == [(n, "failed") for n in (2, 3, 4, 5, 6)]


@scenario(59)
def test_the_result_of_an_older_generation_changes_nothing() -> None:
    town = a_waiting_agent(attempts=0)
    first = town.tick()
    now = T + 90 * SECOND
    while town.one("agent_metadata", "p", "generation") == 2:
        now += 5 * SECOND
        town.tick(at=now)
        assert now < T + timedelta(minutes=5)
    before = town.one("agent_metadata", "p", "status", "generation", "last_dispatch_outcome", "container_process_id")
    report = town.tick(*answers(first, now + SECOND, only=STARTS), at=now + 5 * SECOND)
    assert outcomes(report) == [("dispatch_result", "skipped: stale generation")]
    after = town.one("agent_metadata", "p", "status", "generation", "last_dispatch_outcome", "container_process_id")
    assert before == after == ("working", 3, "pending", None)


@scenario(60)
def test_a_dispatch_of_an_agent_that_lost_its_hook_in_the_same_pass_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two rules of ours do this; the guard must hold all the same."""
    town = a_waiting_agent()

    def unhook_then_dispatch(*_: object) -> list[Decision]:
        return [UnhookAgent(agent_id="p", reason="test"), DispatchAgent(agent_id="p", bead_id="b", rig_id="rig-1")]

    rule = Rule("test", unhook_then_dispatch)  # type: ignore[arg-type]
    monkeypatch.setattr(reconcile, "decide", partial(reconcile.decide, rules=(rule,)))
    report = town.tick()
    assert [(judged.outcome, judged.reason) for judged in report.actions] == [
        ("applied", None),
        ("skipped", "moved_on"),
    ]
    assert report.metrics.actions_skipped == 1
    assert town.one("beads", "b", "dispatch_attempts") == 1
    assert town.one("agent_metadata", "p", "status", "dispatch_attempts", "generation") == ("idle", 0, 1)
    assert outbox(town, "dispatch_agent") == []


@scenario(61)
def test_a_runtime_that_refuses_for_seventy_hours_costs_five_attempts_a_bead() -> None:
    town = a_town()
    for number in range(30):
        town.bead(f"b-{number:02}", created_at=ago(hours=1))
    now, pending, report = T, [], town.tick()
    while now < T + timedelta(hours=70):
        pending = answers(report, now + SECOND, starts="rejected", reason="connection refused")
        if pending:  # the mayor reads what it is told and goes back to sleep
            pending.append(event("agent_completed", {"status": "completed"}, at=now + 2 * SECOND))
        if report.next_due is None and not pending:
            break
        wanted = now + 5 * SECOND if pending else report.next_due
        now = max(wanted or now, now + 5 * SECOND)
        report = town.tick(*pending, at=now)
    attempts = [row[0] for row in town.rows("SELECT dispatch_attempts FROM beads WHERE bead_id LIKE 'b-%'")]
    assert max(attempts) == 5
    assert (
        sum(attempts) == len([line for seen in town.reports for line in deeds(seen) if "dispatch_agent" in line]) <= 150
    )
    assert town.rows("SELECT status, COUNT(*) FROM beads WHERE type = 'issue' GROUP BY status") == [("failed", 30)]


# --- A rig that is full -----------------------------------------------------------------------------


def a_full_rig(**config: object) -> TownBuilder:
    """Two polecats work in rig-1, which has room for two."""
    town = (
        a_town().config(max_polecats_per_rig=2).rig("rig-2", name="other").update("rigs", "rig-1", config=dict(config))
    )
    for agent in ("p1", "p2"):
        town.bead(f"b-{agent}", status="in_progress", assignee_agent_bead_id=agent)
        town.agent(agent, status="working", hook=f"b-{agent}")
    return town


@scenario(208)
def test_a_ready_bead_waits_while_its_rig_is_full_and_goes_when_a_place_is_free() -> None:
    town = a_full_rig().bead("b")
    first = town.tick()
    assert deeds(first) == []
    assert town.waiting() == {"rig_full": 1}
    done = event("agent_done", {"branch": "gt/toast/1", "generation": 1}, agent="p1")
    report = town.tick(done, at=T + 5 * SECOND)
    assert outcomes(report) == [("agent_done", "applied")]
    assert deeds(report, of="beads") == [AT_ONCE]


@scenario(208)
def test_a_stalled_agent_keeps_its_place_and_other_rigs_do_not_count() -> None:
    town = a_full_rig().update("agent_metadata", "p1", status="stalled", stalled_at=ago(minutes=1))
    town.bead("b").bead("elsewhere", rig_id="rig-2")
    assert deeds(town.tick()) == ["beads.dispatch_ready: dispatch_agent elsewhere"]


@scenario(208)
def test_a_rig_may_have_more_room_than_the_town_gives() -> None:
    assert deeds(a_full_rig(max_concurrent_polecats=3).bead("b").tick()) == [AT_ONCE]


@scenario(208)
def test_one_free_place_goes_to_the_oldest_of_three_beads() -> None:
    town = a_full_rig(max_concurrent_polecats=3)
    for number, bead in enumerate(["young", "old", "middle"]):
        town.bead(bead, created_at=ago(hours=[1, 3, 2][number]))
    report = town.tick()
    assert deeds(report) == ["beads.dispatch_ready: dispatch_agent old"]
    assert town.waiting() == {"rig_full": 2}


@scenario(209)
def test_an_agent_that_keeps_its_hook_waits_for_a_place_and_gets_it_before_a_ready_bead() -> None:
    town = (
        a_full_rig().bead("ready", created_at=ago(days=1)).bead("b", assignee_agent_bead_id="p3").agent("p3", hook="b")
    )
    first = town.tick()
    assert deeds(first) == []
    assert town.waiting() == {"rig_full": 2}
    done = event("agent_done", {"branch": "gt/toast/1", "generation": 1}, agent="p1")
    report = town.tick(done, at=T + 5 * SECOND)
    assert deeds(report, of="beads") == ["beads.redispatch_hooked: dispatch_agent p3 b"]


# --- B1: priority -------------------------------------------------------------------------------------------------


def one_place(town: TownBuilder) -> TownBuilder:
    """A rig for one polecat, in which b is critical and has just been created."""
    return town.config(max_polecats_per_rig=1).bead("b", priority="critical", created_at=ago(seconds=1))


@scenario(280)
@pytest.mark.parametrize(
    ("priority", "waited", "first"),
    [
        ("low", timedelta(minutes=1), "b"),
        ("low", timedelta(days=3) - MS, "b"),
        ("low", timedelta(days=3), "other"),
        ("medium", timedelta(days=2) - MS, "b"),
        ("medium", timedelta(days=2), "other"),
        ("high", timedelta(days=1), "other"),
        ("critical", timedelta(seconds=2), "other"),
        ("critical", timedelta(0), "b"),
        ("low", timedelta(days=400), "other"),
        ("high", -timedelta(days=400), "b"),
    ],
)
def test_the_most_urgent_bead_gets_the_only_place_and_waiting_makes_it_more_urgent(
    priority: str, waited: timedelta, first: str
) -> None:
    town = one_place(a_town()).bead("other", priority=priority, created_at=T - waited)
    assert deeds(town.tick()) == [f"beads.dispatch_ready: dispatch_agent {first}"]


@scenario(280)
def test_a_polecat_that_keeps_its_bead_goes_before_a_more_urgent_one() -> None:
    town = one_place(a_town()).bead("low", priority="low", assignee_agent_bead_id="p").agent("p", hook="low")
    assert deeds(town.tick()) == ["beads.redispatch_hooked: dispatch_agent p low"]


@scenario(622)
def test_on_a_machine_that_loses_every_start_each_bead_gets_its_turn() -> None:
    """Seen: a machine was too slow for its agents. The two oldest beads were started again and again, the others never."""
    town = a_town().config(max_polecats_per_rig=2)
    for number in range(6):
        town.bead(f"b{number}", created_at=ago(hours=6 - number))
    started: list[str] = []
    for number in range(40):
        report = town.tick(
            at=T + number * timedelta(seconds=30)
        )  # nobody hears of an agent after its start, so it is lost
        started += [deed.rpartition(" ")[2] for deed in deeds(report, of="beads") if "dispatch_agent" in deed]
    assert started[:6] == [f"b{number}" for number in range(6)], "each is started once before one is started twice"
    assert sorted(started[:12]) == sorted([f"b{number}" for number in range(6)] * 2)


@scenario(622)
@pytest.mark.parametrize(
    ("columns", "first"),
    [
        ({}, "old"),
        ({"last_dispatch_attempt_at": ago(minutes=30), "dispatch_attempts": 1}, "new"),
        ({"last_dispatch_attempt_at": ago(hours=2), "dispatch_attempts": 1}, "old"),
        ({"last_dispatch_attempt_at": ago(minutes=30), "priority": "high"}, "old"),
        ({"last_dispatch_attempt_at": ago(minutes=30), "created_at": ago(days=1)}, "old"),
    ],
    ids=["never tried", "tried later", "tried before the other came", "a higher level", "a level that it has reached"],
)
def test_a_bead_whose_attempt_ended_without_work_goes_to_the_end_of_its_level(
    columns: dict[str, object], first: str
) -> None:
    town = a_town().config(max_polecats_per_rig=1).bead("new", created_at=ago(hours=1))
    town.bead("old", **{"created_at": ago(hours=3), **columns})  # type: ignore[arg-type]
    assert deeds(town.tick()) == [f"beads.dispatch_ready: dispatch_agent {first}"]


@scenario(622)
def test_a_bead_whose_work_was_reviewed_keeps_its_age() -> None:
    town = a_town().config(max_polecats_per_rig=1).bead("new", created_at=ago(hours=1))
    town.bead("old", created_at=ago(hours=3), last_dispatch_attempt_at=ago(minutes=30), dispatch_attempts=1)
    town.review("m", "failed", of="old", created_at=ago(minutes=20))
    assert deeds(town.tick()) == ["beads.dispatch_ready: dispatch_agent old"]


@scenario(280)
def test_the_queue_of_a_full_rig_has_the_order_of_the_rule() -> None:
    town = (
        a_town().config(max_polecats_per_rig=1).bead("w", status="in_progress").agent("p", status="working", hook="w")
    )
    for number, priority in enumerate(("low", "critical", "medium", "high")):
        town.bead(f"{priority}-new", priority=priority, created_at=ago(hours=5 - number))
    town.bead("low-old", priority="low", created_at=ago(days=2))
    found = {each.queue.position: name for name, each in town.waits().items() if each.queue is not None}
    order = [found[position] for position in sorted(found)]
    assert order == ["critical-new", "low-old", "high-new", "medium-new", "low-new"]
    town.update("agent_metadata", "p", status="idle", current_hook_bead_id=None)
    taken = []
    for number, _ in enumerate(order):
        report = town.tick(at=T + number * SECOND)
        taken += [judged.action["bead_id"] for judged in report.actions if judged.rule == "beads.dispatch_ready"]
        town.sql.execute("UPDATE beads SET status = 'closed' WHERE status = 'in_progress'")
        town.sql.execute(
            "UPDATE agent_metadata SET status = 'idle', current_hook_bead_id = NULL WHERE role = 'polecat'"
        )
    assert taken == order


# --- no agent program ---------------------------------------------------------------------------------------------


@scenario(287)
def test_beads_wait_for_an_agent_program_without_failing_and_somebody_is_told_after_a_day() -> None:
    world = a_world(a_town().bead("b").review("m", created_by="ann"))
    world.runtime.fails("start", StartRejected("no program for agents is set", kind="no_agent_program"), times=None)
    world.live_through(timedelta(minutes=10), every=SECOND * 30)
    world.clock.at += SECOND * 5
    world.run()  # applies the last answers
    early = world.town()
    assert len(outbox(early, "dispatch_agent")) == 10
    waits = early.waits(world.clock.now())
    for bead_id in ("b", "m"):
        assert early.one("beads", bead_id, "status", "dispatch_attempts", "assignee_agent_bead_id") == ("open", 0, None)
        assert (waits[bead_id].reason, waits[bead_id].actor) == ("no_agent_program", "operator")
        assert waits[bead_id].since == T + timedelta(minutes=1)
    world.live_through(timedelta(hours=25), every=timedelta(minutes=5))
    late = world.town()
    assert late.rows("SELECT DISTINCT status FROM beads WHERE bead_id IN ('b', 'm')") in (
        [("open",)],
        [("in_progress",)],
    )
    assert late.value("breaker")["open"] is False
    raised = late.rows(
        "SELECT json_extract(metadata, '$.cause'), status FROM beads WHERE type = 'escalation' ORDER BY 1"
    )
    assert raised == [("no_agent_program:b", "open"), ("no_agent_program:m", "open")]
    world.runtime.recovers("start")
    world.live_through(timedelta(minutes=45), every=timedelta(minutes=5))
    assert {order.bead.id for order in world.runtime.orders if order.bead is not None} == {"b", "m"}
    assert world.town().rows("SELECT DISTINCT status FROM beads WHERE type = 'escalation'") == [("closed",)]

"""Scenarios 1 to 23: agents that fell silent, stalled, or hold a hook that leads nowhere."""

from datetime import timedelta

import pytest

from shared.domain import limits
from shared.domain.times import to_text
from tests.scenarios.stories import BOUNDARY, Given, around, as_usual, beat, deeds, draining, outbox, settling
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event

LOST = limits.HEARTBEAT_LOST_AFTER


def a_town_at_work(**agent: object) -> TownBuilder:
    """P works on B; what is given changes the agent."""
    return (
        a_town()
        .bead("b", "issue", "in_progress", assignee_agent_bead_id="p")
        .agent("p", **{"status": "working", "hook": "b", **agent})  # type: ignore[arg-type]
    )


# --- A0 to A3: heartbeats ---------------------------------------------------------------------------


@scenario(1)
def test_a_worker_that_never_gave_a_sign_of_life_becomes_idle_and_keeps_its_hook() -> None:
    town = a_town_at_work(last_activity_at=None, last_dispatch_outcome="started")
    report = town.tick()
    assert deeds(report) == ["agents.heartbeat_never_seen: transition_agent p idle"]
    assert town.doing("p") == ("idle", "b")
    assert town.one("agent_metadata", "p", "last_dispatch_outcome") == "lost"


@scenario(2, 3, 4)
@pytest.mark.parametrize(("silent_for", "lost"), around(LOST), ids=BOUNDARY)
def test_a_worker_is_lost_after_more_than_90_seconds_of_silence(silent_for: timedelta, lost: bool) -> None:
    town = a_town_at_work(last_activity_at=T - silent_for)
    report = town.tick()
    assert deeds(report) == (["agents.heartbeat_lost: transition_agent p idle"] if lost else [])
    assert town.doing("p") == ("idle" if lost else "working", "b")
    assert town.status("b") == "in_progress"


@scenario(3)
def test_a_silent_worker_is_looked_at_the_moment_it_can_be_lost() -> None:
    town = a_town_at_work(last_activity_at=T - LOST)
    report = town.tick()
    assert report.next_due == T + MS
    assert deeds(town.tick(at=report.next_due)) == ["agents.heartbeat_lost: transition_agent p idle"]


@scenario(5)
@pytest.mark.parametrize(
    ("outcome", "outcome_then", "failed_at"),
    [
        ("pending", "lost", to_text(T)),
        ("started", "lost", to_text(T)),
        ("unknown", "lost", to_text(T)),
        ("alive", "alive", None),
        ("rejected", "rejected", None),
    ],
)
def test_only_a_dispatch_that_was_never_seen_alive_counts_as_a_failed_start(
    outcome: str, outcome_then: str, failed_at: str | None
) -> None:
    town = a_town_at_work(last_activity_at=T - LOST - MS, last_dispatch_outcome=outcome)
    assert deeds(town.tick()) == ["agents.heartbeat_lost: transition_agent p idle"]
    assert town.one("agent_metadata", "p", "last_dispatch_outcome") == outcome_then
    assert town.one("beads", "b", "last_dispatch_failed_at") == failed_at


@scenario(6)
@pytest.mark.parametrize("seen", [ago(hours=1), None, ago(seconds=5)])
def test_the_mayor_is_not_held_to_heartbeats_or_hooks(seen: object) -> None:
    town = a_town().update("agent_metadata", "mayor", status="working", last_activity_at=seen)
    report = town.tick()
    assert deeds(report, of="agents") == []
    assert town.doing("mayor") == ("working", None)


@scenario(7)
@pytest.mark.parametrize("circumstance", [draining, settling])
@pytest.mark.parametrize("seen", [ago(seconds=90, ms=1), None])
def test_nobody_is_lost_while_the_town_drains_or_settles(circumstance: Given, seen: object) -> None:
    town = circumstance(a_town_at_work(last_activity_at=seen))
    assert deeds(town.tick()) == []
    assert town.doing("p") == ("working", "b")


@scenario(7)
def test_a_silent_worker_is_lost_as_soon_as_the_drain_is_over() -> None:
    town = a_town_at_work(last_activity_at=ago(seconds=90, ms=1))
    evicted = town.tick(event("container_eviction", event_id="eviction-1"))
    assert deeds(evicted) == []
    nonce = town.value("drain")["nonce"]
    ready = town.tick(event("container_ready", {"nonce": nonce}), at=T + timedelta(seconds=5))
    assert deeds(ready) == ["agents.heartbeat_lost: transition_agent p idle"]


@scenario(8)
def test_a_worker_without_a_hook_becomes_idle_and_no_violation_is_captured() -> None:
    town = a_town().agent("p", status="working", generation=1)
    first, second = town.ticks(2)
    assert deeds(first) == ["agents.release_hookless_worker: transition_agent p idle"]
    assert town.doing("p") == ("idle", None)
    assert deeds(second) == []
    assert (first.violations, first.alerts, second.violations, second.alerts) == ((), (), (), ())


@scenario(8)
def test_a_worker_without_a_hook_is_left_alone_while_draining() -> None:
    town = draining(a_town().agent("p", status="working", generation=1))
    assert deeds(town.tick()) == []
    assert town.doing("p") == ("working", None)


@scenario(8)
def test_a_silent_worker_without_a_hook_belongs_to_the_heartbeat_rule_alone() -> None:
    town = a_town().agent("p", status="working", last_activity_at=ago(seconds=90, ms=1))
    assert deeds(town.tick()) == ["agents.heartbeat_lost: transition_agent p idle"]


# --- A4: stalled ------------------------------------------------------------------------------------


RETIRED = ["agents.retire_stalled: transition_agent p idle", "agents.retire_stalled: unhook_agent p"]


@scenario(9)
@pytest.mark.parametrize(("stalled_for", "retired"), around(limits.STALLED_IDLE_AFTER), ids=BOUNDARY)
def test_a_stalled_agent_is_retired_after_more_than_two_and_a_half_hours(stalled_for: timedelta, retired: bool) -> None:
    town = a_town_at_work(status="stalled", stalled_at=T - stalled_for)
    report = town.tick()
    assert deeds(report) == (RETIRED if retired else [])
    assert town.doing("p") == (("idle", None) if retired else ("stalled", "b"))
    if not retired:
        assert report.next_due == T - stalled_for + limits.STALLED_IDLE_AFTER + MS


@scenario(9)
def test_a_stalled_agent_without_a_hook_just_becomes_idle() -> None:
    town = a_town().agent("p", status="stalled", stalled_at=ago(hours=3))
    assert deeds(town.tick()) == ["agents.retire_stalled: transition_agent p idle"]


@scenario(9)
def test_only_a_stalled_agent_is_retired() -> None:
    assert deeds(a_town_at_work(stalled_at=ago(hours=3)).tick()) == []


@scenario(10)
def test_heartbeats_of_a_stalled_agent_do_not_put_off_its_retirement() -> None:
    town = a_town_at_work(last_event_at=to_text(ago(hours=2, ms=1)))
    assert deeds(town.tick(), of="liveness") == [
        "liveness.force_stop: transition_agent p stalled",
        "liveness.force_stop: stop_agent p",
        "liveness.force_stop: create_triage_request p stuck_agent",
    ]
    retirement = T + limits.STALLED_IDLE_AFTER + MS
    now = T
    while now + timedelta(minutes=2) < retirement:
        now += timedelta(minutes=2)
        assert deeds(town.tick(beat("p", now, generation=1), at=now), of="agents.retire_stalled") == []
    assert deeds(town.tick(at=retirement - MS), of="agents.retire_stalled") == []
    assert deeds(town.tick(beat("p", retirement, generation=1), at=retirement), of="agents.retire_stalled") == RETIRED


@scenario(11)
@pytest.mark.parametrize("circumstance", [draining, settling])
def test_nobody_is_retired_while_the_town_drains_or_settles(circumstance: Given) -> None:
    town = a_town_at_work(status="stalled", stalled_at=ago(hours=2, minutes=30, ms=1))
    town.agent("q", status="working", hook="c").bead("c", "issue", "in_progress", assignee_agent_bead_id="q")
    assert deeds(circumstance(town).tick()) == []
    assert town.doing("p") == ("stalled", "b")


# --- A5: attempts -----------------------------------------------------------------------------------


@scenario(12)
@pytest.mark.parametrize(
    ("attempts", "seen", "left"),
    [
        (5, ago(minutes=30), 5),
        (5, ago(minutes=30, ms=1), 0),
        (5, ago(minutes=30, ms=-1), 5),
        (6, ago(minutes=30, ms=1), 0),
        (4, ago(minutes=30, ms=1), 4),
        (5, None, 5),
    ],
)
def test_half_an_hour_of_quiet_forgives_an_agent_its_attempts(attempts: int, seen: object, left: int) -> None:
    town = a_town().agent("p", dispatch_attempts=attempts, last_activity_at=seen)
    report = town.tick()
    assert deeds(report) == ([] if left else ["agents.cool_down_attempts: reset_agent_dispatch_attempts p"])
    assert town.one("agent_metadata", "p", "dispatch_attempts") == left


@scenario(12)
def test_an_agent_is_looked_at_when_its_attempts_can_be_forgiven() -> None:
    town = a_town().agent("p", dispatch_attempts=5, last_activity_at=ago(minutes=30))
    assert town.tick().next_due == T + MS


def a_tired_agent(bead_status: str, *, attempts: int = 3) -> TownBuilder:
    """P is hooked to B, which waits for another bead, and has used up its attempts half an hour ago."""
    return (
        a_town()
        .bead("first", labels=["gt:held"])
        .bead("b", status=bead_status, dispatch_attempts=attempts, last_dispatch_attempt_at=ago(hours=1))
        .edge("b", "first")
        .agent("p", hook="b", dispatch_attempts=5, last_activity_at=ago(minutes=30, ms=1))
    )


@scenario(13)
@pytest.mark.parametrize("circumstance", [as_usual, draining])
def test_the_hooked_bead_is_forgiven_too(circumstance: Given) -> None:
    town = circumstance(a_tired_agent("open"))
    assert deeds(town.tick()) == ["agents.cool_down_attempts: reset_agent_dispatch_attempts p"]
    assert town.one("beads", "b", "dispatch_attempts", "last_dispatch_attempt_at", "status") == (0, None, "open")
    assert town.one("agent_metadata", "p", "dispatch_attempts") == 0


@scenario(13)
def test_forgiveness_does_not_raise_a_failed_bead_from_the_dead() -> None:
    town = a_tired_agent("failed", attempts=5)
    assert deeds(town.tick(), of="agents.cool_down_attempts") == [
        "agents.cool_down_attempts: reset_agent_dispatch_attempts p"
    ]
    assert town.one("beads", "b", "dispatch_attempts", "status") == (5, "failed")


# --- A6, A7: hooks that lead nowhere ----------------------------------------------------------------


@scenario(14)
@pytest.mark.parametrize("status", ["idle", "dead"])
def test_a_hook_on_a_bead_that_does_not_exist_is_dropped(status: str) -> None:
    town = a_town().agent("p", status=status, hook="nowhere", checkpoint='{"step":1}')
    assert deeds(town.tick()) == [
        "agents.drop_dangling_hook: unhook_agent p",
        "agents.drop_dangling_hook: clear_agent_checkpoint p (skipped: already)",
    ]
    assert town.doing("p") == (status, None)
    assert town.one("agent_metadata", "p", "checkpoint") is None


@scenario(15)
@pytest.mark.parametrize("circumstance", [as_usual, draining])
@pytest.mark.parametrize("role", ["polecat", "refinery"])
@pytest.mark.parametrize("bead_status", ["closed", "failed"])
def test_an_idle_agent_lets_go_of_a_bead_that_is_over(circumstance: Given, role: str, bead_status: str) -> None:
    town = a_town().agent("p", role, hook="b", checkpoint='{"step":1}')
    town = town.bead("b", status=bead_status) if role == "polecat" else town.review("b", bead_status)
    assert deeds(circumstance(town).tick()) == [
        "agents.drop_finished_hook: unhook_agent p",
        "agents.drop_finished_hook: clear_agent_checkpoint p (skipped: already)",
    ]
    assert town.doing("p") == ("idle", None)
    assert town.one("agent_metadata", "p", "checkpoint") is None


# --- A8, A9, A10: silent hooks ----------------------------------------------------------------------


def an_idle_agent_on(bead_status: str, *, silent_for: timedelta, **agent: object) -> TownBuilder:
    """P is idle and hooked to B, one dispatch ago."""
    return (
        a_town()
        .bead(
            "b",
            status=bead_status,
            assignee_agent_bead_id="p",
            dispatch_attempts=1,
            last_dispatch_attempt_at=ago(minutes=10),
        )
        .agent("p", **{"hook": "b", "last_activity_at": T - silent_for, **agent})  # type: ignore[arg-type]
    )


@scenario(16)
@pytest.mark.parametrize(("silent_for", "recovered"), around(LOST), ids=BOUNDARY)
def test_a_silent_idle_agent_gives_its_bead_back(silent_for: timedelta, recovered: bool) -> None:
    town = an_idle_agent_on("in_progress", silent_for=silent_for, last_dispatch_outcome="lost")
    report = town.tick()
    gives_back = ["agents.recover_silent_hook: unhook_agent p", "agents.recover_silent_hook: transition_bead b open"]
    assert deeds(report) == (gives_back if recovered else [])
    assert town.doing("p") == ("idle", None if recovered else "b")
    assert town.status("b") == ("open" if recovered else "in_progress")
    assert report.next_due == (T if recovered else T - silent_for + LOST + MS)


@scenario(16)
def test_a_bead_that_was_given_back_is_freed_in_the_next_tick_and_dispatched_in_the_one_after() -> None:
    town = an_idle_agent_on("in_progress", silent_for=LOST + MS, last_dispatch_outcome="lost")
    _, second, third = town.ticks(3)
    assert deeds(second) == ["beads.clear_stale_assignee: clear_bead_assignee b"]
    assert deeds(third) == ["beads.dispatch_ready: dispatch_agent b"]
    assert town.doing("p") == ("working", "b")
    assert town.one("beads", "b", "dispatch_attempts") == 2


@scenario(16)
def test_a_bead_that_was_given_back_still_waits_for_its_backoff() -> None:
    town = an_idle_agent_on("in_progress", silent_for=LOST + MS, last_dispatch_outcome="lost")
    town.update("beads", "b", dispatch_attempts=4, last_dispatch_attempt_at=ago(seconds=95))
    _, second, third = town.ticks(3)
    assert deeds(second) == ["beads.clear_stale_assignee: clear_bead_assignee b"]
    assert deeds(third) == []
    over = ago(seconds=95) + timedelta(minutes=5)
    assert third.next_due == over + MS
    assert deeds(town.tick(at=over)) == []
    assert deeds(town.tick(at=over + MS)) == ["beads.dispatch_ready: dispatch_agent b"]


@scenario(17)
def test_a_silent_agent_on_an_open_bead_is_simply_dispatched_again() -> None:
    town = an_idle_agent_on("open", silent_for=timedelta(minutes=10))
    assert deeds(town.tick()) == ["beads.redispatch_hooked: dispatch_agent p b"]
    assert town.doing("p") == ("working", "b")


@scenario(18)
def test_after_a_rejection_everybody_waits_for_the_backoff() -> None:
    town = an_idle_agent_on("in_progress", silent_for=timedelta(minutes=4), last_dispatch_outcome="rejected")
    town.update("beads", "b", dispatch_attempts=4, last_dispatch_attempt_at=ago(minutes=4), updated_at=ago(minutes=6))
    report = town.tick()
    assert deeds(report) == []
    assert report.next_due == T + timedelta(minutes=1) + MS
    assert deeds(town.tick(at=report.next_due)) == ["beads.redispatch_hooked: dispatch_agent p b"]


@scenario(19)
def test_a_silent_refinery_goes_on_with_its_review() -> None:
    town = (
        a_town()
        .review("m", "in_progress", dispatch_attempts=1, last_dispatch_attempt_at=ago(minutes=10))
        .agent("f", "refinery", hook="m", last_activity_at=ago(minutes=10))
    )
    assert deeds(town.tick()) == ["reviews.redispatch_refinery: dispatch_agent f m"]
    assert town.doing("f") == ("working", "m")
    assert town.one("agent_metadata", "f", "generation") == 2
    assert outbox(town) == [("stop_agent", "f", 1, "claimed"), ("dispatch_agent", "f", 2, "claimed")]


@scenario(20)
@pytest.mark.parametrize("outcome", ["alive", "lost", "rejected"])
def test_a_silent_refinery_lets_go_of_an_open_review(outcome: str) -> None:
    town = (
        a_town()
        .review("m")
        .agent("f", "refinery", hook="m", last_activity_at=ago(seconds=91), last_dispatch_outcome=outcome)
    )
    assert deeds(town.tick()) == ["agents.recover_silent_hook: unhook_agent f"]
    assert (town.doing("f"), town.status("m")) == (("idle", None), "open")


@scenario(21)
def test_a_silent_agent_stays_hooked_to_a_bead_in_review() -> None:
    town = an_idle_agent_on("in_review", silent_for=timedelta(hours=1))
    town.review("m", "in_progress", of="b", pr_url="https://github.com/acme/main-rig/pull/1")
    town.update("beads", "m", metadata={"last_poll_at": to_text(ago(seconds=5))})
    assert deeds(town.tick()) == []
    assert (town.doing("p"), town.status("b")) == (("idle", "b"), "in_review")


@scenario(21)
@pytest.mark.parametrize("status", ["idle", "dead"])
def test_a_hook_in_review_is_not_even_looked_at(status: str) -> None:
    town = an_idle_agent_on("in_review", silent_for=timedelta(seconds=5), status=status)
    town.bead("held", labels=["gt:held"]).review("m", of="b").edge("m", "held")
    assert (deeds(town.tick()), town.tick().next_due) == ([], ago(minutes=1) + limits.TOKEN_REFRESH)
    later = T + timedelta(hours=1)
    assert deeds(town.tick(at=later), of="agents") == []
    assert town.doing("p") == (status, "b")


@scenario(22)
@pytest.mark.parametrize("bead_status", ["closed", "failed"])
@pytest.mark.parametrize("status", ["working", "stalled"])
def test_an_agent_that_works_on_a_bead_that_is_over_is_stopped_and_freed(bead_status: str, status: str) -> None:
    town = a_town_at_work(status=status, checkpoint='{"step":1}').update("beads", "b", status=bead_status)
    first, second = town.ticks(2)
    assert deeds(first) == [
        "agents.release_finished_work: stop_agent p",
        "agents.release_finished_work: transition_agent p idle",
        "agents.release_finished_work: unhook_agent p",
    ]
    assert town.doing("p") == ("idle", None)
    assert town.one("agent_metadata", "p", "checkpoint") is None
    assert outbox(town) == [("stop_agent", "p", 1, "claimed")]
    assert [*first.alerts, *first.violations, *second.alerts, *second.violations] == []


@scenario(22)
@pytest.mark.parametrize("silent", [None, ago(hours=1)])
def test_a_silent_worker_on_a_bead_that_is_over_belongs_to_no_other_rule(silent: object) -> None:
    town = a_town_at_work(last_activity_at=silent).update("beads", "b", status="closed")
    assert {line.partition(":")[0] for line in deeds(town.tick())} == {"agents.release_finished_work"}


@scenario(22)
def test_a_refinery_on_a_review_that_is_over_is_not_touched_by_the_rule_for_polecats() -> None:
    town = a_town().review("m", "closed").agent("f", "refinery", "working", hook="m")
    assert {line.partition(":")[0] for line in deeds(town.tick())} == {"reviews.release_finished_refinery"}


@scenario(23)
@pytest.mark.parametrize("outcome", ["alive", "rejected"])
def test_a_silent_polecat_on_a_review_gives_it_back_even_after_a_rejection(outcome: str) -> None:
    """Nobody dispatches a polecat on a review, so nothing is gained by waiting for a backoff."""
    town = a_town().bead("held", labels=["gt:held"])
    for review, agent, status in (("m1", "p1", "open"), ("m2", "p2", "in_progress")):
        town.review(review, status).edge(review, "held")
        town.agent(agent, hook=review, last_activity_at=ago(minutes=5), last_dispatch_outcome=outcome)
    assert deeds(town.tick()) == [
        "agents.recover_silent_hook: unhook_agent p1",
        "agents.recover_silent_hook: unhook_agent p2",
        "agents.recover_silent_hook: transition_bead m2 open",
    ]


@scenario(23)
@pytest.mark.parametrize("outcome", ["alive", "lost", "rejected"])
def test_a_dead_agent_gives_its_bead_back_and_stays_dead(outcome: str) -> None:
    town = an_idle_agent_on(
        "in_progress", silent_for=timedelta(minutes=5), status="dead", last_dispatch_outcome=outcome
    )
    assert deeds(town.tick()) == [
        "agents.recover_silent_hook: unhook_agent p",
        "agents.recover_silent_hook: transition_bead b open",
    ]
    assert (town.doing("p"), town.status("b")) == (("dead", None), "open")


@scenario(23)
def test_a_dead_agent_lets_go_of_an_open_bead() -> None:
    town = an_idle_agent_on("open", silent_for=timedelta(minutes=5), status="dead")
    assert deeds(town.tick()) == ["agents.recover_silent_hook: unhook_agent p"]
    assert (town.doing("p"), town.status("b")) == (("dead", None), "open")

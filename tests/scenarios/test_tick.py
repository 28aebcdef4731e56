"""Scenarios 171 to 177, 204 and 207: one bad row, rule or action harms nothing else; ticks come when they are due."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import pytest

from shared.actions import TransitionBead
from shared.actions.base import Action
from shared.domain.outcomes import ActionOutcome
from shared.domain.states import BeadStatus
from shared.domain.tick import Tick
from shared.domain.times import to_text
from shared.engine import reconcile
from shared.ports.steps import drive
from shared.rules import RULES
from shared.rules.base import Decision, Rule
from shared.runner.founding import found_town
from shared.town.reading import TownReader
from shared.town.town import Town
from shared.town.writing import beads
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, actions, ago, event, outcome_of, rules_of, types_of
from tests.worlds import World, a_world


def a_busy_town() -> TownBuilder:
    """Something for agents, beads, reviews and convoys to do."""
    return (
        a_town()
        .bead("ready")
        .bead("lost", status="in_progress", updated_at=ago(minutes=6))
        .bead("b1", status="in_progress", assignee_agent_bead_id="silent")
        .agent("silent", status="working", hook="b1", last_activity_at=ago(minutes=3))
        .review("m1", "in_progress", pr_url="https://github.com/acme/main-rig/pull/1")
        .bead("task", status="closed", closed_at=ago(minutes=1))
        .convoy("c1", tracked=["task"], mode="review-and-merge", branch=None)
    )


# 171: one bad row


@pytest.mark.illegal_state
@scenario(171)
def test_bad_rows_are_reported_and_all_others_reconcile_as_without_them() -> None:
    well = a_busy_town()
    ill = a_busy_town().agent("stranger", "witness", "working", hook="ready-not").bead("torn", metadata="{not JSON")

    healthy, report = well.tick(), ill.tick()

    assert actions(report) == actions(healthy)
    assert set(rules_of(report)) >= {
        "agents.heartbeat_lost",
        "beads.dispatch_ready",
        "beads.reopen_lost",
        "reviews.poll_pull_request",
        "convoys.record_progress",
        "convoys.close",
    }
    found = [(seen.invariant, seen.subject, seen.captured) for seen in report.violations]
    assert found == [(1, "agent_metadata stranger", True), (1, "beads torn", True)]
    assert [alert.tags["invariant"] for alert in report.alerts] == ["row_readable", "row_readable"]
    assert report.metrics.invariant_violations == 2


@pytest.mark.illegal_state
@scenario(171)
def test_an_event_about_a_bad_row_fails_alone() -> None:
    town = a_town().agent("stranger", "witness", "working").bead("b1")

    report = town.tick(
        event("agent_heartbeat", agent="stranger", event_id="beat-of-stranger"),
        event("bead_cancelled", bead="b1", event_id="cancel-b1"),
    )

    assert outcome_of(report, "beat-of-stranger") == "failed"
    assert outcome_of(report, "cancel-b1") == "applied"
    assert [(seen.invariant, seen.subject) for seen in report.violations] == [(1, "agent_metadata stranger")]
    assert report.next_due == T + timedelta(seconds=5)


# 172: one bad rule


def fail_halfway(town: TownReader, tick: Tick) -> Iterator[Decision]:
    yield TransitionBead(bead_id="ready", from_=BeadStatus.OPEN, to=BeadStatus.CLOSED, reason="never")
    raise RuntimeError("a bug in a rule")


def also(rule: Rule, *, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this rule is judged too, before all others."""
    decide = partial(reconcile.decide, rules=(rule, *RULES))
    monkeypatch.setattr(reconcile, "decide", decide)


@scenario(172)
def test_a_rule_that_raises_loses_its_own_actions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = a_busy_town().tick()
    town = a_busy_town()
    also(Rule("X1", fail_halfway), monkeypatch=monkeypatch)

    report = town.tick()

    assert actions(report) == actions(healthy)
    assert [(alert.kind, alert.tags["name"]) for alert in report.alerts] == [("rule_failed", "test_tick.fail_halfway")]
    assert report.alerts[0].extra["error"] == "RuntimeError"
    told = [(event.name, event.data) for event in report.business_events if event.name.startswith("tick.")]
    assert told == [("tick.rule_failed", {"name": "test_tick.fail_halfway", "error": "RuntimeError: a bug in a rule"})]
    assert not report.quiet


@scenario(172)
def test_the_same_failure_in_a_row_is_one_alert_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    town = a_town()
    also(Rule("X1", fail_halfway), monkeypatch=monkeypatch)

    told = [
        at
        for at in (T, T + timedelta(seconds=5), T + timedelta(minutes=60), T + timedelta(minutes=60) + MS)
        if [alert.kind for alert in town.tick(at=at).alerts] == ["rule_failed"]
    ]

    assert told == [T, T + timedelta(minutes=60) + MS]


@scenario(172)
@pytest.mark.parametrize(
    ("prepared_before", "error"),
    [(False, "DatabaseError: not authorized"), (True, "RuntimeError: a rule wrote to the town; that was undone")],
)
def test_a_rule_cannot_write(prepared_before: bool, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = "UPDATE beads SET title = 'scribbled' WHERE bead_id = :bead"

    def scribble(town: TownReader, tick: Tick) -> Iterator[Decision]:
        town._sql.execute(statement, {"bead": "ready"})
        yield from ()

    healthy = a_busy_town().tick()
    town = a_busy_town()
    if prepared_before:
        monkeypatch.setattr(TownBuilder, "replays", False)  # on another connection nothing is prepared before
        town.sql.execute(statement, {"bead": "nobody"})
    also(Rule("X2", scribble), monkeypatch=monkeypatch)

    report = town.tick()

    assert actions(report) == actions(healthy)
    assert [event.data["error"] for event in report.business_events if event.name == "tick.rule_failed"] == [error]
    assert [alert.extra["error"] for alert in report.alerts] == [error.partition(":")[0]]
    assert town.one("beads", "ready", "title") == "ready"


# 173: one bad action


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseThenRaise(Action):
    """Closes a bead, and then turns out to have a bug."""

    type: ClassVar[str] = "close_then_raise"

    bead_id: str

    def apply(self, town: Town) -> ActionOutcome:
        beads.move(town, self.bead_id, BeadStatus.CLOSED)
        town.business_event("never.happened", {})
        raise RuntimeError("a bug in an action")


@scenario(173)
def test_an_action_that_raises_is_undone_and_the_rest_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    def close_badly(town: TownReader, tick: Tick) -> Iterator[Decision]:
        yield TransitionBead(bead_id="before", from_=BeadStatus.OPEN, to=BeadStatus.CLOSED, reason="fine")
        yield CloseThenRaise(bead_id="held")
        yield TransitionBead(bead_id="after", from_=BeadStatus.OPEN, to=BeadStatus.CLOSED, reason="fine")

    town = a_busy_town()
    for bead in ("before", "held", "after"):
        town.bead(bead, labels=["gt:held"])
    also(Rule("X3", close_badly), monkeypatch=monkeypatch)

    report = town.tick()

    judged = [(action.outcome, action.reason) for action in report.actions if action.rule == "test_tick.close_badly"]
    assert judged == [("applied", None), ("failed", "RuntimeError: a bug in an action"), ("applied", None)]
    assert (town.status("before"), town.status("held"), town.status("after")) == ("closed", "open", "closed")
    assert report.business_events == ()
    assert town.rows("SELECT 1 FROM bead_events WHERE bead_id = 'held'") == []
    assert [alert.kind for alert in report.alerts] == ["action_failed"]
    assert actions(report, rule="beads.dispatch_ready", outcome="applied") != []


# 174: two rules that want different things


def wants(to: BeadStatus, *, name: str) -> Rule:
    def judge(town: TownReader, tick: Tick) -> Iterator[Decision]:
        yield TransitionBead(bead_id="b1", from_=None, to=to, reason=name)

    judge.__name__ = name
    return Rule(name, judge)


@scenario(174)
def test_of_two_actions_that_want_different_states_the_first_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    town = a_town().bead("b1", status="in_progress").agent("p", status="working", hook="b1")
    rules = (wants(BeadStatus.OPEN, name="reopens"), wants(BeadStatus.FAILED, name="fails"))
    monkeypatch.setattr(reconcile, "decide", partial(reconcile.decide, rules=rules))

    report = town.tick()

    judged = [(action.rule, action.outcome, action.reason) for action in report.actions]
    assert judged == [("test_tick.reopens", "applied", None), ("test_tick.fails", "skipped", "conflict")]
    assert town.status("b1") == "open"
    assert town.value("counters")["conflicts"] == 1
    assert [alert.kind for alert in report.alerts] == ["action_conflict"]
    assert report.metrics.actions_skipped == 1


@scenario(174)
def test_two_actions_that_want_the_same_state_are_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    town = a_town().bead("b1", status="in_progress").agent("p", status="working", hook="b1")
    rules = (wants(BeadStatus.OPEN, name="reopens"), wants(BeadStatus.OPEN, name="reopens_too"))
    monkeypatch.setattr(reconcile, "decide", partial(reconcile.decide, rules=rules))

    report = town.tick()

    assert [(action.outcome, action.reason) for action in report.actions] == [("applied", None), ("skipped", "already")]
    assert town.value("counters")["conflicts"] == 0
    assert report.alerts == ()
    assert report.metrics.actions_skipped == 0


# 175: ownership, on a town where many rules meet; random towns are in tests/properties


def a_contested_town() -> TownBuilder:
    """Every row here is looked at by two rules at least (spec/rules.md section 8)."""
    silent: dict[str, Any] = {"last_activity_at": ago(minutes=3), "last_dispatch_outcome": "lost"}
    old: dict[str, Any] = {"updated_at": ago(minutes=45)}
    return (
        a_town()
        .bead("b1", status="in_progress", **old)
        .agent("p1", hook="b1", **silent)
        .bead("b2", **old)
        .agent("p2", hook="b2", **silent)
        .bead("b3", status="closed", **old)
        .agent("p3", status="working", hook="b3", **silent)
        .bead("b4", status="in_progress", **old)
        .agent("p4", hook="b4", last_dispatch_outcome="rejected", last_activity_at=ago(minutes=3))
        .review("m1", "in_progress", pr_url="https://github.com/acme/main-rig/pull/1", **old)
        .agent("f1", "refinery", hook="m1", **silent)
        .review("m2", "in_progress", rig_id="rig-2", **old)
        .rig("rig-2", name="other-rig")
        .agent("f2", "refinery", "dead", hook="m2", rig="rig-2", **silent)
        .bead("b5", status="in_review", **old)
        .review("m3", "failed", of="b5")
        .bead("b6", status="in_progress", dispatch_attempts=5, **old)
        .bead("b7", dispatch_attempts=5, assignee_agent_bead_id="gone")
    )


@scenario(175)
def test_no_two_rules_move_one_row_to_different_states() -> None:
    town = a_contested_town()

    for number in range(4):
        report = town.tick(at=T + timedelta(minutes=number))
        moves = [
            (action.get("bead_id") or action["agent_id"], action["to"])
            for action in actions(report)
            if action["type"] in ("transition_bead", "transition_agent")
        ]
        assert len(dict(moves)) == len(set(moves))
        assert town.value("counters")["conflicts"] == 0
        assert number > 0 or len(moves) >= 5


@scenario(175)
def test_a_terminal_bead_changes_only_by_being_reopened() -> None:
    town = a_contested_town().bead("over", status="failed").bead("done", status="closed")

    for number in range(1, 30):
        town.tick(at=T + timedelta(minutes=10 * number))
    report = town.tick(
        event("bead_reopened", bead="over", event_id="reopen-over"),
        event("bead_reopened", bead="done", event_id="reopen-done"),
        at=T + timedelta(hours=6),
    )

    changes = town.rows(
        "SELECT bead_id, old_value, new_value FROM bead_events WHERE event_type IN ('status_changed', 'reopened') ORDER BY seq"
    )
    assert [bead for bead, old, _ in changes if old in ("closed", "failed")] == ["over"]
    assert outcome_of(report, "reopen-over") == "applied"
    assert outcome_of(report, "reopen-done") == "skipped: not failed"
    assert town.status("done") == "closed"


# 176: the fixed point


@scenario(176)
def test_a_quiet_town_has_nothing_to_do_and_is_not_committed() -> None:
    world = a_world(a_town().bead("b1", labels=["gt:held"]))
    world.runtime.container = "none"
    world.post(event("bead_updated", {"priority": "high"}, bead="b1"))
    first = world.run()
    before = world.image()

    world.clock.move(seconds=5)
    second = world.run()

    assert (first.outcome, second.outcome) == ("committed", "quiet")
    assert second.tick is not None
    assert second.tick.actions == ()
    assert world.image() == before
    assert second.next_due is None
    assert [run.outcome for run in world.metrics.runs] == ["committed", "quiet"]  # it still emits metrics


@scenario(176)
def test_an_idle_town_has_no_due_time_and_no_marker() -> None:
    world = World()
    world.runtime.container = "none"
    drive(found_town("t1", world.around, worker_id="founder"))

    looks = [world.look()]
    while world.markers() and len(looks) < 5:
        world.clock.at = max(world.markers()[0], world.clock.at + timedelta(seconds=5))
        looks.append(world.look())

    assert [[run.outcome for run in look.runs] for look in looks] == [["committed"]]
    assert world.town().value("next_due_at") is None
    assert world.town().rows("SELECT role FROM agent_metadata") == [("mayor",)]
    world.clock.move(days=30)
    assert world.look().runs == []


@scenario(176)
def test_a_town_whose_work_is_done_falls_asleep() -> None:
    """From a ready bead to its cancellation; then, a day later, its agent is forgotten and nothing is left to do."""
    world = a_world(a_town().bead("b1"))
    world.runtime.container = "none"
    world.look()
    world.clock.move(seconds=10)
    world.post(event("bead_cancelled", bead="b1"))

    runs = []
    for _ in range(20):
        if not world.markers():
            break
        world.clock.at = max(world.markers()[0], world.clock.at + timedelta(seconds=5))
        runs += world.look().runs

    assert world.markers() == []
    assert runs[-1].next_due is None
    forgotten = [run.tick for run in runs if run.tick is not None and "garbage.forget_idle_agent" in rules_of(run.tick)]
    assert len(forgotten) == 1
    assert len(runs) < 10


# 177: when a tick is due; random towns are in tests/properties


def a_town_with_a_future() -> TownBuilder:
    """Much will be due in the next hours, each thing at its own time, and all of it needs no new agent."""
    return (
        a_town()
        .bead("b1", status="in_progress", assignee_agent_bead_id="p1", dispatch_attempts=1)
        .agent("p1", status="working", hook="b1", last_activity_at=ago(seconds=40), last_dispatch_outcome="started")
        .bead("b2", dispatch_attempts=3, last_dispatch_attempt_at=ago(seconds=77))
        .agent("p2", last_activity_at=ago(minutes=2))
        .rig("rig-2", name="other-rig")
        .agent("f2", "refinery", rig="rig-2", last_activity_at=ago(minutes=20), dispatch_attempts=5)
        .bead("b3", status="in_progress", updated_at=ago(minutes=2))
        .bead("b4", status="in_review", updated_at=ago(minutes=4))
        .review("m1", "in_progress", pr_url="https://github.com/acme/main-rig/pull/1", metadata={"last_poll_at": "x"})
        .agent("p3", status="stalled", hook="b5", stalled_at=ago(hours=2), last_event_at=ago(minutes=50))
        .bead("b5", status="in_progress", assignee_agent_bead_id="p3")
        .bead("e1", "escalation", created_at=ago(hours=3, minutes=50))
        .insert("escalation_metadata", bead_id="e1", severity="low")
        .insert("agent_nudges", nudge_id="n1", agent_bead_id="p3", message="x", created_at=ago(hours=1), expires_at=T)
        .agent("f9", "refinery", rig="rig-2", last_activity_at=ago(hours=23, minutes=55))
    )


def history(town: TownBuilder, *, until: datetime, only_when_due: bool) -> list[tuple[str, str, str, str]]:
    """When which rule asked for what, ticking on a grid of 5 s."""
    asked: list[tuple[str, str, str, str]] = []
    due: datetime | None = T
    now = T
    while now <= until:
        if not only_when_due or (due is not None and due <= now):
            report = town.tick(at=now)
            due = report.next_due
            asked += [(to_text(now), judged.rule, judged.action["type"], judged.outcome) for judged in report.actions]
        now += timedelta(seconds=5)
    return asked


@scenario(177)
@pytest.mark.lengthy
def test_ticks_only_when_due_give_the_same_history_as_ticks_every_five_seconds() -> None:
    until = T + timedelta(minutes=40)
    often, seldom = a_town_with_a_future(), a_town_with_a_future()

    asked = history(often, until=until, only_when_due=False)

    assert history(seldom, until=until, only_when_due=True) == asked
    assert len(seldom.reports) < 0.65 * len(often.reports)
    rules = {rule for _, rule, _, _ in asked}
    assert rules >= {
        "agents.heartbeat_lost",
        "agents.retire_stalled",
        "agents.cool_down_attempts",
        "beads.dispatch_ready",
        "beads.reopen_lost",
        "beads.settle_reviewed",
        "reviews.poll_pull_request",
        "liveness.escalate",
        "housekeeping.bump_escalation",
        "housekeeping.expire_nudge",
        "garbage.forget_idle_agent",
    }


# 204: a town in which nothing happens


@scenario(204)
def test_a_town_with_a_held_bead_only_sleeps_for_a_week() -> None:
    world = a_world(a_town().bead("b1", labels=["gt:held"]))
    world.runtime.container = "none"
    first = world.look()
    before = world.image()

    week = world.live_through(timedelta(days=7), every=timedelta(minutes=10))

    assert [run.outcome for run in first.runs] == ["quiet"]
    assert week == []
    assert world.image() == before
    assert world.run().outcome == "quiet"  # nor would a tick by hand be committed
    assert world.image() == before


# 207: due


@scenario(207)
def test_a_town_with_a_working_agent_is_looked_at_every_minute() -> None:
    town = a_town().bead("b1", status="in_progress", assignee_agent_bead_id="p")
    town.agent("p", status="working", hook="b1", last_activity_at=ago(seconds=10))

    report = town.tick()

    assert report.next_due == T + timedelta(seconds=60)


@scenario(207)
def test_a_town_that_waits_for_an_escalation_sleeps_until_then() -> None:
    created = ago(hours=1)
    bump = created + timedelta(hours=4) + MS
    town = (
        a_town()
        .bead("e1", "escalation", created_at=created)
        .insert("escalation_metadata", bead_id="e1", severity="low")
    )
    world = a_world(town)
    world.runtime.container = "none"

    [first] = world.look().runs
    waited = world.live_through(timedelta(hours=3) - timedelta(seconds=1), every=timedelta(seconds=1001))
    world.clock.at = bump
    [last] = world.look().runs

    assert first.next_due == bump
    assert waited == []
    assert last.tick is not None
    assert types_of(last.tick, rule="housekeeping.bump_escalation") == ["bump_escalation", "notify_mayor"]
    assert world.town().one("escalation_metadata", "e1", "severity") == "medium"


@scenario(207)
def test_a_marker_of_a_second_wakes_nobody_before_the_millisecond() -> None:
    """Markers name whole seconds: a look that comes within the second finds the town not due yet, and keeps it."""
    created = ago(hours=1)
    bump = created + timedelta(hours=4) + MS
    town = (
        a_town()
        .bead("e1", "escalation", created_at=created)
        .insert("escalation_metadata", bead_id="e1", severity="low")
    )
    world = a_world(town.key("next_due_at", to_text(bump)))
    world.runtime.container = "none"
    world.look()

    world.clock.at = bump - MS
    [early] = world.look().runs
    world.clock.at = bump
    [due] = world.look().runs

    assert early.outcome == "not_due"
    assert due.outcome == "committed"

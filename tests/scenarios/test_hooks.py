"""Scenarios 189, 190, 196 to 198, 200, 203 and 206: hooks, guards, names, mail, and who is at work."""

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shared.actions import Action, HookAgent, TransitionBead
from shared.domain.report import TickReport
from shared.domain.states import BeadStatus
from shared.domain.times import to_text
from shared.engine import reconcile
from shared.rules.base import Decision, Rule
from shared.runner import perform
from shared.town.writing.agents import POLECAT_NAMES
from tests.scenarios.stories import Given, as_usual, deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, ago, event

SECOND = timedelta(seconds=1)


@pytest.fixture
def tick_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., TickReport]:
    """A tick in which one rule asks for the given actions and all the others are silent."""

    def run(town: TownBuilder, *actions: Action) -> TickReport:
        def wanted(*_: object) -> list[Decision]:
            return list(actions)

        rule = Rule("test", wanted)  # type: ignore[arg-type]
        monkeypatch.setattr(reconcile, "decide", partial(_DECIDE, rules=(rule,)))
        return town.tick()

    return run


_DECIDE = reconcile.decide


def verdicts(report: TickReport) -> list[tuple[str, str | None]]:
    """(outcome, reason) of every action of a tick."""
    return [(judged.outcome, judged.reason) for judged in report.actions]


# --- Hooks ------------------------------------------------------------------------------------------


@scenario(196)
def test_a_second_hook_on_a_bead_takes_the_first_one_away(tick_with: Callable[..., TickReport]) -> None:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p1").agent("p1", hook="b", checkpoint="{}")
    town.agent("p2", last_activity_at=ago(hours=1), agent_status_message="bored")
    assert verdicts(tick_with(town, HookAgent(agent_id="p2", bead_id="b"))) == [("applied", None)]
    assert (town.doing("p1"), town.doing("p2")) == (("idle", None), ("idle", "b"))
    assert town.one("beads", "b", "assignee_agent_bead_id", "status", "updated_at") == ("p2", "in_progress", to_text(T))
    assert town.one("agent_metadata", "p1", "checkpoint") is None
    assert town.one("agent_metadata", "p2", "last_activity_at", "agent_status_message") == (to_text(T), None)
    assert town.rows("SELECT event_type, agent_id FROM bead_events WHERE bead_id = 'b' ORDER BY seq") == [
        ("unhooked", "p1"),
        ("hooked", "p2"),
    ]


@scenario(196)
def test_the_same_hook_again_changes_nothing(tick_with: Callable[..., TickReport]) -> None:
    town = a_town().bead("b", status="in_progress").agent("p", status="working", hook="b")
    assert verdicts(tick_with(town, HookAgent(agent_id="p", bead_id="b"))) == [("skipped", "already")]
    assert town.doing("p") == ("working", "b")


@scenario(196)
def test_two_agents_on_one_bead_cannot_be_stored() -> None:
    town = a_town().bead("b").agent("p1", hook="b")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        town.agent("p2", hook="b")


def _a_bead(bead_type: str, **columns: Any) -> Given:
    return lambda town: town.bead("x", bead_type, **columns).agent("p")


@scenario(197)
@pytest.mark.parametrize(
    ("given", "agent", "error"),
    [
        (_a_bead("escalation"), "p", "a bead of type escalation is never hooked"),
        (_a_bead("convoy"), "p", "a bead of type convoy is never hooked"),
        (_a_bead("agent"), "p", "a bead of type agent is never hooked"),
        (_a_bead("message"), "p", "a bead of type message is never hooked"),
        (_a_bead("issue", labels=["gt:triage-request"]), "p", "a triage request is never hooked"),
        (_a_bead("issue", status="closed"), "p", "the bead is closed"),
        (_a_bead("issue", status="failed"), "p", "the bead is failed"),
        (
            lambda town: town.bead("x").bead("y").agent("p", hook="y"),
            "p",
            "the agent holds another hook (y)",
        ),
        (lambda town: town.bead("x"), "mayor", "the mayor has no hook"),
        (lambda town: town.bead("x"), "nobody", "agent or bead is missing"),
        (lambda town: town.agent("p"), "p", "agent or bead is missing"),
    ],
    ids=[
        "escalation",
        "convoy",
        "agent",
        "message",
        "triage request",
        "closed",
        "failed",
        "second hook",
        "mayor",
        "no agent",
        "no bead",
    ],
)
def test_what_is_never_hooked(tick_with: Callable[..., TickReport], given: Given, agent: str, error: str) -> None:
    town = given(a_town())
    before = (
        town.rows("SELECT * FROM beads ORDER BY bead_id"),
        town.rows("SELECT * FROM agent_metadata ORDER BY bead_id"),
    )
    assert verdicts(tick_with(town, HookAgent(agent_id=agent, bead_id="x"))) == [("failed", error)]
    after = (
        town.rows("SELECT * FROM beads ORDER BY bead_id"),
        town.rows("SELECT * FROM agent_metadata ORDER BY bead_id"),
    )
    assert before == after
    assert town.rows("SELECT * FROM bead_events") == []


@scenario(198)
@pytest.mark.parametrize(("attempts", "freed"), [(4, False), (5, True)])
def test_an_idle_refinery_of_a_silent_review_is_dispatched_again_until_the_cap(attempts: int, freed: bool) -> None:
    town = a_town().review(
        "m",
        "in_progress",
        pr_url="https://github.com/acme/main-rig/pull/1",
        updated_at=ago(minutes=30, ms=1),
        dispatch_attempts=attempts,
    )
    town.agent("f", "refinery", hook="m")
    done = deeds(town.tick(), of="reviews")
    assert done[0] == "reviews.poll_pull_request: poll_pr m"
    if freed:
        assert done[1:] == [
            "reviews.redispatch_refinery: unhook_agent f",
            "reviews.redispatch_refinery: escalate_review_cap m",
        ]
    else:
        assert done[1:] == ["reviews.redispatch_refinery: dispatch_agent f m"]
    assert (town.status("m"), town.doing("f")) == ("in_progress", ("idle", None) if freed else ("working", "m"))


# --- Guards -----------------------------------------------------------------------------------------


@scenario(200)
@pytest.mark.parametrize(
    ("status", "to", "reason", "counted"),
    [
        ("in_progress", BeadStatus.CLOSED, "moved_on", 1),
        ("closed", BeadStatus.CLOSED, "already", 0),
        ("failed", BeadStatus.FAILED, "already", 0),
        ("closed", BeadStatus.IN_PROGRESS, "terminal", 1),
        ("failed", BeadStatus.IN_PROGRESS, "terminal", 1),
        (None, BeadStatus.CLOSED, "missing", 1),
    ],
)
def test_a_transition_that_comes_too_late_is_skipped(
    tick_with: Callable[..., TickReport], status: str | None, to: BeadStatus, reason: str, counted: int
) -> None:
    town = a_town()
    if status is not None:
        town.bead("b", status=status)
    transition = TransitionBead(bead_id="b", from_=BeadStatus.OPEN, to=to, reason="test")
    report = tick_with(town, transition)
    assert verdicts(report) == [("skipped", reason)]
    assert report.metrics.actions_skipped == counted
    assert town.status("b") == status
    assert town.rows("SELECT * FROM bead_events") == []


# --- Names ------------------------------------------------------------------------------------------


@scenario(203)
def test_the_twenty_first_polecat_has_a_number_and_no_name_is_used_twice() -> None:
    town = a_town().rig("rig-2", name="other")
    rig_of = {f"b-{number:02}": "rig-1" if number % 2 else "rig-2" for number in range(22)}
    for bead, rig in rig_of.items():
        town.bead(bead, rig_id=rig)
    assert deeds(town.tick()) == [f"beads.dispatch_ready: dispatch_agent {bead}" for bead in rig_of]
    polecats = town.rows(
        "SELECT b.title, b.rig_id, a.current_hook_bead_id FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id "
        "WHERE a.role = 'polecat' ORDER BY a.current_hook_bead_id"
    )
    assert [name for name, _, _ in polecats] == [*POLECAT_NAMES, "Polecat-21", "Polecat-22"]
    assert {bead: rig for _, rig, bead in polecats} == rig_of


@scenario(203)
def test_a_free_name_is_given_again() -> None:
    town = a_town().bead("b")
    for number, name in enumerate([*POLECAT_NAMES[:1], *POLECAT_NAMES[2:], "Polecat-21"]):
        town.agent(f"p-{number:02}", rig="rig-2", created_at=ago(hours=1)).update("beads", f"p-{number:02}", title=name)
    town.rig("rig-2", name="other").tick()
    [(agent,)] = town.rows("SELECT bead_id FROM agent_metadata WHERE current_hook_bead_id = 'b'")
    assert town.one("beads", agent, "title", "rig_id") == (POLECAT_NAMES[1], "rig-1")


@scenario(203)
def test_an_agent_never_changes_its_rig() -> None:
    town = a_town().rig("rig-2", name="other").agent("p", rig="rig-1").bead("b", rig_id="rig-2")
    assert deeds(town.tick()) == ["beads.dispatch_ready: dispatch_agent b"]
    assert (town.doing("p"), town.one("beads", "p", "rig_id")) == (("idle", None), "rig-1")
    [(agent,)] = town.rows("SELECT bead_id FROM agent_metadata WHERE current_hook_bead_id = 'b'")
    assert town.one("beads", agent, "rig_id") == "rig-2"


# --- Mail -------------------------------------------------------------------------------------------


@scenario(189)
def test_mail_reaches_an_agent_while_it_works() -> None:
    town = a_town().bead("b", status="in_progress").agent("p", status="working", hook="b")
    town.bead("mail", "message", title="Hello", body="Mind the gap.", assignee_agent_bead_id="p")
    first, second = town.ticks(2)
    assert deeds(first) == ["housekeeping.deliver_mail: send_nudge p"]
    assert deeds(second) == []
    assert town.rows("SELECT agent_bead_id, message, mode, priority, source, expires_at FROM agent_nudges") == [
        ("p", "Message mail:\n> Hello\n>\n> Mind the gap.", "wait-idle", "normal", "agent", None)
    ]
    assert [row[0] for row in outbox(town)] == ["send_nudge"]
    assert town.status("mail") == "open"


@scenario(189)
@pytest.mark.parametrize("status", ["idle", "stalled", "dead"])
def test_mail_waits_for_an_agent_that_does_not_work(status: str) -> None:
    town = a_town().agent("p", status=status, stalled_at=ago(minutes=1) if status == "stalled" else None)
    town.bead("mail", "message", assignee_agent_bead_id="p")
    assert deeds(town.tick()) == []
    assert town.status("mail") == "open"


@scenario(189)
def test_mail_for_an_agent_that_is_gone_waits_and_mail_for_nobody_is_for_the_mayor() -> None:
    town = a_town().bead("mail", "message").bead("lost", "message", assignee_agent_bead_id="gone")
    assert deeds(town.tick()) == ["housekeeping.deliver_mail: notify_mayor mail:mail"]


# --- Who is at work ---------------------------------------------------------------------------------


def _held(town: TownBuilder) -> TownBuilder:
    return town.bead("b", labels=["gt:held"])


def _blocked(town: TownBuilder) -> TownBuilder:
    return _held(town).bead("waiting").edge("waiting", "b")


def _staged(town: TownBuilder) -> TownBuilder:
    return town.bead("b").convoy("c", tracked=["b"], staged=1)


def _awaiting_approval(town: TownBuilder) -> TownBuilder:
    url = "https://github.com/acme/main-rig/pull/1"
    metadata = {"awaiting_approval": 1, "last_poll_at": to_text(ago(seconds=5))}
    return town.review("m", "in_progress", pr_url=url, metadata=metadata)


def _ready(town: TownBuilder) -> TownBuilder:
    return town.bead("b", last_dispatch_attempt_at=ago(seconds=5))


def _in_review(town: TownBuilder) -> TownBuilder:
    return town.review("m", dispatch_attempts=1, last_dispatch_attempt_at=ago(seconds=5))


def _pull_request(town: TownBuilder) -> TownBuilder:
    return _awaiting_approval(town).update("beads", "m", metadata={"last_poll_at": to_text(ago(seconds=5))})


def _hooked(town: TownBuilder) -> TownBuilder:
    return town.bead("b", last_dispatch_attempt_at=ago(seconds=5)).agent("p", hook="b")


@scenario(190)
@pytest.mark.parametrize(
    ("given", "at_work"),
    [
        (as_usual, False),
        (_held, False),
        (_blocked, False),
        (_staged, False),
        (_awaiting_approval, False),
        (_ready, True),
        (_in_review, True),
        (_pull_request, True),
        (_hooked, True),
    ],
)
def test_only_work_that_can_go_on_keeps_the_container_awake(given: Given, at_work: bool) -> None:
    town = given(a_town()).update("agent_metadata", "mayor", last_activity_at=ago(minutes=10))
    town.key("last_token_refresh_at", to_text(ago(hours=2)))
    wanted = "refresh_token: refresh_container_token" if at_work else "stop_idle_container: stop_container"
    report = town.tick(container="running")
    assert deeds(report) == [f"housekeeping.{wanted}"]
    assert at_work or report.actions[0].action["reason"] == "mayor_idle_10m"


# --- Stop before start ------------------------------------------------------------------------------


@scenario(206)
def test_an_agent_that_is_stopped_and_started_in_one_tick_is_stopped_first_in_its_old_generation() -> None:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    town.bead("b2")
    report = town.tick(event("bead_cancelled", bead="b"))
    assert outcomes(report) == [("bead_cancelled", "applied")]
    assert deeds(report) == ["event:bead_cancelled: stop_agent p", "beads.dispatch_ready: dispatch_agent b2"]
    assert [(effect.kind, effect.subject, effect.generation) for effect in report.effects] == [
        ("stop_agent", "p", 1),
        ("dispatch_agent", "p", 2),
    ]
    assert [[effect.kind for effect in turn] for turn in perform.rounds_of(report.effects)] == [
        ["stop_agent"],
        ["dispatch_agent"],
    ]
    assert (town.status("b"), town.doing("p")) == ("failed", ("working", "b2"))

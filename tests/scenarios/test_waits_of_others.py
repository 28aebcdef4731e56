"""What holds a bead back is true: of other beads and agents, of events that end it, of queues, convoys, mail and triage."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from shared.domain.times import to_text
from shared.events.convoys import task_id
from shared.questions.waiting import Waiting
from tests.scenarios.test_waits import guards_of, moved
from tests.towns import T, TownBuilder, a_town, ago, event

PR: Final = "https://github.com/acme/app/pull/7"
Build = Callable[[TownBuilder], TownBuilder]


def needs_of(waiting: Waiting) -> list[tuple[str, str | None]]:
    """The events that it needs, each with the bead or agent that it is about."""
    return [(need.event_type, need.bead_id) for need in waiting.needs]


# --- an event that is named has an effect when it is posted -------------------------------------------------------


def _on_a_held_one(town: TownBuilder) -> TownBuilder:
    return town.bead("a", labels=["gt:held"]).bead("b").edge("b", "a")


def _on_one_in_work(town: TownBuilder) -> TownBuilder:
    town.bead("a", status="in_progress").agent("p", status="working", hook="a")
    return town.bead("mid").edge("mid", "a").bead("b").edge("b", "mid")


def _on_a_failed_and_a_live_one(town: TownBuilder) -> TownBuilder:
    return _on_a_held_one(town.bead("x", status="failed").edge("b", "x"))


def _in_a_full_rig(town: TownBuilder) -> TownBuilder:
    town.config(max_polecats_per_rig=1).bead("b").bead("w", status="in_progress")
    return town.agent("p", status="working", hook="w")


def _behind_a_dead_refinery(town: TownBuilder) -> TownBuilder:
    return town.agent("f", "refinery", "dead").review("b")


def _behind_another_review(town: TownBuilder) -> TownBuilder:
    return town.agent("f", "refinery", "working", hook="now").review("now", "in_progress").review("b")


def _landing(town: TownBuilder) -> TownBuilder:
    return _done(town, landing_mr_attempts=1).review("l", of="b", created_by="system")


def _done(town: TownBuilder, **metadata: Any) -> TownBuilder:
    town.bead("task", status="closed")
    return town.convoy("b", tracked=["task"], closed=1, metadata={"ready_to_land": 1, **metadata})


def _unapproved(town: TownBuilder) -> TownBuilder:
    _done(town, landing_mr_attempts=1, respawn_suppressed_attempt=2)
    return town.review("l", "failed", of="b", metadata={"awaiting_approval": 1})


def _rigless_convoy(town: TownBuilder) -> TownBuilder:
    return _done(town).update("beads", "task", rig_id=None)


def _with_a_batch(town: TownBuilder) -> TownBuilder:
    town.bead("batch", status="in_progress", labels=["gt:triage"], created_by="patrol", rig_id="rig-1")
    return town.agent("p", status="working", hook="batch").bead("b", labels=["gt:triage-request"], rig_id=None)


def _acknowledged(town: TownBuilder) -> TownBuilder:
    return town.bead("b", "escalation").insert("escalation_metadata", bead_id="b", severity="low", acknowledged=1)


def _raised(town: TownBuilder) -> TownBuilder:
    return town.bead("b", "escalation").insert("escalation_metadata", bead_id="b", severity="low", acknowledged=0)


def _mailed(town: TownBuilder) -> TownBuilder:
    town.bead("b", "message", assignee_agent_bead_id="mayor").tick(at=ago(seconds=9))
    return town


NEEDED: Final[dict[str, tuple[Build, list[tuple[str, str | None]]]]] = {
    "a held blocker": (_on_a_held_one, [("bead_updated", "a"), ("bead_cancelled", "a")]),
    "a blocker in work": (_on_one_in_work, [("agent_done", "a"), ("agent_completed", "a"), ("bead_cancelled", "mid")]),
    "two failed blockers": (
        lambda town: town.bead("x", status="failed").bead("y", status="failed").bead("b").edge("b", "x").edge("b", "y"),
        [("bead_reopened", "x"), ("town_configured", None), ("bead_reopened", "y")],
    ),
    "a stalled agent": (
        lambda town: town.agent("f", "refinery", "stalled", hook="now").review("now", "in_progress").review("b"),
        [("agent_done", "now"), ("bead_cancelled", "now"), ("agent_reset", "f")],
    ),
    "a convoy that lands": (
        lambda town: _landing(town).bead("after").edge("after", "b"),
        [("bead_cancelled", "l"), ("pr_status_changed", "l"), ("convoy_closed", "b")],
    ),
    "a full rig": (
        _in_a_full_rig,
        [
            ("agent_done", "w"),
            ("agent_completed", "w"),
            ("bead_cancelled", "w"),
            ("town_configured", None),
            ("rig_registered", None),
        ],
    ),
    "a dead refinery": (_behind_a_dead_refinery, [("agent_reset", "f")]),
    "another review": (_behind_another_review, [("agent_done", "now"), ("bead_cancelled", "now")]),
    "a landing": (_landing, [("bead_cancelled", "l"), ("pr_status_changed", "l"), ("convoy_closed", "b")]),
    "a missing approval": (_unapproved, [("bead_reopened", "l"), ("convoy_closed", "b")]),
    "a convoy without a rig": (_rigless_convoy, [("bead_created", "b"), ("convoy_closed", "b")]),
    "a bead without a rig": (lambda town: town.bead("b", rig_id=None), [("bead_updated", "b")]),
    "two staged convoys": (
        lambda town: town.bead("b").convoy("c1", tracked=["b"], staged=1).convoy("c2", tracked=["b"], staged=1),
        [("convoy_started", "c1"), ("convoy_started", "c2")],
    ),
    "a batch": (
        _with_a_batch,
        [("triage_resolved", "b"), ("agent_done", "batch"), ("bead_cancelled", "batch")],
    ),
    "an acknowledged escalation": (_acknowledged, [("bead_cancelled", "b")]),
    "an escalation": (_raised, [("escalation_acknowledged", "b"), ("bead_cancelled", "b")]),
    "mail for an agent that is gone": (
        lambda town: town.bead("b", "message", assignee_agent_bead_id="gone"),
        [("bead_cancelled", "b")],
    ),
    "mail on its way to the mayor": (_mailed, [("mayor_notified", "mayor")]),
    "a pull request": (
        lambda town: town.review("b", "in_progress", pr_url=PR),
        [("pr_polled", "b"), ("pr_status_changed", "b")],
    ),
}


@pytest.mark.parametrize("waits_for", NEEDED)
def test_a_bead_needs_the_events_that_end_its_wait_now(waits_for: str) -> None:
    build, needed = NEEDED[waits_for]
    assert needs_of(build(a_town()).waits()["b"]) == needed


@pytest.mark.parametrize(
    ("build", "about", "posted"),
    [
        (_on_a_held_one, "a", event("bead_updated", {"labels": []}, bead="a")),
        (_behind_a_dead_refinery, "f", event("agent_reset", agent="f")),
        (_unapproved, "l", event("bead_reopened", bead="l")),
        (_in_a_full_rig, "w", event("agent_completed", {"status": "completed", "generation": 1}, agent="p")),
    ],
)
def test_the_event_that_is_needed_changes_the_wait(build: Build, about: str, posted: Any) -> None:
    town = build(a_town())
    before = town.waits()["b"]
    assert (posted.event_type, about) in needs_of(before)
    town.tick(posted)
    after = town.waits(T + timedelta(seconds=1)).get("b")
    assert after is None or (after.reason, after.root) != (before.reason, before.root)


# --- a chain ------------------------------------------------------------------------------------------------------


def test_a_failed_blocker_counts_as_an_end_beside_live_ones() -> None:
    root = _on_a_failed_and_a_live_one(a_town()).waits()["b"].root
    assert root is not None
    assert (root.bead_id, root.roots) == ("a", 2)


def test_a_bead_that_is_reached_in_two_ways_is_the_end_of_both() -> None:
    town = a_town().bead("r", labels=["gt:held"]).bead("l").edge("l", "r").bead("top").edge("top", "l").edge("top", "r")
    waits = town.waits()
    roots = [waits[name].root for name in ("top", "l")]
    assert [(each.bead_id, each.steps, each.roots) for each in roots if each is not None] == [("r", 2, 1), ("r", 1, 1)]


def test_a_chain_of_two_thousand_is_followed_to_its_end() -> None:
    town = a_town().bead("b0000", labels=["gt:held"])
    for number in range(1, 2000):
        town.bead(f"b{number:04}").edge(f"b{number:04}", f"b{number - 1:04}")
    root = town.waits()["b1999"].root
    assert root is not None
    assert (root.bead_id, root.steps) == ("b0000", 1999)


def test_a_rejected_dispatch_of_a_blocked_bead_has_a_root() -> None:
    town = a_town().bead("a", labels=["gt:held"]).bead("b", status="in_progress").edge("b", "a")
    waiting = town.agent("p", hook="b", last_dispatch_outcome="rejected").waits()["b"]
    assert waiting.reason == "blocked_by"
    assert waiting.root is not None
    assert waiting.root.bead_id == "a"


def test_an_agent_is_held_back_by_what_blocks_its_bead() -> None:
    town = a_town().bead("a", labels=["gt:held"]).bead("b").edge("b", "a").agent("p", hook="b")
    waiting = town.waiting_of("p")
    assert (waiting.reason, waiting.actor, guards_of(waiting)) == (None, "a", ["blocked_by"])
    assert waiting.root == town.waits()["b"].root


@pytest.mark.parametrize("bead_type", ["message", "molecule"])
def test_what_no_rule_looks_at_is_not_said_to_hold_a_bead_back(bead_type: str) -> None:
    town = a_town().bead("a", labels=["gt:held"]).bead("b", bead_type, assignee_agent_bead_id="mayor").edge("b", "a")
    assert "blocked_by" not in guards_of(town.waits()["b"])


def test_a_blocked_convoy_waits_for_its_beads_only() -> None:
    town = a_town().bead("a", labels=["gt:held"]).bead("task", labels=["gt:held"]).convoy("b", tracked=["task"])
    waiting = town.edge("b", "a").waits()["b"]
    assert guards_of(waiting) == ["work_unfinished"]
    assert waiting.root is not None
    assert waiting.root.bead_id == "task"


# --- convoys ------------------------------------------------------------------------------------------------------


def test_a_staged_convoy_is_the_end_of_its_chain() -> None:
    town = a_town().bead("task").convoy("c", tracked=["task"], staged=1).bead("after").edge("after", "c")
    waits = town.waits()
    root = waits["after"].root
    assert root is not None
    assert (root.bead_id, root.reason, root.steps) == ("c", "staged", 1)
    assert needs_of(waits["after"]) == [("convoy_started", "c"), ("convoy_closed", "c"), ("bead_cancelled", "c")]


def test_a_staged_convoy_whose_beads_are_done_is_not_held_back() -> None:
    town = a_town().bead("task", status="closed")
    town.convoy("c", tracked=["task"], closed=1, staged=1, mode="review-and-merge", branch=None)
    waiting = town.waits()["c"]
    assert (waiting.reason, waiting.rule, guards_of(waiting)) == ("cooldown", "C3", ["next_tick"])
    town.tick()
    assert town.status("c") == "closed"


def test_a_convoy_waits_for_its_approval_since_its_landing_failed() -> None:
    town = _unapproved(a_town())
    moved(town, "l", "failed", ago(minutes=9))
    assert town.waits()["b"].since == ago(minutes=9)


def test_a_convoy_lands_since_its_landing_was_created() -> None:
    assert _landing(a_town()).update("beads", "l", created_at=ago(minutes=9)).waits()["b"].since == ago(minutes=9)


def test_a_convoy_without_a_rig_is_not_said_to_lack_one_itself() -> None:
    [guard] = _rigless_convoy(a_town()).waits()["b"].guards
    assert (guard.guard, guard.says) == ("no_rig", "none of the beads that it tracks belongs to a rig")


# --- queues -------------------------------------------------------------------------------------------------------


def test_of_many_that_take_a_place_three_are_named() -> None:
    town = a_town().config(max_polecats_per_rig=9).bead("b")
    for number in range(9):
        town.bead(f"w{number}", status="in_progress").agent(f"p{number}", status="working", hook=f"w{number}")
    done = [about for event_type, about in needs_of(town.waits()["b"]) if event_type == "agent_done"]
    assert done == ["w0", "w1", "w2"]


def test_the_next_tick_fills_the_rig_with_an_older_bead() -> None:
    town = a_town().config(max_polecats_per_rig=1).bead("older", created_at=ago(hours=3)).bead("b")
    waiting = town.waits()["b"]
    [guard] = waiting.guards
    assert guard.says == "the next tick gives the last free place of its rig to older"
    assert (waiting.reason, waiting.actor, waiting.needs[0].bead_id) == ("rig_full", "older", "older")


def test_the_next_tick_gives_the_refinery_an_older_review() -> None:
    town = a_town().agent("f", "refinery").review("older", created_at=ago(hours=3)).review("b")
    [guard] = town.waits()["b"].guards
    assert guard.says.endswith("; the next tick starts older")


@pytest.mark.parametrize("status", ["dead", "working"])
def test_a_refinery_that_takes_no_review_is_not_said_to_work_on_one(status: str) -> None:
    waiting = a_town().agent("f", "refinery", status).review("b").waits()["b"]
    assert waiting.guards[0].says == f"its refinery f is {status} and has no review, so it takes no new one"
    assert waiting.actor == "operator"


# --- triage, mail, escalations, damage ----------------------------------------------------------------------------


def test_a_triage_request_waits_for_the_drain() -> None:
    town = a_town().bead("b", labels=["gt:triage-request"], rig_id=None)
    waiting = town.key("drain", {"nonce": "n", "started_at": to_text(ago(minutes=1))}).waits()["b"]
    assert (waiting.reason, waiting.since) == ("draining", ago(minutes=1))


def test_exhausted_triage_has_no_next_batch_and_waits_since_the_last_one() -> None:
    town = a_town().bead("b", labels=["gt:triage-request"], rig_id=None)
    last = {"last_batch_at": to_text(ago(minutes=3)), "last_batch_id": "k"}
    waiting = town.key("triage", {"fruitless": 5, "escalated": True, **last}).waits()["b"]
    assert (guards_of(waiting), waiting.since) == (["triage_exhausted"], ago(minutes=3))


def test_a_triage_request_of_a_town_without_a_rig_needs_one() -> None:
    town = a_town().bead("b", labels=["gt:triage-request"], rig_id=None)
    town.sql.execute("DELETE FROM rigs")
    waiting = town.waits()["b"]
    assert (waiting.reason, waiting.needs[0].event_type) == ("no_rig", "rig_registered")


def test_mail_for_an_agent_that_is_not_there_can_only_be_cancelled() -> None:
    waiting = a_town().bead("b", "message", assignee_agent_bead_id="gone").waits()["b"]
    assert (waiting.reason, waiting.actor) == ("held", "operator")
    assert waiting.guards[0].says == "its addressee gone is not in the town: it can only be cancelled"


def test_an_operator_ends_an_escalation() -> None:
    assert _raised(a_town()).waits()["b"].actor == "operator"


@pytest.mark.parametrize(
    ("bead_type", "table"),
    [("merge_request", "review_metadata"), ("convoy", "convoy_metadata"), ("escalation", "escalation_metadata")],
)
def test_a_bead_without_its_own_row_is_told_as_damaged(bead_type: str, table: str) -> None:
    waiting = a_town().bead("b", bead_type).waits()["b"]
    assert (waiting.reason, guards_of(waiting), waiting.needs) == ("held", ["unreadable"], ())
    assert table in waiting.guards[0].says


# --- agents and processes -----------------------------------------------------------------------------------------


def test_an_agent_that_beats_again_is_not_said_to_have_ended() -> None:
    town = a_town().bead("b", status="in_progress")
    waiting = town.agent("p", status="working", hook="b", last_dispatch_outcome="lost").waiting_of("p")
    assert guards_of(waiting) == ["heartbeat"]


def test_a_process_has_ended_since_its_end_was_reported() -> None:
    town = a_town().bead("b", status="in_progress")
    town.agent("p", status="working", hook="b", last_activity_at=ago(seconds=40))
    exited = event("container_status", {"status": "exited", "exit_reason": "3", "generation": 1}, agent="p")
    town.tick(exited, at=ago(seconds=20))
    assert (town.waits()["b"].since, town.waiting_of("p").since) == (ago(seconds=20), ago(seconds=20))


def test_an_idle_agent_keeps_its_work_while_it_is_reviewed() -> None:
    waiting = a_town().bead("b", status="in_review").review("m", of="b").agent("p", hook="b").waiting_of("p")
    assert (waiting.rule, guards_of(waiting)) == ("A9", ["review_live"])
    assert waiting.root is not None
    assert waiting.root.bead_id == "m"


@pytest.mark.parametrize(("status", "needed"), [("waiting", "agent_heartbeat"), ("dead", "agent_reset")])
def test_a_mayor_says_what_makes_it_work(status: str, needed: str) -> None:
    town = a_town().update("agent_metadata", "mayor", status=status)
    assert needs_of(town.waiting_of("mayor"))[0] == (needed, "mayor")


# --- times --------------------------------------------------------------------------------------------------------


def test_no_guard_has_a_time_that_is_still_to_come() -> None:
    town = a_town().bead("b")
    for number in range(20):
        town.bead(f"x{number:02}", status="failed", last_dispatch_failed_at=ago(minutes=8))
    assert town.waits()["b"].guards[0].since == T


def test_a_pending_event_is_tried_by_the_next_tick_and_not_in_the_past() -> None:
    failed = {"source": "ingest", "created_at": ago(minutes=3), "received_at": ago(minutes=3), "payload": "{}"}
    town = a_town().bead("b", labels=["gt:held"]).key("next_due_at", to_text(ago(minutes=1)))
    town.insert("town_events", event_id="e", event_type="bead_cancelled", bead_id="b", seq=9, retry_count=1, **failed)
    pending = town.waits()["b"].guards[-1]
    assert (pending.guard, pending.until) == ("event_pending", T + timedelta(milliseconds=1))


def test_a_pull_request_waits_for_its_turn_since_its_poll_was_due() -> None:
    town = a_town()
    for number in range(31):
        seen = {"last_poll_at": to_text(ago(minutes=5, seconds=60 - number))}
        town.review(f"m{number:02}", "in_progress", pr_url=f"{PR}{number}", metadata=seen)
    [guard] = town.waits()["m30"].guards
    assert (guard.guard, guard.since) == ("poll_turn", ago(minutes=4, seconds=30))


def polled(**notes: Any) -> dict[str, Any]:
    """The notes of a pull request that was polled 20 s ago."""
    return {"last_poll_at": to_text(ago(seconds=20)), **notes}


def test_a_pull_request_awaits_approval_since_that_was_first_seen_and_not_since_the_last_poll() -> None:
    seen = polled(awaiting_approval=1, awaiting_approval_observed_at=to_text(ago(minutes=50)))
    waiting = a_town().review("m", "in_progress", pr_url=PR, metadata=seen).waits()["m"]
    assert (waiting.reason, waiting.since) == ("awaiting_approval", ago(minutes=50))
    assert waiting.guards[0].since == ago(seconds=20)


def test_a_pull_request_waits_for_the_forge_since_the_last_news_of_it() -> None:
    town = a_town().review("m", "in_progress", pr_url=PR, metadata=polled())
    line = {"bead_id": "m", "event_type": "pr_created", "created_at": ago(minutes=40)}
    town.insert("bead_events", bead_event_id="audit-1", seq=1, **line)
    moved(town.key("next_audit_seq", 2), "m", "in_progress", ago(minutes=45))
    assert town.waits()["m"].since == ago(minutes=40)


def test_a_merge_is_in_progress_since_it_was_requested() -> None:
    town = a_town().review("m", "in_progress", pr_url=PR, metadata=polled(auto_merge_pending=1))
    times = {
        "created_at": ago(minutes=1),
        "deadline": T + timedelta(minutes=1),
        "claimed_until": T + timedelta(minutes=4),
    }
    merge = {"effect_id": "e", "kind": "merge_pr", "subject": "m", "generation": 0, "payload": {}, "state": "claimed"}
    town.insert("outbox", **merge, seq=1, attempts=1, claim="w", **times)
    guard = next(each for each in town.waits()["m"].guards if each.guard == "effect_unfinished")
    assert (guard.since, guard.says) == (
        ago(minutes=1),
        "the forge has not answered the last call about its pull request",
    )


def test_a_convoy_waits_for_its_first_unfinished_bead() -> None:
    waiting = a_town().bead("task", labels=["gt:held"]).convoy("c", tracked=["task"]).waits()["c"]
    assert (waiting.actor, waiting.guards[0].actor) == ("task", "task")


def test_a_failed_bead_has_no_reason_although_a_rule_will_report_it() -> None:
    waiting = a_town().bead("x", status="failed").bead("b").edge("b", "x").waiting_of("x")
    assert (waiting.reason, waiting.rule) == (None, "B5")


def test_a_task_is_held_since_its_convoy_was_created_although_it_got_another_label_later() -> None:
    town = a_town()
    convoy = {"convoy_id": "c", "title": "c", "rig_id": "rig-1", "staged": False}
    tasks = [{"title": "free"}, {"title": "held", "labels": ["gt:held"]}]
    town.tick(event("convoy_created", {**convoy, "tasks": tasks}), at=ago(minutes=30))
    task = task_id(town.town_id, "c", 1)
    town.tick(event("bead_updated", {"labels": ["gt:held", "x"]}, bead=task), at=ago(minutes=5))
    assert (town.waits()[task].reason, town.waits()[task].since) == ("held", ago(minutes=30))


def test_a_bead_that_gets_no_place_after_the_drain_is_told_when_its_reason_changes() -> None:
    town = a_town().config(max_polecats_per_rig=1).bead("a").bead("b")
    waiting = town.key("drain", {"nonce": "n", "started_at": to_text(ago(minutes=1))}).waits()["b"]
    ends = T + timedelta(minutes=6, milliseconds=1)
    assert (waiting.reason, waiting.due_at) == ("draining", ends)
    town.tick(at=ends)
    assert town.waits(ends)["b"].reason == "rig_full"

"""Scenarios 103 to 116: convoys count, close, land or give up."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.report import BusinessEvent
from shared.domain.times import to_text
from tests.scenarios.outside import answer
from tests.scenarios.stories import deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event

SECOND = timedelta(seconds=1)
LANDS = "convoys.create_landing: create_landing_mr c rig-1"


def a_convoy(*statuses: str, ready: bool = False, stored: int | None = None, **convoy: Any) -> TownBuilder:
    """The convoy C with one task for each status; what is given changes the convoy."""
    town = a_town()
    tasks = [f"t-{number}" for number in range(len(statuses))]
    for task, status in zip(tasks, statuses, strict=True):
        town.bead(task, status=status, labels=["gt:held"])
    done = sum(status in ("closed", "failed") for status in statuses)
    convoy["metadata"] = {
        "feature_branch": "convoy/x/head",
        **({"ready_to_land": 1} if ready else {}),
        **convoy.get("metadata", {}),
    }
    return town.convoy("c", tracked=tasks, closed=done if stored is None else stored, **convoy)


def landings(town: TownBuilder) -> list[tuple[str, str]]:
    """(id, status) of the MRs that track the convoy, oldest first."""
    return [
        (row[0], row[1])
        for row in town.rows(
            "SELECT b.bead_id, b.status FROM beads b JOIN bead_dependencies d ON d.bead_id = b.bead_id "
            "WHERE d.depends_on_bead_id = 'c' AND b.type = 'merge_request' ORDER BY b.created_at, b.bead_id"
        )
    ]


# --- C1 to C3: count and close ----------------------------------------------------------------------


@scenario(103)
@pytest.mark.parametrize(
    ("statuses", "count"), [(["closed", "open"], 1), (["closed", "failed", "open"], 2), (["failed", "open"], 1)]
)
def test_the_progress_of_a_convoy_counts_what_is_over(statuses: list[str], count: int) -> None:
    town = a_convoy(*statuses, stored=0)
    assert deeds(town.tick()) == [f"convoys.record_progress: update_convoy_progress c {count}"]
    assert town.one("convoy_metadata", "c", "closed_beads", "total_beads") == (count, len(statuses))
    assert deeds(town.tick(at=T + 5 * SECOND)) == []


@scenario(103)
def test_a_wrong_total_is_put_right() -> None:
    town = a_convoy("closed", "open", total=7)
    assert deeds(town.tick()) == ["convoys.record_progress: update_convoy_progress c 1"]
    assert town.one("convoy_metadata", "c", "closed_beads", "total_beads") == (1, 2)


@scenario(103)
def test_a_closed_task_with_a_live_review_counts_but_the_convoy_is_not_done() -> None:
    town = a_convoy("closed", stored=0, mode="review-and-merge")
    town.bead("held", labels=["gt:held"]).review("m", of="t-0").edge("m", "held")
    assert deeds(town.tick()) == ["convoys.record_progress: update_convoy_progress c 1"]
    assert deeds(town.tick(at=T + 5 * SECOND)) == []
    assert (town.status("c"), town.one("convoy_metadata", "c", "closed_beads")) == ("open", 1)


@scenario(104)
@pytest.mark.parametrize("mode", ["review-then-land", "review-and-merge", None])
def test_a_convoy_of_which_no_task_succeeded_fails_without_landing(mode: str | None) -> None:
    town = a_convoy("failed", "failed", mode=mode)
    report = town.tick()
    assert deeds(report) == ["convoys.fail_without_success: fail_convoy c"]
    assert report.actions[0].action["reason"] == "no work succeeded"
    assert town.status("c") == "failed"
    assert town.metadata("c")["failureReason"] == "no_work_succeeded"
    assert town.metadata("c")["failureMessage"] == "no work succeeded"
    assert landings(town) == []
    [(notes,)] = town.rows("SELECT metadata FROM bead_events WHERE bead_id = 'c' AND event_type = 'status_changed'")
    assert json.loads(notes)["failure_reason"]["code"] == "reconciler"


@scenario(104)
@pytest.mark.parametrize(
    ("mode", "goes_on"),
    [
        ("review-and-merge", "convoys.close: close_convoy c"),
        ("review-then-land", "convoys.mark_ready_to_land: set_convoy_ready_to_land c"),
        (None, "convoys.mark_ready_to_land: set_convoy_ready_to_land c"),
    ],
)
def test_a_convoy_of_which_one_task_succeeded_goes_on(mode: str | None, goes_on: str) -> None:
    assert deeds(a_convoy("closed", "failed", mode=mode).tick()) == [goes_on]


@scenario(105)
def test_a_review_and_merge_convoy_closes_with_its_last_task() -> None:
    town = a_convoy("closed", "closed", mode="review-and-merge")
    assert deeds(town.tick()) == ["convoys.close: close_convoy c"]
    assert (town.status("c"), town.one("convoy_metadata", "c", "landed_at")) == ("closed", to_text(T))


@scenario(105)
def test_a_review_and_merge_convoy_waits_for_its_last_task() -> None:
    town = a_convoy("closed", "open", mode="review-and-merge")
    assert deeds(town.tick()) == []
    assert (town.status("c"), town.one("convoy_metadata", "c", "landed_at")) == ("open", None)


@scenario(105)
def test_a_convoy_without_tasks_is_never_done() -> None:
    town = a_convoy(mode="review-and-merge")
    assert deeds(town.tick()) == []
    assert town.status("c") == "open"


# --- C4 to C10: landing -----------------------------------------------------------------------------


@scenario(106)
def test_a_convoy_lands_step_by_step() -> None:
    town = a_convoy("closed", "closed").update("rigs", "rig-1", default_branch="trunk")
    first, second, third = town.ticks(3)
    assert deeds(first) == ["convoys.mark_ready_to_land: set_convoy_ready_to_land c"]
    assert town.metadata("c")["ready_to_land"] == 1
    assert deeds(second) == [LANDS]
    assert town.metadata("c")["landing_mr_attempts"] == 1
    assert town.metadata("c")["last_landing_mr_attempt_at"] == to_text(T + 5 * SECOND)
    [(landing, _)] = landings(town)
    assert town.one("review_metadata", landing, "branch", "target_branch") == ("convoy/x/head", "trunk")
    assert town.one("beads", landing, "created_by", "rig_id", "title") == ("system", "rig-1", "Review: convoy/x/head")
    assert deeds(third) == [
        f"reviews.dispatch_refinery: transition_bead {landing} in_progress",
        f"reviews.dispatch_refinery: dispatch_agent {landing}",
    ]
    [(_, refinery, generation, _)] = outbox(town, "dispatch_agent")
    done = event("agent_done", {"branch": "convoy/x/head", "generation": generation}, agent=refinery)
    merged = town.tick(done, at=T + 15 * SECOND)
    assert outcomes(merged) == [("agent_done", "applied")]
    assert (town.status(landing), town.status("c")) == ("in_progress", "open")
    town.tick(answer(town, "verify_merge", contained=True, sha="abc", at=T + 20 * SECOND), at=T + 20 * SECOND)
    assert (town.status(landing), town.status("c")) == ("closed", "closed")
    assert town.one("convoy_metadata", "c", "landed_at") == to_text(T + 20 * SECOND)


@scenario(106)
def test_a_landing_review_that_was_closed_by_other_means_closes_the_convoy() -> None:
    town = a_convoy("closed", ready=True).review("m", "closed", of="c", created_by="system")
    assert deeds(town.tick()) == ["convoys.land: close_convoy c"]
    assert (town.status("c"), town.one("convoy_metadata", "c", "landed_at")) == ("closed", to_text(T))


@scenario(107)
@pytest.mark.parametrize("landing", [None, "open", "in_progress", "failed"])
@pytest.mark.parametrize("ready", [False, True])
def test_no_rule_closes_a_convoy_that_was_not_landed(landing: str | None, ready: bool) -> None:
    town = a_convoy("closed", ready=ready)
    if landing is not None:
        town.review("m", landing, of="c", created_by="system")
    now = T
    for _ in range(60):
        report = town.tick(at=now)
        for refinery in [effect.subject for effect in report.effects if effect.kind == "dispatch_agent"]:
            failed = {"status": "failed", "reason": "conflict"}
            report = town.tick(event("agent_completed", failed, agent=refinery, at=now), at=now + 5 * SECOND)
        assert town.status("c") != "closed"
        now = max(report.next_due or now, now + 10 * SECOND)
    assert "close_convoy" not in " ".join(line for seen in town.reports for line in deeds(seen))


@scenario(108)
@pytest.mark.parametrize("status", ["open", "in_progress"])
def test_a_landing_review_is_waited_for_however_long_it_takes(status: str) -> None:
    town = a_convoy("closed", ready=True, metadata={"landing_mr_attempts": 1})
    town.bead("held", labels=["gt:held"])
    town.review("m", status, of="c", created_by="system", pr_url="https://github.com/acme/main-rig/pull/1").edge(
        "m", "held"
    )
    town.update("beads", "m", metadata={"awaiting_approval": 1})
    for hour in range(41):
        report = town.tick(at=T + timedelta(hours=hour))
        assert deeds(report, of="convoys") == []
    assert landings(town) == [("m", status)]
    assert town.status("c") == "open"


@scenario(109)
@pytest.mark.parametrize(("attempts", "seconds"), [(1, 60), (2, 120), (3, 240), (4, 480)])
def test_landing_attempts_keep_their_distance(attempts: int, seconds: int) -> None:
    last = ago(seconds=seconds) + MS
    town = a_convoy(
        "closed", ready=True, metadata={"landing_mr_attempts": attempts, "last_landing_mr_attempt_at": to_text(last)}
    )
    town.review("m", "failed", of="c", created_by="system")
    report = town.tick()
    assert (deeds(report), report.next_due) == ([], T + MS)
    assert deeds(town.tick(at=T + MS)) == [LANDS]
    assert town.metadata("c")["landing_mr_attempts"] == attempts + 1


@scenario(109)
@pytest.mark.parametrize(
    "metadata",
    [
        {"last_landing_mr_attempt_at": to_text(ago(seconds=1))},
        {"landing_mr_attempts": 2},
        {"landing_mr_attempts": "two"},
    ],
)
def test_a_cooldown_needs_both_an_attempt_and_its_time(metadata: dict[str, Any]) -> None:
    report = a_convoy("closed", ready=True, metadata=metadata).tick()
    assert (deeds(report), report.alerts) == ([LANDS], ())


@scenario(110)
def test_after_five_landing_attempts_a_convoy_fails() -> None:
    town = a_convoy("closed", ready=True)
    now, report = T, town.tick()
    while town.status("c") == "open":
        closed = {"pr_url": "https://github.com/acme/main-rig/pull/1", "pr_state": "closed"}
        fails = [
            event("pr_status_changed", closed, bead=bead, at=now)
            for bead, status in landings(town)
            if status in ("open", "in_progress")
        ]
        now = max(report.next_due or now, now + 5 * SECOND)
        report = town.tick(*fails, at=now)
        assert now < T + timedelta(hours=1)
    assert deeds(report) == ["convoys.fail_exhausted: fail_convoy c"]
    assert town.status("c") == "failed"
    assert town.metadata("c")["failureReason"] == "landing_mr_exhausted"
    assert town.metadata("c")["failureMessage"] == "Landing MR creation failed after 5 attempts"
    assert [status for _, status in landings(town)] == ["failed"] * 5


@scenario(111)
@pytest.mark.lengthy
def test_a_landing_review_that_failed_while_waiting_for_a_person_is_not_respawned() -> None:
    town = a_convoy("closed", ready=True, metadata={"landing_mr_attempts": 2})
    town.review("m", "failed", of="c", created_by="system", metadata={"awaiting_approval": 1})
    report = town.tick()
    assert deeds(report) == ["convoys.hold_for_approval: emit_event reconciler.respawn_suppressed"]
    assert report.business_events == (
        BusinessEvent("reconciler.respawn_suppressed", {"convoyId": "c", "suppressedAttempt": 3}),
    )
    assert town.metadata("c")["respawn_suppressed_attempt"] == 3
    later = town.ticks(1_000, start=T + 5 * SECOND)
    assert [line for seen in later for line in deeds(seen, of="convoys")] == []
    assert town.status("c") == "open"
    assert landings(town) == [("m", "failed")]


@scenario(112)
def test_a_convoy_whose_tasks_have_no_rig_waits() -> None:
    town = a_convoy("closed", ready=True).update("beads", "t-0", rig_id=None)
    report = town.tick()
    assert (deeds(report), town.waiting()) == ([], {"no_rig": 1})
    assert (town.status("c"), landings(town)) == ("open", [])


@scenario(112)
def test_a_convoy_lands_in_the_rig_of_its_first_task_that_has_one() -> None:
    town = a_convoy("closed", "closed", "closed", ready=True).rig("rig-2", name="other")
    town.update("beads", "t-0", rig_id=None).update("beads", "t-1", rig_id="rig-2")
    assert deeds(town.tick()) == ["convoys.create_landing: create_landing_mr c rig-2"]


# --- Events of convoys ------------------------------------------------------------------------------


def created(tasks: Sequence[Sequence[int]], *, title: str = "A convoy", convoy_id: str = "c", **fields: Any) -> Any:
    """The event of a convoy whose tasks depend on each other as given."""
    shown = [{"title": f"task {number}", "depends_on": list(needs)} for number, needs in enumerate(tasks)]
    payload = {"convoy_id": convoy_id, "title": title, "rig_id": "rig-1", "tasks": shown, **fields}
    return event("convoy_created", payload)


def edges(town: TownBuilder) -> list[tuple[str, str]]:
    """(task, task that it waits for), by title."""
    return [
        (row[0], row[1])
        for row in town.rows(
            "SELECT b.title, o.title FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id "
            "JOIN beads o ON o.bead_id = d.depends_on_bead_id WHERE d.dependency_type = 'blocks' ORDER BY 1, 2"
        )
    ]


@scenario(113)
def test_the_dependencies_of_a_convoy_become_edges() -> None:
    town = a_town()
    report = town.tick(created([[], [0], [0, 1, 1]]))
    assert outcomes(report) == [("convoy_created", "applied")]
    assert edges(town) == [("task 1", "task 0"), ("task 2", "task 0"), ("task 2", "task 1")]
    assert town.one("convoy_metadata", "c", "total_beads", "closed_beads") == (3, 0)


@scenario(113)
@pytest.mark.parametrize("needs", [[-1], [9], [0, 2]])
def test_a_convoy_with_a_task_that_depends_on_no_task_is_rejected(needs: list[int]) -> None:
    town = a_town()
    report = town.tick(created([[], needs]))
    refusal = "rejected: a task depends on a task that does not exist"
    assert (outcomes(report), deeds(report)) == ([("convoy_created", refusal)], [])
    assert (town.status("c"), edges(town)) == (None, [])


@scenario(113)
@pytest.mark.parametrize("tasks", [[[0]], [[1], [0]], [[1], [2], [0]]])
def test_a_convoy_whose_tasks_wait_for_each_other_is_rejected(tasks: list[list[int]]) -> None:
    town = a_town()
    before = town.rows("SELECT bead_id FROM beads ORDER BY 1")
    report = town.tick(created(tasks))
    assert (outcomes(report), deeds(report)) == ([("convoy_created", "rejected: cycle")], [])
    assert town.rows("SELECT bead_id FROM beads ORDER BY 1") == before


@scenario(114)
@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Add User Auth!!", "add-user-auth"),
        ("***", "convoy"),
        ("x" * 60, "x" * 40),
        ("y" * 39 + " z", "y" * 39),
        ("--Ärger & Co--", "rger-co"),
    ],
)
def test_the_feature_branch_is_named_after_the_title(title: str, slug: str) -> None:
    town = a_town()
    convoy_id = "0123abcd-0000-8000-8000-000000000000"
    town.tick(created([[]], title=title, convoy_id=convoy_id))
    assert town.one("convoy_metadata", convoy_id, "feature_branch") == f"convoy/{slug}/0123abcd/head"
    assert town.metadata(convoy_id)["feature_branch"] == f"convoy/{slug}/0123abcd/head"


@scenario(114)
def test_a_given_branch_is_kept_and_a_review_and_merge_convoy_has_none() -> None:
    town = a_town()
    town.tick(
        created([[]], convoy_id="given", feature_branch="mine"),
        created([[]], convoy_id="none", merge_mode="review-and-merge"),
    )
    branches = [town.one("convoy_metadata", convoy, "feature_branch") for convoy in ("given", "none")]
    assert branches == ["mine", None]


@scenario(115)
def test_the_tasks_of_a_planned_convoy_wait_until_it_is_started() -> None:
    town = a_town()
    planned = town.tick(created([[], []], staged=True))
    assert (deeds(planned), town.waiting()) == ([], {"staged": 3})
    started = town.tick(event("convoy_started", {"convoy_id": "c"}), at=T + 5 * SECOND)
    assert outcomes(started) == [("convoy_started", "applied")]
    assert [line.partition(":")[0] for line in deeds(started)] == ["beads.dispatch_ready"] * 2
    assert town.one("convoy_metadata", "c", "staged") == 0
    again = town.tick(event("convoy_started", {"convoy_id": "c"}, at=T + 6 * SECOND), at=T + 10 * SECOND)
    assert (outcomes(again), deeds(again)) == ([("convoy_started", "skipped: already")], [])


@scenario(116)
def test_a_convoy_that_is_closed_by_force_takes_everything_with_it() -> None:
    town = a_convoy("in_progress", "in_review", "open")
    town.update("beads", "t-0", assignee_agent_bead_id="p").agent("p", status="working", hook="t-0")
    town.review("m", "in_progress", of="t-1").agent("f", "refinery", "idle", hook="m")
    report = town.tick(event("convoy_closed", {"convoy_id": "c"}))
    assert outcomes(report) == [("convoy_closed", "applied")]
    assert deeds(report) == ["event:convoy_closed: stop_agent p"]
    assert [town.status(bead) for bead in ("t-0", "t-1", "t-2", "c", "m")] == ["closed"] * 4 + ["failed"]
    assert (town.doing("p"), town.doing("f")) == (("idle", None), ("idle", None))
    assert town.one("convoy_metadata", "c", "landed_at", "closed_beads") == (to_text(T), 3)
    assert outbox(town) == [("stop_agent", "p", 1, "claimed"), ("stop_agent", "f", 1, "claimed")]
    [(notes,)] = town.rows("SELECT metadata FROM bead_events WHERE bead_id = 'm' AND event_type = 'status_changed'")
    assert json.loads(notes)["failure_reason"]["code"] == "convoy_closed"
    again = town.tick(event("convoy_closed", {"convoy_id": "c"}, at=T + SECOND), at=T + 5 * SECOND)
    assert (outcomes(again), deeds(again)) == ([("convoy_closed", "skipped: terminal")], [])

"""Corners of the state functions that no event or rule of the catalogue reaches today, or that a legal town hides."""

from typing import Literal

import pytest

from shared.domain.outcomes import Applied, Skipped
from shared.domain.states import AgentStatus
from shared.town import lookup
from shared.town.writing import agents, beads, last_words, reviews, usage, work_reports
from shared.town.writing.escalations import bump
from shared.town.writing.review_reports import Done
from tests.towns import MS, T, TownBuilder, a_town, ago, event, outcome_of
from tests.unit.actions.builders import on

PR = "https://github.com/acme/main-rig/pull/1"


def escalations(town: TownBuilder) -> list[tuple[str, str | None]]:
    return town.rows("SELECT severity, category FROM escalation_metadata ORDER BY bead_id")


# 3.4 Change an agent's status


@pytest.mark.parametrize(
    ("role", "status", "result"),
    [
        ("mayor", "working", "moved"),
        ("mayor", "idle", "moved_on"),
        ("mayor", "stalled", "moved_on"),
        ("polecat", "working", "moved_on"),
    ],
)
def test_only_a_working_mayor_begins_to_wait(role: str, status: str, result: str) -> None:
    stage = on(a_town().agent("x", role, status))
    assert agents.move(stage.town, "x", AgentStatus.WAITING) == result
    assert stage.agent("x", "status") == ("waiting" if result == "moved" else status)


# 3.7 Delete


def test_the_finished_work_of_a_deleted_agent_only_loses_its_name() -> None:
    stage = on(
        a_town()
        .agent("p")
        .bead("done", status="closed", assignee_agent_bead_id="p", updated_at=ago(hours=1))
        .bead("reviewed", status="in_review", assignee_agent_bead_id="p")
        .bead("going", status="in_progress", assignee_agent_bead_id="p")
    )
    before = stage.bead("done", "updated_at")
    agents.delete(stage.town, "p")
    columns = ("status", "assignee_agent_bead_id")
    assert [stage.bead(bead, *columns) for bead in ("done", "reviewed", "going")] == [
        ("closed", None),
        ("in_review", None),
        ("open", None),
    ]
    assert stage.bead("done", "updated_at") == before
    assert stage.audit("done") == []


def test_what_is_gone_has_no_fields_to_set() -> None:
    stage = on(a_town())
    assert not beads.set_metadata(stage.town, "gone", {"a": 1})
    beads.set_fields(stage.town, "gone", {"title": "x"})
    assert not stage.bead("gone", "title")


def test_metadata_that_stays_as_it_is_is_not_written() -> None:
    stage = on(a_town().bead("b", metadata={"a": 1}))
    before = stage.rows.sql.total_changes
    assert not beads.set_metadata(stage.town, "b", {"a": 1, "none": None})
    assert stage.rows.sql.total_changes == before
    assert beads.set_metadata(stage.town, "b", {"a": None, "b": 2})
    assert stage.rows.metadata("b") == {"b": 2}


# 3.11 Submit to review


@pytest.mark.parametrize("tracked", [False, True])
def test_a_review_knows_the_convoy_of_its_source_if_there_is_one(tracked: bool) -> None:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    if tracked:
        town.convoy("c", tracked=["b"], branch="convoy/x/head")
    town.tick(event("agent_done", {"branch": "gt/p/1"}, agent="p"))
    [(review,)] = town.rows("SELECT bead_id FROM beads WHERE type = 'merge_request'")
    named = {key: value for key, value in town.metadata(review).items() if key.startswith("convoy")}
    assert named == ({"convoy_id": "c", "convoy_feature_branch": "convoy/x/head"} if tracked else {})


# 3.12 Complete a review


def test_a_review_that_ends_in_a_conflict_is_reported_and_its_source_is_open_again() -> None:
    stage = on(
        a_town().bead("b", status="in_review", assignee_agent_bead_id="p").review("m", "in_progress", of="b").agent("p")
    )
    assert reviews.complete(stage.town, "m", "conflict", message="it does not merge")
    assert (stage.bead("m", "status"), stage.bead("b", "status", "assignee_agent_bead_id")) == (
        "failed",
        ("open", None),
    )
    assert escalations(stage.rows) == [("high", "merge_conflict")]


def test_a_review_that_failed_is_not_reported_as_a_conflict() -> None:
    stage = on(a_town().bead("b", status="in_review").review("m", "in_progress", of="b"))
    assert reviews.complete(stage.town, "m", "failed", message="no")
    assert (stage.bead("b", "status"), escalations(stage.rows)) == ("open", [])


# 3.13 agentDone, 3.14 agentCompleted


def a_worker_without_a_hook(**agent: object) -> TownBuilder:
    return a_town().agent("p", status="idle", **agent)  # type: ignore[arg-type]


def done(town: TownBuilder, *, bead: str | None = None) -> str | None:
    said = event("agent_done", {"branch": "gt/p/1"}, agent="p", bead=bead)
    return outcome_of(town.tick(said), said.event_id)


def test_the_named_bead_is_taken_though_another_is_newer() -> None:
    town = (
        a_worker_without_a_hook()
        .bead("old", status="in_progress", assignee_agent_bead_id="p", updated_at=ago(minutes=2))
        .bead("new", status="in_progress", assignee_agent_bead_id="p", updated_at=ago(minutes=1))
    )
    assert done(town, bead="old") == "applied"
    assert (town.status("old"), town.status("new")) == ("in_review", "in_progress")


@pytest.mark.parametrize(
    "bead",
    [{"status": "open", "assignee_agent_bead_id": "p"}, {"status": "in_progress", "assignee_agent_bead_id": "q"}],
    ids=["not begun", "another's"],
)
def test_a_named_bead_that_is_not_the_agents_own_work_is_not_attributed(bead: dict[str, str]) -> None:
    town = a_worker_without_a_hook().agent("q").bead("b", **bead)
    assert done(town, bead="b") == "skipped: no work to attribute"
    assert town.rows("SELECT bead_id FROM beads WHERE type = 'merge_request'") == []


def test_the_newest_dispatch_that_is_gone_is_missing() -> None:
    assert done(a_worker_without_a_hook(last_dispatch_bead_id="gone"), bead="gone") == "skipped: missing"


@pytest.mark.parametrize("status", ["closed", "failed"])
@pytest.mark.parametrize("kind", ["issue", "merge_request", "molecule"])
def test_work_that_is_over_is_already_done(kind: str, status: str) -> None:
    town = a_worker_without_a_hook(last_dispatch_bead_id="b")
    if kind == "merge_request":
        town.review("b", status)
    else:
        town.bead("b", kind, status)
    assert done(town, bead="b") == "skipped: already done"
    assert town.status("b") == status


def test_a_label_of_follow_up_work_does_not_close_a_review() -> None:
    town = a_town().review("m", "in_progress", labels=["gt:rework"]).agent("f", "refinery", "working", hook="m")
    town.tick(event("agent_done", {"branch": "gt/p/1", "pr_url": PR}, agent="f"))
    assert town.status("m") == "in_progress"


@pytest.mark.parametrize(("before", "after"), [("dead", "dead"), ("working", "idle")])
def test_a_dead_agent_stays_dead_when_its_last_word_comes(before: str, after: str) -> None:
    stage = on(a_town().bead("b", status="closed").agent("p", status=before, last_dispatch_bead_id="b"))
    said = work_reports.agent_done(stage.town, "p", Done(branch="x", bead_id="b"))
    assert (said.outcome, stage.agent("p", "status")) == (Skipped("already done"), after)


def test_an_agent_that_ends_on_a_bead_that_is_gone_lets_go_of_it() -> None:
    stage = on(a_town().agent("p", status="working", hook="gone"))
    assert work_reports.agent_completed(stage.town, "p", status="failed", reason="crash") == Applied()
    assert stage.agent("p", "status", "current_hook_bead_id") == ("idle", None)


def test_a_triage_batch_that_is_done_is_closed_without_a_review() -> None:
    town = a_town().bead(
        "t", status="in_progress", labels=["gt:triage"], created_by="patrol", assignee_agent_bead_id="p"
    )
    town.agent("p", status="working", hook="t").tick(event("agent_done", {"branch": "x"}, agent="p"))
    assert town.status("t") == "closed"


def test_a_label_of_triage_on_the_bead_of_a_person_is_only_a_label() -> None:
    town = a_town().bead(
        "t", status="in_progress", labels=["gt:triage"], created_by="mayor", assignee_agent_bead_id="p"
    )
    town.agent("p", status="working", hook="t").tick(event("agent_done", {"branch": "x"}, agent="p"))
    assert town.status("t") == "in_review"


@pytest.mark.parametrize("status", ["closed", "failed"])
def test_an_escalation_that_is_over_is_not_raised(status: str) -> None:
    stage = on(a_town().bead("e", "escalation", status).insert("escalation_metadata", bead_id="e", severity="low"))
    assert not bump(stage.town, "e", "medium")
    assert not bump(stage.town, "gone", "medium")
    assert escalations(stage.rows) == [("low", None)]


# 3.14 The end of an agent's process


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_an_end_that_is_known_already_is_not_written_down_again(status: Literal["completed", "failed"]) -> None:
    stage = on(a_town().agent("p", dispatch_attempts=1))
    assert work_reports.agent_completed(stage.town, "p", status=status) == Applied()
    assert len(stage.audit("p")) == 1
    before = stage.rows.image()
    assert work_reports.agent_completed(stage.town, "p", status=status) == Skipped("already")
    assert stage.rows.image() == before


# 3.20 Keep last words


@pytest.mark.parametrize(("status", "kept"), [("in_progress", True), ("closed", False), (None, False)])
def test_last_words_are_kept_for_a_bead_that_somebody_else_may_work_on(status: str | None, kept: bool) -> None:
    town = a_town() if status is None else a_town().bead("b", status=status)
    stage = on(town.agent("p", status="working", hook=None if status is None else "b"))
    agent = lookup.agent(stage.town, "p")
    assert agent is not None
    before = stage.rows.image()
    last_words.keep(stage.town, agent, "the context of the model is full", generation=1)
    assert (stage.rows.image() != before) is kept


# 3.9 Let the source of a reopened MR go on


@pytest.mark.parametrize("bead_type", ["message", "molecule"])
def test_a_reopened_review_of_what_is_no_work_leaves_it_as_it_is(bead_type: str) -> None:
    """An imported town may hold anything."""
    stage = on(a_town().bead("b", bead_type, labels=["gt:held"]))
    before = stage.rows.image()
    source = lookup.bead(stage.town, "b")
    assert source is not None
    reviews.resume_source(stage.town, source)
    assert stage.rows.image() == before


# 3.18 What was used


def test_what_people_were_told_of_a_budget_is_noted_once() -> None:
    stage = on(a_town().insert("usage_sums", kind="bead", subject="b"))
    noted = [usage.note_told(stage.town, "bead", "b", limit) for limit in ("5 usd", "5 usd", "9 usd")]
    assert noted == [True, False, True]
    assert not usage.note_told(stage.town, "bead", "another", "5 usd")


def test_a_budget_is_spent_from_the_first_time_on_until_it_is_not() -> None:
    stage = on(a_town().insert("usage_sums", kind="bead", subject="b"))
    noted = [usage.note_spent(stage.town, "bead", "b", since) for since in (None, T, T + MS, None, None)]
    assert noted == [False, True, False, True, False]

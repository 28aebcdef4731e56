"""Status and assignee of beads."""

import pytest

from shared.actions import AssignBead, ClearBeadAssignee, TransitionBead
from shared.domain.outcomes import Applied, Skipped
from shared.domain.states import BeadStatus
from tests.towns import a_town, ago, text
from tests.unit.actions.builders import NOW, on

EARLIER = text(ago(hours=1))


def to_open(bead_id: str = "b", from_: BeadStatus | None = BeadStatus.IN_PROGRESS) -> TransitionBead:
    return TransitionBead(bead_id=bead_id, from_=from_, to=BeadStatus.OPEN, reason="agent lost")


# transition_bead


def test_a_bead_moves_and_the_audit_says_who_and_why() -> None:
    stage = on(a_town().bead("b", status="in_progress", updated_at=EARLIER))
    assert stage.apply(to_open()) == Applied()
    assert stage.bead("b", "status", "updated_at", "closed_at") == ("open", NOW, None)
    assert stage.audit("b") == [
        ("status_changed", "in_progress", "open", {"actor": "system", "reason": "agent lost"}),
    ]


def test_the_actor_of_a_move_is_audited() -> None:
    stage = on(a_town().bead("b"))
    stage.apply(TransitionBead(bead_id="b", to=BeadStatus.CLOSED, reason="done", actor="ann"))
    assert stage.audit("b")[-1] == ("status_changed", "open", "closed", {"actor": "ann", "reason": "done"})
    assert stage.bead("b", "status", "closed_at") == ("closed", NOW)


def test_a_bead_that_the_scheduler_fails_says_so() -> None:
    stage = on(a_town().bead("b"))
    action = TransitionBead(bead_id="b", from_=BeadStatus.OPEN, to=BeadStatus.FAILED, reason="max attempts (5)")
    assert stage.apply(action) == Applied()
    assert stage.bead("b", "status", "closed_at") == ("failed", None)
    assert stage.audit("b")[-1][3]["failure_reason"] == {
        "code": "reconciler",
        "message": "max attempts (5)",
        "source": "scheduler",
    }
    assert stage.rows.metadata("b") == {}


def test_a_failed_review_keeps_the_reason_in_its_metadata() -> None:
    stage = on(a_town().review("m", "in_progress"))
    stage.apply(TransitionBead(bead_id="m", to=BeadStatus.FAILED, reason="PR review orphaned"))
    assert stage.rows.metadata("m") == {"failureReason": "reconciler", "failureMessage": "PR review orphaned"}


def test_a_finished_task_counts_for_its_convoy() -> None:
    stage = on(a_town().bead("b", status="in_progress").convoy("c", tracked=["b"]))
    stage.apply(TransitionBead(bead_id="b", to=BeadStatus.FAILED, reason="x"))
    assert stage.rows.one("convoy_metadata", "c", "closed_beads", "total_beads") == (1, 1)


@pytest.mark.parametrize(
    ("status", "reason"),
    [("open", "already"), ("in_review", "moved_on"), ("closed", "terminal"), ("failed", "terminal")],
)
def test_a_bead_that_is_no_longer_as_the_rule_saw_it_stays(status: str, reason: str) -> None:
    stage = on(a_town().bead("b", status=status))
    assert stage.refused(to_open()) == Skipped(reason)


def test_a_bead_that_is_gone_is_missing() -> None:
    assert on(a_town()).refused(to_open()) == Skipped("missing")


@pytest.mark.parametrize("terminal", ["closed", "failed"])
def test_a_terminal_bead_never_moves_even_without_an_expected_status(terminal: str) -> None:
    stage = on(a_town().bead("b", status=terminal))
    assert stage.refused(to_open(from_=None)) == Skipped("terminal")


# assign_bead


def test_a_live_bead_gets_an_assignee() -> None:
    stage = on(a_town().bead("b", updated_at=EARLIER).agent("p"))
    assert stage.apply(AssignBead(bead_id="b", agent_id="p")) == Applied()
    assert stage.bead("b", "assignee_agent_bead_id", "updated_at", "status") == ("p", NOW, "open")
    assert stage.audit("b") == [("assigned", None, "p", {})]


@pytest.mark.parametrize(
    ("bead_id", "agent_id", "reason"),
    [("b", "nobody", "missing"), ("nothing", "p", "missing"), ("over", "p", "terminal"), ("mine", "p", "already")],
)
def test_only_a_live_bead_goes_to_an_agent_that_exists(bead_id: str, agent_id: str, reason: str) -> None:
    rows = a_town().agent("p").bead("b").bead("over", status="failed").bead("mine", assignee_agent_bead_id="p")
    assert on(rows).refused(AssignBead(bead_id=bead_id, agent_id=agent_id)) == Skipped(reason)


# clear_bead_assignee


def test_a_bead_is_taken_away_from_its_assignee_and_from_every_hook() -> None:
    rows = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p", updated_at=EARLIER)
    stage = on(rows.agent("p", status="working", hook="b", checkpoint="{}"))
    assert stage.apply(ClearBeadAssignee(bead_id="b")) == Applied()
    assert stage.bead("b", "assignee_agent_bead_id", "status", "updated_at") == (None, "in_progress", NOW)
    assert stage.agent("p", "status", "current_hook_bead_id", "checkpoint") == ("idle", None, None)
    assert stage.audit("b") == [("unhooked", None, None, {})]


def test_a_hook_alone_is_taken_away_too() -> None:
    stage = on(a_town().bead("b", updated_at=EARLIER).agent("p", hook="b"))
    assert stage.apply(ClearBeadAssignee(bead_id="b")) == Applied()
    assert stage.bead("b", "updated_at") == NOW
    assert stage.rows.doing("p") == ("idle", None)


def test_an_assignee_that_is_no_agent_any_more_is_cleared() -> None:
    stage = on(a_town().bead("b", assignee_agent_bead_id="gone"))
    assert stage.apply(ClearBeadAssignee(bead_id="b")) == Applied()
    assert stage.bead("b", "assignee_agent_bead_id") is None


def test_a_free_bead_is_free_already() -> None:
    assert on(a_town().bead("b")).refused(ClearBeadAssignee(bead_id="b")) == Skipped("already")


def test_nothing_is_cleared_of_a_bead_that_is_gone() -> None:
    assert on(a_town()).refused(ClearBeadAssignee(bead_id="b")) == Skipped("missing")


def test_a_terminal_bead_is_released_and_stays_terminal() -> None:
    stage = on(a_town().bead("b", status="failed", assignee_agent_bead_id="p"))
    assert stage.apply(ClearBeadAssignee(bead_id="b")) == Applied()
    assert stage.bead("b", "assignee_agent_bead_id", "status") == (None, "failed")

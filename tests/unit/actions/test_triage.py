"""Triage requests and escalations."""

import json

import pytest

from shared.actions import BumpEscalation, CreateTriageRequest, EscalateTriage
from shared.domain.outcomes import Applied, Skipped
from tests.towns import TownBuilder, a_town
from tests.unit.actions.builders import on

ASK = CreateTriageRequest(agent_id="p", triage_type="stuck_agent", reason="GUPP escalation")


def request(
    rows: TownBuilder, bead_id: str, *, agent: str = "p", kind: str = "stuck_agent", status: str = "open"
) -> None:
    rows.bead(
        bead_id,
        status=status,
        rig_id=None,
        labels=["gt:triage-request"],
        assignee_agent_bead_id=agent,
        metadata={"triage_type": kind},
    )


# create_triage_request


def test_a_request_says_who_is_stuck_on_what() -> None:
    rows = a_town().bead("b").agent("p", status="working", hook="b")
    stage = on(rows.key("triage", {"last_batch_at": None, "fruitless": 3}))
    assert stage.apply(ASK) == Applied()
    [request_id] = stage.created("issue")
    assert stage.bead(
        request_id, "status", "title", "rig_id", "assignee_agent_bead_id", "created_by", "labels", "priority"
    ) == ("open", "Triage: GUPP escalation", None, "p", "system", '["gt:triage-request"]', "medium")
    assert stage.rows.metadata(request_id) == {
        "triage_type": "stuck_agent",
        "agent_bead_id": "p",
        "hooked_bead_id": "b",
        "context": "GUPP escalation",
        "options": ["RESTART", "CLOSE_BEAD", "ESCALATE"],
    }
    assert stage.rows.value("triage") == {"last_batch_at": None, "fruitless": 0, "escalated": False}


def test_an_agent_without_a_hook_is_asked_about_without_a_bead() -> None:
    stage = on(a_town().agent("p"))
    stage.apply(ASK)
    assert stage.rows.metadata(stage.created("issue")[0])["hooked_bead_id"] is None


def test_the_same_question_is_asked_once() -> None:
    stage = on(a_town().agent("p"))
    stage.apply(ASK)
    again = CreateTriageRequest(agent_id="p", triage_type="stuck_agent", reason="another reason")
    assert stage.refused(again) == Skipped("already")
    other = CreateTriageRequest(agent_id="p", triage_type="crash_loop", reason="GUPP escalation")
    assert stage.apply(other) == Applied()


def test_an_answered_question_may_be_asked_again() -> None:
    rows = a_town().agent("p")
    request(rows, "old", status="closed")
    assert on(rows).apply(ASK) == Applied()


@pytest.mark.parametrize(("open_ones", "outcome"), [(4, Applied()), (5, Skipped("cap"))])
def test_at_most_five_ordinary_requests_are_open(open_ones: int, outcome: Applied | Skipped) -> None:
    rows = a_town().agent("p")
    for number in range(open_ones):
        request(rows, f"r{number}", agent=f"q{number}")
    request(rows, "e", agent="mayor", kind="escalation")
    request(rows, "done", status="closed")
    assert on(rows).apply(ASK) == outcome


def test_an_escalation_is_asked_about_beyond_the_cap() -> None:
    rows = a_town()
    for number in range(5):
        request(rows, f"r{number}", agent=f"q{number}")
    action = CreateTriageRequest(agent_id="mayor", triage_type="escalation", reason="x")
    assert on(rows).apply(action) == Applied()


def test_nobody_is_asked_about() -> None:
    assert on(a_town()).refused(ASK) == Skipped("missing")


# bump_escalation


def escalation(status: str = "open", *, acknowledged: int = 0) -> TownBuilder:
    rows = a_town().bead("e", "escalation", status, priority="medium")
    return rows.insert("escalation_metadata", bead_id="e", severity="medium", acknowledged=acknowledged)


BUMP = BumpEscalation(bead_id="e", severity="high")


def test_a_bump_raises_severity_and_priority_and_counts() -> None:
    stage = on(escalation())
    assert stage.apply(BUMP) == Applied()
    assert stage.rows.one("escalation_metadata", "e", "severity", "re_escalation_count", "acknowledged") == (
        "high",
        1,
        0,
    )
    assert stage.bead("e", "priority", "status") == ("high", "open")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (lambda: escalation(acknowledged=1), "moved_on"),
        (lambda: escalation("closed"), "terminal"),
        (lambda: escalation("failed"), "terminal"),
        (a_town, "missing"),
        (lambda: a_town().bead("e"), "missing"),
    ],
    ids=["acknowledged", "closed", "failed", "gone", "no-escalation"],
)
def test_only_a_live_escalation_that_nobody_saw_is_raised(rows: object, reason: str) -> None:
    assert callable(rows)
    assert on(rows()).refused(BUMP) == Skipped(reason)


# escalate_triage


def test_a_person_is_asked_once_where_triage_has_no_answer() -> None:
    stage = on(a_town().key("triage", {"last_batch_at": None, "fruitless": 5}))
    assert stage.apply(EscalateTriage(requests=3, batches=5)) == Applied()
    [bead_id] = stage.created("escalation")
    assert stage.rows.one("escalation_metadata", bead_id, "severity", "category") == ("high", "triage_exhausted")
    assert json.loads(stage.rows.one("town", "triage", "value")) == {
        "last_batch_at": None,
        "fruitless": 5,
        "escalated": True,
    }
    assert stage.refused(EscalateTriage(requests=3, batches=5)) == Skipped("already")

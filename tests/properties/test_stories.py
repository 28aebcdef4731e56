"""What random histories found, each kept as the shortest story that shows it."""

from shared.domain.report import TickReport
from tests.towns import T, a_town, actions, ago, event, outcome_of


def _unreadable(report: TickReport) -> list[str]:
    return [violation.subject for violation in report.violations if violation.invariant == 1]


def test_an_effect_of_an_agent_that_cannot_be_read_does_not_stop_the_town() -> None:
    town = a_town().bead("b1").bead("b2")
    town.tick(at=ago(minutes=10))
    [(agent_id,)] = town.rows("SELECT a.bead_id FROM agent_metadata a WHERE a.current_hook_bead_id = 'b1'")
    town.update("agent_metadata", agent_id, role="witness")
    report = town.tick(at=T)
    assert f"agent_metadata {agent_id}" in _unreadable(report)
    assert town.rows("SELECT state FROM outbox WHERE kind = 'dispatch_agent' AND subject = ?", agent_id) == [
        ("expired",)
    ]


def test_a_hooked_bead_that_cannot_be_read_is_named_itself() -> None:
    town = (
        a_town()
        .bead("b1", status="in_progress", last_dispatch_attempt_at="soon")
        .agent("p1", status="working", hook="b1")
    )
    assert _unreadable(town.tick()) == ["beads b1"]


def test_a_nudge_whose_end_cannot_be_read_leaves_the_others_their_end() -> None:
    town = a_town()
    for nudge_id, end in (("n1", "later"), ("n2", "2026-01-10T11:59:59.000Z")):
        town.insert(
            "agent_nudges",
            nudge_id=nudge_id,
            agent_bead_id="mayor",
            message="",
            created_at=ago(hours=1),
            expires_at=end,
        )
    report = town.tick()
    assert [each["nudge_id"] for each in actions(report, rule="housekeeping.expire_nudge")] == ["n2"]
    assert _unreadable(report) == ["agent_nudges n1"]


def test_an_escalation_whose_severity_cannot_be_read_leaves_the_others_their_bump() -> None:
    town = a_town()
    for bead_id, severity in (("e1", "terrible"), ("e2", "high")):
        town.bead(bead_id, "escalation", created_at=ago(hours=5)).insert(
            "escalation_metadata", bead_id=bead_id, severity=severity
        )
    report = town.tick()
    assert [each["bead_id"] for each in actions(report) if each["type"] == "bump_escalation"] == ["e2"]
    assert _unreadable(report) == ["escalation_metadata e1"]


def test_a_review_whose_labels_cannot_be_read_is_left_alone_and_named() -> None:
    town = a_town().review("m1", labels="no json").review("m2", rig_id="rig-2").rig("rig-2", name="other")
    report = town.tick()
    assert [each["bead_id"] for each in actions(report, rule="reviews.dispatch_refinery")] == ["m2", "m2"]
    assert _unreadable(report) == ["beads m1"]
    assert report.alerts[0].kind == "invariant_violation"


def test_a_polecat_that_was_renamed_keeps_its_identity_to_itself() -> None:
    town = a_town().bead("b1")
    town.tick(at=ago(seconds=50))
    [(agent_id,)] = town.rows("SELECT bead_id FROM beads WHERE title = 'Toast'")
    town.bead("b2")
    report = town.tick(event("bead_updated", {"title": "Maria"}, event_id="renamed-1", bead=agent_id))
    assert outcome_of(report, "renamed-1") == "applied"
    [dispatched] = [judged for judged in report.actions if judged.rule == "beads.dispatch_ready"]
    assert (dispatched.outcome, dispatched.reason) == ("applied", None)


def test_a_convoy_says_whether_its_landing_waits_for_a_person_or_for_its_next_attempt() -> None:
    for approval, reason in ((1, "awaiting_approval"), (0, "cooldown")):
        tried = {"ready_to_land": 1, "landing_mr_attempts": 1, "last_landing_mr_attempt_at": "2026-01-10T11:59:50.000Z"}
        town = a_town().bead("b1", status="closed").convoy("c1", tracked=["b1"], closed=1, metadata=tried)
        town.review("m1", "failed", of="c1", metadata={"awaiting_approval": approval})
        town.tick()
        assert town.waiting() == {reason: 1}


def test_a_free_polecat_that_cannot_be_read_does_not_stand_in_the_way_of_its_rig() -> None:
    town = a_town().agent("p1", last_dispatch_outcome="perhaps").agent("p2").bead("b1")
    report = town.tick()
    assert town.doing("p2") == ("working", "b1")
    assert _unreadable(report) == ["agent_metadata p1"]

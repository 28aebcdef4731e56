"""W10: no sender floods the town, and what one sends too much costs nobody else."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.senders import Sender
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from tests.scenarios.table import scenario
from tests.security.tokens import outcomes, said
from tests.towns import T, TownBuilder, a_town

P = Sender("agent", "p", 1)
Q = Sender("agent", "q", 1)
MAYOR = Sender("coordinator", "mayor")
OVER = "rejected: over budget"


def at_work() -> TownBuilder:
    town = a_town()
    for agent, bead in (("p", "b"), ("q", "c")):
        town.bead(bead, status="in_progress", assignee_agent_bead_id=agent)
        town.agent(agent, status="working", hook=bead)
    return town


def acknowledgements(sender: Sender, count: int, *, start: int = 0) -> list[Envelope]:
    return [
        said(sender, "nudge_acknowledged", event_id=f"{sender.agent}-ack-{number:05}", nudge_id=f"n{number}")
        for number in range(start, start + count)
    ]


def escalations(sender: Sender, count: int) -> list[Envelope]:
    return [
        said(
            sender,
            "escalation_raised",
            event_id=f"{sender.agent}-esc-{number:05}",
            title=f"help {number}",
            severity="low",
        )
        for number in range(count)
    ]


def tally(found: dict[str, str]) -> dict[str, int]:
    return {outcome: list(found.values()).count(outcome) for outcome in sorted(set(found.values()))}


@scenario(430)
def test_a_flood_ends_at_the_budget_and_leaves_no_rows_and_one_word_about_who_it_is() -> None:
    town = at_work()
    flood = acknowledgements(P, 7300)
    reports = [town.tick(*flood[at : at + 1000], at=T + timedelta(seconds=at // 200)) for at in range(0, 7300, 1000)]
    found = {event: outcome for report in reports for event, outcome in outcomes(report).items()}
    assert tally(found) == {OVER: 6700, "skipped: missing": 600}
    assert town.rows("SELECT COUNT(*) FROM town_events") == [(600,)]
    [(title, category)] = town.rows(
        "SELECT b.title, e.category FROM beads b JOIN escalation_metadata e ON e.bead_id = b.bead_id WHERE b.status = 'open'"
    )
    assert (title, category) == (
        "agent p, generation 1 sends too much: events beyond its budget are rejected",
        "over_budget",
    )
    [alert] = [alert for report in reports for alert in report.alerts]
    assert (alert.kind, alert.extra["agent"]) == ("over_budget", "p")

    later = town.tick(*acknowledgements(P, 1, start=9000), at=T + timedelta(minutes=10))
    assert list(outcomes(later).values()) == ["skipped: missing"]
    assert town.rows("SELECT COUNT(*) FROM beads WHERE type = 'escalation' AND status = 'open'") == [(1,)]


@scenario(430)
def test_the_end_of_work_is_heard_beyond_the_budget() -> None:
    town = at_work().agent("r", "refinery", "working", hook="m").review("m", "in_progress", of="b")
    refinery = Sender("agent", "r", 1)
    town.tick(*acknowledgements(P, 600), *acknowledgements(refinery, 600))
    found = outcomes(
        town.tick(
            said(P, "agent_done", event_id="done-0001", branch="gt/p/b"),
            said(P, "agent_completed", event_id="end-00001", status="completed"),
            said(P, "escalation_raised", event_id="esc-00001", title="x", severity="low"),
            said(refinery, "changes_requested", event_id="again-001", feedback="no"),
            at=T + timedelta(seconds=5),
        )
    )
    assert {event.partition("@")[0]: outcome for event, outcome in found.items()} == {
        "done-0001": "applied",
        "end-00001": "applied",
        "esc-00001": OVER,
        "again-001": "applied",
    }


@scenario(430)
def test_reports_of_finished_work_beyond_the_budget_leave_no_rows_and_no_nudges() -> None:
    town = at_work().update("beads", "b", metadata={"branch": "gt/p/b"})
    town.tick(*acknowledgements(P, 600))
    wrong = [said(P, "agent_done", event_id=f"done-{number:04}", branch=f"x{number}") for number in range(100)]
    report = town.tick(*wrong, at=T + timedelta(seconds=5))
    assert all(outcome.startswith("rejected: ") for outcome in outcomes(report).values())
    assert town.rows("SELECT COUNT(*) FROM town_events WHERE event_type = 'agent_done'") == [(0,)]
    assert town.rows("SELECT COUNT(*) FROM agent_nudges") == [(0,)]


@scenario(431)
def test_an_agent_has_sixty_beads_and_escalations_and_a_coordinator_six_hundred() -> None:
    town = at_work()
    beads = [
        said(
            P,
            "bead_created",
            event_id=f"new-{number:05}",
            bead={"bead_id": f"n{number}", "type": "issue", "title": "x"},
        )
        for number in range(31)
    ]
    assert tally(outcomes(town.tick(*escalations(P, 30), *beads))) == {"applied": 60, OVER: 1}

    mine = {"since": to_text(T), "spent": {"@mayor": [6, 598, 0]}}
    convoys = [
        said(
            MAYOR,
            "convoy_created",
            event_id=f"convoy-{tasks}",
            convoy_id=f"v{tasks}",
            title="x",
            rig_id="rig-1",
            tasks=[{"title": "t"}] * tasks,
        )
        for tasks in (2, 1)
    ]
    found = outcomes(town.key("budgets", mine).tick(*convoys, at=T + timedelta(seconds=5)))
    assert list(found.values()) == [OVER, "applied"]


@scenario(432)
def test_the_token_of_an_older_generation_uses_up_nothing_of_the_present_one() -> None:
    town = at_work().update("agent_metadata", "p", generation=2)
    stale = acknowledgements(Sender("agent", "p", 1), 700)
    fresh = said(Sender("agent", "p", 2), "escalation_raised", event_id="esc-00001", title="x", severity="low")
    found = outcomes(town.tick(*stale, fresh))
    assert found[fresh.event_id] == "applied"


HONEST = [
    said(Q, "escalation_raised", event_id="honest-1", title="really", severity="high"),
    said(Q, "agent_status", event_id="honest-2", message="at work"),
    said(
        MAYOR,
        "bead_created",
        event_id="honest-3",
        bead={"bead_id": "h", "type": "issue", "title": "x", "rig_id": "rig-1"},
    ),
    said(MAYOR, "bead_cancelled", event_id="honest-4", about="h"),
    said(Q, "agent_done", event_id="honest-5", branch="gt/q/c"),
    said(None, "escalation_acknowledged", event_id="honest-6", about="nothing"),
]


def _flood(kind: str, number: int) -> Envelope:
    bead = {"bead_id": f"flood-{number}", "type": "issue", "title": "y"}
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "esc": ("escalation_raised", {"title": "y", "severity": "critical"}),
        "ack": ("nudge_acknowledged", {"nudge_id": "n"}),
        "bead": ("bead_created", {"bead": bead}),
        "done": ("agent_done", {"branch": "main"}),
        "beat": ("agent_heartbeat", {}),
        "says": ("agent_status", {"message": "y"}),
        "end": ("agent_completed", {"status": "failed"}),
    }
    event_type, payload = made[kind]
    return said(P, event_type, event_id=f"flood-{number:05}", **payload)


@given(
    st.lists(st.sampled_from(["esc", "ack", "bead", "done", "beat", "says", "end"]), min_size=1, max_size=7),
    st.integers(1, 200),
)
@settings(max_examples=6, deadline=None)
@scenario(432)
def test_a_flood_of_any_mix_leaves_the_outcomes_of_everybody_else_as_they_are(kinds: list[str], times: int) -> None:
    flood = [_flood(kind, number) for number, kind in enumerate(kinds * times)][:700]
    quiet, loud = at_work(), at_work()
    alone = outcomes(quiet.tick(*HONEST))
    half = len(flood) // 2
    beside = outcomes(loud.tick(*flood[:half], *HONEST, *flood[half:]))
    assert {event: beside[event] for event in alone} == alone


@scenario(433)
def test_a_thousand_messages_to_the_mayor_are_nineteen_and_a_digest_that_names_the_rest() -> None:
    town = at_work()
    raised = [
        said(None, "escalation_raised", event_id=f"esc-{number:05}", title=f"help {number}", severity="low")
        for number in range(1000)
    ]
    report = town.tick(*raised)
    told = [effect for effect in report.effects if effect.kind == "notify_mayor"]
    assert len(told) == 20
    message = str(told[-1].payload["message"])
    assert message.startswith("981 more messages")
    assert (told[-1].subject, len(message.encode()) < 32_000) == ("digest:2", True)
    assert town.rows("SELECT COUNT(*) FROM outbox WHERE kind = 'notify_mayor' AND state = 'pending'") == [(0,)]
    assert town.rows("SELECT COUNT(*) FROM outbox WHERE kind = 'notify_mayor' AND state = 'done'") == [(981,)]


@scenario(433)
def test_mail_is_never_part_of_a_digest_and_all_of_it_is_delivered() -> None:
    town = at_work()
    for number in range(30):
        town.bead(f"letter-{number:02}", "message", assignee_agent_bead_id="mayor", body=f"text {number}")
    raised = [
        said(None, "escalation_raised", event_id=f"esc-{number:05}", title=f"help {number}", severity="low")
        for number in range(30)
    ]
    reports = [town.tick(*raised), *(town.tick(at=T + timedelta(seconds=5 * number)) for number in range(1, 4))]
    told = [[effect for effect in report.effects if effect.kind == "notify_mayor"] for report in reports]
    assert max(map(len, told)) == 20
    letters = sorted(effect.subject for effects in told for effect in effects if effect.subject.startswith("mail:"))
    assert letters == [f"mail:letter-{number:02}" for number in range(30)]
    assert not any("mail:" in str(effect.payload["message"]) for effects in told for effect in effects)
    first = [effect.subject for effect in told[0]]
    digest = next(str(effect.payload["message"]) for effect in told[0] if effect.subject.startswith("digest:"))
    ids = [bead for (bead,) in town.rows("SELECT bead_id FROM beads WHERE type = 'escalation'")]
    assert all(f"escalation:{bead}" in first or f"escalation:{bead}" in digest for bead in ids)


@pytest.mark.parametrize(("asked", "made"), [(20, 20), (30, 20)])
@scenario(434)
def test_a_review_has_at_most_twenty_live_rework_beads(asked: int, made: int) -> None:
    town = at_work().agent("r", "refinery", "working", hook="m").review("m", "in_progress", of="b")
    refinery = Sender("agent", "r", 1)
    again = [
        said(refinery, "changes_requested", event_id=f"again-{number:03}", feedback="no") for number in range(asked)
    ]
    found = tally(outcomes(town.tick(*again)))
    assert found == {"applied": made} | ({"skipped: too many rework beads": asked - made} if asked > made else {})


@scenario(431)
@pytest.mark.illegal_state  # a row that cannot be read is what makes an event fail
def test_what_is_tried_again_creates_no_more_than_the_budget_has_room_for() -> None:
    """Seed 0 of the simulation: three messages that failed at first were created beyond the sixty of their window."""
    town = at_work()
    town.bead("m", "message", assignee_agent_bead_id="p", metadata="[1]")
    answers = [
        said(P, "mail_sent", event_id=f"answer-{number:05}", to="mayor", text="yes", in_reply_to="m")
        for number in range(3)
    ]
    first = town.tick(*answers, *escalations(P, 58))
    assert tally(outcomes(first)) == {"applied": 58, "failed": 3}
    town.update("beads", "m", metadata={})
    second = town.tick(at=T + timedelta(seconds=5))
    assert tally(outcomes(second)) == {"applied": 2, OVER: 1}

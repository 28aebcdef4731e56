"""Scenarios 400 to 406: a token speaks for one generation, and nobody uses up a name of another."""

from dataclasses import replace

import pytest

from shared.domain import canonical
from shared.domain.ids import IdMaker
from shared.domain.limits import ACTIVE_INTERVAL, HOOK_END_GRACE, MILLISECOND
from shared.domain.times import to_text
from shared.events.convoys import task_id
from shared.intake import ingest, redrive
from shared.town import database
from shared.town.inbox import fact_of
from tests.scenarios.table import scenario
from tests.security.holders import CONTAINER, OPERATOR, a_busy_town, agent, said, sent
from tests.towns import TOWN, T, TownBuilder, ago, event, outcome_of
from tests.upgrades.older import as_of_the_first_release

LATER = T + ACTIVE_INTERVAL
DONE = {"branch": "gt/toast/b"}
RAISED = {"title": "fire", "severity": "high"}


@scenario(400)
@pytest.mark.parametrize(("who", "outcome"), [("toast", "stale generation"), ("slit", "missing")])
def test_an_older_generation_and_a_deleted_agent_say_nothing(who: str, outcome: str) -> None:
    town = a_busy_town()
    (raised,) = sent(agent(who, 4), said("escalation_raised", RAISED, by=who))
    assert outcome_of(town.tick(raised), raised.event_id) == f"skipped: {outcome}"
    assert town.rows("SELECT subject, generation FROM outbox WHERE kind = 'stop_agent'") == [(who, 4)]


@scenario(400)
def test_an_agent_raises_escalations_about_its_own_rig_and_no_other() -> None:
    town = a_busy_town().rig("rig-2", name="other")
    about = [{**RAISED, "rig_id": rig_id} for rig_id in ("rig-1", "rig-2")]
    raised = [
        sent(agent(), said("escalation_raised", each, by="toast", event_id=f"raised-{each['rig_id']}"))
        for each in about
    ]
    report = town.tick(*(envelope for envelopes in raised for envelope in envelopes))
    assert [seen.outcome for seen in report.events] == ["applied", "rejected: another rig than the agent's"]


@scenario(401)
def test_a_heartbeat_counts_for_the_generation_of_its_token() -> None:
    town = a_busy_town()
    new = sent(agent(), said("agent_heartbeat", {"last_event_type": "new"}, by="toast", event_id="beat-new"))
    old = sent(
        agent(generation=4), said("agent_heartbeat", {"last_event_type": "old"}, by="toast", event_id="beat-old")
    )
    report = town.tick(*new, *old)
    assert outcome_of(report, "beat-old@toast") == "skipped: stale generation"
    assert town.one("agent_metadata", "toast", "last_event_type", "last_activity_at") == ("new", to_text(T))


@scenario(402)
def test_what_is_dispatched_submitted_and_planned_has_ids_of_its_own() -> None:
    town = a_busy_town().bead("work")
    for number in range(town.tick_no + 1, town.tick_no + 11):
        for bead_id in (*IdMaker(TOWN, number).ahead(20), task_id(TOWN, "plan", number)):
            town.bead(bead_id, status="closed", created_by="nux")
    town.bead(task_id(TOWN, "plan", 0), status="closed", created_by="nux")
    plan = {"convoy_id": "plan", "title": "p", "rig_id": "rig-1", "tasks": [{"title": "t"}]}
    (done,) = sent(agent(), said("agent_done", DONE, by="toast"))
    (planned,) = sent(agent("mayor", scope="coordinator"), said("convoy_created", plan, by="mayor"))
    report = town.tick(done, planned)
    assert {seen.outcome for seen in report.events} == {"applied"}
    assert (town.status("work"), town.status("B")) == ("in_progress", "in_review")
    assert town.one("convoy_metadata", "plan", "total_beads", "closed_beads") == (1, 0)


def without_rows(town: TownBuilder) -> None:
    """So much time passes that the rows of processed events leave, and nothing else happens in the town."""
    for (event_id,) in town.rows("SELECT event_id FROM town_events"):
        town.update("town_events", event_id, processed_at=ago(hours=7))
    town.tick(at=T + MILLISECOND)
    assert town.rows("SELECT event_id FROM town_events WHERE source = 'ingest'") == []


@scenario(403, 649)
@pytest.mark.parametrize("rows_left", [False, True], ids=["rows here", "rows left"])
@pytest.mark.parametrize("payload", [DONE, {"branch": "gt/toast/other"}], ids=["equal", "other"])
def test_a_report_is_applied_whoever_has_used_its_id(payload: dict[str, str], rows_left: bool) -> None:
    town = a_busy_town()
    town.tick(
        *sent(agent("nux", 4), said("agent_done", payload, by="nux")),
        *sent(CONTAINER, said("agent_completed", {"status": "completed"}, by="nux")),
        *sent(OPERATOR, said("town_started")),
        *sent(agent(generation=4), said("agent_done", payload, by="toast")),
    )
    if rows_left:
        without_rows(town)
    (honest,) = sent(agent(), said("agent_done", DONE, by="toast"), at=LATER)
    report = town.tick(honest, at=LATER)
    assert outcome_of(report, "report-1~5@toast") == "applied"
    assert town.status("B") == "in_review"


@scenario(403, 649)
@pytest.mark.parametrize("generation", [5, 6])
def test_a_report_that_was_applied_and_whose_row_has_left_is_not_applied_for_a_generation(generation: int) -> None:
    """The next generation may repeat a report that nobody has acknowledged."""
    town = a_busy_town()
    assert (
        outcome_of(town.tick(*sent(agent(), said("escalation_raised", RAISED, by="toast"))), "report-1@toast")
        == "applied"
    )
    without_rows(town)
    town.update("agent_metadata", "toast", generation=generation)
    assert (
        town.tick(*sent(agent(generation=generation), said("escalation_raised", RAISED, by="toast")), at=LATER).events
        == ()
    )
    assert town.rows("SELECT COUNT(*) FROM beads WHERE title = 'fire'") == [(1,)]


@scenario(404, 649)
@pytest.mark.parametrize("rows_left", [False, True], ids=["rows here", "rows left"])
def test_a_report_of_before_the_upgrade_is_not_applied_again(rows_left: bool) -> None:
    town = a_busy_town()
    town.tick(event("escalation_raised", RAISED, agent="toast", event_id="report-1"))
    town = replace(town, sql=database.open_image(as_of_the_first_release(town.image())))
    if rows_left:
        without_rows(town)
    assert town.tick(*sent(agent(), said("escalation_raised", RAISED, by="toast")), at=LATER).events == ()
    assert town.rows("SELECT COUNT(*) FROM beads WHERE title = 'fire'") == [(1,)]


@scenario(405)
def test_a_copy_of_a_poisoned_report_keeps_its_sender() -> None:
    town = a_busy_town()
    broken = replace(
        event("agent_done", {"branch": 1}, agent="toast", event_id="report-1@toast"), sender=agent(generation=4)
    )
    town.tick(broken)
    (row,) = town.rows(
        "SELECT event_id, seq, event_type, agent_id, bead_id, ?, source, created_at, received_at, retry_count, sender "
        "FROM town_events WHERE outcome = 'poisoned'",
        canonical.dumps(DONE),
    )
    poisoned = fact_of(row)
    copy = redrive.copy_of(poisoned, redrive.id_of_copy(poisoned.event_id, 1))
    batch = ingest.batch_of([copy], received_at=LATER, copied_from=poisoned.sender)
    report = town.tick(*ingest.read_object(f"towns/{TOWN}/inbox/1-x.json", batch.body), at=LATER)
    assert outcome_of(report, "report-1:r1@toast") == "skipped: stale generation"
    assert town.status("B") == "in_progress"


@scenario(406)
@pytest.mark.parametrize(("late", "outcome"), [(0, "applied"), (1, "skipped: its lease is over")])
def test_who_has_lost_its_lease_reports_about_itself_alone(late: int, outcome: str) -> None:
    town = a_busy_town().update(
        "agent_metadata",
        "nux",
        current_hook_bead_id=None,
        status="idle",
        hook_ended_at=T - HOOK_END_GRACE - late * MILLISECOND,
    )
    (order,) = sent(agent("nux", scope="coordinator"), said("escalation_raised", RAISED, by="nux"))
    (done,) = sent(agent("nux"), said("agent_done", DONE, by="nux", event_id="report-2"))
    report = town.tick(order, done)
    assert outcome_of(report, order.event_id) == outcome
    assert outcome_of(report, done.event_id) == "applied"
    assert (
        len(town.rows("SELECT 1 FROM outbox WHERE kind = 'stop_agent' AND payload LIKE '%its lease is over%'")) == late
    )

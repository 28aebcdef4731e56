"""The wall around names: nobody can use up, or stand under, a name that the town or another sender will want.

Ids are derived from what everybody knows (town, tick number, counter), and agents choose the ids of what they send, so all of
them can be foreseen. A bead under such an id, or an event under the id of somebody's next report, stops nobody.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import Refused
from shared.domain.ids import IdMaker, derived_from
from shared.domain.processes import ProcessStatus
from shared.domain.senders import Sender, sent_id, stored_id, stored_id_of_generation
from shared.domain.tick import Envelope
from shared.events.containers import drain_nonce
from shared.events.convoys import task_id
from shared.intake import ingest
from shared.intake.repeats import require_no_other
from shared.ports.steps import drive
from shared.ports.waiting_room import InboxObject
from shared.questions import event_list
from shared.questions.filters import EventFilter
from tests.fakes import FakeClock
from tests.recordings.golden import past_of
from tests.security.holders import CONTAINER, OPERATOR, a_busy_town, agent, said, sent
from tests.towns import TOWN, T, TownBuilder, a_town, ago, event, outcome_of, types_of
from tests.worlds import World

MAYOR = agent("mayor", 5, scope="coordinator")


def squatted(town: TownBuilder, *, ticks: int = 10, each: int = 90) -> TownBuilder:
    """The town with beads of somebody under the ids that its next ticks will make."""
    for number in range(town.tick_no + 1, town.tick_no + 1 + ticks):
        for bead_id in IdMaker(TOWN, number).ahead(each):
            town.bead(bead_id, "issue", "closed", created_by="mayor")
    return town


def statements_of(town: TownBuilder) -> int:
    """How many statements the next tick runs."""
    run: list[str] = []
    town.sql.set_trace_callback(run.append)
    town.tick()
    town.sql.set_trace_callback(None)
    return len(run)


def test_nine_hundred_beads_under_the_ids_of_the_next_ticks_stop_no_dispatch() -> None:
    town = squatted(a_town().bead("work"))
    for report in town.ticks(3):
        assert not [alert for alert in report.alerts if alert.kind in ("action_failed", "event_poisoned")]
    assert town.one("beads", "work", "status", "assignee_agent_bead_id")[0] == "in_progress"


def test_a_thousand_squatted_ids_of_one_tick_cost_it_a_few_statements() -> None:
    free, taken = a_town().bead("work"), squatted(a_town().bead("work"), ticks=1, each=1_000)
    assert statements_of(taken) - statements_of(free) <= 8


def test_an_honest_report_is_applied_although_its_review_would_have_a_squatted_id() -> None:
    town = squatted(a_busy_town(), ticks=1)
    (report,) = sent(agent(), said("agent_done", {"branch": "gt/toast/b"}, by="toast"))
    assert outcome_of(town.tick(report), report.event_id) == "applied"
    assert town.status("B") == "in_review"


def test_events_that_the_town_makes_itself_pass_over_squatted_ids() -> None:
    town = a_busy_town()
    (first,) = IdMaker(TOWN, town.tick_no + 1).ahead(1)
    stolen = sent(OPERATOR, said("town_started", event_id=first))
    town.tick(*stolen, seen={"toast": ProcessStatus("exited", "gone", 5)})
    outcomes = town.rows("SELECT outcome FROM town_events WHERE event_type = 'container_status'")
    assert outcomes == [("applied",)]


def test_a_bead_under_the_id_of_a_task_stands_for_no_task() -> None:
    town = a_town().update("agent_metadata", "mayor", generation=5)
    for index in range(2):
        town.bead(task_id(TOWN, "plan", index), "issue", "closed", created_by="nux")
    plan = {
        "convoy_id": "plan",
        "title": "p",
        "rig_id": "rig-1",
        "tasks": [{"title": "a"}, {"title": "b", "depends_on": [0]}],
    }
    (created,) = sent(MAYOR, said("convoy_created", plan, by="mayor"))
    assert outcome_of(town.tick(created), created.event_id) == "applied"
    tasks = town.rows(
        "SELECT b.title, b.created_by FROM beads b JOIN bead_dependencies d USING (bead_id) "
        "WHERE d.depends_on_bead_id = 'plan' ORDER BY b.title"
    )
    assert tasks == [("a", "mayor"), ("b", "mayor")]


@pytest.mark.parametrize(
    ("bead", "payload"),
    [
        ("bead_created", {"bead": {"bead_id": "X", "type": "issue", "title": "x", "rig_id": "rig-1"}}),
        ("convoy_created", {"convoy_id": "X", "title": "x", "rig_id": "rig-1", "tasks": [{"title": "t"}]}),
    ],
)
def test_a_bead_of_somebody_else_under_the_chosen_id_is_not_taken_for_the_own(
    bead: str, payload: dict[str, Any]
) -> None:
    town = a_busy_town().bead("X", created_by="nux")
    (created,) = sent(MAYOR, said(bead, payload, by="mayor"))
    assert outcome_of(town.tick(created), created.event_id) == "rejected: somebody else's bead has this id"


def test_two_convoys_of_one_title_and_similar_ids_have_branches_of_their_own() -> None:
    town = a_busy_town()
    plan = {"title": "same", "rig_id": "rig-1", "merge_mode": "review-then-land", "tasks": [{"title": "t"}]}
    ids = ("aaaaaaaa-0000-8000-8000-000000000001", "aaaaaaaa-0000-8000-8000-000000000002")
    town.tick(
        *(
            envelope
            for number, convoy in enumerate(ids)
            for envelope in sent(
                MAYOR, said("convoy_created", {"convoy_id": convoy, **plan}, by="mayor", event_id=f"convoy-{number}")
            )
        )
    )
    assert len({town.one("convoy_metadata", convoy, "feature_branch") for convoy in ids}) == 2


def test_the_id_of_an_agents_report_is_not_used_up_by_another_agent_a_container_or_a_person() -> None:
    town = a_busy_town()
    others = (
        *sent(agent("nux"), said("agent_status", {"message": "mine now"}, by="nux")),
        *sent(CONTAINER, said("agent_heartbeat", by="toast")),
        *sent(OPERATOR, said("town_started")),
    )
    (report,) = sent(agent(), said("agent_done", {"branch": "gt/toast/b"}, by="toast"))
    assert outcome_of(town.tick(*others, report), report.event_id) == "applied"


@pytest.mark.parametrize("content", ["other", "equal"])
def test_an_old_generation_uses_up_no_id_of_the_next_one(content: str) -> None:
    town = a_busy_town()
    honest = said("agent_done", {"branch": "gt/toast/b"}, by="toast")
    stolen = honest if content == "equal" else said("agent_done", {"branch": "gt/toast/evil"}, by="toast")
    report = town.tick(*sent(agent(generation=4), stolen), *sent(agent(), honest))
    assert outcome_of(report, "report-1@toast") == "skipped: stale generation"
    assert outcome_of(report, "report-1~5@toast") == "applied"
    again = town.tick(*sent(agent(), honest, at=T), at=T + (T - ago(seconds=5)))
    assert not [each for each in again.events if each.event_type == "agent_done"], "its retry changes nothing"


def test_an_old_generation_keeps_no_report_of_the_next_one_out_of_the_inbox() -> None:
    old = ingest.batch_of(
        [said("agent_status", {"message": "mine"}, by="toast")], received_at=T, sent_by=agent(generation=4)
    )
    new = ingest.batch_of([said("agent_status", {"message": "at it"}, by="toast")], received_at=T, sent_by=agent())
    waiting = [InboxObject(f"towns/{TOWN}/inbox/0000000000000-{old.id}.json", old.body)]
    require_no_other(new, waiting)
    assert old.id != new.id
    same = ingest.batch_of(
        [said("agent_status", {"message": "x"}, by="toast")], received_at=T, sent_by=agent(generation=4)
    )
    with pytest.raises(Refused, match="already waiting"):
        require_no_other(same, waiting)


def test_the_next_generation_may_repeat_what_was_applied() -> None:
    town = a_busy_town()
    raised = said("escalation_raised", {"title": "fire", "severity": "high"}, by="toast")
    town.tick(*sent(agent(), raised))
    town.update("agent_metadata", "toast", generation=6)
    report = town.tick(*sent(agent(generation=6), raised), at=T + (T - ago(seconds=5)))
    assert report.events == ()
    assert town.rows("SELECT COUNT(*) FROM beads WHERE type = 'escalation' AND title = 'fire'") == [(1,)]


def test_a_report_that_was_stored_before_the_upgrade_is_not_applied_twice() -> None:
    town = a_busy_town()
    before: Envelope = event(
        "escalation_raised", {"title": "fire", "severity": "high"}, agent="toast", event_id="report-1"
    )
    town.tick(before)
    again = sent(agent(), said("escalation_raised", {"title": "fire", "severity": "high"}, by="toast"))
    other = sent(agent(), said("escalation_raised", {"title": "flood", "severity": "high"}, by="toast"))
    at = T + (T - ago(seconds=5))
    assert town.tick(*again, at=at).events == ()
    assert outcome_of(town.tick(*other, at=at + (T - ago(seconds=5))), "report-1@toast") == "applied"


def test_the_nonce_of_a_drain_belongs_to_the_sender_of_its_eviction() -> None:
    town = a_busy_town()
    town.tick(*sent(OPERATOR, said("container_eviction", event_id="evict:c-1")))
    guessed = drain_nonce(TOWN, "evict:c-1~container", CONTAINER)
    (ready,) = sent(CONTAINER, said("container_ready", {"nonce": guessed}))
    assert outcome_of(town.tick(ready, at=T + (T - ago(seconds=5))), ready.event_id) == "rejected: wrong nonce"
    assert guessed == derived_from(TOWN, "drain:evict:c-1"), "its container can compute it in advance"


def test_an_event_whose_stored_sender_is_damaged_is_poisoned_and_nothing_else() -> None:
    town = a_busy_town()
    for number, damage in enumerate(
        ('{"scope":"god"}', "not json", "[" * 5_000, '{"scope":"agent","generation":"5"}', "null")
    ):
        town.insert(
            "town_events",
            event_id=f"damaged-{number}",
            seq=900 + number,
            event_type="agent_heartbeat",
            agent_id="toast",
            payload="{}",
            source="ingest",
            created_at=T,
            received_at=T,
            sender=damage,
        )
    (report,) = sent(agent(), said("agent_done", {"branch": "gt/toast/b"}, by="toast"))
    told = town.tick(report)
    assert [outcome_of(told, f"damaged-{number}") for number in range(5)] == ["poisoned"] * 5
    assert outcome_of(told, report.event_id) == "applied"


@settings(max_examples=15)
@given(
    ahead=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=60, unique=True),
    events_too=st.booleans(),
)
def test_whatever_is_squatted_honest_work_goes_on_and_nothing_is_poisoned(
    ahead: list[tuple[int, int]], *, events_too: bool
) -> None:
    town = a_busy_town().bead("work")
    names = [IdMaker(TOWN, town.tick_no + 1 + tick).ahead(number + 1)[-1] for tick, number in ahead]
    for name in names:
        town.bead(name, "issue", "closed", created_by="nux")
    squatting = [
        envelope
        for name in names
        for sender in ((OPERATOR, CONTAINER, agent("nux"), agent(generation=1)) if events_too else ())
        for envelope in sent(sender, said("agent_heartbeat", by=sender.agent or "toast", event_id=name))
    ]
    honest = sent(agent(), said("agent_done", {"branch": "gt/toast/b"}, by="toast"))
    report = town.tick(*squatting, *honest)
    assert outcome_of(report, honest[0].event_id) == "applied"
    assert not [alert.kind for alert in report.alerts if alert.kind in ("action_failed", "event_poisoned")]
    assert town.status("work") == "in_progress"
    assert "dispatch_agent" in types_of(report)


@given(
    st.text("abcdefgh0123456789.:_-", min_size=8, max_size=20),
    st.sampled_from(["toast", "5@toast", "container", "a~b"]),
)
def test_two_senders_never_have_one_stored_id(event_id: str, other: str) -> None:
    senders = [
        Sender("agent", "toast", 5),
        Sender("agent", "toast", 6),
        Sender("agent", f"{other}!", 5),
        CONTAINER,
        OPERATOR,
    ]
    names = [stored_id(event_id, sender) for sender in senders[1:]]
    names += [stored_id_of_generation(event_id, sender) for sender in senders[:3]]
    assert len(set(names)) == len(names)
    assert {sent_id(name) for name in names} == {event_id}


def test_lists_show_what_each_generation_said_and_who_said_it() -> None:
    world = World(clock=FakeClock(T))
    world.put_in(a_busy_town())
    told = {4: {"branch": "gt/toast/evil"}, 5: {"branch": "gt/toast/b"}}
    for number, generation in enumerate((4, 5, 5)):
        world.clock.move(seconds=10)
        batch = ingest.batch_of(
            [said("agent_done", told[generation], by="toast")],
            received_at=world.clock.now(),
            sent_by=agent(generation=generation),
        )
        world.put_raw(batch.body, name=f"b{number}")
        if number != 1:
            world.run()
    listed = drive(event_list.events(TOWN, world.store, past_of(world), EventFilter("all", "agent_done")))
    shown = [(each.event_id, each.state, each.sender and each.sender.generation) for each in listed.events]
    assert shown == [
        ("report-1~5@toast", "duplicate", 5),
        ("report-1~5@toast", "processed", 5),
        ("report-1@toast", "processed", 4),
    ]

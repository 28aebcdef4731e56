"""W4: what agents of each role may say, and what becomes of it."""

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.ids import IdMaker
from shared.domain.orders import StartOrder, TokenOrder
from shared.domain.report import TickReport
from shared.domain.senders import Sender
from shared.domain.states import Role
from shared.domain.tick import Envelope
from tests.scenarios.table import scenario
from tests.security.tokens import outcome, outcomes, said, status_of
from tests.towns import TOWN, T, TownBuilder, a_town, types_of

POLECAT = Sender("agent", "p", 1)
MAYOR = Sender("coordinator", "mayor")
TRIAGE = Sender("coordinator", "p", 1)
SECOND_TICK = T.replace(second=5)


def at_work() -> TownBuilder:
    """Polecat p works on b; x is an issue that nobody may touch."""
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    return town.bead("x", labels=["gt:held"])


def a_bead(**more: Any) -> dict[str, Any]:
    return {"bead_id": "new", "type": "issue", "title": "Tidy the cellar", **more}


# --- proposals ----------------------------------------------------------------------------------------------------


@scenario(421)
def test_a_polecat_s_bead_is_held_in_its_own_rig_and_in_its_own_name() -> None:
    town = at_work().rig("rig-2", name="other")
    envelope = said(POLECAT, "bead_created", event_id="new-0001", bead=a_bead(labels=["ui"]))
    assert outcome(town, envelope) == "applied"
    assert town.one("beads", "new", "rig_id", "labels", "created_by", "status") == (
        "rig-1",
        '["ui","gt:held"]',
        "p",
        "open",
    )
    assert "dispatch_agent" not in types_of(town.tick(at=SECOND_TICK))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "message"),
        ("type", "molecule"),
        ("type", "merge_request"),
        ("convoy_id", "c"),
        ("parent_bead_id", "b"),
        ("depends_on", ["b"]),
        ("assignee_agent_id", "mayor"),
        ("branch", "main"),
        ("target_branch", "main"),
        ("pr_url", "https://github.com/acme/main-rig/pull/1"),
        ("labels", ["gt:triage"]),
        ("labels", ["ui", "gt:pr-fixup"]),
        ("metadata", {"request_ids": ["r"]}),
        ("metadata", {"branch": "main"}),
    ],
)
@scenario(421)
def test_what_a_proposal_must_not_have_is_refused(field: str, value: object) -> None:
    event = {
        "event_id": "new-0001",
        "event_type": "bead_created",
        "agent_id": "p",
        "payload": {"bead": a_bead() | {field: value}},
    }
    assert status_of(POLECAT, event) == 403
    town = at_work()
    unsigned = said(None, "bead_created", event_id="new-0001", bead=a_bead() | {field: value})
    from_this_machine = replace(unsigned, agent_id="p")
    assert outcome(town, from_this_machine).startswith("rejected: ")
    assert town.status("new") is None


@scenario(421)
def test_a_proposal_that_only_the_town_can_judge_is_rejected() -> None:
    town = at_work().rig("rig-2", name="other").agent("r", "refinery").bead("w", metadata={"awaits": ["new"]})
    wrong = {
        "another rig": said(POLECAT, "bead_created", event_id="new-0001", bead=a_bead(rig_id="rig-2")),
        "a refinery": said(Sender("agent", "r"), "bead_created", event_id="new-0002", bead=a_bead()),
        "awaited": said(POLECAT, "bead_created", event_id="new-0003", bead=a_bead()),
        "gone": said(Sender("agent", "nobody"), "bead_created", event_id="new-0004", bead=a_bead()),
        "gone, and a coordinator": said(
            Sender("coordinator", "nobody"), "bead_created", event_id="new-0005", bead=a_bead()
        ),
    }
    found = outcomes(town.tick(*wrong.values()))
    assert {name: found[envelope.event_id] for name, envelope in wrong.items()} == {
        "another rig": "rejected: another rig than the agent's",
        "a refinery": "rejected: only a polecat proposes beads",
        "awaited": "rejected: other beads wait for this id",
        "gone": "skipped: missing",
        "gone, and a coordinator": "skipped: missing",
    }
    assert town.status("new") is None


@scenario(610)
def test_an_agent_that_proposes_beads_with_the_ids_of_coming_ticks_stops_no_town() -> None:
    """Ids of rows are derived from town and tick, so anybody can foresee them. The simulation's thief found that the message about
    his own proposals had an id that was not passed over: the town failed in every tick from then on.
    """
    town = at_work()
    taken = IdMaker(TOWN, town.tick_no + 1).ahead(20)
    report = town.tick(
        *(said(POLECAT, "bead_created", event_id=f"new-{id_}", bead=a_bead(bead_id=id_)) for id_ in taken)
    )
    assert {seen.outcome for seen in report.events} == {"applied"}
    assert town.rows("SELECT title FROM beads WHERE type = 'message'") == [("20 proposed beads are held",)]


@scenario(422)
def test_the_mayor_reads_of_all_proposals_of_a_tick_in_one_message_and_releases_one() -> None:
    town = (
        at_work().bead("b2", status="in_progress", assignee_agent_bead_id="p2").agent("p2", status="working", hook="b2")
    )
    second = Sender("agent", "p2", 1)
    report = town.tick(
        said(POLECAT, "bead_created", event_id="new-0001", bead=a_bead(bead_id="n1")),
        said(POLECAT, "bead_created", event_id="new-0002", bead=a_bead(bead_id="n2", title="x\ny")),
        said(second, "bead_created", event_id="new-0003", bead=a_bead(bead_id="n3", priority="high")),
    )
    [(title, body, assignee)] = town.rows(
        "SELECT title, body, assignee_agent_bead_id FROM beads WHERE type = 'message'"
    )
    assert (title, assignee) == ("3 proposed beads are held", "mayor")
    assert [line for line in body.splitlines() if line.startswith("- ")] == [
        '- n1 (medium) by p: "Tidy the cellar"',
        '- n2 (medium) by p: "x y"',
        '- n3 (high) by p2: "Tidy the cellar"',
    ]
    assert types_of(report).count("notify_mayor") == 1

    release = said(MAYOR, "bead_updated", event_id="free-0001", about="n2", remove_labels=["gt:held"])
    report = town.tick(release, at=SECOND_TICK)
    assert town.one("beads", "n2", "labels") == "[]"
    assert [action["bead_id"] for action in _dispatched(report)] == ["n2"]
    assert town.rows("SELECT COUNT(*) FROM beads WHERE type = 'message'") == [(1,)]


def _dispatched(report: TickReport) -> list[dict[str, Any]]:
    return [dict(each.action) for each in report.actions if each.action["type"] == "dispatch_agent"]


@pytest.mark.parametrize(
    "event_type", ["agent_done", "bead_created", "convoy_created", "escalation_raised", "mayor_said"]
)
@scenario(420)
def test_a_container_speaks_for_no_agent_about_its_work(event_type: str) -> None:
    event = {"event_id": "event-0001", "event_type": event_type, "agent_id": "p", "payload": {}}
    assert status_of(Sender("container"), event) == 403


# --- coordinators -------------------------------------------------------------------------------------------------

STEERING: dict[str, dict[str, Any]] = {
    "bead_updated": {"title": "mine"},
    "bead_cancelled": {},
    "bead_reopened": {},
    "convoy_created": {"convoy_id": "c", "title": "mine", "rig_id": "rig-1", "tasks": [{"title": "x"}]},
    "convoy_started": {"convoy_id": "v"},
    "convoy_changed": {"convoy_id": "v", "add": ["x"]},
    "convoy_closed": {"convoy_id": "v"},
}


def _steering(sender: Sender, event_type: str) -> Envelope:
    about = "f" if event_type == "bead_reopened" else "x"
    return said(sender, event_type, event_id="steer-0001", about=about, **STEERING[event_type])


@pytest.mark.parametrize("event_type", sorted(STEERING))
@scenario(423)
def test_only_a_coordinator_that_is_the_mayor_steers_the_town(event_type: str) -> None:
    town = at_work().bead("f", status="failed").convoy("v", staged=1)
    beads = "SELECT * FROM beads ORDER BY bead_id"
    before = town.rows(beads)
    attack = _steering(TRIAGE, event_type)
    assert outcome(town, attack) == "rejected: only the mayor and operators may send it"
    assert town.rows(beads) == before
    assert outcome(town, _steering(MAYOR, event_type), at=SECOND_TICK) == "applied"


@scenario(423)
def test_a_triage_polecat_only_proposes_beads_and_the_mayor_writes_no_key_of_the_town() -> None:
    town = at_work()
    forged = a_bead(bead_id="n1", labels=["gt:triage"], metadata={"request_ids": ["r"], "team": "a"})
    assert outcome(town, said(TRIAGE, "bead_created", event_id="new-0001", bead=forged)).startswith("rejected: ")
    assert outcome(town, said(MAYOR, "bead_created", event_id="new-0002", bead=forged), at=SECOND_TICK) == "applied"
    assert town.one("beads", "n1", "created_by") == "mayor"
    assert town.metadata("n1") == {"team": "a"}


@scenario(424)
def test_a_triage_request_is_answered_by_the_agent_whose_batch_names_it_in_its_own_name() -> None:
    town = (
        at_work()
        .bead("r1", labels=["gt:triage-request"], rig_id=None)
        .bead("r2", labels=["gt:triage-request"], rig_id=None)
    )
    town.bead(
        "batch", status="in_progress", labels=["gt:triage"], created_by="patrol", metadata={"request_ids": ["r1"]}
    )
    town.agent("t", status="working", hook="batch")
    town.bead("fake", status="in_progress", labels=["gt:triage"], created_by="mayor", metadata={"request_ids": ["r1"]})
    town.agent("q", status="working", hook="fake")

    def answer(agent: str, request: str, event_id: str) -> Envelope:
        sender = Sender("coordinator", agent, 1)
        return said(sender, "triage_resolved", event_id=event_id, about=request, action="CLOSE_BEAD")

    found = outcomes(
        town.tick(answer("p", "r1", "say-0001"), answer("q", "r1", "say-0002"), answer("t", "r2", "say-0003"))
    )
    assert set(found.values()) == {"rejected: the request is in no batch of this agent"}
    assert outcome(town, answer("t", "r1", "say-0004"), at=SECOND_TICK) == "applied"
    assert town.metadata("r1")["resolved_by"] == "t"


# --- the tokens of agents -----------------------------------------------------------------------------------------


@scenario(425)
def test_the_mayor_and_triage_get_the_token_of_a_coordinator_and_everybody_else_that_of_an_agent() -> None:
    order = StartOrder(town_id="t1", agent_id="p", generation=3, role=Role.POLECAT)
    given = {
        "work": order,
        "review": replace(order, role=Role.REFINERY, prompt_kind="review"),
        "triage": replace(order, prompt_kind="triage"),
        "mayor": replace(order, role=Role.MAYOR, prompt_kind="mayor"),
    }
    scopes = {name: each.scope for name, each in given.items()}
    assert scopes == {"work": "agent", "review": "agent", "triage": "coordinator", "mayor": "coordinator"}


@scenario(425)
def test_a_refresh_gives_each_agent_the_scope_that_the_town_says() -> None:
    town = at_work().bead("batch", status="in_progress", labels=["gt:triage"], created_by="patrol")
    town.agent("t", status="working", hook="batch", generation=4).key("last_token_refresh_at", None)
    report = town.tick()
    [refresh] = [effect for effect in report.effects if effect.kind == "refresh_token"]
    order = refresh.order(TokenOrder)
    asked = {("mayor", 7): "coordinator", ("t", 4): "coordinator", ("t", 5): "agent", ("p", 1): "agent"}
    assert {agent: order.scope_of(*agent) for agent in asked} == asked

"""What agents may do besides their own bead: write, note how far they are; and what the mayor may do to agents."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.senders import Sender
from tests.scenarios.table import scenario
from tests.security.tokens import outcome, outcomes, said, status_of
from tests.towns import T, TownBuilder, a_town

P = Sender("agent", "p", 1)
MAYOR = Sender("coordinator", "mayor", 7)
TRIAGE = Sender("coordinator", "p", 1)
SOON = T + timedelta(seconds=30)


def at_work() -> TownBuilder:
    """P works on b and Q on d, both in the convoy c; F reviews m of b; S works on something else."""
    town = a_town()
    for agent, bead in (("p", "b"), ("q", "d"), ("s", "x")):
        town.bead(bead, status="in_progress", assignee_agent_bead_id=agent).agent(agent, status="working", hook=bead)
    town.convoy("c", tracked=["b", "d"])
    return town.review("m", "in_progress", of="b").agent("f", "refinery", "working", hook="m")


def mail(to: str, sender: Sender = P, number: int = 0, **given: Any) -> Any:
    return said(sender, "mail_sent", event_id=f"mail-{sender.agent}-{number:04}", to=to, text="Hello\nthere", **given)


@scenario(506)
def test_an_agent_writes_to_the_mayor_and_to_its_neighbours_only() -> None:
    town = at_work()
    found = outcomes(town.tick(*(mail(to, number=at) for at, to in enumerate(("mayor", "q", "f", "s", "nobody")))))
    assert list(found.values()) == [
        "applied",
        "applied",
        "applied",
        "rejected: not a neighbour: write to the mayor",
        "rejected: unknown addressee",
    ]
    assert town.rows(
        "SELECT assignee_agent_bead_id, title, created_by FROM beads WHERE type = 'message' ORDER BY 1"
    ) == [("f", "Hello", "p"), ("mayor", "Hello", "p"), ("q", "Hello", "p")]
    told = town.rows("SELECT kind, COUNT(*) FROM outbox WHERE kind IN ('send_nudge', 'notify_mayor') GROUP BY 1")
    assert sorted(told) == [("notify_mayor", 1), ("send_nudge", 2)]


@scenario(506)
def test_the_mayor_writes_to_anybody() -> None:
    assert outcome(at_work(), mail("s", MAYOR)) == "applied"


@scenario(506)
def test_an_answer_closes_the_message_that_it_answers_and_no_other() -> None:
    town = at_work()
    town.tick(mail("p", MAYOR), mail("q", MAYOR, 1))
    (mine,), (its,) = (
        row for row in town.rows("SELECT bead_id FROM beads WHERE type = 'message' ORDER BY assignee_agent_bead_id")
    )
    found = outcomes(town.tick(mail("mayor", in_reply_to=mine), mail("mayor", number=1, in_reply_to=its), at=SOON))
    assert list(found.values()) == ["applied", "rejected: unknown message"]
    assert (town.status(mine), town.status(its)) == ("closed", "open")


@scenario(506)
def test_mail_is_budgeted() -> None:
    found = outcomes(at_work().tick(*(mail("mayor", number=at) for at in range(61))))
    assert list(found.values()).count("applied") == 60


@scenario(507)
def test_a_checkpoint_reaches_the_next_start_and_ends_with_the_hook() -> None:
    town = at_work()
    note = said(P, "agent_checkpoint", event_id="checkpoint-1", checkpoint={"done": ["parser"]})
    assert outcome(town, note) == "applied"
    town.update("agent_metadata", "p", status="idle", last_dispatch_outcome="rejected")
    town.update("beads", "b", status="open").tick(at=SOON)
    ((order,),) = town.rows("SELECT payload FROM outbox WHERE kind = 'dispatch_agent' AND subject = 'p'")
    assert '"checkpoint":{"done":["parser"]}' in order
    done = said(Sender("agent", "p", 2), "agent_done", event_id="done-0001", branch="gt/p/b")
    town.tick(done, at=SOON + timedelta(seconds=30))
    assert town.one("agent_metadata", "p", "checkpoint") is None
    again = said(Sender("agent", "p", 2), "agent_checkpoint", event_id="checkpoint-2", checkpoint="x")
    assert outcome(town, again, at=SOON + timedelta(minutes=1)) == "skipped: no hook"


@scenario(507)
@pytest.mark.parametrize("checkpoint", [None, "x" * (32 * 1024)])
def test_a_checkpoint_has_a_size(checkpoint: object) -> None:
    event = {"event_id": "checkpoint-1", "event_type": "agent_checkpoint", "agent_id": "p"}
    assert status_of(P, {**event, "payload": {"checkpoint": checkpoint}}) in (400, 413)


@scenario(508)
def test_the_mayor_resets_and_nudges_an_agent() -> None:
    town = at_work()
    reset = said(MAYOR, "agent_reset", event_id="reset-0001", target="p")
    nudge = said(MAYOR, "agent_nudged", event_id="nudge-0001", target="q", text="first line\nMessage from ann: stop")
    assert list(outcomes(town.tick(reset, nudge)).values()) == ["applied", "applied"]
    assert town.rows("SELECT subject FROM outbox WHERE kind = 'stop_agent'") == [("p",)]
    assert town.status("b") == "in_progress"  # dispatched again at once
    ((text,),) = town.rows("SELECT message FROM agent_nudges WHERE agent_bead_id = 'q'")
    assert text == "mayor says:\n> first line\n> Message from ann: stop"


@scenario(508)
@pytest.mark.parametrize(
    ("event_type", "payload", "why"),
    [
        ("agent_reset", {}, "the mayor resets other agents"),
        ("agent_reset", {"target": "mayor"}, "the mayor resets other agents"),
        ("agent_nudged", {"target": "mayor", "text": "x"}, "the mayor gets mail"),
        ("agent_nudged", {"target": "idle", "text": "x"}, "the agent is not running"),
    ],
)
def test_the_mayor_neither_resets_nor_nudges_itself(event_type: str, payload: dict[str, Any], why: str) -> None:
    town = at_work().agent("idle")
    assert outcome(town, said(MAYOR, event_type, event_id="steer-0001", **payload)) == f"rejected: {why}"


@scenario(508, 509)
@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("agent_reset", {"target": "q"}),
        ("agent_nudged", {"target": "q", "text": "x"}),
        ("escalation_acknowledged", {}),
    ],
)
def test_a_polecat_with_a_coordinators_token_does_not_steer(event_type: str, payload: dict[str, Any]) -> None:
    town = at_work()
    refused = "rejected: only the mayor and operators may send it"
    assert outcome(town, said(TRIAGE, event_type, event_id="steer-0001", about="x", **payload)) == refused


@scenario(509)
def test_the_mayor_acknowledges_an_escalation() -> None:
    town = at_work().bead("e", "escalation").insert("escalation_metadata", bead_id="e", severity="high")
    assert outcome(town, said(MAYOR, "escalation_acknowledged", event_id="seen-0001", about="e")) == "applied"
    assert town.rows("SELECT acknowledged FROM escalation_metadata") == [(1,)]

"""Holders of town tokens, and what they post: through the real ingest and the real inbox object, as a tick gets it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.domain.senders import Sender
from shared.domain.tick import Envelope
from shared.intake import ingest
from tests.towns import TOWN, T, TownBuilder, a_town, ago

MAYOR = Sender("coordinator", "mayor")
OPERATOR = Sender("operator", key="k1", token="t1", request="r1")
CONTAINER = Sender("container")


def agent(agent_id: str = "toast", generation: int | None = 5, *, scope: str = "agent") -> Sender:
    """The holder of the token of one generation of an agent."""
    return Sender("coordinator" if scope == "coordinator" else "agent", agent_id, generation)


def said(
    event_type: str,
    payload: Mapping[str, Any] | None = None,
    *,
    by: str | None = None,
    bead: str | None = None,
    event_id: str = "report-1",
) -> dict[str, Any]:
    """An event as its sender writes it. `by` is the agent of its envelope."""
    event = {"event_id": event_id, "event_type": event_type, "agent_id": by, "bead_id": bead, "payload": payload or {}}
    return {name: value for name, value in event.items() if value is not None}


def sent(sender: Sender | None, *events: Mapping[str, Any], at: datetime = T) -> tuple[Envelope, ...]:
    """What a tick gets of a request. Raises Refused, as the events function answers."""
    batch = ingest.batch_of([dict(event) for event in events], received_at=at, sent_by=sender)
    return ingest.read_object(f"towns/{TOWN}/inbox/{int(at.timestamp() * 1000):013}-{batch.id}.json", batch.body)


def a_busy_town() -> TownBuilder:
    """Generation 5 of polecat toast works on B, generation 5 of refinery r reviews M, and a triage polecat answers a question."""
    town = a_town().update("agent_metadata", "mayor", generation=5, status="working")
    town.bead("B", status="in_progress", assignee_agent_bead_id="toast", metadata={"branch": "gt/toast/b"})
    town.bead("S", status="in_review").review("M", "in_progress", of="S", assignee_agent_bead_id="r")
    town.bead("F", status="failed").bead("W").convoy("C", tracked=["W"])
    town.bead("Q", labels=["gt:triage-request"], metadata={"agent_bead_id": "toast", "hooked_bead_id": "B"})
    batch: dict[str, Any] = {"labels": ["gt:triage"], "created_by": "patrol", "metadata": {"request_ids": ["Q"]}}
    town.bead("answers", status="in_progress", assignee_agent_bead_id="nux", **batch)
    for agent_id, role, hook in (("toast", "polecat", "B"), ("nux", "polecat", "answers"), ("r", "refinery", "M")):
        town.agent(agent_id, role, "working", hook=hook, generation=5, dispatched_at=ago(minutes=5))
    return town.insert("agent_nudges", nudge_id="N", agent_bead_id="toast", message="hello", created_at=ago(minutes=1))

"""The status of a town for people. It is made from the JSON document, so it is the same for a store and for an API."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from infra.townctl.output import plain, short, table
from infra.townctl.wording import quantity


def status_view(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The lines and tables of a status: current work, waiting beads, problems."""
    base = document["asOf"]
    yield Text(f"{document['townId']}: tick {base['tick']} at {base['time']}; {_wake(document)}")
    for claim in _claims(document):
        yield Text(claim)
    if document["agents"]:
        yield table("agent", "role", "status", "works on", "says", rows=_agent_rows(document))
    if document["beads"]:
        yield table("bead", "type", "status", "title", "waits for", rows=_bead_rows(document))
    if document["failed"]:
        rows: list[tuple[object, ...]] = [
            (short(bead["bead_id"]), bead["type"], bead["failed_at"], bead["title"], bead["message"] or bead["reason"])
            for bead in document["failed"]
        ]
        yield table("failed bead", "type", "at", "title", "why", rows=rows)
    if document["refusedByForge"]:
        rows = [
            (short(line["bead_id"]), line["effect"], line["at"], line["said"]) for line in document["refusedByForge"]
        ]
        yield table("review", "call", "at", "refused by the forge", rows=rows)
    if document["convoys"]:
        rows = [
            (short(convoy["bead_id"]), convoy["state"], f"{convoy['done']}/{convoy['total']}", convoy["title"])
            for convoy in document["convoys"]
        ]
        yield table("convoy", "state", "done", "title", rows=rows)
    for broken in document["violations"]:
        yield Text(plain(f"violation {broken['invariant']} since {broken['opened_at']}: {broken['message']}"))
    for row in document["unreadable"]:
        yield Text(plain(f"unreadable: {row['table']} {row['key']}: {row['problem']}"))


def _agent_rows(document: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    titles = {bead["bead_id"]: bead["title"] for bead in document["beads"]}
    for agent in document["agents"]:
        name, works_on = agent["identity"].partition("-")[0], titles.get(agent["hook"] or "", agent["hook"])
        yield name, agent["role"], agent["status"], works_on, agent["says"]


def _bead_rows(document: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    reasons = {reason["bead_id"]: reason for reason in document["waiting"]}
    for bead in document["beads"]:
        reason = reasons.get(bead["bead_id"])
        waits = None
        if reason is not None:
            actor = "" if reason["actor"] is None else f" ({short(reason['actor'])})"
            waits = f"{reason['reason']}{actor}" + ("" if reason["due_at"] is None else f" until {reason['due_at']}")
        yield short(bead["bead_id"]), bead["type"], bead["status"], bead["title"], waits


def _wake(document: Mapping[str, Any]) -> str:
    if document["inboxBatches"]:
        batches = quantity(document["inboxBatches"], "batch of events", "batches of events")
        return f"due now, with {batches} in the inbox"
    if document["nextDueAt"] is None:
        return "only an event can wake it"
    return f"next due at {document['nextDueAt']}"


def _claims(document: Mapping[str, Any]) -> Iterator[str]:
    events = document["events"]
    if document["paused"]:
        yield f"paused: no rule acts until `townctl town start {document['townId']}`"
    if document["draining"]:
        yield "draining: nothing is dispatched until the container is replaced"
    if document["settling"]:
        yield "settling after an outage: time-based recovery waits"
    if document["breaker"]["open"]:
        beads = quantity(document["breaker"]["failures"], "bead")
        yield f"the dispatch breaker is open because {beads} failed to start; nothing is dispatched until it closes"
    if events["pending"]:
        pending = quantity(events["pending"], "stored event")
        yield f"{pending} to be tried again: townctl event list {document['townId']} --pending"
    if events["poisoned"]:
        poisoned = quantity(events["poisoned"], "event")
        yield f"{poisoned} failed permanently: townctl event list {document['townId']} --poisoned"

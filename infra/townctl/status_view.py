"""The status of a town for people, from its document: the same whether a store or an API was asked."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from infra.townctl.answers import plain, short, table


def status_view(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What the town is doing, what its beads wait for, and what is wrong."""
    base = document["asOf"]
    yield Text(f"{document['townId']}: tick {base['tick']} at {base['time']}; {_wake(document)}")
    for claim in _claims(document):
        yield Text(claim)
    titles = {bead["bead_id"]: bead["title"] for bead in document["beads"]}
    if document["agents"]:
        rows: list[tuple[object, ...]] = [
            (
                agent["identity"].partition("-")[0],
                agent["role"],
                agent["status"],
                titles.get(agent["hook"] or "", agent["hook"]),
                agent["says"],
            )
            for agent in document["agents"]
        ]
        yield table("agent", "role", "status", "works on", "says", rows=rows)
    if document["beads"]:
        yield table("bead", "type", "status", "title", "waits for", rows=_bead_rows(document))
    if document["failed"]:
        rows = [
            (short(bead["bead_id"]), bead["type"], bead["failed_at"], bead["title"], bead["message"] or bead["reason"])
            for bead in document["failed"]
        ]
        yield table("failed", "type", "at", "title", "why", rows=rows)
    if document["refusedByForge"]:
        rows = [
            (short(line["bead_id"]), line["effect"], line["at"], line["said"]) for line in document["refusedByForge"]
        ]
        yield table("review", "call", "at", "the forge said", rows=rows)
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
        return f"{document['inboxBatches']} batches of events wait, so it is due"
    if document["nextDueAt"] is None:
        return "only an event can wake it"
    return f"next due at {document['nextDueAt']}"


def _claims(document: Mapping[str, Any]) -> Iterator[str]:
    events = document["events"]
    if document["paused"]:
        yield "paused: no rule acts until the event town_started"
    if document["draining"]:
        yield "draining: nothing is dispatched until the container is replaced"
    if document["settling"]:
        yield "settling after an outage: time-based recovery waits"
    if document["breaker"]["open"]:
        yield f"the dispatch breaker is open: {document['breaker']['failures']} beads failed to start"
    if events["pending"]:
        yield f"{events['pending']} stored events wait for another attempt: townctl event list --pending"
    if events["poisoned"]:
        yield f"{events['poisoned']} events failed for good: townctl event list --poisoned"

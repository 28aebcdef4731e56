"""What an agent asks its town: a bead, lists, why something waits. The town cuts each answer to what the agent may see."""

import json
from collections.abc import Iterable
from typing import Final

from infra.agents.town_agent import rows
from infra.agents.town_agent.talk import Given, Talk

_ALL: Final = 500
"""The longest page: a convoy has at most 100 tasks when it is created."""


def bead_show(talk: Talk, given: Given) -> None:
    """A bead in full."""
    found = talk.ask("bead", _bead(talk, given.bead, "bead show"))
    _show(talk, given, found, rows.whole_bead(found["bead"]))


def explain_bead(talk: Talk, given: Given) -> None:
    """The history of a bead, and why it waits."""
    found = talk.ask("explain_bead", _bead(talk, given.bead, "explain bead"))
    _show(talk, given, found, rows.explanation(found))


def explain_agent(talk: Talk, given: Given) -> None:
    """The history of an agent."""
    found = talk.ask("explain_agent", given.agent or talk.caller.agent_id)
    _show(talk, given, found, rows.explanation(found))


def convoy_status(talk: Talk, given: Given) -> None:
    """A convoy with its beads, and why they wait."""
    convoy = talk.ask("bead", given.convoy)
    inside = talk.ask("beads", convoy=given.convoy, limit=_ALL)
    lines = [*rows.whole_bead(convoy["bead"]), "its beads:", *map(rows.bead_row, inside["beads"])]
    if inside["waiting"]:
        lines += ["what waits:", *map(rows.waiting_row, inside["waiting"])]
    _show(talk, given, {**convoy, "beads": inside["beads"], "waiting": inside["waiting"]}, lines)


def beads(talk: Talk, given: Given) -> None:
    """Beads that match all filters."""
    _list(
        talk,
        given,
        "beads",
        status=given.status,
        type=given.type,
        convoy=given.convoy,
        rig=given.rig,
        label=given.label,
        text=given.text,
    )


def reviews(talk: Talk, given: Given) -> None:
    """Merge requests."""
    _list(talk, given, "reviews", status=given.status, type="merge_request", rig=given.rig)


def escalations(talk: Talk, given: Given) -> None:
    """Escalations."""
    _list(talk, given, "escalations", status=given.status, type="escalation")


def mail(talk: Talk, given: Given) -> None:
    """Messages."""
    _list(talk, given, "messages", status=given.status, type="message")


def convoys(talk: Talk, given: Given) -> None:
    """Convoys."""
    found = talk.ask("convoys", limit=given.limit, cursor=given.cursor)
    _show(talk, given, found, rows.page(map(rows.convoy_row, found["convoys"]), found["next"], of="convoys"))


def agents(talk: Talk, given: Given) -> None:
    """Agents."""
    found = talk.ask("agents")
    _show(talk, given, found, rows.page(map(rows.agent_row, found["agents"]), None, of="agents"))


def waiting(talk: Talk, given: Given) -> None:
    """What waits and why, and what has failed."""
    found = talk.ask("status")
    said = {key: found[key] for key in ("townId", "now", "paused", "waiting", "failed")}
    lines = [*map(rows.waiting_row, said["waiting"]), *map(rows.failed_row, said["failed"])]
    paused = ["the town is paused: nothing is dispatched until people start it"] if said["paused"] else []
    _show(talk, given, said, [*paused, *(lines or ["nothing waits, and nothing has failed"])])


def rigs(talk: Talk, given: Given) -> None:
    """Rigs."""
    found = talk.ask("rigs")
    _show(talk, given, found, rows.page(map(rows.rig_row, found["rigs"]), None, of="rigs"))


def _list(talk: Talk, given: Given, of: str, **filters: str | int | None) -> None:
    found = talk.ask("beads", "", limit=given.limit, cursor=given.cursor, **filters)
    _show(talk, given, found, rows.page(map(rows.bead_row, found["beads"]), found["next"], of=of))


def _bead(talk: Talk, named: str | None, verb: str) -> str:
    bead_id = named or talk.caller.bead_id
    if bead_id is None:
        raise ValueError(
            f"{verb}: the order names no bead; use: town-agent {verb} ID (`town-agent list beads` shows the ids)"
        )
    return bead_id


def _show(talk: Talk, given: Given, found: object, lines: Iterable[str]) -> None:
    """The document for programs, the lines for models. A tool has no `json`."""
    talk.say(json.dumps(found, ensure_ascii=False, indent=2) if getattr(given, "json", False) else "\n".join(lines))

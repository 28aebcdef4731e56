"""The events that the commands of `town-agent` post.

An event's id is derived from the agent, its generation and the content. So the commands are idempotent: a command that is
repeated, because its answer was lost, posts the same event again, and two different reports never share an id. Events that may
recur with the same content, such as heartbeats, mail, or a bead that is reopened again, include the time.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from infra.agents.town_agent.commits import UNKNOWN, Commits
from infra.agents.town_agent.order import Caller
from shared.domain import ids, times
from shared.domain.limits import STATUS_MESSAGE

AgentEvent = dict[str, Any]
_TITLE_AT_MOST: Final = 120


def done(
    caller: Caller,
    *,
    branch: str,
    pr_url: str | None,
    summary: str | None,
    bead_id: str | None,
    commits: Commits = UNKNOWN,
) -> AgentEvent:
    """The work is finished and pushed."""
    payload = {
        "branch": branch,
        "pr_url": pr_url,
        "summary": summary,
        "generation": caller.generation,
        "head": commits.head,
        "base": commits.base,
        "merge_commit": commits.merge_commit,
    }
    return _event(caller, "agent_done", payload, bead_id=bead_id or caller.bead_id)


def status(caller: Caller, text: str, *, at: datetime) -> AgentEvent:
    """A line that says what the agent is doing."""
    return _event(caller, "agent_status", {"message": " ".join(text.split())[:STATUS_MESSAGE]}, once=times.to_text(at))


def heartbeat(caller: Caller, *, doing: str, tools: Sequence[str], at: datetime) -> AgentEvent:
    """A sign of life, with the agent's activity."""
    now = times.to_text(at)
    payload = {"last_event_type": doing, "last_event_at": now, "active_tools": list(tools)}
    beat = _event(caller, "agent_heartbeat", {**payload, "generation": caller.generation}, once=now)
    return beat | {"occurred_at": now}


def changes_requested(caller: Caller, *, feedback: str, files: Sequence[str]) -> AgentEvent:
    """A reviewer requests changes."""
    payload = {"feedback": feedback, "files": list(files) or None, "generation": caller.generation}
    return _event(caller, "changes_requested", payload)


def gave_up(caller: Caller, *, reason: str) -> AgentEvent:
    """The agent ends its work as failed."""
    payload = {"status": "failed", "reason": reason, "generation": caller.generation}
    return _event(caller, "agent_completed", payload)


def checkpoint(caller: Caller, note: object, *, at: datetime) -> AgentEvent:
    """What the agent's successor has to know. The newest counts, so an earlier one may be repeated later."""
    payload = {"checkpoint": note, "generation": caller.generation}
    return _event(caller, "agent_checkpoint", payload, once=times.to_text(at))


def escalation_raised(caller: Caller, text: str, *, severity: str) -> AgentEvent:
    """A person is needed. The first line is the title; the same words are one escalation of this generation."""
    title, _, more = text.partition("\n")
    shown = title if len(title) <= _TITLE_AT_MOST else f"{title[:_TITLE_AT_MOST]} ..."
    body = None if title == shown and not more.strip() else text
    return _event(caller, "escalation_raised", {"title": shown, "body": body, "severity": severity})


def mail_sent(
    caller: Caller, text: str, *, to: str, subject: str | None, in_reply_to: str | None, at: datetime
) -> AgentEvent:
    """A letter to the mayor or to another agent."""
    payload = {"to": to, "text": text, "subject": subject, "in_reply_to": in_reply_to}
    return _event(caller, "mail_sent", payload, once=times.to_text(at))


def mayor_waiting(caller: Caller, *, at: datetime) -> AgentEvent:
    """The mayor has nothing to do."""
    now = times.to_text(at)
    return _event(caller, "mayor_waiting", {"fired_at": now}, once=now) | {"occurred_at": now}


def mayor_said(caller: Caller, text: str, *, in_reply_to: str | None, at: datetime) -> AgentEvent:
    """What the mayor says to people. A reply is said once; anything else may be said again later."""
    said = {"text": text, "in_reply_to": in_reply_to}
    return _event(caller, "mayor_said", said, once="" if in_reply_to is not None else times.to_text(at))


def nudge_acknowledged(caller: Caller, nudge_id: str) -> AgentEvent:
    """The agent has read a nudge."""
    return _event(caller, "nudge_acknowledged", {"nudge_id": nudge_id})


def triage_resolved(caller: Caller, request_id: str, *, action: str, notes: str | None) -> AgentEvent:
    """The answer to a triage request."""
    payload = {"action": action, "notes": notes, "by": caller.agent_id}
    return _event(caller, "triage_resolved", payload, bead_id=request_id)


def bead_created(caller: Caller, bead: Mapping[str, Any]) -> AgentEvent:
    """A new bead. Its id is derived from its content, unless one is given."""
    given = {name: value for name, value in bead.items() if value not in (None, [], ())}
    bead_id = given.pop("bead_id", None) or ids.chosen_by_producer(caller.town_id, f"bead of {_digest(caller, given)}")
    payload = {"bead": {"bead_id": bead_id, "created_by": caller.agent_id, **given}}
    return _event(caller, "bead_created", payload)


def bead_updated(caller: Caller, bead_id: str, fields: Mapping[str, object], *, at: datetime) -> AgentEvent:
    """Some fields of a bead are changed."""
    return _event(caller, "bead_updated", fields, bead_id=bead_id, once=times.to_text(at))


def bead_cancelled(caller: Caller, bead_id: str, *, status: str, at: datetime) -> AgentEvent:
    """Nobody shall work on a bead."""
    payload = {"cancel_status": status, "by": caller.agent_id}
    return _event(caller, "bead_cancelled", payload, bead_id=bead_id, once=times.to_text(at))


def bead_reopened(caller: Caller, bead_id: str, *, reason: str | None, at: datetime) -> AgentEvent:
    """A failed bead is worked on again."""
    payload = {"by": caller.agent_id, "reason": reason}
    return _event(caller, "bead_reopened", payload, bead_id=bead_id, once=times.to_text(at))


def convoy_created(caller: Caller, convoy: Mapping[str, object]) -> AgentEvent:
    """A new convoy with its tasks. Its id is derived from its content, unless one is given."""
    given = {name: value for name, value in convoy.items() if value not in (None, [], ())}
    convoy_id = given.pop("convoy_id", None) or ids.chosen_by_producer(
        caller.town_id, f"convoy of {_digest(caller, given)}"
    )
    return _event(caller, "convoy_created", {"convoy_id": convoy_id, **given})


def convoy_started(caller: Caller, convoy_id: str, *, at: datetime) -> AgentEvent:
    """The tasks of a staged convoy may be worked on."""
    return _event(caller, "convoy_started", {"convoy_id": convoy_id}, once=times.to_text(at))


def convoy_changed(
    caller: Caller, convoy_id: str, *, add: Sequence[str], remove: Sequence[str], at: datetime
) -> AgentEvent:
    """Beads join a convoy, and others leave it."""
    payload = {"convoy_id": convoy_id, "add": list(add) or None, "remove": list(remove) or None}
    return _event(caller, "convoy_changed", payload, once=times.to_text(at))


def convoy_closed(caller: Caller, convoy_id: str, *, at: datetime) -> AgentEvent:
    """A convoy ends with everything in it."""
    payload = {"convoy_id": convoy_id, "by": caller.agent_id}
    return _event(caller, "convoy_closed", payload, once=times.to_text(at))


def agent_reset(caller: Caller, target: str, *, at: datetime) -> AgentEvent:
    """Another agent leaves its bead."""
    return _event(caller, "agent_reset", {"target": target, "by": caller.agent_id}, once=times.to_text(at))


def agent_nudged(caller: Caller, target: str, text: str, *, at: datetime) -> AgentEvent:
    """Another agent is reminded of something."""
    return _event(caller, "agent_nudged", {"target": target, "text": text}, once=times.to_text(at))


def escalation_acknowledged(caller: Caller, escalation_id: str) -> AgentEvent:
    """An escalation was seen."""
    return _event(caller, "escalation_acknowledged", {}, bead_id=escalation_id)


def usage(caller: Caller, totals: Mapping[str, object]) -> AgentEvent:
    """What the generation has used of a model so far. The same totals are the same event."""
    return _event(caller, "agent_usage", totals)


def _event(
    caller: Caller, event_type: str, payload: Mapping[str, object], *, bead_id: str | None = None, once: str = ""
) -> AgentEvent:
    given = {name: value for name, value in payload.items() if value is not None}
    if caller.generation < 1:
        given.pop("generation", None)
    digest = _digest(caller, [event_type, bead_id, given, once])
    event: AgentEvent = {
        "event_id": f"agent:{caller.generation}:{event_type}:{digest}",
        "event_type": event_type,
        "agent_id": caller.agent_id,
        "payload": given,
    }
    return event if bead_id is None else event | {"bead_id": bead_id}


def _digest(caller: Caller, said: object) -> str:
    text = json.dumps([caller.agent_id, caller.generation, said], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]

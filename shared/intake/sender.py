"""Decides who may send an event (spec/events.md 1.6): an agent for itself, a container for its processes, the town for itself.

Each event class lists in `senders` the scopes of town tokens that may send it.
"""

from collections.abc import Mapping
from typing import Final

from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.domain.states import PATROL, SCOPES, SYSTEM, EventSource, Scope
from shared.events import BY_TYPE, EVENTS
from shared.intake.shape import Incoming
from shared.intake.unreadable import UNREADABLE

ALLOWED: Final[Mapping[Scope, frozenset[str]]] = {
    scope: frozenset(event.event_type for event in EVENTS if scope in event.senders) for scope in SCOPES
}
"""The event types that each scope may send, from the event classes."""

_OWN_EVENTS_ONLY: Final[tuple[Scope, ...]] = ("agent", "coordinator")
_OWN_IDS: Final = ("res-", f"{UNREADABLE}-")
_THE_TOWN: Final = (SYSTEM, PATROL)
_MAY_SEND_INTERNAL: Final = (EventSource.EFFECT, EventSource.OPERATOR)


def require_entitled(event: Incoming, sender: Sender | None) -> None:
    """Refuse an event that this sender may not send. Without a sender, only events that the town makes itself are refused.

    Raises Refused: 400 for an event that only the town makes, 403 for an event that the token does not allow.
    """
    require_from_outside(event)
    if sender is None:
        return
    envelope, path = event.envelope, event.path
    if envelope.event_type not in ALLOWED[sender.scope]:
        hint = f"a token of scope {sender.scope} may send: {', '.join(sorted(ALLOWED[sender.scope]))}"
        raise Refused("this token may not send such events", status=403, path=f"{path}.event_type", hint=hint)
    forbidden = BY_TYPE[envelope.event_type].forbidden(event.payload, sender.scope)
    if forbidden is not None:
        hint = BY_TYPE[envelope.event_type].asks
        problem = f"a token of scope {sender.scope} may not send this value"
        raise Refused(problem, status=403, path=f"{path}.payload.{forbidden}", hint=hint)
    _require_own_name(event, sender)
    if sender.scope not in _OWN_EVENTS_ONLY:
        return
    if envelope.agent_id != sender.agent:
        hint = "set agent_id to the agent of the token"
        raise Refused("this token speaks for another agent", status=403, path=f"{path}.agent_id", hint=hint)
    if sender.generation is not None and event.payload.get("generation") not in (None, sender.generation):
        hint = "use the token of this start: each start of an agent has its own"
        problem = "this token speaks for another generation"
        raise Refused(problem, status=403, path=f"{path}.payload.generation", hint=hint)


def _require_own_name(event: Incoming, sender: Sender) -> None:
    """Refuse (403) an event that names somebody else as the one who acts.

    People, with operators' tokens, act for others too, but not for the town itself, which trusts what it has made.
    """
    bead = event.payload.get("bead")
    creator = bead.get("created_by") if isinstance(bead, dict) else None
    for field, name in (("by", event.payload.get("by")), ("bead.created_by", creator)):
        is_right = name not in _THE_TOWN if sender.scope == "operator" else name in (None, event.envelope.agent_id)
        if not is_right:
            problem = "this token speaks for somebody else than the event names"
            hint = f"leave {field.rpartition('.')[2]} out: then the agent of the event is meant"
            raise Refused(problem, status=403, path=f"{event.path}.payload.{field}", hint=hint)


def require_from_outside(event: Incoming) -> None:
    """Refuse (400) types and ids that only the town makes, unless the event is the result of an effect or from an operator."""
    envelope, path = event.envelope, event.path
    if envelope.source in _MAY_SEND_INTERNAL:
        return
    known = BY_TYPE.get(envelope.event_type)
    if known is not None and not known.senders:
        hint = "do not send it: the town makes it when its time has come"
        problem = f"{envelope.event_type} is made by the town itself"
        raise Refused(problem, status=400, path=f"{path}.event_type", hint=hint)
    if envelope.event_id.startswith(_OWN_IDS):
        hint = f"choose an event_id that does not begin with {' or '.join(_OWN_IDS)}"
        problem = "an event_id of this form is made by the town itself"
        raise Refused(problem, status=400, path=f"{path}.event_id", hint=hint)

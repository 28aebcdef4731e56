"""Who may send an event (spec/events.md 1.6): an agent speaks for itself, a container for its agents, the town for itself.

Which scopes of town tokens may send a type stands on the event's class: `senders`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.domain.errors import Refused
from shared.domain.states import SCOPES, EventSource, Scope
from shared.events import BY_TYPE, EVENTS
from shared.intake.shape import Incoming
from shared.intake.unreadable import UNREADABLE

ALLOWED: Final[Mapping[Scope, frozenset[str]]] = {
    scope: frozenset(event.event_type for event in EVENTS if scope in event.senders) for scope in SCOPES
}
"""Types by scope, as the event classes say it."""

_OWN_EVENTS_ONLY: Final[tuple[Scope, ...]] = ("agent", "coordinator")
_OWN_IDS: Final = ("res-", f"{UNREADABLE}-")
_MAY_SEND_INTERNAL: Final = (EventSource.EFFECT, EventSource.OPERATOR)


@dataclass(frozen=True, slots=True)
class Sender:
    """Whoever showed a valid town token: what the token says."""

    town: str
    scope: Scope
    agent: str | None
    generation: int | None


def require_entitled(event: Incoming, sender: Sender | None) -> None:
    """Refuse an event that this sender may not send; without a token everything is allowed that comes from outside.

    Raises Refused: 400 for what only the town makes itself, 403 for what the token does not cover.
    """
    require_from_outside(event)
    if sender is None:
        return
    envelope, path = event.envelope, event.path
    if envelope.event_type not in ALLOWED[sender.scope]:
        hint = f"a token of scope {sender.scope} may send: {', '.join(sorted(ALLOWED[sender.scope]))}"
        raise Refused("this token may not send such events", status=403, path=f"{path}.event_type", hint=hint)
    if sender.scope not in _OWN_EVENTS_ONLY:
        return
    if envelope.agent_id != sender.agent:
        hint = "name the agent of the token as agent_id"
        raise Refused("this token speaks for another agent", status=403, path=f"{path}.agent_id", hint=hint)
    if sender.generation is not None and event.payload.get("generation") not in (None, sender.generation):
        hint = "every start of an agent has a token of its own"
        problem = "this token speaks for another generation"
        raise Refused(problem, status=403, path=f"{path}.payload.generation", hint=hint)


def require_from_outside(event: Incoming) -> None:
    """Refuse (400) events that the town makes itself, and their ids, unless its performer or an operator sends them."""
    envelope, path = event.envelope, event.path
    if envelope.source in _MAY_SEND_INTERNAL:
        return
    known = BY_TYPE.get(envelope.event_type)
    if known is not None and not known.senders:
        raise Refused(f"{envelope.event_type} is made by the town itself", status=400, path=f"{path}.event_type")
    if envelope.event_id.startswith(_OWN_IDS):
        raise Refused("an event_id of this form is made by the town itself", status=400, path=f"{path}.event_id")

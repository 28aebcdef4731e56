"""Which events a town token may send (spec/events.md 1.6): an agent speaks for itself, a container for its agents."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.domain.errors import Refused
from shared.domain.tick import Envelope
from shared.events import BY_TYPE
from shared.intake import strict_json
from shared.intake.ingest import AcceptedBatch

REPORTS: Final = frozenset(
    {
        "agent_completed",
        "agent_done",
        "agent_heartbeat",
        "agent_status",
        "changes_requested",
        "escalation_raised",
        "mayor_waiting",
        "nudge_acknowledged",
    }
)
"""What every agent may say of itself."""

_COORDINATION: Final = frozenset(
    name for name in BY_TYPE if name.startswith(("bead_", "convoy_")) or name == "triage_resolved"
)
_OF_CONTAINERS: Final = frozenset({"container_eviction", "container_ready", "container_status", "nudge_timeout"})
_EXTERNAL: Final = frozenset(name for name, known in BY_TYPE.items() if not known.internal)

ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "agent": REPORTS,
    "coordinator": REPORTS | _COORDINATION,
    "container": REPORTS | _COORDINATION | _OF_CONTAINERS,
    "operator": _EXTERNAL,
}
"""Types by scope. A coordinator is the mayor or a triage polecat; a container hosts one, so it may hand on what it says."""

_OWN_EVENTS_ONLY: Final = ("agent", "coordinator")


@dataclass(frozen=True, slots=True)
class Sender:
    """Who has shown a valid token, as the authorizer hands it on."""

    town: str
    scope: str
    agent: str | None
    generation: int | None


def sender_of(event: Mapping[str, Any], now: datetime) -> Sender:
    """The sender of an HTTP API event. Raises Refused (401) if no authorizer has seen a token, or too long ago."""
    claims = ((event.get("requestContext") or {}).get("authorizer") or {}).get("lambda") or {}
    try:
        expires = datetime.fromtimestamp(int(claims["expires"]), UTC)
        generation = None if claims.get("generation") is None else int(claims["generation"])
        sender = Sender(str(claims["town"]), str(claims["scope"]), claims.get("agent"), generation)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        raise _nobody() from None
    if sender.scope not in ALLOWED or now >= expires:
        raise _nobody()
    return sender


def require_entitled(sender: Sender, batch: AcceptedBatch) -> None:
    """Raise Refused (403) for the first event that this sender may not send."""
    for index, envelope in enumerate(batch.envelopes):
        path = f"events[{index}]"
        if envelope.event_type not in ALLOWED[sender.scope]:
            hint = f"a token of scope {sender.scope} may send: {', '.join(sorted(ALLOWED[sender.scope]))}"
            raise Refused("this token may not send such events", status=403, path=f"{path}.event_type", hint=hint)
        if sender.scope not in _OWN_EVENTS_ONLY:
            continue
        if envelope.agent_id != sender.agent:
            hint = "name the agent of the token as agent_id"
            raise Refused("this token speaks for another agent", status=403, path=f"{path}.agent_id", hint=hint)
        if sender.generation is not None and _generation(envelope) not in (None, sender.generation):
            hint = "every start of an agent has a token of its own"
            problem = "this token speaks for another generation"
            raise Refused(problem, status=403, path=f"{path}.payload.generation", hint=hint)


def _generation(envelope: Envelope) -> Any:
    payload = strict_json.parse(envelope.payload.encode(), limit=1 << 20, depth=64)
    return payload.get("generation")


def _nobody() -> Refused:
    return Refused(
        "no valid town token was shown", status=401, hint="Authorization: Bearer <what townctl token prints>"
    )

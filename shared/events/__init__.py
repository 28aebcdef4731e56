"""Events are facts in the past tense: one class per event, with its payload and an `apply` that changes the town.

Only events change a town from outside. They may return actions; they never call external systems. To add an event, write a
class in the module of its noun and list it in EVENTS.
"""

from typing import Final

from pydantic import ValidationError

from shared.domain.field_errors import first_error
from shared.events.agents import (
    AgentCheckpoint,
    AgentCompleted,
    AgentDone,
    AgentHeartbeat,
    AgentReported,
    ChangesRequested,
    MayorWaiting,
    NudgeAcknowledged,
    NudgeTimeout,
)
from shared.events.base import Event, EventResult, UnreadableEvent
from shared.events.beads import BeadCreated, BeadUpdated
from shared.events.cancelling import BeadCancelled
from shared.events.containers import ContainerEviction, ContainerReady, ContainerStatus
from shared.events.convoy_changes import ConvoyChanged
from shared.events.convoys import ConvoyClosed, ConvoyCreated, ConvoyStarted
from shared.events.effect_results import RESULT_EVENTS
from shared.events.mail import MailSent, MayorSaid
from shared.events.pull_requests import (
    PrAdopted,
    PrAutoMerge,
    PrConflictDetected,
    PrFeedbackDetected,
    PrStatusChanged,
)
from shared.events.removals import BeadDeleted
from shared.events.reopening import BeadReopened
from shared.events.steering import AgentNudged, AgentReset
from shared.events.town import TOWN_EVENTS
from shared.events.usage import AgentUsage
from shared.town.inbox import Fact

EVENTS: Final[tuple[type[Event], ...]] = (
    AgentDone,
    AgentCompleted,
    AgentHeartbeat,
    AgentReported,
    AgentUsage,
    MayorWaiting,
    MayorSaid,
    MailSent,
    AgentCheckpoint,
    AgentNudged,
    AgentReset,
    ChangesRequested,
    NudgeAcknowledged,
    NudgeTimeout,
    ContainerStatus,
    ContainerEviction,
    ContainerReady,
    BeadCreated,
    BeadUpdated,
    BeadCancelled,
    BeadReopened,
    BeadDeleted,
    ConvoyCreated,
    ConvoyStarted,
    ConvoyChanged,
    ConvoyClosed,
    PrStatusChanged,
    PrFeedbackDetected,
    PrConflictDetected,
    PrAutoMerge,
    PrAdopted,
    *TOWN_EVENTS,
    *RESULT_EVENTS,
)
"""Every event, in the order of the catalogue (spec/events.md section 4)."""

BY_TYPE: Final[dict[str, type[Event]]] = {event.event_type: event for event in EVENTS}
"""Every event by its wire name."""


def read(fact: Fact) -> Event:
    """The event that is stored as `fact`. The generation of the token that sent it counts, also if the payload has none.

    Raises UnreadableEvent, also if its sender is damaged, or the envelope lacks a field that its type needs.
    """
    if fact.unreadable is not None:
        raise UnreadableEvent(fact.unreadable)
    event = parse(fact.event_type, fact.payload)
    if fact.generation is not None and "generation" in type(event).model_fields:
        event = event.model_copy(update={"generation": fact.generation})
    for name in event.needs:
        if getattr(fact, name) is None:
            raise UnreadableEvent(f"{name}: missing")
    return event


def parse(event_type: str, payload: str) -> Event:
    """The event with this type and payload (JSON text). Raises UnreadableEvent."""
    event = BY_TYPE.get(event_type)
    if event is None:
        raise UnreadableEvent("unknown event type")
    try:
        return event.model_validate_json(payload)
    except ValidationError as error:
        problem = first_error(error)
        where = f"payload.{problem.place}" if problem.path else "payload"
        raise UnreadableEvent(f"{where}: {problem.kind}") from error


__all__ = ["BY_TYPE", "EVENTS", "Event", "EventResult", "UnreadableEvent", "parse", "read"]

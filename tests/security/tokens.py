"""Events with a token, on their way through the one intake into a town under test."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.domain.errors import Refused
from shared.domain.report import TickReport
from shared.domain.senders import Sender
from shared.domain.tick import Envelope
from shared.intake import ingest
from tests.towns import T, TownBuilder


def said(
    sender: Sender | None, event_type: str, *, event_id: str, about: str | None = None, **payload: Any
) -> Envelope:
    """The event, about a bead, as a tick gets it. Raises Refused if this sender may not send it."""
    event: dict[str, Any] = {"event_id": event_id, "event_type": event_type, "payload": payload}
    if sender is not None and sender.agent is not None:
        event["agent_id"] = sender.agent
    if about is not None:
        event["bead_id"] = about
    (envelope,) = ingest.batch_of([event], received_at=T, sent_by=sender).envelopes
    return envelope


def status_of(sender: Sender, event: Mapping[str, Any]) -> int:
    """The HTTP status with which the intake answers an event of this sender."""
    try:
        ingest.batch_of([dict(event)], received_at=T, sent_by=sender)
    except Refused as refused:
        return refused.status
    return 202


def outcome(town: TownBuilder, envelope: Envelope, *, at: datetime = T) -> str:
    """What a tick makes of one event."""
    return outcomes(town.tick(envelope, at=at))[envelope.event_id]


def outcomes(report: TickReport) -> dict[str, str]:
    """What a tick made of its events, by id."""
    return {each.event_id: each.outcome for each in report.events}

"""The inbox object of accepted events, and the batch id, which depends only on the events."""

import hashlib
import json
from collections.abc import Iterable

from shared.domain import canonical
from shared.domain.senders import Sender, sent_id
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.intake.content import content_of
from shared.intake.shape import Incoming


def inbox_object(
    events: Iterable[Incoming], *, received_at: str, source: EventSource, sent_by: Sender | None = None
) -> bytes:
    """The object that is stored in the inbox until a tick takes it. Its events keep the ids that their sender chose."""
    written = [_written(event, received_at) for event in events]
    sender = {} if sent_by is None else {"sender": sent_by.as_json()}
    return canonical.dumps({"received_at": received_at, "source": source.value, **sender, "events": written}).encode()


def object_of_all(objects: Iterable[bytes]) -> bytes:
    """One inbox object for several batches that were received together."""
    return b'{"batches":[' + b",".join(objects) + b"]}"


def id_of_all(batch_ids: Iterable[str]) -> str:
    """The id of several batches together. Equal batches in the same order give equal ids."""
    return hashlib.sha256("\n".join(batch_ids).encode()).hexdigest()[:32]


def batch_id(envelopes: Iterable[Envelope]) -> str:
    """The id of a batch. Equal events of a sender give equal ids, so a repeated request gets the same answer.

    Another generation of an agent is another sender: its object must not stand for that of the next one.
    """
    content = json.dumps([(*_named(envelope), *content_of(envelope)) for envelope in envelopes])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _named(envelope: Envelope) -> tuple[str | int, ...]:
    generation = None if envelope.sender is None else envelope.sender.generation
    return (envelope.event_id,) if generation is None else (envelope.event_id, generation)


def _written(event: Incoming, received_at: str) -> dict[str, object]:
    envelope = event.envelope
    fields = {
        "event_id": sent_id(envelope.event_id),
        "event_type": envelope.event_type,
        "agent_id": envelope.agent_id,
        "bead_id": envelope.bead_id,
        "occurred_at": None if envelope.created_at == received_at else envelope.created_at,
        "payload": event.payload,
    }
    return {field: value for field, value in fields.items() if value is not None}

"""The same event id with other content, seen before anything is stored: beside what waits in an inbox already."""

from collections.abc import Sequence

from shared.domain.errors import Refused
from shared.intake import ingest
from shared.intake.ingest import AcceptedBatch
from shared.ports.waiting_room import InboxObject


def require_no_other(batch: AcceptedBatch, waiting: Sequence[InboxObject]) -> None:
    """Refuse a batch (409) of which an event waits already, under the same id, with other content.

    What a tick has taken is not seen here; there the outcome is `conflict`.
    """
    known = {event.event_id: event for lying in waiting for event in ingest.read_object(lying.key, lying.body)}
    for index, envelope in enumerate(batch.envelopes):
        there = known.get(envelope.event_id)
        if there is not None and ingest.content_of(there) != ingest.content_of(envelope):
            raise Refused(
                "an event with this event_id and different content waits already",
                status=409,
                path=f"events[{index}].event_id",
                hint="an event_id belongs to one event for ever; choose a new one for new content",
            )

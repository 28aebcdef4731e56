"""The same event id with other content, seen before anything is stored: beside what waits in an inbox already."""

from collections.abc import Sequence

from shared.domain.errors import Refused
from shared.intake.content import ONE_EVENT_FOR_EVER, content_of
from shared.intake.ingest import AcceptedBatch, read_object
from shared.ports.waiting_room import InboxObject


def require_no_other(batch: AcceptedBatch, waiting: Sequence[InboxObject]) -> None:
    """Refuse a batch (409) of which an event waits already, under the same id, with other content.

    What a tick has taken is not seen here; there the outcome is `conflict`.
    """
    known = {each.event_id: each for lying in waiting for each in read_object(lying.key, lying.body)}
    for event in batch.events:
        there = known.get(event.envelope.event_id)
        if there is not None and content_of(there) != content_of(event.envelope):
            raise Refused(
                "an event with this event_id and different content waits already",
                status=409,
                path=f"{event.path}.event_id",
                hint=ONE_EVENT_FOR_EVER,
            )

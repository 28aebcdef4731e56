"""Refuses an event, before it is stored, if a different event with the same id already waits in the inbox."""

from collections.abc import Sequence

from shared.domain.errors import Refused
from shared.intake.content import ONE_EVENT_FOR_EVER, content_of
from shared.intake.ingest import AcceptedBatch, read_object
from shared.ports.waiting_room import InboxObject


def require_no_other(batch: AcceptedBatch, waiting: Sequence[InboxObject]) -> None:
    """Refuse a batch (409) if one of its events has the same id as a waiting event, but different content.

    Events that a tick has already taken are not compared here; the tick itself gives such an event the outcome `conflict`.
    """
    known = {each.event_id: each for lying in waiting for each in read_object(lying.key, lying.body)}
    for event in batch.events:
        there = known.get(event.envelope.event_id)
        if there is not None and content_of(there) != content_of(event.envelope):
            raise Refused(
                "an event with this event_id and different content is already waiting",
                status=409,
                path=f"{event.path}.event_id",
                hint=ONE_EVENT_FOR_EVER,
            )

"""Refuses an event, before it is stored, if a different event with the same id already waits in the inbox."""

from collections.abc import Sequence

from shared.domain.errors import Refused
from shared.domain.tick import Envelope
from shared.intake.content import ONE_EVENT_FOR_EVER, content_of
from shared.intake.ingest import AcceptedBatch, read_object
from shared.ports.waiting_room import InboxObject


def require_no_other(batch: AcceptedBatch, waiting: Sequence[InboxObject]) -> None:
    """Refuse a batch (409) if one of its events has the same id as a waiting event of the same sender, but different content.

    Another generation of an agent is another sender here: what one generation posts never keeps out a report of the next.
    Events that a tick has already taken are not compared; the tick itself gives such an event the outcome `conflict`.
    """
    known = {_named(each): each for lying in waiting for each in read_object(lying.key, lying.body, size=lying.size)}
    for event in batch.events:
        there = known.get(_named(event.envelope))
        if there is not None and content_of(there) != content_of(event.envelope):
            raise Refused(
                "an event with this event_id and different content is already waiting",
                status=409,
                path=f"{event.path}.event_id",
                hint=ONE_EVENT_FOR_EVER,
            )


def _named(event: Envelope) -> tuple[str, int | None]:
    return event.event_id, None if event.sender is None else event.sender.generation

"""Send a poisoned event again: a copy of it, made from the committed image, for an operator to post."""

from datetime import datetime
from typing import Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.states import EventSource
from shared.intake import ingest, stored_events
from shared.intake.ingest import AcceptedBatch
from shared.ports.steps import Steps
from shared.ports.town_store import TownStore
from shared.town import database

MOST_REDRIVES: Final = 1000


def redriven(town_id: str, event_id: str, store: TownStore, *, now: datetime) -> Steps[AcceptedBatch]:
    """The batch with the next copy of a poisoned event, `<id>:r<n>`. The poisoned one stays as it is.

    Raises Refused: 404 if there is no such poisoned event, else what the copy breaks; UnknownTown.
    """
    image = yield from store.load(town_id)
    waiting = yield from store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    waits = {event.event_id for lying in waiting.objects for event in ingest.read_object(lying.key, lying.body)}
    with database.opened(image.image) as sql:
        database.check_identity(sql, town_id)
        event = stored_events.poisoned_event(sql, event_id)
        if event is None:
            hint = "see which there are: townctl event list TOWN --poisoned"
            raise Refused(f"no poisoned event {event_id[:128]}", status=404, path="event_id", hint=hint)
        copies = (ingest.redrive(event, attempt) for attempt in range(1, MOST_REDRIVES))
        copy = next(
            c for c in copies if c["event_id"] not in waits and not stored_events.event_exists(sql, c["event_id"])
        )
    try:
        return ingest.batch_of([copy], received_at=now, source=EventSource.OPERATOR)
    except Refused as problem:
        hint = "its content can never be applied; post a corrected event under a new id"
        raise Refused(problem.message, status=problem.status, path=problem.path, hint=hint) from None

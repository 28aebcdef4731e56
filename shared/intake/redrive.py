"""Redrive: makes a copy of a poisoned event from the committed image, for an operator to post."""

import re
import sqlite3
from collections.abc import Container
from datetime import datetime
from typing import Final

from shared.domain import limits, strict_json
from shared.domain.errors import Refused
from shared.domain.senders import sent_id, stored_id
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.intake import ingest, stored_events
from shared.intake.ingest import AcceptedBatch
from shared.intake.shape import DEPTH
from shared.ports.steps import Steps
from shared.ports.town_store import TownStore
from shared.town import database, migrations
from shared.town.inbox import Fact

MOST_REDRIVES: Final = 999
_CORRECT_IT: Final = "its content can never be applied; post a corrected event under a new id"
_LONGEST_ID: Final = 128
_REDRIVEN: Final = re.compile(r":r\d+\Z", re.ASCII)


def redriven(town_id: str, event_id: str, store: TownStore, *, now: datetime) -> Steps[AcceptedBatch]:
    """The batch with the next copy of a poisoned event, `<id>:r<n>`. The poisoned one stays as it is.

    The copy keeps the event's sender: it counts only while the generation that sent it is its agent's newest.
    Raises UnknownTown, or Refused: 404 without such a poisoned event, 409 after too many copies, else the copy's refusal.
    """
    image = yield from store.load(town_id)
    waiting = yield from store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    waits = {
        event.event_id
        for lying in waiting.objects
        for event in ingest.read_object(lying.key, lying.body, size=lying.size)
    }
    with migrations.readable(image.image) as sql:
        database.check_identity(sql, town_id)
        event = stored_events.poisoned_event(sql, event_id)
        if event is None:
            hint = f"list the poisoned events: townctl event list {town_id} --poisoned"
            raise Refused(
                f"town {town_id} has no poisoned event {event_id[:128]}", status=404, path="event_id", hint=hint
            )
        names = (id_of_copy(event_id, attempt) for attempt in range(1, MOST_REDRIVES + 1))
        free = next((name for name in names if _is_free(sql, stored_id(name, event.sender), waits)), None)
    if free is None:
        problem = f"event {event_id} was already sent again {MOST_REDRIVES} times"
        raise Refused(problem, status=409, path="event_id", hint=_CORRECT_IT)
    copy = copy_of(event, free)
    try:
        return ingest.batch_of([copy], received_at=now, source=EventSource.OPERATOR, copied_from=event.sender)
    except Refused as refused:
        raise Refused(refused.message, status=refused.status, path=refused.path, hint=_CORRECT_IT) from None


def _is_free(sql: sqlite3.Connection, event_id: str, waits: Container[str]) -> bool:
    return event_id not in waits and not stored_events.event_exists(sql, event_id)


def id_of_copy(event_id: str, attempt: int) -> str:
    """The id of a copy as it is sent, `<original id>:r<attempt>`; a copy of a copy is numbered as a copy of the original.

    A very long original id loses its end, so that the copy's has no more than 128 characters.
    """
    number = f":r{attempt}"
    return f"{_REDRIVEN.sub('', sent_id(event_id))[: _LONGEST_ID - len(number)]}{number}"


def copy_of(event: Fact | Envelope, event_id: str) -> dict[str, object]:
    """The copy of a stored event under another id, as an operator posts it (source operator).

    Raises Refused if the stored event cannot be sent again as it is.
    """
    if isinstance(event, Fact) and event.unreadable is not None:
        problem = f"event {event.event_id} is damaged: {event.unreadable}"
        raise Refused(problem, status=409, path="event_id", hint=_CORRECT_IT)
    payload = strict_json.parse(event.payload.encode(), limit=limits.EVENT_SIZE, depth=DEPTH)
    copy = {
        "event_id": event_id,
        "event_type": event.event_type,
        "agent_id": event.agent_id,
        "bead_id": event.bead_id,
        "payload": payload,
    }
    return {field: value for field, value in copy.items() if value is not None}

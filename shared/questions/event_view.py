"""One event in full: what it says, who sent it, when it came and was applied, its outcome, and what it changed in the settings.

A processed event keeps no content in the image; the journal has it. So the journal row of its tick is looked up, by the time at
which the event was processed, or by the day if its row has left the image.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.restores import Lineage
from shared.domain.shapes import Time, answer
from shared.domain.states import EventSource
from shared.domain.times import from_text, readable_time, to_text
from shared.history.found_rows import FoundRows
from shared.history.journal_rows import JournalRows
from shared.intake import ingest
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.ports.town_store import TownStore
from shared.questions import event_entries, sent_events, setting_changes
from shared.questions.event_entries import EventEntry
from shared.questions.sent_events import Sent
from shared.town import known_events, migrations
from shared.town.known_events import KnownEvent
from shared.town.town_keys import TownKeys

SEARCHED_AT_MOST: Final = 20_000
"""The most ticks of the journal that are searched for an event whose row has left the image."""
_BLOCKS: Final = 64
_LONGEST_ID: Final = 256
_ROW: Final = f"SELECT {event_entries.COLUMNS}, payload, created_at FROM town_events WHERE event_id = :id"  # noqa: S608
_BEGUN: Final = (
    "SELECT event_id FROM town_events WHERE substr(event_id, 1, length(:begin)) = :begin ORDER BY seq DESC LIMIT :most"
)
_BEGUN_SHOWN: Final = 3
_DAY_OF: Final = "SELECT processed_on FROM known_events WHERE event = :event"


@answer
class EventView:
    """An event in full. `content` is what it says, without what looks like a secret; null if it is not kept, and `note` says why.

    `createdAt` is the sender's time, `tickAt` the time of the tick that processed it.
    """

    town_id: str
    event: EventEntry
    content: Any
    created_at: Time | None
    tick_at: Time | None
    note: str | None


def event_view(town_id: str, event_id: str, store: TownStore, past: TownPast) -> Steps[EventView]:
    """One event. Raises Refused (404) if the town and what is kept of its journal do not know it, UnknownTown."""
    past = past.around_damage()
    waiting = yield from _waiting(town_id, event_id, store)
    newest = yield from past.newest(town_id)
    with migrations.readable(newest.image) as sql:
        row = sql.execute(_ROW, {"id": event_id}).fetchone()
        known = known_events.in_image(sql, event_id)
        lineage = Lineage(TownKeys(sql).restores)
        day = sql.execute(_DAY_OF, {"event": known_events.digest_of(event_id)}).fetchone()
        begun = [each[0] for each in sql.execute(_BEGUN, {"begin": event_id, "most": _BEGUN_SHOWN})] if event_id else []
    rows = FoundRows(past, town_id, newest=newest.tick_no, blocks=_BLOCKS)
    if row is not None:
        return _with_fate((yield from _stored(town_id, row, past, rows)), lineage)
    if waiting is not None:
        return waiting
    found = yield from _searched(event_id, town_id, past, rows, None if day is None else day[0], newest.tick_no)
    if found is not None:
        return _with_fate((yield from _of_journal(town_id, event_id, found, past, known)), lineage)
    if known is not None and day is not None:
        return _forgotten(town_id, event_id, known, day[0])
    raise Refused(
        f"town {town_id} has no event {event_id[:_LONGEST_ID]} in its inbox, its image or the newest part of its journal",
        status=404,
        path="event_id",
        hint=(f"did you mean {' or '.join(begun)}? " if begun else "")
        + f"`townctl event list {town_id}` shows the ids",
    )


def _with_fate(view: EventView, lineage: Lineage) -> EventView:
    """The view, with a note if a restore in place discarded the tick that processed the event."""
    tick = view.event.tick
    by = None if tick is None else lineage.discarded_by(tick)
    if by is None:
        return view
    said = f"the town does not remember it: tick {by.tick} restored an older state"
    return replace(view, note=said if view.note is None else f"{view.note}; {said}")


def _waiting(town_id: str, event_id: str, store: TownStore) -> Steps[EventView | None]:
    batches = yield from store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    for batch in batches.objects:
        for event in ingest.read_object(batch.key, batch.body, size=batch.size):
            if event.event_id == event_id:
                entry = event_entries.unstored(event, "inbox", tick=None)
                return _view(town_id, entry, event.as_json(), None, "no tick has read it yet")
    return None


def _stored(town_id: str, row: Sequence[object], past: TownPast, rows: FoundRows) -> Steps[EventView]:
    *cells, payload, created_at = row
    entry = event_entries.stored_entry(cells)
    (entry,) = yield from event_entries.completed(town_id, past, rows, [entry])
    ticked = None if entry.processed_at is None else (yield from rows.at(to_text(entry.processed_at)))
    said = None if ticked is None else event_entries.envelope_in(ticked, entry.event_id)
    if payload is not None:
        said = {"payload": payload, "created_at": created_at}
        entry = event_entries.telling(entry, said)
    note = None if said is not None else "its content is in a part of the journal that is not kept or was not found"
    return _view(town_id, entry, said or {"created_at": created_at, "payload": None}, ticked, note)


def _searched(
    event_id: str, town_id: str, past: TownPast, rows: FoundRows, day: str | None, newest: int
) -> Steps[JournalRow | None]:
    """The row of the tick that processed an event: of this day, or one of the newest."""
    first = yield from rows.rows_from("" if day is None else f"{day}T00:00:00.000Z")
    start = first[0]["tick_no"] if first else newest
    walk = JournalRows(past, town_id)
    yield from walk.start_after(max(start, newest - SEARCHED_AT_MOST if day is None else start) - 1)
    for _ in range(SEARCHED_AT_MOST):
        row = walk.next
        if row is None or (day is not None and row["now"][: len(day)] > day):
            return None
        if any(each["event_id"] == event_id for each in row["outputs"]["events"]):
            return row
        yield from walk.advance()
    return None


def _of_journal(
    town_id: str, event_id: str, row: JournalRow, past: TownPast, known: KnownEvent | None
) -> Steps[EventView]:
    judged = next(each for each in row["outputs"]["events"] if each["event_id"] == event_id)
    said = event_entries.envelope_in(row, event_id)
    envelope = said or {"event_id": event_id, "event_type": judged["event_type"], "payload": None}
    changes = yield from setting_changes.changes_in(town_id, past, [row])
    entry = EventEntry(
        event_id=event_id,
        event_type=envelope["event_type"],
        agent_id=envelope.get("agent_id"),
        bead_id=envelope.get("bead_id"),
        source=EventSource(envelope.get("source", EventSource.INGEST)),
        received_at=readable_time(envelope.get("received_at")),
        outcome=judged["outcome"],
        seq=None if known is None else known.seq,
        retry_count=0,
        last_error=judged.get("error"),
        processed_at=from_text(row["now"]),
        state="poisoned" if judged["outcome"] == "poisoned" else "processed",
        tick=row["tick_no"],
        settings=changes.get((row["tick_no"], event_id), ()),
    )
    note = None if said is not None else "an earlier tick was given its content"
    return _view(town_id, event_entries.telling(entry, envelope), envelope, row, note)


def _forgotten(town_id: str, event_id: str, known: KnownEvent, day: str) -> EventView:
    entry = EventEntry(
        event_id=event_id,
        event_type="",
        agent_id=None,
        bead_id=None,
        source=EventSource.INGEST,
        received_at=None,
        outcome=known.outcome,
        seq=known.seq,
        retry_count=0,
        last_error=None,
        processed_at=None,
        state="processed",
    )
    return EventView(town_id, entry, None, None, None, f"it was processed on {day}; its journal row is not kept")


def _view(town_id: str, entry: EventEntry, envelope: Sent, row: JournalRow | None, note: str | None) -> EventView:
    said = envelope.get("payload")
    content = None if said is None else sent_events.scrubbed(sent_events.payload_of(envelope))
    created_at, tick_at = readable_time(envelope.get("created_at")), None if row is None else from_text(row["now"])
    return EventView(town_id, entry, content, created_at, tick_at, note)

"""The list of a town's events, newest first: events in the inbox, stored events, and repeats of a known id.

Three sources are merged by the time of receipt: the inbox, the table of events, and the journal, which alone knows conflicts,
duplicates, and events whose rows have left the image. A page ends early if it would have to read too much of the journal; `next`
continues from there.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from shared.domain import canonical, limits
from shared.domain.senders import stored_ids
from shared.domain.shapes import answer
from shared.domain.tick import Envelope
from shared.domain.times import text_or_none
from shared.history.found_rows import FoundRows
from shared.intake import ingest
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.ports.town_store import TownStore
from shared.questions import event_entries
from shared.questions.event_entries import BLOCKS_READ_AT_MOST, EventEntry
from shared.questions.filters import LIMIT, EventFilter
from shared.questions.lines import columns_of
from shared.questions.pages import LOOKED_AT_MOST, cursor_of, place_of
from shared.questions.repeated_events import JournalEvent, without_row
from shared.town import migrations

_NEWEST: Final = 2**62  # later than every seq and every tick
_COLUMNS: Final = f"{event_entries.COLUMNS}, payload"
_STORED: Final = f"SELECT {_COLUMNS} FROM town_events WHERE seq < :seq ORDER BY seq DESC"  # noqa: S608 - a constant
_PENDING: Final = f"SELECT {_COLUMNS} FROM town_events WHERE processed_at IS NULL AND seq < :seq ORDER BY seq DESC"  # noqa: S608


_RECEIVED_AT: Final = columns_of(EventEntry).index("received_at")


@answer
class EventList:
    """A page of events, newest first. `next` is the `cursor` of the next page, null on the last one.

    A filtered page may have fewer events than the limit, even none, although `next` is not null.
    """

    town_id: str
    events: tuple[EventEntry, ...]
    next: str | None


def events(
    town_id: str,
    store: TownStore,
    past: TownPast,
    wanted: EventFilter,
    *,
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Steps[EventList]:
    """A page of the events that match. Raises Refused (422) for a wrong cursor, UnknownTown, DamagedImage."""
    place = _START if cursor is None else _Place(*place_of(cursor, int, int, int, int, str, int))
    waiting = (yield from _waiting(town_id, store)) if wanted.reads("inbox") else []
    # After the inbox: an event that a tick stores in between is then found in both places, not in neither.
    newest = yield from past.newest(town_id)
    found: list[EventEntry] = []
    with migrations.readable(newest.image) as sql:
        place, waiting = _resumed(sql, place, [each for each in waiting if not _is_taken(sql, each)])
        reader = _Reader(town_id, past, sql, wanted, place, waiting)
        while (entry := (yield from reader.next())) is not None:
            if wanted.takes(entry.state, entry.event_type):
                if len(found) == limit:
                    break
                found.append(entry)
            place = reader.place
        else:
            place = reader.place
    whole = past.around_damage()
    rows = FoundRows(whole, town_id, newest=newest.tick_no, blocks=BLOCKS_READ_AT_MOST)
    completed = yield from event_entries.completed(town_id, whole, rows, found)
    return EventList(town_id, completed, None if reader.finished else cursor_of(place))


class _Place(NamedTuple):
    """How far the sources have been read: each yields only what is below these numbers.

    The first `repeated` events that only the row of tick `tick` has are still to come. `last` is the last event that was shown from
    the inbox, and `known` the newest seq when the list began: a tick may since have stored an event that was shown already.
    """

    inbox: int
    seq: int
    tick: int
    repeated: int
    last: str
    known: int


_START: Final = _Place(_NEWEST, _NEWEST, _NEWEST, 0, "", _NEWEST)


def _resumed(sql: sqlite3.Connection, place: _Place, waiting: list[EventEntry]) -> tuple[_Place, list[EventEntry]]:
    """The place in the present image, and the events in the inbox that were not shown yet."""
    if place is _START:
        return place._replace(known=_newest_seq(sql)), waiting
    if place.seq == _NEWEST:
        taken = sql.execute(
            "SELECT seq FROM town_events WHERE event_id = :id AND seq > :known",
            {"id": place.last, "known": place.known},
        ).fetchone()
        if taken is not None:
            return place._replace(inbox=0, seq=taken[0]), []
    ids = [each.event_id for each in waiting[: place.inbox + 1]]
    return place, waiting[: ids.index(place.last) if place.last in ids else place.inbox]


def _newest_seq(sql: sqlite3.Connection) -> int:
    return int(sql.execute("SELECT COALESCE(MAX(seq), 0) FROM town_events").fetchone()[0])


def _is_taken(sql: sqlite3.Connection, waiting: EventEntry) -> bool:
    """Whether a tick has stored the event, and has not yet cleared the inbox."""
    stored = sql.execute(
        "SELECT 1 FROM town_events WHERE event_id IN (SELECT value FROM json_each(:ids)) AND received_at = :received",
        {
            "ids": canonical.dumps(list(stored_ids(waiting.event_id, waiting.sender))),
            "received": text_or_none(waiting.received_at),
        },
    ).fetchone()
    return stored is not None


class _Reader:
    """Reads the sources from their newest event to the oldest, one event at a time."""

    def __init__(
        self,
        town_id: str,
        past: TownPast,
        sql: sqlite3.Connection,
        wanted: EventFilter,
        place: _Place,
        waiting: list[EventEntry],
    ) -> None:
        self.place = place
        self.finished = False
        self._town_id, self._past, self._sql = town_id, past, sql
        self._waiting = waiting
        self._stored = _stored(sql, wanted, place.seq)
        self._next_stored = next(self._stored, None)
        self._rows: list[JournalRow] = []
        self._repeated: list[JournalEvent] = []
        self._journal_ended = not wanted.reads("conflict", "duplicate")
        self._blocks_left, self._rows_left = BLOCKS_READ_AT_MOST, LOOKED_AT_MOST

    def next(self) -> Steps[EventEntry | None]:
        """The next event; None after the last one (`finished`), or if this page has read enough."""
        if self._waiting:
            entry = self._waiting.pop()
            self.place = self.place._replace(inbox=len(self._waiting), last=entry.event_id)
            return entry
        stored = self._next_stored
        if not (yield from self._look_back(None if stored is None else stored[0])) or not self._rows_left:
            return None
        again = self._repeated[-1] if self._repeated else None
        if stored is None and again is None:
            self.finished = True
            return None
        if stored is None or (again is not None and again.envelope["received_at"] >= stored[0]):
            return self._take_repeated()
        return self._take_stored(stored[1])

    def _take_stored(self, entry: EventEntry) -> EventEntry:
        self._rows_left -= 1
        self.place = self.place._replace(seq=entry.seq or 0)
        self._next_stored = next(self._stored, None)
        return entry

    def _take_repeated(self) -> EventEntry:
        again = self._repeated.pop()
        self.place = self.place._replace(tick=again.tick, repeated=len(self._repeated))
        return _repeated(again)

    def _look_back(self, until: str | None) -> Steps[bool]:
        """Read the journal until a repetition is found, or its rows are older than `until`. False if it would be too much."""
        while not self._repeated and not self._journal_ended:
            if not self._rows and not (yield from self._read_block()):
                return False
            if not self._rows or (until is not None and self._rows[-1]["now"] < until):
                return True
            row = self._rows.pop()
            found = list(without_row(row, self._sql))
            is_begun = row["tick_no"] == self.place.tick
            self._repeated = found[: self.place.repeated] if is_begun else found
            self.place = self.place._replace(tick=row["tick_no"], repeated=len(self._repeated))
        return True

    def _read_block(self) -> Steps[bool]:
        """Read the block of rows before the present place. False if this page has read enough blocks."""
        if not self._blocks_left:
            return False
        self._blocks_left -= 1
        before = self.place.tick + 1 if self.place.repeated else self.place.tick
        self._rows = list((yield from self._past.rows_before(self._town_id, before)))
        self._journal_ended = not self._rows
        return True


def stored(sql: sqlite3.Connection, wanted: EventFilter) -> Iterator[EventEntry]:
    """The events in an image that match, newest first."""
    found = (entry for _, entry in _stored(sql, wanted, _NEWEST))
    return (entry for entry in found if wanted.takes(entry.state, entry.event_type))


def _stored(sql: sqlite3.Connection, wanted: EventFilter, below: int) -> Iterator[tuple[str, EventEntry]]:
    """The stored events below a seq, newest first, each with its time of receipt as stored. Rows are read as they are needed."""
    if not wanted.reads("pending", "processed", "poisoned"):
        return
    statement = _PENDING if wanted.state == "pending" else _STORED
    for row in sql.execute(statement, {"seq": below}):
        *cells, payload = row
        entry = event_entries.stored_entry(cells)
        yield cells[_RECEIVED_AT], entry if payload is None else event_entries.telling(entry, {"payload": payload})


def _repeated(again: JournalEvent) -> EventEntry:
    entry = event_entries.unstored(Envelope.from_json(again.envelope), again.kind, tick=again.tick)
    return replace(entry, seq=again.seq, outcome=again.outcome) if again.kind == "processed" else entry


def _waiting(town_id: str, store: TownStore) -> Steps[list[EventEntry]]:
    """The events in the inbox, oldest first."""
    batches = yield from store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    return [
        event_entries.unstored(event, "inbox", tick=None)
        for batch in batches.objects
        for event in ingest.read_object(batch.key, batch.body, size=batch.size)
    ]

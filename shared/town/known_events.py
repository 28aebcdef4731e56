"""Which events a town knows: an event with a known id is not stored again, and is a conflict if its content differs.

The row of an event leaves the image some hours after the event was processed; the journal has the event for longer. Of an event
that a producer may still send again, a few digests stay until it cannot come any more (table `known_events`). They tell a copy from
a conflict, as the row did.

    event         digest of the id under which the event was stored
    content       digest of its type, agent, bead and payload
    outcome       as in the row, and `generation`: of the agent whose token sent it
    is_unsigned   1 if nobody signed for it: source ingest, no sender
    processed_on  the day (UTC) on which it was processed
"""

import sqlite3
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal

from shared.domain import canonical
from shared.domain.senders import sender_in, sent_id
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.town.town import Town

_ID_BYTES: Final = 12
_CONTENT_BYTES: Final = 6
"""Fewer than of an id: a producer who finds another content with the same digest has only hidden a conflict of its own."""
_DAY: Final = len("2026-12-01")


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """An event that the town knows. `content` and `seq` are those of the event that was stored."""

    seq: int
    content: str
    outcome: str | None
    generation: int | None
    is_unsigned: bool
    received_at: str | None = None
    """None if its row has left the image."""


def content_digest(payload: str) -> str:
    """What a processed event keeps of its payload. The journal has the payload."""
    return sha256(payload.encode(errors="surrogatepass")).hexdigest()


def digest_of(event_id: str) -> str:
    """The digest under which the town knows an event whose row has left the image."""
    return _short(event_id, _ID_BYTES)


def content_of(event_type: str, agent_id: str | None, bead_id: str | None, payload_digest: str) -> str:
    """The digest of what an event says. `payload_digest` is its `content_digest`."""
    return _short(canonical.dumps([event_type, agent_id, bead_id, payload_digest]), _CONTENT_BYTES)


def content_of_event(event: Mapping[str, Any]) -> str:
    """The digest of what an event says, given its fields by name: those of an envelope, an arrival, or a stored row."""
    payload, stored = event["payload"], event.get("content_digest")
    digest = stored if payload is None else content_digest(payload)
    return content_of(event["event_type"], event["agent_id"], event["bead_id"], digest or "")


def _short(text: str, size: int) -> str:
    return urlsafe_b64encode(sha256(text.encode(errors="surrogatepass")).digest()[:size]).decode()


_COLUMNS: Final = (
    "seq",
    "event_type",
    "agent_id",
    "bead_id",
    "payload",
    "content_digest",
    "outcome",
    "sender",
    "source",
    "received_at",
)
_STORED: Final = f"SELECT {', '.join(_COLUMNS)} FROM town_events WHERE event_id = :id"  # noqa: S608 - constants
_IDS_AT_ONCE: Final = 50
_PLACES: Final = ", ".join("?" * _IDS_AT_ONCE)
_WITH_ROWS: Final = f"SELECT event_id FROM town_events WHERE event_id IN ({_PLACES})"  # noqa: S608 - constants
_WITH_DIGESTS: Final = f"SELECT event FROM known_events WHERE event IN ({_PLACES})"  # noqa: S608 - constants
_KNOWN: Final = "SELECT seq, content, outcome, generation, is_unsigned FROM known_events WHERE event = :event"


def in_image(sql: sqlite3.Connection, event_id: str) -> KnownEvent | None:
    """The event that was stored under this id, if its row or its digest is in the image."""
    row = sql.execute(_STORED, {"id": event_id}).fetchone()
    if row is not None:
        return _of_row(dict(zip(_COLUMNS, row, strict=True)))
    known = sql.execute(_KNOWN, {"event": digest_of(event_id)}).fetchone()
    if known is None:
        return None
    seq, content, outcome, generation, is_unsigned = known
    return KnownEvent(seq, content, outcome, generation, bool(is_unsigned))


def _of_row(row: Mapping[str, Any]) -> KnownEvent:
    by = sender_in(row["sender"])
    return KnownEvent(
        row["seq"],
        content_of_event(row),
        row.get("outcome"),
        None if by is None else by.generation,
        is_unsigned=(row["sender"], row["source"]) == (None, "ingest"),
        received_at=row["received_at"],
    )


def absent(sql: sqlite3.Connection, envelopes: Sequence[Envelope]) -> frozenset[str]:
    """The ids, sent or stored, of these events under which the image holds nothing: for many events in a few statements."""
    ids = list(dict.fromkeys(form for each in envelopes for form in (each.event_id, sent_id(each.event_id))))
    by_digest = {digest_of(event_id): event_id for event_id in ids}
    found = {row[0] for part in _in_parts(ids) for row in sql.execute(_WITH_ROWS, part)}
    found |= {by_digest[row[0]] for part in _in_parts(list(by_digest)) for row in sql.execute(_WITH_DIGESTS, part)}
    return frozenset(ids) - found


def _in_parts(values: Sequence[str]) -> Iterator[tuple[str | None, ...]]:
    """Values in tuples of one length, so that the same statement does for every number of them."""
    for begin in range(0, len(values), _IDS_AT_ONCE):
        part = values[begin : begin + _IDS_AT_ONCE]
        yield (*part, *(None,) * (_IDS_AT_ONCE - len(part)))


def find(town: Town, event_id: str, absent: Collection[str] = ()) -> KnownEvent | None:
    """The event that has this id, among the arrivals of this tick or in the image, which holds none of the `absent` ids."""
    here = town.arrivals.find(event_id)
    if here is not None:
        return _of_row(here)
    return None if event_id in absent else in_image(town.sql, event_id)


def is_known(town: Town, envelope: Envelope, *, absent: Collection[str] = ()) -> bool:
    """Whether the town has an event of this id, which the image does not hold if it is `absent`. Schema 2 stored an agent's
    event under the id that the agent chose, without a sender.
    """
    if find(town, envelope.event_id, absent) is not None:
        return True
    chosen = sent_id(envelope.event_id)
    if chosen == envelope.event_id:
        return False
    there = find(town, chosen, absent)
    return there is not None and there.is_unsigned and there.content == content_of_event(envelope.as_json())


def judged(town: Town, envelope: Envelope) -> tuple[Literal["known", "conflict"], int | None, str | None]:
    """How an event compares with the known one of its id, whose generation and outcome follow."""
    there = find(town, envelope.event_id)
    if there is None:  # known from before senders were stored
        return "known", None, "applied"
    same = there.content == content_of_event(envelope.as_json())
    return "known" if same else "conflict", there.generation, there.outcome


def forget_rows(town: Town, *, before: datetime, poisoned_before: datetime, limit: int) -> int:
    """Remove the rows of events that were processed, or poisoned, before a time, oldest first; never pending ones.

    Of those that somebody may send again, the digests stay. No producer sends again what the town made itself (results,
    observations, derived events), and a poisoned row stays until nobody sends its event any more.
    """
    horizons = {"before": to_text(before), "poisoned_before": to_text(poisoned_before), "limit": limit}
    rows = town.sql.execute(_OVER, horizons).fetchall()
    if not rows:
        return 0
    left = [_left_of(row) for row in rows if row[_SOURCE] in ("ingest", "operator") and row[_OUTCOME] != "poisoned"]
    town.sql.execute(_REMEMBER, {"rows": canonical.dumps(left)})
    town.sql.execute(
        "DELETE FROM town_events WHERE seq IN (SELECT value FROM json_each(:seqs))",
        {"seqs": canonical.dumps([row[_SEQ] for row in rows])},
    )
    return len(rows)


def _left_of(row: tuple[Any, ...]) -> list[object]:
    """What is kept of a row of `_OVER`, in the order of `_REMEMBER`."""
    event_id, processed_at, *cells = row
    event = _of_row(dict(zip(_COLUMNS, cells, strict=True)))
    return [
        digest_of(event_id),
        event.seq,
        event.content,
        event.outcome,
        event.generation,
        int(event.is_unsigned),
        processed_at[:_DAY],
    ]


def forget_known(town: Town, *, before: datetime, limit: int) -> int:
    """Forget events that were processed on a day before the day of a time, oldest first: those among the next `limit` numbers."""
    return town.sql.execute(_DELETE_KNOWN, {"day": to_text(before)[:_DAY], "limit": limit}).rowcount


_SEQ: Final = 2 + _COLUMNS.index("seq")
_SOURCE: Final = 2 + _COLUMNS.index("source")
_OUTCOME: Final = 2 + _COLUMNS.index("outcome")
_ROW: Final = f"SELECT event_id, processed_at, {', '.join(_COLUMNS)} FROM town_events WHERE processed_at IS NOT NULL"  # noqa: S608
_OVER: Final = (
    f"{_ROW} AND outcome IS NOT 'poisoned' AND processed_at < :before "
    f"UNION ALL {_ROW} AND outcome = 'poisoned' AND processed_at < :poisoned_before "
    "ORDER BY processed_at, seq LIMIT :limit"
)
# Their order of receipt is nearly that in which they were processed, so no index over days is needed.
_DELETE_KNOWN: Final = (
    "DELETE FROM known_events WHERE seq < (SELECT MIN(seq) FROM known_events) + :limit AND processed_on < :day"
)
_REMEMBER: Final = (
    "INSERT INTO known_events (event, seq, content, outcome, generation, is_unsigned, processed_on) "
    "SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 "
    "FROM json_each(:rows) ORDER BY key"
)

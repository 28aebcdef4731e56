"""The inbox inside the image: events in order of receipt, each with its outcome and the number of failed attempts."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from shared.domain import canonical
from shared.domain.senders import Sender, from_row, sender_in, sent_id, stored_id_of_generation, text_of
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.domain.times import from_text, to_text
from shared.town.town import Town


@dataclass(frozen=True, slots=True)
class Fact:
    """An event as it is stored in the image."""

    event_id: str
    seq: int
    event_type: str
    agent_id: str | None
    bead_id: str | None
    payload: str
    source: str
    created_at: str
    received_at: str
    retry_count: int
    sender: Sender | None = None
    unreadable: str | None = None
    """What is wrong with the row, if its sender is damaged: nobody can say for whom it speaks."""

    @property
    def generation(self) -> int | None:
        """The generation whose token sent the event; None if no agent's token did, or one that was made without a generation."""
        return None if self.sender is None or self.sender.agent is None else self.sender.generation


def store(town: Town, envelope: Envelope) -> Literal["stored", "known", "conflict"]:
    """Store a new event under the next seq. An event with a known id is not stored: `conflict` means that its content differs.

    An id belongs to one sender (`shared.domain.senders`). Generations of an agent share their ids only for what was applied: if
    another generation's event of that id differs or was not applied, this one is stored under an id of its own.
    """
    if _is_inserted(town, envelope):
        return "stored"
    judged, by, outcome = _stored_as(town, envelope)
    sender = envelope.sender
    if sender is None or sender.agent is None or sender.generation in (None, by):
        return judged
    if judged == "known" and outcome == "applied":
        return judged
    own = replace(envelope, event_id=stored_id_of_generation(envelope.event_id, sender))
    return "stored" if _is_inserted(town, own) else _stored_as(town, own)[0]


def _is_inserted(town: Town, envelope: Envelope) -> bool:
    """Whether the event is new. Schema 2 stored an agent's event under the id that the agent chose, without a sender."""
    event_id, sender = envelope.event_id, envelope.sender
    chosen = sent_id(event_id)
    row = {
        "event_id": event_id,
        "seq": town.next_event_seq,
        "event_type": envelope.event_type,
        "agent_id": envelope.agent_id,
        "bead_id": envelope.bead_id,
        "payload": envelope.payload,
        "source": envelope.source,
        "created_at": envelope.created_at,
        "received_at": envelope.received_at,
        "sender": None if sender is None else text_of(sender),
        "chosen": chosen,
    }
    inserted = town.sql.execute(_INSERT if chosen == event_id else _INSERT_UNLESS_OLD, row)
    town.next_event_seq += inserted.rowcount
    return inserted.rowcount == 1


_STORED: Final = (
    "event_id",
    "seq",
    "event_type",
    "agent_id",
    "bead_id",
    "payload",
    "source",
    "created_at",
    "received_at",
    "sender",
)
_INTO: Final = f"INSERT INTO town_events ({', '.join(_STORED)})"
_NEW: Final = ", ".join(f":{column}" for column in _STORED)
_INSERT: Final = f"{_INTO} VALUES ({_NEW}) ON CONFLICT (event_id) DO NOTHING"
_INSERT_UNLESS_OLD: Final = (
    f"{_INTO} SELECT {_NEW} "  # noqa: S608
    "WHERE NOT EXISTS (SELECT 1 FROM town_events e WHERE e.event_id = :chosen AND e.sender IS NULL AND e.source = 'ingest' "
    "AND e.event_type = :event_type AND e.agent_id IS :agent_id AND e.bead_id IS :bead_id AND e.payload = :payload) "
    "ON CONFLICT (event_id) DO NOTHING"
)


def _stored_as(town: Town, envelope: Envelope) -> tuple[Literal["known", "conflict"], int | None, str | None]:
    """How an event compares with the stored one of its id, whose generation and outcome follow."""
    row = town.sql.execute(
        "SELECT event_type, agent_id, bead_id, payload, outcome, sender FROM town_events WHERE event_id = :id",
        {"id": envelope.event_id},
    ).fetchone()
    if row is None:  # known from before senders were stored
        return "known", None, "applied"
    *content, outcome, stored = row
    by = sender_in(stored)
    same = tuple(content) == (envelope.event_type, envelope.agent_id, envelope.bead_id, envelope.payload)
    return ("known" if same else "conflict"), None if by is None else by.generation, outcome


def append(
    town: Town,
    event_type: str,
    payload: dict[str, Any],
    *,
    source: EventSource = EventSource.DERIVED,
    agent_id: str | None = None,
    bead_id: str | None = None,
) -> None:
    """Add an event made inside this tick. It is applied in the same drain, after all earlier ones."""
    made = Envelope(
        event_id=town.tick.ids.new(),
        event_type=event_type,
        agent_id=agent_id,
        bead_id=bead_id,
        payload=canonical.dumps(payload),
        source=source.value,
        created_at=town.tick.now_text,
        received_at=town.tick.now_text,
    )
    while not _is_inserted(town, made):  # a producer has taken the id
        made = replace(made, event_id=town.tick.ids.new())


_COLUMNS = (
    "e.event_id, e.seq, e.event_type, e.agent_id, e.bead_id, e.payload, e.source, e.created_at, e.received_at, e.retry_count, "
    "e.sender"
)


def pending(town: Town, *, after: int) -> list[Fact]:
    """Pending events whose seq is greater than `after`, in order."""
    rows = town.sql.execute(
        f"SELECT {_COLUMNS} FROM town_events e WHERE e.processed_at IS NULL AND e.seq > :after ORDER BY e.seq",  # noqa: S608
        {"after": after},
    ).fetchall()
    return [fact_of(row) for row in rows]


def fact_of(row: tuple[Any, ...]) -> Fact:
    """The event in a row with the columns of `Fact`. One whose sender is damaged is `unreadable`."""
    *rest, sender = row
    fact = Fact(*rest)
    if sender is None:
        return fact
    try:
        return replace(fact, sender=from_row(sender))
    except ValueError:
        return replace(fact, unreadable="sender: not a sender")


def is_pending(town: Town, fact: Fact) -> bool:
    """Whether an event must still be applied. Deleting a bead marks its pending events as processed."""
    if not town.deleted_beads:
        return True
    row = town.sql.execute(
        "SELECT 1 FROM town_events WHERE event_id = :id AND processed_at IS NULL", {"id": fact.event_id}
    ).fetchone()
    return row is not None


def pending_count(town: Town) -> int:
    """The number of pending events."""
    count: int = town.sql.execute("SELECT COUNT(*) FROM town_events WHERE processed_at IS NULL").fetchone()[0]
    return count


def oldest_pending(town: Town) -> datetime | None:
    """When the first pending event was received; None if there is none, or if its row is damaged."""
    row = town.sql.execute(
        "SELECT received_at FROM town_events WHERE processed_at IS NULL ORDER BY seq LIMIT 1"
    ).fetchone()
    try:
        return None if row is None else from_text(row[0])
    except (TypeError, ValueError):  # this is only a metric: a damaged row must not fail the tick
        return None


def mark_processed(town: Town, fact: Fact, outcome: str) -> None:
    """Mark the event as processed, unless the deletion of its bead has already done so."""
    town.sql.execute(
        "UPDATE town_events SET processed_at = :now, outcome = :outcome WHERE event_id = :id AND processed_at IS NULL",
        {"id": fact.event_id, "now": town.tick.now_text, "outcome": outcome},
    )


def remove(town: Town, fact: Fact) -> None:
    """Delete a transient event that was applied; the journal has a record of it."""
    town.sql.execute("DELETE FROM town_events WHERE event_id = :id", {"id": fact.event_id})


def mark_failed(town: Town, fact: Fact, error: str) -> None:
    """Count a failed attempt; the event stays pending in its place."""
    town.sql.execute(
        "UPDATE town_events SET retry_count = retry_count + 1, last_error = :error WHERE event_id = :id",
        {"id": fact.event_id, "error": error},
    )


def mark_poisoned(town: Town, fact: Fact, error: str) -> None:
    """Mark the event as poisoned: processed and kept, but never retried automatically."""
    town.sql.execute(
        "UPDATE town_events SET retry_count = retry_count + 1, last_error = :error, processed_at = :now, "
        "poisoned_at = :now, outcome = 'poisoned' WHERE event_id = :id",
        {"id": fact.event_id, "error": error, "now": town.tick.now_text},
    )


def remove_processed(town: Town, *, before: datetime, limit: int) -> int:
    """Delete events that were processed before a time, oldest first; never pending ones."""
    deleted = town.sql.execute(
        "DELETE FROM town_events WHERE event_id IN (SELECT event_id FROM town_events "
        "WHERE processed_at < :before ORDER BY processed_at, event_id LIMIT :limit)",
        {"before": to_text(before), "limit": limit},
    )
    return deleted.rowcount

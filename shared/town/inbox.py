"""The inbox inside the image: events in order of receipt, each with its outcome and the number of failed attempts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from shared.domain import canonical
from shared.domain.senders import Sender, from_row, stored_id_of_generation, text_of
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.domain.times import from_text
from shared.town import known_events
from shared.town.arrivals import Arrival
from shared.town.known_events import content_digest
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


def store_all(town: Town, envelopes: Sequence[Envelope]) -> list[Envelope]:
    """Store new events in their order; those whose id stands for another content are returned, and not stored."""
    absent = known_events.absent(town.sql, envelopes)
    return [envelope for envelope in envelopes if store(town, envelope, absent=absent) == "conflict"]


def store(town: Town, envelope: Envelope, *, absent: Collection[str] = ()) -> Literal["stored", "known", "conflict"]:
    """Store a new event under the next seq. An event with a known id is not stored: `conflict` means that its content differs.

    `absent` are ids of which somebody knows that the image holds nothing under them.

    An id belongs to one sender (`shared.domain.senders`). Generations of an agent share their ids only for what was applied: if
    another generation's event of that id differs or was not applied, this one is stored under an id of its own.
    """
    if _is_inserted(town, envelope, absent=absent):
        return "stored"
    judged, by, outcome = known_events.judged(town, envelope)
    sender = envelope.sender
    if sender is None or sender.agent is None or sender.generation in (None, by):
        return judged
    if judged == "known" and outcome == "applied":
        return judged
    own = replace(envelope, event_id=stored_id_of_generation(envelope.event_id, sender))
    return "stored" if _is_inserted(town, own) else known_events.judged(town, own)[0]


def _is_inserted(town: Town, envelope: Envelope, *, absent: Collection[str] = ()) -> bool:
    """Whether the event is new; then it is an arrival of this tick."""
    if known_events.is_known(town, envelope, absent=absent):
        return False
    sender = envelope.sender
    town.arrivals.add(
        town.next_event_seq,
        {
            "event_id": envelope.event_id,
            "seq": town.next_event_seq,
            "event_type": envelope.event_type,
            "agent_id": envelope.agent_id,
            "bead_id": envelope.bead_id,
            "payload": envelope.payload,
            "source": envelope.source,
            "created_at": envelope.created_at,
            "received_at": envelope.received_at,
            "sender": None if sender is None else text_of(sender),
        },
    )
    town.next_event_seq += 1
    return True


def append(
    town: Town,
    event_type: str,
    payload: dict[str, Any],
    *,
    source: EventSource = EventSource.DERIVED,
    agent_id: str | None = None,
    bead_id: str | None = None,
    occurred_at: str | None = None,
) -> None:
    """Add an event made inside this tick. It is applied in the same drain, after all earlier ones.

    `occurred_at` is the time on the clock of whoever observed it; None: it has just happened.
    """
    made = Envelope(
        event_id=town.tick.ids.new(),
        event_type=event_type,
        agent_id=agent_id,
        bead_id=bead_id,
        payload=canonical.dumps(payload),
        source=source.value,
        created_at=occurred_at or town.tick.now_text,
        received_at=town.tick.now_text,
    )
    while not _is_inserted(town, made):  # a producer has taken the id
        made = replace(made, event_id=town.tick.ids.new())


_COLUMNS = (
    "e.event_id, e.seq, e.event_type, e.agent_id, e.bead_id, e.payload, e.source, e.created_at, e.received_at, e.retry_count, "
    "e.sender"
)


def pending(town: Town, *, after: int) -> list[Fact]:
    """Pending events whose seq is greater than `after`, in order. The arrivals come after those that were stored before."""
    rows = town.sql.execute(
        f"SELECT {_COLUMNS} FROM town_events e WHERE e.processed_at IS NULL AND e.seq > :after ORDER BY e.seq",  # noqa: S608
        {"after": after},
    ).fetchall()
    return [fact_of(row) for row in (*rows, *map(_told, town.arrivals.after(after)))]


def _told(arrival: Arrival) -> tuple[Any, ...]:
    """An arrival as a row of `_COLUMNS`."""
    return (*(arrival[name] for name in _TOLD), 0, arrival["sender"])


_TOLD: Final = (
    "event_id",
    "seq",
    "event_type",
    "agent_id",
    "bead_id",
    "payload",
    "source",
    "created_at",
    "received_at",
)
_INSERT: Final = (
    "INSERT INTO town_events (event_id, seq, event_type, agent_id, bead_id, payload, source, created_at, received_at, sender, "
    "processed_at, outcome, retry_count, poisoned_at, last_error, content_digest) VALUES (:event_id, :seq, :event_type, "
    ":agent_id, :bead_id, :payload, :source, :created_at, :received_at, :sender, :processed_at, :outcome, :retry_count, "
    ":poisoned_at, :last_error, :content_digest)"
)
_NEW: Final[Mapping[str, object]] = {
    "processed_at": None,
    "outcome": None,
    "retry_count": 0,
    "poisoned_at": None,
    "last_error": None,
    "content_digest": None,
}


def _is_stored(town: Town, fact: Fact, **columns: object) -> bool:
    """Give an arrival its row, with these columns; False if the event has a row already."""
    arrival = town.arrivals.take(fact.seq)
    if arrival is None:
        return False
    town.sql.execute(_INSERT, {**arrival, **_NEW, **columns})
    return True


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
    if not town.deleted_beads or fact.seq in town.arrivals:
        return True
    row = town.sql.execute(
        "SELECT 1 FROM town_events WHERE seq = :seq AND processed_at IS NULL", {"seq": fact.seq}
    ).fetchone()
    return row is not None


def pending_count(town: Town) -> int:
    """The number of pending events."""
    count: int = town.sql.execute("SELECT COUNT(*) FROM town_events WHERE processed_at IS NULL").fetchone()[0]
    return count + len(town.arrivals)


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
    """Mark the event as processed, unless the deletion of its bead has already done so. Its payload stays in the journal."""
    digest = content_digest(fact.payload)
    if _is_stored(town, fact, payload=None, content_digest=digest, processed_at=town.tick.now_text, outcome=outcome):
        return
    town.sql.execute(
        "UPDATE town_events SET processed_at = :now, outcome = :outcome, payload = NULL, content_digest = :digest "
        "WHERE seq = :seq AND processed_at IS NULL",
        {
            "seq": fact.seq,
            "now": town.tick.now_text,
            "outcome": outcome,
            "digest": digest,
        },
    )


def mark_deleted(town: Town, row_id: str) -> None:
    """Mark the pending events about a bead or agent that is deleted as processed."""
    rows = town.sql.execute(
        f"SELECT {_COLUMNS} FROM town_events e WHERE e.processed_at IS NULL AND (e.bead_id = :id OR e.agent_id = :id) "  # noqa: S608
        "ORDER BY e.seq",
        {"id": row_id},
    ).fetchall()
    arrived = [each for each in town.arrivals.after(-1) if row_id in (each["bead_id"], each["agent_id"])]
    for row in (*rows, *map(_told, arrived)):
        mark_processed(town, fact_of(row), "skipped: deleted")


def remove(town: Town, fact: Fact) -> None:
    """Forget a transient event that was applied; the journal has a record of it."""
    if town.arrivals.take(fact.seq) is not None:
        return
    town.sql.execute("DELETE FROM town_events WHERE seq = :seq", {"seq": fact.seq})


def mark_failed(town: Town, fact: Fact, error: str) -> None:
    """Count a failed attempt; the event stays pending in its place."""
    if _is_stored(town, fact, retry_count=1, last_error=error):
        return
    town.sql.execute(
        "UPDATE town_events SET retry_count = retry_count + 1, last_error = :error WHERE seq = :seq",
        {"seq": fact.seq, "error": error},
    )


def mark_poisoned(town: Town, fact: Fact, error: str) -> None:
    """Mark the event as poisoned: processed and kept with its payload, but never retried automatically."""
    digest, now = content_digest(fact.payload), town.tick.now_text
    if _is_stored(
        town,
        fact,
        retry_count=1,
        last_error=error,
        processed_at=now,
        poisoned_at=now,
        outcome="poisoned",
        content_digest=digest,
    ):
        return
    town.sql.execute(
        "UPDATE town_events SET retry_count = retry_count + 1, last_error = :error, processed_at = :now, "
        "poisoned_at = :now, outcome = 'poisoned', content_digest = :digest WHERE seq = :seq",
        {"seq": fact.seq, "error": error, "now": now, "digest": digest},
    )

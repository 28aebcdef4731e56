"""The only way in for events: from HTTP, from the command line, and from inbox objects that others wrote.

Every event passes the same steps. Each step is a module:

    bytes -> `decoding`, once -> `shape` -> `sender` -> `content` -> `stored`

`accept` performs all steps, and refuses the whole body if one event is wrong. It judges the events in order, so the refusal
names the first wrong event and its first problem. The worker calls `read_object`, which stops before `content`, because the
tick judges that. It never raises, because one unreadable object must not block a town.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.domain import canonical, limits
from shared.domain.errors import Refused
from shared.domain.senders import Sender, stored_id
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.events import BY_TYPE
from shared.intake import content, decoding, sender, shape, stored, unreadable
from shared.intake.crowding import Share
from shared.intake.decoding import StoredBatch
from shared.intake.shape import Incoming


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """Events that may be stored. `body` is the inbox object; a `transient_only` batch does not wake its town."""

    events: tuple[Incoming, ...]
    body: bytes
    transient_only: bool

    @property
    def envelopes(self) -> tuple[Envelope, ...]:
        """The events as a tick gets them."""
        return tuple(event.envelope for event in self.events)

    @property
    def id(self) -> str:
        """The batch's id, which is equal for equal events. It also says who sent how much, so that the inbox can be counted."""
        share = self.share
        return stored.batch_id(self.envelopes) + ("" if share is None else share.mark)

    @property
    def share(self) -> Share | None:
        """What it takes of its sender's room in the inbox; None for people, whose batches are not counted."""
        sender = next((event.envelope.sender for event in self.events), None)
        if sender is None or sender.scope == "operator":
            return None
        return Share(
            sender,
            sum(limits.weight(event.envelope.payload) for event in self.events),
            # the town must know such an event in any case (spec/events.md 2.2)
            urgent=any(BY_TYPE[event.envelope.event_type].over_budget == "applied" for event in self.events),
            signs_of_life=sender.scope == "container" and self.transient_only,
        )


def together(batches: Sequence[AcceptedBatch]) -> tuple[str, bytes]:
    """The id and the body of one inbox object for several batches, which have at most EVENTS_PER_BATCH events.

    All are counted together, and either all or none wakes its town.
    """
    share = batches[0].share
    counted = sum(each.share.weight for each in batches if each.share is not None)
    mark = "" if share is None else replace(share, weight=counted).mark
    return stored.id_of_all(each.id for each in batches) + mark, stored.object_of_all(each.body for each in batches)


def accept(
    body: bytes,
    *,
    received_at: datetime,
    source: EventSource = EventSource.INGEST,
    sent_by: Sender | None = None,
    restore_window: timedelta = limits.RESTORE_WINDOW,
) -> AcceptedBatch:
    """Decode a body and judge every event in it. Raises Refused (400, 403, 409, 410, 413) for the first problem."""
    events = decoding.events_of(body)
    return batch_of(events, received_at=received_at, source=source, sent_by=sent_by, restore_window=restore_window)


def batch_of(
    events: Iterable[dict[str, Any]],
    *,
    received_at: datetime,
    source: EventSource = EventSource.INGEST,
    sent_by: Sender | None = None,
    copied_from: Sender | None = None,
    restore_window: timedelta = limits.RESTORE_WINDOW,
) -> AcceptedBatch:
    """Judge events that are decoded already, as `accept` does. Raises Refused.

    `copied_from` is the sender of events that an operator sends again: they stay its words, but the operator answers for them.
    """
    received = to_text(received_at)
    oldest = received_at - max(limits.EVENT_RETENTION, restore_window)
    taken: dict[str, Incoming] = {}
    for index, decoded in enumerate(events):
        event = shape.incoming(decoded, f"events[{index}]", received_at=received, source=source)
        known = shape.type_of(event)
        sender.require_entitled(event, sent_by)
        content.require_valid(event, known)
        if not known.ages:
            content.require_remembered(event, oldest)
        content.require_same(event, taken.setdefault(event.envelope.event_id, event))
    known_by = sent_by or copied_from
    kept = tuple(_sent(event, known_by) for event in taken.values())
    return AcceptedBatch(
        kept,
        stored.inbox_object(kept, received_at=received, source=source, sent_by=known_by),
        transient_only=all(BY_TYPE[event.envelope.event_type].transient for event in kept),
    )


def read_object(key: str, body: bytes, *, size: int | None = None) -> tuple[Envelope, ...]:
    """The events of an inbox object, written by `accept` or by anybody else. Never raises.

    `size`: how many bytes the object has, if `body` is only the beginning of one that is too large.

    An event with a wrong type or payload stays as it is: the tick poisons it under its own id. An object or event that cannot
    be read is replaced by a stand-in, which the tick poisons instead.
    """
    try:
        batches = decoding.stored_batches(key, body)
    except Refused as problem:
        return (unreadable.stand_in(key, None, body, problem.message, size=size),)
    except Exception as error:  # noqa: BLE001 - no object may block its town
        return (unreadable.stand_in(key, None, body, type(error).__name__),)
    decoded = ((event, batch) for batch in batches for event in batch.events)
    return tuple(_read(key, index, event, batch) for index, (event, batch) in enumerate(decoded))


def number_of_events(key: str, body: bytes) -> int:
    """How many events `read_object` would find in an object."""
    try:
        return sum(len(batch.events) for batch in decoding.stored_batches(key, body))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is read as one event, which the tick poisons
        return 1


def _read(key: str, index: int, decoded: dict[str, Any], batch: StoredBatch) -> Envelope:
    try:
        event = shape.incoming(decoded, f"events[{index}]", received_at=batch.received_at, source=batch.source)
        sender.require_from_outside(event)
    except Refused as problem:
        return unreadable.stand_in(key, index, canonical.dumps(decoded).encode(), problem.message)
    return _sent(event, batch.sender).envelope


def _sent(event: Incoming, sender: Sender | None) -> Incoming:
    """The event with its sender, under the id that it has among the events of all senders."""
    if sender is None:
        return event
    envelope = event.envelope
    return replace(event, envelope=replace(envelope, event_id=stored_id(envelope.event_id, sender), sender=sender))

"""Refuses an event, before it is stored, if a different event with the same id already waits in the inbox."""

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from threading import Lock
from typing import Final

from shared.domain.errors import Refused
from shared.domain.tick import Envelope
from shared.intake.content import ONE_EVENT_FOR_EVER, content_of
from shared.intake.ingest import AcceptedBatch, read_object
from shared.ports.waiting_room import InboxObject

EVENTS_KNOWN: Final = 20_000

_Event = tuple[str, int | None]
"""The id of an event, and the generation of its sender."""

_Contents = Mapping[_Event, bytes]
"""A digest of what each event of a batch says."""


def require_no_other(batch: AcceptedBatch, waiting: Sequence[InboxObject]) -> None:
    """Refuse a batch (409) if one of its events has the same id as a waiting event of the same sender, but different content.

    Another generation of an agent is another sender here: what one generation posts never keeps out a report of the next.
    Events that a tick has already taken are not compared; the tick itself gives such an event the outcome `conflict`.
    """
    _compare(batch, map(_contents_of, waiting))


class KnownBatches:
    """What this process knows of the batches that wait, so that it reads each only once. Safe for threads.

    The id of a batch is made of what its events say, so what is known of a batch stays true. More than 20,000 events are not
    remembered: the batches that became known first are forgotten.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Contents] = OrderedDict()
        self._batches_with: dict[_Event, set[str]] = {}
        self._events = 0
        self._lock = Lock()

    def compare(self, batch: AcceptedBatch, waiting: Collection[str]) -> tuple[str, ...]:
        """Compare a batch with those of these waiting batches that are known, as `require_no_other` does; returns the others."""
        self.require_no_other(batch, waiting)
        return tuple(key for key in list(waiting) if key not in self._known)

    def require_no_other(self, batch: AcceptedBatch, waiting: Container[str]) -> None:
        """Compare a batch with those of these waiting batches that are known. The cost does not depend on how many wait."""
        with self._lock:
            alike = {key for event in batch.envelopes for key in self._batches_with.get(_named(event), ())}
            contents = [self._known[key] for key in sorted(alike) if key in waiting]
        _compare(batch, contents)

    def compare_read(self, batch: AcceptedBatch, waiting: Sequence[InboxObject]) -> None:
        """Compare a batch with these waiting batches, and remember them."""
        read = [(lying.key, _contents_of(lying)) for lying in waiting]
        for key, contents in read:
            self._remember(key, contents)
        _compare(batch, (contents for _, contents in read))

    def stored(self, key: str, batch: AcceptedBatch) -> None:
        """Remember that this batch waits under this key, perhaps with others."""
        with self._lock:
            beside = self._known.get(key, {})
        self._remember(key, {**beside, **_contents(batch.envelopes)})

    def waits(self, batch: AcceptedBatch, waiting: Container[str]) -> bool:
        """Whether all events of this batch are known to be in these waiting batches."""
        with self._lock:
            return all(
                any(key in waiting and self._known[key][event] == digest for key in self._batches_with.get(event, ()))
                for event, digest in _contents(batch.envelopes).items()
            )

    def _remember(self, key: str, contents: _Contents) -> None:
        with self._lock:
            self._forget(key)
            self._known[key] = contents
            self._events += len(contents)
            for event in contents:
                self._batches_with.setdefault(event, set()).add(key)
            while self._events > EVENTS_KNOWN:
                self._forget(next(iter(self._known)))

    def _forget(self, key: str) -> None:
        contents = self._known.pop(key, {})
        self._events -= len(contents)
        for event in contents:
            batches = self._batches_with.pop(event)
            batches.discard(key)
            if batches:
                self._batches_with[event] = batches


def _compare(batch: AcceptedBatch, waiting: Iterable[_Contents]) -> None:
    known: dict[_Event, bytes] = {}
    for contents in waiting:
        known.update(contents)
    for event in batch.events:
        there = known.get(_named(event.envelope))
        if there is not None and there != _digest(event.envelope):
            raise Refused(
                "an event with this event_id and different content is already waiting",
                status=409,
                path=f"{event.path}.event_id",
                hint=ONE_EVENT_FOR_EVER,
            )


def _contents_of(lying: InboxObject) -> _Contents:
    return _contents(read_object(lying.key, lying.body, size=lying.size))


def _contents(events: Iterable[Envelope]) -> _Contents:
    return {_named(event): _digest(event) for event in events}


def _digest(event: Envelope) -> bytes:
    return hashlib.blake2b(repr(content_of(event)).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _named(event: Envelope) -> _Event:
    return event.event_id, None if event.sender is None else event.sender.generation

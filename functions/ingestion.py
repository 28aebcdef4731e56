"""Making events durable: check them, write the due marker and the inbox object, wake a worker, and only then acknowledge."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Self

from functions import log, wiring
from functions.accepted import AcceptedReport
from functions.access import require_town_id
from functions.audit import Trail
from functions.claims import Holder
from functions.problems import not_found
from functions.settings import EventsSettings
from shared.domain.errors import AccessDenied, QueueUnavailable, Refused
from shared.domain.senders import sent_id, stored_id
from shared.events.containers import drain_nonce
from shared.intake import decoding, ingest
from shared.intake.crowding import Counts, beside, require_room
from shared.intake.ingest import AcceptedBatch
from shared.intake.looks import Looks
from shared.intake.posts import Post, post_all, post_one
from shared.intake.repeats import KnownBatches
from shared.ports.queue import Queue, Wake
from shared.ports.steps import Call, Several, Steps, drive
from shared.questions.receipts import AcceptedEvents
from shared.runner.surroundings import Surroundings
from shared.telemetry.emf import EmfMetrics

_HEARTBEAT: Final = "agent_heartbeat"
_EVICTION: Final = "container_eviction"
_AN_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


@dataclass(slots=True)
class Ingestion:
    """The way into a town's inbox. `metrics` is None where nobody reads them."""

    around: Surroundings
    queue: Queue
    metrics: EmfMetrics | None
    write_line: Callable[[str], object]
    counts: Counts = field(default_factory=Counts)
    known: KnownBatches = field(default_factory=KnownBatches)
    looks: Looks = field(default_factory=Looks)

    @classmethod
    def deployed(cls, settings: EventsSettings) -> Self:
        """The one of a function. Makes no request."""
        metrics = wiring.metrics(settings)
        around = wiring.surroundings(settings, wiring.store(settings), alerts=wiring.alerts(), metrics=metrics)
        return cls(around, wiring.queue(settings), metrics, log.write_line)

    def take(self, town_id: str, body: bytes, holder: Holder, *, now: datetime, trail: Trail) -> Steps[AcceptedReport]:
        """Make the events of a body durable. Raises Refused, UnknownTown; after StoreUnavailable they may be stored."""
        try:
            require_town_id(town_id)
            if holder.town != town_id:
                raise not_found()
            window = self.around.restore_window
            batch = ingest.accept(body, received_at=now, sent_by=holder.sender, restore_window=window)
        except Refused:
            trail.events = _ids_in(body, holder)
            raise
        stored = yield from self.store(town_id, batch, now=now, trail=trail)
        nonce = yield from self._nonce(town_id, batch)
        return AcceptedReport(stored.batch_id, tuple(map(sent_id, stored.accepted)), nonce)

    def store(self, town_id: str, batch: AcceptedBatch, *, now: datetime, trail: Trail) -> Steps[AcceptedEvents]:
        """Write the due marker and the inbox object, send a wake, and return the answer to the sender."""
        batch_id = batch.id
        trail.batch_id, trail.events = batch_id, tuple(event.event_id for event in batch.envelopes)
        wakes = not batch.transient_only
        if self._must_look(town_id, batch):
            key = yield from self.around.store.post(
                town_id,
                batch.body,
                received_at=now,
                batch_id=batch_id,
                wake=wakes,
                admit=partial(self._admit, town_id, batch, self.looks.began()),
                judge=partial(self.known.compare_read, batch),
            )
        else:
            post = Post(town_id, batch, now)
            key = yield Call(f"post {batch_id}", partial(self._post_one, post), several=Several(self._post_all, post))
        self.looks.stored(town_id, key, batch.share)
        if batch.share is not None:
            self.counts.stored(town_id, batch.share)
        if wakes:
            self.known.stored(key, batch)
        woken = wakes and self._wake(Wake(town_id, (now.replace(microsecond=0),), f"{town_id}:{batch_id}"))
        about = {"event": "events.accepted", "town_id": town_id, "batch_id": batch_id, "woken": woken}
        self.count({"eventsAccepted": len(batch.envelopes)}, about)
        return AcceptedEvents(batch_id, tuple(event.event_id for event in batch.envelopes))

    def count(self, values: Mapping[str, float], about: Mapping[str, object]) -> None:
        """Write these metrics. `about` are properties of the line. Without metrics this is a no-op."""
        if self.metrics is not None:
            self.metrics.write(values, about)

    def _must_look(self, town_id: str, batch: AcceptedBatch) -> bool:
        """Whether the inbox must be listed first: signs of life are stored without a look, as long as their sender has room.

        Others are if a recent look admits them.
        """
        share = batch.share
        if batch.transient_only and share is not None:
            return self.counts.must_look(town_id, share)
        own = self.looks.recent(town_id, share)
        if own is None:
            return True
        try:
            self._require_room(batch, own)
            self.known.require_no_other(batch, own)
        except Refused:
            return True
        return False

    def _post_one(self, post: Post) -> str:
        return drive(post_one(self.around.store, post))

    def _post_all(self, posts: Sequence[Post]) -> Sequence[str | Exception]:
        return drive(post_all(self.around.store, posts))

    def _require_room(self, batch: AcceptedBatch, own: Mapping[str, int]) -> None:
        if batch.share is not None and not self.known.waits(batch, own):
            require_room(batch.id, batch.share, own)

    def _admit(self, town_id: str, batch: AcceptedBatch, began: float, waiting: Sequence[str]) -> Sequence[str]:
        """Refuse a batch (429) of a sender of whom too much waits. One that wakes its town is compared with the others.

        Returns those that must be read for it.
        """
        self.looks.looked(town_id, waiting, at=began)
        own = beside(batch.share, waiting)
        if batch.share is not None:
            self.counts.looked(town_id, batch.share, own)
            self._require_room(batch, own)
        return () if batch.transient_only else self.known.compare(batch, own)

    def _wake(self, wake: Wake) -> bool:
        """Send a wake; returns whether the queue accepted it. If not, the dispatcher finds the due marker within a minute."""
        try:
            return self.queue.send((wake,)) == ()
        except (QueueUnavailable, AccessDenied) as error:
            line = {"event": "wake.lost", "town_id": wake.town_id, "error": type(error).__name__}
            self.write_line(json.dumps(line))
            return False

    def _nonce(self, town_id: str, batch: AcceptedBatch) -> Steps[str | None]:
        """The drain nonce for the sending container: after an eviction the new one, after a heartbeat that of the current drain."""
        evictions = [event for event in batch.envelopes if event.event_type == _EVICTION]
        if evictions:
            return drain_nonce(town_id, evictions[-1].event_id, evictions[-1].sender)
        if any(event.event_type == _HEARTBEAT for event in batch.envelopes):
            return (yield from self._draining(town_id))
        return None

    def _draining(self, town_id: str) -> Steps[str | None]:
        """The nonce of the drain in the last commit; None if the town is not draining.

        The manifest of the head says it. The head of an older release does not, until the town's next tick replaces it.
        """
        return (yield from self.around.store.standing(town_id)).drain_nonce


def _ids_in(body: bytes, holder: Holder) -> tuple[str, ...]:
    """The ids that the events of a refused body would have had, for the audit line; none if the body cannot be decoded."""
    try:
        sent = (event.get("event_id") for event in decoding.events_of(body))
        return tuple(
            stored_id(each, holder.sender) for each in sent if isinstance(each, str) and _AN_ID.fullmatch(each)
        )
    except Refused:
        return ()

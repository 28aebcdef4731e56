"""Batches that are posted at the same time, stored with as few objects as possible: each object costs two forced writes.

An object holds batches of one town and one account, so that its key still says how much of whose waits, and at most as many
events as a single batch may have. Its batches keep their own sender and time of receipt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.intake.ingest import AcceptedBatch, together
from shared.intake.repeats import KnownBatches
from shared.ports.steps import Steps
from shared.ports.waiting_room import WaitingRoom

_LARGEST: Final = limits.INBOX_OBJECT_SIZE - 1024


@dataclass(frozen=True, slots=True)
class Post:
    """A batch that was admitted, and when it was received."""

    town_id: str
    batch: AcceptedBatch
    at: datetime


def post_one(room: WaitingRoom, post: Post) -> Steps[str]:
    """Store one batch; returns the key of its object. Raises what posting raises."""
    wake = not post.batch.transient_only
    return room.post(post.town_id, post.batch.body, received_at=post.at, batch_id=post.batch.id, wake=wake)


def post_all(room: WaitingRoom, posts: Sequence[Post]) -> Steps[list[str | Exception]]:
    """Store these batches; returns the key of the object of each, or why it was not stored.

    A batch is refused (409) if it has an event of one before it with other content.
    """
    ends: dict[int, str | Exception] = {}
    for places in _alike(posts):
        judged = list(_without_conflicts(places, posts, ends))
        for part in _objects_of(judged, posts):
            end = yield from _stored(room, [posts[place] for place in part])
            ends.update(dict.fromkeys(part, end))
    return [ends[place] for place in range(len(posts))]


def _stored(room: WaitingRoom, posts: Sequence[Post]) -> Steps[str | Exception]:
    first = posts[0]
    try:
        if len(posts) == 1:
            return (yield from post_one(room, first))
        batch_id, body = together([post.batch for post in posts])
        wake = not first.batch.transient_only
        return (yield from room.post(first.town_id, body, received_at=first.at, batch_id=batch_id, wake=wake))
    except Exception as raised:  # noqa: BLE001 - the answer to each of these posts
        return raised


def _alike(posts: Sequence[Post]) -> Iterator[list[int]]:
    """The places of the posts that may share objects."""
    found: dict[object, list[int]] = {}
    for place, post in enumerate(posts):
        share = post.batch.share
        kind = (post.town_id, None if share is None else share.tag, post.batch.transient_only)
        found.setdefault(kind, []).append(place)
    yield from found.values()


def _without_conflicts(places: Sequence[int], posts: Sequence[Post], ends: dict[int, str | Exception]) -> Iterator[int]:
    """Those of these posts that do not contradict one before them."""
    before = KnownBatches()
    names: set[str] = set()
    for place in places:
        try:
            before.require_no_other(posts[place].batch, names)
        except Refused as refusal:
            ends[place] = refusal
            continue
        before.stored(str(place), posts[place].batch)
        names.add(str(place))
        yield place


def _objects_of(places: Sequence[int], posts: Sequence[Post]) -> Iterator[list[int]]:
    """These places, in order, in parts of which each fits into one object."""
    part: list[int] = []
    events, size = 0, 0
    for place in places:
        batch = posts[place].batch
        events, size = events + len(batch.events), size + len(batch.body) + 1
        if part and (events > limits.EVENTS_PER_BATCH or size > _LARGEST):
            yield part
            part, events, size = [], len(batch.events), len(batch.body) + 1
        part.append(place)
    if part:
        yield part

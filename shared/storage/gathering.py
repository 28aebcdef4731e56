"""Moves what waits to where it is read: from a bucket to the table beside it, or back.

While a deployment changes from one to the other, old code still writes to the old place, where new code does not look. Gathering
takes each batch and each marker from there, while ticks go on:

    G1 put the marker here       G3 get the marker; if gone, put it
    G2 create the batch here     G4 delete the batch there

This is a post (`waiting_room`, P1 to P3) of a batch that was already acknowledged, and whatever it writes here is written before
anything is deleted there. If it dies in between, it is repeated. A batch that a worker took there meanwhile waits here again, and
the next tick recognises its events by their ids. The old place may fill up again as long as old code runs, so whoever deploys
gathers once more when it has ended; the hourly sweep of a store with a table does so too.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from shared.domain.shapes import answer
from shared.ports.object_store import PlainObjects, StoredObject
from shared.ports.steps import Call, Steps
from shared.storage import keys
from shared.storage.listing import all_keys
from shared.storage.waiting_room import ObjectWaitingRoom


@answer
class Gathered:
    """How many due markers and batches were moved."""

    markers: int = 0
    batches: int = 0


def gather(room: ObjectWaitingRoom, there: PlainObjects, town_ids: Sequence[str], *, now: datetime) -> Steps[Gathered]:
    """Move all due markers, and what waits for these towns, from `there` to where this room keeps it."""
    markers = yield from markers_from(room, there)
    batches = 0
    for town_id in town_ids:
        batches += yield from inbox_from(room, there, town_id, now=now)
    return Gathered(markers, batches)


def markers_from(room: ObjectWaitingRoom, there: PlainObjects) -> Steps[int]:
    """Move all due markers."""
    moved = 0
    for key in (yield from all_keys(there, keys.DUE)):
        marker = keys.marker_of(key)
        if marker is not None:
            yield from room.mark_due(marker.town_id, marker.at)
            yield Call(f"delete {key} there", partial(there.delete, key))
            moved += 1
    return moved


def inbox_from(room: ObjectWaitingRoom, there: PlainObjects, town_id: str, *, now: datetime) -> Steps[int]:
    """Move what waits for one town."""
    moved = 0
    for key in (yield from all_keys(there, keys.inbox(town_id))):
        found: StoredObject | None = yield Call(f"get {key} there", partial(there.get, key))
        if found is None:
            continue  # a worker of old code took it
        yield from room.take_in(town_id, key, found.body, due=min(keys.received_at(key) or now, now))
        yield Call(f"delete {key} there", partial(there.delete, key))
        moved += 1
    return moved

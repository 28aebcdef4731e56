"""The bodies of batches that are too large for the table in which events wait: objects in the bucket beside it.

A body's key is that of its batch, below BODIES, with an ending of its own. It is written before the item that names it and deleted
after that (`shared.adapters.table_objects`). So a process that dies while it posts or takes a large batch leaves the body behind.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.ports.object_store import ObjectStore
from shared.ports.steps import Call, Steps
from shared.storage import keys
from shared.storage.listing import Listed, all_listed

BODIES: Final = "bodies/"
KEPT: Final = timedelta(days=7)
"""A machine may sleep between the body and the item that it writes. What the item names must still be there when it wakes."""


def bodies_of(town_id: str) -> str:
    """The prefix of the bodies of a town's batches."""
    return f"{BODIES}{keys.inbox(town_id)}"


def left_behind(objects: ObjectStore, town_id: str, *, now: datetime) -> Steps[dict[str, Listed]]:
    """The bodies that are older than KEPT and whose batch does not wait.

    None if events wait in the bucket itself: a table that is no longer used may still name a body until `townctl bucket gather`
    has emptied it.
    """
    room = objects.waiting
    if room is objects:
        return {}
    found: dict[str, Listed] = {}
    for key, body in (yield from all_listed(objects, bodies_of(town_id))).items():
        if body.written_at < now - KEPT:
            batch = key.removeprefix(BODIES).rpartition(".")[0]
            there: bytes | None = yield Call(f"start_of {batch}", partial(room.start_of, batch, 1))
            if there is None:
                found[key] = body
    return found

"""The commit: one conditional write of a town's head, and what is done when its answer is not a plain yes.

A lost answer, a time-out, a 5xx, a 409 and even a 412 (a repeated request meets its own first success) say
nothing certain. So nothing is assumed: the head is read again and its commit id tells. Only the same bytes
are ever sent again, under the same condition, so a first request that arrives late finds the second one done,
or the other way round.
"""

from functools import partial
from typing import Final

from shared.domain.errors import ConditionRace, PreconditionFailed, StoreUnavailable
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.storage import head, keys

TRIES: Final = 3


def first_head(objects: ObjectStore, town_id: str, body: bytes, *, commit_id: str) -> Steps[str | None]:
    """Store a town's first head and return its ETag; None if the town has a head of another commit."""
    key = keys.head(town_id)
    write = Call(f"create {key}", partial(objects.create, key, body))
    return (yield from _settled(objects, write, town_id=town_id, commit_id=commit_id, base_commit_id=None))


def next_head(
    objects: ObjectStore, town_id: str, body: bytes, *, commit_id: str, base_etag: str, base_commit_id: str
) -> Steps[str | None]:
    """Replace the head of the commit that was read and return the new ETag; None if another commit stands there."""
    key = keys.head(town_id)
    write = Call(f"replace {key}", partial(objects.replace, key, body, base_etag))
    return (yield from _settled(objects, write, town_id=town_id, commit_id=commit_id, base_commit_id=base_commit_id))


def _settled(
    objects: ObjectStore, write: Call, *, town_id: str, commit_id: str, base_commit_id: str | None
) -> Steps[str | None]:
    """Write until it is certain whether the commit stands, as long as the base stands, at most TRIES times.

    A base of None means that there was no head.
    """
    tries = 0
    while True:
        tries += 1
        try:
            etag: str = yield write
        except (PreconditionFailed, ConditionRace, StoreUnavailable):
            found = yield from _read_head(objects, town_id, commit_id=commit_id)
            found_commit_id = _commit_id(found, town_id)
            if found is not None and found_commit_id == commit_id:
                return found.etag
            if found_commit_id != base_commit_id:
                return None
            if tries == TRIES:
                raise
        else:
            return etag


def _read_head(objects: ObjectStore, town_id: str, *, commit_id: str) -> Steps[StoredObject | None]:
    key = keys.head(town_id)
    failure: Exception | None = None
    for _ in range(TRIES):
        try:
            found: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
        except StoreUnavailable as raised:
            failure = raised
        else:
            return found
    raise StoreUnavailable(
        f"town {town_id}: nobody knows yet whether commit {commit_id} was stored",
        hint="drop this run's work; the next load shows whether it was, and does the right thing either way",
    ) from failure


def _commit_id(found: StoredObject | None, town_id: str) -> str | None:
    if found is None:
        return None
    return head.decode(found.body, key=keys.head(town_id), town_id=town_id).manifest.commit_id

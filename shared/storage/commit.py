"""The commit: one conditional write of a town's head, and how an uncertain answer is resolved.

A lost answer, a timeout, a 5xx, a 409 and even a 412 leave the outcome open: a repeated request may fail because its own first
attempt succeeded. Therefore the head is read again, and its commit id decides:

    our own commit id            the commit stands
    the commit id of the base    no commit was made: send the same bytes again, under the same condition, at most 3 times
                                 (so it is for a damaged head with the ETag of the base: a restore replaces one)
    any other commit id          another writer has committed first

Because only the same bytes are sent again under the same condition, a first request that arrives late is harmless:
the condition of the request that arrives second fails.
"""

from functools import partial
from typing import Final

from shared.domain.errors import ConditionRace, PreconditionFailed, StoreUnavailable
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.storage import head, keys

TRIES: Final = 3


def first_head(objects: ObjectStore, town_id: str, body: bytes, *, commit_id: str) -> Steps[str | None]:
    """Store a town's first head and return its ETag; None if the town already has a head of another commit."""
    key = keys.head(town_id)
    write = Call(f"create {key}", partial(objects.create, key, body))
    return (yield from _settled(objects, write, town_id=town_id, commit_id=commit_id, base_commit_id=None))


def next_head(
    objects: ObjectStore, town_id: str, body: bytes, *, commit_id: str, base_etag: str, base_commit_id: str
) -> Steps[str | None]:
    """Replace the head of the base commit and return the new ETag; None if another commit has replaced it."""
    key = keys.head(town_id)
    write = Call(f"replace {key}", partial(objects.replace, key, body, base_etag))
    return (
        yield from _settled(
            objects, write, town_id=town_id, commit_id=commit_id, base_commit_id=base_commit_id, base_etag=base_etag
        )
    )


def _settled(
    objects: ObjectStore,
    write: Call,
    *,
    town_id: str,
    commit_id: str,
    base_commit_id: str | None,
    base_etag: str | None = None,
) -> Steps[str | None]:
    """Write, at most TRIES times, until it is certain whether the commit stands. `base_commit_id` is None if there was no head.

    Raises the last error if the outcome is still open after that.
    """
    tries = 0
    while True:
        tries += 1
        try:
            etag: str = yield write
        except (PreconditionFailed, ConditionRace, StoreUnavailable):
            found = yield from _read_head(objects, town_id, commit_id=commit_id)
            unchanged = found is not None and found.etag == base_etag
            found_commit_id = base_commit_id if unchanged else _commit_id(found, town_id)
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
        f"town {town_id}: it is unknown whether commit {commit_id} was stored, because the head could not be read",
        hint="drop the work of this run; the next run reads the head and continues correctly in either case",
    ) from failure


def _commit_id(found: StoredObject | None, town_id: str) -> str | None:
    if found is None:
        return None
    return head.decode(found.body, key=keys.head(town_id), town_id=town_id).manifest.commit_id

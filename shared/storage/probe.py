"""A test, at start, that a store honours conditional writes. Without them two ticks would silently overwrite each other."""

from functools import partial

from shared.domain.errors import ConditionRace, PreconditionFailed, StoreIncapable
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.storage import keys


def prove_conditional_writes(objects: ObjectStore, probe_id: str) -> Steps[None]:
    """Test the conditional writes that a commit relies on. The scratch object is named by a fresh `probe_id` and deleted again.

    Raises StoreIncapable, which names the fault.
    """
    key = keys.probe(probe_id)
    create, replace = partial(objects.create, key), partial(objects.replace, key)
    first = yield from _written(objects, key, Call(f"create {key}", partial(create, b"1")), b"1")
    yield from _must_fail(Call(f"create {key}", partial(create, b"2")), "creates an object that exists already")
    second = yield from _written(objects, key, Call(f"replace {key}", partial(replace, b"3", first)), b"3")
    yield from _must_fail(Call(f"replace {key}", partial(replace, b"4", first)), "replaces an object that has changed")
    stored: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
    if stored != StoredObject(b"3", second):
        raise _incapable("does not return what was written last")
    yield Call(f"delete {key}", partial(objects.delete, key))
    yield from _must_fail(Call(f"replace {key}", partial(replace, b"5", second)), "replaces an object that was deleted")


def _written(objects: ObjectStore, key: str, call: Call, body: bytes) -> Steps[str]:
    """The ETag of what was written. The client repeats a request whose answer was lost, and may be refused by its own success."""
    try:
        etag: str = yield call
    except PreconditionFailed:
        stored: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
        if stored is None or stored.body != body:
            raise
        return stored.etag
    return etag


def _must_fail(call: Call, fault: str) -> Steps[None]:
    try:
        yield call
    except (PreconditionFailed, ConditionRace):
        return
    raise _incapable(fault)


def _incapable(fault: str) -> StoreIncapable:
    return StoreIncapable(
        f"the object store {fault}",
        hint="towns would lose updates in this store; use S3, another store with conditional writes, or a directory",
    )

"""Proof, at start, that a store honours conditions: without them two ticks would overwrite each other in
silence.
"""

from functools import partial

from shared.domain.errors import ConditionRace, PreconditionFailed, StoreIncapable
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.storage import keys


def prove_conditional_writes(objects: ObjectStore, probe_id: str) -> Steps[None]:
    """Try what the commit relies upon, on a scratch object of a fresh `probe_id`, which is removed again.

    Raises StoreIncapable, which names what the store does not do.
    """
    key = keys.probe(probe_id)
    create, replace = partial(objects.create, key), partial(objects.replace, key)
    first: str = yield Call(f"create {key}", partial(create, b"1"))
    yield from _must_fail(Call(f"create {key}", partial(create, b"2")), "creates an object that exists")
    second: str = yield Call(f"replace {key}", partial(replace, b"3", first))
    yield from _must_fail(Call(f"replace {key}", partial(replace, b"4", first)), "replaces what has changed")
    stored: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
    if stored != StoredObject(b"3", second):
        raise _incapable("does not read back what was written last")
    yield Call(f"delete {key}", partial(objects.delete, key))
    yield from _must_fail(Call(f"replace {key}", partial(replace, b"5", second)), "replaces what is deleted")


def _must_fail(call: Call, fault: str) -> Steps[None]:
    try:
        yield call
    except (PreconditionFailed, ConditionRace):
        return
    raise _incapable(fault)


def _incapable(fault: str) -> StoreIncapable:
    return StoreIncapable(
        f"the object store {fault}",
        hint="towns would lose updates here; use S3, another store with conditional writes, or a directory",
    )

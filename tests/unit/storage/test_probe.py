"""The probe refuses stores that take a condition and ignore it; some that speak S3 do."""

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import PreconditionFailed, StoreIncapable
from shared.ports.steps import drive
from shared.storage.probe import prove_conditional_writes


class IgnoresIfNoneMatch(MemoryObjects):
    def create(self, key: str, body: bytes) -> str:
        return self.put(key, body)


class IgnoresIfMatch(MemoryObjects):
    def replace(self, key: str, body: bytes, etag: str) -> str:
        return self.put(key, body)


class ForgetsWhatWasDeleted(MemoryObjects):
    def replace(self, key: str, body: bytes, etag: str) -> str:
        return self.put(key, body) if self.get(key) is None else super().replace(key, body, etag)


class ReadsWhatWasFirst(MemoryObjects):
    def replace(self, key: str, body: bytes, etag: str) -> str:
        super().replace(key, body, etag)
        return self.put(key, b"1")


@pytest.mark.parametrize(
    ("store", "fault"),
    [
        (IgnoresIfNoneMatch, "creates an object that exists"),
        (IgnoresIfMatch, "replaces an object that has changed"),
        (ForgetsWhatWasDeleted, "replaces an object that was deleted"),
        (ReadsWhatWasFirst, "does not return what was written last"),
    ],
)
def test_a_store_that_does_not_keep_a_promise_is_refused_by_name(store: type[MemoryObjects], fault: str) -> None:
    with pytest.raises(StoreIncapable, match=fault) as refused:
        drive(prove_conditional_writes(store(), "probe-1"))
    assert refused.value.hint


class RepeatsEachWrite(MemoryObjects):
    """As a client does whose first answer was lost."""

    def create(self, key: str, body: bytes) -> str:
        super().create(key, body)
        return super().create(key, body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        super().replace(key, body, etag)
        return super().replace(key, body, etag)


def test_a_store_whose_answers_get_lost_keeps_its_promises() -> None:
    """Seen in a soak: `townctl run` ended because the repetition of its own write was refused."""
    objects = RepeatsEachWrite()
    drive(prove_conditional_writes(objects, "probe-1"))
    assert objects.list("").keys == ()


def test_a_store_that_refuses_to_create_what_is_not_there_is_not_believed() -> None:
    class Full(MemoryObjects):
        def create(self, key: str, body: bytes) -> str:
            raise PreconditionFailed(f"create {key}: 412")

    with pytest.raises(PreconditionFailed):
        drive(prove_conditional_writes(Full(), "probe-1"))

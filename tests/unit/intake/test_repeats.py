"""Batches that wait are compared with a new one, and each is read only once by a process."""

import pytest

from shared.domain.errors import Refused
from shared.intake import ingest, repeats
from shared.intake.ingest import AcceptedBatch
from shared.intake.repeats import KnownBatches
from shared.ports.waiting_room import InboxObject
from tests.towns import T


def a_batch(name: str, *, bead: str = "b1") -> AcceptedBatch:
    event = {"event_id": name, "event_type": "bead_cancelled", "bead_id": bead, "payload": {}}
    return ingest.batch_of([event], received_at=T)


def waits(key: str, batch: AcceptedBatch) -> InboxObject:
    return InboxObject(key, batch.body)


def test_a_batch_that_was_read_or_stored_need_not_be_read_again() -> None:
    known, new = KnownBatches(), a_batch("new-0001")
    assert known.compare(new, ["k1", "k2"]) == ("k1", "k2")
    known.compare_read(new, [waits("k1", a_batch("old-0001"))])
    known.stored("k2", a_batch("old-0002"))
    assert known.compare(new, ["k1", "k2", "k3"]) == ("k3",)


@pytest.mark.parametrize("is_read", [True, False])
def test_an_event_with_other_content_is_refused_however_the_waiting_batch_is_known(is_read: bool) -> None:
    known, old = KnownBatches(), a_batch("same-0001")
    if is_read:
        known.compare_read(a_batch("new-0001"), [waits("k1", old)])
    else:
        known.stored("k1", old)
    assert known.compare(a_batch("same-0001"), ["k1"]) == ()
    with pytest.raises(Refused, match="different content"):
        known.compare(a_batch("same-0001", bead="b2"), ["k1"])


def test_what_no_longer_waits_is_not_compared() -> None:
    known = KnownBatches()
    known.stored("k1", a_batch("same-0001"))
    assert known.compare(a_batch("same-0001", bead="b2"), []) == ()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> KnownBatches:
    monkeypatch.setattr(repeats, "EVENTS_KNOWN", 3)
    return KnownBatches()


def test_what_was_compared_longest_ago_is_forgotten_first_and_then_read_again(small: KnownBatches) -> None:
    new = a_batch("new-0001")
    for number in range(3):
        small.stored(f"k{number}", a_batch(f"old-{number:04}"))
    assert small.compare(new, ["k0"]) == ()
    small.stored("k0", a_batch("old-0000"))  # again: it counts once
    small.stored("k3", a_batch("old-0003"))
    assert small.compare(new, ["k0", "k1", "k2", "k3"]) == ("k1",)


def test_an_event_that_waits_in_two_batches_is_known_until_both_are_forgotten(small: KnownBatches) -> None:
    other = a_batch("same-0001", bead="b2")
    for key in ("k1", "k2"):
        small.stored(key, a_batch("same-0001"))
    for number in range(2):
        small.stored(f"more{number}", a_batch(f"more-{number:04}"))
    with pytest.raises(Refused, match="different content"):
        small.compare(other, ["k1", "k2"])
    small.stored("more2", a_batch("more-0002"))
    assert small.compare(other, ["k1", "k2"]) == ("k1", "k2")

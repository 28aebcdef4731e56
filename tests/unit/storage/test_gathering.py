"""What waits moves from a bucket to the table beside it, and back, while old code and new code work side by side."""

from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import TownError
from shared.ports.steps import Steps, drive
from shared.runner.sweep import sweep
from shared.storage import gathering, keys
from shared.storage.gathering import Gathered
from shared.storage.towns import ObjectTownStore
from tests.fault_injection import KINDS, Crash, Fault, FaultKind, Faults, meanwhile
from tests.fault_injection import sweep as every_call
from tests.towns import TOWN, T, a_town, event
from tests.unit.storage.images import NOON, an_image, facts
from tests.worlds import World

SECOND = timedelta(seconds=1)
LATER = T + timedelta(days=1)


class Beside:
    """A bucket whose inboxes and due markers are in a table."""

    def __init__(self, bucket: MemoryObjects, table: MemoryObjects) -> None:
        self.bucket = bucket
        self.waiting = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bucket, name)


def beside(bucket: MemoryObjects, table: MemoryObjects) -> Any:
    """The bucket, as an object store."""
    return Beside(bucket, table)


class Both:
    """One deployment before and after: code that keeps what waits in the bucket, and code that keeps it in the table."""

    def __init__(self) -> None:
        bucket = MemoryObjects()
        self.bucket, self.table = bucket, MemoryObjects()
        self.in_bucket = ObjectTownStore(bucket)
        self.in_table = ObjectTownStore(beside(bucket, self.table))
        drive(self.in_bucket.create("demo", an_image(), facts("0-x")))

    def post(self, store: ObjectTownStore, name: str, body: bytes = b"[1]", *, at: int = 0) -> str:
        return drive(store.post("demo", body, received_at=NOON + at * SECOND, batch_id=name, wake=True))

    def into_table(self) -> Steps[Gathered]:
        return gathering.gather(self.in_table, self.bucket, ["demo"], now=NOON + 60 * SECOND)

    def into_bucket(self) -> Steps[Gathered]:
        return gathering.gather(self.in_bucket, self.table, ["demo"], now=NOON + 60 * SECOND)


def _bodies(store: ObjectTownStore) -> list[bytes]:
    return [batch.body for batch in drive(store.read_inbox("demo", limit=100)).objects]


def test_what_waits_in_the_bucket_is_moved_into_the_table_and_back() -> None:
    both = Both()
    for number in range(3):
        both.post(both.in_bucket, f"b{number}", b"[%d]" % number, at=number)
    due = drive(both.in_bucket.due(LATER))
    assert drive(both.into_table()) == Gathered(len(due), 3)
    assert (_bodies(both.in_table), drive(both.in_table.due(LATER))) == ([b"[0]", b"[1]", b"[2]"], due)
    assert both.bucket.list("").keys == (keys.head("demo"),)
    assert drive(both.into_table()) == Gathered()
    assert drive(both.into_bucket()) == Gathered(len(due), 3)
    assert (_bodies(both.in_bucket), drive(both.in_bucket.due(LATER))) == ([b"[0]", b"[1]", b"[2]"], due)
    assert both.table.list("").keys == ()


def test_two_bodies_under_one_id_at_two_places_both_wait() -> None:
    both = Both()
    both.post(both.in_bucket, "b", b"[1]")
    both.post(both.in_table, "b", b"[2]")
    assert drive(both.into_table()).batches == 1
    assert sorted(_bodies(both.in_table)) == [b"[1]", b"[2]"]


def test_a_batch_whose_name_says_no_time_is_due_at_once() -> None:
    both = Both()
    both.bucket.put("towns/demo/inbox/odd", b"odd")
    drive(both.into_table())
    assert _bodies(both.in_table) == [b"odd"]
    assert drive(both.in_table.due(NOON + 60 * SECOND))


@pytest.mark.parametrize(("kind", "for_ever"), [(kind, for_ever) for kind in KINDS for for_ever in (False, True)])
def test_whatever_happens_while_it_moves_every_batch_waits_somewhere_and_wakes_its_town(
    kind: FaultKind, *, for_ever: bool
) -> None:
    def posted() -> Both:
        both = Both()
        both.post(both.in_bucket, "a", b"[1]")
        both.post(both.in_bucket, "b", b"[2]", at=7)
        return both

    for fault in every_call(kind, for_ever=for_ever, of=lambda: posted().into_table()):
        both = posted()
        _under(fault, both.into_table())
        waiting = {*_bodies(both.in_bucket), *_bodies(both.in_table)}
        assert waiting == {b"[1]", b"[2]"}, fault
        if _bodies(both.in_table):
            assert drive(both.in_table.due(NOON + 7 * SECOND)), fault
        drive(both.into_table())
        assert _bodies(both.in_table) == [b"[1]", b"[2]"], fault
        assert both.bucket.list("").keys == (keys.head("demo"),), fault


def _under(fault: Fault, steps: Steps[Any]) -> None:
    try:
        Faults(fault).drive(steps)
    except (TownError, Crash):
        return


def test_a_batch_that_a_worker_of_old_code_takes_meanwhile_is_passed_over() -> None:
    both = Both()
    key = both.post(both.in_bucket, "a")
    taken = meanwhile(
        both.into_table(), before=f"get {key} there", by=lambda: drive(both.in_bucket.clear_inbox((key,)))
    )
    assert drive(taken).batches == 0
    assert _bodies(both.in_table) == []


def test_while_a_deployment_changes_ticks_go_on_and_every_event_is_applied_once() -> None:
    """Old code posts and ticks in the bucket, new code in the table; what old code leaves is taken in by the sweep."""
    old = World().put_in(a_town())
    assert isinstance(old.objects, MemoryObjects)
    new = World(objects=beside(old.objects, MemoryObjects()), clock=old.clock, runtime=old.runtime)
    expected = []

    def post(world: World, number: int) -> None:
        bead = {"bead_id": f"b{number}", "type": "issue", "title": "t", "labels": ["gt:held"]}
        world.post(event("bead_created", {"bead": bead}, event_id=f"event-{number:03}"))
        expected.append(f"b{number}")

    for number in range(0, 12, 4):
        post(old, number)
        post(new, number + 1)
        new.run()
        post(old, number + 2)
        old.run()
        post(new, number + 3)
        old.clock.move(seconds=30)
        post(old, 100 + number)
        drive(sweep(new.around))
        assert drive(new.store.due(new.clock.now()))
        new.run()
    assert not [key for key in old.objects.list("").keys if keys.is_inbox_object(key) or key.startswith(keys.DUE)]
    assert [new.town().status(bead) for bead in expected] == ["open"] * len(expected)
    assert TOWN in {marker.town_id for marker in drive(new.store.due(LATER))}

    back = drive(gathering.gather(old.store, new.objects.waiting, [TOWN], now=old.clock.now()))
    assert back.markers > 0
    post(old, 200)
    old.run()
    assert old.town().status("b200") == "open"


def test_the_sweep_of_a_store_that_keeps_what_waits_itself_makes_no_further_call() -> None:
    world = World().put_in(a_town())
    faults = Faults()
    faults.drive(sweep(world.around))
    assert not [name for name in faults.names if name.endswith(" there")]

"""The commit protocol under every single fault, at every call, once and for ever, and under every
interleaving.

What must hold whatever happens: a commit stands once or not at all, what was reported as committed is
committed, no update is lost, and a batch that was acknowledged is in the inbox with a marker that leads to
it, or was taken.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import ConditionRace, Conflict, StoreUnavailable, TownError, TownExists
from shared.ports.steps import Call, Steps, Together, answer_of, drive
from shared.ports.town_store import TownImage
from shared.storage.towns import ObjectTownStore
from tests.fault_injection import KINDS, Crash, Fault, FaultKind, Faults, interrupted, meanwhile, sweep
from tests.unit.storage.images import NOON, an_image, facts, operations_in

every_fault = pytest.mark.parametrize(
    ("kind", "for_ever"), [(kind, for_ever) for kind in KINDS for for_ever in (False, True)]
)


def a_store_with_a_town() -> ObjectTownStore:
    store = ObjectTownStore(MemoryObjects())
    drive(store.create("demo", an_image(), facts("0-x")))
    return store


def increment(store: ObjectTownStore, operation: str) -> Steps[TownImage]:
    """Add an operation to the town unless it is there already, as a tick adds an event under its id."""
    image = yield from store.load("demo")
    operations = operations_in(image.image)
    if operation in operations:
        return image
    after = an_image([*operations, operation])
    number = image.txid
    return (yield from store.commit(image, after, facts(f"{number}-{operation}", tick_no=number)))


def outcome_under(fault: Fault, steps: Steps[Any]) -> Any:
    """What the steps gave under a fault: their value, an error of ours, or a crash. Anything else is a failed
    test.
    """
    try:
        return Faults(fault).drive(steps)
    except (TownError, Crash) as ended:
        return ended


@every_fault
def test_a_commit_stands_once_or_not_at_all(kind: FaultKind, *, for_ever: bool) -> None:
    for fault in sweep(kind, for_ever=for_ever, of=lambda: increment(a_store_with_a_town(), "ours")):
        store = a_store_with_a_town()
        outcome = outcome_under(fault, increment(store, "ours"))
        stored = drive(store.load("demo"))
        assert operations_in(stored.image) in ([], ["ours"]), fault
        assert stored.txid == 1 + len(operations_in(stored.image)), fault
        if isinstance(outcome, TownImage):
            assert stored == outcome, fault
        if isinstance(outcome, Conflict):
            assert operations_in(stored.image) == [], fault

        drive(increment(store, "ours"))
        last = drive(increment(store, "next"))
        assert operations_in(last.image) == ["ours", "next"], fault
        assert last.txid == 3, fault


@pytest.mark.parametrize("kind", ["error", "lost_answer", "race", "twice"])
def test_a_commit_outlives_any_single_failure_of_its_write(kind: FaultKind) -> None:
    store = a_store_with_a_town()
    base = drive(store.load("demo"))
    steps = store.commit(base, an_image(["ours"]), facts("1-x", tick_no=1))
    committed = Faults(Fault(kind, at=0)).drive(steps)
    assert drive(store.load("demo")) == committed


@pytest.mark.parametrize(("kind", "error"), [("error", StoreUnavailable), ("race", ConditionRace)])
def test_a_write_that_never_succeeds_is_tried_three_times_and_given_up(kind: FaultKind, error: type[Exception]) -> None:
    store = a_store_with_a_town()
    base = drive(store.load("demo"))
    faults = Faults(Fault(kind, at=0, for_ever=True))
    with pytest.raises(error):
        faults.drive(store.commit(base, an_image(["ours"]), facts("1-x")))
    assert faults.names == ["replace towns/demo/head", "get towns/demo/head"] * 3
    assert drive(store.load("demo")) == base


def test_nobody_claims_to_know_what_became_of_a_commit_that_cannot_be_read_back() -> None:
    """The write was made, its answer was lost, and then the store stayed silent: only a later load can
    tell.
    """
    store = a_store_with_a_town()
    base = drive(store.load("demo"))
    steps = store.commit(base, an_image(["ours"]), facts("1-x"))
    write = steps.send(None)
    assert isinstance(write, Call)
    write.make()
    for _ in range(3):
        assert steps.throw(StoreUnavailable("no answer")).name == "get towns/demo/head"  # type: ignore[union-attr]
    with pytest.raises(StoreUnavailable, match="it is unknown whether commit 1-x was stored") as unknown:
        steps.throw(StoreUnavailable("no answer"))
    assert "the next run reads the head" in unknown.value.hint
    assert operations_in(drive(store.load("demo")).image) == ["ours"]


@pytest.mark.parametrize("before_call", [0, 1, 2])
@pytest.mark.parametrize("kind", [None, "lost_answer", "race", "twice"])
def test_another_writer_at_any_moment_is_never_overwritten(before_call: int, kind: FaultKind | None) -> None:
    store = a_store_with_a_town()
    steps = increment(store, "ours")
    if kind is not None:
        steps = Faults(Fault(kind, at=1)).into(steps)
    committed = False
    with suppress(Conflict):
        drive(interrupted(steps, before_call=before_call, by=lambda: drive(increment(store, "theirs"))))
        committed = True
    operations = operations_in(drive(store.load("demo")).image)
    assert operations.count("theirs") == (0 if before_call == 2 and kind is None else 1)
    assert operations.count("ours") <= 1
    if committed:
        assert "ours" in operations
    drive(increment(store, "ours"))
    assert operations_in(drive(store.load("demo")).image).count("ours") == 1


def test_a_late_repetition_of_a_lost_write_finds_its_condition_false() -> None:
    """A request that hung in the network for an hour arrives after others have committed: nothing happens."""
    store = a_store_with_a_town()
    base = drive(store.load("demo"))
    late = store.commit(base, an_image(["late"]), facts("1-late")).send(None)
    drive(increment(store, "first"))
    drive(increment(store, "second"))
    assert isinstance(late, Call)
    assert isinstance(answer_of(late), Conflict)
    assert operations_in(drive(store.load("demo")).image) == ["first", "second"]


@every_fault
def test_a_town_is_created_once_or_not_at_all_and_never_without_its_marker(kind: FaultKind, *, for_ever: bool) -> None:
    def create(store: ObjectTownStore, commit_id: str) -> Steps[TownImage]:
        return store.create("demo", an_image([commit_id]), facts(commit_id))

    for fault in sweep(kind, for_ever=for_ever, of=lambda: create(ObjectTownStore(MemoryObjects()), "0-x")):
        store = ObjectTownStore(MemoryObjects())
        outcome = outcome_under(fault, create(store, "0-x"))
        assert not isinstance(outcome, TownExists), fault
        exists = drive(store.towns()) == ("demo",)
        if isinstance(outcome, TownImage):
            assert exists, fault
            assert drive(store.load("demo")) == outcome, fault
        if exists:
            assert [marker.town_id for marker in drive(store.due(NOON))] == ["demo"], fault
            with pytest.raises(TownExists):
                drive(create(store, "0-y"))
            assert operations_in(drive(store.load("demo")).image) == ["0-x"], fault
        else:
            assert drive(create(store, "0-y")).txid == 1, fault


@pytest.mark.parametrize("before_call", [0, 1, 2])
def test_a_new_town_has_its_marker_even_if_a_worker_that_found_no_town_deleted_it(before_call: int) -> None:
    store = ObjectTownStore(MemoryObjects())

    def find_no_town() -> None:
        drive(store.clear_due(tuple(marker.key for marker in drive(store.due(NOON)))))

    drive(interrupted(store.create("demo", an_image(), facts("0-x")), before_call=before_call, by=find_no_town))
    assert [marker.town_id for marker in drive(store.due(NOON))] == ["demo"]


@every_fault
def test_a_load_gives_the_newest_image_or_an_error_and_never_an_empty_town(kind: FaultKind, *, for_ever: bool) -> None:
    store = a_store_with_a_town()
    stale = drive(store.load("demo"))
    newest = drive(increment(store, "ours"))
    for known in (None, stale, newest):
        for fault in sweep(kind, for_ever=for_ever, of=lambda known=known: store.load("demo", known=known)):  # type: ignore[misc]
            outcome = outcome_under(fault, store.load("demo", known=known))
            assert outcome == newest or isinstance(outcome, StoreUnavailable | Crash), fault


@every_fault
@pytest.mark.parametrize("wake", [True, False])
def test_an_acknowledged_batch_is_in_the_inbox_and_leads_a_worker_there(
    kind: FaultKind, *, for_ever: bool, wake: bool
) -> None:
    at = NOON + timedelta(seconds=7)

    def post(store: ObjectTownStore) -> Steps[str]:
        return store.post("demo", b"[1]", received_at=at, batch_id="b1", wake=wake)

    for fault in sweep(kind, for_ever=for_ever, of=lambda: post(a_store_with_a_town())):
        store = a_store_with_a_town()
        outcome = outcome_under(fault, post(store))
        waiting = [batch.body for batch in drive(store.read_inbox("demo", limit=10)).objects]
        assert waiting in ([], [b"[1]"]), fault
        if isinstance(outcome, str):
            assert waiting == [b"[1]"], fault
            assert at in [marker.at for marker in drive(store.due(at))] or not wake, fault

        assert drive(post(store)) == "towns/demo/inbox/1768046407000-b1.json", fault
        assert [batch.body for batch in drive(store.read_inbox("demo", limit=10)).objects] == [b"[1]"], fault


@pytest.mark.parametrize("kind", ["race", "twice"])
def test_a_batch_is_acknowledged_although_its_write_met_itself(kind: FaultKind) -> None:
    store = a_store_with_a_town()
    faults = Faults(Fault(kind, at=2))
    key = faults.drive(store.post("demo", b"[1]", received_at=NOON, batch_id="b1", wake=True))
    assert faults.names[2] == f"create {key}"
    assert [batch.key for batch in drive(store.read_inbox("demo", limit=10)).objects] == [key]


@every_fault
def test_a_clearing_that_failed_is_made_good_by_the_next_one(kind: FaultKind, *, for_ever: bool) -> None:
    def world() -> tuple[ObjectTownStore, tuple[str, ...]]:
        store = a_store_with_a_town()
        posted = (store.post("demo", b"[]", received_at=NOON, batch_id=name, wake=False) for name in "abc")
        return store, tuple(drive(steps) for steps in posted)

    def clear() -> Steps[None]:
        store, keys = world()
        return store.clear_inbox(keys)

    for fault in sweep(kind, for_ever=for_ever, of=clear):
        store, keys = world()
        outcome_under(fault, store.clear_inbox(keys))
        drive(store.clear_inbox(keys))
        assert drive(store.read_inbox("demo", limit=10)).objects == (), fault


def test_of_two_that_create_a_town_at_once_one_does_and_the_other_is_told() -> None:
    store = ObjectTownStore(MemoryObjects())

    def another_creates() -> None:
        drive(store.create("demo", an_image(["theirs"]), facts("0-theirs")))

    ours = store.create("demo", an_image(["ours"]), facts("0-ours"))
    with pytest.raises(TownExists):
        drive(meanwhile(ours, before="create towns/demo/head", by=another_creates))
    assert operations_in(drive(store.load("demo")).image) == ["theirs"]


def test_a_damaged_head_is_replaced_although_the_first_attempt_has_no_answer() -> None:
    """Its commit id cannot be read, but its ETag shows that nobody else has replaced it."""
    objects = MemoryObjects()
    store = ObjectTownStore(objects)
    objects.put("towns/demo/head", b"no head at all")

    def no_answer() -> None:
        raise StoreUnavailable("no answer")

    mended = store.replace_lost("demo", an_image(), facts("9-x"), txid=9, damaged=objects.get("towns/demo/head"))
    assert drive(meanwhile(mended, before="replace towns/demo/head", by=no_answer)).txid == 9
    assert drive(store.load("demo")).txid == 9


def test_a_batch_that_could_not_be_deleted_is_told_and_the_others_are_gone() -> None:
    store = a_store_with_a_town()
    posted = [drive(store.post("demo", b"[]", received_at=NOON, batch_id=name, wake=False)) for name in "abc"]

    def no_answer() -> None:
        raise StoreUnavailable("no answer")

    clearing = meanwhile(store.clear_inbox(tuple(posted)), before=f"delete {posted[1]}", by=no_answer)
    with pytest.raises(StoreUnavailable, match="no answer"):
        drive(clearing)
    assert [batch.key for batch in drive(store.read_inbox("demo", limit=10)).objects] == [posted[1]]


@every_fault
def test_what_lies_in_the_inbox_has_a_marker_even_if_its_sender_died_before_the_answer(
    kind: FaultKind, *, for_ever: bool
) -> None:
    """Nobody posts it again, so without a marker it would wait for the next sweep."""

    def a_quiet_store() -> ObjectTownStore:
        store = a_store_with_a_town()
        drive(store.clear_due(tuple(marker.key for marker in drive(store.due(NOON + timedelta(days=1))))))
        return store

    def post(store: ObjectTownStore) -> Steps[str]:
        return store.post("demo", b"[]", received_at=NOON, batch_id="b", wake=True)

    for fault in sweep(kind, for_ever=for_ever, of=lambda: post(a_quiet_store())):
        store = a_quiet_store()
        outcome_under(fault, post(store))
        if drive(store.read_inbox("demo", limit=1)).objects:
            assert drive(store.due(NOON)), fault


def test_however_post_and_worker_interleave_no_acknowledged_batch_waits_without_a_marker() -> None:
    """A worker may read the inbox, then a batch arrives beside the marker it found, then it deletes that
    marker.

    The post looks at its marker after its batch is stored; the worker looks at the inbox after it deleted the
    marker.
    """
    at = NOON + timedelta(seconds=7)
    interleavings = 0
    for order in _orders(first=5, second=9):
        store = a_store_with_a_town()
        taken: list[str] = []
        key = _interleaved(
            store.post("demo", b"[1]", received_at=at, batch_id="b1", wake=True),
            _work(store, at=at, taken=taken),
            order=order,
        )
        interleavings += 1
        due = [marker.at for marker in drive(store.due(at))]
        assert key in taken or due, order
    assert interleavings == 2002


def _work(store: ObjectTownStore, *, at: Any, taken: list[str]) -> Steps[None]:
    """The outline of a worker's run over the inbox and the markers that it found."""
    markers = yield from store.due(at)
    reading = yield from store.read_inbox("demo", limit=10)
    keys = tuple(batch.key for batch in reading.objects)
    taken += keys
    yield from store.clear_inbox(keys)
    yield from store.clear_due(tuple(marker.key for marker in markers))
    left = yield from store.read_inbox("demo", limit=1)
    if left.objects:
        yield from store.mark_due("demo", at)


def _orders(*, first: int, second: int) -> Iterator[list[bool]]:
    """Every order in which so many steps of one and so many of another can follow each other."""
    for places in combinations(range(first + second), first):
        yield [place in places for place in range(first + second)]


def _interleaved(first: Steps[Any], second: Steps[Any], *, order: list[bool]) -> Any:
    """Make the calls of both in this order, then what is left of either; what the first returned."""
    results: dict[bool, Any] = {}
    running = {True: first, False: second}
    waiting = {which: _step(steps, None, results, which) for which, steps in running.items()}
    for which in [*order, *[True] * 10, *[False] * 20]:
        step = waiting[which]
        if step is not None:
            answer = [answer_of(call) for call in step.calls] if isinstance(step, Together) else step.make()
            waiting[which] = _step(running[which], answer, results, which)
    assert waiting == {True: None, False: None}
    return results[True]


def _step(steps: Steps[Any], answer: Any, results: dict[bool, Any], which: bool) -> Call | Together | None:
    try:
        step = steps.send(answer)
    except StopIteration as end:
        results[which] = end.value
        return None
    assert isinstance(step, Call | Together)
    return step

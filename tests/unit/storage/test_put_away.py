"""A town that is put away: no town any more, brought back as it was, or deleted for good; and never while something of it runs."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import ArchivedTown, Conflict, DamagedImage, Refused, TownExists
from shared.domain.times import to_text
from shared.ports.steps import Steps, drive
from shared.runner.bringing_back import bring_back
from shared.storage import keys
from shared.storage.deletion import delete
from shared.storage.large_batches import bodies_of
from shared.storage.listing import all_keys
from shared.storage.put_away import KEPT, LONGEST_REASON, all_put_away, put_away
from shared.storage.restore import KeptPast
from tests.fakes import a_bucket_beside_a_table
from tests.fault_injection import Crash, death, meanwhile
from tests.towns import TownBuilder, a_town, event
from tests.worlds import World, a_world

TOWN = "one"


def a_paused_town() -> TownBuilder:
    return a_town(TOWN).key("paused", True).bead("b1", title="Write the lexer")


def archive_of(world: World, town_id: str = TOWN) -> KeptPast:
    assert isinstance(world.objects, MemoryObjects)
    return KeptPast(world.objects, world.objects, town_id)


def a_tick(world: World) -> None:
    world.post(event("bead_updated", {"priority": "high"}, bead="b1"), town_id=TOWN)
    assert world.run(town_id=TOWN).outcome == "committed"


def away(world: World) -> Steps[Any]:
    return put_away(world.store, archive_of(world), by="ann", reason="over the summer", now=world.clock.now())


def back(world: World) -> Steps[Any]:
    return bring_back(world.store, archive_of(world), by="bob", now=world.clock.now())


def test_an_archived_town_is_no_town_and_comes_back_as_it_was() -> None:
    world = a_world(a_paused_town(), a_town("two"))
    before = world.image(TOWN)
    note = drive(away(world))
    assert (note.txid, note.by, note.reason, note.kept_until - note.at) == (before.txid, "ann", "over the summer", KEPT)
    assert drive(world.store.towns()) == ("two",)
    assert world.markers(TOWN) == []
    assert drive(world.store.headless()) == ()
    assert [each.town_id for each in drive(all_put_away(world.store, lambda town: archive_of(world, town)))] == [TOWN]
    assert drive(back(world)) == note
    after = world.image(TOWN)
    assert (after.image, after.facts) == (before.image, before.facts)
    assert len(world.markers(TOWN)) == 1
    assert drive(world.store.headless(put_away=True)) == ()


def told(world: World) -> list[tuple[str, Any]]:
    """What the town's journal says about its time in the archive, and what became of each event."""
    assert world.run(town_id=TOWN).outcome == "committed"
    row = world.journal(TOWN)[-1]
    outcomes = {each["event_id"]: each["outcome"] for each in row["outputs"]["events"]}
    arrived = [each for each in row["inputs"]["new_events"] if each["event_type"] == "town_brought_back"]
    return [(outcomes[each["event_id"]], json.loads(each["payload"])) for each in arrived]


def test_the_history_of_a_town_that_is_back_says_who_archived_it_and_why_and_who_brought_it_back() -> None:
    world = a_world(a_paused_town())
    at = drive(away(world)).at
    world.clock.move(days=3)
    drive(back(world))
    said = {"by": "bob", "archived_by": "ann", "archived_at": to_text(at), "reason": "over the summer"}
    assert told(world) == [("applied", said)]


def test_a_return_that_did_not_end_is_told_once() -> None:
    world = a_world(a_paused_town())
    drive(away(world))
    with pytest.raises(Crash):
        drive(meanwhile(back(world), before="create towns/one/head", by=death))
    world.clock.move(hours=1)
    drive(back(world))
    assert len(told(world)) == 1


@pytest.mark.parametrize(
    "reason", ["", " ", "two\nlines", "x" * (LONGEST_REASON + 1)], ids=["none", "blank", "lines", "long"]
)
def test_a_reason_is_one_line_of_text(reason: str) -> None:
    world = a_world(a_paused_town())
    with pytest.raises(Refused, match="cannot be kept") as refused:
        drive(put_away(world.store, archive_of(world), by="ann", reason=reason, now=world.clock.now()))
    assert (refused.value.path, drive(world.store.towns())) == ("reason", (TOWN,))


@pytest.mark.parametrize(
    "use",
    [
        lambda world: world.post(event("town_started"), town_id=TOWN),
        lambda world: world.run(town_id=TOWN),
        lambda world: drive(world.store.standing(TOWN)),
    ],
    ids=["post", "tick", "read"],
)
def test_who_uses_an_archived_town_learns_when_it_was_archived_and_the_way_back(use: Callable[[World], object]) -> None:
    world = a_world(a_paused_town())
    drive(away(world))
    with pytest.raises(ArchivedTown, match="town one was archived at 20") as refused:
        use(world)
    assert "townctl town bring-back one" in refused.value.hint


def test_no_other_town_is_created_under_the_name_of_an_archived_one() -> None:
    world = a_world(a_paused_town())
    drive(away(world))
    with pytest.raises(TownExists, match="was archived"):
        world.put_in(a_town(TOWN))


@pytest.mark.parametrize(
    ("town", "why"),
    [
        (a_town(TOWN), "it is not paused"),
        (a_paused_town().agent("p1", status="working", hook="b1"), "1 of its agents have not ended"),
        (a_paused_town().agent("p1", status="waiting"), "1 of its agents have not ended"),
    ],
    ids=["running", "at work", "waiting"],
)
def test_a_town_in_which_something_may_run_is_not_archived(town: TownBuilder, why: str) -> None:
    world = a_world(town)
    with pytest.raises(Refused, match=why) as refused:
        drive(away(world))
    assert (refused.value.status, bool(refused.value.hint)) == (409, True)
    assert drive(world.store.towns()) == (TOWN,)


def test_a_town_with_waiting_events_is_not_archived() -> None:
    world = a_world(a_paused_town())
    world.post(event("bead_updated", {"priority": "high"}, bead="b1"), town_id=TOWN)
    with pytest.raises(Refused, match="wait in its inbox"):
        drive(away(world))


def test_a_commit_just_before_the_end_is_not_lost() -> None:
    """The last moment: the head has been copied, and a worker commits before it is replaced."""
    world = a_world(a_paused_town())
    steps = meanwhile(away(world), before=f"replace {keys.head(TOWN)}", by=lambda: a_tick(world))
    with pytest.raises(Conflict, match="ticked just now"):
        drive(steps)
    assert world.image(TOWN).txid == 2
    assert keys.put_away(TOWN) not in drive(all_keys(world.objects, keys.town(TOWN)))


@pytest.mark.parametrize("before", ["put ", "replace ", "delete towns/one/head"])
def test_archiving_is_finished_by_repeating_it_after_a_crash(before: str) -> None:
    world = a_world(a_paused_town())
    with pytest.raises(Crash):
        drive(meanwhile(away(world), before=before, by=death))
    drive(away(world))
    assert drive(world.store.towns()) == ()
    drive(back(world))
    assert world.image(TOWN).txid == 1


def test_who_read_the_head_before_cannot_commit_any_more() -> None:
    world = a_world(a_paused_town())
    base = world.image(TOWN)
    drive(away(world))
    with pytest.raises(Conflict):
        drive(world.store.commit(base, base.content, replace(base.facts, commit_id="late")))
    assert drive(world.store.towns()) == ()


def test_a_town_is_deleted_for_good_only_after_its_time_or_by_insisting() -> None:
    world = a_world(a_paused_town(), a_town("two"))
    drive(away(world))
    now = world.clock.now()
    with pytest.raises(Refused, match="is kept until"):
        drive(delete(archive_of(world), now=now + KEPT - timedelta(seconds=1), insist=False))
    drive(delete(archive_of(world), now=now + KEPT, insist=False))
    assert drive(all_keys(world.objects, keys.town(TOWN))) == []
    assert archive_of(world).versions.versions(keys.head(TOWN)) == ()
    assert drive(world.store.towns()) == ("two",)
    assert world.put_in(a_town(TOWN)) is world


def test_a_deletion_that_stops_halfway_goes_on_when_it_is_repeated_and_nobody_brings_the_town_back() -> None:
    world = a_world(a_paused_town())
    a_tick(world)
    world.post(event("bead_updated", {"priority": "low"}, bead="b1"), town_id=TOWN)
    world.run(town_id=TOWN)
    drive(away(world))
    now = world.clock.now()
    begun = drive(delete(archive_of(world), now=now, insist=True, most=1))
    assert (begun.objects, begun.left > 0) == (1, True)
    with pytest.raises(Refused, match="its deletion for good has begun") as refused:
        drive(back(world))
    assert (refused.value.status, "townctl town delete one" in refused.value.hint) == (409, True)
    [note] = drive(all_put_away(world.store, lambda town: archive_of(world, town)))
    assert note.deleting
    ended = drive(delete(archive_of(world), now=now, insist=False))
    assert ended.left == 0
    assert drive(all_keys(world.objects, keys.town(TOWN))) == []
    assert archive_of(world).versions.versions(keys.put_away(TOWN)) == ()


@pytest.mark.parametrize("step", ["get towns/one/put-away", "create towns/one/head", "delete towns/one/put-away"])
def test_of_a_return_and_a_deletion_at_the_same_time_only_one_goes_on(step: str) -> None:
    world = a_world(a_paused_town())
    drive(away(world))

    def deletion() -> None:
        with suppress(Refused):
            drive(delete(archive_of(world), now=world.clock.now(), insist=True))

    with suppress(Refused):
        drive(meanwhile(back(world), before=step, by=deletion))
    left = drive(all_keys(world.objects, keys.town(TOWN)))
    if drive(world.store.towns()) == (TOWN,):
        assert world.run(town_id=TOWN).outcome == "committed"
    else:
        assert [each for each in left if "/inbox/" not in each] == []


def test_what_waits_in_a_table_for_a_town_that_is_deleted_reaches_no_new_town_of_its_name() -> None:
    """A batch may come between the last look at the inbox and the end of the town. In a bucket it went with the town."""
    world = a_world(a_paused_town(), objects=a_bucket_beside_a_table())
    drive(away(world))
    in_bucket = drive(all_keys(world.objects, keys.town(TOWN)))
    late = keys.inbox_object(TOWN, world.clock.now(), "late")
    world.objects.waiting.create(late, b"{}")
    world.objects.create(f"{bodies_of(TOWN)}left-behind.1", b"{}")
    gone = drive(delete(archive_of(world), now=world.clock.now(), insist=True))
    replaced = [keys.head(TOWN), keys.put_away(TOWN)]  # by marks: what they were is deleted too
    assert gone.objects == len(in_bucket) + 2 + len(replaced)
    assert drive(all_keys(world.objects.waiting, keys.inbox(TOWN))) == []
    assert drive(all_keys(world.objects, bodies_of(TOWN))) == []


def test_a_town_that_is_not_archived_is_neither_deleted_nor_brought_back() -> None:
    world = a_world(a_paused_town())
    for act in (back(world), delete(archive_of(world), now=world.clock.now(), insist=True)):
        with pytest.raises(Refused, match="no town one is archived here"):
            drive(act)
    assert drive(world.store.towns()) == (TOWN,)


def test_what_a_crash_left_beside_a_head_deletes_nothing() -> None:
    world = a_world(a_paused_town())
    drive(away(world))
    left = world.objects.get(keys.put_away(TOWN))
    drive(back(world))
    assert left is not None
    world.objects.put(keys.put_away(TOWN), left.body)
    with pytest.raises(Refused, match="it has a head"):
        drive(delete(archive_of(world), now=world.clock.now(), insist=True))
    with pytest.raises(TownExists):
        drive(back(world))
    assert len(told(world)) == 1
    drive(away(world))
    assert drive(back(world)).txid == 2


def test_a_damaged_copy_is_named_and_not_brought_back() -> None:
    world = a_world(a_paused_town())
    drive(away(world))
    world.objects.put(keys.put_away(TOWN), b"nonsense")
    with pytest.raises(DamagedImage, match="towns/one/put-away is damaged"):
        drive(back(world))

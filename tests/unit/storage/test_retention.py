"""What retention keeps beside restore points, and what it does not delete on the word of a damaged file."""

from datetime import timedelta

import pytest

from shared.domain.errors import DamagedImage
from shared.ports.steps import drive
from shared.ports.town_store import Published
from shared.storage import keys, layers, publish, publishing, retention
from shared.storage.large_batches import BODIES, bodies_of
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from tests.fakes import FakeClock, a_bucket_beside_a_table
from tests.unit.storage.images import NOON, an_image, facts

DAY = timedelta(days=1)
LOG = keys.logs_of("demo") + "toast/0000000001-log.agent.json"


class Kept:
    """A town whose one snapshot was written at noon, in a store with a clock that can be set."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOON)
        self.objects = a_bucket_beside_a_table(self.clock.now)
        town = drive(ObjectTownStore(self.objects).create("demo", an_image(), facts("0-x")))
        self.snapshot = drive(publishing.publish_snapshot(self.objects, town))

    def write(self, key: str, *, at: timedelta) -> None:
        """An object that was written so long after noon."""
        self.clock.at = NOON + at
        self.objects.put(key, b"{}")

    def doomed(self, *, at: timedelta) -> list[str]:
        """What may be deleted so long after noon."""
        plan = retention.plan(KeptPast(self.objects, self.objects, "demo"), retention.Keep(), now=NOON + at)
        return [each.key for each in drive(plan).doomed]


def test_a_log_is_kept_for_two_weeks_and_goes_then() -> None:
    town = Kept()
    town.write(LOG, at=DAY)
    assert town.doomed(at=15 * DAY) == []
    assert town.doomed(at=15 * DAY + timedelta(milliseconds=1)) == [LOG]


def test_the_body_of_a_large_batch_goes_a_week_later_if_the_batch_does_not_wait() -> None:
    """A process died between the body, which is written first and deleted last, and the item that names it."""
    town = Kept()
    waits, taken = (keys.inbox_object("demo", NOON, name) for name in ("waits", "taken.once"))
    town.objects.waiting.create(waits, b"{}")
    for batch in (waits, taken):
        town.write(f"{BODIES}{batch}.a1b2", at=DAY)
    assert town.doomed(at=8 * DAY) == []
    assert town.doomed(at=60 * DAY) == [f"{BODIES}{taken}.a1b2"]


def test_without_a_table_no_body_goes_because_a_table_that_is_no_longer_used_may_name_it() -> None:
    town = Kept()
    town.write(f"{bodies_of('demo')}1-b.a1b2", at=DAY)
    town.objects.table = None
    assert town.doomed(at=60 * DAY) == []


def test_journal_rows_of_the_hour_before_the_window_are_kept_because_a_store_may_count_in_whole_seconds() -> None:
    town = Kept()
    hour = timedelta(hours=1)
    kept, gone = keys.journal("demo", 3, 4), keys.journal("demo", 1, 2)
    town.write(gone, at=-hour - timedelta(milliseconds=1))
    town.write(kept, at=-hour)
    assert town.doomed(at=60 * DAY) == [gone]


def test_a_spill_that_was_made_of_the_newest_commit_is_kept_although_no_head_refers_to_it_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A commit in progress does, and it may take its time."""
    monkeypatch.setattr(layers, "WHOLE_UP_TO", 100)
    town = Kept()
    store = ObjectTownStore(town.objects)
    base = drive(store.load("demo"))
    published = drive(store.publication(base, None).settled((None,)))  # its snapshot stands
    newest = drive(store.commit(base, an_image(["a"]), facts("1-x", tick_no=1), published=published))
    spill = drive(publishing.flush(town.objects, newest))
    assert spill == keys.spill("demo", 2, 2)
    assert spill not in town.doomed(at=60 * DAY)


def test_a_head_that_was_replaced_today_is_kept_however_long_ago_it_was_written() -> None:
    """Until then it was the newest commit, and the day of commits goes back to it."""
    town = Kept()
    store = ObjectTownStore(town.objects)
    town.clock.at = NOON + 2 * DAY
    drive(store.commit(drive(store.load("demo")), an_image(["a"]), facts("1-x", tick_no=1)))
    assert town.doomed(at=3 * DAY - timedelta(milliseconds=1)) == []
    assert town.doomed(at=3 * DAY) == ["towns/demo/head"]


def test_the_window_begins_at_a_snapshot_from_before_it_however_old_that_is() -> None:
    town = Kept()
    store = ObjectTownStore(town.objects)
    town.clock.at = NOON + 50 * DAY
    newest = drive(store.commit(drive(store.load("demo")), an_image(["a"]), facts("1-x", tick_no=1)))
    drive(publishing.publish_snapshot(town.objects, newest))
    assert town.snapshot not in town.doomed(at=51 * DAY)
    assert town.snapshot in town.doomed(at=90 * DAY)


def test_a_snapshot_is_kept_as_long_as_a_spill_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "WHOLE_UP_TO", 100)
    town = Kept()
    store = ObjectTownStore(town.objects)
    base = drive(store.load("demo"))
    published = drive(store.publication(base, None).settled((None,)))
    second = drive(store.commit(base, an_image(["a"]), facts("1-x", tick_no=1), published=published))
    spill = drive(publishing.flush(town.objects, second))
    drive(publishing.publish_snapshot(town.objects, second))
    newer = Published(layers.snapshot_file(second.content, publish.manifest_of(second)))
    drive(store.commit(second, an_image(["a", "b"]), facts("2-x", tick_no=2), published=newer))
    body = town.objects.get(spill)
    assert body is not None
    town.clock.at = NOON + 40 * DAY
    town.objects.put(spill, body.body)  # as if it had been made only then
    assert {spill, town.snapshot}.isdisjoint(town.doomed(at=45 * DAY))
    assert {spill, town.snapshot} <= set(town.doomed(at=48 * DAY))


def test_nothing_goes_on_the_word_of_a_snapshot_that_cannot_be_read() -> None:
    town = Kept()
    town.write(keys.journal("demo", 1, 2), at=-DAY)
    town.clock.at = NOON
    town.objects.put(town.snapshot, b"no snapshot at all")
    with pytest.raises(DamagedImage, match="ltx/0009"):
        town.doomed(at=60 * DAY)

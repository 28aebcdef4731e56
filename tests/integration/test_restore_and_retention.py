"""A town of many days: every retained commit comes back, a restore can be undone, and forgetting forgets nothing needed."""

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Refused, StoreUnavailable, UnknownTown
from shared.domain.images import ArchiveBlock
from shared.domain.tick import TickInput
from shared.domain.times import from_milliseconds, from_text
from shared.engine import tick
from shared.intake import ingest
from shared.ports.object_store import ObjectVersion
from shared.ports.steps import drive
from shared.runner.founding import found_town
from shared.runner.run_report import RunReport
from shared.runner.surroundings import Surroundings
from shared.runner.worker import run_town
from shared.storage import in_place, keys, ltx, publish, publishing, retention
from shared.storage.archive import TownArchives
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.town import database, journal
from tests.counting import CountingObjects
from tests.fakes import FakeClock
from tests.fault_injection import Fault, Faults
from tests.scenarios.table import scenario
from tests.small_layers import small_layers
from tests.towns import T


@dataclass(frozen=True)
class Commit:
    """A commit as it was made."""

    txid: int
    time: datetime
    image: bytes
    tick_no: int


@dataclass
class History:
    """A town in a store that keeps versions, and everything that was ever committed.

    The clock of its workers is `behind` that of the store.
    """

    clock: FakeClock = field(default_factory=lambda: FakeClock(T))
    behind: timedelta = timedelta()
    commits: list[Commit] = field(default_factory=list)
    events: int = 0

    def __post_init__(self) -> None:
        self.objects = MemoryObjects(kept_versions=100_000, now=lambda: self.clock.now() + self.behind)
        self.store = ObjectTownStore(self.objects)
        self.around = Surroundings(store=self.store, clock=self.clock)
        self.kept = KeptPast(self.objects, self.objects, "t1")
        image = drive(found_town("t1", self.around, worker_id="founder"))
        self.commits.append(Commit(image.txid, image.facts.time, image.image, 0))
        self.post("rig_registered", {"rig_id": "r1", "name": "main", "git_url": "https://example.org/a/b.git"})

    def post(self, event_type: str, payload: dict[str, object], *, bead: str | None = None) -> RunReport:
        """One event and the tick that takes it."""
        self.events += 1
        event: dict[str, object] = {
            "event_id": f"event-{self.events:05d}",
            "event_type": event_type,
            "payload": payload,
        }
        if bead is not None:
            event["bead_id"] = bead
        batch = ingest.accept(json.dumps(event).encode(), received_at=self.clock.now())
        drive(self.store.post("t1", batch.body, received_at=self.clock.now(), batch_id=f"b{self.events}", wake=True))
        run = drive(run_town("t1", self.around, worker_id=f"w{self.events}", force=True))
        assert run.outcome == "committed"
        self.commits.append(Commit(run.image.txid, run.image.facts.time, run.image.image, run.image.facts.tick_no))
        return run

    def bead(self, number: int, body: str = "") -> RunReport:
        """A held bead: work that no rule touches."""
        bead = {"bead_id": f"bead-{number:04d}", "type": "issue", "title": "t", "body": body, "labels": ["gt:held"]}
        return self.post("bead_created", {"bead": bead})

    def live_on(self, commits: int, *, seed: int, longest: timedelta) -> None:
        """So many commits with random pauses."""
        rng = random.Random(seed)
        for number in range(commits):
            self.clock.at += timedelta(seconds=rng.randint(5, int(longest.total_seconds())))
            self.bead(1000 * seed + number, rng.randbytes(rng.choice((10, 200, 1500))).hex())

    def at(self, moment: datetime) -> Commit:
        """The newest commit at or before a moment."""
        return [commit for commit in self.commits if commit.time <= moment][-1]

    def forget(self) -> retention.RetentionPlan:
        """Run retention now."""
        plan = drive(retention.plan(self.kept, retention.Keep(), now=self.clock.now()))
        drive(retention.carry_out(self.kept, plan))
        return plan


@pytest.fixture(autouse=True)
def _small_spills(monkeypatch: pytest.MonkeyPatch) -> None:
    small_layers(monkeypatch, 24 * 1024, patch_files=2)


@pytest.fixture(scope="module")
def ten_days() -> History:
    with pytest.MonkeyPatch.context() as patched:
        small_layers(patched, 24 * 1024, patch_files=2)
        history = History()
        history.live_on(150, seed=1, longest=timedelta(hours=3))
    return history


def test_every_commit_comes_back_by_its_number_as_long_as_its_head_is_kept(ten_days: History) -> None:
    for commit in ten_days.commits:
        restored = drive(ten_days.kept.at_txid(commit.txid))
        assert (restored.image, restored.point.tick) == (commit.image, commit.tick_no)


def test_every_instant_gives_the_newest_commit_before_it(ten_days: History) -> None:
    rng = random.Random(7)
    span = int((ten_days.clock.at - T).total_seconds())
    for _ in range(60):
        moment = T + timedelta(seconds=rng.randrange(span))
        assert drive(ten_days.kept.at_time(moment)).image == ten_days.at(moment).image


def test_restore_points_are_listed_newest_first_with_what_they_are(ten_days: History) -> None:
    points = drive(ten_days.kept.points(limit=1000))
    assert [point.txid for point in points] == sorted({commit.txid for commit in ten_days.commits}, reverse=True)
    assert {point.kind for point in points} == {"head"}
    assert points[0].time == ten_days.commits[-1].time


def test_an_unknown_town_and_a_commit_that_is_not_retained_are_refused_with_what_to_do(ten_days: History) -> None:
    with pytest.raises(UnknownTown):
        drive(KeptPast(ten_days.objects, ten_days.objects, "nobody").points())
    with pytest.raises(Refused, match="cannot be restored to commit 999") as refused:
        drive(ten_days.kept.at_txid(999))
    assert "townctl points t1" in refused.value.hint
    with pytest.raises(Refused):
        drive(ten_days.kept.at_time(T - timedelta(days=1)))


def test_after_retention_the_ends_of_files_remain_restore_points_and_give_what_was_committed() -> None:
    history = History()
    history.live_on(120, seed=2, longest=timedelta(hours=3))
    plan = history.forget()
    assert plan.freed_bytes > 0
    images = {commit.txid: commit.image for commit in history.commits}
    kinds = set()
    for point in drive(history.kept.points(limit=1000)):
        assert drive(history.kept.at_txid(point.txid)).image == images[point.txid]
        kinds.add(point.kind)
    assert {"head", "snapshot"} <= kinds


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_every_instant_of_the_window_can_be_rebuilt_exactly_after_retention(seed: int) -> None:
    history = History()
    for part in range(3):
        history.live_on(50, seed=10 * seed + part, longest=timedelta(hours=6))
        history.forget()
    start = history.clock.now() - retention.Keep().window
    wanted = [commit for commit in history.commits if commit.time >= start and commit.tick_no > 0]
    assert len(wanted) > 20
    rebuilt = _rebuild(history, start)
    for commit in wanted:
        assert rebuilt[commit.tick_no] == commit.image


def _rebuild(history: History, start: datetime) -> dict[int, bytes]:
    """The image after every tick since the newest snapshot at or before `start`, from what is left in the store."""
    objects = history.objects
    snapshots = [key for key in objects.list(keys.ltx_prefix("t1")).keys if "/0009/" in key]
    files = [ltx.decode(found.body, key) for key in snapshots if (found := objects.get(key)) is not None]
    before = [file for file in files if from_milliseconds(file.header.time_ms) <= start]
    base = max(before, key=lambda file: file.header.max_txid)
    rows = []
    for key in objects.list(keys.journal_prefix("t1")).keys:
        found = objects.get(key)
        assert found is not None
        rows += json.loads(publish.read_block(found.body))["ticks"]
    newest = database.open_image(history.commits[-1].image)
    rows += journal.rows(newest, limit=10_000)
    database.close(newest)
    sql = database.open_image(ltx.image_of(base))
    first = int(sql.execute("SELECT value FROM town WHERE key = 'tick_no'").fetchone()[0])
    rebuilt = {}
    for expected, row in enumerate((row for row in rows if row["tick_no"] > first), start=first + 1):
        assert row["tick_no"] == expected
        tick.run(sql, TickInput.from_record(row), town_id="t1")
        rebuilt[expected] = database.image_of(sql)
        assert from_text(row["now"]) <= history.clock.now()
    database.close(sql)
    return rebuilt


def test_what_a_restore_in_place_made_stays_for_the_window_however_short_snapshots_are_kept() -> None:
    """A journal row has no state: without its snapshot no later instant of the window could be rebuilt."""
    history = History()
    history.live_on(10, seed=20, longest=timedelta(hours=3))
    _restore_in_place(history, history.commits[4].txid)
    restored = history.commits[-1]
    history.live_on(40, seed=21, longest=timedelta(hours=6))
    keep = retention.Keep(spills=timedelta(days=1), snapshots=timedelta(days=1), window=timedelta(days=10))
    assert history.clock.now() - restored.time > timedelta(days=2)

    drive(retention.forget(history.kept, keep, now=history.clock.now()))

    assert drive(history.kept.at_txid(restored.txid)).image == restored.image


def test_the_archive_of_a_restored_image_is_still_found_when_the_restored_commit_is_forgotten() -> None:
    """A restore brings back an older index. Retention took the indexes of the discarded future for those that images rely on."""
    history = History()
    index, of_commit = 0, dict[int, int]()
    for number in range(72):
        history.clock.move(hours=1)
        history.bead(number)
        if number % 5 == 0:
            index = of_commit[history.commits[-1].txid] = _archived(history, f"ended-{number}", index=index)
    _restore_in_place(history, history.commits[9].txid)
    restored = max(txid for txid in of_commit if txid <= history.commits[9].txid)
    history.clock.move(hours=1)
    history.bead(1000)
    newest = _archived(history, "ended-later", index=restored)
    day = timedelta(days=1)

    drive(retention.forget(history.kept, retention.Keep(day, day, day, window=day), now=history.clock.now()))

    with pytest.raises(Refused):
        drive(history.kept.at_txid(history.commits[9].txid))
    sought = ["ended-0", "ended-5", "ended-later"]
    counting: Any = CountingObjects(history.objects)
    assert len(drive(TownArchives(counting).find("t1", sought[:2], index=restored))) == 2
    assert len(drive(TownArchives(counting).find("t1", sought, index=newest))) == 3
    assert counting.requests["list"] == 0  # found by the index, not by a search of all blocks


def _archived(history: History, bead_id: str, *, index: int) -> int:
    """Publish a block with a bead from the newest commit, whose image relies on this index; the commit of the new index."""
    block = ArchiveBlock((bead_id,), f'{{"families":[{{"beads":[{{"bead_id":"{bead_id}"}}]}}],"format":1}}'.encode())
    published = drive(TownArchives(history.objects).publish("t1", history.commits[-1].txid, block, index=index))
    assert published is not None
    return published.index


def test_retention_again_finds_nothing_more_to_do() -> None:
    history = History()
    history.live_on(60, seed=6, longest=timedelta(hours=8))
    assert history.forget().doomed
    assert history.forget().doomed == ()


def test_planning_deletes_nothing() -> None:
    history = History()
    history.live_on(30, seed=7, longest=timedelta(hours=8))
    before = [history.objects.list(prefix).keys for prefix in ("towns/", "due/")]
    versions = history.objects.versions("towns/t1/head")
    drive(retention.plan(history.kept, retention.Keep(), now=history.clock.now()))
    assert [history.objects.list(prefix).keys for prefix in ("towns/", "due/")] == before
    assert history.objects.versions("towns/t1/head") == versions


def test_a_commit_that_runs_beside_retention_keeps_everything_it_refers_to() -> None:
    history = History()
    history.live_on(40, seed=8, longest=timedelta(hours=8))
    plan = drive(retention.plan(history.kept, retention.Keep(), now=history.clock.now()))
    history.live_on(5, seed=9, longest=timedelta(minutes=1))
    drive(retention.carry_out(history.kept, plan))
    assert drive(history.store.load("t1")).image == history.commits[-1].image
    history.live_on(5, seed=10, longest=timedelta(minutes=1))
    assert drive(history.store.load("t1")).image == history.commits[-1].image


def test_two_retentions_at_once_do_not_take_each_others_deletions_for_damage() -> None:
    """Two loops on one directory once reported a healthy town as damaged: one had deleted what the other had just listed.

    The age of an object is that of its listing, so no retention reads what another one may have deleted.
    """
    history = History()
    history.live_on(40, seed=11, longest=timedelta(hours=8))
    slower = drive(retention.plan(history.kept, retention.Keep(), now=history.clock.now()))
    assert history.forget().doomed

    drive(retention.carry_out(history.kept, slower))

    assert history.forget().doomed == ()
    assert drive(history.store.load("t1")).image == history.commits[-1].image


def test_what_was_written_a_minute_ago_is_not_deleted_because_its_commits_look_old() -> None:
    """A worker ten years behind made these commits. Their times are ten years old, and their objects are not."""
    history = History(behind=timedelta(days=3653))
    history.live_on(40, seed=11, longest=timedelta(minutes=2))
    plan = drive(retention.plan(history.kept, retention.Keep(), now=history.objects.time()))
    assert plan.doomed == ()


def test_commits_of_a_clock_that_was_ahead_are_deleted_when_their_objects_are_old() -> None:
    """The town has been restored since, so its commits no longer are in the order of their times."""
    history = History()
    real = FakeClock(T)
    history.objects._now = real.now
    history.clock.at += timedelta(days=3653)
    for number in range(12):
        history.bead(number, random.Random(number).randbytes(15_000).hex())
        real.move(hours=1)
    history.clock.at = real.at
    written = len(history.objects.list(keys.ltx_prefix("t1")).keys)
    assert written > 2
    real.move(days=45)

    drive(retention.forget(history.kept, retention.Keep(), now=real.at))

    assert len(history.objects.list(keys.ltx_prefix("t1")).keys) < written
    assert drive(history.store.load("t1")).image == history.commits[-1].image


def _restore_in_place(history: History, txid: int) -> None:
    old = drive(history.kept.at_txid(txid))
    image = drive(
        in_place.restore_in_place(history.store, history.kept, old, now=history.clock.now(), worker_id="operator")
    )
    history.commits.append(Commit(image.txid, image.facts.time, image.image, image.facts.tick_no))


def _beads(image: bytes) -> list[str]:
    sql = database.open_image(image)
    rows = sql.execute("SELECT bead_id FROM beads WHERE type = 'issue' ORDER BY bead_id").fetchall()
    database.close(sql)
    return [row[0] for row in rows]


def test_a_restore_in_place_is_a_new_commit_with_old_rows_and_can_be_undone() -> None:
    history = History()
    history.live_on(10, seed=11, longest=timedelta(minutes=5))
    before, then = history.commits[-1], history.commits[5]
    history.clock.move(minutes=1)
    _restore_in_place(history, then.txid)
    restored = drive(history.store.load("t1"))
    assert restored.txid == before.txid + 1
    assert (restored.facts.tick_no, restored.facts.epoch) == (before.tick_no + 1, 1)
    assert _beads(restored.image) == _beads(then.image)
    history.bead(9001)
    assert "bead-9001" in _beads(history.commits[-1].image)
    history.clock.move(minutes=1)
    _restore_in_place(history, before.txid)
    assert _beads(drive(history.store.load("t1")).image) == _beads(before.image)


def test_after_a_restore_every_agent_has_a_generation_that_nobody_has_used() -> None:
    history = History()
    history.post("bead_created", {"bead": {"bead_id": "work-1", "type": "issue", "title": "t", "rig_id": "r1"}})
    then = history.commits[-1]
    used = []
    for number in range(4):
        history.clock.move(minutes=10)
        run = history.post("nudge_timeout", {"nudge_id": f"n{number}"})
        assert run.tick is not None
        used += [effect.generation for effect in run.tick.effects if effect.kind == "dispatch_agent"]
    history.clock.move(minutes=1)
    _restore_in_place(history, then.txid)
    sql = database.open_image(history.commits[-1].image)
    generations = [row[0] for row in sql.execute("SELECT generation FROM agent_metadata ORDER BY bead_id")]
    unfinished = sql.execute("SELECT COUNT(*) FROM outbox WHERE state IN ('pending', 'claimed')").fetchone()[0]
    database.close(sql)
    assert min(generations) > max(used, default=0)
    assert unfinished == 0


def _history_with_a_clock_that_jumped() -> tuple[History, Commit, Commit]:
    """Ten commits, three more by a clock a day ahead, then a restore of the tenth at the right time, and five more commits."""
    history = History()
    history.live_on(10, seed=30, longest=timedelta(minutes=5))
    then = history.commits[-1]
    history.clock.move(days=1)
    history.live_on(3, seed=31, longest=timedelta(minutes=5))
    history.clock.at = then.time + timedelta(minutes=2)
    _restore_in_place(history, then.txid)
    restored = history.commits[-1]
    history.live_on(5, seed=32, longest=timedelta(minutes=5))
    return history, then, restored


@scenario(592)
def test_a_restore_brings_time_back_and_every_instant_then_gives_the_state_that_the_town_had_at_it() -> None:
    history, then, restored = _history_with_a_clock_that_jumped()
    assert restored.time == then.time + timedelta(minutes=2)
    assert [commit.time < history.clock.at for commit in history.commits[-5:]] == [True] * 4 + [False]
    kept = [commit for commit in history.commits if commit.txid <= then.txid or commit.txid >= restored.txid]
    for commit in kept:
        for moment in (commit.time, commit.time + timedelta(milliseconds=1)):
            wanted = [each for each in kept if each.time <= moment][-1]
            assert drive(history.kept.at_time(moment)).image == wanted.image
    tomorrow = history.clock.at + timedelta(days=30)
    assert drive(history.kept.at_time(tomorrow)).image == history.commits[-1].image
    for commit in history.commits:
        assert drive(history.kept.at_txid(commit.txid)).image == commit.image


def test_where_only_files_are_left_time_goes_back_in_them_too() -> None:
    history, then, restored = _history_with_a_clock_that_jumped()
    kept = KeptPast(history.objects, _OnlyTheNewestHead(history.objects), "t1")  # type: ignore[arg-type]
    assert drive(kept.at_time(restored.time)).image == restored.image
    before = drive(kept.at_time(restored.time - timedelta(milliseconds=1)))
    assert before.point.txid <= then.txid
    assert drive(kept.points())[0].epoch == 1


class _OnlyTheNewestHead:
    def __init__(self, objects: MemoryObjects) -> None:
        self._objects = objects
        self.get_version = objects.get_version

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        return self._objects.versions(key)[:1]


@scenario(593)
def test_pending_effects_of_the_restored_past_are_expired_and_never_performed() -> None:
    """A mutant that left them pending lived: the start of an agent that was waiting then was made again, a second time."""
    history = History()
    history.post("bead_created", {"bead": {"bead_id": "work-1", "type": "issue", "title": "t", "rig_id": "r1"}})
    for number in range(3):
        history.clock.move(minutes=1)
        history.post("nudge_timeout", {"nudge_id": f"n{number}"})
    waiting = [(commit, _effects(commit.image, "pending", "claimed")) for commit in history.commits]
    then, unfinished = next((commit, effects) for commit, effects in waiting if effects)
    history.clock.move(minutes=1)
    _restore_in_place(history, then.txid)
    assert _effects(history.commits[-1].image, "expired") >= unfinished
    performed: set[str] = set()
    for number in range(3):
        history.clock.move(minutes=10)
        run = history.post("nudge_timeout", {"nudge_id": f"later-{number}"})
        assert run.tick is not None
        performed |= {effect.effect_id for effect in run.tick.effects}
    assert performed
    assert not performed & unfinished


def _effects(image: bytes, *states: str) -> set[str]:
    with database.opened(image) as sql:
        rows = sql.execute("SELECT effect_id, state FROM outbox").fetchall()
    return {effect_id for effect_id, state in rows if state in states}


def test_no_recorded_input_is_lost_by_a_restore_in_place() -> None:
    history = History()
    history.live_on(20, seed=12, longest=timedelta(minutes=5))
    _restore_in_place(history, history.commits[4].txid)
    history.live_on(3, seed=13, longest=timedelta(minutes=5))
    rows = []
    for key in history.objects.list(keys.journal_prefix("t1")).keys:
        found = history.objects.get(key)
        assert found is not None
        rows += json.loads(publish.read_block(found.body))["ticks"]
    newest = database.open_image(history.commits[-1].image)
    rows += journal.rows(newest, limit=10_000)
    database.close(newest)
    assert [row["tick_no"] for row in rows] == list(range(1, history.commits[-1].tick_no + 1))


def test_flush_publishes_the_newest_commit_and_commits_go_on_after_it() -> None:
    history = History()
    history.live_on(6, seed=14, longest=timedelta(minutes=5))
    key = drive(publishing.flush(history.objects, drive(history.store.load("t1"))))
    found = history.objects.get(key)
    assert found is not None
    assert ltx.decode(found.body, key).header.max_txid == history.commits[-1].txid
    assert drive(publishing.flush(history.objects, drive(history.store.load("t1")))) == key
    history.live_on(6, seed=15, longest=timedelta(minutes=5))
    assert drive(history.store.load("t1")).image == history.commits[-1].image


def test_retention_of_a_long_history_reads_few_objects_and_of_files_only_their_headers() -> None:
    history = History()
    history.live_on(150, seed=16, longest=timedelta(hours=3))
    counting: Any = CountingObjects(history.objects)
    kept = KeptPast(counting, counting, "t1")

    plan = drive(retention.plan(kept, retention.Keep(), now=history.clock.now()))

    assert plan == drive(retention.plan(history.kept, retention.Keep(), now=history.clock.now()))
    assert counting.requests["get"] <= 8  # of the journal
    assert counting.requests["get_version"] <= 10
    assert counting.requests["start_of"] <= 30


def test_where_the_store_forgets_replaced_heads_itself_none_is_deleted_and_all_that_is_left_of_them_counts() -> None:
    history = History()
    history.live_on(80, seed=17, longest=timedelta(hours=8))
    heads = history.objects.versions("towns/t1/head")
    keep = retention.Keep(commits=None)

    plan = drive(retention.forget(history.kept, keep, now=history.clock.now()))

    assert history.objects.versions("towns/t1/head") == heads
    assert not [each for each in plan.doomed if each.version_id is not None]
    for commit in history.commits:
        assert drive(history.kept.at_txid(commit.txid)).image == commit.image


def test_a_deletion_that_fails_is_told_and_the_next_retention_finishes() -> None:
    history = History()
    history.live_on(60, seed=18, longest=timedelta(hours=8))
    plan = drive(retention.plan(history.kept, retention.Keep(), now=history.clock.now()))
    faults = Faults(Fault("error", at=3))
    with pytest.raises(StoreUnavailable):
        faults.drive(retention.carry_out(history.kept, plan))
    assert 0 < len(history.forget().doomed) < len(plan.doomed)
    assert history.forget().doomed == ()


def test_a_commit_whose_head_could_not_be_forgotten_can_still_be_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads and the files that they stand on were deleted side by side: what was given up in the middle left heads of nothing."""
    history = History()
    history.live_on(60, seed=18, longest=timedelta(hours=8))
    before = drive(history.kept.points(limit=1000))
    day = timedelta(days=1)
    keep = retention.Keep(commits=day, spills=day, snapshots=day, window=day)

    def unavailable(*_: Any) -> None:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(history.objects, "delete_version", unavailable)
        with pytest.raises(StoreUnavailable):
            drive(retention.forget(history.kept, keep, now=history.clock.now()))

    assert drive(history.kept.points(limit=1000)) == before
    images = {commit.txid: commit.image for commit in history.commits}
    for point in before:
        assert drive(history.kept.at_txid(point.txid)).image == images[point.txid]

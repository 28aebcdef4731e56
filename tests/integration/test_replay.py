"""A window of a town's past runs again from what the store has kept, and is proven to be what happened."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.shapes import document
from shared.domain.times import from_text, to_text
from shared.history.differences import Difference
from shared.history.retained_past import StoredPast
from shared.images import dump
from shared.ports.object_store import ObjectVersion
from shared.ports.steps import Steps, drive
from shared.ports.town_past import JournalRow
from shared.replay import faithful
from shared.replay.time_window import PageLimits, window_of
from shared.replay.what_if.comparison import Attempt, outputs_in
from shared.runner import code_version as versions
from shared.runner import worker
from shared.storage import in_place, keys, retention
from shared.storage.restore import KeptPast
from shared.town import database, migrations, schemas
from shared.town.columns import TABLES, columns_of
from shared.town.migrations import Migration
from tests.replayed import SECOND, a_busy_world, a_world_with_a_past, past_of, replayed
from tests.small_layers import small_layers
from tests.towns import MS, T, TownBuilder, a_town, ago, event
from tests.worlds import World

PACE = timedelta(seconds=10)
TOO_EARLY = "from is too early: the history of this town is kept from "


@pytest.fixture(scope="module")
def busy() -> World:
    return a_busy_world()


def lived(world: World, ticks: int, *, bead: str = "bead") -> World:
    """So many ticks, each with a bead that nobody may touch."""
    for _ in range(ticks):
        world.clock.at += PACE
        number = world.image().facts.tick_no + 1
        held = {"bead_id": f"{bead}-{number:05d}", "type": "issue", "title": "t", "labels": ["gt:held"]}
        world.post(event("bead_created", {"bead": held}, event_id=f"create-{bead}-{number:05d}"))
        assert world.run().outcome == "committed"
    return world


def times(world: World) -> dict[int, datetime]:
    """The time of every tick."""
    return {tick.tick: tick.time for tick in replayed(world).ticks}


# what is told ---------------------------------------------------------------------------------------


def test_every_tick_of_a_busy_history_is_what_happened_and_the_end_is_the_present(busy: World) -> None:
    again = replayed(busy)
    assert again.exact
    assert [tick.tick for tick in again.ticks] == list(range(1, 121))
    assert again.ticks[-1].digest == busy.image().image_digest
    assert (again.as_of.tick, again.as_of.txid) == (busy.image().facts.tick_no, busy.image().txid)
    town = busy.town()
    live = town.rows(
        "SELECT bead_id FROM beads WHERE type <> 'agent' AND status IN ('open', 'in_progress', 'in_review') "
        "ORDER BY created_at, bead_id"
    )
    assert [bead.bead_id for bead in again.state_snapshot.non_terminal_beads] == [row[0] for row in live]
    agents = town.rows("SELECT bead_id, status, current_hook_bead_id FROM agent_metadata ORDER BY bead_id")
    assert [(agent.agent_id, agent.status, agent.hook) for agent in again.state_snapshot.agents] == agents
    assert (
        again.state_snapshot.queue.pending_events
        == town.rows("SELECT COUNT(*) FROM town_events WHERE processed_at IS NULL")[0][0]
    )


def test_what_a_tick_did_is_told_as_its_journal_row_tells_it(busy: World) -> None:
    rows = drive(past_of(busy).rows_after("t1", 0))
    ticks = {tick.tick: tick for tick in replayed(busy).ticks}
    for row in rows:
        tick, stored = ticks[row["tick_no"]], outputs_in(row)
        told = [document(each) for each in (*tick.events, *tick.actions, *tick.violations)]
        assert told == [document(each) for each in (*stored.events, *stored.actions, *stored.violations)]
        assert [Attempt(each.effect_id, each.attempt) for each in tick.effects] == [*stored.effects]
    assert rows


def test_effects_are_told_with_the_results_that_history_recorded_also_when_they_came_after_the_window(
    busy: World,
) -> None:
    whole = replayed(busy).ticks
    results = {(each.effect_id, each.attempt): each.result for tick in whole for each in tick.effects}
    assert {result["outcome"] for result in results.values() if "outcome" in result} == {
        "started",
        "rejected",
        "unknown",
    }
    first = next(tick for tick in whole if tick.effects)
    alone = replayed(busy, first.time, first.time).ticks
    assert [tick.tick for tick in alone] == [first.tick]
    assert all(each.result != "unknown" for each in alone[0].effects)


def test_both_ends_belong_to_the_window(busy: World) -> None:
    at = times(busy)
    assert [tick.tick for tick in replayed(busy, at[10], at[12]).ticks] == [10, 11, 12]
    assert [tick.tick for tick in replayed(busy, at[10] + MS, at[12] - MS).ticks] == [11]
    between = replayed(busy, at[10] + MS, at[11] - MS)
    assert (between.ticks, between.exact, between.as_of.tick) == ((), True, 10)


def test_the_next_actions_are_those_of_the_next_tick_where_nobody_reports_anything() -> None:
    world = a_world_with_a_past(a_town().bead("lost", status="in_progress", updated_at=ago(seconds=20)))
    world.runtime.container = "unknown"
    lived(world, 1)
    world.clock.move(minutes=10)
    shown = replayed(world).next_actions
    done = world.run().tick
    assert done is not None
    assert [(each.rule, each.action["type"]) for each in shown] == [
        (each.rule, each.action["type"]) for each in done.actions
    ]
    assert shown


# pages -----------------------------------------------------------------------------------------------


def pages(world: World, page: PageLimits) -> Iterator[list[int]]:
    """The ticks of every page of the whole past."""
    now, cursor = world.clock.now(), None
    while True:
        wanted = window_of(T, now, now=now, cursor=cursor)
        answer = drive(faithful.replay("t1", past_of(world), wanted, page=page))
        assert answer.exact
        yield [tick.tick for tick in answer.ticks]
        cursor = answer.cursor
        if cursor is None:
            return


@pytest.mark.parametrize(
    "page",
    [PageLimits(ticks=50), PageLimits(span=timedelta(minutes=5)), PageLimits(size=20_000), PageLimits(size=1)],
    ids=str,
)
def test_a_wide_window_is_told_in_pages_that_follow_one_another(busy: World, page: PageLimits) -> None:
    told = list(pages(busy, page))
    assert len(told) > 2
    assert [tick for part in told for tick in part] == list(range(1, 121))


def test_a_pause_longer_than_a_page_does_not_end_the_telling() -> None:
    world = lived(a_world_with_a_past(a_town()), 2)
    world.clock.move(days=3)
    lived(world, 2)
    assert [tick for part in pages(world, PageLimits()) for tick in part] == [2, 3, 4, 5]


def test_ticks_whose_rows_left_the_image_are_run_again() -> None:
    world = lived(a_world_with_a_past(a_town()), 300)
    assert len(world.objects.list("towns/t1/journal/").keys) > 2
    again = replayed(world)
    assert again.exact
    assert len(again.ticks) == 300


# what is not kept --------------------------------------------------------------------------------------


class OnlyTheNewest:
    """The versions of a store that forgot all but the present."""

    def __init__(self, world: World) -> None:
        self._objects = past_of(world).versions

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        return self._objects.versions(key)[:1]

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)


def test_where_only_a_snapshot_is_kept_the_town_rolls_forward_to_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    small_layers(monkeypatch, 20 * 1024, patch_files=1)
    world = lived(a_world_with_a_past(a_town()), 120)
    at = times(world)
    past = past_of(world)
    past.versions = OnlyTheNewest(world)  # type: ignore[assignment]
    wanted = window_of(at[100], at[110], now=world.clock.now())
    again = drive(faithful.replay("t1", past, wanted))
    assert again.exact
    assert [tick.tick for tick in again.ticks] == list(range(100, 111))
    assert again.started_from.warm_up_ticks > 0


def test_a_window_before_the_first_tick_is_refused_with_the_time_from_which_it_can_be_told(busy: World) -> None:
    with pytest.raises(Refused) as refused:
        replayed(busy, T - SECOND)
    assert (refused.value.status, refused.value.path) == (400, "from")
    first = replayed(busy).ticks[0].time
    assert first.strftime("%H:%M:%S") in refused.value.message


def test_after_retention_a_window_is_told_exactly_or_refused_with_the_time_from_which_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small_layers(monkeypatch, 8 * 1024)
    monkeypatch.setattr(limits, "JOURNAL_WINDOW_ROWS", 24)
    world = a_world_with_a_past(a_town())
    at: dict[int, datetime] = {}
    for _ in range(12):
        for _ in range(12):
            lived(world, 1)
            at[world.image().facts.tick_no] = world.clock.now()
        world.clock.move(days=1)
    kept = KeptPast(past_of(world).objects, past_of(world).versions, "t1")
    plan = drive(retention.plan(kept, retention.Keep(), now=world.clock.now()))
    drive(retention.carry_out(kept, plan))
    assert any(each.key.startswith(keys.journal_prefix("t1")) for each in plan.doomed)
    window = world.clock.now() - limits.RESTORE_WINDOW
    answers = {tick_no: _told_or_refused(world, time) for tick_no, time in at.items() if tick_no % 3 == 0}
    assert all(answers[tick_no] == [tick_no] for tick_no in answers if at[tick_no] >= window)
    refused = [answer for answer in answers.values() if isinstance(answer, str)]
    assert refused
    [since] = {from_text(answer.removeprefix(TOO_EARLY).removesuffix(" on")) for answer in refused}
    assert replayed(world, since).exact
    with pytest.raises(Refused, match="too early"):
        replayed(world, max(time for time in at.values() if time < since))


def _told_or_refused(world: World, at: datetime) -> list[int] | str:
    """The ticks at that time, proven, or the reason why they cannot be told."""
    try:
        again = replayed(world, at, at)
    except Refused as problem:
        return problem.message
    assert again.exact
    return [tick.tick for tick in again.ticks]


# what changed in between ---------------------------------------------------------------------------------


def _restore_in_place(world: World, txid: int) -> None:
    objects = past_of(world).objects
    kept = KeptPast(objects, past_of(world).versions, "t1")
    old = drive(kept.at_txid(txid))
    drive(in_place.restore_in_place(world.store, kept, old, now=world.clock.now(), worker_id=world.worker_id()))


def test_a_restore_in_place_ends_a_page_and_the_next_page_goes_on_from_the_restored_commit() -> None:
    world = lived(a_world_with_a_past(a_town()), 10)
    world.clock.move(seconds=1)
    _restore_in_place(world, 4)
    lived(world, 5, bead="later")
    world.clock.move(seconds=1)
    _restore_in_place(world, 9)
    lived(world, 3, bead="last")
    assert list(pages(world, PageLimits())) == [list(range(2, 13)), list(range(13, 19)), list(range(19, 22))]
    first = replayed(world)
    assert first.ticks[-1].restore is not None
    assert first.ticks[-1].note == f"commit 12 restored an older state: commit 4 of {to_text(times(world)[4])} (tick 4)"
    assert first.cursor == f"12@{to_text(first.ticks[-1].time)}"
    assert replayed(world, first.ticks[-1].time + MS).ticks[0].tick == 13


def test_a_replay_passes_over_what_a_clock_ahead_did_after_the_end_of_the_window() -> None:
    world = lived(a_world_with_a_past(a_town()), 5)
    good = world.clock.now()
    world.clock.move(days=1)
    lived(world, 3, bead="ahead")
    world.clock.at = good + timedelta(minutes=1)
    _restore_in_place(world, 6)
    lived(world, 3, bead="later")
    again = list(pages(world, PageLimits()))
    assert again == [[2, 3, 4, 5, 6, 10], [11, 12, 13]]
    world.clock.move(days=2)
    assert list(pages(world, PageLimits())) == [[2, 3, 4, 5, 6], [7], [8, 9, 10], [11, 12, 13]]
    assert [tick for page in pages(world, PageLimits(ticks=2)) for tick in page] == list(range(2, 14))


def _changed_by_hand(world: World) -> None:
    """Somebody renames a bead in the image, and commits it under the number of the last tick."""
    base = world.image()
    with database.opened(base.image) as sql:
        database.begin(sql)
        sql.execute("UPDATE beads SET title = 'by hand' WHERE bead_id = (SELECT MIN(bead_id) FROM beads)")
        database.commit(sql)
        image = database.image_of(sql)
    facts = replace(base.facts, commit_id="by-hand", time=world.clock.now())
    drive(world.store.commit(base, image, facts))


@pytest.mark.parametrize("ticks_after", [0, 3])
def test_a_commit_that_nothing_made_is_named_with_what_it_changed(ticks_after: int) -> None:
    """An image that was changed by hand between two ticks was "exactly what happened"."""
    world = lived(a_world_with_a_past(a_town()), 4)
    world.clock.move(seconds=1)
    _changed_by_hand(world)
    lived(world, ticks_after, bead="later")
    again = replayed(world)
    assert again.divergence is not None
    assert not again.exact
    assert again.divergence.reason.startswith("commit 6 of ")
    assert "was made by no tick, create, import, migration or restore" in again.divergence.reason
    assert [(each.table, each.column, each.got) for each in again.divergence.differences] == [
        ("beads", "title", "by hand")
    ]
    assert (again.ticks[-1].tick, again.ticks[-1].equal) == (5, True)


def made_by(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on ticks are recorded as made by this code."""
    monkeypatch.setattr(worker, "code_version", lambda: code)


def test_ticks_of_other_code_are_a_what_if_even_where_they_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    world = lived(a_world_with_a_past(a_town()), 5)
    made_by("older", monkeypatch)
    lived(world, 5)
    made_by(versions.code_version(), monkeypatch)
    lived(world, 5)
    again = replayed(world)
    assert [(part.first_tick, part.last_tick, part.kind, part.equal) for part in again.segments] == [
        (2, 6, "replay", True),
        (7, 11, "what_if", True),
        (12, 16, "replay", True),
    ]
    assert not again.exact
    assert again.divergence is None


def test_where_other_code_did_otherwise_its_differences_are_told_and_replay_goes_on_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = lived(a_world_with_a_past(a_town().bead("ready")), 0)
    made_by("older", monkeypatch)
    with monkeypatch.context() as then:
        then.setattr("shared.engine.apply.all_intents", _no_actions)
        lived(world, 2, bead="before")
    made_by(versions.code_version(), monkeypatch)
    world.clock.move(seconds=10)
    lived(world, 3)
    again = replayed(world)
    assert [(part.kind, part.equal) for part in again.segments] == [("what_if", False), ("replay", True)]
    assert again.divergence is None
    told = again.ticks[0].differences
    assert Difference("beads", "ready", "status", "open", "in_progress") in told
    assert again.ticks[-1].digest == world.image().image_digest


def _no_actions(town: object, intents: object) -> object:
    from shared.engine.apply import AppliedActions

    return AppliedActions()


def a_newer_schema(monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """The installed code knows one migration more."""
    newer = database.SCHEMA_VERSION + 1
    change = (Migration(newer, "a_new_column", (statement,)),)
    for name in ("apply_pending", "pending"):
        monkeypatch.setattr(migrations, name, partial(getattr(migrations, name), migrations=change))
    monkeypatch.setattr(database, "SCHEMA_VERSION", newer)
    known = {version: schemas._known(version) for version in range(schemas.OLDEST, newer)}
    with closing(sqlite3.connect(":memory:")) as changed:
        schemas.create(changed)
        changed.execute(statement)
        known[newer] = (frozenset(changed.execute(schemas._OBJECTS).fetchall()),)
    monkeypatch.setattr(schemas, "NEWEST", newer)
    monkeypatch.setattr(schemas, "_known", known.__getitem__)


def test_ticks_from_before_a_schema_change_are_a_what_if_without_what_the_change_added_and_later_ones_are_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_by("older", monkeypatch)
    world = lived(a_world_with_a_past(a_town()), 4)
    a_newer_schema(monkeypatch, "ALTER TABLE beads ADD COLUMN colour TEXT")
    made_by(versions.code_version(), monkeypatch)
    lived(world, 4)
    at = {row["tick_no"]: row["now"] for row in world.journal()}
    again = replayed(world)
    assert (again.stopped, again.divergence, again.exact) == (None, None, False)
    assert [(part.kind, part.equal) for part in again.segments] == [("what_if", True), ("replay", True)]
    first = again.ticks[0]
    assert first.note == "the tick was made before the schema changed (a_new_column): what that added is not compared"
    assert again.ticks[-1].digest == world.image().image_digest
    behind = replayed(world, datetime.fromisoformat(at[6]))
    assert behind.exact
    assert [tick.tick for tick in behind.ticks] == [6, 7, 8, 9]


def test_a_tick_from_before_a_schema_change_that_differs_is_told_with_its_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = lived(a_world_with_a_past(a_town().bead("ready")), 0)
    made_by("older", monkeypatch)
    with monkeypatch.context() as then:
        then.setattr("shared.engine.apply.all_intents", _no_actions)
        lived(world, 2, bead="before")
    a_newer_schema(monkeypatch, "ALTER TABLE beads ADD COLUMN colour TEXT")
    made_by(versions.code_version(), monkeypatch)
    world.clock.move(seconds=10)
    lived(world, 3)
    again = replayed(world)
    assert [(part.kind, part.equal) for part in again.segments] == [("what_if", False), ("replay", True)]
    assert Difference("beads", "ready", "status", "open", "in_progress") in again.ticks[0].differences
    assert again.ticks[-1].digest == world.image().image_digest


def test_a_replay_stops_at_a_tick_from_before_a_schema_change_that_the_installed_code_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_by("older", monkeypatch)
    world = lived(a_world_with_a_past(a_town()), 4)
    a_newer_schema(monkeypatch, "ALTER TABLE beads ADD COLUMN colour TEXT")
    made_by(versions.code_version(), monkeypatch)
    monkeypatch.setattr("shared.replay.faithful.input_of", lambda row: row["inputs"]["a field that the row lacks"])
    stopped = replayed(world)
    assert stopped.stopped is not None
    assert "tick 2" in stopped.stopped
    assert "a_new_column" in stopped.stopped
    assert not stopped.exact


# what was tampered with ------------------------------------------------------------------------------------


def test_rows_of_every_table_can_be_named() -> None:
    town: TownBuilder = a_town()
    assert {*dump.CAUSES_FIRST} == {*TABLES, "ticks"}
    for table in dump.CAUSES_FIRST:
        names = [column[0] for column in town.sql.execute(f"SELECT * FROM {table} LIMIT 0").description]
        assert sorted(columns_of(table)) == sorted(names)


def test_a_journal_that_lacks_ticks_is_told_with_the_ticks_that_are_missing(busy: World) -> None:
    past = past_of(busy)

    class Gap(StoredPast):
        def rows_after(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
            rows = yield from super().rows_after(town_id, tick_no)
            return tuple(row for row in rows if row["tick_no"] not in (31, 32))

    broken = Gap(past.objects, past.versions)
    wanted = window_of(T + SECOND, busy.clock.now(), now=busy.clock.now())
    again = drive(faithful.replay("t1", broken, wanted))
    assert again.divergence is not None
    assert (again.divergence.tick, again.divergence.differences[0].key) == (31, "31 to 32")
    assert replace(again, divergence=None).ticks[-1].tick == 30

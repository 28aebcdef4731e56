"""What events changed in the settings, when, by whom: nobody could see it but in the JSON of the journal."""

from typing import Any

import pytest

from shared.domain.errors import Refused
from shared.domain.shapes import document, read
from shared.history.retained_past import StoredPast
from shared.ports.steps import Steps, drive
from shared.ports.town_past import PastImage
from shared.questions import event_list, event_view, left_behind, setting_history, settings_then, tick_list, timeline
from shared.questions.event_view import EventView
from shared.questions.filters import EventFilter
from shared.questions.point_list import points
from shared.questions.setting_changes import changes_in, words_of
from shared.questions.setting_history import SettingHistory
from shared.replay.tick_view import tick_view
from shared.storage import in_place
from shared.storage.restore import KeptPast
from tests.replayed import a_world_with_a_past, past_of
from tests.towns import T, a_town, event
from tests.worlds import World

TOWN = "t1"


def configured(world: World, event_id: str, *, by: str | None = None, **config: Any) -> int:
    """Change settings; returns the number of the tick that did."""
    world.clock.move(seconds=30)
    world.post(event("town_configured", {"config": config} | ({"by": by} if by else {}), event_id=event_id))
    world.run()
    return world.image().facts.tick_no


@pytest.fixture
def world() -> World:
    """Two changes of one setting, and one of a part of another, with heartbeats of time between them."""
    world = a_world_with_a_past(a_town(TOWN).config(merge_strategy="direct"))
    configured(world, "change-01", by="ann", merge_strategy="pr")
    configured(world, "change-02", budget={"per_day": {"tokens": 5}})
    configured(world, "change-03", merge_strategy="direct", max_dispatch_attempts=2)
    return world


def history(world: World, **more: Any) -> SettingHistory:
    return drive(setting_history.setting_history(TOWN, past_of(world), **more))


def shown(world: World, event_id: str) -> EventView:
    return drive(event_view.event_view(TOWN, event_id, world.store, past_of(world)))


def test_each_change_is_told_with_the_value_before_and_who_sent_it(world: World) -> None:
    found = history(world)
    assert [(each.event_id, each.by, words_of(each.changes)) for each in found.events] == [
        ("change-03", None, "max_dispatch_attempts 5 -> 2, merge_strategy pr -> direct"),
        ("change-02", None, 'budget.per_day none -> {"tokens":5}'),
        ("change-01", "ann", "merge_strategy direct -> pr"),
    ]
    assert found.whole
    assert read(SettingHistory, document(found)) == found


def test_up_to_a_past_time_only_the_changes_before_it_are_told_and_the_settings_are_those_of_then(world: World) -> None:
    second = history(world).events[1]
    assert [each.event_id for each in history(world, at=second.time).events] == ["change-02", "change-01"]
    then = drive(settings_then.settings_at(TOWN, past_of(world), second.time))
    values = {each.name: (each.value, each.default) for each in then.settings}
    assert values["merge_strategy"] == ("pr", "direct")
    assert values["max_dispatch_attempts"] == (5, 5)


def test_the_list_of_ticks_the_timeline_and_one_tick_name_the_change(world: World) -> None:
    first = history(world).events[-1]
    [listed] = [each for each in drive(tick_list.ticks(TOWN, past_of(world))).ticks if each.tick == first.tick]
    assert listed.settings == (first,)
    marks = drive(timeline.timeline(TOWN, past_of(world), start=T, end=world.clock.now())).marks
    [mark] = [each for each in marks if each.event_id == "change-01"]
    assert (mark.says, mark.by, mark.settings) == ("merge_strategy direct -> pr", "ann", first.changes)
    seen = drive(tick_view(TOWN, first.tick, past_of(world)))
    assert seen.past.settings == (first,)
    assert ("town", "config", "value.merge_strategy", "direct", "pr") in [
        (each.table, each.key, each.column, each.expected, each.got) for each in seen.changes
    ]
    assert {each.key for each in seen.changes if each.table == "town"} == {"config"}


def test_the_list_of_events_has_the_tick_the_sender_and_the_change(world: World) -> None:
    found = drive(event_list.events(TOWN, world.store, past_of(world), EventFilter(type="town_configured"))).events
    ticks = [each.tick for each in history(world).events]
    assert [(each.tick, each.by, words_of(each.settings)) for each in found][1:] == [
        (ticks[1], None, 'budget.per_day none -> {"tokens":5}'),
        (ticks[2], "ann", "merge_strategy direct -> pr"),
    ]


def test_an_event_is_shown_with_its_content_while_it_waits_once_it_is_applied_and_when_its_row_has_left(
    world: World,
) -> None:
    world.post(
        event(
            "town_configured",
            {"config": {"notices": {"webhook": "https://x.invalid/?token=abc"}}},
            event_id="change-04",
        )
    )
    waiting = shown(world, "change-04")
    assert (waiting.event.state, waiting.event.tick) == ("inbox", None)
    assert waiting.content == {"config": {"notices": {"webhook": "https://x.invalid/?token=[removed]"}}}
    world.run()
    applied = shown(world, "change-01")
    assert applied.content == {"by": "ann", "config": {"merge_strategy": "pr"}}
    assert (applied.event.outcome, applied.event.tick, applied.note) == (
        "applied",
        history(world).events[-1].tick,
        None,
    )
    world.clock.move(hours=9)
    configured(world, "change-05", max_dispatch_attempts=3)
    world.clock.move(minutes=1)
    world.run()
    left = shown(world, "change-01")
    assert (left.content, left.event.settings) == (applied.content, applied.event.settings)
    assert read(EventView, document(left)) == left


def test_an_unknown_event_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="has no event nothing"):
        shown(world, "nothing")


def test_an_event_that_names_a_bead_only_in_its_content_is_about_that_bead(world: World) -> None:
    world.clock.move(seconds=30)
    world.post(
        event("bead_created", {"bead": {"bead_id": "door", "type": "issue", "title": "Door"}}, event_id="made-0001")
    )
    world.run()
    assert shown(world, "made-0001").event.subject == "door"


def test_a_rig_has_its_own_values_and_a_name(world: World) -> None:
    world.clock.move(seconds=30)
    rig = {"rig_id": "r", "name": "web", "git_url": "https://github.com/acme/web.git"}
    world.post(event("rig_registered", {**rig, "config": {"merge_strategy": "pr"}, "by": "bob"}, event_id="rig-0001"))
    world.run()
    world.clock.move(seconds=30)
    world.post(event("rig_registered", {**rig, "config": {}}, event_id="rig-0002"))
    world.run()
    second, first = history(world).events[:2]
    assert words_of(second.changes) == "merge_strategy of rig r pr -> none"
    assert (first.by, first.of("merge_strategy", "r") is not None) == ("bob", True)


def test_a_rejected_change_changes_nothing(world: World) -> None:
    before = history(world).events
    configured(world, "change-04", max_dispatch_attempts=0)
    assert history(world).events == before


def test_points_name_the_changes_and_end_before_the_tick_of_one(world: World) -> None:
    kept = KeptPast(world.objects, world.objects, TOWN)  # type: ignore[arg-type]
    first = history(world).events[-1]
    found = drive(points(kept, past_of(world)))
    assert [each.event_id for each in found.settings] == ["change-03", "change-02", "change-01"]
    before = drive(points(kept, past_of(world), before=first.tick))
    assert max(each.tick or 0 for each in before.points) == first.tick - 1


def test_a_restore_takes_settings_back_and_leaves_later_beads_behind(world: World) -> None:
    first = history(world).events[-1]
    world.clock.move(seconds=30)
    world.post(
        event("bead_created", {"bead": {"bead_id": "door", "type": "issue", "title": "Door"}}, event_id="made-0001")
    )
    world.run()
    kept = KeptPast(world.objects, world.objects, TOWN)  # type: ignore[arg-type]
    txid = drive(points(kept, past_of(world), before=first.tick)).points[0].txid
    old = drive(kept.at_txid(txid))
    left = left_behind.left_behind(world.image().image, old.image)
    assert [each.bead_id for each in left.beads] == ["door"]
    assert words_of(left.settings) == 'budget.per_day {"tokens":5} -> none, max_dispatch_attempts 2 -> 5'
    world.clock.move(seconds=30)
    drive(in_place.restore_in_place(world.store, kept, old, now=world.clock.now(), worker_id="w"))
    newest = history(world).events[0]
    assert (newest.event_type, newest.event_id, newest.changes) == ("restored", None, left.settings)
    forgotten = shown(world, "change-02")
    assert forgotten.note == f"the town does not remember it: tick {newest.tick} restored an older state"


class JournalOnly(StoredPast):
    """A past whose images from before are not kept any more."""

    def up_to_tick(self, town_id: str, tick_no: int) -> Steps[PastImage | None]:
        yield from ()
        return None


def test_without_an_image_from_before_the_new_value_is_known_and_the_old_one_not(world: World) -> None:
    tick = configured(world, "change-04", merge_strategy="pr", refinery={"code_review": True})
    rows = [each.row for each in drive(tick_list.ticks(TOWN, past_of(world))).ticks]
    past = JournalOnly(past_of(world).objects, past_of(world).versions)
    changes = drive(changes_in(TOWN, past, rows))[(tick, "change-04")]
    assert words_of(changes) == "merge_strategy -> pr, refinery.code_review -> true"
    assert not any(each.old_known for each in changes)


def test_a_restore_point_says_what_a_restore_of_it_leaves_behind(world: World) -> None:
    """Only `townctl restore --to` said it, for towns whose files can be read."""
    kept = KeptPast(world.objects, world.objects, TOWN)  # type: ignore[arg-type]
    txid = drive(points(kept, past_of(world), before=history(world).events[0].tick)).points[0].txid
    found = drive(left_behind.point_view(kept, past_of(world), txid))
    assert (found.town_id, found.point.txid) == (TOWN, txid)
    assert found.left == left_behind.left_behind(world.image().image, drive(kept.at_txid(txid)).image)
    assert words_of(found.left.settings) == "max_dispatch_attempts 2 -> 5, merge_strategy direct -> pr"


def test_a_commit_that_is_not_kept_is_refused(world: World) -> None:
    kept = KeptPast(world.objects, world.objects, TOWN)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="commit 999"):
        drive(left_behind.point_view(kept, past_of(world), 999))

"""Beads that have ended leave the image for the archive, and come back when an event names them (580 to 589)."""

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest

from shared.domain import ids
from shared.domain.errors import Refused
from shared.domain.report import TickReport
from shared.history.retained_past import StoredPast
from shared.moving import transfer
from shared.ports.steps import drive
from shared.questions import bead_list, bead_view, explain, letters
from shared.questions.filters import BeadFilter
from shared.replay.faithful import replay
from shared.replay.time_window import Window
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, ago, event, outcome_of
from tests.worlds import World, a_world

OLD = ago(hours=49)


def _old(
    town: TownBuilder, bead_id: str, bead_type: str = "issue", status: str = "closed", **columns: Any
) -> TownBuilder:
    closed = OLD if status == "closed" else None
    return town.bead(
        bead_id, bead_type, status, **{"updated_at": OLD, "created_at": OLD, "closed_at": closed, **columns}
    )


def _ticked(world: World) -> TickReport:
    """One run, a minute later; its tick, which can be replayed."""
    world.clock.move(minutes=10)
    report = world.run()
    assert report.tick is not None
    return report.tick


def _until_archived(world: World) -> World:
    """Two ticks: the first one has a time from which the next one's image is judged."""
    for _ in range(2):
        world.post(event("nudge_timeout", event_id=f"wake-{world.clock.now():%d-%H-%M-%S}"))
        _ticked(world)
    return world


def _in_image(world: World) -> set[str]:
    return {row[0] for row in world.town().rows("SELECT bead_id FROM beads WHERE type <> 'agent'")}


@scenario(580)
def test_a_bead_that_closed_two_days_ago_leaves_the_image_whole() -> None:
    town = _old(a_town(), "b1").bead("b2", "issue", "closed")
    world = _until_archived(a_world(town))
    assert _in_image(world) == {"b2"}


@scenario(580)
def test_what_has_left_the_image_is_still_shown_and_explained() -> None:
    town = _old(_old(a_town(), "b1"), "b0").edge("b1", "b0")
    world = _until_archived(a_world(town))
    assert _in_image(world) == set()
    shown = drive(bead_view.bead("t1", "b1", world.store))
    assert shown.archived
    assert [(edge.bead_id, edge.status) for edge in shown.bead.depends_on] == [("b0", "closed")]
    past = StoredPast(world.objects, world.objects)  # type: ignore[arg-type] # a fake of both ports
    told = drive(explain.explain_bead("t1", "b1", past, now=world.clock.now()))
    assert told.row is not None
    assert told.gone is None
    assert explain.ARCHIVED in told.notes
    with pytest.raises(Refused, match="nor in its archive"):
        drive(bead_view.bead("t1", "b2", world.store))


@scenario(581)
def test_a_failed_bead_that_is_reopened_comes_back_with_its_audit() -> None:
    town = _old(a_town(), "b1", status="failed", updated_at=ago(days=91))
    town.insert("bead_events", bead_event_id="e1", seq=1, bead_id="b1", event_type="created", created_at=ago(days=91))
    town.key("next_audit_seq", 2)
    world = _until_archived(a_world(town))
    assert _in_image(world) == set()
    world.post(event("bead_reopened", bead="b1"))
    report = _ticked(world)
    assert [each.outcome for each in report.events if each.event_type == "bead_reopened"] == ["applied"]
    assert world.town().status("b1") in ("open", "in_progress")
    audit = [
        row[0] for row in world.town().rows("SELECT event_type FROM bead_events WHERE bead_id = 'b1' ORDER BY seq")
    ]
    assert audit[:2] == ["created", "reopened"]


@scenario(582)
def test_a_bead_that_depends_on_an_archived_one_is_not_held_by_it_and_has_an_edge_to_it() -> None:
    world = _until_archived(a_world(_old(a_town(), "b1")))
    assert _in_image(world) == set()
    wanted = {"bead_id": "b2", "type": "issue", "title": "next", "rig_id": "rig-1", "depends_on": ["b1"]}
    world.post(event("bead_created", {"bead": wanted}))
    _ticked(world)
    town = world.town()
    assert town.rows("SELECT depends_on_bead_id FROM bead_dependencies WHERE bead_id = 'b2'") == [("b1",)]
    assert "awaits" not in town.metadata("b2")
    assert town.status("b2") == "in_progress", "nothing holds it"
    for _ in range(3):
        _ticked(world)
    assert _in_image(world) >= {"b1", "b2"}, "what a live bead depends on stays"


@scenario(582)
@pytest.mark.parametrize(("status", "outcome"), [("failed", "rejected: cycle"), ("closed", "applied")])
def test_a_new_bead_closes_no_cycle_through_archived_beads(status: str, outcome: str) -> None:
    """The new bead depends on x, that on y, and y awaits the new bead. All three would wait for ever once x and y are reopened."""
    gone = ago(days=91)
    town = _old(a_town(), "x", status=status, updated_at=gone)
    town = _old(town, "y", status=status, metadata={"awaits": ["new"]}, updated_at=gone).edge("x", "y")
    world = _until_archived(a_world(town))
    assert _in_image(world) == set()
    wanted = {"bead_id": "new", "type": "issue", "title": "next", "rig_id": "rig-1", "depends_on": ["x"]}
    world.post(event("bead_created", {"bead": wanted}, event_id="created-new"))
    assert outcome_of(_ticked(world), "created-new") == outcome


@scenario(583)
def test_an_archived_id_is_taken() -> None:
    world = _until_archived(a_world(_old(a_town(), "b1", created_by="somebody")))
    again = {"bead_id": "b1", "type": "issue", "title": "again", "rig_id": "rig-1", "created_by": "another"}
    world.post(event("bead_created", {"bead": again}, event_id="created-again"))
    report = _ticked(world)
    assert outcome_of(report, "created-again") == "rejected: somebody else's bead has this id"
    assert world.town().status("b1") == "closed"


@scenario(583)
def test_a_bead_whose_id_has_the_form_of_the_towns_own_never_leaves() -> None:
    chosen = ids.derived_from("t1", "of a producer")
    world = a_world(a_town())
    for bead_id in (chosen, "plain"):
        wanted = {"bead_id": bead_id, "type": "issue", "title": "t", "rig_id": "rig-1", "labels": ["gt:held"]}
        world.post(event("bead_created", {"bead": wanted}, event_id=f"created-{bead_id}"))
    _ticked(world)
    for bead_id in (chosen, "plain"):
        world.post(event("bead_cancelled", bead=bead_id, event_id=f"cancelled-{bead_id}"))
    _ticked(world)
    world.clock.move(days=92)  # cancelled beads have failed
    assert _in_image(_until_archived(world)) == {chosen}


@scenario(584)
def test_a_convoy_leaves_with_its_tasks_and_their_reviews_and_not_before_all_have_ended() -> None:
    def town(live: str) -> TownBuilder:
        made = _old(_old(a_town(), "task-1"), "task-2")
        made.convoy("convoy", "closed", tracked=["task-1", "task-2"], total=2, closed=2, updated_at=OLD, created_at=OLD)
        made.review("review-1", "failed", of="task-1", updated_at=OLD, created_at=OLD)
        return made.update("beads", live, status="open", updated_at=OLD) if live else made

    assert _in_image(_until_archived(a_world(town("")))) == set(), "a failed review goes with its closed source"
    assert _in_image(_until_archived(a_world(town("task-2")))) >= {"convoy", "task-1", "task-2", "review-1"}


@scenario(584)
def test_a_convoy_comes_back_whole_with_its_counts() -> None:
    town = _old(_old(a_town(), "task-1", status="failed", updated_at=ago(days=91)), "task-2", updated_at=ago(days=91))
    town.convoy("convoy", "failed", tracked=["task-1", "task-2"], total=2, closed=2, updated_at=ago(days=91))
    world = _until_archived(a_world(town))
    assert _in_image(world) == set()
    world.post(event("bead_reopened", bead="task-1"))
    _ticked(world)
    assert _in_image(world) == {"convoy", "task-1", "task-2"}
    assert world.town().one("convoy_metadata", "convoy", "total_beads", "closed_beads") == (2, 1)


@scenario(585)
@pytest.mark.parametrize(
    "keeps",
    [
        lambda town: town.agent("p1", last_dispatch_bead_id="b1"),
        lambda town: town.bead("b2", metadata={"mr_bead_id": "b1"}),
        lambda town: town.bead("b2", labels=["gt:held"]).edge("b2", "b1"),
        lambda town: town.bead("b2", labels=["gt:held"]).edge("b1", "b2"),
        lambda town: town.bead("b2", "message", parent_bead_id="b1", assignee_agent_bead_id="nobody"),
        lambda town: town.key(
            "triage", {"last_batch_at": None, "last_batch_id": "b1", "fruitless": 0, "escalated": False}
        ),
    ],
    ids=["last dispatched", "named in notes", "depended on", "depends on a live one", "parent", "triage batch"],
)
def test_what_something_that_goes_on_names_stays(keeps: Callable[[TownBuilder], TownBuilder]) -> None:
    world = _until_archived(a_world(keeps(_old(_old(a_town(), "b1"), "b0"))))
    assert "b1" in _in_image(world)
    assert "b0" not in _in_image(world)


@scenario(586)
def test_a_bead_that_an_event_touches_while_it_is_published_stays_and_loses_nothing() -> None:
    town = _old(a_town(), "b1", status="failed", updated_at=ago(days=91))
    world = a_world(town)
    world.post(event("bead_reopened", bead="b1"))
    report = _ticked(world)
    assert report.input.archived is not None
    assert world.town().status("b1") in ("open", "in_progress")


@scenario(587)
def test_lists_go_on_in_the_archive_page_by_page_each_bead_once() -> None:
    town = a_town()
    for number in range(300):
        _old(town, f"b{number:03d}", created_at=ago(hours=60, minutes=number))
    _old(town, "m1", "message", body="hello", created_at=ago(hours=70))
    world = a_world(town.bead("live", labels=["gt:held"]))
    while len(_in_image(_until_archived(world))) > 1:
        pass
    world.post(event("bead_cancelled", bead="b007", event_id="touches-b007"))  # it comes back
    _ticked(world)
    listed, cursor, pages = list[str](), None, 0
    totals = set[int | None]()
    while pages == 0 or cursor is not None:
        page = drive(bead_list.beads("t1", world.store, BeadFilter(), now=world.clock.now(), limit=70, cursor=cursor))
        listed += [bead.bead_id for bead in page.beads]
        totals.add(page.total)
        cursor, pages = page.next, pages + 1
    assert totals == {2}  # without the archive: the live bead and the one that came back
    assert sorted(listed) == sorted([*(f"b{number:03d}" for number in range(300)), "live", "m1"])
    assert listed[0] == "live"
    found = drive(bead_list.beads("t1", world.store, BeadFilter(text="b123"), now=world.clock.now(), limit=5))
    assert [bead.bead_id for bead in found.beads] == ["b123"]
    mail = drive(letters.mail("t1", world.store))
    assert [(letter.bead_id, letter.text) for letter in mail.messages] == [("m1", "hello")]
    live = drive(bead_list.beads("t1", world.store, BeadFilter(status="live"), now=world.clock.now()))
    assert [bead.bead_id for bead in live.beads] == ["live"]


@scenario(588)
def test_an_export_has_the_archive_and_an_import_of_it_all_beads() -> None:
    town = _old(_old(a_town(), "b1"), "b0").edge("b1", "b0")
    world = _until_archived(a_world(town))
    imported = drive(transfer.import_town("t2", world.export(), world.around, worker_id="w"))
    assert imported.content.not_read == ()
    copy = world.town(town_id="t2")
    assert [row[0] for row in copy.rows("SELECT bead_id FROM beads WHERE type = 'issue' ORDER BY bead_id")] == [
        "b0",
        "b1",
    ]
    assert copy.rows("SELECT bead_id, depends_on_bead_id FROM bead_dependencies") == [("b1", "b0")]
    assert not copy.value("archive_index")


class _Line(BytesIO):
    """A file that takes one row at a time."""

    def write(self, line: Any) -> int:
        assert line.count(b"\n") == 1
        return super().write(line)


@scenario(588)
def test_an_export_is_written_row_by_row_so_that_an_archive_may_be_larger_than_the_memory() -> None:
    town = a_town()
    for number in range(100):
        _old(town, f"b{number:03}")
    world, file = _until_archived(a_world(town)), _Line()
    exported = drive(transfer.export_town("t1", world.around, file))
    assert _in_image(world) == set()
    assert (exported.size, exported.rows) == (len(file.getvalue()), file.getvalue().count(b"\n") - 1)
    assert sum(b'"table":"beads"' in line and b'"b0' in line for line in file.getvalue().splitlines()) == 100


@scenario(589)
def test_a_replay_over_leaving_and_coming_back_is_exact_and_a_restored_town_finds_its_archive() -> None:
    world = _until_archived(a_world(_old(a_town(), "b1", status="failed", updated_at=ago(days=91))))
    archived_at = drive(world.store.load("t1")).txid
    world.post(event("bead_reopened", bead="b1"))
    _ticked(world)
    past = StoredPast(world.objects, world.objects)  # type: ignore[arg-type] # a fake of both ports
    told = drive(replay("t1", past, Window(T + timedelta(minutes=15), world.clock.now(), None)))
    assert told.exact
    assert len(told.ticks) == 2
    of_town = KeptPast(world.objects, world.objects, "t1")  # type: ignore[arg-type] # as above
    old = drive(of_town.at_txid(archived_at))
    drive(restore_in_place(world.store, of_town, old, now=world.clock.now(), worker_id="r"))
    assert _in_image(world) == set()
    assert drive(bead_view.bead("t1", "b1", world.store)).bead.status == "failed"
    world.post(event("bead_reopened", bead="b1", event_id="reopened-again"))
    assert outcome_of(_ticked(world), "reopened-again") == "applied"

"""What ticks, status, points, explain, replay and doctor say of a restore in place and of the future that it discarded.

A commit that somebody made by hand between two ticks is named by all of them in the same words.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.restores import InPlaceRestore, Lineage
from shared.domain.shapes import document
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.questions import explain, point_list, status, tick_list
from shared.replay import replay_call
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from shared.town import database
from tests.integration.townctl_calls import Townctl
from tests.scenarios.table import scenario
from tests.towns import T, a_town, event
from tests.worlds import World, a_world

TOWN = "t1"


@dataclass
class Told:
    """A town in a directory, asked on the command line and as the API asks."""

    world: World
    townctl: Townctl

    def bead(self, bead_id: str) -> None:
        """A tick that creates a bead which nobody may touch."""
        self.world.clock.move(seconds=10)
        bead = {"bead_id": bead_id, "type": "issue", "title": "t", "labels": ["gt:held"]}
        self.world.post(event("bead_created", {"bead": bead}, event_id=f"create-{bead_id}"))
        assert self.world.run().outcome == "committed"

    @property
    def kept(self) -> KeptPast:
        objects: Any = self.world.objects
        return KeptPast(objects, objects, TOWN)

    @property
    def past(self) -> StoredPast:
        objects: Any = self.world.objects
        return StoredPast(objects, objects)

    def restore(self, txid: int) -> None:
        self.world.clock.move(seconds=10)
        old = drive(self.kept.at_txid(txid))
        drive(restore_in_place(self.world.store, self.kept, old, now=self.world.clock.now(), worker_id="person"))

    def story(self, bead_id: str) -> dict[str, Any]:
        found = explain.explain_bead(TOWN, bead_id, self.past, now=self.world.clock.now())
        return dict(document(drive(found)))

    def replayed(self) -> tuple[dict[str, Any], dict[str, Any], int]:
        """The whole past on the command line and by HTTP, and the exit code."""
        start, end = to_text(T), to_text(self.world.clock.now())
        called = self.townctl("replay", TOWN, "--from", start, "--to", end, "--json")
        body = {"from": start, "to": end}
        by_http = drive(replay_call.replay_events(TOWN, self.past, self.world.around, body))
        return called.document, dict(document(by_http)), called.code


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    """A town with the beads b1 to b5, made by the ticks 2 to 6; the first commit is tick 1."""
    world = a_world(a_town(TOWN), objects=DirectoryObjects(tmp_path / "data"))
    made = Told(world, Townctl(tmp_path / "data", capsys))
    for number in range(1, 6):
        made.bead(f"b{number}")
    return made


@scenario(590)
def test_a_restore_stands_in_ticks_status_points_and_the_stories_and_the_discarded_future_is_not_told_as_the_past(
    told: Told,
) -> None:
    """`ticks` was empty, the story told the discarded future and a settling that never was, and nothing mentioned the restore."""
    told.restore(3)
    told.bead("later")
    found = drive(tick_list.ticks(TOWN, told.past))
    assert [(tick.tick, tick.discarded_by) for tick in found.ticks] == [
        (2, None), (3, None), (4, 7), (5, 7), (6, 7), (7, None), (8, None)
    ]  # fmt: skip
    restore = found.ticks[5].restore
    assert restore is not None
    assert (restore.restored_txid, restore.restored_tick, restore.epoch, restore.lost_head) == (3, 3, 1, False)
    assert drive(status.status(TOWN, told.world.around)).last_restore == restore
    assert [(point.txid, point.epoch) for point in drive(point_list.points(told.kept, told.past)).points][:3] == [
        (8, 1), (7, 1), (6, 0)
    ]  # fmt: skip
    story = told.story("b1")
    assert ("tick", "restore", 7) in [(entry["by"], entry["code"], entry["tick"]) for entry in story["story"]]
    assert not {4, 5, 6} & {entry["tick"] for entry in story["story"]}
    assert "ticks 4 to 6 ran, but tick 7 restored an older state: the town does not remember them" in story["notes"]
    gone = told.townctl("explain", "bead", "b5", TOWN, "--json")
    assert gone.code == 2
    assert "has no bead b5" in gone.error["message"]
    for words in (["ticks", TOWN], ["town", "status", TOWN], ["explain", "bead", "b1", TOWN]):
        assert "restored an older state: commit 3" in " ".join(told.townctl(*words).out.split()), words
    assert [each for each in told.townctl("doctor", "--json").document["findings"] if each["check"] == "commit"] == []


def test_a_restore_that_is_undone_gives_the_discarded_ticks_back_to_the_history(told: Told) -> None:
    told.restore(3)
    told.bead("between")
    told.restore(6)
    found = drive(tick_list.ticks(TOWN, told.past))
    assert [(tick.tick, tick.discarded_by) for tick in found.ticks if tick.discarded_by] == [(7, 9), (8, 9)]
    assert told.story("b5")["story"]


def _by_hand(told: Told, **facts: Any) -> None:
    """Somebody renames a bead in the newest image, and commits it."""
    base = told.world.image()
    with database.opened(base.image) as sql:
        database.begin(sql)
        sql.execute("UPDATE beads SET title = 'by hand' WHERE bead_id = 'b1'")
        database.commit(sql)
        image = database.image_of(sql)
    drive(told.world.store.commit(base, image, replace(base.facts, **facts)))


@scenario(591)
@pytest.mark.parametrize("ticks_after", [0, 2])
def test_a_commit_that_nothing_made_is_named_by_replay_and_doctor_on_the_command_line_and_by_http(
    told: Told, ticks_after: int
) -> None:
    """On the command line an image that was changed by hand was "exactly what happened", by HTTP "an older state"."""
    told.world.clock.move(seconds=5)
    _by_hand(told, commit_id="by-hand", time=told.world.clock.now())
    for number in range(ticks_after):
        told.bead(f"after-{number}")
    on_the_line, by_http, code = told.replayed()
    assert code == 1
    assert on_the_line == by_http
    words = "was made by no tick, create, import, migration or restore: somebody changed the town by hand"
    assert words in on_the_line["divergence"]["reason"]
    assert on_the_line["divergence"]["reason"].startswith("commit 7 of ")
    assert [(each["column"], each["got"]) for each in on_the_line["divergence"]["differences"]] == [
        ("title", "by hand")
    ]
    found = told.townctl("doctor", "--json")
    assert found.code == 1
    assert [each["problem"] for each in found.document["findings"] if each["check"] == "commit"] == [
        on_the_line["divergence"]["reason"]
    ]


def _same_commit_id(told: Told) -> None:
    _by_hand(told)


def _as_a_tick(told: Told) -> None:
    facts = told.world.image().facts
    _by_hand(told, commit_id=f"{facts.tick_no + 1}-hand", tick_no=facts.tick_no + 1)


def _as_a_restore(told: Told) -> None:
    facts = told.world.image().facts
    _by_hand(told, commit_id=f"{facts.tick_no}-restore-hand")


def _over_the_head(told: Told) -> None:
    """Past the store's conditions: the head of a tick is replaced by one with another image."""
    before = told.world.objects.get("towns/t1/head")
    assert before is not None
    _by_hand(told)
    changed = told.world.image()
    with database.opened(changed.image) as sql:
        image = database.image_of(sql)
    told.world.objects.put("towns/t1/head", before.body)
    base = told.world.image()
    facts = replace(base.facts)
    drive(told.world.store.replace_lost(TOWN, image, facts, txid=base.txid, damaged=before))


@pytest.mark.parametrize(
    "how", [_same_commit_id, _as_a_tick, _as_a_restore, _over_the_head], ids=lambda how: how.__name__
)
def test_whatever_a_hand_made_commit_calls_itself_the_replay_does_not_take_it_for_history(
    told: Told, how: Callable[[Told], None]
) -> None:
    how(told)
    on_the_line, by_http, code = told.replayed()
    assert (code, on_the_line["exact"], by_http["exact"]) == (1, False, False)
    findings = json.loads(told.townctl("doctor", "--json").out)["findings"]
    assert {each["check"] for each in findings} & {"commit", "journal", "manifest"}


def test_lineage_follows_restores_of_restores() -> None:
    def restore(tick: int, to: int) -> InPlaceRestore:
        return InPlaceRestore(tick, tick, T, 1, to, to, T - timedelta(hours=1), last_tick=tick - 1)

    line = Lineage((restore(21, 10), restore(25, 20), restore(30, 22)))
    history = [tick for tick in range(1, 33) if line.discarded_by(tick) is None]
    assert history == [*range(1, 11), 21, 22, 30, 31, 32]
    assert [tick for tick in range(1, 25) if line.discarded_by(tick, until=24) is None] == [
        *range(1, 11),
        21,
        22,
        23,
        24,
    ]

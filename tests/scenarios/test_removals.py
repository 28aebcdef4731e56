"""Scenarios 643 to 645: what is removed or edited, and what is rejected because something still needs it."""

from collections.abc import Callable

import pytest

from shared.town import archive
from shared.town.town_keys import TownKeys
from tests.scenarios.stories import outcomes
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, event


def with_an_ended_bead() -> TownBuilder:
    """`b` is closed; its first review failed after a rework."""
    town = a_town().bead("b", status="closed").review("m", "failed", of="b")
    return town.bead("rework", status="failed", labels=["gt:rework"], parent_bead_id="m")


def what_came_of(town: TownBuilder, event_type: str, bead: str | None = None, **payload: object) -> str:
    [(_, outcome)] = outcomes(town.tick(event(event_type, payload, bead=bead, event_id=f"event-{town.tick_no:04}")))
    return outcome


def ids(town: TownBuilder) -> set[str]:
    return {row[0] for row in town.rows("SELECT bead_id FROM beads WHERE type <> 'agent'")}


@scenario(643)
def test_a_bead_that_is_over_goes_with_its_reviews_and_their_parts() -> None:
    town = with_an_ended_bead().bead("other", status="closed").edge("other", "b")
    assert what_came_of(town, "bead_deleted", "b", by="ann") == "applied"
    assert ids(town) == {"other"}
    assert town.rows("SELECT * FROM bead_dependencies") == []
    assert town.rows("SELECT * FROM review_metadata") == []
    assert town.rows("SELECT outcome FROM town_events") == [("applied",)]
    [told] = town.reports[-1].business_events
    assert (told.name, told.data["bead_id"], told.data["with"]) == ("bead.deleted", "b", ["m", "rework"])
    assert what_came_of(town, "bead_deleted", "b", by="ann") == "skipped: missing"


def _effect(town: TownBuilder) -> TownBuilder:
    columns = {"state": "pending", "attempts": 0, "deadline": T, "created_at": T, "payload": {}, "not_before": T}
    return town.insert("outbox", effect_id="e1", seq=1, kind="dequeue", subject="m", generation=1, **columns)


NEEDS: dict[str, tuple[Callable[[TownBuilder], TownBuilder], str]] = {
    "a live review": (lambda town: town.update("beads", "m", status="open"), "m is open: cancel it first"),
    "a live part": (lambda town: town.update("beads", "rework", status="open"), "rework is open: cancel it first"),
    "a live bead": (lambda town: town.update("beads", "b", status="in_review"), "b is in_review: cancel it first"),
    "an agent": (lambda town: town.agent("p", status="working", hook="b"), "b is worked on by p: cancel it first"),
    "a dependent": (lambda town: town.bead("next").edge("next", "b"), "next needs b: cancel or change it first"),
    "a bead that names it": (
        lambda town: town.bead("fix", metadata={"mr_bead_id": "m"}),
        "fix needs m: cancel or change it first",
    ),
    "a convoy": (
        lambda town: town.convoy("c", "closed", tracked=["b"]),
        "it is in the convoy c: take it out there first",
    ),
    "an effect": (_effect, "the town has something to do about m: try again later"),
    "the archive": (
        lambda town: town.key("back_from_archive", ["m"]),
        "m has been in the archive, where nothing is deleted",
    ),
}


@scenario(643)
@pytest.mark.parametrize("name", NEEDS)
def test_what_is_needed_stays(name: str) -> None:
    make, why = NEEDS[name]
    town = make(with_an_ended_bead()).key("paused", True)
    before = ids(town)
    assert what_came_of(town, "bead_deleted", "b") == f"rejected: {why}"
    assert ids(town) == before


@scenario(643)
def test_a_bead_whose_id_only_begins_alike_does_not_keep_another_one() -> None:
    town = a_town().bead("b", status="closed").bead("next", metadata={"mr_bead_id": "b2"}, labels=["gt:held"])
    assert what_came_of(town, "bead_deleted", "b") == "applied"


@scenario(643)
def test_a_convoy_with_beads_and_an_agent_are_not_deleted() -> None:
    town = a_town().bead("b", status="closed").convoy("c", "closed", tracked=["b"])
    assert what_came_of(town, "bead_deleted", "c") == "rejected: b is in it: take it out first"
    assert what_came_of(town, "bead_deleted", "mayor").startswith("rejected: agents are not deleted")
    assert what_came_of(town, "convoy_changed", convoy_id="c", remove=["b"]) == "applied"
    assert what_came_of(town, "bead_deleted", "c") == "applied"
    assert ids(town) == {"b"}


@scenario(644)
def test_a_rig_without_work_goes_with_its_agents_and_its_beads_stay() -> None:
    town = a_town().bead("b", status="closed").agent("p")
    assert what_came_of(town, "rig_removed", rig_id="rig-1", by="ann") == "applied"
    assert town.rows("SELECT id FROM rigs") == []
    assert (town.one("beads", "b", "rig_id"), town.status("p")) == (None, None)
    assert what_came_of(town, "rig_removed", rig_id="rig-1") == "skipped: missing"


WORK: dict[str, tuple[Callable[[TownBuilder], TownBuilder], str]] = {
    "a bead": (lambda town: town.bead("b1"), "it has live work, b1: finish or cancel it first"),
    "as many beads as are named": (
        lambda town: town.bead("b1").bead("b2").bead("b3"),
        "it has live work, b1, b2, b3: finish or cancel it first",
    ),
    "many beads": (
        lambda town: town.bead("b1").bead("b2").bead("b3").bead("b4"),
        "it has live work, b1, b2, b3 and others: finish or cancel it first",
    ),
    "a convoy": (
        lambda town: town.bead("b1", status="closed").convoy("c", tracked=["b1"]),
        "it has live work, c: finish or cancel it first",
    ),
    "an agent": (lambda town: town.agent("p", status="stalled"), "its agent p is at work: reset it first"),
}


@scenario(644)
@pytest.mark.parametrize("name", WORK)
def test_a_rig_with_work_stays(name: str) -> None:
    make, why = WORK[name]
    town = make(a_town()).key("paused", True)
    assert what_came_of(town, "rig_removed", rig_id="rig-1") == f"rejected: {why}"
    assert town.rows("SELECT id FROM rigs") == [("rig-1",)]


@scenario(645)
def test_a_convoy_is_edited_and_keeps_its_branch() -> None:
    town = a_town().bead("b", labels=["gt:held"]).convoy("c", tracked=["b"], branch="convoy/x/head")
    assert what_came_of(town, "convoy_changed", convoy_id="c", title="New", body="More") == "applied"
    assert town.one("beads", "c", "title", "body") == ("New", "More")
    assert town.one("convoy_metadata", "c", "feature_branch") == "convoy/x/head"


@scenario(645)
def test_how_a_convoy_is_merged_changes_only_before_its_work_begins() -> None:
    town = a_town().bead("b", labels=["gt:held"]).convoy("c", tracked=["b"], staged=1, branch="convoy/x/head")
    columns = ("merge_mode", "feature_branch")
    assert what_came_of(town, "convoy_changed", convoy_id="c", merge_mode="review-and-merge") == "applied"
    assert town.one("convoy_metadata", "c", *columns) == ("review-and-merge", None)
    assert "feature_branch" not in town.metadata("c")
    assert (
        what_came_of(town, "convoy_changed", convoy_id="c", merge_mode="review-then-land", title="Kitchen") == "applied"
    )
    mode, branch = town.one("convoy_metadata", "c", *columns)
    assert (mode, branch.startswith("convoy/kitchen/")) == ("review-then-land", True)
    assert town.metadata("c")["feature_branch"] == branch
    town.tick(event("convoy_started", {"convoy_id": "c"}))
    refused = what_came_of(town, "convoy_changed", convoy_id="c", merge_mode="review-and-merge", title="Other")
    assert refused == "rejected: its work has begun, so its merge_mode stays"
    assert town.one("beads", "c", "title") == "Kitchen"


@scenario(645)
@pytest.mark.parametrize(
    ("status", "payload", "outcome"),
    [
        ("open", {}, "rejected: nothing to change"),
        ("failed", {"title": "Other"}, "rejected: the convoy is failed"),
        ("closed", {"body": "Other"}, "rejected: the convoy is closed"),
    ],
)
def test_an_edit_that_changes_nothing_or_comes_too_late_is_rejected(
    status: str, payload: dict[str, str], outcome: str
) -> None:
    assert what_came_of(a_town().convoy("c", status), "convoy_changed", convoy_id="c", **payload) == outcome


@scenario(643)
def test_a_town_remembers_which_beads_have_come_back_from_the_archive() -> None:
    town = with_an_ended_bead()
    record = archive.record_of(town.sql, ["b", "m", "rework"])
    back = a_town()
    archive.put_back(back.sql, [record])
    assert TownKeys(back.sql).back_from_archive == {"b", "m", "rework"}
    assert what_came_of(back, "bead_deleted", "b") == "rejected: b has been in the archive, where nothing is deleted"

import pytest

from shared.actions import StopAgent
from shared.events.base import UnreadableEvent
from shared.events.convoys import slug_of, task_id
from tests.unit.events.builders import TOWN_ID, ATown, a_town

CONVOY = "0a1b2c3d-0000-4000-8000-000000000000"


def created(town: ATown, *depends_on: list[int], **convoy: object) -> str:
    """The outcome of convoy_created with a task for each list of dependencies."""
    tasks = [{"title": f"Task {index}", "depends_on": others} for index, others in enumerate(depends_on)]
    given = {"convoy_id": CONVOY, "title": "Add User Auth!!", "rig_id": "rig-1", "tasks": tasks, **convoy}
    return town.outcome("convoy_created", given, agent_id="m")


def task(index: int) -> str:
    return task_id(TOWN_ID, CONVOY, index)


def test_a_convoy_is_created_with_its_tasks() -> None:
    town = a_town().with_rig()
    one = {"title": "One", "body": "first", "priority": "high", "labels": ["gt:held"]}

    assert created(town, tasks=[one, {"title": "Two"}]) == "applied"

    convoy = town.bead(CONVOY)
    assert (convoy["type"], convoy["status"], convoy["rig_id"], convoy["created_by"]) == ("convoy", "open", None, "m")
    first, second = town.bead(task(0)), town.bead(task(1))
    names = ("type", "status", "title", "body", "rig_id", "priority", "labels", "assignee_agent_bead_id")
    assert [first[name] for name in names] == ["issue", "open", "One", "first", "rig-1", "high", ["gt:held"], None]
    assert [second[name] for name in names] == ["issue", "open", "Two", None, "rig-1", "medium", [], None]
    assert town.edges() == {(task(0), CONVOY, "tracks"), (task(1), CONVOY, "tracks")}
    assert town.rows("convoy_metadata") == [
        {
            "bead_id": CONVOY,
            "total_beads": 2,
            "closed_beads": 0,
            "landed_at": None,
            "feature_branch": "convoy/add-user-auth/0a1b2c3d/head",
            "merge_mode": "review-then-land",
            "staged": 0,
        }
    ]


def test_tasks_wait_for_the_tasks_they_depend_on() -> None:
    town = a_town().with_rig()

    assert created(town, [], [0], [0, 1]) == "applied"

    blocks = {edge for edge in town.edges() if edge[2] == "blocks"}
    assert blocks == {
        (task(1), task(0), "blocks"),
        (task(2), task(0), "blocks"),
        (task(2), task(1), "blocks"),
    }


def test_a_repeated_dependency_counts_once() -> None:
    town = a_town().with_rig()

    assert created(town, [], [0, 0]) == "applied"

    assert [edge for edge in town.edges() if edge[2] == "blocks"] == [(task(1), task(0), "blocks")]


@pytest.mark.parametrize("index", [-1, 2, 9, 2**63 - 1])
def test_a_task_that_depends_on_no_task_is_rejected_and_nothing_is_stored(index: int) -> None:
    town = a_town().with_rig()
    before = town.everything()

    assert created(town, [], [0, index]) == "rejected: a task depends on a task that does not exist"

    assert town.everything() == before


@pytest.mark.parametrize("depends_on", [([0],), ([], [1]), ([1], [0]), ([1], [2], [0]), ([], [2, 0], [1])])
def test_tasks_that_wait_for_one_another_are_rejected_and_nothing_is_stored(depends_on: tuple[list[int], ...]) -> None:
    town = a_town().with_rig()
    before = town.everything()

    assert created(town, *depends_on) == "rejected: cycle"

    assert town.everything() == before


def test_a_convoy_of_an_unknown_rig_is_rejected() -> None:
    town = a_town()
    before = town.everything()

    assert created(town, []) == "rejected: unknown rig"

    assert town.everything() == before


def test_a_convoy_is_created_once() -> None:
    town = a_town().with_rig()
    created(town, [])
    before = town.everything()

    assert created(town, [], [], title="Another", rig_id="unknown") == "skipped: exists"

    assert town.everything() == before


@pytest.mark.parametrize("count", [0, 101])
def test_a_convoy_has_1_to_100_tasks(count: int) -> None:
    with pytest.raises(UnreadableEvent, match=r"payload\.tasks: too_"):
        created(a_town().with_rig(), *([[]] * count))


def test_a_hundred_tasks_are_not_too_many() -> None:
    town = a_town().with_rig()

    assert created(town, [], *([index] for index in range(99))) == "applied"

    assert town.rows("convoy_metadata")[0]["total_beads"] == 100


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Add User Auth!!", "add-user-auth"),
        ("***", "convoy"),
        ("", "convoy"),
        ("--A  b--", "a-b"),
        ("Größe", "gr-e"),
        ("x" * 60, "x" * 40),
        ("x" * 39 + " y", "x" * 39),
    ],
)
def test_the_slug_is_what_a_branch_name_can_hold_of_the_title(title: str, slug: str) -> None:
    assert slug_of(title) == slug


def test_a_convoy_whose_id_is_no_uuid_still_gets_a_branch_that_git_takes() -> None:
    town = a_town().with_rig()

    created(town, [], convoy_id="the first: ~^")

    branch = town.rows("convoy_metadata")[0]["feature_branch"]
    assert branch.startswith("convoy/add-user-auth/")
    assert all(character in "0123456789abcdef" for character in branch.split("/")[2])


def test_the_given_feature_branch_is_used() -> None:
    town = a_town().with_rig()

    created(town, [], feature_branch="feature/auth")

    assert town.rows("convoy_metadata")[0]["feature_branch"] == "feature/auth"
    assert town.bead(CONVOY)["metadata"] == {"feature_branch": "feature/auth"}


def test_a_convoy_that_lands_task_by_task_has_no_feature_branch() -> None:
    town = a_town().with_rig()

    created(town, [], merge_mode="review-and-merge", feature_branch="feature/auth")

    convoy = town.rows("convoy_metadata")[0]
    assert (convoy["merge_mode"], convoy["feature_branch"]) == ("review-and-merge", None)


def test_what_the_convoy_leaves_open_is_decided_by_rig_and_town() -> None:
    town = a_town(staged_convoys_default=True).with_rig(convoy_merge_mode="review-and-merge")

    created(town, [])
    created(town, [], convoy_id="c2", staged=False, merge_mode="review-then-land")

    told = [(row["bead_id"], row["merge_mode"], row["staged"]) for row in town.rows("convoy_metadata")]
    assert told == [(CONVOY, "review-and-merge", 1), ("c2", "review-then-land", 0)]


# convoy_started


def test_a_started_convoy_is_no_longer_staged() -> None:
    town = a_town().with_convoy("c1", staged=1)

    assert town.outcome("convoy_started", {"convoy_id": "c1"}) == "applied"
    assert town.rows("convoy_metadata")[0]["staged"] == 0
    assert town.outcome("convoy_started", {"convoy_id": "c1"}) == "skipped: already"


@pytest.mark.parametrize("staged", [0, 1])
def test_starting_a_convoy_lets_it_land_again_whether_it_was_staged_or_not(staged: int) -> None:
    town = a_town().with_convoy("c1", staged=staged, metadata={"held": 1})

    assert town.outcome("convoy_started", {"convoy_id": "c1"}) == "applied"

    assert "held" not in town.bead("c1")["metadata"]
    assert town.outcome("convoy_started", {"convoy_id": "c1"}) == "skipped: already"


@pytest.mark.parametrize("event_type", ["convoy_started", "convoy_changed", "convoy_closed"])
def test_a_convoy_that_never_was_is_missing(event_type: str) -> None:
    town = a_town().with_bead("b1")

    assert town.outcome(event_type, {"convoy_id": "ghost"}) == "skipped: missing"
    assert town.outcome(event_type, {"convoy_id": "b1"}) == "skipped: missing"


# convoy_closed


def a_busy_convoy() -> ATown:
    """Convoy c1: b1 worked on by p1, b2 under review m2 by f1, b3 failed with a live review, landing review m0."""
    return (
        a_town()
        .with_bead("b1", status="in_progress")
        .with_bead("b2", status="in_review")
        .with_bead("b3", status="failed")
        .with_bead("other", status="in_review")
        .with_convoy("c1", tasks=("b1", "b2", "b3"))
        .with_review("m0", of="c1", status="open")
        .with_review("m2", of="b2")
        .with_review("m3", of="b3")
        .with_review("m4", of="other")
        .with_agent("f1", role="refinery", hook="m2", status="working")
        .with_agent("p1", hook="b1", status="stalled")
        .with_agent("p2", hook="b2", status="idle")
    )


def test_a_closed_convoy_ends_its_tasks_and_reviews_and_frees_their_agents() -> None:
    town = a_busy_convoy()

    result = town.hears("convoy_closed", {"convoy_id": "c1", "by": "ann"})

    assert result.returns == (
        StopAgent(agent_id="p1", reason="convoy closed"),
        StopAgent(agent_id="f1", reason="convoy closed"),
    )
    statuses = {bead_id: town.bead(bead_id)["status"] for bead_id in ("b1", "b2", "b3", "m0", "m2", "m3", "m4", "c1")}
    assert statuses == {
        "b1": "closed",
        "b2": "closed",
        "b3": "failed",
        "m0": "failed",
        "m2": "failed",
        "m3": "failed",
        "m4": "in_progress",
        "c1": "closed",
    }
    assert {town.agent(agent)["current_hook_bead_id"] for agent in ("f1", "p1", "p2")} == {None}
    assert town.bead("m2")["metadata"]["failureReason"] == "convoy_closed"
    convoy = town.rows("convoy_metadata")[0]
    assert (convoy["landed_at"], convoy["closed_beads"]) == ("2026-01-10T12:00:00.000Z", 3)


def test_a_convoy_is_closed_once() -> None:
    town = a_busy_convoy()
    town.hears("convoy_closed", {"convoy_id": "c1"})
    before = town.everything()

    assert town.outcome("convoy_closed", {"convoy_id": "c1"}) == "skipped: terminal"

    assert town.everything() == before


# convoy_changed


def changed(town: ATown, **change: object) -> str:
    return town.outcome("convoy_changed", {"convoy_id": "c1", **change})


def test_a_bead_that_joins_changes_no_field_of_its_convoy() -> None:
    town = a_town().with_rig().with_convoy("c1").with_bead("t1", rig_id="rig-1")

    assert changed(town, add=["t1"]) == "applied"

    kinds = [row["event_type"] for row in town.rows("bead_events") if row["bead_id"] == "c1"]
    assert "fields_updated" not in kinds


def test_what_a_convoy_says_of_itself_is_changed_and_written_down() -> None:
    town = a_town().with_rig().with_convoy("c1", title="Old")

    assert changed(town, title="New", by="ann") == "applied"

    assert town.bead("c1")["title"] == "New"
    [line] = town.rows("bead_events")
    assert (line["event_type"], line["agent_id"], line["metadata"]) == (
        "fields_updated",
        "ann",
        '{"fields":["title"]}',
    )


def test_a_convoy_belongs_to_the_rig_of_its_first_bead_that_has_one() -> None:
    town = a_town().with_rig().with_rig("rig-2").with_bead("t1").with_bead("t2", rig_id="rig-1")
    town.with_convoy("c1", tasks=("t1", "t2")).with_bead("t3", rig_id="rig-2")

    assert changed(town, add=["t3"]) == "rejected: t3 belongs to the rig rig-2, and the convoy to rig-1"


def test_a_convoy_whose_beads_all_leave_may_go_on_in_another_rig() -> None:
    town = a_town().with_rig().with_rig("rig-2").with_bead("t1", rig_id="rig-1").with_bead("t2", rig_id="rig-2")
    town.with_convoy("c1", tasks=("t1",))

    assert changed(town, add=["t2"], remove=["t1"]) == "applied"

    assert town.edges() == {("t2", "c1", "tracks")}

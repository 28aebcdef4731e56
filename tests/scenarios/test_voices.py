"""Scenarios 216 to 219: a wait that only a person can end gets a voice after a day, and the voice is silent when it has ended."""

from datetime import timedelta

import pytest

from shared.domain.obstacles import OBSTACLES, VOICED
from shared.domain.times import to_text
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, types_of

DAY = timedelta(hours=24)
RAISE = "voices.raise_overdue"
CLOSE = "voices.close_ended"


def a_town_with_an_obstacle(obstacle: str = "draft", *, hours: int = 24, ms: int = 0) -> TownBuilder:
    since = to_text(ago(hours=hours, ms=ms))
    notes = {
        "obstacle": obstacle,
        "obstacle_since": since,
        "last_poll_at": to_text(T),
        "pr_url": "https://github.com/a/b/pull/1",
    }
    return a_town().review("m", "in_progress", pr_url="https://github.com/a/b/pull/1", metadata=notes)


def escalations_of(town: TownBuilder) -> list[tuple[str, str]]:
    return town.rows(
        "SELECT e.category, b.status FROM beads b JOIN escalation_metadata e ON e.bead_id = b.bead_id ORDER BY b.created_at"
    )


def note(town: TownBuilder, **changes: object) -> None:
    kept = {key: value for key, value in {**town.metadata("m"), **changes}.items() if value is not None}
    town.update("beads", "m", metadata=kept)


@scenario(216)
def test_a_draft_of_exactly_a_day_is_not_escalated_yet() -> None:
    report = a_town_with_an_obstacle().tick()

    assert types_of(report, rule=RAISE) == []
    assert report.next_due == T + MS


@scenario(216)
def test_a_draft_of_more_than_a_day_is_escalated_once_and_the_mayor_is_told() -> None:
    town = a_town_with_an_obstacle(ms=1)

    report = town.tick()

    assert types_of(report, rule=RAISE) == ["raise_escalation", "notify_mayor"]
    assert escalations_of(town) == [("draft", "open")]
    town.ticks(100, start=T + timedelta(seconds=5))
    assert escalations_of(town) == [("draft", "open")]


@scenario(216)
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_only_obstacles_that_a_person_may_not_know_have_a_voice(obstacle: str) -> None:
    town = a_town_with_an_obstacle(obstacle, hours=30)

    town.tick()

    assert len(escalations_of(town)) == (obstacle in VOICED)


@scenario(217)
def test_an_obstacle_that_ends_and_returns_is_a_new_wait() -> None:
    town = a_town_with_an_obstacle(ms=1)
    town.tick()
    note(town, obstacle=None, obstacle_since=None)
    town.tick(at=T + timedelta(minutes=1))
    note(town, obstacle="draft", obstacle_since=to_text(T + timedelta(minutes=2)))

    town.tick(at=T + timedelta(minutes=2) + DAY)
    assert escalations_of(town) == [("draft", "closed")]
    town.tick(at=T + timedelta(minutes=2) + DAY + MS)

    assert escalations_of(town) == [("draft", "closed"), ("draft", "open")]


@scenario(217)
def test_an_escalation_that_another_rule_raised_about_the_same_cause_is_enough() -> None:
    town = a_town_with_an_obstacle("merge_refused", ms=1)
    town.bead("e", "escalation", metadata={"cause": "merge_refused:m"}).insert(
        "escalation_metadata", bead_id="e", severity="high", category="merge_refused"
    )

    town.tick()

    assert escalations_of(town) == [("merge_refused", "open")]


@scenario(218)
@pytest.mark.parametrize("change", [{"obstacle": None}, {"obstacle": "in_merge_queue", "obstacle_since": to_text(T)}])
def test_the_escalation_is_closed_when_the_obstacle_is_gone_or_another(change: dict[str, object]) -> None:
    town = a_town_with_an_obstacle(ms=1)
    town.tick()
    (escalation,) = (bead for (bead,) in town.rows("SELECT bead_id FROM beads WHERE type = 'escalation'"))
    town.bead(
        "asked", labels=["gt:triage-request"], metadata={"triage_type": "escalation", "escalation_bead_id": escalation}
    )
    note(town, **change)

    report = town.tick(at=T + timedelta(seconds=5))

    assert types_of(report, rule=CLOSE) == ["close_escalation"]
    assert escalations_of(town) == [("draft", "closed")]
    assert town.status("asked") == "closed"


@pytest.mark.parametrize(("table", "column"), [("beads", "labels"), ("beads", "metadata")])
def test_the_escalation_stays_while_the_row_of_its_review_cannot_be_read(table: str, column: str) -> None:
    """A damaged row says nothing about its cause. Before, the escalation was closed as if the wait had ended."""
    town = a_town_with_an_obstacle(ms=1)
    town.tick()
    town.update(table, "m", **{column: "no value"})

    report = town.tick(at=T + timedelta(seconds=5))

    assert types_of(report, rule=CLOSE) == []
    assert escalations_of(town) == [("draft", "open")]


@scenario(218)
def test_the_escalation_is_closed_when_its_review_ends() -> None:
    town = a_town_with_an_obstacle(ms=1)
    town.tick()
    town.update("beads", "m", status="failed")

    town.tick(at=T + timedelta(seconds=5))

    assert escalations_of(town) == [("draft", "closed")]


@scenario(218)
def test_an_escalation_that_a_person_or_an_agent_raised_stays() -> None:
    town = a_town().bead("e", "escalation").insert("escalation_metadata", bead_id="e", severity="high", category="odd")

    town.ticks(3)

    assert town.status("e") == "open"


@scenario(219)
def test_an_escalation_about_endless_feedback_ends_with_its_review() -> None:
    town = a_town().review("m", "in_progress", pr_url="https://github.com/a/b/pull/1")
    town.bead("e", "escalation", metadata={"mr_bead_id": "m"}).insert(
        "escalation_metadata", bead_id="e", severity="high", category="feedback_cap"
    )
    town.tick()
    assert town.status("e") == "open"
    town.update("beads", "m", status="closed")

    town.tick(at=T + timedelta(seconds=5))

    assert town.status("e") == "closed"


@scenario(219)
@pytest.mark.parametrize("column", ["labels", "metadata"])
def test_an_escalation_stays_while_the_row_that_it_is_about_cannot_be_read(column: str) -> None:
    """A damaged row is in no list of the live beads. Found as an escalation that was closed because of the damage."""
    town = a_town_with_an_obstacle(ms=1)
    town.tick()
    assert escalations_of(town) == [("draft", "open")]
    whole = town.rows(f"SELECT {column} FROM beads WHERE bead_id = 'm'")[0][0]
    town.update("beads", "m", **{column: "no json"})

    town.tick(at=T + timedelta(seconds=5))
    assert escalations_of(town) == [("draft", "open")]

    town.update("beads", "m", **{column: whole})
    note(town, obstacle=None)
    town.tick(at=T + timedelta(seconds=10))
    assert escalations_of(town) == [("draft", "closed")]


@scenario(219)
def test_the_escalation_of_an_episode_stays_while_a_review_cannot_be_read() -> None:
    """Whether that review still waits for the forge, nobody can tell."""
    episode = "forge_denied github.com a/b TOKEN"
    town = a_town_with_an_obstacle("forge_denied", hours=1).key("forge_episodes", {episode: {"voiced": True}})
    note(town, episode=episode)
    town.bead("e", "escalation", metadata={"cause": f"forge_denied:{episode}"}).insert(
        "escalation_metadata", bead_id="e", severity="high", category="forge_denied"
    )
    town.update("beads", "m", labels="no json")
    town.tick()
    assert town.status("e") == "open"

    town.update("beads", "m", labels=[], status="closed")
    town.tick(at=T + timedelta(seconds=5))
    assert town.status("e") == "closed"


@scenario(219)
@pytest.mark.parametrize("note_of", ["episode", "checks_episode"])
def test_the_escalation_of_an_episode_ends_when_only_pull_requests_of_others_wait_for_the_forge(note_of: str) -> None:
    episode, other = "forge_denied github.com a/b TOKEN", "forge_denied github.com a/c TOKEN"
    town = a_town_with_an_obstacle("forge_denied", hours=1).key("forge_episodes", {episode: {"voiced": True}})
    note(town, **{note_of: episode})
    town.bead("e", "escalation", metadata={"cause": f"forge_denied:{episode}"}).insert(
        "escalation_metadata", bead_id="e", severity="high", category="forge_denied"
    )
    town.tick()
    assert town.status("e") == "open"

    note(town, **{note_of: other})
    town.tick(at=T + timedelta(seconds=5))
    assert town.status("e") == "closed"


@scenario(219)
def test_the_escalation_of_an_episode_that_the_town_has_forgotten_ends() -> None:
    episode = "forge_denied github.com a/b TOKEN"
    town = a_town_with_an_obstacle("forge_denied", hours=1)
    note(town, episode=episode)
    town.bead("e", "escalation", metadata={"cause": f"forge_denied:{episode}"}).insert(
        "escalation_metadata", bead_id="e", severity="high", category="forge_denied"
    )
    town.tick()
    assert town.status("e") == "closed"

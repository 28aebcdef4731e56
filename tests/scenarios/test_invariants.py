"""Scenarios 185 and 186: a legal state is never reported, a broken one at once, again every hour, and until it is mended."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from shared.domain.report import TickReport
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago

PR = "https://github.com/acme/main-rig/pull/"

LEGAL: dict[str, Callable[[TownBuilder], TownBuilder]] = {
    "a mayor works without a hook": lambda town: town.agent("boss", "mayor", "working"),
    "a mayor waits": lambda town: town.agent("boss", "mayor", "waiting"),
    "two reviews with a pull request are in progress": lambda town: town.review(
        "m1", "in_progress", pr_url=f"{PR}1"
    ).review("m2", "in_progress", pr_url=f"{PR}2"),
    "one review with and one without": lambda town: (
        town.review("m1", "in_progress", pr_url=f"{PR}1")
        .review("m2", "in_progress")
        .agent("f", "refinery", "working", hook="m2")
    ),
    "a review without pull request is in progress in each of two rigs": lambda town: (
        town.rig("rig-2", name="other-rig")
        .review("m1", "in_progress")
        .review("m2", "in_progress", rig_id="rig-2")
        .agent("f1", "refinery", "working", hook="m1")
        .agent("f2", "refinery", "working", hook="m2", rig="rig-2")
    ),
    "a convoy is in progress": lambda town: town.convoy("c1", "in_progress", tracked=[]),
    "a convoy is in review": lambda town: town.convoy("c1", "in_review", tracked=[]),
    "an issue is in review for five minutes without a review": lambda town: town.bead(
        "b1", status="in_review", updated_at=ago(minutes=4, seconds=55)
    ),
    "an issue is in review for hours with a live review": lambda town: town.bead(
        "b1", status="in_review", updated_at=ago(hours=3)
    ).review("m1", "in_progress", of="b1", pr_url=f"{PR}1"),
    "a polecat works": lambda town: town.bead("b1", status="in_progress", assignee_agent_bead_id="p").agent(
        "p", status="working", hook="b1"
    ),
    "a polecat is idle with a hook": lambda town: town.bead(
        "b1", status="in_progress", assignee_agent_bead_id="p"
    ).agent("p", hook="b1"),
    "a polecat works without a hook while draining": lambda town: town.key(
        "drain", {"nonce": "n", "started_at": "2026-01-10T11:59:00.000Z"}
    ).agent("p", status="working"),
    "a hook on a bead that was closed a moment ago": lambda town: town.bead("b1", status="closed").agent(
        "p", status="working", hook="b1"
    ),
    "an agent that works without a hook is put right in the same tick": lambda town: town.agent("p", status="working"),
}


@scenario(185)
@pytest.mark.parametrize("state", list(LEGAL))
def test_a_legal_state_is_no_violation(state: str) -> None:
    town = LEGAL[state](a_town())

    reports = town.ticks(3)

    assert [report.violations for report in reports] == [()] * 3
    assert [report.metrics.invariant_violations for report in reports] == [0] * 3
    assert town.rows("SELECT invariant, subject FROM open_violations WHERE opened_at IS NOT NULL") == []


# 186: injected rows


def two_reviews_at_once() -> TownBuilder:
    town = a_town()
    for number in ("1", "2"):
        town.review(f"m{number}", "in_progress").agent(f"f{number}", "refinery", "working", hook=f"m{number}")
    return town


def look(town: TownBuilder, at: datetime) -> TickReport:
    """A tick, with both refineries heard of a moment ago."""
    for agent in ("f1", "f2"):
        town.update("agent_metadata", agent, last_activity_at=at, last_event_at=at)
    return town.tick(at=at)


def captured(report: TickReport) -> list[tuple[int, str, str]]:
    """Number, rig or bead, and text of the violations that this tick reports."""
    shown = [(seen.invariant, seen.subject, seen.message) for seen in report.violations if seen.captured]
    assert [(alert.extra["number"], alert.extra["subject"]) for alert in report.alerts] == [each[:2] for each in shown]
    return shown


@pytest.mark.illegal_state
@scenario(186)
def test_two_reviews_in_one_rig_are_captured_at_once_then_hourly_and_forgotten_when_mended() -> None:
    town = two_reviews_at_once()
    message = "rig rig-1 has 2 reviews in progress: m1, m2"

    first = look(town, T)
    between = [
        look(town, T + span) for span in (timedelta(seconds=5), timedelta(minutes=30), timedelta(minutes=60) - MS)
    ]
    hourly = look(town, T + timedelta(minutes=60))
    town.update("review_metadata", "m2", pr_url=f"{PR}2")
    mended = look(town, T + timedelta(minutes=60, seconds=5))

    assert captured(first) == [(3, "rig-1", message)]
    assert [captured(report) for report in between] == [[], [], []]
    assert captured(hourly) == [(3, "rig-1", message)]
    assert {report.metrics.invariant_violations for report in (first, *between, hourly)} == {1}
    assert (mended.violations, mended.metrics.invariant_violations) == ((), 0)
    assert town.rows("SELECT 1 FROM open_violations") == []


@pytest.mark.illegal_state
@scenario(186)
def test_a_capture_says_which_invariant_of_which_town_is_broken() -> None:
    [alert] = look(two_reviews_at_once(), T).alerts

    assert alert.fingerprint == ("invariant_violation", "3", "t1")
    assert alert.tags == {
        "invariant": "one_review_per_rig",
        "number": "3",
        "townId": "t1",
        "message": "invariant 3 (one_review_per_rig) is violated in town t1 by rig-1",
    }
    assert alert.extra == {"number": 3, "subject": "rig-1", "townId": "t1"}


@pytest.mark.illegal_state
@scenario(186)
def test_a_violation_that_comes_back_is_captured_anew() -> None:
    town = two_reviews_at_once()
    look(town, T)
    town.update("review_metadata", "m2", pr_url=f"{PR}2")
    look(town, T + timedelta(seconds=5))
    town.update("review_metadata", "m2", pr_url=None)

    again = look(town, T + timedelta(seconds=10))

    assert [number for number, _, _ in captured(again)] == [3]


@pytest.mark.illegal_state
@scenario(186)
def test_a_tick_that_sees_a_violation_open_is_committed_and_the_next_look_is_due_in_an_hour() -> None:
    town = a_town().bead("c1", "convoy", "shelved")

    report = town.tick()
    again = town.tick(at=T + timedelta(seconds=5))

    assert captured(report) == [(5, "c1", "convoy c1 is in unknown status 'shelved'")]
    assert not report.quiet
    assert again.quiet
    assert again.metrics.invariant_violations == 1
    assert again.next_due == T + timedelta(minutes=60)


@pytest.mark.illegal_state
@scenario(186)
@pytest.mark.parametrize(
    ("number", "subject", "broken"),
    [
        pytest.param(7, "p", lambda town: town.agent("p", status="working"), id="worker_has_hook"),
        pytest.param(
            2,
            "p",
            lambda town: town.bead("b1", status="closed").agent("p", status="waiting", hook="b1"),
            id="no_hook_on_terminal_bead",
        ),
        pytest.param(
            4,
            "b1",
            lambda town: town.bead("b1", status="in_review", updated_at=ago(minutes=5, ms=1)),
            id="review_has_live_mr",
        ),
    ],
)
def test_what_rules_would_put_right_is_reported_only_when_they_did_not(
    number: int, subject: str, broken: Callable[[TownBuilder], TownBuilder]
) -> None:
    """A paused town's rules do not act, so that the broken row is still there in the next committed tick."""
    town = broken(a_town()).key("paused", True)

    first = town.tick()
    second = town.tick(at=T + timedelta(seconds=5))

    assert captured(first) == []
    assert town.rows("SELECT first_seen_tick FROM open_violations") == [(2,)]
    assert [(seen, about) for seen, about, _ in captured(second)] == [(number, subject)]


@scenario(186)
def test_two_agents_on_one_bead_cannot_even_be_injected() -> None:
    town = a_town().bead("b1", status="in_progress").agent("p1", status="working", hook="b1")

    with pytest.raises(Exception, match="UNIQUE constraint failed: agent_metadata"):
        town.agent("p2", status="working", hook="b1")


@pytest.mark.illegal_state
@scenario(186)
def test_violations_are_reported_in_the_order_of_the_specification() -> None:
    town = two_reviews_at_once().bead("c1", "convoy", "shelved").bead("torn", labels="{no")

    report = town.tick()

    assert [seen.invariant for seen in report.violations] == [1, 5, 3]

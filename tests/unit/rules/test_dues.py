"""When a rule wants to look again. In a town that is watched every 30 s the tick does not show it; so the rule is asked."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.tick import Observations, TickInput
from shared.domain.times import to_text
from shared.engine import tick
from shared.rules import base, beads, liveness, merging, reviews
from shared.rules.base import Due, RuleFunction
from shared.town import database
from tests.towns import MS, T, TownBuilder, a_town, ago

PR = "https://github.com/acme/main-rig/pull/1"


def dues(town: TownBuilder, judge: RuleFunction) -> list[datetime]:
    """The times that a rule names for a town at T."""
    return [due.at for due in all_dues(town, judge)]


def all_dues(town: TownBuilder, judge: RuleFunction) -> list[Due]:
    """When a rule wants to look at a town again, seen at T, with what is waited for."""
    given = TickInput(
        tick_no=2,
        tick_id="2-test",
        now=T,
        code_version="test",
        sqlite_version=database.SQLITE_VERSION,
        config_digest="test",
        prev_image_digest="test",
        observations=Observations(),
    )
    reader, about = tick.current_state(town.sql, given, town_id="t1")
    return [decision for decision in judge(reader, about) if isinstance(decision, Due)]


def a_review(updated_at: datetime, **columns: Any) -> TownBuilder:
    return a_town().review("m", "in_progress", updated_at=updated_at, **columns)


def a_worker(last_event_at: datetime) -> TownBuilder:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p")
    return town.agent("p", status="working", hook="b", last_event_at=last_event_at)


@pytest.mark.parametrize(
    ("town", "judge", "due"),
    [
        (lambda: a_review(ago(minutes=2)), reviews.reopen_abandoned, T + MS),
        (
            lambda: a_review(T, pr_url=PR, metadata={"last_poll_at": to_text(T)}),
            reviews.poll_pull_request,
            T + limits.PR_POLL_INTERVAL,
        ),
        (
            lambda: a_review(T, pr_url=PR, metadata={"last_poll_at": to_text(T), "changed_at": to_text(ago(hours=1))}),
            reviews.poll_pull_request,
            T + limits.PR_POLL_INTERVAL_LATER,
        ),
        (
            lambda: a_town().review("m", dispatch_attempts=2, last_dispatch_attempt_at=ago(seconds=60)),
            reviews.dispatch_refinery,
            T + MS,
        ),
        (lambda: a_worker(T), liveness.warn, T + limits.GUPP_WARN_AFTER + MS),
        (lambda: a_worker(T), liveness.escalate, T + limits.GUPP_ESCALATE_AFTER + MS),
        (lambda: a_worker(T), liveness.force_stop, T + limits.GUPP_FORCE_STOP_AFTER + MS),
        (lambda: a_worker(ago(minutes=15)), liveness.warn, T + MS),
        (lambda: a_worker(ago(hours=1)), liveness.escalate, T + MS),
        (lambda: a_worker(ago(hours=2)), liveness.force_stop, T + MS),
    ],
)
def test_a_rule_looks_again_a_millisecond_after_its_boundary(
    town: Callable[[], TownBuilder], judge: RuleFunction, due: datetime
) -> None:
    assert dues(town(), judge) == [due]


def test_a_worker_whose_progress_lies_ahead_of_us_is_judged_by_its_last_heartbeat() -> None:
    """A watermark in the future, as a wrong clock dates it, says nothing (T11)."""
    beat = ago(seconds=5)
    town = a_worker(T + timedelta(milliseconds=1)).update("agent_metadata", "p", last_activity_at=beat)
    assert dues(town, liveness.warn) == [beat + limits.GUPP_WARN_AFTER + MS]


def test_pull_requests_that_are_too_many_for_one_tick_are_looked_at_in_the_next() -> None:
    town = a_town()
    for number in range(limits.POLLS_PER_TICK + 1):
        url = f"https://github.com/acme/main-rig/pull/{number + 1}"
        town.review(f"m{number}", "in_progress", pr_url=url, updated_at=ago(seconds=5))
    assert dues(town, reviews.poll_pull_request) == [T + limits.ACTIVE_INTERVAL]


def test_no_rule_adds_a_millisecond_by_itself() -> None:
    rules = Path(base.__file__).parent
    assert [path.name for path in sorted(rules.glob("*.py")) if "MILLISECOND" in path.read_text(encoding="utf-8")] == []


def test_a_due_of_more_than_a_limit_is_a_millisecond_later_than_one_of_at_least_it() -> None:
    later = Due.later_than(T, limits.TOKEN_REFRESH, rows=("b",), wait="backoff")
    at_least = Due.at_least(T, limits.TOKEN_REFRESH, rows=("b",), wait="backoff")
    assert (later.at - at_least.at, later.since, at_least.since) == (MS, T, T)


def test_a_bead_that_never_wanted_for_a_program_waits_for_its_backoff_and_for_no_program() -> None:
    town = a_town().bead("b", metadata={"size": 2}, dispatch_attempts=1, last_dispatch_attempt_at=ago(seconds=10))
    assert [due.wait for due in all_dues(town, beads.dispatch_ready)] == ["backoff"]


SHARED = "forge_denied github.com * TOKEN"


@pytest.mark.parametrize(
    ("last", "own_wait", "due", "wait"),
    [
        (T - MS, T, T - MS + limits.PR_POLL_INTERVAL, "forge_backoff"),
        (T - limits.PR_POLL_INTERVAL + MS, T, T + MS, "forge_backoff"),
        (T - MS, T - MS + limits.PR_POLL_INTERVAL, T - MS + limits.PR_POLL_INTERVAL, "rate_limited"),
    ],
    ids=["another was just polled", "a moment too early", "its own wait ends at the same time"],
)
def test_with_a_refused_token_one_pull_request_is_polled_for_all(
    last: datetime, own_wait: datetime, due: datetime, wait: str
) -> None:
    """Refused calls of one account may lock it."""
    town = a_town()
    noted = {"episode": SHARED, "poll_not_before": to_text(own_wait), "last_poll_at": to_text(ago(hours=1))}
    town.review("m1", "in_progress", pr_url=PR, metadata=noted)
    waits_long = to_text(T + timedelta(hours=1))
    town.review(
        "m2",
        "in_progress",
        pr_url=f"{PR}2",
        metadata={**noted, "last_poll_at": to_text(last), "poll_not_before": waits_long},
    )
    [first, _] = all_dues(town, reviews.poll_pull_request)
    assert (first.at, first.wait) == (due, wait)


@pytest.mark.parametrize(
    ("after", "due"),
    [
        (timedelta(0), [T + limits.BRANCH_UPDATE_CHECKS_FOR + MS]),
        (limits.BRANCH_UPDATE_CHECKS_FOR, [T + MS]),
        (limits.BRANCH_UPDATE_CHECKS_FOR + MS, []),
    ],
    ids=["just asked", "two hours ago", "a moment more"],
)
def test_a_head_whose_update_was_asked_for_is_looked_at_again_after_two_hours(
    after: timedelta, due: list[datetime]
) -> None:
    """A head that was seen in the moment of the request is the one that it was about."""
    asked = to_text(T - after)
    noted = {"obstacle": "behind_base", "head_sha": "h", "head_seen_at": asked, "own_updated_at": asked}
    town = a_town().config(refinery={"auto_merge": True, "auto_merge_delay_minutes": 5})
    town.bead("b", status="in_review").review("m", "in_progress", of="b", pr_url=PR, metadata=noted)
    assert dues(town, merging.update_branch) == due

"""A text that names a limit takes it from the limit: where a limit changes, the text follows."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.times import span_text
from shared.questions import guards
from shared.questions.guards import HELD, WAITS
from tests.towns import TownBuilder, a_town, actions, ago

HOUR = timedelta(hours=1)


def a_worker(**columns: Any) -> TownBuilder:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p")
    return town.agent("p", hook="b", **{"status": "working", **columns})


def a_landing_that_failed_each_time(attempts: int) -> TownBuilder:
    metadata = {"ready_to_land": 1, "landing_mr_attempts": attempts}
    return a_town().bead("b", status="closed").convoy("c", tracked=["b"], closed=1, metadata=metadata)


def beads_that_failed_to_start(count: int) -> TownBuilder:
    town = a_town()
    for number in range(count):
        town.bead(f"b{number}", last_dispatch_failed_at=ago(minutes=1), last_dispatch_attempt_at=ago(minutes=1))
    return town


LOST_AFTER_150_S: dict[str, Any] = {"HEARTBEAT_LOST_AFTER": timedelta(seconds=150)}


@pytest.mark.parametrize(
    ("changed", "town", "rule", "field", "as_it_is", "as_it_would_be"),
    [
        (
            LOST_AFTER_150_S,
            lambda: a_worker(last_activity_at=ago(minutes=10)),
            "agents.heartbeat_lost",
            "reason",
            "heartbeat lost (3 missed cycles)",
            "heartbeat lost (5 missed cycles)",
        ),
        (
            {"HEARTBEAT_CADENCE": timedelta(seconds=45)},
            lambda: a_worker(last_activity_at=ago(minutes=10)),
            "agents.heartbeat_lost",
            "reason",
            "heartbeat lost (3 missed cycles)",
            "heartbeat lost (2 missed cycles)",
        ),
        (
            {"STALLED_IDLE_AFTER": HOUR},
            lambda: a_worker(status="stalled", stalled_at=ago(hours=3)),
            "agents.retire_stalled",
            "reason",
            "stalled for 2 h 30 min",
            "stalled for 1 h",
        ),
        (
            {"GUPP_FORCE_STOP_AFTER": timedelta(minutes=100)},
            lambda: a_worker(last_event_at=ago(hours=3)),
            "liveness.force_stop",
            "reason",
            "exceeded 2h GUPP limit",
            "exceeded 1h40min GUPP limit",
        ),
        (
            {"AGENT_FORGET_AFTER": 12 * HOUR},
            lambda: a_town().agent("p", created_at=ago(days=3), last_activity_at=ago(days=2)),
            "garbage.forget_idle_agent",
            "reason",
            "idle for 24 h",
            "idle for 12 h",
        ),
        (
            {"LANDING_ATTEMPTS": 4},
            lambda: a_landing_that_failed_each_time(5),
            "convoys.fail_exhausted",
            "reason",
            "Landing MR creation failed after 5 attempts",
            "Landing MR creation failed after 4 attempts",
        ),
        (
            {"BREAKER_WINDOW": HOUR},
            lambda: beads_that_failed_to_start(limits.BREAKER_THRESHOLD),
            "breaker.announce",
            "message",
            "dispatch paused: 20 beads failed to start in 30 min",
            "dispatch paused: 20 beads failed to start in 1 h",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_stored_text_of_a_rule_follows_its_limit(
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    town: Callable[[], TownBuilder],
    rule: str,
    field: str,
    as_it_is: str,
    as_it_would_be: str,
) -> None:
    assert actions(town().tick(), rule=rule)[0][field] == as_it_is
    for name, value in changed.items():
        monkeypatch.setattr(limits, name, value)
    assert actions(town().tick(), rule=rule)[0][field] == as_it_would_be


@pytest.mark.parametrize("text", [*WAITS.values(), *HELD.values()])
def test_a_guard_writes_no_number_of_its_own(text: str) -> None:
    assert re.search(r"\d|\b(one|two|three|five|half) (an? )?(h|min|hour|minute|day)", text) is None


NAMED = [
    (name, says, kind)
    for says, texts in ((guards.wait_text, WAITS), (guards.hold_text, HELD))
    for kind, text in texts.items()
    for name in re.findall(r"\{(\w+)\}", text)
]


@pytest.mark.parametrize(("limit", "says", "of"), NAMED, ids=[f"{of}-{limit}" for limit, _, of in NAMED])
def test_the_words_of_a_guard_follow_the_limit_that_they_name(
    monkeypatch: pytest.MonkeyPatch, limit: str, says: Callable[[str], str], of: str
) -> None:
    before, value = says(of), getattr(limits, limit)
    other = value + (7 * HOUR if isinstance(value, timedelta) else 7)
    monkeypatch.setattr(limits, limit, other)
    assert says(of) == before.replace(_shown(value), _shown(other))
    assert says(of) != before


def _shown(value: timedelta | int) -> str:
    return span_text(value) if isinstance(value, timedelta) else str(value)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(), "0 s"),
        (timedelta(seconds=90), "1 min 30 s"),
        (timedelta(minutes=30), "30 min"),
        (timedelta(hours=2, minutes=30), "2 h 30 min"),
        (timedelta(hours=24), "24 h"),
        (timedelta(hours=1, seconds=5), "1 h 5 s"),
    ],
)
def test_a_span_is_told_in_hours_minutes_and_seconds(span: timedelta, text: str) -> None:
    assert span_text(span) == text

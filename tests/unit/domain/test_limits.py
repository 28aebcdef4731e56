"""The constants of the specification, written down a second time.

The scenarios speak of limits by name, so that they read well; here stands what the names mean. To move a boundary is to
change this table, and that ought to be a decision.
"""

from datetime import timedelta

import pytest

from shared.domain import limits

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KIB = 1024

# spec/README.md section 3, spec/tick.md sections 5 to 7
CONSTANTS: dict[str, timedelta | int | float | dict[str, int]] = {
    "ACTIVE_INTERVAL": 5 * SECOND,
    "TICKS_AT_ONCE": 6,
    "MODELS_PER_GENERATION": 16,
    "USAGE_REPORTS_KEPT": 24 * HOUR,
    "USAGE_DAYS_KEPT": 31 * DAY,
    "SWEEP_INTERVAL": HOUR,
    "JOURNAL_WINDOW_ROWS": 128,
    "JOURNAL_WINDOW_BYTES": 256 * KIB,
    "WATCH_INTERVAL": 60 * SECOND,
    "HEARTBEAT_CADENCE": 30 * SECOND,
    "HEARTBEAT_LOST_AFTER": 90 * SECOND,
    "UNHEARD_AFTER": 75 * SECOND,
    "UNHEARD_RETRY": 5 * SECOND,
    "NOT_FOUND_GRACE": 180 * SECOND,
    "STALLED_IDLE_AFTER": 2 * HOUR + 30 * MINUTE,
    "GUPP_WARN_AFTER": 15 * MINUTE,
    "GUPP_ESCALATE_AFTER": HOUR,
    "GUPP_FORCE_STOP_AFTER": 2 * HOUR,
    "NUDGE_WINDOW": 60 * MINUTE,
    "AGENT_FORGET_AFTER": 24 * HOUR,
    "BEAD_LOST_AFTER": 5 * MINUTE,
    "BEAD_LOST_LATEST": 30 * MINUTE,
    "REVIEW_RECOVERY_AFTER": 5 * MINUTE,
    "REVIEW_STUCK_AFTER": 30 * MINUTE,
    "REVIEW_ABANDONED_AFTER": 2 * MINUTE,
    "MERGE_LOOK_INTERVAL": 60 * SECOND,
    "OBSTACLE_VOICED_AFTER": DAY,
    "NO_PROGRAM_UNIT": 30 * SECOND,
    "NO_PROGRAM_AT_MOST": 30 * MINUTE,
    "MAIL_AGAIN_AFTER": 10 * MINUTE,
    "MAIL_AGAIN_LATER": HOUR,
    "PRIORITY_RISES_EVERY": DAY,
    "MERGE_LOOK_AT_MOST": 30 * MINUTE,
    "MERGE_LOOKS": 3,
    "MERGE_LOOKS_FOR": 2 * MINUTE,
    "STOP_REARM_AFTER": 5 * MINUTE,
    "HOOK_END_GRACE": 15 * MINUTE,
    "PR_POLL_INTERVAL_LATER": 5 * MINUTE,
    "PR_QUIET_AFTER": 60 * MINUTE,
    "HEAD_SETTLES_FOR": 2 * MINUTE,
    "FORGE_BACKOFF_UNIT": MINUTE,
    "FORGE_BACKOFF_AT_MOST": 30 * MINUTE,
    "FORGE_EPISODE_VOICED_AFTER": 30 * MINUTE,
    "FORGE_EPISODE_ENDS_REVIEW_AFTER": 7 * 24 * 60 * MINUTE,
    "PR_POLL_INTERVAL": 60 * SECOND,
    "POLLS_PER_TICK": 30,
    "RATE_LIMIT_AT_MOST": 60 * MINUTE,
    "MERGE_TRIES": 5,
    "MERGE_RETRY_AFTER": 6 * HOUR,
    "DEQUEUE_AGAIN_AFTER": 10 * MINUTE,
    "BRANCH_UPDATES": 5,
    "FORGE_LAG": 10 * MINUTE,
    "BRANCH_UPDATE_CHECKS_FOR": 2 * HOUR,
    "FEEDBACK_BEAD_CAP": 5,
    "CONFLICT_BEAD_CAP": 5,
    "MAX_DISPATCH_ATTEMPTS": 5,
    "ATTEMPTS_COOL_DOWN": 30 * MINUTE,
    "ATTEMPTS_COOL_DOWN_FROM": 5,
    "BREAKER_THRESHOLD": 20,
    "BREAKER_WINDOW": 30 * MINUTE,
    "LANDING_ATTEMPTS": 5,
    "LANDING_COOLDOWN_UNIT": 30 * SECOND,
    "LANDING_COOLDOWN_AT_MOST": 30 * MINUTE,
    "TRIAGE_OPEN_CAP": 5,
    "TRIAGE_BATCH_SIZE": 20,
    "TRIAGE_FRUITLESS_LIMIT": 5,
    "ESCALATION_BUMP": 4 * HOUR,
    "ESCALATION_BUMPS": 3,
    "NOTICE_WINDOW": timedelta(hours=1),
    "DRAIN_TIMEOUT": 7 * MINUTE,
    "SETTLE_GAP": 3 * MINUTE,
    "SETTLE_FOR": 90 * SECOND,
    "MAX_EVENT_RETRIES": 3,
    "EVENT_RETENTION": 7 * DAY,
    "EVENT_ROWS_KEPT": 6 * HOUR,
    "RESTORE_WINDOW": 7 * DAY,
    "EFFECTS_KEPT": 12 * HOUR,
    "EXITS_KEPT": 48 * HOUR,
    "EVENTS_PER_TICK": 1000,
    "BUDGET_WINDOW": 10 * MINUTE,
    "EVENT_UNIT": KIB,
    "SIGNS_OF_LIFE": 10,
    "EVENT_BUDGET": {"agent": 600, "coordinator": 3000, "container": 6000},
    "BEAD_BUDGET": {"agent": 60, "coordinator": 600},
    "MAYOR_TOLD_PER_TICK": 20,
    "WAITING_EVENTS": {"agent": 200, "coordinator": 500, "container": 500},
    "WAITING_BATCHES": 40,
    "REWORK_BEADS_AT_MOST": 20,
    "EVENTS_PER_BATCH": 100,
    "EVENT_SIZE": 64 * KIB,
    "INBOX_OBJECT_SIZE": 101 * 64 * KIB,
    "FIELD_SIZE": 4 * KIB,
    "BODY_SIZE": 32 * KIB,
    "STATUS_MESSAGE": 280,
    "EFFECTS_PER_TICK": 100,
    "EFFECT_CLAIM": 300 * SECOND,
    "SELF_CHECK_SHARE": 0.01,
    "OBSERVE_WITHIN": 10 * SECOND,
    "ACKNOWLEDGE_WITHIN": 2 * SECOND,
    "EFFECT_START_DEADLINE": 60 * SECOND,
    "EFFECT_RETRY_UNIT": 5 * SECOND,
    "EFFECT_RETRY_AT_MOST": 5 * MINUTE,
    "FINISHED_READS_KEPT": HOUR,
    "RETENTION_ROWS_PER_TICK": 5000,
    "FAILED_EVENT_RETRY": 5 * SECOND,
    "TOKEN_REFRESH": HOUR,
    "MAYOR_IDLE_STOP": 5 * MINUTE,
    "IDLE_STOP_THROTTLE": 2 * MINUTE,
    "STALLED_ACTIVE_FOR": 30 * MINUTE,
    "NUDGE_LIFE": 60 * MINUTE,
    "VIOLATION_REPEAT": 60 * MINUTE,
    "ALERT_REPEAT": 60 * MINUTE,
    "MILLISECOND": timedelta(milliseconds=1),
    "MINUTE": MINUTE,
    "CLOCKS_AGREE_WITHIN": 30 * SECOND,
    "CLOCKS_COMPARED_EVERY": 60 * SECOND,
    "HEAD_LEAD_AT_MOST": 60 * SECOND,
    "STANDSTILL_VOICED_AFTER": 2 * HOUR,
    "HOOK_LIMIT_HOURS": 12,
    "ARCHIVE_CLOSED_AFTER": 48 * HOUR,
    "ARCHIVE_FAILED_AFTER": 30 * DAY,
    "ARCHIVE_BEADS": 64,
    "ARCHIVE_BEADS_AT_MOST": 128,
    "ARCHIVE_BLOCK_BYTES": 512 * KIB,
    "ARCHIVE_LATEST": HOUR,
    "ARCHIVE_LOOK_EVERY": 16,
    "ARCHIVE_LOOK_IF_RARE": 5 * MINUTE,
}


@pytest.mark.parametrize(("name", "value"), CONSTANTS.items(), ids=CONSTANTS)
def test_every_constant_is_what_the_specification_says(name: str, value: object) -> None:
    assert getattr(limits, name) == value


def test_no_constant_stands_outside_the_table() -> None:
    assert {name for name in vars(limits) if name.isupper() and not name.startswith("_")} == CONSTANTS.keys()


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [
        (-1, 30 * SECOND),
        (0, 30 * SECOND),
        (1, 30 * SECOND),
        (2, 60 * SECOND),
        (3, 2 * MINUTE),
        (4, 5 * MINUTE),
        (5, 10 * MINUTE),
        (6, 10 * MINUTE),
        (1_000, 10 * MINUTE),
    ],
)
def test_the_backoff_grows_with_the_attempts_and_ends_at_ten_minutes(attempts: int, wait: timedelta) -> None:
    assert limits.backoff(attempts) == wait


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [
        (1, 60 * SECOND),
        (2, 120 * SECOND),
        (3, 240 * SECOND),
        (4, 480 * SECOND),
        (5, 960 * SECOND),
        (6, 30 * MINUTE),
        (1_000, 30 * MINUTE),
    ],
)
def test_the_wait_between_landings_doubles_up_to_half_an_hour(attempts: int, wait: timedelta) -> None:
    assert limits.landing_cooldown(attempts) == wait

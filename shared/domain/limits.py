"""Every constant of spec/README.md section 3, under the name it has there.

Most of the time spans are used in one of two comparisons: `stale` (strictly more time has passed, or the time is unknown) and
`within`, its opposite.
"""

from datetime import datetime, timedelta
from typing import Final

ACTIVE_INTERVAL: Final = timedelta(seconds=5)
TICKS_AT_ONCE: Final = 6
"""So many ticks may follow at once on events, in as many intervals as ticks (spec/tick.md section 6)."""
SWEEP_INTERVAL: Final = timedelta(hours=1)
CLOCKS_AGREE_WITHIN: Final = timedelta(seconds=30)
CLOCKS_COMPARED_EVERY: Final = timedelta(seconds=60)
HEAD_LEAD_AT_MOST: Final = timedelta(seconds=60)
"""How far a town's newest commit may be ahead of a clock that agrees with the store's: two workers may each be wrong by
CLOCKS_AGREE_WITHIN."""
JOURNAL_WINDOW_ROWS: Final = 128
JOURNAL_WINDOW_BYTES: Final = 256 * 1024
WATCH_INTERVAL: Final = timedelta(seconds=60)
"""How often a town with work in progress looks at its agents, and how long signs of life alone may wait for a tick. Less than
HEARTBEAT_LOST_AFTER, so that a tick has read what an agent sent before the agent counts as lost."""
HEARTBEAT_CADENCE: Final = timedelta(seconds=30)
HEARTBEAT_LOST_AFTER: Final = timedelta(seconds=90)
UNHEARD_AFTER: Final = (WATCH_INTERVAL + HEARTBEAT_LOST_AFTER) / 2
"""How long after the town has taken an agent's sign of life from a look its control server begins to send heartbeats. It is halfway
between the next look and the moment from which the agent would count as lost. So a look may be 15 s late before a heartbeat is sent
for nothing, and a town that cannot reach the server has a heartbeat 15 s before it would miss its agents."""
UNHEARD_RETRY: Final = timedelta(seconds=5)
"""How soon such a heartbeat is sent again that the town did not acknowledge, until HEARTBEAT_LOST_AFTER; then HEARTBEAT_CADENCE."""
NOT_FOUND_GRACE: Final = timedelta(seconds=180)
STALLED_IDLE_AFTER: Final = timedelta(hours=2, minutes=30)
GUPP_WARN_AFTER: Final = timedelta(minutes=15)
GUPP_ESCALATE_AFTER: Final = timedelta(hours=1)
GUPP_FORCE_STOP_AFTER: Final = timedelta(hours=2)
NUDGE_WINDOW: Final = timedelta(minutes=60)
AGENT_FORGET_AFTER: Final = timedelta(hours=24)
BEAD_LOST_AFTER: Final = timedelta(minutes=5)
BEAD_LOST_LATEST: Final = timedelta(minutes=30)
REVIEW_RECOVERY_AFTER: Final = timedelta(minutes=5)
REVIEW_STUCK_AFTER: Final = timedelta(minutes=30)
REVIEW_ABANDONED_AFTER: Final = timedelta(minutes=2)
OBSTACLE_VOICED_AFTER: Final = timedelta(hours=24)
STANDSTILL_VOICED_AFTER: Final = timedelta(hours=2)
PR_POLL_INTERVAL_LATER: Final = timedelta(minutes=5)
PR_QUIET_AFTER: Final = timedelta(hours=1)
HEAD_SETTLES_FOR: Final = timedelta(minutes=2)
FORGE_BACKOFF_UNIT: Final = timedelta(minutes=1)
FORGE_BACKOFF_AT_MOST: Final = timedelta(minutes=30)
FORGE_EPISODE_VOICED_AFTER: Final = timedelta(minutes=30)
FORGE_EPISODE_ENDS_REVIEW_AFTER: Final = timedelta(days=7)
MERGE_TRIES: Final = 5
MERGE_RETRY_AFTER: Final = timedelta(hours=6)
MERGE_LOOK_INTERVAL: Final = timedelta(seconds=60)
MERGE_LOOK_AT_MOST: Final = timedelta(minutes=30)
MERGE_LOOKS: Final = 3
MERGE_LOOKS_FOR: Final = timedelta(minutes=2)
DEQUEUE_AGAIN_AFTER: Final = timedelta(minutes=10)
BRANCH_UPDATES: Final = 5
FORGE_LAG: Final = timedelta(minutes=10)
BRANCH_UPDATE_CHECKS_FOR: Final = timedelta(hours=2)
STOP_REARM_AFTER: Final = timedelta(minutes=5)
HOOK_END_GRACE: Final = timedelta(minutes=15)
MAIL_AGAIN_AFTER: Final = timedelta(minutes=10)
MAIL_AGAIN_LATER: Final = timedelta(hours=1)
NO_PROGRAM_UNIT: Final = timedelta(seconds=30)
NO_PROGRAM_AT_MOST: Final = timedelta(minutes=30)
PRIORITY_RISES_EVERY: Final = timedelta(days=1)
PR_POLL_INTERVAL: Final = timedelta(seconds=60)
POLLS_PER_TICK: Final = 30
"""Further pull requests wait for a later tick, so that polls do not delay all other effects."""

RATE_LIMIT_AT_MOST: Final = timedelta(minutes=60)
FEEDBACK_BEAD_CAP: Final = 5
CONFLICT_BEAD_CAP: Final = 5
HOOK_LIMIT_HOURS: Final = 12
MAX_DISPATCH_ATTEMPTS: Final = 5
ATTEMPTS_COOL_DOWN: Final = timedelta(minutes=30)
ATTEMPTS_COOL_DOWN_FROM: Final = 5
BREAKER_THRESHOLD: Final = 20
BREAKER_WINDOW: Final = timedelta(minutes=30)
LANDING_ATTEMPTS: Final = 5
LANDING_COOLDOWN_UNIT: Final = timedelta(seconds=30)
LANDING_COOLDOWN_AT_MOST: Final = timedelta(minutes=30)
TRIAGE_OPEN_CAP: Final = 5
TRIAGE_BATCH_SIZE: Final = 20
TRIAGE_FRUITLESS_LIMIT: Final = 5
ESCALATION_BUMP: Final = timedelta(hours=4)
ESCALATION_BUMPS: Final = 3
NOTICE_WINDOW: Final = timedelta(hours=1)
DRAIN_TIMEOUT: Final = timedelta(minutes=7)
SETTLE_GAP: Final = max(timedelta(minutes=2), 3 * WATCH_INTERVAL)
"""A watched town ticks every WATCH_INTERVAL, so a gap of three is an outage, and a late tick is none."""
SETTLE_FOR: Final = timedelta(seconds=90)
MAX_EVENT_RETRIES: Final = 3
EVENT_RETENTION: Final = timedelta(days=7)
EVENT_ROWS_KEPT: Final = timedelta(hours=6)
"""How long the image keeps the row of an event after it was processed. The journal keeps the event longer, and of one that a
producer may send again the image keeps a digest (EVENT_RETENTION)."""
RESTORE_WINDOW: Final = timedelta(days=7)
EFFECTS_KEPT: Final = timedelta(hours=12)
EXITS_KEPT: Final = timedelta(hours=48)
"""How long the audit trail of an agent keeps its exits. Those of the beads that it worked on stay with these beads."""
EVENTS_PER_TICK: Final = 1000
BUDGET_WINDOW: Final = timedelta(minutes=10)
EVENT_BUDGET: Final = {"agent": 600, "coordinator": 3000, "container": 6000}
"""How many events that stay in the image one sender of each scope may send in a window; operators have no budget."""
BEAD_BUDGET: Final = {"agent": 60, "coordinator": 600}
"""How many beads and escalations such events may create."""
MAYOR_TOLD_PER_TICK: Final = 20
"""How many messages the mayor gets in a tick; one digest replaces the rest, except mail, which waits."""
EVENT_UNIT: Final = 1024
"""An event counts once for each started unit of its payload (UTF-8), so a few large events are as many as many small ones."""
WAITING_EVENTS: Final = {"agent": 200, "coordinator": 500, "container": 500}
"""How many events of one sender may wait in the inbox; a batch for which there is no room beside them is answered with 429."""
WAITING_BATCHES: Final = 40
SIGNS_OF_LIFE: Final = 10
"""How many times as much may wait of what only says that a container's agents live, so that a pause of the ticks loses none."""
REWORK_BEADS_AT_MOST: Final = 20
"""Live rework beads of one MR."""
EVENTS_PER_BATCH: Final = 100
EVENT_SIZE: Final = 64 * 1024
INBOX_OBJECT_SIZE: Final = (EVENTS_PER_BATCH + 1) * EVENT_SIZE
"""The events of a batch, and what the inbox object says about them."""
MODELS_PER_GENERATION: Final = 16
"""How many models one generation may report, so that no agent fills the image with names."""
USAGE_REPORTS_KEPT: Final = timedelta(hours=24)
USAGE_DAYS_KEPT: Final = timedelta(days=31)
FIELD_SIZE: Final = 4 * 1024
BODY_SIZE: Final = 32 * 1024
STATUS_MESSAGE: Final = 280
EFFECTS_PER_TICK: Final = 100
EFFECT_CLAIM: Final = timedelta(seconds=300)
ARCHIVE_CLOSED_AFTER: Final = timedelta(hours=48)
ARCHIVE_FAILED_AFTER: Final = timedelta(days=30)
ARCHIVE_BEADS: Final = 64
"""So many beads that may leave are archived at once; fewer, when the first of them has waited for ARCHIVE_LATEST."""
ARCHIVE_BEADS_AT_MOST: Final = 128
ARCHIVE_BLOCK_BYTES: Final = 512 * 1024
ARCHIVE_LATEST: Final = timedelta(hours=1)
ARCHIVE_LOOK_EVERY: Final = 16
"""In a town that ticks often, every so many ticks somebody looks for beads that may leave the image."""
ARCHIVE_LOOK_IF_RARE: Final = timedelta(minutes=5)
"""In a town whose last two ticks are so far apart, every tick."""
SELF_CHECK_SHARE: Final = 0.01
"""The share of ticks that are run again from their record, unless a deployment sets another one."""

OBSERVE_WITHIN: Final = timedelta(seconds=10)
ACKNOWLEDGE_WITHIN: Final = timedelta(seconds=2)
"""How long a worker waits until the runtime knows which signs of life a commit has."""
EFFECT_START_DEADLINE: Final = timedelta(seconds=60)
EFFECT_RETRY_UNIT: Final = timedelta(seconds=5)
EFFECT_RETRY_AT_MOST: Final = timedelta(minutes=5)
FINISHED_READS_KEPT: Final = timedelta(hours=1)
RETENTION_ROWS_PER_TICK: Final = 5000
FAILED_EVENT_RETRY: Final = timedelta(seconds=5)
TOKEN_REFRESH: Final = timedelta(hours=1)
MAYOR_IDLE_STOP: Final = timedelta(minutes=5)
IDLE_STOP_THROTTLE: Final = timedelta(minutes=2)
STALLED_ACTIVE_FOR: Final = timedelta(minutes=30)
NUDGE_LIFE: Final = timedelta(minutes=60)
VIOLATION_REPEAT: Final = timedelta(minutes=60)
ALERT_REPEAT: Final = timedelta(minutes=60)
MILLISECOND: Final = timedelta(milliseconds=1)
MINUTE: Final = timedelta(minutes=1)

_BACKOFF: Final = (
    timedelta(seconds=30),
    timedelta(seconds=30),
    timedelta(seconds=60),
    timedelta(minutes=2),
    timedelta(minutes=5),
    timedelta(minutes=10),
)


def backoff(attempts: int) -> timedelta:
    """The wait after this many counted attempts."""
    return _BACKOFF[min(max(attempts, 0), len(_BACKOFF) - 1)]


def no_program_backoff(tries: int) -> timedelta:
    """The wait after this many starts that no agent program could make: it doubles with each one, up to NO_PROGRAM_AT_MOST."""
    doubled: int = 2 ** min(max(tries, 1) - 1, 10)
    return min(NO_PROGRAM_UNIT * doubled, NO_PROGRAM_AT_MOST)


def forge_backoff(failures: int) -> timedelta:
    """The wait after this many polls in a row that could not look: it doubles each time, up to FORGE_BACKOFF_AT_MOST."""
    doubled: int = 2 ** min(max(failures - 1, 0), 10)
    return min(FORGE_BACKOFF_UNIT * doubled, FORGE_BACKOFF_AT_MOST)


def landing_cooldown(attempts: int) -> timedelta:
    """The wait after this many landing attempts: it doubles with each one, up to LANDING_COOLDOWN_AT_MOST."""
    doubled: int = 2 ** min(attempts, 10)
    return min(LANDING_COOLDOWN_UNIT * doubled, LANDING_COOLDOWN_AT_MOST)


def weight(payload: str) -> int:
    """How often an event with this payload counts against budgets and in the inbox."""
    return max(1, -(-len(payload.encode(errors="surrogatepass")) // EVENT_UNIT))


def stale(at: datetime | None, span: timedelta, *, now: datetime) -> bool:
    """Whether `at` is missing or strictly more than `span` ago."""
    return at is None or now - at > span


def within(at: datetime | None, span: timedelta, *, now: datetime) -> bool:
    """Whether `at` is known and at most `span` ago."""
    return at is not None and now - at <= span


def just_after(at: datetime) -> datetime:
    """The first time that is later than `at`: a town's times are whole milliseconds."""
    return at + MILLISECOND

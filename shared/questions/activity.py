"""How much a town did in the last hour, for people who look at many towns: its actions, and the effects that failed."""

import sqlite3
from collections import Counter
from datetime import datetime
from typing import Final

from shared.domain import acted
from shared.domain.shapes import Time, answer
from shared.domain.times import from_text, to_text
from shared.town.town_keys import TownKeys

_FAILED: Final = (
    "SELECT finished_at FROM outbox WHERE finished_at IS NOT NULL "
    "AND kind IN ('poll_pr', 'refresh_token', 'update_model') AND finished_at >= :since AND state IN ('failed', 'expired') "
    "UNION ALL SELECT finished_at FROM outbox WHERE finished_at IS NOT NULL "
    "AND kind NOT IN ('poll_pr', 'refresh_token', 'update_model') AND finished_at >= :since AND state IN ('failed', 'expired') "
    "ORDER BY 1"
)
"""In two halves, because two indexes have the finished effects."""


@answer
class LastHour:
    """The actions of the last hour, and the effects that failed or expired in it; in all, and by slots of `slotMinutes`.

    The slots begin at `since`, oldest first; the last one contains the present.
    """

    since: Time
    slot_minutes: int
    actions: int
    failures: int
    actions_by_slot: tuple[int, ...]
    failures_by_slot: tuple[int, ...]


def last_hour(sql: sqlite3.Connection, now: datetime) -> LastHour:
    """What the town did in the hour before this time, which is not before its newest tick."""
    slots = acted.last_hour(now)
    since = acted.start_of(slots[0])
    known = TownKeys(sql).acted
    ended = sql.execute(_FAILED, {"since": to_text(since)})
    failed = Counter(acted.slot_of(from_text(at)) for (at,) in ended)
    actions = tuple(known.get(slot, 0) for slot in slots)
    failures = tuple(failed[slot] for slot in slots)
    minutes = acted.SLOT.seconds // 60
    return LastHour(since, minutes, sum(actions), sum(failures), actions, failures)

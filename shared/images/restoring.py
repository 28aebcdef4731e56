"""Turns an old image into the next commit: the rows of the past with the counters of the present.

Tick numbers and times continue from the present, so the restore is a new point in history and can be undone itself. Every
agent gets a generation that was never used, so reports from agents that are still running are stale. Effects that were
unfinished in the old image expire, so nothing is called a second time.
"""

from datetime import datetime

from shared.domain import limits
from shared.domain.times import to_text
from shared.town import database, migrations
from shared.town.town_keys import TownKeys


def carried_over(restored: bytes, present: bytes, *, now: datetime) -> bytes:
    """The image to commit, in the newest schema: the rows of `restored` with the counters of `present`.

    Raises WrongTown, SchemaMismatch.
    """
    old, new = database.open_image(restored), database.open_image(present)
    try:
        then, today = TownKeys(old), TownKeys(new)
        database.check_identity(old, today.id)
        database.begin(old)
        migrations.apply_pending(old)
        then.tick_no, then.tick_id, then.last_tick_at = today.tick_no, today.tick_id, today.last_tick_at
        then.next_seq = max(then.next_seq, today.next_seq)
        then.next_audit_seq = max(then.next_audit_seq, today.next_audit_seq)
        then.next_due_at, then.settling_until = now, now + limits.SETTLE_FOR
        unused = max(_newest_generation(old), _newest_generation(new)) + 1
        old.execute(  # no process has this generation, so none needs to be stopped
            "UPDATE agent_metadata SET generation = :unused, ended_generation = :unused", {"unused": unused}
        )
        old.execute(
            "UPDATE outbox SET state = 'expired', claim = NULL, claimed_until = NULL, not_before = NULL, "
            "finished_at = :now WHERE state IN ('pending', 'claimed')",
            {"now": to_text(now)},
        )
        old.execute("DELETE FROM ticks")
        database.commit(old)
        return database.image_of(old)
    finally:
        database.close(old)
        database.close(new)


def tick_no(sql: database.Database) -> int:
    """The number of the last tick of an open town."""
    return TownKeys(sql).tick_no


def _newest_generation(sql: database.Database) -> int:
    """The greatest generation that any agent of this image ever had, including deleted agents whose effects are retained."""
    found: int = sql.execute(
        "SELECT MAX((SELECT COALESCE(MAX(generation), 0) FROM agent_metadata), "
        "(SELECT COALESCE(MAX(generation), 0) FROM outbox WHERE kind IN ('dispatch_agent', 'stop_agent')))"
    ).fetchone()[0]
    return found


def renamed(image: bytes, town_id: str) -> bytes:
    """The same town under another id. Raises SchemaMismatch if the image is not a town."""
    with database.opened(image) as sql:
        database.check_identity(sql, (TownKeys(sql).id if _is_town(sql) else "") or town_id)
        database.begin(sql)
        TownKeys(sql).id = town_id
        database.commit(sql)
        return database.image_of(sql)


def _is_town(sql: database.Database) -> bool:
    return sql.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'town'").fetchone() is not None

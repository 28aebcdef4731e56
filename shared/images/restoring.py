"""Turns an old image into the next commit: the rows of the past with the counters of the present.

Tick numbers and times continue from the present, so the restore is a new point in history and can be undone itself. Every
agent gets a generation that was never used, so reports from agents that are still running are stale. Effects that were
unfinished in the old image expire, so nothing is called a second time.
"""

from datetime import datetime

from shared.domain import canonical, limits
from shared.domain.times import to_text
from shared.town import database


def carried_over(restored: bytes, present: bytes, *, now: datetime) -> bytes:
    """The image to commit: the rows of `restored` with the counters of `present`. Raises WrongTown, SchemaMismatch."""
    old, new = database.open_image(restored), database.open_image(present)
    try:
        keys = dict(new.execute("SELECT key, value FROM town ORDER BY key").fetchall())
        database.check_identity(old, _text(keys["id"]))
        database.begin(old)
        for key in ("tick_no", "tick_id", "last_tick_at"):
            old.execute("UPDATE town SET value = :value WHERE key = :key", {"key": key, "value": keys[key]})
        for key in ("next_seq", "next_audit_seq"):
            old.execute(
                "UPDATE town SET value = MAX(CAST(value AS INTEGER), :value) WHERE key = :key",
                {"key": key, "value": int(keys[key])},
            )
        _set(old, "next_due_at", to_text(now))
        _set(old, "settling_until", to_text(now + limits.SETTLE_FOR))
        unused = max(_newest_generation(old), _newest_generation(new)) + 1
        old.execute("UPDATE agent_metadata SET generation = :unused", {"unused": unused})
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
    row = sql.execute("SELECT value FROM town WHERE key = 'tick_no'").fetchone()
    return 0 if row is None else int(row[0])


def _newest_generation(sql: database.Database) -> int:
    """The greatest generation that any agent of this image ever had, including deleted agents whose effects are retained."""
    found: int = sql.execute(
        "SELECT MAX((SELECT COALESCE(MAX(generation), 0) FROM agent_metadata), "
        "(SELECT COALESCE(MAX(generation), 0) FROM outbox WHERE kind IN ('dispatch_agent', 'stop_agent')))"
    ).fetchone()[0]
    return found


def _set(sql: database.Database, key: str, value: str) -> None:
    sql.execute(
        "INSERT INTO town (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        {"key": key, "value": canonical.dumps(value)},
    )


def _text(stored: str) -> str:
    return stored.strip('"')


def renamed(image: bytes, town_id: str) -> bytes:
    """The same town under another id. Raises SchemaMismatch if the image is not a town."""
    with database.opened(image) as sql:
        stored = dict(sql.execute("SELECT key, value FROM town WHERE key = 'id'").fetchall()) if _is_town(sql) else {}
        database.check_identity(sql, _text(stored.get("id", canonical.dumps(town_id))))
        database.begin(sql)
        _set(sql, "id", town_id)
        database.commit(sql)
        return database.image_of(sql)


def _is_town(sql: database.Database) -> bool:
    return sql.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'town'").fetchone() is not None

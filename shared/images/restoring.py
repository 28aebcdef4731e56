"""Turns an old image into the next commit: the rows of the past with the counters of the present.

Tick numbers continue from the present, so the restore is a new point in history and can be undone itself: it takes the next
number and gets a row in the journal. Time does not continue: it is the present time, even if the town was ahead of it. Every
agent gets a generation that was never used, so reports from agents that are still running are stale. Effects that were
unfinished in the old image expire, so nothing is called a second time. A town that is paused by the brake stays paused.
"""

from typing import Final

from shared.domain import limits
from shared.domain.restores import InPlaceRestore, remembered
from shared.domain.tick import Observations, TickInput, config_digest
from shared.domain.times import to_text
from shared.town import database, journal, migrations
from shared.town.town_keys import TownKeys

CODE: Final = "restore"
"""Stands in the journal row of a restore where that of a tick names its code."""


def carried_over(restored: bytes, present: bytes, restore: InPlaceRestore, *, tick_id: str, previous: str) -> bytes:
    """The image to commit, in the newest schema: the rows of `restored` with the counters of `present`.

    `previous` is the image digest of the commit that is replaced. If ticks are lost with the newest commit, the numbers that
    they may have used are skipped, so that no number or generation is used twice. Raises WrongTown, SchemaMismatch.
    """
    now = restore.at
    old, new = database.open_image(restored), database.open_image(present)
    try:
        then, today = TownKeys(old), TownKeys(new)
        database.check_identity(old, today.id)
        database.begin(old)
        migrations.apply_pending(old)
        then.tick_no, then.tick_id, then.last_tick_at = restore.tick, tick_id, now
        then.restores = remembered((*then.restores, *today.restores), restore)
        then.next_seq = max(then.next_seq, today.next_seq)
        then.next_audit_seq = max(then.next_audit_seq, today.next_audit_seq)
        then.next_due_at, then.settling_until = now, now + limits.SETTLE_FOR
        if today.brake is not None:  # whoever pulled the brake is not overruled by a look at the past
            then.paused, then.brake = True, today.brake
        unused = max(_newest_generation(old), _newest_generation(new)) + restore.tick - restore.last_tick
        old.execute(  # no process has this generation, so none needs to be stopped
            "UPDATE agent_metadata SET generation = :unused, ended_generation = :unused", {"unused": unused}
        )
        old.execute(
            "UPDATE outbox SET state = 'expired', claim = NULL, claimed_until = NULL, not_before = NULL, "
            "finished_at = :now WHERE state IN ('pending', 'claimed')",
            {"now": to_text(now)},
        )
        old.execute("DELETE FROM ticks")
        journal.record_restore(
            old,
            TickInput(
                tick_no=restore.tick,
                tick_id=tick_id,
                now=now,
                code_version=CODE,
                sqlite_version=database.SQLITE_VERSION,
                config_digest=config_digest(then.config),
                prev_image_digest=previous,
                observations=Observations(asked=False),
            ),
            restore,
        )
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
    """The same town under another id, without its archive, which stays where it is. Raises SchemaMismatch if it is not a town."""
    with database.opened(image) as sql:
        database.check_identity(sql, (TownKeys(sql).id if _is_town(sql) else "") or town_id)
        database.begin(sql)
        TownKeys(sql).id = town_id
        if TownKeys(sql).archive_index:
            TownKeys(sql).archive_index = 0
        database.commit(sql)
        return database.image_of(sql)


def _is_town(sql: database.Database) -> bool:
    return sql.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'town'").fetchone() is not None

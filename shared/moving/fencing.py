"""Cuts a town that comes from another installation off from it, so that there are not two living copies of one town."""

import sqlite3
from datetime import datetime

from shared.domain.times import to_text
from shared.moving.imported_keys import OF_THE_OLD_PLACE
from shared.town import database, migrations
from shared.town.town_keys import TownKeys


def cut_off_the_old_installation(sql: sqlite3.Connection, now: datetime) -> None:
    """Expire the effects of the old installation, and fence off the processes that it started."""
    sql.execute(
        "UPDATE agent_metadata SET generation = 1 + MAX(generation, (SELECT COALESCE(MAX(o.generation), 0) FROM outbox o "
        "WHERE o.kind IN ('dispatch_agent', 'stop_agent') AND o.subject = agent_metadata.bead_id))"
    )
    sql.execute(
        "UPDATE agent_metadata SET ended_generation = generation"
    )  # no process has it, so none needs to be stopped
    sql.execute(
        "UPDATE outbox SET state = 'expired', claim = NULL, claimed_until = NULL, not_before = NULL, finished_at = :now "
        "WHERE state IN ('pending', 'claimed')",
        {"now": to_text(now)},
    )


def taken_over(image: bytes, town_id: str, *, now: datetime) -> bytes:
    """A whole image of another installation as the first image of a new, paused town, in the newest schema.

    It keeps its rows and counters, and loses its journal, whose ticks belong to the old town. A town that has not run since it was
    imported has started nothing, so its effects and generations are kept, as in an import. Raises SchemaMismatch if the image is
    not a town.
    """
    with database.opened(image) as sql:
        database.begin(sql)
        migrations.apply_pending(sql)
        keys = TownKeys(sql)
        has_run = not keys.paused or keys.brake is not None
        for key in OF_THE_OLD_PLACE:
            keys.store(key, None)
        keys.id, keys.paused, keys.next_due_at = town_id, True, now
        if has_run:
            cut_off_the_old_installation(sql, now)
        sql.execute("DELETE FROM ticks")
        database.commit(sql)
        return database.image_of(sql)

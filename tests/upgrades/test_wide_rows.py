"""Schema 5 copies the tables whose rows can be wide, in the tick that migrates a town, and every row is as before."""

import sqlite3
from typing import Any

import pytest

from shared.images import dump
from shared.town import database, migrations, schemas
from tests.properties.starts import begin
from tests.upgrades.older import as_of_the_first_release

BEFORE = tuple(each for each in migrations.MIGRATIONS if each.version <= 4)


def in_schema_four(image: bytes) -> bytes:
    with database.opened(as_of_the_first_release(image)) as sql:
        database.begin(sql)
        migrations.apply_pending(sql, migrations=BEFORE)
        database.commit(sql)
        return database.image_of(sql)


def migrated(image: bytes) -> bytes:
    with database.opened(image) as sql:
        database.begin(sql)
        assert migrations.apply_pending(sql) == ("0005_wide_rows", "0006_known_events")
        database.commit(sql)
        return database.image_of(sql)


def rows_of(image: bytes, columns: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """The rows of every table, without the number of the schema."""
    with database.opened(image) as sql:
        found: dict[str, Any] = {table: dump.by_key(sql, table, shown) for table, shown in columns.items()}
    del found["town"]["schema_version"]
    return found


def columns_of(image: bytes) -> dict[str, tuple[str, ...]]:
    with database.opened(image) as sql:
        found = {table: dump.columns_in(sql, table) for table in dump.CAUSES_FIRST}
    return {table: columns for table, columns in found.items() if columns}


@pytest.mark.parametrize("start", ["busy", "landing", "pull requests", "stalled"])
def test_every_row_of_every_table_is_as_before(start: str) -> None:
    life = begin(start)
    old = in_schema_four(life.town.image())
    life.close()
    new = migrated(old)
    assert rows_of(new, columns_of(old)) == rows_of(old, columns_of(old))
    assert migrated_again(new) == ()
    with database.opened(new) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def migrated_again(image: bytes) -> tuple[str, ...]:
    with database.opened(image) as sql:
        return migrations.pending(sql)


def test_a_row_that_refers_to_nothing_is_kept_and_references_are_checked_again_afterwards() -> None:
    life = begin("busy")
    sql = sqlite3.connect(":memory:", isolation_level=None)
    sql.deserialize(in_schema_four(life.town.image()))
    life.close()
    sql.execute("INSERT INTO review_metadata (bead_id, branch) VALUES ('gone', 'x')")
    sql.execute("UPDATE agent_metadata SET current_hook_bead_id = 'gone too' WHERE role = 'mayor'")
    old = sql.serialize()
    sql.close()
    new = migrated(old)
    assert rows_of(new, columns_of(old)) == rows_of(old, columns_of(old))
    with database.opened(new) as town, pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        town.execute("UPDATE beads SET parent_bead_id = 'nobody' WHERE bead_id = (SELECT MIN(bead_id) FROM beads)")


def test_a_bead_and_an_order_of_two_kilobytes_share_their_page_with_others() -> None:
    """WITHOUT ROWID, each of these rows had pages of its own: two pages for each."""

    def pages(image: bytes) -> int:
        sql = sqlite3.connect(":memory:", isolation_level=None)
        sql.deserialize(image)
        sql.execute("PRAGMA foreign_keys = OFF")
        empty: int = sql.execute("PRAGMA page_count").fetchone()[0]
        for number in range(200):
            sql.execute(
                "INSERT INTO beads (bead_id, type, title, body, created_at, updated_at) VALUES (?, 'issue', 't', ?, 'now', 'now')",
                (f"{number:032x}", "x" * 1200),
            )
            sql.execute(
                "INSERT INTO outbox (effect_id, seq, kind, subject, generation, payload, deadline, created_at) "
                "VALUES (?, ?, 'dispatch_agent', 'p', ?, ?, 'later', 'now')",
                (f"{number:064x}", 1000 + number, number, "x" * 1200),
            )
        full: int = sql.execute("PRAGMA page_count").fetchone()[0]
        sql.close()
        return full - empty

    old = in_schema_four(database.new_image())
    assert pages(migrated(old)) < 0.7 * pages(old)


def test_the_schema_before_is_still_known() -> None:
    assert schemas.OLDEST <= 4 < schemas.NEWEST
    with database.opened(in_schema_four(database.new_image())) as sql:
        assert database.schema_version(sql) == 4

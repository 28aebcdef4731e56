"""What an open town allows, and what it refuses."""

import sqlite3

import pytest

from shared.domain.errors import SchemaMismatch, WrongTown
from shared.town import database
from tests.towns import a_town, ago


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT random()",
        "SELECT randomblob(4)",
        "SELECT datetime('2026-01-01')",
        "SELECT date('2026-01-01')",
        "SELECT strftime('%s', '2026-01-01')",
        "SELECT julianday('2026-01-01')",
        "SELECT unixepoch('2026-01-01')",
        "SELECT CURRENT_TIMESTAMP",
        "ATTACH ':memory:' AS other",
        "ANALYZE",
        "REINDEX",
        "PRAGMA optimize",
        "PRAGMA journal_mode = WAL",
    ],
)
def test_clocks_dice_and_foreign_files_are_refused(statement: str) -> None:
    town = a_town()
    with pytest.raises(sqlite3.DatabaseError, match=r"authorized|prohibited"):
        town.sql.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE beads SET status = 'failed'",
        "INSERT INTO town (key, value) VALUES ('k', '1')",
        "DELETE FROM beads",
        "CREATE TABLE t (a)",
        "DROP TABLE beads",
        "ALTER TABLE beads ADD COLUMN x",
    ],
)
def test_rules_can_read_and_nothing_else(statement: str) -> None:
    town = a_town().bead("b1")
    with database.rules_sandbox(town.sql) as undo_writes:
        assert town.status("b1") == "open"
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            town.sql.execute(statement)
        assert undo_writes() is False
    town.sql.execute("UPDATE beads SET title = 'written' WHERE bead_id = 'b1'")
    assert town.one("beads", "b1", "title") == "written"


def test_what_a_rule_writes_by_a_statement_prepared_before_is_undone_and_told() -> None:
    town = a_town().bead("b1")
    statement = "UPDATE beads SET title = :title WHERE bead_id = 'b1'"
    town.sql.execute(statement, {"title": "before"})
    with database.rules_sandbox(town.sql) as undo_writes:
        town.sql.execute(statement, {"title": "smuggled"})
        assert undo_writes() is True
        assert undo_writes() is False
    assert town.one("beads", "b1", "title") == "before"


def test_a_savepoint_undoes_everything_written_inside_when_its_body_raises() -> None:
    town = a_town().bead("b1")

    def write_and_fail() -> None:
        with database.savepoint(town.sql):
            town.sql.execute("UPDATE beads SET title = 'lost' WHERE bead_id = 'b1'")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_and_fail()
    assert town.one("beads", "b1", "title") == "b1"


def test_an_image_opens_to_the_rows_it_was_made_of_and_gives_the_same_bytes() -> None:
    image = a_town().bead("b1").image()
    again = database.open_image(image)
    assert database.image_of(again) == image
    database.close(again)


def test_a_private_copy_does_not_change_the_image_it_came_from() -> None:
    image = a_town().bead("b1").image()
    copy = database.open_image(image)
    copy.execute("DELETE FROM beads WHERE bead_id = 'b1'")
    other = database.open_image(image)
    assert other.execute("SELECT COUNT(*) FROM beads WHERE bead_id = 'b1'").fetchone() == (1,)
    database.close(copy)
    database.close(other)


def test_what_is_no_database_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="not a readable SQLite database"):
        database.open_image(b"not a database" * 400)


def test_another_towns_image_is_refused() -> None:
    town = a_town("t2")
    with pytest.raises(WrongTown, match="loaded for town t1 belongs to"):
        database.check_identity(town.sql, "t1")


def test_a_database_that_is_no_town_is_refused() -> None:
    stranger = sqlite3.connect(":memory:", isolation_level=None)
    stranger.execute("CREATE TABLE x (y)")
    with pytest.raises(SchemaMismatch, match="not a town"):
        database.check_identity(stranger, "t1")
    stranger.close()


@pytest.mark.parametrize(
    ("version", "word"), [(0, "no release has written"), (database.SCHEMA_VERSION + 1, "this code knows")]
)
def test_an_older_or_newer_schema_is_refused(version: int, word: str) -> None:
    town = a_town()
    town.sql.set_authorizer(None)
    town.sql.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(SchemaMismatch, match=word):
        database.check_identity(town.sql, "t1")


def test_two_agents_on_one_bead_cannot_be_stored() -> None:
    town = a_town().bead("b1").agent("p1", hook="b1")
    with pytest.raises(sqlite3.IntegrityError):
        town.agent("p2", hook="b1", created_at=ago(hours=1))


def test_a_bead_never_waits_for_itself() -> None:
    town = a_town().bead("b1")
    with pytest.raises(sqlite3.IntegrityError):
        town.sql.execute("INSERT INTO bead_dependencies (bead_id, depends_on_bead_id) VALUES ('b1', 'b1')")


WIDE = {"agent_metadata", "agent_nudges", "bead_events", "beads", "outbox", "ticks", "town_events"}
IN_ORDER_OF_NUMBERS = {"known_events"}


def test_every_table_is_strict_and_those_with_wide_rows_are_rowid_tables() -> None:
    tables = a_town().rows("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
    assert len(tables) == 17
    for name, sql in tables:
        assert "STRICT" in sql, name
        assert ("WITHOUT ROWID" in sql) == (name not in WIDE | IN_ORDER_OF_NUMBERS), name

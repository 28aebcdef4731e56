"""Schema changes are applied with their record, or not at all."""

from pathlib import Path

import pytest

from shared.town import database, migrations
from shared.town.migrations import Migration
from tests.towns import TownBuilder, a_town

NEXT = database.SCHEMA_VERSION + 1
ADD_COLUMN = Migration(NEXT, "next_beads_get_a_colour", ("ALTER TABLE beads ADD COLUMN colour TEXT",))
BROKEN = Migration(NEXT + 1, "next_broken", ("CREATE TABLE half (x TEXT) STRICT", "CREATE NONSENSE"))


def _versions(town: TownBuilder) -> tuple[int, object]:
    return database.schema_version(town.sql), town.value("schema_version")


def test_a_migration_and_its_record_stand_together() -> None:
    town = a_town().bead("b1")
    database.begin(town.sql)
    assert migrations.apply_pending(town.sql, migrations=(ADD_COLUMN,)) == ("next_beads_get_a_colour",)
    database.commit(town.sql)
    assert _versions(town) == (NEXT, NEXT)
    assert town.one("beads", "b1", "colour") is None


def test_a_migration_that_fails_leaves_the_schema_and_its_record_as_they_were() -> None:
    town = a_town()
    database.begin(town.sql)
    with pytest.raises(Exception, match="NONSENSE"):
        migrations.apply_pending(town.sql, migrations=(ADD_COLUMN, BROKEN))
    database.rollback(town.sql)
    assert _versions(town) == (NEXT - 1, NEXT - 1)
    assert town.rows("SELECT 1 FROM sqlite_master WHERE name = 'half'") == []


def test_an_applied_migration_is_not_applied_again() -> None:
    town = a_town()
    migrations.apply_pending(town.sql, migrations=(ADD_COLUMN,))
    assert migrations.apply_pending(town.sql, migrations=(ADD_COLUMN,)) == ()


def test_migrations_are_read_from_numbered_files_statement_by_statement(tmp_path: Path) -> None:
    (tmp_path / "0002_two.sql").write_text("CREATE TABLE a (x TEXT);\n-- why\nCREATE INDEX b\n    ON a (x);\n")
    (read,) = migrations.read_migrations(tmp_path)
    assert (read.version, read.name) == (2, "0002_two")
    assert read.statements == ("CREATE TABLE a (x TEXT);", "-- why\nCREATE INDEX b\n    ON a (x);")


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0003_three.sql").write_text("SELECT 1;")
    with pytest.raises(ValueError, match="without gaps"):
        migrations.read_migrations(tmp_path)


def test_the_newest_migration_is_the_version_that_a_new_town_has() -> None:
    assert 1 + len(migrations.MIGRATIONS) == database.SCHEMA_VERSION

"""Schema changes: numbered SQL files. Each is applied inside the tick's transaction, together with its version number.

`0002_what_it_does.sql` migrates version 1 to version 2. schema.sql always describes the newest version, so new towns are
never migrated. A change takes two releases: first the code that works with both schemas, then the change itself. Only 0002 took
one (docs/runbook/roll-back.md says what that means for a rollback).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.domain.images import Content
from shared.town import database


@dataclass(frozen=True, slots=True)
class Migration:
    """The migration to `version`."""

    version: int
    name: str
    statements: tuple[str, ...]


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """The migrations in a folder, in order. Raises ValueError if a number is missing or occurs twice."""
    found = [
        Migration(int(path.stem.split("_")[0]), path.stem, _statements(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob("[0-9]*.sql"))
    ]
    versions = [migration.version for migration in found]
    if versions != list(range(2, 2 + len(versions))):
        raise ValueError(f"migrations must be numbered 2, 3, 4 ... without gaps: {versions}")
    return tuple(found)


def _statements(script: str) -> tuple[str, ...]:
    """The statements of a script, one by one, because `executescript` would end the transaction."""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    return (*statements, pending.strip()) if pending.strip() else tuple(statements)


MIGRATIONS: Final = read_migrations(Path(__file__).parent)


def apply_pending(sql: sqlite3.Connection, *, migrations: tuple[Migration, ...] = MIGRATIONS) -> tuple[str, ...]:
    """Migrate the open image to the newest schema, in the current transaction; returns the names of applied migrations."""
    version = database.schema_version(sql)
    applied = []
    for migration in migrations:
        if migration.version > version:
            with database.migrating(sql):
                for statement in migration.statements:
                    sql.execute(statement)
            database.set_schema_version(sql, migration.version)
            applied.append(migration.name)
    return tuple(applied)


@contextmanager
def newest_schema(sql: database.Database) -> Iterator[None]:
    """Within the block, an open town has the newest schema, for readers. Afterwards its bytes are as before.

    No transaction may be open, and the block may not begin one.
    """
    if database.schema_version(sql) == database.SCHEMA_VERSION:
        yield
        return
    database.begin(sql)
    try:
        apply_pending(sql)
        yield
    finally:
        database.rollback(sql)


@contextmanager
def readable(image: Content) -> Iterator[database.Database]:
    """A private copy of an image in the newest schema, for readers. Nothing that is written to it is kept."""
    with database.opened(image) as sql, newest_schema(sql):
        yield sql


def pending(sql: sqlite3.Connection, *, migrations: tuple[Migration, ...] = MIGRATIONS) -> tuple[str, ...]:
    """The names of the migrations that `apply_pending` would apply."""
    version = database.schema_version(sql)
    return tuple(migration.name for migration in migrations if migration.version > version)

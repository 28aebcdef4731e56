"""Small real SQLite images for storage tests: a list of operations, each of which happened once."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta

from shared.ports.town_store import CommitFacts

NOON = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)


def an_image(operations: Iterable[str] = (), *, page_size: int = 512) -> bytes:
    """A database that remembers these operations."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"PRAGMA page_size = {page_size}")
        database.execute("CREATE TABLE operations (name TEXT NOT NULL)")
        database.executemany("INSERT INTO operations VALUES (?)", ((name,) for name in operations))
        database.commit()
        return database.serialize()


def operations_in(image: bytes) -> list[str]:
    """The operations that an image remembers, in the order they were made."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(image)
        return [name for (name,) in database.execute("SELECT name FROM operations ORDER BY rowid")]


def facts(commit_id: str, *, tick_no: int = 0, next_due: datetime | None = None) -> CommitFacts:
    """What a commit says besides its image, with a time that follows from the tick number."""
    return CommitFacts(
        commit_id=commit_id,
        tick_no=tick_no,
        time=NOON + timedelta(seconds=5 * tick_no),
        next_due=next_due,
        schema_version=1,
    )

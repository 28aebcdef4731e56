"""The wall before an image: only a schema that a release wrote is opened, object by object and letter by letter.

An image may come from elsewhere: in a recording, in a replica, or through somebody who can write to the bucket. SQLite runs what a
schema says: triggers, views, virtual tables, generated columns, the expressions of checks and indexes. So the texts of all objects
are compared with those of `schema.sql` and of the files in `former`, as they are or migrated from an older one.
"""

import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from shared.domain.errors import SchemaMismatch
from shared.town.no_room import require_room

NEWEST: Final = 6
OLDEST: Final = 1
APPLICATION_ID: Final = 0x47545231  # "GTR1"
_HERE: Final = Path(__file__).parent
UNREADABLE: Final = (sqlite3.Error, OverflowError, UnicodeDecodeError)
"""The errors of reading. Even SQLite's own message about a damaged file may fail to decode."""
_LONGEST_STATEMENT: Final = 16 << 10
_INSTRUCTIONS: Final = 1000
_ROUNDS: Final = 20
"""Enough for about 1,500 objects; a release has 50."""
_OBJECTS: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
_NAMED: Final = 5

Objects = frozenset[tuple[str, str, str, str | None]]
"""The rows of `sqlite_schema` without the places of their pages."""


_OF_LITESTREAM: Final[Objects] = frozenset(
    ("table", name, name, f"CREATE TABLE {name} ({columns})")
    for name, columns in (
        ("_litestream_seq", "id INTEGER PRIMARY KEY, seq INTEGER"),
        ("_litestream_lock", "id INTEGER"),
    )
)
"""The two tables that Litestream adds to each database that it replicates: a town that was adopted from a replica keeps them."""


def create(connection: sqlite3.Connection) -> None:
    """Create the newest schema in an empty database, and mark the database as a town."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {NEWEST}")
    _run(connection, _HERE / "schema.sql", _HERE / "views.sql")


def open_within_walls(connection: sqlite3.Connection, content: bytes | None) -> None:
    """Load the bytes of an image, if any are given, and read its schema, which must be one that a release wrote.

    From then on the schema runs no trigger of its own and no function with side effects, and nobody can edit it.
    Raises SchemaMismatch if it is another one or cannot be read, and NoRoomLeft.
    """
    harden(connection)
    try:
        if content is not None:
            connection.deserialize(content)
        with reading_schema(connection):
            objects: Objects = frozenset(connection.execute(_OBJECTS).fetchall())
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except UNREADABLE as error:
        if content is None:  # a file, whose disk may be full
            require_room(error)
        raise SchemaMismatch(
            "the image is not a readable SQLite database", hint="restore an earlier commit of this town"
        ) from error
    _require_known(objects, application, version)


@contextmanager
def reading_schema(connection: sqlite3.Connection) -> Iterator[None]:
    """For the first statement on an untrusted database, with which SQLite reads the schema: limits its length and its objects."""
    longest = connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _LONGEST_STATEMENT)
    rounds = iter(range(_ROUNDS))
    connection.set_progress_handler(lambda: next(rounds, None) is None, _INSTRUCTIONS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, longest)


def unsound(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the pages and indexes of an open image, or that the look took too long; None if all is well.

    The rows may hold what a check refuses, because a recording masks texts. The connection has no authorizer afterwards.
    """
    connection.set_authorizer(None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    rounds = iter(range(_ROUNDS * (pages + 1)))
    connection.set_progress_handler(lambda: next(rounds, None) is None, _INSTRUCTIONS)
    try:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except UNREADABLE as error:
        return str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return None if found == "ok" else str(found)


def harden(connection: sqlite3.Connection) -> None:
    """Let the schema of the database do nothing of its own, as far as this SQLite and this Python can.

    The comparison of the texts, or an authorizer, is the wall; this is a second one. Python before 3.12 has no `setconfig`.
    """
    connection.execute("PRAGMA cell_size_check = ON")
    if _can_distrust():
        connection.execute("PRAGMA trusted_schema = OFF")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)  # temporary triggers still run


@cache
def _can_distrust() -> bool:
    """Whether our own schema can be read with `trusted_schema` off: SQLite 3.38 to 3.40 take json_valid() for unsafe."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("CREATE TABLE probe (value TEXT CHECK (json_valid(value)))")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def require_version(application: int, version: int, *, of: str) -> None:
    """Check application id and schema version `of` an image. Raises SchemaMismatch if this code knows no such town."""
    if application != APPLICATION_ID:
        raise SchemaMismatch(
            f"{of} is a SQLite database but not a town", hint="check which file or object replaced the image"
        )
    if version > NEWEST:
        raise SchemaMismatch(
            f"{of} has schema {version}; this code knows schemas up to {NEWEST}",
            hint="run a newer release; nothing was changed",
        )
    if version < OLDEST:
        raise SchemaMismatch(
            f"{of} has schema {version}, which no release has written",
            hint="restore an earlier commit of this town",
        )


def _require_known(objects: Objects, application: int, version: int) -> None:
    require_version(application, version, of="the image")
    objects = objects - _OF_LITESTREAM
    if (version == NEWEST and objects == _newest()) or objects in _known(version):
        return
    nearest = min(_known(version), key=lambda known: len(known ^ objects))
    odd = sorted({(kind, name) for kind, name, _, _ in objects ^ nearest})
    named = ", ".join(f"{kind} {name}"[:100] for kind, name in odd[:_NAMED])
    raise SchemaMismatch(
        f"the image does not have the schema of a release: {named}" + (", ..." if len(odd) > _NAMED else ""),
        hint="open only images that the reconciler wrote; `townctl import` reads the rows of other SQLite files",
    )


@cache
def _newest() -> Objects:
    return _objects_of((_HERE / "schema.sql", _HERE / "views.sql"))


@cache
def _known(version: int) -> tuple[Objects, ...]:
    """The schemas that releases have written as this version: made new, or migrated from each older one."""
    migrations = {int(path.stem.split("_")[0]): path for path in (_HERE / "migrations").glob("[0-9]*.sql")}
    fresh: dict[int, tuple[Path, ...]] = {int(path.stem): (path,) for path in (_HERE / "former").glob("[0-9]*.sql")}
    fresh[NEWEST] = (_HERE / "schema.sql", _HERE / "views.sql")
    return tuple(
        _objects_of((*fresh[start], *(migrations[step] for step in range(start + 1, version + 1))))
        for start in range(OLDEST, version + 1)
    )


def _objects_of(scripts: Iterable[Path]) -> Objects:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        _run(connection, *scripts)
        return frozenset(connection.execute(_OBJECTS).fetchall())
    finally:
        connection.close()


def _run(connection: sqlite3.Connection, *scripts: Path) -> None:
    for script in scripts:
        connection.executescript(script.read_text(encoding="utf-8"))

"""A town's database as a connection: opening an image, reading the changed image, savepoints, the sandbox of the rules.

The database is in memory, or in a private file if it is large (`large_images`), and uses a rollback journal. Its bytes are
the same either way: a pure function of the initial image and the statements, for one SQLite version. An authorizer refuses
VACUUM, ANALYZE, ATTACH and every function that reads a clock or a random source, as long as the connection is open.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from shared.domain.errors import DamagedImage, NoRoomLeft, SchemaMismatch, WrongTown
from shared.domain.images import Content
from shared.town import schemas
from shared.town.large_images import FollowedConnection, LargeImage
from shared.town.no_room import require_room

SCHEMA_VERSION: Final = schemas.NEWEST
PAGE_SIZE: Final = 4096
SQLITE_VERSION: Final = sqlite3.sqlite_version

Database = sqlite3.Connection
"""An open town. Other packages only pass it on; `shared.town` runs statements on it."""


class _Authorizer:
    """Decides which statements a connection may prepare: none that write while `reading_only`, and none that build indexes
    or put off the check of references unless `migrating`.
    """

    __slots__ = ("migrating", "reading_only")

    def __init__(self) -> None:
        self.reading_only = False
        self.migrating = False

    def __call__(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        if action in _READS:  # most of the questions; so they are answered first
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and second is not None and second.lower() in _FORBIDDEN_FUNCTIONS:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_PRAGMA and not self._is_allowed(pragma=(first or "").lower()):
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_REINDEX and not self.migrating:
            return sqlite3.SQLITE_DENY
        if action in _FORBIDDEN_ACTIONS or (self.reading_only and action in _WRITES):
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    def _is_allowed(self, *, pragma: str) -> bool:
        return pragma in _READABLE_PRAGMAS or (self.migrating and pragma == "defer_foreign_keys")


class _AuthorizedConnection(sqlite3.Connection):
    """A connection with its authorizer."""

    authorizer: _Authorizer | None = None


class _AuthorizedFile(_AuthorizedConnection, FollowedConnection):
    """A connection to the file of a large image, with its authorizer."""


_FORBIDDEN_FUNCTIONS: Final = frozenset(
    {
        "random",
        "randomblob",
        "date",
        "time",
        "datetime",
        "julianday",
        "unixepoch",
        "strftime",
        "current_timestamp",
        "current_date",
        "current_time",
        "load_extension",
        "changes",
        "total_changes",
        "last_insert_rowid",
    }
)
_READS: Final = frozenset({sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT})
_FORBIDDEN_ACTIONS: Final = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_ANALYZE})
_WRITES: Final = frozenset(
    code
    for name, code in vars(sqlite3).items()
    if name.startswith(("SQLITE_CREATE_", "SQLITE_DROP_"))
    or name in ("SQLITE_INSERT", "SQLITE_UPDATE", "SQLITE_DELETE", "SQLITE_ALTER_TABLE")
)
_READABLE_PRAGMAS: Final = frozenset(
    {"foreign_keys", "user_version", "application_id", "integrity_check", "page_count"}
)


def open_image(image: Content) -> sqlite3.Connection:
    """Open a private in-memory copy of `image`. A LargeImage is opened in place and must be closed before it is opened again.

    Raises SchemaMismatch if the image is not a town with the schema of a release (`schemas`), and NoRoomLeft.
    """
    connection = _connect_to(image) if isinstance(image, LargeImage) else _connect()
    try:
        schemas.open_within_walls(connection, _bytes_of(image))
    except (SchemaMismatch, NoRoomLeft, MemoryError) as error:
        connection.close()
        require_room(error)
        raise
    _settle(connection)
    return connection


def require_sound(image: bytes) -> None:
    """Check every page of an image from elsewhere, because reading a damaged one may take long or find rows that are none.

    Raises SchemaMismatch as `open_image`, and DamagedImage.
    """
    with opened(image) as connection:
        problem = schemas.unsound(connection)
    if problem is not None:
        raise DamagedImage(f"the image is damaged: {problem}", hint="copy it again from where it was made")


@contextmanager
def opened(image: Content) -> Iterator[sqlite3.Connection]:
    """`open_image` for the duration of a block."""
    connection = open_image(image)
    try:
        yield connection
    finally:
        close(connection)


def new_image() -> bytes:
    """The image of an empty database with our schema."""
    connection = _connect()
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    schemas.create(connection)
    image = connection.serialize()
    connection.close()
    return image


def image_of(connection: sqlite3.Connection) -> bytes:
    """The bytes of the database. No transaction may be open."""
    return connection.serialize()


def content_of(connection: sqlite3.Connection) -> Content:
    """The image after its transactions: bytes, or the successor of a LargeImage."""
    return connection.outcome() if isinstance(connection, FollowedConnection) else connection.serialize()


def shows_again(connection: sqlite3.Connection, image: Content) -> bool:
    """Whether a connection that was kept open has the rows of `image`; if that is a LargeImage, its file shows it again."""
    if isinstance(connection, FollowedConnection):
        return isinstance(image, LargeImage) and connection.shows_again(image)
    return isinstance(image, bytes)


def close(connection: sqlite3.Connection) -> None:
    """Close the connection. This undoes an open transaction and all changes to a LargeImage since the last `content_of`."""
    if isinstance(connection, FollowedConnection):
        connection.take_back()
    else:
        connection.close()


def schema_version(connection: sqlite3.Connection) -> int:
    """The `user_version` of the image."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def set_schema_version(connection: sqlite3.Connection, version: int) -> None:
    """Store a schema version in the header and in the town keys, in the current transaction."""
    connection.execute(f"PRAGMA user_version = {int(version)}")
    connection.execute("UPDATE town SET value = :version WHERE key = 'schema_version'", {"version": str(int(version))})


def check_identity(connection: sqlite3.Connection, town_id: str) -> None:
    """Check that the image is this town. Raises SchemaMismatch if it is not a town, WrongTown if it is another one."""
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    schemas.require_version(application, schema_version(connection), of=f"the image of town {town_id}")
    row = connection.execute("SELECT value FROM town WHERE key = 'id'").fetchone()
    if row is None or row[0] != f'"{town_id}"':
        raise WrongTown(
            f"the image loaded for town {town_id} belongs to {row[0] if row else 'no town'}",
            hint="check how this object got its key or path",
        )


@contextmanager
def savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """Roll back everything written in the block if it raises. Raises NoRoomLeft, which ends the transaction."""
    connection.execute("SAVEPOINT step")
    try:
        yield
    except BaseException as error:
        require_room(error)  # SQLite may have rolled back the whole transaction
        connection.execute("ROLLBACK TO step")
        connection.execute("RELEASE step")
        raise
    connection.execute("RELEASE step")


@contextmanager
def rules_sandbox(connection: sqlite3.Connection) -> Iterator[Callable[[], bool]]:
    """Within the block SQLite refuses to prepare statements that write. A statement that was prepared earlier can still
    write. So this yields a function that rolls back such writes and returns whether there were any; call it after each rule.

    `PRAGMA query_only` would work too, but with it SQLite prepares every statement again, twice per tick, which takes a
    quarter of a tick's time.
    """
    authorizer = connection.authorizer if isinstance(connection, _AuthorizedConnection) else None
    connection.execute("SAVEPOINT rules")
    written = connection.total_changes

    def undo_writes() -> bool:
        nonlocal written
        if connection.total_changes == written:
            return False
        connection.execute("ROLLBACK TO rules")
        written = connection.total_changes
        return True

    if authorizer is not None:
        authorizer.reading_only = True
    try:
        yield undo_writes
    finally:
        if authorizer is not None:
            authorizer.reading_only = False
        connection.execute("RELEASE rules")


@contextmanager
def migrating(connection: sqlite3.Connection) -> Iterator[None]:
    """Within the block, allow statements that build indexes or put off the check of references, which only migrations need."""
    authorizer = connection.authorizer if isinstance(connection, _AuthorizedConnection) else None
    if authorizer is not None:
        authorizer.migrating = True
    try:
        yield
    finally:
        if authorizer is not None:
            authorizer.migrating = False


def begin(connection: sqlite3.Connection) -> None:
    """Begin the one transaction of a tick."""
    connection.execute("BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection) -> None:
    """Commit the transaction; the image now contains its changes."""
    if isinstance(connection, FollowedConnection):
        connection.commit_followed()
    else:
        connection.execute("COMMIT")


def rollback(connection: sqlite3.Connection) -> None:
    """Roll the transaction back, if one is open."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def changes(connection: sqlite3.Connection) -> int:
    """How many rows this connection has changed so far. Two equal readings mean that nothing was written in between."""
    return connection.total_changes


def _bytes_of(image: Content) -> bytes | None:
    """The bytes to load; None for a LargeImage, whose file is the database."""
    if isinstance(image, LargeImage):
        return None
    return image if isinstance(image, bytes) else image.whole()


def _connect() -> sqlite3.Connection:
    return sqlite3.connect(
        ":memory:", isolation_level=None, cached_statements=256, check_same_thread=False, factory=_AuthorizedConnection
    )


def _connect_to(image: LargeImage) -> sqlite3.Connection:
    image.file.show(image.version)
    connection = _AuthorizedFile(
        str(image.file.path()), isolation_level=None, cached_statements=256, check_same_thread=False
    )
    try:
        connection.follow(image)
    except sqlite3.Error as error:
        connection.close()
        require_room(error)
        raise
    return connection


def _settle(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA cache_spill = OFF")  # else the size of the cache would decide when pages are written
    connection.execute("PRAGMA foreign_keys = ON")
    restrict(connection)


def restrict(connection: sqlite3.Connection) -> None:
    """From now on, refuse clocks, random sources, ATTACH, ANALYZE and all but a few pragmas on this connection."""
    authorizer = _Authorizer()
    if isinstance(connection, _AuthorizedConnection):
        connection.authorizer = authorizer
    connection.set_authorizer(authorizer)

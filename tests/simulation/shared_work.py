"""What each process of a world would work out for itself, and what is worked out once for all of them.

Most of the time of a look at a small image goes into compiling statements, and a worker of a deployment pays that for each image
that another one has committed. Here a database that somebody closes waits for the next look at the image that it holds by then.
Its bytes decide, whatever was done with it. And a batch of the inbox, which several runs and checks read, is parsed once.

In some worlds hosts share no databases, so that they are seen at work with those that they keep open themselves.

Patches are compressed quickly: how small they are in production is of no interest here.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Final
from unittest.mock import patch

from shared.domain.images import Content
from shared.intake import ingest
from shared.runner import warm_images
from shared.storage import patches
from shared.town import database
from tests.simulation import ledger

_IDLE_AT_MOST: Final = 8
_BATCHES: Final = 512
_QUICK: Final = 3
"""A level of Zstandard."""


@contextmanager
def thrift() -> Iterator[None]:
    """Within the block, an inbox object that was read a short time ago is not parsed again, and patches are made quickly."""
    with (
        patch.object(ingest, "read_object", lru_cache(_BATCHES)(ingest.read_object)),
        patch.object(patches, "_LEVEL", _QUICK),
    ):
        yield


class OpenImages:
    """The databases of a world that wait for the next look, each under the bytes of its image."""

    def __init__(self) -> None:
        self._idle: list[tuple[bytes, sqlite3.Connection]] = []
        self._uses: Counter[sqlite3.Connection] = Counter()
        self._lent: dict[sqlite3.Connection, tuple[bytes, int]] = {}
        self._open = database.open_image
        self._close = database.close
        self._read_out = database.content_of
        self.found = 0
        """How many looks found a database that was open already."""

    @contextmanager
    def shared(self, *, by_hosts: bool) -> Iterator[None]:
        """Within the block, all code finds its databases here, and leaves them here. Hosts do so, or only the checks."""
        with ExitStack() as stack:
            stack.callback(self._close_all)
            stack.enter_context(patch.object(database, "open_image", self._lend))
            stack.enter_context(patch.object(database, "close", self._take_back))
            stack.enter_context(patch.object(database, "content_of", self._note_content))
            if by_hosts:
                stack.enter_context(patch.object(warm_images, "OPEN_AT_MOST", 0))
            yield

    def _lend(self, image: Content) -> sqlite3.Connection:
        if not isinstance(image, bytes):
            return self._open(image)
        connection = self._waiting(image) or self._open(image)
        self._uses[connection] += 1
        self._lent[connection] = (image, connection.total_changes)
        return connection

    def _waiting(self, image: bytes) -> sqlite3.Connection | None:
        """One that holds this image; of several, the one that was used most, which has most statements compiled."""
        holding = [each for each in self._idle if each[0] == image]
        if not holding:
            return None
        self.found += 1
        most_used = max(holding, key=lambda each: self._uses[each[1]])
        self._idle.remove(most_used)
        return most_used[1]

    def _take_back(self, connection: sqlite3.Connection) -> None:
        lent = self._lent.pop(connection, None)
        if lent is None or connection.in_transaction:
            self._close(connection)
            return
        image, changes = lent
        if connection.total_changes != changes:
            image = connection.serialize()
        self._idle.append((image, connection))
        if len(self._idle) > _IDLE_AT_MOST:
            self._close(self._idle.pop(0)[1])

    def _note_content(self, connection: sqlite3.Connection) -> Content:
        content = self._read_out(connection)
        if isinstance(content, bytes) and connection in self._lent:
            self._lent[connection] = (content, connection.total_changes)
        return content

    @contextmanager
    def reading(self, image: bytes) -> Iterator[sqlite3.Connection]:
        """The rows of an image for a check that changes nothing: in the database of whoever commits it just now, if any."""
        for connection, (held, changes) in self._lent.items():
            if held == image and connection.total_changes == changes and not connection.in_transaction:
                yield connection
                return
        with ledger.read_only(image) as sql:
            yield sql

    def _close_all(self) -> None:
        while self._idle:
            self._close(self._idle.pop()[1])

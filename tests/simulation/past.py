"""The past of one town, as the checkers know it: nothing leaves the image before it is published, and what can be restored is true.

Of each commit the image digest is kept, and of the newest image the journal rows. A row that is gone from the next image must
be in a journal object, with the same content, at the moment of that commit. A family of beads that is gone must be in a block of
the archive, whole and as it was; and what comes back must be what left.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import canonical
from shared.domain.errors import TownError
from shared.images import image_digest
from shared.images.pages import page_size_of
from shared.ports.steps import drive
from shared.storage import head, keys, publish
from shared.storage.archive import TownArchives, families_in
from shared.storage.restore import KeptPast
from shared.town import archive, database, lookup
from shared.town.town_keys import TownKeys

_POINTS: Final = 6
"""How many of the restore points of a town are restored at the end."""


class Past:
    """What a town has committed, and what its store must still be able to tell."""

    def __init__(
        self, town_id: str, objects: MemoryObjects, fail: Callable[[str, str], None], figures: Counter[str]
    ) -> None:
        self._town_id = town_id
        self._objects = objects
        self._fail = fail
        self._figures = figures
        self._digests: dict[int, str] = {}
        self._oldest = 0
        self._published: set[int] = set()
        self.archived: dict[str, tuple[int, str]] = {}
        """The beads that have left and not come back: the number of the tick, and the family as it left."""

    def published(self, key: str) -> None:
        """A journal object was created. Retention may delete it again."""
        first, last = keys.ticks_of(key) or (1, 0)
        self._published.update(range(first, last + 1))

    def committed(self, manifest: head.Manifest) -> None:
        """Remember the digest of a commit."""
        self._digests[manifest.txid] = manifest.image_digest

    def left(self, sql: sqlite3.Connection) -> None:
        """Journal rows that the newest image does not hold any more are published."""
        oldest: int = sql.execute("SELECT COALESCE(MIN(tick_no), 0) FROM ticks").fetchone()[0]
        if oldest > self._oldest > 0:
            missing = sorted(set(range(self._oldest, oldest)) - self._published)
            if missing:
                self._fail(
                    "unpublished",
                    f"{self._town_id}: the rows of ticks {missing} left the image, and no object has them",
                )
            self._figures["journal rows that left"] += oldest - self._oldest
        self._oldest = oldest

    def moved(self, before: bytes, sql: sqlite3.Connection, row: dict[str, Any]) -> None:
        """Judge what this tick put into the archive, and what it took out of it. `before` is the image before it."""
        inputs = row["inputs"]
        for record in inputs.get("returned", ()):
            self._came_back(sql, record)
        if "archived" in inputs:
            self._went(before, sql, row, inputs["archived"])

    def _came_back(self, sql: sqlite3.Connection, record: dict[str, Any]) -> None:
        members = archive.bead_ids_in(record)
        text = canonical.dumps(record)
        for bead_id in members:
            _, left = self.archived.pop(bead_id, (0, text))
            if left != text:
                self._fail("archive", f"{self._town_id}: {bead_id} came back as {text}, and had left as {left}")
        if len(lookup.existing(sql, list(members))) != len(members):
            self._fail("archive", f"{self._town_id}: of {members} not all are back in the image")
        self._figures["beads that came back"] += len(members)

    def _went(self, before: bytes, sql: sqlite3.Connection, row: dict[str, Any], told: dict[str, Any]) -> None:
        gone = set(told["bead_ids"]) - set(lookup.existing(sql, told["bead_ids"]))
        if not gone:
            return
        key = keys.archive_block(self._town_id, told["index"])
        found = MemoryObjects.get(self._objects, key)
        records = [] if found is None else families_in(found.body, key)
        with database.opened(before) as earlier:
            for record in records:
                members = archive.bead_ids_in(record)
                if gone.issuperset(members) and record == archive.record_of(earlier, members):
                    text = canonical.dumps(record)
                    self.archived.update(dict.fromkeys(members, (row["tick_no"], text)))
        kept = sorted(gone - self.archived.keys())
        if kept:
            self._fail("archive", f"{self._town_id}: {kept} left the image, and {key} does not hold them as they were")
        self._figures["beads archived"] += len(gone)

    def restored_to(self, tick_no: int) -> None:
        """What left later has not left."""
        self.archived = {bead_id: left for bead_id, left in self.archived.items() if left[0] <= tick_no}

    def _archive_is_whole(self, image: bytes) -> None:
        """Whatever has left is found by the index on which the newest image relies, as it left."""
        with database.opened(image) as sql:
            index = TownKeys(sql).archive_index
            absent = archive.unknown(sql, self.archived)
        found = drive(TownArchives(self._objects).archived(self._town_id, absent, index=index))
        for bead_id in absent:
            if bead_id not in found or canonical.dumps(found[bead_id]) != self.archived[bead_id][1]:
                self._fail("archive", f"{self._town_id}: {bead_id} is not found as it left: {found.get(bead_id)}")
        self._figures["archived beads found"] += len(absent)

    def judge(self, image: bytes) -> None:
        """At the end: what is listed as a restore point can be restored, and is what was committed; the journal has no gap."""
        history = KeptPast(self._objects, self._objects, self._town_id)
        try:
            points = drive(history.points(limit=100_000))
            files = [point for point in points if point.kind != "head"]
            some = [*files[:: max(len(files) // _POINTS, 1)], *points[:: max(len(points) // 2, 1)]]
            for point in some:
                restored = drive(history.at_txid(point.txid))
                digest = image_digest.digest_of(restored.image, page_size_of(restored.image))
                if digest != self._digests.get(point.txid):
                    self._fail(
                        "restore", f"{self._town_id}: {point.kind} {point.txid} gives another image than was committed"
                    )
            self._figures["points restored"] += len(some)
            self._figures["points of files"] += len(files)
            self._journal_is_whole(history)
            self._archive_is_whole(image)
        except TownError as error:
            self._fail("restore", f"{self._town_id}: {type(error).__name__}: {error}")

    def _journal_is_whole(self, history: KeptPast) -> None:
        """The published blocks can be read, overlap nowhere but after restores, and end where the image begins."""
        blocks = drive(history.journal_objects())
        numbers: list[int] = []
        for _, _, key in blocks:
            found = MemoryObjects.get(self._objects, key)
            if found is not None:
                numbers += [row["tick_no"] for row in publish.rows_of(found.body, key)]
        numbers = sorted(set(numbers))
        if numbers and self._oldest and numbers != list(range(numbers[0], max(numbers[-1], self._oldest - 1) + 1)):
            self._fail(
                "journal",
                f"{self._town_id}: the published journal has a gap: {numbers}, the image begins at {self._oldest}",
            )

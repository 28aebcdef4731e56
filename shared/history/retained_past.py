"""The retained past of a town, for replay: images from heads and files; rows from journal objects and the newest image."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from shared.domain.errors import DamagedImage
from shared.domain.images import Record
from shared.images import restoring, summary
from shared.ports.object_store import ObjectStore, StoredObject, VersionedObjects
from shared.ports.steps import Call, Steps
from shared.ports.town_past import JournalRow, PastImage, journal_row
from shared.storage import keys, layers, publish, waiting_room
from shared.storage.archive import TownArchives
from shared.storage.listing import first_fitting
from shared.storage.restore import KeptPast, Restored
from shared.town import database, journal


@dataclass
class StoredPast:
    """Implements the TownPast port on a store with versions. It caches listings: use a new instance for each request."""

    objects: ObjectStore
    versions: VersionedObjects
    _blocks: dict[str, tuple[tuple[int, int, str], ...]] = field(default_factory=dict)
    _newest: dict[str, Restored] = field(default_factory=dict)
    _pasts: dict[str, KeptPast] = field(default_factory=dict)
    _damage: dict[str, str] | None = None
    """The messages of the damaged journal objects that were left out; None if they are not left out."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """The message of each damaged journal object that was left out."""
        return tuple((self._damage or {}).values())

    def around_damage(self) -> "StoredPast":
        """The same past without the journal objects that are damaged."""
        return StoredPast(self.objects, self.versions, self._blocks, self._newest, self._pasts, {})

    @property
    def passed_over(self) -> tuple[str, ...]:
        """What is wrong with each past head that could not be read, so that an older one was taken."""
        found = [each for kept in self._pasts.values() for each in kept.passed_over.items()]
        return tuple(f"{problem} (version {version})" for version, problem in found)

    def newest(self, town_id: str) -> Steps[PastImage]:
        """The newest committed image."""
        return _past(town_id, (yield from self._newest_of(town_id)))

    def oldest(self, town_id: str) -> Steps[PastImage]:
        """The oldest image that is kept: a snapshot or the oldest head."""
        kept = self._kept(town_id)
        files = yield from kept.files()
        oldest_head = yield from kept.oldest_head((yield from kept.versions_or_files()))
        ends = [span[1] for key, span in files.items() if keys.is_snapshot(key)]
        if oldest_head is None or (ends and min(ends) < oldest_head.manifest.txid):
            return _past(town_id, (yield from kept.of_files(min(ends))))
        return _past(town_id, (yield from kept.of_head(oldest_head)))

    def before(self, town_id: str, at: datetime) -> Steps[PastImage | None]:
        """The newest kept image whose commit is earlier than `at`; None if there is none."""
        kept = self._kept(town_id)
        found = yield from kept.newest_by_time(lambda time: time < at)
        return None if found is None else _past(town_id, found)

    def up_to_tick(self, town_id: str, tick_no: int) -> Steps[PastImage | None]:
        """The newest kept image whose last tick is this one or an earlier one."""
        kept = self._kept(town_id)
        found = yield from kept.newest_head(lambda manifest: manifest.tick_no <= tick_no)
        if found is not None:
            return _past(town_id, (yield from kept.of_head(found)))
        ends = sorted({span[1] for span in (yield from kept.files()).values()})
        later = yield from first_fitting(ends, partial(self._end_has_tick, town_id, tick_no + 1))
        return _past(town_id, (yield from kept.of_files(ends[later - 1]))) if later else None

    def after_tick(self, town_id: str, tick_no: int) -> Steps[tuple[PastImage, ...]]:
        """All kept images whose last tick is this one, in order of commits."""
        kept = self._kept(town_id)
        found: dict[int, PastImage] = {}
        for read in (yield from kept.heads_of_tick(tick_no)):
            found[read.manifest.txid] = _past(town_id, (yield from kept.of_head(read)))
        for end in (yield from self._ends_from(town_id, tick_no)):
            past = _past(town_id, (yield from kept.of_files(end)))
            if past.tick_no != tick_no:
                break
            found.setdefault(end, past)
        return tuple(found[txid] for txid in sorted(found))

    def from_tick(self, town_id: str, tick_no: int) -> Steps[PastImage]:
        """The oldest kept image whose last tick is this one or a later one; the newest image if all are older."""
        kept = self._kept(town_id)
        versions = yield from kept.head_versions()
        older = yield from kept.position_of_head(versions, lambda manifest: manifest.tick_no < tick_no)
        oldest_head = yield from kept.oldest_head(versions[: max(older, 1)])
        ends = yield from self._ends_from(town_id, tick_no)
        if oldest_head is None or (ends and ends[0] < oldest_head.manifest.txid):
            return _past(town_id, (yield from kept.of_files(ends[0])))
        return _past(town_id, (yield from kept.of_head(oldest_head)))

    def rows_after(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        """The next block of journal rows after a tick. The last block is in the newest image."""
        for _, last, key in (yield from self._journal_of(town_id)):
            if last > tick_no:
                rows = yield from self._block(key)
                if found := tuple(row for row in rows if row["tick_no"] > tick_no):
                    return found
        return (yield from self._rows_in_image(town_id, after=tick_no))

    def rows_before(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        """The block of journal rows before a tick: those in the newest image that are not published, else a published block."""
        blocks = yield from self._journal_of(town_id)
        published_to = max((last for _, last, _ in blocks), default=0)
        if tick_no > published_to + 1:
            found = yield from self._rows_in_image(town_id, after=published_to)
            if rows := tuple(row for row in found if row["tick_no"] < tick_no):
                return rows
        for first, _, key in reversed(blocks):
            if first < tick_no:
                rows = tuple(row for row in (yield from self._block(key)) if row["tick_no"] < tick_no)
                if rows:
                    return rows
        return ()

    def archived(self, town_id: str, bead_ids: Iterable[str], *, index: int) -> Steps[dict[str, Record]]:
        """The families of these beads as they left the image, by the id that was asked for."""
        return TownArchives(self.objects).archived(town_id, bead_ids, index=index)

    def archive_blocks(self, town_id: str, *, index: int) -> Steps[tuple[int, ...]]:
        """The blocks of the archive on which an image with this index may rely, by their commits, newest first."""
        return TownArchives(self.objects).blocks(town_id, index=index)

    def archived_in(self, town_id: str, block: int, *, index: int) -> Steps[tuple[Record, ...]]:
        """The families that left in this block, and not again in a later one."""
        return TownArchives(self.objects).newest_in(town_id, block, index=index)

    def _rows_in_image(self, town_id: str, *, after: int) -> Steps[tuple[JournalRow, ...]]:
        newest = yield from self._newest_of(town_id)
        with database.opened(newest.image) as sql:
            return tuple(journal_row(row) for row in journal.rows(sql, limit=1_000_000, after=after))

    def _ends_from(self, town_id: str, tick_no: int) -> Steps[list[int]]:
        """The last commits of the files whose images have that tick or a later one as their last tick, in order."""
        files = yield from self._kept(town_id).files()
        ends = sorted({span[1] for span in files.values()})
        first = yield from first_fitting(ends, partial(self._end_has_tick, town_id, tick_no))
        return ends[first:]

    def _end_has_tick(self, town_id: str, tick_no: int, end: int) -> Steps[bool]:
        """Whether the image at the end of a file has that tick or a later one as its last tick."""
        return _past(town_id, (yield from self._kept(town_id).of_files(end))).tick_no >= tick_no

    def _kept(self, town_id: str) -> KeptPast:
        return self._pasts.setdefault(town_id, KeptPast(self.objects, self.versions, town_id))

    def _newest_of(self, town_id: str) -> Steps[Restored]:
        if town_id not in self._newest:
            kept = self._kept(town_id)
            version = (yield from kept.head_versions())[0]
            if not version.current:
                raise (yield from waiting_room.no_head(self.objects, town_id))
            self._newest[town_id] = yield from kept.of_head((yield from kept.head_of(version)))
        return self._newest[town_id]

    def _journal_of(self, town_id: str) -> Steps[tuple[tuple[int, int, str], ...]]:
        """First tick, last tick and key of every journal object, in order. Listed once."""
        if town_id not in self._blocks:
            self._blocks[town_id] = tuple((yield from self._kept(town_id).journal_objects()))
        return self._blocks[town_id]

    def _block(self, key: str) -> Steps[list[JournalRow]]:
        found: StoredObject | None = yield Call(f"get {key}", partial(self.objects.get, key))
        if found is None:
            raise layers.deleted(key)
        try:
            return publish.rows_of(found.body, key)
        except DamagedImage as error:
            if self._damage is None:
                raise
            self._damage[key] = f"{error.message}: what these ticks did is not told"
            return []


def _past(town_id: str, restored: Restored) -> PastImage:
    with database.opened(restored.image) as sql:
        tick_no, tick_at = restoring.tick_no(sql), summary.before_tick(sql).last_tick_at
    return PastImage(
        town_id=town_id,
        image=restored.image,
        txid=restored.point.txid,
        tick_no=tick_no,
        tick_at=tick_at,
        committed_at=restored.point.time,
        commit_id=restored.commit_id,
    )

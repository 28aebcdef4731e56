"""Reading the image of a retained commit or time, and making such an image the newest one again.

For a day, every commit can be read from a noncurrent version of the head. After that, only snapshots and the ends of spills
are restore points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal

from shared.domain.errors import Refused, StoreUnavailable, UnknownTown
from shared.domain.images import JournalBlock
from shared.domain.shapes import Time, answer
from shared.domain.times import from_milliseconds, to_text
from shared.images import restoring, summary
from shared.images.pages import page_size_of
from shared.ports.object_store import ObjectStore, ObjectVersion, StoredObject, VersionedObjects
from shared.ports.steps import Call, Steps
from shared.ports.town_store import CommitFacts, TownImage
from shared.storage import head, keys, layers, ltx, publish
from shared.storage.listing import all_keys, first_fitting
from shared.storage.towns import ObjectTownStore
from shared.town import database, journal

PointKind = Literal["head", "spill", "snapshot"]


@answer
class RestorePoint:
    """A commit that can be restored. `tick` is None if only a spill or snapshot is left, because neither records it."""

    txid: int
    time: Time
    size: int
    kind: PointKind
    tick: int | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """An old image and its commit."""

    point: RestorePoint
    image: bytes


@dataclass(frozen=True, slots=True)
class Archive:
    """The objects of one town, with their past versions."""

    objects: ObjectStore
    versions: VersionedObjects
    town_id: str

    def points(self, *, limit: int = 50) -> Steps[list[RestorePoint]]:
        """The newest restore points, newest first. Raises UnknownTown."""
        found: list[RestorePoint] = []
        for version in (yield from self.head_versions())[:limit]:
            read = yield from self.head_of(version)
            found.append(_point_of(read.manifest))
        known = {point.txid for point in found}
        files = yield from self.files()
        for key, (_, max_txid) in sorted(files.items(), key=lambda item: -item[1][1]):
            if len(found) < limit and max_txid not in known:
                known.add(max_txid)
                found.append(_point_of_file((yield from self.header_of(key)), key))
        return sorted(found, key=lambda point: -point.txid)

    def count_points(self) -> Steps[int]:
        """The number of all restore points: every head, and the ends of files from before the oldest head. Raises UnknownTown."""
        versions = yield from self.head_versions()
        oldest = yield from self.head_of(versions[-1])
        ends = {max_txid for _, max_txid in (yield from self.files()).values()}
        return len(versions) + sum(end < oldest.manifest.txid for end in ends)

    def at_txid(self, txid: int) -> Steps[Restored]:
        """The image right after commit `txid`. Raises Refused (404), UnknownTown, DamagedImage."""
        read = yield from self.newest_head(lambda manifest: manifest.txid <= txid)
        if read is not None and read.manifest.txid == txid:
            return (yield from self.of_head(read))
        files = yield from self.files()
        if txid not in {max_txid for _, max_txid in files.values()}:
            raise self._no_point(f"commit {txid}")
        return (yield from self.of_files(txid))

    def at_time(self, at: datetime) -> Steps[Restored]:
        """The image of the newest commit at or before a time."""
        read = yield from self.newest_head(lambda manifest: manifest.time <= at)
        if read is not None:
            return (yield from self.of_head(read))
        file = yield from self.newest_file(lambda header: from_milliseconds(header.time_ms) <= at)
        if file is None:
            raise self._no_point(to_text(at))
        return (yield from self.of_files(file.max_txid))

    def head_versions(self) -> Steps[tuple[ObjectVersion, ...]]:
        """Every retained version of the head, newest first. Raises UnknownTown."""
        key = keys.head(self.town_id)
        found: tuple[ObjectVersion, ...] = yield Call(f"versions {key}", partial(self.versions.versions, key))
        if not found:
            raise UnknownTown(
                f"there is no town {self.town_id} here",
                hint="check the name of the data directory or bucket, or list its towns",
            )
        return found

    def head_of(self, version: ObjectVersion) -> Steps[head.Head]:
        """One retained head, decoded. Raises DamagedImage."""
        key = keys.head(self.town_id)
        name = f"get_version {key} {version.version_id}"
        found: StoredObject | None = yield Call(name, partial(self.versions.get_version, key, version.version_id))
        if found is None:
            raise layers.deleted(f"version {version.version_id} of {key}")
        return head.decode(found.body, key=key, town_id=self.town_id)

    def newest_head(self, fits: Callable[[head.Manifest], bool]) -> Steps[head.Head | None]:
        """The newest head whose manifest fits, provided that all older ones fit too; None if none does."""
        versions = yield from self.head_versions()
        position = yield from self.position_of_head(versions, fits)
        return (yield from self.head_of(versions[position])) if position < len(versions) else None

    def position_of_head(self, versions: Sequence[ObjectVersion], fits: Callable[[head.Manifest], bool]) -> Steps[int]:
        """The index of the first version that fits, provided that all after it fit too; len(versions) if none fits."""

        def manifest_fits(version: ObjectVersion) -> Steps[bool]:
            return fits((yield from self.head_of(version)).manifest)

        return (yield from first_fitting(versions, manifest_fits))

    def heads_of_tick(self, tick_no: int) -> Steps[list[head.Head]]:
        """The retained heads whose last tick is this one, oldest first: the tick's own commit, then restores in place."""
        versions = yield from self.head_versions()
        position = yield from self.position_of_head(versions, lambda manifest: manifest.tick_no <= tick_no)
        found: list[head.Head] = []
        for version in versions[position:]:
            read = yield from self.head_of(version)
            if read.manifest.tick_no != tick_no:
                break
            found.insert(0, read)
        return found

    def of_head(self, read: head.Head) -> Steps[Restored]:
        """The image of a retained head. Raises DamagedImage."""
        image, _ = yield from layers.read_layers(self.objects, read, key=keys.head(self.town_id))
        return Restored(_point_of(read.manifest), image)

    def files(self) -> Steps[dict[str, tuple[int, int]]]:
        """The first and last TXID of every spill and snapshot, by key."""
        found = yield from all_keys(self.objects, keys.ltx_prefix(self.town_id))
        return {key: span for key in found if (span := keys.txids_of(key)) is not None}

    def journal_objects(self) -> Steps[list[tuple[int, int, str]]]:
        """The first tick, last tick and key of every journal object, in order."""
        found = yield from all_keys(self.objects, keys.journal_prefix(self.town_id))
        return sorted((*span, key) for key in found if (span := keys.ticks_of(key)) is not None)

    def header_of(self, key: str) -> Steps[ltx.LtxHeader]:
        """The header of a spill or snapshot; its pages are not read."""
        name = f"start_of {key}"
        found: bytes | None = yield Call(name, partial(self.objects.start_of, key, ltx.HEADER_BYTES))
        if found is None:
            raise layers.deleted(key)
        return ltx.read_header(found, key)

    def newest_file(self, fits: Callable[[ltx.LtxHeader], bool]) -> Steps[ltx.LtxHeader | None]:
        """The header of the newest spill or snapshot that fits, provided that all older ones fit too; None if none does."""
        files = yield from self.files()
        newest_first = sorted(files, key=lambda key: -files[key][1])

        def header_fits(key: str) -> Steps[bool]:
            return fits((yield from self.header_of(key)))

        position = yield from first_fitting(newest_first, header_fits)
        return (yield from self.header_of(newest_first[position])) if position < len(newest_first) else None

    def _file(self, key: str) -> Steps[ltx.LtxFile]:
        found: StoredObject | None = yield Call(f"get {key}", partial(self.objects.get, key))
        if found is None:
            raise layers.deleted(key)
        return ltx.decode(found.body, key)

    def of_files(self, txid: int) -> Steps[Restored]:
        """The image at the end of a file: follow the spills back to a snapshot, then apply them to it in order.

        Raises Refused (404) if the chain has a gap, DamagedImage.
        """
        files = yield from self.files()
        chain: list[str] = []
        end = txid
        while end > 0:
            ending = sorted((span[0], key) for key, span in files.items() if span[1] == end)
            if not ending:
                raise self._no_point(f"commit {txid}")
            first, key = ending[0]
            chain.append(key)
            end = first - 1
        snapshot = yield from self._file(chain[-1])
        image, point = ltx.image_of(snapshot), _point_of_file(snapshot.header, chain[-1])
        for key in reversed(chain[:-1]):
            file = yield from self._file(key)
            image, point = ltx.applied(image, file), _point_of_file(file.header, key)
        return Restored(point, image)

    def _no_point(self, wanted: str) -> Refused:
        return Refused(
            f"town {self.town_id} cannot be restored to {wanted}: that commit is not retained",
            status=404,
            path="txid",
            hint=f"choose a restore point: `townctl points {self.town_id}` lists them",
        )


def restore_in_place(
    store: ObjectTownStore, objects: ObjectStore, old: Restored, *, town_id: str, now: datetime, worker_id: str
) -> Steps[TownImage]:
    """Make an old image the newest one by a new commit, so that the restore itself can be undone. Raises Conflict.

    The journal of the current image is published first, so that no recorded input is lost.
    """
    present: TownImage = yield from store.load(town_id)
    yield from _publish_journal(objects, present)
    image = restoring.carried_over(old.image, present.image, now=now)
    facts = CommitFacts(
        commit_id=f"{present.facts.tick_no}-restore-{worker_id}",
        tick_no=present.facts.tick_no,
        time=max(now, present.facts.time),
        next_due=now,
        schema_version=database.SCHEMA_VERSION,
        drain_nonce=summary.drain_nonce_in(image),
    )
    yield from store.mark_due(town_id, now)
    committed: TownImage = yield from store.commit(present, image, facts)
    yield from publish_snapshot(objects, committed)
    return committed


def publish_snapshot(objects: ObjectStore, image: TownImage) -> Steps[str]:
    """Publish a committed image as a snapshot. Later states can be rebuilt from it without any older object."""
    size = page_size_of(image.image)
    body = ltx.encode_snapshot(image.image, page_size=size, txid=image.txid, at=image.facts.time)
    return (yield from _create(objects, layers.ImmutableObject(keys.snapshot(image.town_id, image.txid), body)))


def flush(objects: ObjectStore, image: TownImage) -> Steps[str]:
    """Publish the tail of the newest commit, however small, so that Litestream sees that commit; returns the key."""
    below = image.layers
    if not isinstance(below, layers.Layers):
        raise TypeError("only an image that comes from a town store can be flushed")
    key = (
        keys.snapshot(image.town_id, image.txid)
        if below.whole
        else keys.spill(image.town_id, below.tail_start, image.txid)
    )
    return (yield from _create(objects, layers.ImmutableObject(key, below.tail)))


def _create(objects: ObjectStore, wanted: layers.ImmutableObject) -> Steps[str]:
    """Create an immutable object, or find it with the same bytes. Raises StoreUnavailable, DamagedImage, AccessDenied."""
    answered: object = None
    try:
        yield Call(f"create {wanted.key}", partial(objects.create, wanted.key, wanted.body))
    except Exception as raised:  # noqa: BLE001 - settle_publication handles it, and raises it if it is final
        answered = raised
    if not (yield from layers.settle_publication(objects, wanted, answered)):
        raise StoreUnavailable(
            f"create {wanted.key}: it is unknown whether the object exists", hint="repeat the command; that is safe"
        )
    return wanted.key


def _publish_journal(objects: ObjectStore, image: TownImage) -> Steps[None]:
    found = yield from all_keys(objects, keys.journal_prefix(image.town_id))
    spans = [keys.ticks_of(key) for key in found]
    published = max((span[1] for span in spans if span is not None), default=0)
    with database.opened(image.image) as sql:
        block: JournalBlock | None = journal.block_after(sql, published)
    if block is None:
        return
    key = keys.journal(image.town_id, block.min_tick, block.max_tick)
    yield from _create(objects, layers.ImmutableObject(key, publish.compressed(block.body)))


def _point_of(manifest: head.Manifest) -> RestorePoint:
    return RestorePoint(manifest.txid, manifest.time, manifest.image_bytes, "head", manifest.tick_no)


def _point_of_file(header: ltx.LtxHeader, key: str) -> RestorePoint:
    kind: PointKind = "snapshot" if "/0009/" in key else "spill"
    return RestorePoint(header.max_txid, from_milliseconds(header.time_ms), header.pages * header.page_size, kind)

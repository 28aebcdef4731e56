"""Reading the image of a retained commit or time, and making such an image the newest one again.

For a day, every commit can be read from a noncurrent version of the head. After that, only snapshots and the ends of spills
are restore points.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Literal

from shared.domain.errors import DamagedImage, Refused, SchemaMismatch, WrongTown
from shared.domain.shapes import Time, answer
from shared.domain.times import from_milliseconds, to_text
from shared.ports.object_store import ObjectStore, ObjectVersion, StoredObject, VersionedObjects
from shared.ports.steps import Call, Steps
from shared.storage import head, keys, layer_reading, layers, ltx
from shared.storage.listing import all_keys, first_fitting
from shared.storage.timeline import Standing, Timeline, timeline_of
from shared.storage.waiting_room import no_head, unknown
from shared.town import database

PointKind = Literal["head", "spill", "snapshot"]


@answer
class RestorePoint:
    """A commit that can be restored. `tick` is None if only a spill or snapshot is left, because neither records it.

    `epoch` is the number of restores in place before it: times increase only within an epoch.
    """

    txid: int
    time: Time
    size: int
    kind: PointKind
    tick: int | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """An old image and its commit."""

    point: RestorePoint
    image: bytes
    commit_id: str | None = None


@dataclass(frozen=True, slots=True)
class KeptPast:
    """The objects of one town, with their past versions."""

    objects: ObjectStore
    versions: VersionedObjects
    town_id: str
    left_out: frozenset[str] = frozenset()
    """Files that are passed over, because they are damaged."""
    passed_over: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    """What is wrong with each version of the head that could not be read so far."""

    def points(self, *, limit: int = 50, up_to: int | None = None) -> Steps[list[RestorePoint]]:
        """The newest restore points, or those up to a commit, newest first; without what cannot be read. Raises UnknownTown."""
        found: list[RestorePoint] = []
        files = yield from self.files()
        there = files.keys() | (yield from self.patch_files())
        versions = yield from self.versions_or_files()
        at = 0 if up_to is None else (yield from self.position_of_head(versions, lambda each: each.txid <= up_to))
        while len(found) < limit and (read := (yield from self.readable_from(versions, at))) is not None:
            at = read[0] + 1
            if layer_reading.names_below(read[1].manifest) <= there:
                found.append(_point_of(read[1].manifest))
        known = {point.txid for point in found}
        for key, (_, max_txid) in sorted(files.items(), key=lambda item: -item[1][1]):
            if len(found) < limit and max_txid not in known and (up_to is None or max_txid <= up_to):
                with contextlib.suppress(DamagedImage):
                    found.append(_point_of_file((yield from self.header_of(key)), key))
                    known.add(max_txid)
        return sorted(found, key=lambda point: -point.txid)

    def lost(self) -> Steps[tuple[str, ...]]:
        """Why the newest commit cannot be read from its head; empty if the head can be read. Objects below it are not read."""
        key = keys.head(self.town_id)
        found: StoredObject | None = yield Call(f"get {key}", partial(self.objects.get, key))
        try:
            if found is None:
                raise (yield from no_head(self.objects, self.town_id))
            head.decode(found.body, key=key, town_id=self.town_id)
        except (DamagedImage, WrongTown) as error:
            return (f"{error.message}; {error.hint}",)
        return ()

    def count_points(self) -> Steps[int]:
        """The number of all restore points: every head, and the ends of files from before the oldest head. Raises UnknownTown."""
        files = yield from self.files()
        versions = yield from self.versions_or_files()
        oldest = yield from self.oldest_head(versions)
        ends = {max_txid for _, max_txid in files.values()}
        return len(versions) + sum(oldest is None or end < oldest.manifest.txid for end in ends)

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
        """The image of the newest commit at or before a time; commits that a restore discarded before that time do not count."""
        found = yield from self.newest_by_time(lambda time: time <= at)
        if found is None:
            raise self._no_point(to_text(at))
        return found

    def newest_by_time(self, fits: Callable[[datetime], bool]) -> Steps[Restored | None]:
        """The newest commit whose time fits, provided that all earlier times fit too; None if none does.

        Files whose header is damaged are passed over.
        """
        try:
            return (yield from self._newest_by_time(fits))
        except DamagedImage:
            sound = yield from self.without_damaged_files()
            if sound.left_out == self.left_out:
                raise
            return (yield from sound._newest_by_time(fits))  # noqa: SLF001 - its own

    def _newest_by_time(self, fits: Callable[[datetime], bool]) -> Steps[Restored | None]:
        versions = yield from self.versions_or_files()
        line = yield from self.timeline(versions)
        position = yield from self.position_of_head(
            versions, lambda manifest: fits(line.counts_as(standing_of(manifest)))
        )
        read = yield from self.readable_from(versions, position)
        if read is not None:
            return (yield from self.of_head(read[1]))
        files = yield from self.files()
        newest_first = sorted(files, key=lambda key: -files[key][1])

        def header_fits(key: str) -> Steps[bool]:
            return fits(line.counts_as((yield from self.standing_of_file(key))))

        position = yield from first_fitting(newest_first, header_fits)
        return (yield from self.of_files(files[newest_first[position]][1])) if position < len(newest_first) else None

    def without_damaged_files(self) -> Steps["KeptPast"]:
        """The same town without the spills and snapshots whose header cannot be read. It reads every header."""
        bad: set[str] = set()
        for key in (yield from self.files()):
            try:
                yield from self.header_of(key)
            except DamagedImage:
                bad.add(key)
        return replace(self, left_out=self.left_out | bad)

    def timeline(self, versions: Sequence[ObjectVersion]) -> Steps[Timeline]:
        """When the epochs of the town began, as far as its commits are retained; `versions` are those of its head."""

        def standing(position: int) -> Steps[Standing | None]:
            found = yield from self.readable_from(versions, position)
            return None if found is None else standing_of(found[1].manifest)

        of_heads = yield from timeline_of(range(len(versions)), standing)
        files = yield from self.files()
        newest_first = sorted(files, key=lambda key: -files[key][1])
        return of_heads.merged((yield from timeline_of(newest_first, self.standing_of_file)))

    def head_versions(self) -> Steps[tuple[ObjectVersion, ...]]:
        """Every retained version of the head, newest first. Raises UnknownTown if there is none."""
        key = keys.head(self.town_id)
        found: tuple[ObjectVersion, ...] = yield Call(f"versions {key}", partial(self.versions.versions, key))
        if not found:
            raise (yield from no_head(self.objects, self.town_id))
        return found

    def versions_or_files(self) -> Steps[tuple[ObjectVersion, ...]]:
        """The same, but none if the head is gone with its versions and files of the town are left."""
        key = keys.head(self.town_id)
        found: tuple[ObjectVersion, ...] = yield Call(f"versions {key}", partial(self.versions.versions, key))
        if not found and not (yield from self.files()):
            raise unknown(self.town_id)
        return found

    def head_of(self, version: ObjectVersion) -> Steps[head.Head]:
        """One retained head, decoded. Raises DamagedImage, WrongTown."""
        key = keys.head(self.town_id)
        name = f"get_version {key} {version.version_id}"
        found: StoredObject | None = yield Call(name, partial(self.versions.get_version, key, version.version_id))
        if found is None:
            raise layers.deleted(f"version {version.version_id} of {key}")
        return head.decode(found.body, key=key, town_id=self.town_id)

    def readable_from(self, versions: Sequence[ObjectVersion], first: int) -> Steps[tuple[int, head.Head] | None]:
        """The newest head that can be read, from this position on, and its position; None if none can."""
        for position in range(first, len(versions)):
            try:
                return position, (yield from self.head_of(versions[position]))
            except (DamagedImage, WrongTown) as error:
                self.passed_over[versions[position].version_id] = error.message
        return None

    def oldest_head(self, versions: Sequence[ObjectVersion]) -> Steps[head.Head | None]:
        """The oldest of these heads that can be read; None if none can."""
        oldest_first = tuple(reversed(versions))
        found = yield from self.readable_from(oldest_first, 0)
        return None if found is None else found[1]

    def newest_head(self, fits: Callable[[head.Manifest], bool]) -> Steps[head.Head | None]:
        """The newest readable head whose manifest fits, provided that all older ones fit too; None if none does."""
        versions = yield from self.versions_or_files()
        position = yield from self.position_of_head(versions, fits)
        found = yield from self.readable_from(versions, position)
        return None if found is None else found[1]

    def position_of_head(self, versions: Sequence[ObjectVersion], fits: Callable[[head.Manifest], bool]) -> Steps[int]:
        """The index of the first version that fits, provided that all after it fit too; len(versions) if none fits.

        A version that cannot be read counts as the next older one that can be.
        """

        def manifest_fits(position: int) -> Steps[bool]:
            found = yield from self.readable_from(versions, position)
            return found is None or fits(found[1].manifest)

        return (yield from first_fitting(range(len(versions)), manifest_fits))

    def heads_of_tick(self, tick_no: int) -> Steps[list[head.Head]]:
        """The retained heads whose last tick is this one, oldest first; more than one if somebody committed without a tick."""
        versions = yield from self.versions_or_files()
        position = yield from self.position_of_head(versions, lambda manifest: manifest.tick_no <= tick_no)
        found: list[head.Head] = []
        while (read := (yield from self.readable_from(versions, position))) is not None:
            if read[1].manifest.tick_no != tick_no:
                break
            found.insert(0, read[1])
            position = read[0] + 1
        return found

    def newest_readable(self) -> Steps[Restored | None]:
        """The newest image of which nothing is missing or damaged, and whose schema this code knows; None if none is left.

        Raises UnknownTown.
        """
        versions = yield from self.versions_or_files()
        found: Restored | None = None
        at = 0
        while found is None and (read := (yield from self.readable_from(versions, at))) is not None:
            at = read[0] + 1
            with contextlib.suppress(DamagedImage, SchemaMismatch):
                of_head = yield from self.of_head(read[1])
                with database.opened(of_head.image):
                    found = of_head
        for end in sorted({end for _, end in (yield from self.files()).values()}, reverse=True):
            if found is not None and end <= found.point.txid:
                break
            with contextlib.suppress(DamagedImage, Refused, SchemaMismatch, WrongTown):
                restored = yield from self.at_txid(end)
                database.require_sound(restored.image)  # a file in the chain may be another one of the same name
                with database.opened(restored.image) as sql:
                    database.check_identity(sql, self.town_id)
                return restored
        return found

    def of_head(self, read: head.Head) -> Steps[Restored]:
        """The image of a retained head. Raises DamagedImage."""
        image, _ = yield from layer_reading.read_layers(self.objects, read, key=keys.head(self.town_id))
        return Restored(_point_of(read.manifest), image, read.manifest.commit_id)

    def files(self) -> Steps[dict[str, tuple[int, int]]]:
        """The first and last TXID of every spill and snapshot, by key."""
        found = yield from all_keys(self.objects, keys.ltx_prefix(self.town_id))
        return {key: span for key in found if (span := keys.txids_of(key)) is not None and key not in self.left_out}

    def patch_files(self) -> Steps[set[str]]:
        """The keys of all patch files."""
        found = yield from all_keys(self.objects, keys.patches_prefix(self.town_id))
        return {key for key in found if keys.patched_txids_of(key) is not None}

    def journal_objects(self) -> Steps[list[tuple[int, int, str]]]:
        """The first tick, last tick and key of every journal object, in order."""
        found = yield from all_keys(self.objects, keys.journal_prefix(self.town_id))
        return sorted((*span, key) for key in found if (span := keys.ticks_of(key)) is not None)

    def header_of(self, key: str) -> Steps[ltx.LtxHeader]:
        """The header of a spill or snapshot; its pages are not read."""
        found: bytes | None = yield Call(f"start_of {key}", partial(self.objects.start_of, key, ltx.HEADER_BYTES))
        if found is None:
            raise layers.deleted(key)
        return ltx.read_header(found, key)

    def standing_of_file(self, key: str) -> Steps[Standing]:
        """When the last commit of a spill or snapshot was made."""
        header = yield from self.header_of(key)
        return Standing(header.epoch, from_milliseconds(header.time_ms))

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


def standing_of(manifest: head.Manifest) -> Standing:
    """When the commit of a head was made."""
    return Standing(manifest.epoch, manifest.time)


def _point_of(manifest: head.Manifest) -> RestorePoint:
    return RestorePoint(manifest.txid, manifest.time, manifest.image_bytes, "head", manifest.tick_no, manifest.epoch)


def _point_of_file(header: ltx.LtxHeader, key: str) -> RestorePoint:
    kind: PointKind = "snapshot" if "/0009/" in key else "spill"
    size = header.pages * header.page_size
    return RestorePoint(header.max_txid, from_milliseconds(header.time_ms), size, kind, epoch=header.epoch)

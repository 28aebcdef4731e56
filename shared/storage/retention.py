"""Retention by reference: deleting the objects that no restore point needs. No object is deleted for its age alone,
except the logs of agents, which no restore point needs.

Restore points are a day of commits (versions of the head), a week of spills and a month of snapshots. Each keeps every object
that it is rebuilt from. Example, with the week of spills reaching back to commit 500:

    snapshot 1-100    spill 101-300    spill 301-520    spill 521-700
         kept              kept             kept             kept

Commit 520 is the oldest restore point among the spills. It needs its own spill, the spill before it and the snapshot, however
old they are. Suppose that a snapshot 1-700 follows. Once every restore point among the spills is later than 700, the three
spills are deleted. Snapshot 1-100 is deleted when it is a month old, unless the restore window needs it.

Every instant in the restore window can be rebuilt exactly. That requires a snapshot at or before the start of the window and
all journal rows since. All later snapshots are kept as well, because no journal row records the result of a restore in place.

The blocks of the town's archive are kept as long as the town. Of its index, what the images of all restore points rely on is kept;
after a restore in place all of it, until no commit from before the restore is kept.

The bodies of large batches that no longer wait (`large_batches`) are deleted too, if a process that died has left them behind.

Patch files are no restore points: those that end before the oldest retained head began its layers are deleted.

A commit in progress refers only to objects that the newest head refers to, or that were made of the newest commit. Both are
kept: every file that ends at or after the oldest retained head is a restore point.

An object's age is that of its writing, by the store's own clock, and not what its commit says: a worker whose clock was wrong
for a while makes no commit look old. Objects are written at or after the commits that they hold, so none is deleted too early; and
objects that were copied to another store begin a new age there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from shared.domain import limits
from shared.domain.errors import DamagedImage
from shared.domain.shapes import answer
from shared.ports.object_store import ObjectVersion
from shared.ports.steps import Call, Steps, all_of
from shared.storage import head, keys, large_batches
from shared.storage.archive import TownArchives
from shared.storage.listing import all_listed
from shared.storage.mending import damaged
from shared.storage.restore import KeptPast

DELETED_AT_ONCE: Final = 100
_JOURNAL_MARGIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Keep:
    """How long restore points of each kind and logs of agents are kept, and the window in which every instant can be rebuilt.

    `commits` is None if the store itself deletes replaced heads, as a bucket's lifecycle does.
    """

    commits: timedelta | None = timedelta(hours=24)
    spills: timedelta = timedelta(days=7)
    snapshots: timedelta = timedelta(days=30)
    logs: timedelta = timedelta(days=14)
    window: timedelta = limits.RESTORE_WINDOW


@answer
class Doomed:
    """An object, or a past version of one, that may be deleted."""

    key: str
    size: int
    version_id: str | None = None


@answer
class RetentionPlan:
    """The objects that may be deleted, with the bytes that this frees, and the number and bytes of those that are kept.

    `carried_out` means that they were deleted.
    """

    town_id: str
    doomed: tuple[Doomed, ...]
    freed_bytes: int
    kept_objects: int
    kept_bytes: int
    carried_out: bool = False


@dataclass(frozen=True, slots=True)
class _File:
    """A spill or snapshot, as its name describes it."""

    key: str
    span: tuple[int, int]
    size: int
    written_at: datetime


def plan(past: KeptPast, keep: Keep, *, now: datetime) -> Steps[RetentionPlan]:
    """Decide what may be deleted. Reads only. Raises UnknownTown, DamagedImage.

    `now` must agree with the store's clock.
    """
    heads, old_heads = yield from _heads(past, None if keep.commits is None else now - keep.commits)
    kept_head = yield from past.oldest_head(heads)
    if kept_head is None:
        raise damaged(keys.head(past.town_id), "no retained state of it can be read, so nothing may be deleted")
    oldest = kept_head.manifest
    files = yield from _files(past)
    spills = [file for file in files if not keys.is_snapshot(file.key)]
    snapshots = [file for file in files if keys.is_snapshot(file.key)]
    base = _base_of_window(snapshots, now - keep.window)
    if base is not None:
        yield from past.header_of(base.key)  # older files may be deleted because of it, so it must not be damaged
    snapshots_from = now - max(keep.snapshots, keep.window)
    points = [file for file in files if file.span[1] >= oldest.txid]
    points += [file for file in spills if file.written_at >= now - keep.spills]
    points += [file for file in snapshots if file.written_at >= snapshots_from]
    points += [] if base is None else [base]
    needed = _with_all_below(points, files)
    if oldest.snapshot is not None:
        needed.add(keys.snapshot(past.town_id, oldest.snapshot.txid))
    needed.update(keys.spill(past.town_id, spill.min_txid, spill.max_txid) for spill in oldest.spills)
    kept_files = [file for file in files if file.key in needed]
    patch_files, old_patch_files = yield from _patch_files(past, oldest)
    superseded = yield from _superseded_indexes(past, heads, oldest, kept_files)
    rows, old_rows = yield from _journal(past, base)
    doomed = [Doomed(keys.head(past.town_id), version.size, version.version_id) for version in old_heads]
    doomed += [Doomed(file.key, file.size) for file in files if file.key not in needed]
    doomed += old_patch_files
    doomed += old_rows
    doomed += [Doomed(key, size) for key, size in superseded.items()]
    doomed += yield from _old_logs(past, now - keep.logs)
    left_behind = yield from large_batches.left_behind(past.objects, past.town_id, now=now)
    doomed += [Doomed(key, body.size) for key, body in left_behind.items()]
    kept = [version.size for version in heads] + [file.size for file in kept_files] + patch_files + rows
    return RetentionPlan(
        town_id=past.town_id,
        doomed=tuple(doomed),
        freed_bytes=sum(each.size for each in doomed),
        kept_objects=len(kept),
        kept_bytes=sum(kept),
    )


def forget(past: KeptPast, keep: Keep, *, now: datetime) -> Steps[RetentionPlan]:
    """Decide what may be deleted, and delete it; returns the plan that was carried out."""
    decided = yield from plan(past, keep, now=now)
    yield from carry_out(past, decided)
    return replace(decided, carried_out=True)


def carry_out(past: KeptPast, decided: RetentionPlan) -> Steps[int]:
    """Delete the objects that the plan names; returns how many it names. It may be repeated.

    Heads are deleted first: if the deletion stops halfway, every commit that is still listed can be restored. Raises what
    the store raises; then some objects are already deleted, and the next plan names the others.
    """
    heads = [each for each in decided.doomed if each.version_id is not None]
    objects = [each for each in decided.doomed if each.version_id is None]
    for part in (*_parts_of(heads), *_parts_of(objects)):
        yield from all_of(tuple(_deletion(past, each) for each in part))
    return len(decided.doomed)


def _superseded_indexes(
    past: KeptPast, heads: Sequence[ObjectVersion], oldest: head.Manifest, files: Sequence[_File]
) -> Steps[Mapping[str, int]]:
    """The objects of the archive's index on which none of these restore points relies, with their sizes.

    None while commits from before a restore in place are kept: the restore brought back an older index than that of its commit.
    """
    newest = yield from past.readable_from(heads, 0)
    txid, epoch = oldest.txid, oldest.epoch
    if files and files[0].span[1] < txid:
        try:
            header = yield from past.header_of(files[0].key)
        except DamagedImage:
            return {}
        txid, epoch = header.max_txid, header.epoch
    if newest is None or epoch < newest[1].manifest.epoch:
        return {}
    return (yield from TownArchives(past.objects).superseded(past.town_id, oldest=txid))


def _patch_files(past: KeptPast, oldest: head.Manifest) -> Steps[tuple[list[int], list[Doomed]]]:
    """The sizes of the patch files to keep, and the files that no head from the oldest one on can refer to."""
    listed = yield from all_listed(past.objects, keys.patches_prefix(past.town_id))
    first = oldest.patch_files[0].min_txid if oldest.patch_files else oldest.tail_start
    spans = {key: span for key in listed if (span := keys.patched_txids_of(key)) is not None}
    kept = [listed[key].size for key, (_, last) in spans.items() if last >= first]
    return kept, [Doomed(key, listed[key].size) for key, (_, last) in spans.items() if last < first]


def _old_logs(past: KeptPast, kept_from: datetime) -> Steps[list[Doomed]]:
    """The logs of agents that were stored earlier: no restore point needs one, so they go by their age."""
    logs = yield from all_listed(past.objects, keys.logs_of(past.town_id))
    return [Doomed(key, log.size) for key, log in logs.items() if log.written_at < kept_from]


def _parts_of(doomed: Sequence[Doomed]) -> Iterator[Sequence[Doomed]]:
    for start in range(0, len(doomed), DELETED_AT_ONCE):
        yield doomed[start : start + DELETED_AT_ONCE]


def _deletion(past: KeptPast, doomed: Doomed) -> Call:
    if doomed.version_id is None:
        return Call(f"delete {doomed.key}", partial(past.objects.delete, doomed.key))
    name = f"delete_version {doomed.key} {doomed.version_id}"
    return Call(name, partial(past.versions.delete_version, doomed.key, doomed.version_id))


def _heads(past: KeptPast, since: datetime | None) -> Steps[tuple[list[ObjectVersion], list[ObjectVersion]]]:
    """The versions that were current at or after `since`, newest first; and the older ones."""
    versions = yield from past.head_versions()
    if since is None:
        return list(versions), []
    # A version was replaced when the next newer one was written. A clock that was set may have broken the order of their times.
    needed = 1 + max((at for at, newer in enumerate(versions, start=1) if newer.at > since), default=0)
    return list(versions[:needed]), list(versions[needed:])


def _with_all_below(points: Iterable[_File], files: Sequence[_File]) -> set[str]:
    """The keys of these files and of all files that they need, back to a snapshot for each."""
    longest: dict[int, _File] = {}
    for file in sorted(files, key=lambda file: -file.span[0]):
        longest[file.span[1]] = file
    needed: set[str] = set()
    for point in points:
        at: _File | None = point
        while at is not None and at.key not in needed:
            needed.add(at.key)
            at = None if keys.is_snapshot(at.key) else longest.get(at.span[0] - 1)
    return needed


def _base_of_window(snapshots: Sequence[_File], start: datetime) -> _File | None:
    """The newest snapshot at or before the start of the window; the oldest one if the town is younger than the window."""
    before = [file for file in snapshots if file.written_at <= start]
    return (before[-1] if before else snapshots[0]) if snapshots else None


def _files(past: KeptPast) -> Steps[list[_File]]:
    """Spills and snapshots in the order of their last commits."""
    listed = yield from all_listed(past.objects, keys.ltx_prefix(past.town_id))
    found = [
        _File(key, span, each.size, each.written_at)
        for key, each in listed.items()
        if (span := keys.txids_of(key)) is not None
    ]
    return sorted(found, key=lambda file: (file.span[1], file.key))


def _journal(past: KeptPast, base: _File | None) -> Steps[tuple[list[int], list[Doomed]]]:
    """The sizes of the journal objects to keep, and the objects that end before the base of the window.

    The rows of an object are older than the object. So one that was written before the snapshot holds no row that is needed; as
    the store's times may be whole seconds and its clock may be set, an hour more is kept.
    """
    listed = yield from all_listed(past.objects, keys.journal_prefix(past.town_id))
    kept_from = datetime.min.replace(tzinfo=UTC) if base is None else base.written_at - _JOURNAL_MARGIN
    blocks = {key: each for key, each in listed.items() if keys.ticks_of(key) is not None}
    kept = [each.size for each in blocks.values() if each.written_at >= kept_from]
    return kept, [Doomed(key, each.size) for key, each in blocks.items() if each.written_at < kept_from]

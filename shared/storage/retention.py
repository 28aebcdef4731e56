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

A commit in progress refers only to objects that the newest head refers to, or that were made of the newest commit. Both are
kept: every file that ends at or after the oldest retained head is a restore point.

The times of a town's commits never decrease. So a binary search finds the boundary of an age with a few reads.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.domain import limits
from shared.domain.shapes import answer
from shared.domain.times import from_milliseconds, from_text
from shared.ports.object_store import ObjectVersion, StoredObject
from shared.ports.steps import Call, Steps, Together
from shared.storage import keys, layers, publish
from shared.storage.listing import all_sizes, first_fitting
from shared.storage.restore import Archive

DELETED_AT_ONCE: Final = 100


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


def plan(archive: Archive, keep: Keep, *, now: datetime) -> Steps[RetentionPlan]:
    """Decide what may be deleted. Reads only. Raises UnknownTown, DamagedImage."""
    heads, old_heads = yield from _heads(archive, None if keep.commits is None else now - keep.commits)
    oldest = (yield from archive.head_of(heads[-1])).manifest
    files = yield from _files(archive)
    spills = [file for file in files if not keys.is_snapshot(file.key)]
    snapshots = [file for file in files if keys.is_snapshot(file.key)]
    base = yield from _base_of_window(archive, snapshots, now - keep.window)
    keep_snapshots = max(keep.snapshots, keep.window)
    points = [file for file in files if file.span[1] >= oldest.txid]
    points += spills[(yield from first_fitting(spills, partial(_is_of, archive, now - keep.spills))) :]
    points += snapshots[(yield from first_fitting(snapshots, partial(_is_of, archive, now - keep_snapshots))) :]
    points += [] if base is None else [base]
    needed = _with_all_below(points, files)
    if oldest.snapshot is not None:
        needed.add(keys.snapshot(archive.town_id, oldest.snapshot.txid))
    needed.update(keys.spill(archive.town_id, spill.min_txid, spill.max_txid) for spill in oldest.spills)
    rows, old_rows = yield from _journal(archive, base)
    doomed = [Doomed(keys.head(archive.town_id), version.size, version.version_id) for version in old_heads]
    doomed += [Doomed(file.key, file.size) for file in files if file.key not in needed]
    doomed += old_rows
    doomed += yield from _old_logs(archive, now - keep.logs)
    kept = [version.size for version in heads] + [file.size for file in files if file.key in needed] + rows
    return RetentionPlan(
        town_id=archive.town_id,
        doomed=tuple(doomed),
        freed_bytes=sum(each.size for each in doomed),
        kept_objects=len(kept),
        kept_bytes=sum(kept),
    )


def forget(archive: Archive, keep: Keep, *, now: datetime) -> Steps[RetentionPlan]:
    """Decide what may be deleted, and delete it; returns the plan that was carried out."""
    decided = yield from plan(archive, keep, now=now)
    yield from carry_out(archive, decided)
    return replace(decided, carried_out=True)


def carry_out(archive: Archive, decided: RetentionPlan) -> Steps[int]:
    """Delete the objects that the plan names; returns how many it names. It may be repeated.

    Heads are deleted first: if the deletion stops halfway, every commit that is still listed can be restored. Raises what
    the store raises; then some objects are already deleted, and the next plan names the others.
    """
    heads = [each for each in decided.doomed if each.version_id is not None]
    objects = [each for each in decided.doomed if each.version_id is None]
    for part in (*_parts_of(heads), *_parts_of(objects)):
        for result in (yield Together(tuple(_deletion(archive, each) for each in part))):
            if isinstance(result, Exception):
                raise result
    return len(decided.doomed)


def _old_logs(archive: Archive, kept_from: datetime) -> Steps[list[Doomed]]:
    """The logs of agents that were stored earlier: no restore point needs one, so they go by their age."""
    found: list[Doomed] = []
    for key, size in (yield from all_sizes(archive.objects, keys.logs_of(archive.town_id))).items():
        states: Sequence[ObjectVersion] = yield Call(f"versions {key}", partial(archive.versions.versions, key))
        if states and states[0].current and states[0].at < kept_from:
            found.append(Doomed(key, size))
    return found


def _parts_of(doomed: Sequence[Doomed]) -> Iterator[Sequence[Doomed]]:
    for start in range(0, len(doomed), DELETED_AT_ONCE):
        yield doomed[start : start + DELETED_AT_ONCE]


def _deletion(archive: Archive, doomed: Doomed) -> Call:
    if doomed.version_id is None:
        return Call(f"delete {doomed.key}", partial(archive.objects.delete, doomed.key))
    name = f"delete_version {doomed.key} {doomed.version_id}"
    return Call(name, partial(archive.versions.delete_version, doomed.key, doomed.version_id))


def _heads(archive: Archive, since: datetime | None) -> Steps[tuple[list[ObjectVersion], list[ObjectVersion]]]:
    """The versions that were current at or after `since`, newest first; and the older ones."""
    versions = yield from archive.head_versions()
    if since is None:
        return list(versions), []
    replaced = yield from archive.position_of_head(versions, lambda manifest: manifest.time <= since)
    return list(versions[: replaced + 1]), list(versions[replaced + 1 :])


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


def _base_of_window(archive: Archive, snapshots: Sequence[_File], start: datetime) -> Steps[_File | None]:
    """The newest snapshot at or before the start of the window; the oldest one if the town is younger than the window."""
    after = yield from first_fitting(snapshots, partial(_is_of, archive, start + timedelta(milliseconds=1)))
    return snapshots[max(after - 1, 0)] if snapshots else None


def _is_of(archive: Archive, since: datetime, file: _File) -> Steps[bool]:
    """Whether the last commit of a file was made at `since` or later."""
    return from_milliseconds((yield from archive.header_of(file.key)).time_ms) >= since


def _files(archive: Archive) -> Steps[list[_File]]:
    """Spills and snapshots in the order of their last commits."""
    sizes = yield from all_sizes(archive.objects, keys.ltx_prefix(archive.town_id))
    found = [_File(key, span, size) for key, size in sizes.items() if (span := keys.txids_of(key)) is not None]
    return sorted(found, key=lambda file: (file.span[1], file.key))


def _journal(archive: Archive, base: _File | None) -> Steps[tuple[list[int], list[Doomed]]]:
    """The sizes of the journal objects to keep, and the objects that end before the base of the window."""
    sizes = yield from all_sizes(archive.objects, keys.journal_prefix(archive.town_id))
    blocks = sorted((span, key) for key in sizes if (span := keys.ticks_of(key)) is not None)
    old = 0
    if base is not None:
        at = from_milliseconds((yield from archive.header_of(base.key)).time_ms)
        old = yield from first_fitting([key for _, key in blocks], partial(_ends_after, archive, at))
    kept = [sizes[key] for _, key in blocks[old:]]
    return kept, [Doomed(key, sizes[key]) for _, key in blocks[:old]]


def _ends_after(archive: Archive, at: datetime, key: str) -> Steps[bool]:
    found: StoredObject | None = yield Call(f"get {key}", partial(archive.objects.get, key))
    if found is None:
        raise layers.deleted(key)
    return from_text(publish.rows_of(found.body, key)[-1]["now"]) > at

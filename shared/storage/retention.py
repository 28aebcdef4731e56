"""Forgetting: what no retained head, spill chain or window of rebuildable instants needs any more.

Nothing is removed for its age alone. A day of commits (versions of the head), a week of spills and a month of snapshots
are restore points; each keeps what it stands on. For every instant of the restore window there stay a snapshot at or
before it and all journal rows since; so it can be rebuilt exactly. What a commit that is being made may refer to is
younger than the newest head, and is never looked at.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from shared.domain import limits
from shared.domain.ports import ObjectVersion, StoredObject
from shared.domain.steps import Call, Steps
from shared.domain.times import from_milliseconds, from_text
from shared.storage import keys, publish
from shared.storage.listing import all_keys
from shared.storage.restore import Archive


@dataclass(frozen=True, slots=True)
class Keep:
    """How long restore points of each kind stay, and the window in which every instant can be rebuilt."""

    commits: timedelta = timedelta(hours=24)
    spills: timedelta = timedelta(days=7)
    snapshots: timedelta = timedelta(days=30)
    window: timedelta = limits.RESTORE_WINDOW


@dataclass(frozen=True, slots=True)
class Doomed:
    """An object, or a past version of one, that may go."""

    key: str
    size: int
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What may go and what stays, in objects and bytes."""

    town_id: str
    doomed: tuple[Doomed, ...]
    kept_objects: int
    kept_bytes: int

    @property
    def freed_bytes(self) -> int:
        """The bytes of what may go."""
        return sum(each.size for each in self.doomed)

    def as_json(self) -> dict[str, Any]:
        """The plan as answers show it."""
        return {
            "townId": self.town_id,
            "doomed": [{"key": each.key, "size": each.size, "version": each.version_id} for each in self.doomed],
            "freedBytes": self.freed_bytes,
            "keptObjects": self.kept_objects,
            "keptBytes": self.kept_bytes,
        }


@dataclass(frozen=True, slots=True)
class _File:
    """A spill or snapshot with what its header says."""

    key: str
    span: tuple[int, int]
    time: datetime
    size: int

    @property
    def snapshot(self) -> bool:
        return self.span[0] == 1


def plan(archive: Archive, keep: Keep, *, now: datetime) -> Steps[RetentionPlan]:
    """Decide what may go. Reads only; raises UnknownTown, DamagedImage."""
    versions = yield from archive.head_versions()
    heads, old_heads = _heads_to_keep(versions, now - keep.commits)
    oldest = yield from archive.head_of(heads[-1])
    files = yield from _files(archive)
    needed = _needed(files, oldest.manifest.txid, keep, now)
    if oldest.manifest.snapshot is not None:
        needed.add(keys.snapshot(archive.town_id, oldest.manifest.snapshot.txid))
    needed.update(keys.spill(archive.town_id, spill.min_txid, spill.max_txid) for spill in oldest.manifest.spills)
    base = _base_of_window(files, now - keep.window)
    rows, old_rows = yield from _journal(archive, None if base is None else base.time)
    doomed = [Doomed(keys.head(archive.town_id), version.size, version.version_id) for version in old_heads]
    doomed += [Doomed(file.key, file.size) for file in files if file.key not in needed]
    doomed += old_rows
    kept = [version.size for version in heads] + [file.size for file in files if file.key in needed] + rows
    return RetentionPlan(archive.town_id, tuple(doomed), len(kept), sum(kept))


def carry_out(archive: Archive, decided: RetentionPlan) -> Steps[int]:
    """Delete what the plan names; returns how many objects went. Doing it again does no harm."""
    for each in decided.doomed:
        if each.version_id is None:
            yield Call(f"delete {each.key}", partial(archive.objects.delete, each.key))
        else:
            name = f"delete_version {each.key} {each.version_id}"
            yield Call(name, partial(archive.versions.delete_version, each.key, each.version_id))
    return len(decided.doomed)


def _heads_to_keep(
    versions: tuple[ObjectVersion, ...], since: datetime
) -> tuple[list[ObjectVersion], list[ObjectVersion]]:
    """The versions that were the newest one at some time since then, newest first, and the others."""
    kept: list[ObjectVersion] = []
    for position, version in enumerate(versions):
        kept.append(version)
        if version.at <= since:
            return kept, list(versions[position + 1 :])
    return kept, []


def _needed(files: list[_File], oldest_txid: int, keep: Keep, now: datetime) -> set[str]:
    """Keys that a retained restore point stands on, or that a retained or coming head may refer to."""
    needed: set[str] = set()
    for file in files:
        age = now - file.time
        if file.span[1] >= oldest_txid or age <= (keep.snapshots if file.snapshot else keep.spills):
            needed.update(_chain(files, file))
    base = _base_of_window(files, now - keep.window)
    if base is not None:
        needed.add(base.key)
    return needed


def _chain(files: list[_File], end: _File) -> set[str]:
    """A file and everything it stands on, back to a snapshot."""
    chain = {end.key}
    while not end.snapshot:
        below = sorted((file for file in files if file.span[1] == end.span[0] - 1), key=lambda file: file.span[0])
        if not below:
            break
        end = below[0]
        chain.add(end.key)
    return chain


def _base_of_window(files: list[_File], start: datetime) -> _File | None:
    """The newest snapshot at or before the start of the window; the oldest one if the town is younger."""
    snapshots = sorted((file for file in files if file.snapshot), key=lambda file: file.span[1])
    before = [file for file in snapshots if file.time <= start]
    if before:
        return before[-1]
    return snapshots[0] if snapshots else None


def _files(archive: Archive) -> Steps[list[_File]]:
    found = []
    for key, span in sorted((yield from archive.files()).items()):
        blob, header = yield from archive.header_of(key)
        found.append(_File(key, span, from_milliseconds(header.time_ms), blob))
    return found


def _journal(archive: Archive, base: datetime | None) -> Steps[tuple[list[int], list[Doomed]]]:
    """Sizes of the journal objects that stay, and those that end before the base of the window."""
    kept: list[int] = []
    doomed: list[Doomed] = []
    for key in (yield from all_keys(archive.objects, keys.journal_prefix(archive.town_id))):
        found: StoredObject | None = yield Call(f"get {key}", partial(archive.objects.get, key))
        if found is None:
            continue
        last = publish.rows_of(found.body, key)[-1]
        if base is None or from_text(last["now"]) > base:
            kept.append(len(found.body))
        else:
            doomed.append(Doomed(key, len(found.body)))
    return kept, doomed

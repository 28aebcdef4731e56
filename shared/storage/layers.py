"""The layers of an image: an optional snapshot, the spills and the patch files that follow it, and the tail inside the head.

The tail holds every page that changed since the layers below it, as patches of them (`patches`), so a commit writes one object.
Example, commits 1 to 900 of a growing town:

    commit 1 to 200    head: [whole image]                                      the head carries everything
    commit 201         head: snapshot 1-200, [patches of 201]                   the tail of 200 was too long: now a snapshot
    commit 206         head: snapshot 1-200, patches 201-205, [206]             the tail of 205 was too long: now a patch file
    commit 400         head: snapshot 1-200, spill 201-399, [400]               the patch files were too many: now a spill
    commit 900         head: snapshot 1-899, [900]                              the spills together were too long

A patch file costs what its commits changed, and is there so that the tail of each commit is short. A spill has whole pages, for
Litestream and as a restore point; in a town whose changes are scattered it has ten times as many bytes, so it is made rarely.

An immutable object is created from a commit that stands, before the next head refers to it. If the worker dies in between,
the object is correct and no head refers to it yet. Another worker that starts from the same commit makes the same bytes, so an
object that exists already is as good as one just written.

A small town gets a snapshot each day as well. Its head carries the whole image and does not need the snapshot, but rebuilding
the past starts from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from shared.domain.errors import ConditionRace, DeletedMeanwhile, PreconditionFailed, StoreUnavailable
from shared.domain.images import Content, PageChange
from shared.images.pages import bytes_of, lock_page, some_pages
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.storage import keys, ltx, patch_files, patches
from shared.storage.head import FORMAT_OF_PATCHES, Manifest, PatchFileRef, SnapshotRef, SpillRef
from shared.storage.mending import damaged

WHOLE_UP_TO: Final = 128 * 1024
"""A head that carries the whole image in more bytes gets a snapshot below it: each commit would cost more than that costs once."""
PATCH_FILE_ABOVE: Final = 16 * 1024
"""A tail of more bytes becomes a patch file: the next tails begin anew."""
PATCH_FILES: Final = 128
"""So many patch files, or those of more bytes than the snapshot, become a spill: a load has to read them one by one."""
SPILLS_WEIGH: Final = 4
"""A snapshot is made when the spills together have more bytes than so many snapshots: it bounds what a load has to read."""
LARGE_ABOVE: Final = 8 * 1024 * 1024
SNAPSHOT_EVERY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a committed image, according to its head.

    - `tail_pages`: the numbers of the pages in the tail.
    - `pages_below`, `originals`: the size of the image below the tail, and the pages there that the tail changes. If the head
      carries the whole image, there is nothing below: 0 and none.
    - `base`: the newest published snapshot, even if the head carries the whole image.
    - `patched_pages`: the numbers of the pages in the patch files.
    - `patched`: whether the tail is patches. Those of older heads are whole pages.
    """

    snapshot: SnapshotRef | None
    base: SnapshotRef | None
    spills: tuple[SpillRef, ...]
    tail_start: int
    tail: bytes
    tail_pages: frozenset[int]
    pages_below: int = 0
    originals: Mapping[int, bytes] = field(default_factory=dict, compare=False, repr=False)
    patch_files: tuple[PatchFileRef, ...] = ()
    patched_pages: frozenset[int] = frozenset()
    patched: bool = False

    @property
    def whole(self) -> bool:
        """Whether the head carries the whole image."""
        return self.tail_start == 1


@dataclass(frozen=True, slots=True)
class ImmutableObject:
    """An immutable object that is created from a committed image: a snapshot, a spill, a patch file or a block of journal rows.

    `decoded` reads its content from its bytes, and raises DamagedImage, which names the key.
    """

    key: str
    body: bytes
    snapshot: SnapshotRef | None = None
    spill: SpillRef | None = None
    patch_file: PatchFileRef | None = None
    decoded: Callable[[bytes, str], object] = ltx.decode


def next_layers(
    below: Layers | None,
    published: ImmutableObject | None,
    image: Content,
    changed: Mapping[int, PageChange],
    *,
    manifest: Manifest,
    pages_before: int = 0,
) -> tuple[Manifest, Layers]:
    """The layers of the commit of `manifest`, and the manifest that describes them.

    `below` are the layers of the commit before it (None: the new head carries its whole image), `published` is the immutable
    object that was created from that commit, `changed` are the pages that differ from it, as they were and as they are,
    and `pages_before` is its size.
    """
    if below is None:
        return manifest, _whole(image, manifest, base=None)
    if below.whole and (published is None or not _outgrown(below, manifest)):
        base = below.base if published is None else published.snapshot
        return manifest.model_copy(update={"base": base}), _whole(image, manifest, base=base)
    lower = _lower(below, published)
    pages_below = min(pages_before if published is not None else below.pages_below, manifest.pages)
    originals = dict(below.originals) if published is None else {}
    for number, (before, _) in changed.items():
        originals.setdefault(number, before or b"")
    originals = {number: page for number, page in originals.items() if number <= pages_below and page}
    skipped = lock_page(manifest.page_size)
    since = below.tail_pages if published is None else _NO_PAGES
    numbers = frozenset(number for number in (*since, *changed) if number <= manifest.pages and number != skipped)
    pages = some_pages(image, sorted(numbers), page_size=manifest.page_size)
    tail = patches.encoded(pages, originals, pages_below=pages_below, size=manifest.pages)
    start = below.tail_start if published is None else manifest.txid
    fields = manifest.model_dump() | {
        "format": FORMAT_OF_PATCHES,
        "patched": True,
        "snapshot": lower.snapshot,
        "base": lower.snapshot,
        "spills": lower.spills,
        "patch_files": lower.patch_files,
        "tail_start": start,
    }
    return Manifest(**fields), Layers(
        lower.snapshot,
        lower.snapshot,
        lower.spills,
        start,
        tail,
        numbers,
        pages_below,
        originals,
        lower.patch_files,
        lower.patched_pages,
        patched=True,
    )


@dataclass(frozen=True, slots=True)
class _Lower:
    """The layers below a tail."""

    snapshot: SnapshotRef | None
    spills: tuple[SpillRef, ...] = ()
    patch_files: tuple[PatchFileRef, ...] = ()
    patched_pages: frozenset[int] = frozenset()


def _lower(below: Layers, published: ImmutableObject | None) -> _Lower:
    """The layers below the next tail: those below the last one, and what was published of it."""
    if published is not None and published.snapshot is not None:
        return _Lower(published.snapshot)
    if published is not None and published.spill is not None:
        return _Lower(below.snapshot, (*below.spills, published.spill))
    if published is not None and published.patch_file is not None:
        files = (*below.patch_files, published.patch_file)
        return _Lower(below.snapshot, below.spills, files, below.patched_pages | below.tail_pages)
    return _Lower(below.snapshot, below.spills, below.patch_files, below.patched_pages)


def _whole(image: Content, manifest: Manifest, *, base: SnapshotRef | None) -> Layers:
    tail = _snapshot_body(image, manifest)
    return Layers(None, base, (), 1, tail, frozenset(range(1, manifest.pages + 1)) - {lock_page(manifest.page_size)})


_NO_PAGES: Final[frozenset[int]] = frozenset()


def to_publish(below: Layers, image: Content, manifest: Manifest) -> ImmutableObject | None:
    """The immutable object to create from the committed image now; None if none is needed yet."""
    if below.whole:
        due = _outgrown(below, manifest) or _base_is_old(below, manifest)
        return tail_file(below, image, manifest) if due else None
    if _spills_weigh(below) or _base_is_old(below, manifest):
        return snapshot_file(image, manifest)
    if len(below.tail) <= PATCH_FILE_ABOVE:
        return None
    return (
        _patch_file(below, manifest)
        if below.patched and not _patches_weigh(below)
        else tail_file(below, image, manifest)
    )


def _patch_file(below: Layers, manifest: Manifest) -> ImmutableObject:
    span = {"min_txid": below.tail_start, "max_txid": manifest.txid}
    body = patch_files.encode(below.tail, page_size=manifest.page_size, **span)
    ref = PatchFileRef(**span, size=len(body))
    key = keys.patch_file(manifest.town, ref.min_txid, ref.max_txid)
    return ImmutableObject(key, body, patch_file=ref, decoded=patch_files.decode)


def tail_file(below: Layers, image: Content, manifest: Manifest) -> ImmutableObject:
    """What no LTX file has of a committed image, as an LTX file: a snapshot if that is all, else a spill of the pages in the patch
    files and in the tail.
    """
    if below.whole:
        return _snapshot(below.tail, manifest)
    numbers = (number for number in below.patched_pages | below.tail_pages if number <= manifest.pages)
    start = below.patch_files[0].min_txid if below.patch_files else below.tail_start
    body = ltx.encode_delta(
        some_pages(image, sorted(numbers), page_size=manifest.page_size),
        page_size=manifest.page_size,
        pages=manifest.pages,
        min_txid=start,
        max_txid=manifest.txid,
        at=manifest.time,
        epoch=manifest.epoch,
    )
    spill = SpillRef(min_txid=start, max_txid=manifest.txid, size=len(body))
    return ImmutableObject(keys.spill(manifest.town, spill.min_txid, spill.max_txid), body, spill=spill)


def snapshot_file(image: Content, manifest: Manifest) -> ImmutableObject:
    """A committed image as a snapshot."""
    return _snapshot(_snapshot_body(image, manifest, dense=True), manifest)


def _snapshot(body: bytes, manifest: Manifest) -> ImmutableObject:
    ref = SnapshotRef(txid=manifest.txid, size=len(body), time=manifest.time)
    return ImmutableObject(keys.snapshot(manifest.town, manifest.txid), body, snapshot=ref)


def _snapshot_body(image: Content, manifest: Manifest, *, dense: bool = False) -> bytes:
    """The body of the snapshot of a commit."""
    size, at = manifest.page_size, manifest.time
    return ltx.encode_snapshot(
        bytes_of(image), page_size=size, txid=manifest.txid, at=at, epoch=manifest.epoch, dense=dense
    )


def settle_publication(objects: ObjectStore, wanted: ImmutableObject, answer: object) -> Steps[bool]:
    """Whether the object exists, given the answer to its create. Raises DamagedImage if it exists with other content.

    Other bytes with the same content are accepted: another release of the compressor made them.
    """
    if isinstance(answer, StoreUnavailable | ConditionRace | PreconditionFailed):
        try:
            there: StoredObject | None = yield Call(f"get {wanted.key}", partial(objects.get, wanted.key))
        except StoreUnavailable:
            return False
        if there is None:
            return False
        if there.body != wanted.body and wanted.decoded(there.body, wanted.key) != wanted.decoded(
            wanted.body, wanted.key
        ):
            raise damaged(wanted.key, "its content is not that of the commit in its name")
        return True
    if isinstance(answer, Exception):
        raise answer
    return True


def deleted(what: str) -> DeletedMeanwhile:
    """The error for an object that was listed and then was not there. A store that lists it again has lost it."""
    return DeletedMeanwhile(
        f"{what} was deleted after it was listed",
        hint="retention ran at the same time: repeat the call. If it fails again, somebody else deletes objects of this town",
    )


def _outgrown(below: Layers, manifest: Manifest) -> bool:
    """Whether the image has become too long to write, or too large to encode, as a whole in the head of each commit."""
    return len(below.tail) > WHOLE_UP_TO or manifest.image_bytes > LARGE_ABOVE


def _spills_weigh(below: Layers) -> bool:
    return below.snapshot is not None and sum(spill.size for spill in below.spills) > SPILLS_WEIGH * below.snapshot.size


def _patches_weigh(below: Layers) -> bool:
    files = below.patch_files
    largest = 0 if below.snapshot is None else below.snapshot.size
    return len(files) >= PATCH_FILES or sum(file.size for file in files) > largest


def _base_is_old(below: Layers, manifest: Manifest) -> bool:
    """Whether a snapshot is needed to keep the restore window: the newest one is a day old, or there is none."""
    return below.base is None or manifest.time - below.base.time >= SNAPSHOT_EVERY

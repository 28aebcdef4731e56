"""The layers of an image: an optional snapshot, the spills that follow it, and the tail inside the head.

The tail holds every page that changed since the last spill or snapshot, so a commit writes one object. Example, commits 1
to 300 of a growing town:

    commit 1 to 200      head: [whole image]                                        the head carries everything
    commit 201           head: snapshot 1-200, [pages of 201]                       the tail of 200 was too long: now a snapshot
    commit 260           head: snapshot 1-200, spill 201-259, [pages of 260]        the tail of 259 was too long: now a spill
    commit 300           head: snapshot 1-299, [pages of 300]                       the spills together exceeded half the snapshot

An immutable object is created from a commit that stands, before the next head refers to it. If the worker dies in between,
the object is correct and no head refers to it yet. Another worker that starts from the same commit makes the same bytes, so an
object that exists already is as good as one just written.

A small town gets a snapshot each day as well. Its head carries the whole image and does not need the snapshot, but rebuilding
the past starts from it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from shared.domain.errors import ConditionRace, DamagedImage, DeletedMeanwhile, PreconditionFailed, StoreUnavailable
from shared.domain.images import Content
from shared.images import image_digest
from shared.images.pages import bytes_of, lock_page, some_pages
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps, Together
from shared.storage import keys, ltx
from shared.storage.head import Head, Manifest, SnapshotRef, SpillRef

SPILL_ABOVE: Final = 512 * 1024
LARGE_ABOVE: Final = 8 * 1024 * 1024
SNAPSHOT_EVERY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a committed image, according to its head.

    - `tail_pages`: the numbers of the pages in the tail.
    - `blocks`: the tail pages that this process has compressed. The next tail carries most of them again.
    - `base`: the newest published snapshot, even if the head carries the whole image.
    """

    snapshot: SnapshotRef | None
    base: SnapshotRef | None
    spills: tuple[SpillRef, ...]
    tail_start: int
    tail: bytes
    tail_pages: frozenset[int]
    blocks: Mapping[int, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def whole(self) -> bool:
        """Whether the head carries the whole image."""
        return self.tail_start == 1


@dataclass(frozen=True, slots=True)
class ImmutableObject:
    """An immutable object that is created from a committed image: a snapshot, a spill or a block of journal rows."""

    key: str
    body: bytes
    snapshot: SnapshotRef | None = None
    spill: SpillRef | None = None


def read_layers(objects: ObjectStore, head: Head, *, key: str) -> Steps[tuple[bytes, Layers]]:
    """The whole image of a head and its layers, verified by the image digest of the manifest.

    Raises DamagedImage, which names the object that is missing or damaged.
    """
    manifest = head.manifest
    below = _objects_below(manifest)
    answers: list[Any] = []
    if below:
        answers = yield Together(tuple(Call(f"get {ref}", partial(objects.get, ref)) for ref, _ in below))
    image = bytearray(manifest.image_bytes)
    for (ref, span), answer in zip(below, answers, strict=True):
        if isinstance(answer, Exception):
            raise answer
        _lay(image, _checked(answer, ref, span))
    tail = ltx.decode(head.tail, key)
    expected = (manifest.page_size, manifest.pages, manifest.tail_start, manifest.txid)
    if (tail.header.page_size, tail.header.pages, tail.header.min_txid, tail.header.max_txid) != expected:
        raise damaged(key, "its manifest and its pages belong to different commits")
    _lay(image, tail)
    found = bytes(image)
    if image_digest.digest_of(found, manifest.page_size) != manifest.image_digest:
        raise damaged(key, "its pages do not match the image digest of its manifest")
    return found, Layers(
        manifest.snapshot, manifest.base, manifest.spills, manifest.tail_start, head.tail, frozenset(tail.pages)
    )


def next_layers(
    below: Layers | None,
    published: ImmutableObject | None,
    image: Content,
    changed: Collection[int],
    *,
    manifest: Manifest,
) -> tuple[Manifest, Layers]:
    """The layers of the commit of `manifest`, and the manifest that describes them.

    `below` are the layers of the commit before it (None: the new head carries its whole image), `published` is the immutable
    object that was created from that commit, `changed` are the numbers of the pages that differ from it.
    """
    if below is None:
        return manifest, _whole(image, manifest, base=None)
    if below.whole and (published is None or not _outgrown(below, manifest)):
        base = below.base if published is None else published.snapshot
        return manifest.model_copy(update={"base": base}), _whole(image, manifest, base=base)
    if published is None:
        snapshot, spills, start, since = below.snapshot, below.spills, below.tail_start, below.tail_pages
    elif published.snapshot is not None:
        snapshot, spills, start, since = published.snapshot, (), manifest.txid, _NO_PAGES
    else:
        snapshot, spills, start, since = below.snapshot, _with(below.spills, published.spill), manifest.txid, _NO_PAGES
    size, skipped = manifest.page_size, lock_page(manifest.page_size)
    numbers = frozenset(number for number in (*since, *changed) if number <= manifest.pages and number != skipped)
    pages = some_pages(image, sorted(numbers), page_size=size)
    kept = since - frozenset(changed)
    blocks = {
        number: below.blocks[number] if number in kept and number in below.blocks else ltx.block_of(page)
        for number, page in pages.items()
    }
    tail = ltx.encode_delta(
        pages,
        page_size=size,
        pages=manifest.pages,
        min_txid=start,
        max_txid=manifest.txid,
        at=manifest.time,
        blocks=blocks,
    )
    fields = manifest.model_dump() | {"snapshot": snapshot, "base": snapshot, "spills": spills, "tail_start": start}
    return Manifest(**fields), Layers(snapshot, snapshot, spills, start, tail, numbers, blocks)


def _whole(image: Content, manifest: Manifest, *, base: SnapshotRef | None) -> Layers:
    tail = ltx.encode_snapshot(bytes_of(image), page_size=manifest.page_size, txid=manifest.txid, at=manifest.time)
    return Layers(None, base, (), 1, tail, frozenset(range(1, manifest.pages + 1)) - {lock_page(manifest.page_size)})


def _with(spills: tuple[SpillRef, ...], spill: SpillRef | None) -> tuple[SpillRef, ...]:
    return spills if spill is None else (*spills, spill)


_NO_PAGES: Final[frozenset[int]] = frozenset()


def to_publish(below: Layers, image: Content, manifest: Manifest) -> ImmutableObject | None:
    """The immutable object to create from the committed image now; None if none is needed yet."""
    town = manifest.town
    if below.whole:
        if not _outgrown(below, manifest) and not _base_is_old(below, manifest):
            return None
        ref = SnapshotRef(txid=manifest.txid, size=len(below.tail), time=manifest.time)
        return ImmutableObject(keys.snapshot(town, manifest.txid), below.tail, snapshot=ref)
    if _spills_weigh(below) or _base_is_old(below, manifest):
        body = ltx.encode_snapshot(bytes_of(image), page_size=manifest.page_size, txid=manifest.txid, at=manifest.time)
        ref = SnapshotRef(txid=manifest.txid, size=len(body), time=manifest.time)
        return ImmutableObject(keys.snapshot(town, manifest.txid), body, snapshot=ref)
    if len(below.tail) <= SPILL_ABOVE:
        return None
    spill = SpillRef(min_txid=below.tail_start, max_txid=manifest.txid, size=len(below.tail))
    return ImmutableObject(keys.spill(town, spill.min_txid, spill.max_txid), below.tail, spill=spill)


def settle_publication(objects: ObjectStore, wanted: ImmutableObject, answer: object) -> Steps[bool]:
    """Whether the object exists, given the answer to its create. Raises DamagedImage if it exists with other bytes."""
    if isinstance(answer, StoreUnavailable | ConditionRace | PreconditionFailed):
        try:
            there: StoredObject | None = yield Call(f"get {wanted.key}", partial(objects.get, wanted.key))
        except StoreUnavailable:
            return False
        if there is None:
            return False
        if there.body != wanted.body:
            raise damaged(wanted.key, "its bytes are not those of the commit in its name")
        return True
    if isinstance(answer, Exception):
        raise answer
    return True


def damaged(key: str, problem: str) -> DamagedImage:
    """The error for an object whose content contradicts its name or its manifest."""
    return DamagedImage(
        f"{key} is damaged: {problem}",
        hint="the object was not changed; restore the town to an earlier commit",
    )


def deleted(what: str) -> DeletedMeanwhile:
    """The error for an object that was listed and then was not there. A store that lists it again has lost it."""
    return DeletedMeanwhile(
        f"{what} was deleted after it was listed",
        hint="retention ran at the same time: repeat the call. If it fails again, somebody else deletes objects of this town",
    )


def _outgrown(below: Layers, manifest: Manifest) -> bool:
    """Whether the image has become too long to write, or too large to encode, as a whole in the head of each commit."""
    return len(below.tail) > SPILL_ABOVE or manifest.image_bytes > LARGE_ABOVE


def _spills_weigh(below: Layers) -> bool:
    return below.snapshot is not None and sum(spill.size for spill in below.spills) > below.snapshot.size / 2


def _base_is_old(below: Layers, manifest: Manifest) -> bool:
    """Whether a snapshot is needed to keep the restore window: the newest one is a day old, or there is none."""
    return below.base is None or manifest.time - below.base.time >= SNAPSHOT_EVERY


def _objects_below(manifest: Manifest) -> list[tuple[str, tuple[int, int]]]:
    town_id = manifest.town
    found: list[tuple[str, tuple[int, int]]] = []
    if manifest.snapshot is not None:
        found.append((keys.snapshot(town_id, manifest.snapshot.txid), (1, manifest.snapshot.txid)))
    found += [
        (keys.spill(town_id, spill.min_txid, spill.max_txid), (spill.min_txid, spill.max_txid))
        for spill in manifest.spills
    ]
    return found


def _checked(answer: StoredObject | None, key: str, span: tuple[int, int]) -> ltx.LtxFile:
    if answer is None:
        raise damaged(key, "it is missing, but the head of its town needs it")
    file = ltx.decode(answer.body, key)
    if (file.header.min_txid, file.header.max_txid) != span:
        raise damaged(key, "its transactions are not those in its name")
    return file


def _lay(image: bytearray, file: ltx.LtxFile) -> None:
    """Put the pages of a file into the image; pages beyond the end of the newest image are skipped."""
    size = file.header.page_size
    for number, page in file.pages.items():
        start = (number - 1) * size
        if start < len(image):
            image[start : start + size] = page

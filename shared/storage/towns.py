"""The town store: versioned images, kept as objects with conditional writes, and inboxes and due markers.

Every method is a generator that yields its store calls. The first head of a town is written after its due marker, because a
town with work must always have a marker.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal

from shared.domain.errors import Conflict, TownError, TownExists
from shared.domain.images import Content, JournalBlock
from shared.domain.times import whole_milliseconds
from shared.images import image_digest
from shared.images.pages import LARGEST_IMAGE, bytes_of, change_between, page_size_in, page_size_of
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps, Together
from shared.ports.town_store import CommitFacts, Published, SeenTown, TownImage
from shared.storage import commit, head, keys, layer_reading, layers, publish, town_listing, waiting_room
from shared.storage.archiving import ArchivingStore
from shared.storage.scratch import ScratchDirectory
from shared.storage.watch import ObjectWatch
from shared.town.large_images import large_image

NOTHING_PUBLISHED: Final = Published()
_READ_AT_ONCE: Final = 20  # heads, which hold up to a few hundred kilobytes each
_USUAL_MANIFEST: Final = 4096
"""The start of a head that holds the manifest of nearly every town, so that one request reads it."""
_UNREADABLE: Final = ""
"""Stands for the commit id in a head that cannot be read. No commit has it."""
IN_FILES_ABOVE: Final = 1024 * 1024
"""Larger images are kept in files while they are in use.

An image in memory is copied and compared as a whole for each commit. Above about 1 MiB it is cheaper to keep it in a file and
take the changed pages from SQLite's rollback journal (`shared.town.large_images`), and above 8 MiB it is the only way to keep
the cost of a tick independent of the size of the town.
"""


class ObjectTownStore(ArchivingStore, ObjectWatch):
    """The TownStore port over any ObjectStore. Images of more than `large_above` bytes are kept in files while in use.

    It loads no image of more than `largest` bytes, because this process has no room for one.
    """

    def __init__(
        self, objects: ObjectStore, *, large_above: int = IN_FILES_ABOVE, largest: int = LARGEST_IMAGE
    ) -> None:
        super().__init__(objects)
        self._largest = largest
        self._large_above = large_above
        self._scratch = ScratchDirectory()

    def load(self, town_id: str, *, known: TownImage | None = None) -> Steps[TownImage]:
        """The newest image; `known` if it is still the newest. Raises UnknownTown, DamagedImage, WrongTown, ImageTooLarge."""
        key = keys.head(town_id)
        found: StoredObject | Literal["unchanged"] | None
        if known is None or known.town_id != town_id:
            found = yield Call(f"get {key}", partial(self._objects.get, key))
        else:
            get_if_changed = partial(self._objects.get_if_changed, key, known.etag)
            found = yield Call(f"get_if_changed {key}", get_if_changed)
            if found == "unchanged":
                return known
        if not isinstance(found, StoredObject):
            raise (yield from waiting_room.no_head(self._objects, town_id))
        read = head.decode(found.body, key=key, town_id=town_id)
        head.guard_room(read.manifest.image_bytes, largest=self._largest, what=key)
        image, below = yield from layer_reading.read_layers(self._objects, read, key=key)
        return self._town_image(read.manifest, image=image, etag=found.etag, below=below)

    def create(self, town_id: str, image: bytes, facts: CommitFacts) -> Steps[TownImage]:
        """Commit the first image (txid 1) and mark the town due. Raises TownExists."""
        there = yield Call(f"start_of {keys.head(town_id)}", partial(self._objects.start_of, keys.head(town_id), 1))
        if there is not None:
            raise _exists(town_id)  # first: no marker is written for a town without work
        yield from waiting_room.require_free(self._objects, town_id)
        page_size = page_size_of(image)
        manifest = _manifest(
            town_id,
            image,
            facts,
            txid=1,
            page_size=page_size,
            image_digest=image_digest.digest_of(image, page_size),
        )
        marker = yield from self.mark_due(town_id, facts.next_due or facts.time)
        manifest, below = layers.next_layers(None, None, image, {}, manifest=manifest)
        body = head.encode(manifest, below.tail)
        etag = yield from commit.first_head(self._objects, town_id, body, commit_id=facts.commit_id)
        if etag is None:
            raise _exists(town_id)
        yield from self.ensure(marker)
        return self._town_image(manifest, image=image, etag=etag, below=below)

    def replace_lost(
        self, town_id: str, image: bytes, facts: CommitFacts, *, txid: int, damaged: StoredObject | None
    ) -> Steps[TownImage]:
        """Commit an image as `txid` where the head is missing, or in place of a `damaged` one, which becomes a past version.

        Raises Conflict, having changed nothing, if somebody else wrote a head first.
        """
        page_size = page_size_of(image)
        digest = image_digest.digest_of(image, page_size)
        manifest = _manifest(town_id, image, facts, txid=txid, page_size=page_size, image_digest=digest)
        manifest, below = layers.next_layers(None, None, image, {}, manifest=manifest)
        body = head.encode(manifest, below.tail)
        if damaged is None:
            etag = yield from commit.first_head(self._objects, town_id, body, commit_id=facts.commit_id)
        else:
            etag = yield from commit.next_head(
                self._objects,
                town_id,
                body,
                commit_id=facts.commit_id,
                base_etag=damaged.etag,
                base_commit_id=_UNREADABLE,
            )
        if etag is None:
            raise Conflict(
                f"town {town_id}: somebody else wrote its head first", hint="look at the town again: it may be mended"
            )
        return self._town_image(manifest, image=image, etag=etag, below=below)

    def publication(self, image: TownImage, block: JournalBlock | None) -> publish.ObjectPublication:
        """The objects to publish from a committed image before its successor refers to them. Makes no call."""
        return publish.ObjectPublication.of(self._objects, image, block)

    def commit(
        self, base: TownImage, image: Content, facts: CommitFacts, *, published: Published = NOTHING_PUBLISHED
    ) -> Steps[TownImage]:
        """Replace `base` by `image` (txid + 1), or raise Conflict having changed nothing. Lost answers are resolved.

        After StoreUnavailable the commit may stand; the next load shows whether it does. A commit whose answer was lost and
        that another commit has followed is reported as Conflict, because the head no longer names it.
        """
        page_size = page_size_in(image)
        changed = change_between(base.content, image)
        manifest = _manifest(
            base.town_id,
            image,
            facts,
            txid=base.txid + 1,
            page_size=page_size,
            image_digest=image_digest.digest_of(bytes_of(image), page_size)
            if changed is None
            else image_digest.updated(base.image_digest, changed),
        )
        manifest, below = layers.next_layers(
            None if changed is None else publish.layers_of(base),
            _layer_of(published),
            image,
            changed or {},
            manifest=manifest,
            pages_before=base.size // page_size,
        )
        etag = yield from commit.next_head(
            self._objects,
            base.town_id,
            head.encode(manifest, below.tail),
            commit_id=facts.commit_id,
            base_etag=base.etag,
            base_commit_id=base.facts.commit_id,
        )
        if etag is None:
            raise Conflict(
                f"town {base.town_id}: another worker committed after commit {base.txid} first",
                hint="drop the work of this run; the next run starts from the newest image",
            )
        return self._town_image(manifest, image=image, etag=etag, below=below)

    def towns(self, *, after: str = "", limit: int | None = None, prefix: str = "") -> Steps[tuple[str, ...]]:
        """The ids of all towns that have a head, ascending. With `prefix`, those that begin with it.

        With `limit`, the next ones after the town `after`, in the order of their keys, in which `a-b` comes before `a`. Each
        page of keys starts after the last town of the previous page, so a long inbox needs no further pages; or with its head, if
        the page ended in its archive.
        """
        seen = yield from self._seen(after=after, limit=limit, prefix=prefix)
        found = tuple(town.town_id for town in seen)
        return tuple(sorted(found)) if limit is None else found

    def towns_seen(self, *, after: str = "", limit: int) -> Steps[tuple[SeenTown, ...]]:
        """As `towns` with a limit, with what the listing shows of each inbox: its objects come behind the head of their town.

        Inboxes in a table are not in that listing, so they are asked, many at the same time.
        """
        seen = yield from self._seen(after=after, limit=limit, prefix="")
        if self._room is self._objects:
            return seen
        return (yield from self.with_waiting(seen))

    def _seen(self, *, after: str, limit: int | None, prefix: str) -> Steps[tuple[SeenTown, ...]]:
        found: list[SeenTown] = []
        place = keys.after_town_of(keys.head(after)) if after else ""
        while True:
            page = yield from self.listed(keys.towns_beginning(prefix), after=place, limit=waiting_room.PAGE)
            found += town_listing.towns_in(page)
            if (limit is not None and len(found) >= limit) or not page.more:
                return tuple(found[:limit])
            place = town_listing.place_after(page.keys[-1])

    def headless(self, *, put_away: bool = False) -> Steps[tuple[str, ...]]:
        """The ids of the towns that have lost their head, but not their history, ascending. A few calls for each town.

        With `put_away`, those that were put away instead.
        """
        found: list[str] = []
        place = ""
        while (page := (yield from self.listed(keys.TOWNS, after=place, limit=1))).keys:
            town_id = keys.town_of(page.keys[0])
            place = keys.after_town_of(page.keys[0])
            if town_id is None or keys.town_of_head(page.keys[0]) is not None:
                continue
            key = keys.head(town_id)
            there: bytes | None = yield Call(f"start_of {key}", partial(self._objects.start_of, key, 1))
            left = yield from (waiting_room.put_away_at if put_away else waiting_room.lost_by)(self._objects, town_id)
            if there is None and left is not None:
                found.append(town_id)
        return tuple(sorted(found))

    def standings(self, town_ids: Sequence[str]) -> Steps[tuple[CommitFacts | TownError, ...]]:
        """The facts of the newest commit of each of these towns, or why they cannot be read. Only heads are transferred."""
        found: list[CommitFacts | TownError] = []
        for begin in range(0, len(town_ids), _READ_AT_ONCE):
            part = town_ids[begin : begin + _READ_AT_ONCE]
            heads: list[object] = yield Together(tuple(self._get_head(town) for town in part))
            found += [_standing(town_id, answer) for town_id, answer in zip(part, heads, strict=True)]
        return tuple(found)

    def standing(self, town_id: str) -> Steps[CommitFacts]:
        """The facts of the newest commit, from the manifest alone. Raises UnknownTown, DamagedImage, WrongTown, SchemaMismatch.

        A longer manifest is read again as a whole; the head may have changed in between, and then its newer manifest counts.
        """
        key, length = keys.head(town_id), _USUAL_MANIFEST
        while True:
            start: bytes | None = yield Call(f"start_of {key}", partial(self._objects.start_of, key, length))
            if start is None:
                raise (yield from waiting_room.no_head(self._objects, town_id))
            end = head.end_of_manifest(start, key=key)
            if end <= len(start) or len(start) < length:
                return _facts(head.manifest_in(start, key=key, town_id=town_id))
            length = end

    def manifests(self, town_ids: Sequence[str]) -> Steps[tuple[CommitFacts | TownError, ...]]:
        """As `standing`, of several towns at the same time, or why they cannot be read. Raises no error of a single town."""
        starts: list[object] = yield Together(tuple(self._start_of_head(town) for town in town_ids))
        found: list[CommitFacts | TownError] = []
        for town_id, start in zip(town_ids, starts, strict=True):
            try:
                found.append(_facts_at(start, town_id) or (yield from self.standing(town_id)))
            except TownError as error:
                found.append(error)
        return tuple(found)

    def _start_of_head(self, town_id: str) -> Call:
        key = keys.head(town_id)
        return Call(f"start_of {key}", partial(self._objects.start_of, key, _USUAL_MANIFEST))

    def _get_head(self, town_id: str) -> Call:
        key = keys.head(town_id)
        return Call(f"get {key}", partial(self._objects.get, key))

    def _town_image(self, manifest: head.Manifest, *, image: Content, etag: str, below: layers.Layers) -> TownImage:
        if isinstance(image, bytes) and len(image) > self._large_above:
            image = large_image(image, self._scratch, page_size=manifest.page_size)
        return TownImage(
            town_id=manifest.town,
            content=image,
            etag=etag,
            txid=manifest.txid,
            image_digest=manifest.image_digest,
            facts=_facts(manifest),
            layers=below,
        )


def _facts_at(start: object, town_id: str) -> CommitFacts | None:
    """The facts in the start of a head; None if it must be read again. Raises the error that the store answered with."""
    if isinstance(start, Exception):
        raise start
    key = keys.head(town_id)
    if not isinstance(start, bytes) or (head.end_of_manifest(start, key=key) > len(start) >= _USUAL_MANIFEST):
        return None
    return _facts(head.manifest_in(start, key=key, town_id=town_id))


def _standing(town_id: str, answer: object) -> CommitFacts | TownError:
    """The facts in a head, or why it cannot be read. Raises any other error that the store answered with."""
    if isinstance(answer, TownError):
        return answer
    if isinstance(answer, Exception):
        raise answer
    if not isinstance(answer, StoredObject):
        return waiting_room.unknown(town_id)
    try:
        return _facts(head.decode(answer.body, key=keys.head(town_id), town_id=town_id).manifest)
    except TownError as error:
        return error


def _facts(manifest: head.Manifest) -> CommitFacts:
    return CommitFacts(
        commit_id=manifest.commit_id,
        tick_no=manifest.tick_no,
        time=manifest.time,
        next_due=manifest.next_due,
        schema_version=manifest.schema_version,
        drain_nonce=manifest.drain_nonce,
        epoch=manifest.epoch,
    )


def _exists(town_id: str) -> TownExists:
    return TownExists(f"town {town_id} already exists", hint="use it, or choose another id")


def _manifest(
    town_id: str, image: Content, facts: CommitFacts, *, txid: int, page_size: int, image_digest: str
) -> head.Manifest:
    size = len(image) if isinstance(image, bytes) else image.page_size * image.pages
    head.guard_size(size, what=f"town {town_id}")
    return head.Manifest(
        format=head.format_of(facts.epoch),
        town=town_id,
        txid=txid,
        commit_id=facts.commit_id,
        time=whole_milliseconds(facts.time),
        page_size=page_size,
        pages=size // page_size,
        image_digest=image_digest,
        schema_version=facts.schema_version,
        next_due=None if facts.next_due is None else whole_milliseconds(facts.next_due),
        tick_no=facts.tick_no,
        drain_nonce=facts.drain_nonce,
        epoch=facts.epoch,
    )


def _layer_of(published: Published) -> layers.ImmutableObject | None:
    return published.layer if isinstance(published.layer, layers.ImmutableObject) else None

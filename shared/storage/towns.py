"""The town store: images with a version, an inbox and due markers, kept as objects under conditional writes.

Every method is a generator that yields its store calls. Two orders matter and are easily broken:

* An event is acknowledged after its due marker *and* its inbox object were written, and after the marker was
  seen once more: a worker may have deleted it between the two, having read the inbox too early to find the
  object. For its part whoever deletes a marker looks at the inbox again *afterwards*. One of the two always
  sees the other.
* A first head is written after its due marker, for the same reason.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from shared.domain.errors import (
    ConditionRace,
    Conflict,
    PreconditionFailed,
    Refused,
    StoreUnavailable,
    TownExists,
    UnknownTown,
)
from shared.domain.ports import Listing, ObjectStore, StoredObject
from shared.domain.steps import Call, Steps, Together
from shared.domain.times import whole_milliseconds
from shared.domain.town_store import (
    CommitFacts,
    DueMarker,
    InboxObject,
    InboxReading,
    JournalBlock,
    Published,
    TownImage,
)
from shared.storage import commit, digest, head, keys, layers, publish
from shared.storage.pages import PageChange, changed_pages, page_size_of

NOTHING_PUBLISHED: Final = Published()

_PAGE: Final = 1000  # keys a listing, the most that S3 gives
_READ_AT_ONCE: Final = 100
_INBOX_BYTES: Final = 64 << 20  # a reading stops after so much, to bound a worker's memory; the rest waits


class ObjectTownStore:
    """The TownStore port over any ObjectStore."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def load(self, town_id: str, *, known: TownImage | None = None) -> Steps[TownImage]:
        """The newest image; `known` itself if it still is. Raises UnknownTown, DamagedImage, WrongTown,
        ImageTooLarge.
        """
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
            raise _unknown(town_id)
        read = head.decode(found.body, key=key, town_id=town_id)
        image, below = yield from layers.read_layers(self._objects, read, key=key)
        return _town_image(read.manifest, image=image, etag=found.etag, below=below)

    def create(self, town_id: str, image: bytes, facts: CommitFacts) -> Steps[TownImage]:
        """Commit the first image (txid 1) and mark the town due. Raises TownExists."""
        page_size = page_size_of(image)
        manifest = _manifest(
            town_id,
            image,
            facts,
            txid=1,
            page_size=page_size,
            image_digest=digest.digest_of(image, page_size),
        )
        marker = yield from self.mark_due(town_id, facts.next_due or facts.time)
        manifest, below = layers.next_layers(None, None, image, (), manifest=manifest)
        body = head.encode(manifest, below.tail)
        etag = yield from commit.first_head(self._objects, town_id, body, commit_id=facts.commit_id)
        if etag is None:
            raise TownExists(f"town {town_id} exists already", hint="use it, or choose another id")
        yield from self._ensure(marker)
        return _town_image(manifest, image=image, etag=etag, below=below)

    def publication(self, image: TownImage, block: JournalBlock | None) -> publish.Publication:
        """What is to be made immutable of a committed image before its successor refers to it."""
        return publish.Publication.of(self._objects, image, _manifest_of(image), block)

    def commit(
        self, base: TownImage, image: bytes, facts: CommitFacts, *, published: Published = NOTHING_PUBLISHED
    ) -> Steps[TownImage]:
        """Replace `base` by `image` (txid + 1) or raise Conflict having changed nothing. Lost answers are
        resolved.

        StoreUnavailable leaves open whether the commit stands: the next load shows it. A commit whose answer
        was lost and which another one has already followed is reported as Conflict, because the head no
        longer names it.
        """
        page_size = page_size_of(image)
        changed = _changed(base, image, page_size)
        manifest = _manifest(
            base.town_id,
            image,
            facts,
            txid=base.txid + 1,
            page_size=page_size,
            image_digest=digest.digest_of(image, page_size)
            if changed is None
            else digest.updated(base.image_digest, changed),
        )
        manifest, below = layers.next_layers(
            None if changed is None else _layers_of(base), _layer_of(published), image, changed or (), manifest=manifest
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
                f"town {base.town_id}: another commit followed {base.txid} first",
                hint="drop this run's work; the next trigger starts from the newest image",
            )
        return _town_image(manifest, image=image, etag=etag, below=below)

    def towns(self) -> Steps[tuple[str, ...]]:
        """The ids of all towns that have a head, ascending.

        After each page the rest of its last town's objects is jumped over, so a long inbox costs no further
        pages.
        """
        found: list[str] = []
        after = ""
        while True:
            page = yield from self._list(keys.TOWNS, after=after, limit=_PAGE)
            found += [town for town in map(keys.town_of_head, page.keys) if town is not None]
            if not page.more:
                return tuple(sorted(found))
            after = keys.after_town_of(page.keys[-1])

    def post(self, town_id: str, body: bytes, *, received_at: datetime, batch_id: str, wake: bool) -> Steps[str]:
        """Make a batch durable and return its key; with `wake` a due marker exists when this returns.

        Raises UnknownTown, and Refused (409) if that batch id was posted with another body. Posting the same
        batch again changes nothing.
        """
        key = keys.inbox_object(town_id, received_at, batch_id)
        yield from self._require_head(town_id)
        if not wake:
            yield from self._create_batch(key, body)
            return key
        marker = yield from self.mark_due(town_id, received_at)
        yield from self._create_batch(key, body)
        yield from self._ensure(marker)
        return key

    def read_inbox(self, town_id: str, *, limit: int) -> Steps[InboxReading]:
        """The oldest batches, as many as are needed for `limit` events if each batch held one.

        Fewer if they are very large: a reading ends after 64 MiB.
        """
        prefix = keys.inbox(town_id)
        objects: list[InboxObject] = []
        looked_at, size, after = 0, 0, ""
        while looked_at < limit and size < _INBOX_BYTES:
            page = yield from self._list(prefix, after=after, limit=min(_READ_AT_ONCE, limit - looked_at))
            found = yield from self._read(page.keys)
            objects += found
            if not page.more:
                return InboxReading(tuple(objects), more=False)
            looked_at += len(page.keys)
            size += sum(len(batch.body) for batch in found)
            after = page.keys[-1]
        return InboxReading(tuple(objects), more=True)

    def clear_inbox(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete batches whose events are committed. Keys that are gone already are no error."""
        yield from self._delete(keys, only=_lies_in_an_inbox)

    def mark_due(self, town_id: str, at: datetime) -> Steps[DueMarker]:
        """Write the marker of that second."""
        marker = keys.due_marker(town_id, at)
        yield Call(f"put {marker.key}", partial(self._objects.put, marker.key, b""))
        return marker

    def clear_due(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete markers. Keys that are gone already are no error."""
        yield from self._delete(keys, only=_is_marker)

    def due(self, now: datetime) -> Steps[tuple[DueMarker, ...]]:
        """All markers of `now` or earlier, oldest first. Other objects that lie among them are passed
        over.
        """
        end = keys.after_due(now)
        found: list[DueMarker] = []
        after = ""
        while True:
            page = yield from self._list(keys.DUE, after=after, limit=_PAGE)
            markers = (keys.marker_of(key) for key in page.keys if key < end)
            found += [marker for marker in markers if marker is not None]
            if not page.more or page.keys[-1] >= end:
                return tuple(found)
            after = page.keys[-1]

    def _require_head(self, town_id: str) -> Steps[None]:
        """Raise UnknownTown if the town was never created. A listing, because it moves no image."""
        key = keys.head(town_id)
        listing = yield from self._list(key, after="", limit=1)
        if key not in listing.keys:
            raise _unknown(town_id)

    def _create_batch(self, key: str, body: bytes) -> Steps[None]:
        for _ in range(commit.TRIES):
            try:
                yield Call(f"create {key}", partial(self._objects.create, key, body))
            except (PreconditionFailed, ConditionRace):
                there: StoredObject | None = yield Call(f"get {key}", partial(self._objects.get, key))
                if there is None:
                    # a tick has taken it meanwhile; whose body it was nobody knows, so ours goes in again
                    continue
                if there.body == body:
                    return
                raise Refused(
                    f"{key}: another batch was posted under this id",
                    status=409,
                    path="batch_id",
                    hint="give every batch an id of its own; nothing of this one was stored",
                ) from None
            else:
                return
        raise StoreUnavailable(f"create {key}: the object comes and goes", hint="post the batch again")

    def _ensure(self, marker: DueMarker) -> Steps[None]:
        """Write the marker again if somebody deleted it since."""
        there: StoredObject | None = yield Call(f"get {marker.key}", partial(self._objects.get, marker.key))
        if there is None:
            yield from self.mark_due(marker.town_id, marker.at)

    def _list(self, prefix: str, *, after: str, limit: int) -> Steps[Listing]:
        name = f"list {prefix}" + (f" after {after}" if after else "")
        listing: Listing = yield Call(name, partial(self._objects.list, prefix, after=after, limit=limit))
        return listing

    def _read(self, found: Sequence[str]) -> Steps[list[InboxObject]]:
        """The objects of these keys that are still there, in the same order."""
        if not found:
            return []
        answers = yield from _all(tuple(Call(f"get {key}", partial(self._objects.get, key)) for key in found))
        return [InboxObject(key, answer.body) for key, answer in zip(found, answers, strict=True) if answer is not None]

    def _delete(self, doomed: Sequence[str], *, only: Callable[[str], bool]) -> Steps[None]:
        if strangers := [key for key in doomed if not only(key)]:
            raise ValueError(f"never deleted here: {strangers}")
        calls = tuple(Call(f"delete {key}", partial(self._objects.delete, key)) for key in doomed)
        if calls:
            yield from _all(calls)


def _all(calls: tuple[Call, ...]) -> Steps[list[Any]]:
    """The answers of calls that are made at once. Raises the first failure after all of them were made."""
    answers: list[Any] = yield Together(calls)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _lies_in_an_inbox(key: str) -> bool:
    return keys.is_inbox_object(key)


def _is_marker(key: str) -> bool:
    return key.startswith(keys.DUE)


def _manifest(
    town_id: str, image: bytes, facts: CommitFacts, *, txid: int, page_size: int, image_digest: str
) -> head.Manifest:
    head.guard_size(len(image), what=f"town {town_id}")
    return head.Manifest(
        town=town_id,
        txid=txid,
        commit_id=facts.commit_id,
        time=whole_milliseconds(facts.time),
        page_size=page_size,
        pages=len(image) // page_size,
        image_digest=image_digest,
        schema_version=facts.schema_version,
        next_due=None if facts.next_due is None else whole_milliseconds(facts.next_due),
        tick_no=facts.tick_no,
    )


def _changed(base: TownImage, image: bytes, page_size: int) -> Mapping[int, PageChange] | None:
    """The pages that differ from the base; None if the page size does, and so everything."""
    return changed_pages(base.image, image, page_size) if page_size_of(base.image) == page_size else None


def _layers_of(image: TownImage) -> layers.Layers:
    if not isinstance(image.layers, layers.Layers):
        raise TypeError("a base image comes from load, create or commit of a town store")
    return image.layers


def _layer_of(published: Published) -> layers.Object | None:
    return published.layer if isinstance(published.layer, layers.Object) else None


def _manifest_of(image: TownImage) -> head.Manifest:
    """The manifest of a committed image, made again of what is known of it."""
    below = _layers_of(image)
    size = page_size_of(image.image)
    return head.Manifest(
        town=image.town_id,
        txid=image.txid,
        commit_id=image.facts.commit_id,
        time=image.facts.time,
        page_size=size,
        pages=len(image.image) // size,
        image_digest=image.image_digest,
        snapshot=below.snapshot,
        base=below.base,
        spills=below.spills,
        tail_start=below.tail_start,
        schema_version=image.facts.schema_version,
        next_due=image.facts.next_due,
        tick_no=image.facts.tick_no,
    )


def _town_image(manifest: head.Manifest, *, image: bytes, etag: str, below: layers.Layers) -> TownImage:
    return TownImage(
        town_id=manifest.town,
        image=image,
        etag=etag,
        txid=manifest.txid,
        image_digest=manifest.image_digest,
        facts=CommitFacts(
            commit_id=manifest.commit_id,
            tick_no=manifest.tick_no,
            time=manifest.time,
            next_due=manifest.next_due,
            schema_version=manifest.schema_version,
        ),
        layers=below,
    )


def _unknown(town_id: str) -> UnknownTown:
    return UnknownTown(
        f"there is no town {town_id} here",
        hint="create it first, or look at the data directory or bucket that is named",
    )

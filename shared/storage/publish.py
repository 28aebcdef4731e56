"""Publishing: creating immutable objects from a committed image before its successor refers to them.

There are at most two for each image: one of pages (a snapshot, a spill or a patch file, see `layers`), and one of the oldest
journal rows, which leave the image in the next commit. They are created together with the other calls at the start of a tick,
and both depend only on committed state. So every worker that starts from that state makes the same bytes and can use existing
objects.

For example, tick 500 gets 372 as its input `journal_published_to` if the object with the rows up to tick 372 exists; then it
deletes those rows from the image. If the create failed, it gets 0 and keeps them. So every row is always in at least one place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import lz4.frame

from shared.domain import limits, strict_json
from shared.domain.images import JournalBlock
from shared.images.pages import page_size_in
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Call, Steps
from shared.ports.town_past import JournalRow, journal_row
from shared.ports.town_store import Published, TownImage
from shared.storage import keys, layers
from shared.storage.head import FORMAT_OF_PATCHES, Manifest, format_of
from shared.storage.mending import damaged
from shared.town import packed_rows

JOURNAL_FORMATS: Final = (1, packed_rows.BLOCK_FORMAT)
LARGEST: Final = 2 * limits.EVENTS_PER_TICK * limits.EVENT_SIZE
"""Bytes of an unpacked object, which ends with the row that makes it large: a row has the events of one tick."""
DEEPEST: Final = 2 * strict_json.DEEPEST  # a payload in a row in a list
MOST_VALUES: Final = 4 * strict_json.MOST_VALUES


@dataclass(frozen=True, slots=True)
class ObjectPublication:
    """The Publication port for one committed image; often there is nothing to publish."""

    objects: ObjectStore
    pages: layers.ImmutableObject | None
    rows: layers.ImmutableObject | None
    journal_to: int

    @classmethod
    def of(cls, objects: ObjectStore, image: TownImage, block: JournalBlock | None) -> "ObjectPublication":
        """The objects to publish from a committed image and the oldest rows of its journal."""
        pages = layers.to_publish(layers_of(image), image.content, manifest_of(image))
        if block is None:
            return cls(objects, pages, None, 0)
        return cls(objects, pages, journal_object(image.town_id, block), block.max_tick)

    @property
    def wanted(self) -> tuple[layers.ImmutableObject, ...]:
        """The objects in the order of `calls`."""
        return tuple(each for each in (self.pages, self.rows) if each is not None)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The creates."""
        return tuple(Call(f"create {each.key}", _creating(self.objects, each)) for each in self.wanted)

    def settled(self, answers: tuple[object, ...]) -> Steps[Published]:
        """Which objects exist. The next tick tries again to publish the others; no head refers to them."""
        layer: layers.ImmutableObject | None = None
        journal_to = 0
        for wanted, answer in zip(self.wanted, answers, strict=True):
            stands = yield from layers.settle_publication(self.objects, wanted, answer)
            if stands and wanted is self.pages:
                layer = wanted
            elif stands:
                journal_to = self.journal_to
        return Published(layer, journal_to)


def layers_of(image: TownImage) -> layers.Layers:
    """The layers of a committed image. Raises TypeError if it does not come from a town store."""
    if not isinstance(image.layers, layers.Layers):
        raise TypeError("a base image must come from load, create or commit of a town store")
    return image.layers


def manifest_of(image: TownImage) -> Manifest:
    """The manifest of a committed image, rebuilt from its fields."""
    below = layers_of(image)
    page_size = page_size_in(image.content)
    return Manifest(
        format=FORMAT_OF_PATCHES if below.patched else format_of(image.facts.epoch),
        town=image.town_id,
        txid=image.txid,
        commit_id=image.facts.commit_id,
        time=image.facts.time,
        page_size=page_size,
        pages=image.size // page_size,
        image_digest=image.image_digest,
        snapshot=below.snapshot,
        base=below.base,
        spills=below.spills,
        tail_start=below.tail_start,
        schema_version=image.facts.schema_version,
        next_due=image.facts.next_due,
        tick_no=image.facts.tick_no,
        drain_nonce=image.facts.drain_nonce,
        epoch=image.facts.epoch,
        patched=below.patched,
        patch_files=below.patch_files,
    )


def read_block(body: bytes) -> bytes:
    """The JSON of a journal object. Raises RuntimeError unless the body is exactly one complete LZ4 frame of at most LARGEST."""
    unpacking = lz4.frame.LZ4FrameDecompressor()
    content: bytes = unpacking.decompress(body, max_length=LARGEST + 1)
    if len(content) > LARGEST:
        raise RuntimeError(f"it has more than {LARGEST >> 20} MiB")
    if not unpacking.eof or unpacking.unused_data:
        raise RuntimeError("it is cut off, or bytes follow the frame")
    return content


def rows_of(body: bytes, key: str) -> list[JournalRow]:
    """The rows of a journal object, from the first to the last tick in its name. Raises DamagedImage, which names the object."""
    try:
        content = strict_json.foreign(read_block(body), limit=LARGEST, depth=DEEPEST, values=MOST_VALUES)
        known = content["format"] in JOURNAL_FORMATS
        rows = [journal_row(packed_rows.row_in_full(row)) for row in content["ticks"]] if known else []
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        why = f" ({error})" if isinstance(error, RuntimeError | strict_json.UnreadableJson) else ""
        raise damaged(key, f"its journal rows cannot be read{why}") from error
    if not known:
        raise damaged(
            key, f"it has format {content['format']!r}, this version reads formats 1 and {packed_rows.BLOCK_FORMAT}"
        )
    numbers = [row["tick_no"] for row in rows]
    if numbers != sorted(set(numbers)) or (numbers[:1] + numbers[-1:]) != list(keys.ticks_of(key) or ()):
        raise damaged(key, "its ticks are not those in its name")
    return rows


def journal_object(town_id: str, block: JournalBlock) -> layers.ImmutableObject:
    """The journal object of these rows."""
    key = keys.journal(town_id, block.min_tick, block.max_tick)
    return layers.ImmutableObject(key, compressed(block.body), decoded=rows_of)


def compressed(body: bytes) -> bytes:
    """The body of a journal object: one LZ4 frame with a checksum of its content."""
    packed: bytes = lz4.frame.compress(body, compression_level=9, content_checksum=True, store_size=True)
    return packed


def _creating(objects: ObjectStore, wanted: layers.ImmutableObject) -> Callable[[], str]:
    return lambda: objects.create(wanted.key, wanted.body)

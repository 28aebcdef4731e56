"""Publishing: creating immutable objects from a committed image before its successor refers to them.

There are at most two for each image: one of pages (a spill or a snapshot, see `layers`), and one of the oldest journal rows,
which leave the image in the next commit. They are created together with the other calls at the start of a tick, and both
depend only on committed state. So every worker that starts from that state makes the same bytes and can use existing objects.

For example, tick 500 gets 372 as its input `journal_published_to` if the object with the rows up to tick 372 exists; then it
deletes those rows from the image. If the create failed, it gets 0 and keeps them. So every row is always in at least one place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import lz4.frame

from shared.domain import limits, strict_json
from shared.domain.images import JournalBlock
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Call, Steps
from shared.ports.town_past import JournalRow, journal_row
from shared.ports.town_store import Published, TownImage
from shared.storage import keys, layers
from shared.storage.head import Manifest

JOURNAL_FORMAT: Final = 1
_LARGEST: Final = 2 * limits.EVENTS_PER_TICK * limits.EVENT_SIZE
"""Bytes of an unpacked object, which ends with the row that makes it large: a row has the events of one tick."""
_DEEPEST: Final = 2 * strict_json.DEEPEST  # a payload in a row in a list
_MOST_VALUES: Final = 4 * strict_json.MOST_VALUES


@dataclass(frozen=True, slots=True)
class ObjectPublication:
    """The Publication port for one committed image; often there is nothing to publish."""

    objects: ObjectStore
    pages: layers.ImmutableObject | None
    rows: layers.ImmutableObject | None
    journal_to: int

    @classmethod
    def of(
        cls, objects: ObjectStore, image: TownImage, manifest: Manifest, block: JournalBlock | None
    ) -> "ObjectPublication":
        """The objects to publish from a committed image and the oldest rows of its journal."""
        below = image.layers
        pages = layers.to_publish(below, image.content, manifest) if isinstance(below, layers.Layers) else None
        if block is None:
            return cls(objects, pages, None, 0)
        rows = layers.ImmutableObject(
            keys.journal(image.town_id, block.min_tick, block.max_tick), compressed(block.body)
        )
        return cls(objects, pages, rows, block.max_tick)

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


def read_block(body: bytes) -> bytes:
    """The JSON of a journal object. Raises RuntimeError unless the body is exactly one complete LZ4 frame of at most _LARGEST."""
    unpacking = lz4.frame.LZ4FrameDecompressor()
    content: bytes = unpacking.decompress(body, max_length=_LARGEST + 1)
    if len(content) > _LARGEST:
        raise RuntimeError(f"it has more than {_LARGEST >> 20} MiB")
    if not unpacking.eof or unpacking.unused_data:
        raise RuntimeError("it is cut off, or bytes follow the frame")
    return content


def rows_of(body: bytes, key: str) -> list[JournalRow]:
    """The rows of a journal object, from the first to the last tick in its name. Raises DamagedImage, which names the object."""
    try:
        content = strict_json.foreign(read_block(body), limit=_LARGEST, depth=_DEEPEST, values=_MOST_VALUES)
        known = content["format"] == JOURNAL_FORMAT
        rows = [journal_row(row) for row in content["ticks"]] if known else []
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        why = f" ({error})" if isinstance(error, RuntimeError | strict_json.UnreadableJson) else ""
        raise layers.damaged(key, f"its journal rows cannot be read{why}") from error
    if not known:
        raise layers.damaged(key, f"it has format {content['format']!r}, this version reads format {JOURNAL_FORMAT}")
    numbers = [row["tick_no"] for row in rows]
    if numbers != sorted(set(numbers)) or (numbers[:1] + numbers[-1:]) != list(keys.ticks_of(key) or ()):
        raise layers.damaged(key, "its ticks are not those in its name")
    return rows


def compressed(body: bytes) -> bytes:
    """The body of a journal object: one LZ4 frame with a checksum of its content."""
    packed: bytes = lz4.frame.compress(body, compression_level=0, content_checksum=True, store_size=True)
    return packed


def _creating(objects: ObjectStore, wanted: layers.ImmutableObject) -> Callable[[], str]:
    return lambda: objects.create(wanted.key, wanted.body)

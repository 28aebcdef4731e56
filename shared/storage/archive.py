"""The archive objects of towns: publishing a block of ended beads, and finding beads that have left an image.

Publishing creates the block, the shard and, when both exist, the index; only then does a tick remove the beads. All depend only on
committed state, so another worker that starts from it makes the same objects. Reading caches indexes and shards, which never
change.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from shared.domain import strict_json
from shared.domain.errors import DamagedImage, Retryable
from shared.domain.images import ArchiveBlock, Record
from shared.domain.tick import Archived
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps, Together
from shared.storage import keys, layers, publish
from shared.storage.archive_index import Index, Shard, hash_of, shard_of
from shared.storage.listing import all_keys, all_sizes
from shared.storage.mending import damaged
from shared.town import archive

_AT_ONCE: Final = 20
_CACHED_BYTES: Final = 8 << 20


@dataclass(slots=True)
class TownArchives:
    """The archives of the towns in a store."""

    objects: ObjectStore
    _cache: "OrderedDict[str, bytes]" = field(default_factory=OrderedDict)
    _cached: int = 0

    def publish(self, town_id: str, txid: int, block: ArchiveBlock, *, index: int) -> Steps[Archived | None]:
        """Create the objects for a block that leaves the image of commit `txid`, which relies on the index of commit `index`.

        None if one of them could not be created for a passing reason, or stands with other content: then another past of the town
        used this number, and a later commit has one of its own. None as well if the index cannot be read: the beads stay in the
        image, and doctor says why. Raises AccessDenied and other Terminal errors.
        """
        try:
            before = yield from self._index(town_id, index)
            number = before.merged_next()
            shard = yield from self._shard(town_id, before.shards[number], number)
            after, merged = before.followed_by(txid, block.bead_ids, shard, previous=index)
            first = [layers.ImmutableObject(keys.archive_block(town_id, txid), publish.compressed(block.body))]
            if merged.entries:
                first.append(layers.ImmutableObject(keys.archive_index(town_id, txid, number), merged.encoded()))
            last = layers.ImmutableObject(keys.archive_index(town_id, txid), after.encoded())
            stand = (yield from self._created(first)) and (yield from self._created([last]))
        except (Retryable, DamagedImage):
            return None
        return Archived(txid, block.bead_ids) if stand else None

    def _created(self, wanted: Sequence[layers.ImmutableObject]) -> Steps[bool]:
        calls = tuple(Call(f"create {each.key}", partial(self.objects.create, each.key, each.body)) for each in wanted)
        answers: list[object] = yield Together(calls)
        stand = True
        for each, answer in zip(wanted, answers, strict=True):
            try:
                stand = (yield from layers.settle_publication(self.objects, each, answer)) and stand
            except DamagedImage:  # whatever stands there is not ours, and nothing leaves the image for it
                stand = False
        return stand

    def find(self, town_id: str, bead_ids: Iterable[str], *, index: int) -> Steps[dict[str, int]]:
        """The commits of the blocks in which these beads are, by their ids; those that were never archived are left out.

        If the index cannot be read, all blocks are, which takes long. Raises DamagedImage if one of them cannot be read either.
        """
        wanted = {bead_id: hash_of(bead_id) for bead_id in dict.fromkeys(bead_ids)}
        if not index or not wanted:
            return {}
        try:
            return (yield from self._looked_up(town_id, wanted, index))
        except DamagedImage:
            return (yield from self._searched(town_id, wanted, index))

    def _looked_up(self, town_id: str, wanted: Mapping[str, bytes], index: int) -> Steps[dict[str, int]]:
        root = yield from self._index(town_id, index)
        found = {bead_id: root.find(hashed) for bead_id, hashed in wanted.items()}
        shards = sorted({shard_of(wanted[bead_id]) for bead_id, block in found.items() if block is None})
        read: dict[int, Shard] = {}
        for shard in shards:
            if root.shards[shard]:
                read[shard] = yield from self._shard(town_id, root.shards[shard], shard)
        for bead_id, block in found.items():
            if block is None and shard_of(wanted[bead_id]) in read:
                found[bead_id] = read[shard_of(wanted[bead_id])].find(wanted[bead_id])
        return {bead_id: block for bead_id, block in found.items() if block is not None}

    def _searched(self, town_id: str, wanted: Iterable[str], index: int) -> Steps[dict[str, int]]:
        """The same without the index: every block, newest first, until all of the beads are found."""
        found: dict[str, int] = {}
        left = set(wanted)
        for txid in (yield from self.blocks(town_id, index=index)):
            if not left:
                break
            records = yield from self.block(town_id, txid)
            here = left.intersection(bead_id for record in records for bead_id in archive.bead_ids_in(record))
            found |= dict.fromkeys(sorted(here), txid)
            left -= here
        return found

    def archived(self, town_id: str, bead_ids: Iterable[str], *, index: int) -> Steps[dict[str, Record]]:
        """The families of these beads as they left the image, by the ids of those that were asked for and are archived."""
        blocks = yield from self.find(town_id, bead_ids, index=index)
        found: dict[str, Record] = {}
        for block in sorted(set(blocks.values())):
            records = yield from self.block(town_id, block)
            for bead_id in (each for each, where in blocks.items() if where == block):
                record = next((each for each in records if bead_id in archive.bead_ids_in(each)), None)
                if record is not None:
                    found[bead_id] = record
        return found

    def block(self, town_id: str, txid: int) -> Steps[list[Record]]:
        """The families in a block. Raises DamagedImage, which names the object."""
        key = keys.archive_block(town_id, txid)
        stored: StoredObject | None = yield Call(f"get {key}", partial(self.objects.get, key))
        if stored is None:
            raise damaged(key, "it is missing, but the archive's index names it")
        return families_in(stored.body, key)

    def blocks(self, town_id: str, *, index: int) -> Steps[tuple[int, ...]]:
        """The commits of the town's blocks that an image with this index may rely on, newest first."""
        if not index:
            return ()
        found = yield from all_keys(self.objects, keys.archive_blocks(town_id))
        commits = [txid for key in found if (txid := keys.archive_block_of(key)) is not None and txid <= index]
        return tuple(sorted(commits, reverse=True))

    def newest_in(self, town_id: str, txid: int, *, index: int) -> Steps[tuple[Record, ...]]:
        """The families in a block, without those that came back and left again later, or left only in another past."""
        records = yield from self.block(town_id, txid)
        ids = [bead_id for record in records for bead_id in archive.bead_ids_in(record)]
        where = yield from self.find(town_id, ids, index=index)
        return tuple(
            record for record in records if any(where.get(bead_id) == txid for bead_id in archive.bead_ids_in(record))
        )

    def superseded(self, town_id: str, *, oldest: int) -> Steps[dict[str, int]]:
        """The objects of the index on which no image from commit `oldest` on relies, with their sizes.

        Since that commit there must have been no restore in place, which makes a later image rely on an earlier index.
        The first index that is later than `oldest` names the one before it: that is the oldest one that is still needed, with
        its shards.
        """
        sizes = yield from all_sizes(self.objects, keys.archive_indexes(town_id))
        named = {key: place for key in sizes if (place := keys.archive_index_of(key)) is not None}
        later = sorted(txid for txid, shard in named.values() if shard is None and txid > oldest)
        if not later:
            return {}
        first = (yield from self._index(town_id, later[0])).previous
        kept = yield from self._index(town_id, first)
        needed = {keys.archive_index(town_id, txid, shard) for shard, txid in enumerate(kept.shards) if txid}
        return {key: sizes[key] for key, (txid, _) in named.items() if txid < first and key not in needed}

    def _index(self, town_id: str, txid: int) -> Steps[Index]:
        if not txid:
            return Index()
        key = keys.archive_index(town_id, txid)
        return Index.decoded((yield from self._read(key)), key)

    def _shard(self, town_id: str, txid: int, shard: int) -> Steps[Shard]:
        if not txid:
            return Shard()
        key = keys.archive_index(town_id, txid, shard)
        return Shard.decoded((yield from self._read(key)), key)

    def _read(self, key: str) -> Steps[bytes]:
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        stored: StoredObject | None = yield Call(f"get {key}", partial(self.objects.get, key))
        if stored is None:
            raise damaged(key, "it is missing, but the town's image relies on it")
        self._cache[key] = stored.body
        self._cached += len(stored.body)
        while self._cached > _CACHED_BYTES and len(self._cache) > 1:
            self._cached -= len(self._cache.popitem(last=False)[1])
        return stored.body


def families_in(body: bytes, key: str) -> list[Record]:
    """The families in the body of a block. Raises DamagedImage, which names the object."""
    try:
        content: Mapping[str, Any] = strict_json.foreign(
            publish.read_block(body), limit=publish.LARGEST, depth=publish.DEEPEST, values=publish.MOST_VALUES
        )
        known = content["format"] == archive.FORMAT
        records: list[Record] = [dict(record) for record in content["families"]] if known else []
        for record in records:
            archive.bead_ids_in(record)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        why = f" ({error})" if isinstance(error, RuntimeError | strict_json.UnreadableJson) else ""
        raise damaged(key, f"its beads cannot be read{why}") from error
    if not known:
        raise damaged(key, f"it has format {content['format']!r}, this version reads format {archive.FORMAT}")
    return records

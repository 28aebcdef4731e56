"""Making the index of a town's archive again from its blocks, which say all that it says.

The blocks of a town's archive are kept for ever, and a block is named by the commit that it left. So the index of commit N is what
the publications of the blocks up to N made, one after another. Blocks of a past that a restore in place has discarded do not
count: their beads are in the image, or were never created. A block whose tick was not committed counts, and does no harm: its beads
left again later, or are in the image, which is asked first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.restores import InPlaceRestore
from shared.ports.steps import Steps
from shared.storage import keys, layers
from shared.storage.archive import TownArchives
from shared.storage.archive_index import Index, Shard, hash_of, shard_of
from shared.storage.mending import damaged
from shared.storage.restore import KeptPast
from shared.town import archive


@dataclass(frozen=True, slots=True)
class Lineage:
    """The restores in place of a town, and the blocks of its archive that are damaged or another town's."""

    restores: tuple[InPlaceRestore, ...]
    lost: frozenset[int] = frozenset()


def index(past: KeptPast, txid: int, lineage: Lineage) -> Steps[list[layers.ImmutableObject]]:
    """The index of commit `txid`, and all shards that it names. Raises DamagedImage if a block is missing or damaged."""
    root, previous = Index(), 0
    shards: dict[int, Shard] = {}
    for block, bead_ids in (yield from _blocks(past, txid, lineage)):
        number = root.merged_next()
        root, merged = root.followed_by(block, bead_ids, shards.get(number, Shard()), previous=previous)
        if merged.entries:
            shards[number] = merged
        previous = block
    if previous != txid:
        raise damaged(keys.archive_block(past.town_id, txid), "it is missing, but the archive's index was made of it")
    named = [(root.shards[number], number, shard) for number, shard in sorted(shards.items())]
    made = [_object(keys.archive_index(past.town_id, at, number), shard) for at, number, shard in named]
    return [*made, _object(keys.archive_index(past.town_id, txid), root)]


def shard(past: KeptPast, txid: int, number: int, lineage: Lineage) -> Steps[layers.ImmutableObject]:
    """One shard as of commit `txid`. Raises DamagedImage if a block is missing or damaged."""
    entries: dict[bytes, int] = {}
    for block, bead_ids in (yield from _blocks(past, txid, lineage)):
        hashes = map(hash_of, bead_ids)
        entries |= {hashed: block for hashed in hashes if shard_of(hashed) == number}
    return _object(keys.archive_index(past.town_id, txid, number), Shard().with_entries(entries))


def is_remembered(txid: int, end: int, restores: Sequence[InPlaceRestore]) -> bool:
    """Whether a commit is in the past of commit `end`: no restore in place before that has discarded it."""
    at = end
    while txid <= at:
        made = max((restore.txid for restore in restores if restore.txid <= at), default=0)
        if made <= txid:
            return True
        at = next(restore.restored_txid for restore in restores if restore.txid == made)
    return False


def _blocks(past: KeptPast, txid: int, lineage: Lineage) -> Steps[list[tuple[int, list[str]]]]:
    """The blocks up to a commit in order, with the ids of their beads."""
    archives = TownArchives(past.objects)
    found: list[tuple[int, list[str]]] = []
    for block in sorted((yield from archives.blocks(past.town_id, index=txid))):
        if is_remembered(block, txid, lineage.restores):
            if block in lineage.lost:
                raise damaged(keys.archive_block(past.town_id, block), "its beads cannot be told from it")
            records = yield from archives.block(past.town_id, block)
            found.append((block, [bead_id for record in records for bead_id in archive.bead_ids_in(record)]))
    return found


def _object(key: str, content: Index | Shard) -> layers.ImmutableObject:
    return layers.ImmutableObject(key, content.encoded(), decoded=type(content).decoded)

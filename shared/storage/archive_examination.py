"""A full check of a town's archive: every object can be read, and all that the index names is there. It changes nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from shared.domain.errors import TownError
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.storage import keys
from shared.storage.archive import families_in
from shared.storage.archive_index import Index, Shard, hash_of
from shared.storage.mending import damaged
from shared.town import archive

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ArchiveProblem:
    """An object of the archive that is missing or damaged: its key, what is wrong, and what to do."""

    key: str
    text: str
    hint: str


def problems(
    objects: ObjectStore, town_id: str, everything: Sequence[str], *, index: int
) -> Steps[list[ArchiveProblem]]:
    """Everything that is wrong in the archive of a town whose image relies on the index of commit `index`.

    `everything` are the keys of the town's objects.
    """
    found: list[ArchiveProblem] = []
    blocks: dict[int, frozenset[bytes]] = {}
    roots: dict[str, Index] = {}
    shards: dict[str, Shard] = {}
    for key in everything:
        if (block := keys.archive_block_of(key)) is not None:
            for hashes in (yield from _read(objects, key, _hashes_in, found)):
                blocks[block] = hashes
        elif (place := keys.archive_index_of(key)) is not None and place[1] is None:
            for root in (yield from _read(objects, key, Index.decoded, found)):
                roots[key] = root
        elif place is not None:
            for shard in (yield from _read(objects, key, Shard.decoded, found)):
                shards[key] = shard
    there = frozenset(everything)
    for key in _needed(town_id, index, roots, shards):
        if key not in there:
            problem = damaged(key, "it is missing, but the town's archive needs it")
            found.append(ArchiveProblem(key, problem.message, problem.hint))
    entries = {key: [(txid, each) for txid, hashes in root.blocks for each in hashes] for key, root in roots.items()}
    entries |= {key: [(txid, hashed) for hashed, txid in shard.all()] for key, shard in shards.items()}
    found += _contradictions(town_id, blocks, entries)
    return found


def _needed(town_id: str, index: int, roots: Mapping[str, Index], shards: Mapping[str, Shard]) -> dict[str, None]:
    """The keys on which an image with this index relies, as far as the objects that can be read say so."""
    if not index:
        return {}
    root = keys.archive_index(town_id, index)
    needed = {root: None} | (dict.fromkeys(_named_by(town_id, roots[root])) if root in roots else {})
    for key in [key for key in needed if key in shards]:
        needed |= {keys.archive_block(town_id, txid): None for _, txid in shards[key].all()}
    return needed


def _contradictions(
    town_id: str, blocks: Mapping[int, frozenset[bytes]], entries: Mapping[str, Sequence[tuple[int, bytes]]]
) -> Iterator[ArchiveProblem]:
    """Objects of another town under the name of one of this town's: an index object names beads that a block does not have.

    Which of the two is the wrong one, others say. Example: the newest index names the beads of blocks 1 to 5, and a shard those of
    block 1. Block 1 was exchanged: both contradict it, and four other blocks confirm the index. The shard was exchanged: block 1
    has what the index says.
    """
    confirmed = {key: {txid for txid, each in named if each in blocks.get(txid, ())} for key, named in entries.items()}
    trusted = set[int]().union(*confirmed.values())
    wrong = [
        key
        for key, named in entries.items()
        if not confirmed[key]
        and (said := {txid for txid, _ in named if txid in blocks})
        and (said & trusted or len(said) > 1)
    ]
    for key in wrong:
        problem = damaged(key, "the blocks of the archive have none of the beads that it names")
        yield ArchiveProblem(key, problem.message, problem.hint)
    left = [each for key, named in entries.items() if key not in wrong for each in named]
    for txid in sorted({txid for txid, hashed in left if txid in blocks and hashed not in blocks[txid]}):
        problem = damaged(keys.archive_block(town_id, txid), "it lacks beads that the archive's index says it has")
        yield ArchiveProblem(keys.archive_block(town_id, txid), problem.message, problem.hint)


def _named_by(town_id: str, root: Index) -> Iterator[str]:
    yield from (keys.archive_block(town_id, txid) for txid, _ in root.blocks)
    yield from (keys.archive_index(town_id, txid, shard) for shard, txid in enumerate(root.shards) if txid)


def _hashes_in(body: bytes, key: str) -> frozenset[bytes]:
    """The hashes of the beads in a block. Raises DamagedImage."""
    return frozenset(hash_of(bead_id) for record in families_in(body, key) for bead_id in archive.bead_ids_in(record))


def _read(
    objects: ObjectStore, key: str, check: Callable[[bytes, str], T], found: list[ArchiveProblem]
) -> Steps[tuple[T, ...]]:
    """What is in an object; nothing, and a problem, if it cannot be read."""
    stored: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
    if stored is None:  # retention has deleted it since it was listed
        return ()
    try:
        return (check(stored.body, key),)
    except TownError as error:
        found.append(ArchiveProblem(key, error.message, error.hint))
        return ()

"""The index of a town's archive: in which block each archived bead is, found with one or two reads, however old the town is.

Each publication writes one block of beads, a new index and one of its SHARDS shards. The index lists the last SHARDS blocks with
the beads in them. Publication n merges shard n modulo SHARDS: it takes from these blocks the beads that belong into the shard, by
the hash of their ids. So a bead is in the index until its shard has it. Example with 128 shards and a town with 1,000 blocks:

    index of block 1,000      lists the beads of blocks 873 to 1,000, and names the newest object of each shard
    shard 104                 was merged at block 1,000: it holds all of its beads
    shard 105                 was merged at block 873: what came later is in the list

A lookup reads the index, and for a bead that is not in its list the bead's shard. All objects are immutable. An index is named by
the commit from which it was published, and the image names the index that it relies on (town key `archive_index`): an image that is
restored finds the archive as it was.

An index entry takes 16 bytes. A town that archives 50 beads an hour for ten years has shards of about 550 KB and an index of at
most 130 KB. Two ids whose hashes have the same 64 bits would hide each other; with ten million beads the chance is 1 to 360,000.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import lz4.frame

from shared.domain import canonical, strict_json
from shared.storage.mending import damaged

SHARDS: Final = 128
FORMAT: Final = 1
_HASH: Final = 8
_ENTRY: Final = 16
_LARGEST: Final = 64 << 20


def hash_of(bead_id: str) -> bytes:
    """The part of the hash of a bead's id by which it is found."""
    return hashlib.sha256(bead_id.encode()).digest()[:_HASH]


def shard_of(hashed: bytes) -> int:
    """The shard that a bead belongs into."""
    return hashed[0] % SHARDS


@dataclass(frozen=True, slots=True)
class Shard:
    """Entries in ascending order of hashes: a hash and the number of a commit each."""

    entries: bytes = b""

    def find(self, hashed: bytes) -> int | None:
        """The commit of the block in which a bead is; None if it is not in this shard."""
        place = bisect_left(range(len(self.entries) // _ENTRY), hashed, key=self._hash)
        if place * _ENTRY >= len(self.entries) or self._hash(place) != hashed:
            return None
        start = place * _ENTRY
        return int.from_bytes(self.entries[start + _HASH : start + _ENTRY])

    def with_entries(self, new: Mapping[bytes, int]) -> "Shard":
        """The shard with these entries, which replace those of the same hash."""
        merged = {**dict(self.all()), **new}
        return Shard(b"".join(hashed + merged[hashed].to_bytes(_ENTRY - _HASH) for hashed in sorted(merged)))

    def all(self) -> Iterable[tuple[bytes, int]]:
        """Every hash with its commit."""
        for start in range(0, len(self.entries), _ENTRY):
            entry = self.entries[start : start + _ENTRY]
            yield entry[:_HASH], int.from_bytes(entry[_HASH:])

    def _hash(self, place: int) -> bytes:
        return self.entries[place * _ENTRY : place * _ENTRY + _HASH]

    def encoded(self) -> bytes:
        """The object."""
        return _packed({"format": FORMAT, "entries": len(self.entries) // _ENTRY}, self.entries)

    @classmethod
    def decoded(cls, body: bytes, key: str) -> "Shard":
        """The shard in an object. Raises DamagedImage, which names it."""
        about, rest = _unpacked(body, key)
        if len(rest) != _ENTRY * _number(about, "entries", key):
            raise damaged(key, "it is cut off")
        return cls(rest)


@dataclass(frozen=True, slots=True)
class Index:
    """The index after `number` publications: the newest blocks with the hashes of their beads, oldest first, and the commit of
    the newest object of each shard (0: there is none). `previous` is the commit of the index from which it was made (0: none).
    """

    number: int = 0
    previous: int = 0
    blocks: tuple[tuple[int, tuple[bytes, ...]], ...] = ()
    shards: tuple[int, ...] = field(default=(0,) * SHARDS)

    def find(self, hashed: bytes) -> int | None:
        """The commit of the block in which a bead is, if that is one of the listed blocks."""
        return next((txid for txid, hashes in reversed(self.blocks) if hashed in hashes), None)

    def merged_next(self) -> int:
        """The shard that the next publication merges."""
        return (self.number + 1) % SHARDS

    def followed_by(self, txid: int, bead_ids: Iterable[str], shard: Shard, *, previous: int) -> tuple["Index", Shard]:
        """The next index, with the block of commit `txid`, and the shard that it merges: `shard` is what that one was.

        `previous` is the commit of this index.
        """
        number = self.merged_next()
        hashes = tuple(sorted(hash_of(bead_id) for bead_id in bead_ids))
        blocks = (*self.blocks, (txid, hashes))[-SHARDS:]
        new = {hashed: block for block, of in blocks for hashed in of if shard_of(hashed) == number}
        merged = shard.with_entries(new)
        shards = list(self.shards)
        if merged.entries:
            shards[number] = txid
        return Index(self.number + 1, previous, blocks, tuple(shards)), merged

    def encoded(self) -> bytes:
        """The object."""
        about = {
            "format": FORMAT,
            "number": self.number,
            "previous": self.previous,
            "blocks": [[txid, len(hashes)] for txid, hashes in self.blocks],
            "shards": list(self.shards),
        }
        return _packed(about, b"".join(hashed for _, hashes in self.blocks for hashed in hashes))

    @classmethod
    def decoded(cls, body: bytes, key: str) -> "Index":
        """The index in an object. Raises DamagedImage, which names it."""
        about, rest = _unpacked(body, key)
        try:
            sizes = [(int(txid), int(count)) for txid, count in about["blocks"]]  # type: ignore[attr-defined]
            shards = tuple(int(txid) for txid in about["shards"])  # type: ignore[attr-defined]
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(key, "its list of blocks cannot be read") from error
        if len(shards) != SHARDS or len(rest) != _HASH * sum(count for _, count in sizes):
            raise damaged(key, "it is cut off")
        blocks, start = [], 0
        for txid, count in sizes:
            hashes = tuple(rest[at : at + _HASH] for at in range(start, start + count * _HASH, _HASH))
            blocks.append((txid, hashes))
            start += count * _HASH
        return cls(_number(about, "number", key), _number(about, "previous", key), tuple(blocks), shards)


def _number(about: Mapping[str, object], name: str, key: str) -> int:
    found = about.get(name)
    if not isinstance(found, int) or found < 0:
        raise damaged(key, f"it does not say its {name}")
    return found


def _packed(about: Mapping[str, object], rest: bytes) -> bytes:
    content = canonical.dumps(dict(about)).encode() + b"\n" + rest
    packed: bytes = lz4.frame.compress(content, compression_level=9, content_checksum=True, store_size=True)
    return packed


def _unpacked(body: bytes, key: str) -> tuple[dict[str, object], bytes]:
    try:
        unpacking = lz4.frame.LZ4FrameDecompressor()
        content: bytes = unpacking.decompress(body, max_length=_LARGEST)
        head, _, rest = content.partition(b"\n")
        about = strict_json.foreign(head, limit=_LARGEST)
    except (RuntimeError, ValueError) as error:
        raise damaged(key, "the index of the archive cannot be read") from error
    if not unpacking.eof or unpacking.unused_data:
        raise damaged(key, "it is cut off, or bytes follow the frame")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise damaged(key, f"this version reads format {FORMAT} of the archive's index")
    return about, rest

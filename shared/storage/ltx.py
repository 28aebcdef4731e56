"""LTX version 3, the file format of Litestream 0.5: the pages of a database after one transaction, or changed by several.

    header     100 bytes: magic, flags, page size, pages of the database, first and last TXID, time in ms, checksums, ...
    frames     one for each page, by ascending page number; six zero bytes end them:
                   page number   u32
                   flags         u16, always 1: the size follows
                   size          u32, of the block
                   page          an LZ4 block
    index      page number, offset and size of each frame as varints, then a zero, then the length of all that as u64
    trailer    u64: checksum of the database after this file (0: not kept)
               u64: CRC-64/ISO of the file

Everything is big-endian. The file checksum covers the pages as they are *before* compression. A file whose first TXID is 1
is a snapshot and holds every page except the lock page. Litestream itself restores these files, byte for byte.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import lz4.block
from fastcrc import crc64

from shared.domain.errors import ImageTooLarge
from shared.domain.times import to_milliseconds
from shared.images.pages import LARGEST_IMAGE, is_page_size, lock_page
from shared.storage.mending import damaged

_MAGIC: Final = b"LTX1"
_NO_CHECKSUM: Final = 2  # header flag: the checksums of the database before and after are omitted
_SIZE_FOLLOWS: Final = 1  # frame flag: the length of the LZ4 block precedes it
_HEADER: Final = struct.Struct(">4sIIIQQQQQQIIQ20x")  # the last Q: the epoch
HEADER_BYTES: Final = _HEADER.size
_FRAME: Final = struct.Struct(">IHI")
_END_OF_FRAMES: Final = bytes(6)
_U64: Final = struct.Struct(">Q")
_TRAILER: Final = struct.Struct(">QQ")
_TOP_BIT: Final = 1 << 63
_CRC_CHUNK: Final = 512  # this many pieces are joined and checksummed in one call


@dataclass(frozen=True, slots=True)
class LtxHeader:
    """The header of an LTX file. `pages` is the size of the database after it, `time_ms` is the time since 1970 in milliseconds.

    `epoch` is the number of restores in place before its last transaction. It stands where Litestream keeps the id of the node
    that wrote the file, which no restore reads.
    """

    page_size: int
    pages: int
    min_txid: int
    max_txid: int
    time_ms: int
    epoch: int = 0

    @property
    def is_snapshot(self) -> bool:
        """Whether the file holds the whole database."""
        return self.min_txid == 1


@dataclass(frozen=True, slots=True)
class LtxFile:
    """A decoded, verified file: its header and its pages by number, ascending."""

    header: LtxHeader
    pages: Mapping[int, bytes]


def encode_snapshot(
    image: bytes, *, page_size: int, txid: int, at: datetime, epoch: int = 0, dense: bool = False
) -> bytes:
    """The whole database as it is after transaction `txid`. `dense` takes longer and makes the file a twentieth smaller."""
    header = LtxHeader(page_size, len(image) // page_size, 1, txid, to_milliseconds(at), epoch)
    skipped = lock_page(page_size)
    view = memoryview(image)
    return _encode(
        header,
        (
            (number, view[(number - 1) * page_size : number * page_size])
            for number in range(1, header.pages + 1)
            if number != skipped
        ),
        dense=dense,
    )


def encode_delta(
    changed: Mapping[int, bytes],
    *,
    page_size: int,
    pages: int,
    min_txid: int,
    max_txid: int,
    at: datetime,
    epoch: int = 0,
) -> bytes:
    """The pages that the transactions `min_txid` to `max_txid` changed, of a database that has `pages` pages after them."""
    if min_txid < 2:
        raise ValueError("a file that starts with transaction 1 is a snapshot; use encode_snapshot")
    header = LtxHeader(page_size, pages, min_txid, max_txid, to_milliseconds(at), epoch)
    skipped = lock_page(page_size)
    numbers = (number for number in sorted(changed) if number != skipped)
    return _encode(header, ((number, changed[number]) for number in numbers), dense=True)


def _block_of(page: bytes | memoryview, *, dense: bool) -> bytes:
    """A page as it is stored in a file: compressed."""
    block: bytes = lz4.block.compress(page, mode="high_compression" if dense else "default", store_size=False)
    return block


def image_of(snapshot: LtxFile) -> bytes:
    """The database in a snapshot. The lock page, if the database is large enough to have one, is zero."""
    skipped = lock_page(snapshot.header.page_size)
    pages = list(snapshot.pages.values())
    if snapshot.header.pages >= skipped:
        pages.insert(skipped - 1, bytes(snapshot.header.page_size))
    return b"".join(pages)


def applied(image: bytes, delta: LtxFile) -> bytes:
    """The database after the transactions of `delta`; `image` is the database before them."""
    page_size = delta.header.page_size
    size = delta.header.pages * page_size
    after = bytearray(image[:size])
    after.extend(bytes(size - len(after)))
    for number, page in delta.pages.items():
        after[(number - 1) * page_size : number * page_size] = page
    return bytes(after)


def read_header(blob: bytes, name: str, *, largest: int = LARGEST_IMAGE) -> LtxHeader:
    """The header alone, checked for consistency. The rest of the file is not read. `name` is for error messages.

    Raises DamagedImage, and ImageTooLarge if the database is larger than `largest` bytes.
    """
    if len(blob) < _HEADER.size:
        raise damaged(name, f"its LTX part ends after {len(blob)} bytes, inside the header")
    magic, flags, page_size, pages, min_txid, max_txid, time_ms, before, *_, epoch = _HEADER.unpack_from(blob)
    if magic != _MAGIC:
        raise damaged(name, f"it starts with {magic!r}, not with {_MAGIC!r}")
    if flags != _NO_CHECKSUM:
        raise damaged(name, f"its LTX header has flags {flags}; only {_NO_CHECKSUM} is supported")
    if before != 0:
        raise damaged(name, f"its LTX header has checksum {before} of the database before it; only 0 is supported")
    if not is_page_size(page_size) or pages < 1:
        raise damaged(name, f"its LTX header gives {pages} pages of {page_size} bytes")
    if pages * page_size > largest:
        raise ImageTooLarge(
            f"{name} describes an image of {pages * page_size} bytes, more than {largest}",
            hint="if you trust the file and a parameter allows more, raise it; else restore the town to an earlier commit",
        )
    if not 1 <= min_txid <= max_txid:
        raise damaged(name, f"its LTX header gives transactions {min_txid} to {max_txid}")
    return LtxHeader(page_size, pages, min_txid, max_txid, time_ms, epoch)


def decode(blob: bytes, name: str, *, largest: int = LARGEST_IMAGE) -> LtxFile:
    """Decode and check every byte of a file, whose pages together have at most `largest` bytes.

    Raises DamagedImage, which names the object by `name`, and ImageTooLarge before anything is decompressed.
    """
    header = read_header(blob, name, largest=largest)
    pages: dict[int, bytes] = {}
    checksum = _Checksum()
    checksum.add(blob[: _HEADER.size])
    index: list[bytes] = []
    expected, skipped = 1, lock_page(header.page_size)
    at = _HEADER.size
    while (frame := blob[at : at + _FRAME.size])[:6] != _END_OF_FRAMES:
        if len(frame) < _FRAME.size:
            raise damaged(name, f"it ends inside the frame at byte {at}")
        number, flags, size = _FRAME.unpack(frame)
        start, end = at + _FRAME.size, at + _FRAME.size + size
        if flags != _SIZE_FOLLOWS or end > len(blob):
            raise damaged(name, f"the frame at byte {at} has flags {flags} and {size} bytes")
        if number > header.pages or number < expected or number == skipped:
            raise damaged(name, f"page {number} of {header.pages} comes where page {expected} is expected")
        if header.is_snapshot and number != expected:
            raise damaged(name, f"page {expected} is missing")
        pages[number] = page = _decompressed(blob[start:end], header.page_size, number, name)
        checksum.add(frame)
        checksum.add(page)
        index.append(_index_entry(number, at, end - at))
        expected = number + 2 if number + 1 == skipped else number + 1
        at = end
    if header.is_snapshot and expected <= header.pages:
        raise damaged(name, f"it ends after page {expected - 1} of {header.pages}")
    _check_end(blob, at, index=index, checksum=checksum, name=name)
    return LtxFile(header, pages)


class _Checksum:
    """CRC-64/ISO over many small pieces, joined into few large ones."""

    def __init__(self) -> None:
        self._pieces: list[bytes | memoryview] = []
        self._value: int | None = None

    def add(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= _CRC_CHUNK:
            self._flush()

    def value(self) -> int:
        self._flush()
        return (self._value or 0) | _TOP_BIT

    def _flush(self) -> None:
        joined = b"".join(self._pieces)
        self._value = crc64.go_iso(joined) if self._value is None else crc64.go_iso(joined, self._value)
        self._pieces.clear()


def _encode(header: LtxHeader, pages: Iterable[tuple[int, bytes | memoryview]], *, dense: bool = False) -> bytes:
    head = _HEADER.pack(
        _MAGIC,
        _NO_CHECKSUM,
        header.page_size,
        header.pages,
        header.min_txid,
        header.max_txid,
        header.time_ms,
        *(0, 0, 0, 0, 0),
        header.epoch,
    )
    parts: list[bytes] = [head]
    index: list[bytes] = []
    checksum = _Checksum()
    checksum.add(head)
    at = len(head)
    for number, page in pages:
        block = _block_of(page, dense=dense)
        frame = _FRAME.pack(number, _SIZE_FOLLOWS, len(block))
        parts += (frame, block)
        checksum.add(frame)
        checksum.add(page)
        size = len(frame) + len(block)
        index.append(_index_entry(number, at, size))
        at += size
    end = _end(index)
    checksum.add(end)
    parts += (end, _U64.pack(checksum.value()))
    return b"".join(parts)


def _check_end(blob: bytes, at: int, *, index: list[bytes], checksum: _Checksum, name: str) -> None:
    end = _end(index)
    found = blob[at : at + len(end)]
    if found != end:
        raise damaged(name, "its page index does not match its pages")
    checksum.add(end)
    rest = blob[at + len(end) :]
    if rest != _U64.pack(checksum.value()):
        raise damaged(name, "its file checksum does not match, or bytes follow it")


def _end(index: list[bytes]) -> bytes:
    """Everything after the last frame except the file checksum. The frames determine it, so it can be compared."""
    entries = b"".join(index) + b"\x00"
    return b"".join((_END_OF_FRAMES, entries, _U64.pack(len(entries)), _U64.pack(0)))


def _index_entry(number: int, offset: int, size: int) -> bytes:
    return _varint(number) + _varint(offset) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits in each byte, the lowest first. The loop is unrolled: every page needs three varints."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x20_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    if value < 0x1000_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21))
    return bytes((value & 0x7F | 0x80,)) + _varint(value >> 7)


def _decompressed(block: bytes, page_size: int, number: int, name: str) -> bytes:
    try:
        page: bytes = lz4.block.decompress(block, uncompressed_size=page_size)
    except (lz4.block.LZ4BlockError, ValueError) as error:
        raise damaged(name, f"page {number} cannot be decompressed") from error
    if len(page) != page_size:
        raise damaged(name, f"page {number} has {len(page)} bytes")
    return page

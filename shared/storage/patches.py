"""Patches: pages as their differences from the same pages of the layers below. The tail of a head, and the patch files, are these.

A commit changes a few bytes in most of the pages that it touches, moves what is in them by the length of a row, or writes a row
that repeats ids of other rows. So the pages are one Zstandard frame whose dictionary is the originals of all of them: what any
original has, wherever it stands, costs a few bytes, and so does what an earlier one of the new pages has.

    checksum                   u32, big-endian: CRC-32 of what follows
    pages of the image below   u32
    pages of the image         u32
    patched pages              u32, and the number of each, u32, ascending
    pages                      a Zstandard frame of all of them, one after another

The dictionary is made of the originals of those patched pages that the image below has, ascending.

Spills and snapshots hold whole pages, because Litestream reads them. The digest of the whole image, which its manifest has, is the
check that the patches were laid on the right originals.
"""

import struct
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHECKSUM: Final = struct.Struct(">I")
_SIZES: Final = struct.Struct(">III")
_NUMBER: Final = struct.Struct(">I")
_LEVEL: Final = 9
"""The next ones take up to three times as long for one byte in a hundred."""
_WINDOW: Final = range(10, 24)
"""Powers of two: how far back a frame may refer, at least and at most. Both sides need as much memory."""


@dataclass(frozen=True, slots=True)
class Patches:
    """Decoded patches: the numbers of the patched pages, the frame that has them, and the sizes, in pages, of the image below and
    of the image they make.
    """

    numbers: tuple[int, ...]
    frame: bytes
    pages_below: int
    pages: int


def encoded(pages: Mapping[int, bytes], originals: Mapping[int, bytes], *, pages_below: int, size: int) -> bytes:
    """The patches that make these pages of their originals, in an image of `size` pages.

    Every page that the image below has needs its original.
    """
    numbers = sorted(pages)
    dictionary = _joined(originals[number] for number in numbers if number <= pages_below)
    content = _joined(pages[number] for number in numbers)
    reach = (len(dictionary) + len(content)).bit_length()
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.window_log: min(max(reach, _WINDOW[0]), _WINDOW[-1]),
    }
    packing = zstd.ZstdCompressor(options=options, zstd_dict=_prefix(dictionary))
    header = _SIZES.pack(pages_below, size, len(numbers)) + b"".join(map(_NUMBER.pack, numbers))
    body = header + packing.compress(content, zstd.ZstdCompressor.FLUSH_FRAME)
    return _CHECKSUM.pack(zlib.crc32(body)) + body


def decoded(body: bytes, *, most_pages: int) -> Patches:
    """The patches in a body, still packed. Raises ValueError for anything but patches of an image of at most `most_pages` pages."""
    start = _CHECKSUM.size + _SIZES.size
    if len(body) < start or zlib.crc32(body[_CHECKSUM.size :]) != _CHECKSUM.unpack_from(body)[0]:
        raise ValueError("they are cut off or changed")
    pages_below, pages, count = _SIZES.unpack_from(body, _CHECKSUM.size)
    if max(pages_below, pages, count) > most_pages:
        raise ValueError(f"an image of {max(pages_below, pages, count)} pages")
    end = start + count * _NUMBER.size
    if end > len(body):
        raise ValueError("they are cut off")
    numbers = tuple(number for (number,) in _NUMBER.iter_unpack(body[start:end]))
    if any(after <= before for before, after in zip((0, *numbers), numbers, strict=False)):
        raise ValueError("their pages are not in order")
    if numbers and numbers[-1] > pages:
        raise ValueError(f"there is no page {numbers[-1]}")
    return Patches(numbers, body[end:], pages_below, pages)


def laid(image: bytearray, patches: Patches, *, page_size: int) -> dict[int, bytes]:
    """Patch the image below in place; returns the originals of the patched pages.

    Raises ValueError if the frame is not that of these pages, as far as it can be seen without the digest of the image.
    """
    resize(image, patches.pages_below * page_size)
    originals = {
        number: bytes(image[(number - 1) * page_size : number * page_size])
        for number in patches.numbers
        if number <= patches.pages_below
    }
    content = _unpacked(patches.frame, _joined(originals.values()), size=len(patches.numbers) * page_size)
    resize(image, patches.pages * page_size)
    for place, number in enumerate(patches.numbers):
        image[(number - 1) * page_size : number * page_size] = content[place * page_size : (place + 1) * page_size]
    return originals


def resize(image: bytearray, size: int) -> None:
    """Cut the image, or extend it by zeros."""
    del image[size:]
    image.extend(bytes(size - len(image)))


def _unpacked(frame: bytes, dictionary: bytes, *, size: int) -> bytes:
    """The content of a frame, which must be whole and have this size."""
    unpacking = zstd.ZstdDecompressor(
        zstd_dict=_prefix(dictionary), options={zstd.DecompressionParameter.window_log_max: _WINDOW[-1] + 1}
    )
    try:
        content = unpacking.decompress(frame, size + 1)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error
    if not unpacking.eof or unpacking.unused_data or len(content) != size:
        raise ValueError("they are cut off, or of other pages")
    return content


def _prefix(dictionary: bytes) -> tuple[zstd.ZstdDict, int] | None:
    return zstd.ZstdDict(dictionary, is_raw=True).as_prefix if dictionary else None


def _joined(pages: Iterable[bytes]) -> bytes:
    return b"".join(pages)

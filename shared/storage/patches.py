"""Patches: pages as their differences from the same pages of the layers below. The tail of a head, and the patch files, are these.

A commit changes a few bytes in most of the pages that it touches, or moves what is in them by the length of a row. So a patch is
the page as an LZ4 block whose dictionary ends with its original: what the original has, wherever it stands, costs a few bytes.
Before it come the originals of the patched pages around it, because a new row often repeats ids that the rows of its table have.

    pages of the image below   u32, big-endian
    pages of the image         u32
    for each page, ascending   its number, u32; the length of its block, u32; the block

The dictionary of a block: of the patched pages that the image below has, ascending, the SIDE nearest ones before the page and as
many after it; then the page itself, if the image below has it.

All of it is one zlib stream, whose checksum finds a changed bit. Spills and snapshots hold whole pages, because Litestream reads
them. The digest of the whole image, which its manifest has, is the check that a patch was laid on the right original.
"""

import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import lz4.block

_SIZES: Final = struct.Struct(">II")
_PATCH: Final = struct.Struct(">II")
_LEVEL: Final = 6
_BLOCK_LEVEL: Final = 4
"""Of LZ4's high compression: more makes no difference in a page."""
SIDE: Final = 7
LONGEST_DICTIONARY: Final = 60 * 1024
"""LZ4 looks back 64 KiB. Larger pages have fewer neighbours."""


@dataclass(frozen=True, slots=True)
class Patches:
    """Decoded patches: the blocks by page number, and the sizes, in pages, of the image below and of the image they make."""

    blocks: Mapping[int, bytes]
    pages_below: int
    pages: int


def encoded(pages: Mapping[int, bytes], originals: Mapping[int, bytes], *, pages_below: int, size: int) -> bytes:
    """The patches that make these pages of their originals, in an image of `size` pages.

    Every page that the image below has needs its original.
    """
    dictionary = _dictionaries({number: originals[number] for number in pages if number <= pages_below})
    parts = [_SIZES.pack(pages_below, size)]
    for number in sorted(pages):
        block: bytes = lz4.block.compress(
            pages[number],
            mode="high_compression",
            compression=_BLOCK_LEVEL,
            store_size=False,
            dict=dictionary(number),
        )
        parts += (_PATCH.pack(number, len(block)), block)
    return zlib.compress(b"".join(parts), _LEVEL)


def _dictionaries(originals: Mapping[int, bytes]) -> Callable[[int], bytes]:
    """The dictionary of each page, given the originals of all patched pages that have one."""
    numbers = sorted(originals)
    longest = max(map(len, originals.values()), default=1)
    side = max(min(SIDE, (LONGEST_DICTIONARY // longest - 1) // 2), 0)

    def dictionary(number: int) -> bytes:
        before, after = bisect_left(numbers, number), bisect_right(numbers, number)
        near = numbers[max(before - side, 0) : before] + numbers[after : after + side]
        return b"".join([*(originals[each] for each in near), originals.get(number, b"")])

    return dictionary


def decoded(body: bytes, *, page_size: int, most_pages: int) -> Patches:
    """The patches in a body. Raises ValueError for anything but patches of an image of at most `most_pages` pages."""
    content = _unpacked(body, most=_SIZES.size + most_pages * (_PATCH.size + _longest_block(page_size)))
    if len(content) < _SIZES.size:
        raise ValueError("they are cut off")
    pages_below, pages = _SIZES.unpack_from(content)
    if max(pages_below, pages) > most_pages:
        raise ValueError(f"an image of {max(pages_below, pages)} pages")
    blocks: dict[int, bytes] = {}
    at = _SIZES.size
    while at < len(content):
        if len(content) - at < _PATCH.size:
            raise ValueError("they are cut off")
        number, length = _PATCH.unpack_from(content, at)
        at += _PATCH.size + length
        if not 1 <= number <= pages:
            raise ValueError(f"there is no page {number}")
        if at > len(content):
            raise ValueError("they are cut off")
        blocks[number] = content[at - length : at]
    return Patches(blocks, pages_below, pages)


def laid(image: bytearray, patches: Patches, *, page_size: int) -> dict[int, bytes]:
    """Patch the image below in place; returns the originals of the patched pages. Raises ValueError if a block is not a page."""
    resize(image, patches.pages_below * page_size)
    originals = {
        number: bytes(image[(number - 1) * page_size : number * page_size])
        for number in patches.blocks
        if number <= patches.pages_below
    }
    dictionary = _dictionaries(originals)
    resize(image, patches.pages * page_size)
    for number, block in patches.blocks.items():
        start = (number - 1) * page_size
        image[start : start + page_size] = _page_of(block, dictionary(number), page_size)
    return originals


def _page_of(block: bytes, dictionary: bytes, page_size: int) -> bytes:
    try:
        page: bytes = lz4.block.decompress(block, uncompressed_size=page_size, dict=dictionary)
    except lz4.block.LZ4BlockError as error:
        raise ValueError("a block cannot be read") from error
    if len(page) != page_size:
        raise ValueError(f"a block of {len(page)} bytes")
    return page


def resize(image: bytearray, size: int) -> None:
    """Cut the image, or extend it by zeros."""
    del image[size:]
    image.extend(bytes(size - len(image)))


def _longest_block(page_size: int) -> int:
    """LZ4's own bound: a page that cannot be compressed becomes a little longer."""
    return page_size + page_size // 255 + 16


def _unpacked(body: bytes, *, most: int) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(body, most + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacking.eof or unpacking.unused_data or len(content) > most:
        raise ValueError("they are cut off, or too long")
    return content

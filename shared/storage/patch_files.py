"""Patch files: immutable objects with what was the tail of a head, so that the next heads need not repeat it.

    header    24 bytes: magic, page size (u32), first and last TXID (u64 each), big-endian
    patches   as in the tail

A patch file is laid on the image of the layers below it, so it is of no use without them. It is no restore point.
"""

import struct
from dataclasses import dataclass
from typing import Final

from shared.images.pages import LARGEST_IMAGE, is_page_size
from shared.storage import patches
from shared.storage.mending import damaged

_MAGIC: Final = b"PTC1"
_HEADER: Final = struct.Struct(">4sIQQ")


@dataclass(frozen=True, slots=True)
class PatchFile:
    """A decoded patch file."""

    page_size: int
    min_txid: int
    max_txid: int
    patches: patches.Patches


def encode(tail: bytes, *, page_size: int, min_txid: int, max_txid: int) -> bytes:
    """The patch file of a tail of patches."""
    return _HEADER.pack(_MAGIC, page_size, min_txid, max_txid) + tail


def decode(body: bytes, key: str) -> PatchFile:
    """Decode a patch file. Raises DamagedImage, which names `key`."""
    if len(body) < _HEADER.size or not body.startswith(_MAGIC):
        raise damaged(key, "it is not a patch file")
    _, page_size, min_txid, max_txid = _HEADER.unpack_from(body)
    if not is_page_size(page_size):
        raise damaged(key, f"no database has pages of {page_size} bytes")
    try:
        found = patches.decoded(body[_HEADER.size :], most_pages=LARGEST_IMAGE // page_size)
    except ValueError as error:
        raise damaged(key, f"its patches cannot be read ({error})") from error
    return PatchFile(page_size, min_txid, max_txid, found)

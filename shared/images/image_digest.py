"""The image digest: one hash for a whole image. Updating it costs only the hashes of the pages that changed.

    8 hex digits     the number of pages
    64 hex digits    the sum, modulo 2^256, over all pages of SHA-256(page number as 4 bytes, big-endian, then the page)

The order of the summands does not matter, so replacing a page costs one subtraction and one addition. The page number is part
of the hash, so swapping two pages changes the digest.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from shared.domain.images import PageChange
from shared.images.pages import changed_pages, page_size_of

_MODULUS: Final = 1 << 256
_PAGES_DIGITS: Final = 8
_SUM_DIGITS: Final = 64


def digest_of(image: bytes, page_size: int) -> str:
    """The digest of a whole image. Hashes every page."""
    view = memoryview(image)
    total = 0
    for number, at in enumerate(range(0, len(image), page_size), start=1):
        total += _page_hash(number, view[at : at + page_size])
    return _text(len(image) // page_size, total)


def updated(digest: str, changed: Mapping[int, PageChange]) -> str:
    """The digest after these pages changed. It equals `digest_of` the new image."""
    pages = int(digest[:_PAGES_DIGITS], 16)
    total = int(digest[_PAGES_DIGITS:], 16)
    for number, (old, new) in changed.items():
        if old is None:
            pages += 1
        else:
            total -= _page_hash(number, old)
        if new is None:
            pages -= 1
        else:
            total += _page_hash(number, new)
    return _text(pages, total)


def _page_hash(number: int, page: bytes | memoryview) -> int:
    hashed = sha256(number.to_bytes(4, "big"))
    hashed.update(page)
    return int.from_bytes(hashed.digest(), "big")


def _text(pages: int, total: int) -> str:
    return f"{pages:0{_PAGES_DIGITS}x}{total % _MODULUS:0{_SUM_DIGITS}x}"


class RunningDigest:
    """The digest of an image that changes many times. A page is hashed again only when it has changed.

    Reading `digest` costs nothing; `follow` compares the bytes and hashes every page that differs.
    """

    def __init__(self, image: bytes, page_size: int) -> None:
        """Start with an image. Hashes every page."""
        self._image = image
        self._size = page_size
        view = memoryview(image)
        self._hashes = [
            _page_hash(number, view[at : at + page_size])
            for number, at in enumerate(range(0, len(image), page_size), start=1)
        ]
        self._total = sum(self._hashes)

    @property
    def digest(self) -> str:
        """The digest of the newest image, equal to `digest_of`."""
        return _text(len(self._hashes), self._total)

    def follow(self, image: bytes) -> str:
        """The digest of the image that follows the last one. A removed page counts as 0 until the list is cut."""
        for number, (_, new) in changed_pages(self._image, image, self._size).items():
            known = self._hashes[number - 1] if number <= len(self._hashes) else 0
            hashed = 0 if new is None else _page_hash(number, new)
            self._total += hashed - known
            if number > len(self._hashes):
                self._hashes.append(hashed)
            else:
                self._hashes[number - 1] = hashed
        del self._hashes[len(image) // self._size :]
        self._image = image
        return self.digest


def of_image(image: bytes) -> str:
    """The digest of a whole image; the page size is taken from its header. Raises SchemaMismatch."""
    return digest_of(image, page_size_of(image))

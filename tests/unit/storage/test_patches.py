"""Patches: what was encoded comes back, and anything else is refused."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import DamagedImage
from shared.storage import patch_files, patches

SIZE = 64
pages = st.dictionaries(st.integers(1, 20), st.binary(min_size=SIZE, max_size=SIZE), max_size=12)
KEY = "towns/t1/patches/0000000000000002-0000000000000005.patch"


@given(below=st.lists(st.binary(min_size=SIZE, max_size=SIZE), max_size=20), changed=pages)
def test_pages_come_back_whatever_lies_below(below: list[bytes], changed: dict[int, bytes]) -> None:
    originals = {number: below[number - 1] for number in changed if number <= len(below)}
    body = patches.encoded(changed, originals, pages_below=len(below), size=20)
    found = patches.decoded(body, page_size=SIZE, most_pages=20)
    image = bytearray(b"".join(below))
    assert patches.laid(image, found, page_size=SIZE) == originals
    assert len(image) == 20 * SIZE
    for number, page in changed.items():
        assert image[(number - 1) * SIZE : number * SIZE] == page


def test_a_row_that_moves_what_follows_it_in_a_page_costs_little() -> None:
    """The difference of two such pages, byte by byte, is as long as the page."""
    rows = random.Random(1).randbytes(4096)
    moved = b"row" + rows[:-3]
    assert len(patches.encoded({1: moved}, {1: rows}, pages_below=1, size=1)) < 60


def test_a_new_page_costs_little_if_the_pages_around_it_had_its_content() -> None:
    """A row that a tick writes on a page of its own repeats the ids of the agents, which the row of another tick has."""
    ids = random.Random(2).randbytes(4096)
    pages = {1: b"a" * 4096, 2: ids}
    alone = patches.encoded({2: ids}, {}, pages_below=1, size=2)
    beside = patches.encoded(pages, {1: ids}, pages_below=1, size=2)
    assert len(alone) > 4096
    assert len(beside) < 150


def test_pages_of_any_size_have_a_dictionary_that_the_compressor_can_see() -> None:
    some = random.Random(3)
    for size in (512, 4096, 65536):
        below = [some.randbytes(size) for _ in range(40)]
        changed = {number: below[number % 40][: size - 9] + b"different" for number in range(1, 41)}
        originals = {number: below[number - 1] for number in changed}
        body = patches.encoded(changed, originals, pages_below=40, size=40)
        image = bytearray(b"".join(below))
        patches.laid(image, patches.decoded(body, page_size=size, most_pages=40), page_size=size)
        assert image == b"".join(changed.values())


NUMBERS = (1).to_bytes(4, "big") + (20).to_bytes(4, "big")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        NUMBERS[:6],
        NUMBERS + bytes(7),
        NUMBERS + (0).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"x",
        NUMBERS + (21).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"x",
        NUMBERS + (2).to_bytes(4, "big") + (2).to_bytes(4, "big") + b"x",
        (1).to_bytes(4, "big") + (21).to_bytes(4, "big"),
        (21).to_bytes(4, "big") + (20).to_bytes(4, "big"),
        bytes(4000),
    ],
)
def test_what_are_no_patches_of_at_most_twenty_pages_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        patches.decoded(zlib.compress(content), page_size=SIZE, most_pages=20)


@pytest.mark.parametrize("block", [b"", b"\xf0nonsense", patches.encoded({}, {}, pages_below=1, size=1)])
def test_a_block_that_is_not_a_page_is_refused(block: bytes) -> None:
    found = patches.Patches({1: block}, pages_below=1, pages=1)
    with pytest.raises(ValueError, match="block"):
        patches.laid(bytearray(SIZE), found, page_size=SIZE)


def test_a_body_that_is_cut_off_or_has_more_than_a_stream_is_refused() -> None:
    body = patches.encoded({1: b"x" * SIZE}, {}, pages_below=0, size=1)
    for wrong in (body[:-1], body[:8], body + b"x", b"LTX1", b""):
        with pytest.raises(ValueError, match=r"."):
            patches.decoded(wrong, page_size=SIZE, most_pages=20)


def test_a_patch_file_names_its_commits_and_says_what_is_wrong_with_it() -> None:
    tail = patches.encoded({1: b"x" * 512}, {}, pages_below=0, size=1)
    body = patch_files.encode(tail, page_size=512, min_txid=2, max_txid=5)
    found = patch_files.decode(body, KEY)
    assert (found.page_size, found.min_txid, found.max_txid, found.patches.pages) == (512, 2, 5, 1)
    for wrong in (body[:-1], body[1:], b"", body[:4] + b"\0\0\0\1" + body[8:], body[:30] + b"\0" + body[31:]):
        with pytest.raises(DamagedImage, match=KEY):
            patch_files.decode(wrong, KEY)

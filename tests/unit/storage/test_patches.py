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
    found = patches.decoded(body, most_pages=20)
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


def test_a_new_page_costs_little_if_another_patched_page_had_its_content() -> None:
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
        assert len(body) < 40 * 60
        image = bytearray(b"".join(below))
        patches.laid(image, patches.decoded(body, most_pages=40), page_size=size)
        assert image == b"".join(changed.values())


def a_body(*numbers: int) -> bytes:
    """Numbers behind the checksum that they need."""
    content = b"".join(number.to_bytes(4, "big") for number in numbers)
    return zlib.crc32(content).to_bytes(4, "big") + content


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"", "cut off", id="nothing"),
        pytest.param(bytes(40), "changed", id="zeros"),
        pytest.param(a_body(1, 20), "cut off", id="no number of pages"),
        pytest.param(a_body(1, 20, 2, 5), "cut off", id="fewer numbers than it says"),
        pytest.param(a_body(1, 21, 0), "21 pages", id="too large an image"),
        pytest.param(a_body(21, 20, 0), "21 pages", id="too large an image below"),
        pytest.param(a_body(1, 20, 21), "21 pages", id="too many patched pages"),
        pytest.param(a_body(1, 20, 1, 0), "not in order", id="page 0"),
        pytest.param(a_body(1, 20, 2, 5, 5), "not in order", id="a page twice"),
        pytest.param(a_body(1, 19, 1, 20), "no page 20", id="a page behind the end"),
    ],
)
def test_what_are_no_patches_of_at_most_twenty_pages_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        patches.decoded(body, most_pages=20)


FRAME = patches.decoded(patches.encoded({1: b"x" * SIZE}, {}, pages_below=0, size=1), most_pages=1).frame


@pytest.mark.parametrize(
    "frame",
    [b"", b"\xf0nonsense", FRAME[:-1], FRAME + FRAME, FRAME + b"x"],
    ids=["none", "other", "cut", "two", "more"],
)
def test_a_frame_that_is_not_exactly_its_pages_is_refused(frame: bytes) -> None:
    patches.laid(bytearray(), patches.Patches((1,), FRAME, pages_below=0, pages=1), page_size=SIZE)
    with pytest.raises(ValueError, match=r"."):
        patches.laid(bytearray(), patches.Patches((1,), frame, pages_below=0, pages=1), page_size=SIZE)


@pytest.mark.parametrize(("numbers", "size"), [((1, 2), SIZE), ((1,), SIZE // 2), ((), SIZE)])
def test_a_frame_of_other_pages_is_refused(numbers: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError, match="of other pages"):
        patches.laid(bytearray(), patches.Patches(numbers, FRAME, pages_below=0, pages=2), page_size=size)


def test_a_body_that_is_cut_off_or_changed_anywhere_is_refused() -> None:
    body = patches.encoded({1: b"x" * SIZE}, {}, pages_below=0, size=1)
    flipped = [body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for at in range(len(body))]
    for wrong in (*flipped, body[:-1], body[:8], body + b"x", b"LTX1"):
        with pytest.raises(ValueError, match="cut off or changed"):
            patches.decoded(wrong, most_pages=20)


def test_a_patch_file_names_its_commits_and_says_what_is_wrong_with_it() -> None:
    tail = patches.encoded({1: b"x" * 512}, {}, pages_below=0, size=1)
    body = patch_files.encode(tail, page_size=512, min_txid=2, max_txid=5)
    found = patch_files.decode(body, KEY)
    assert (found.page_size, found.min_txid, found.max_txid, found.patches.pages) == (512, 2, 5, 1)
    for wrong in (body[:-1], body[1:], b"", body[:4] + b"\0\0\0\1" + body[8:], body[:-1] + bytes([body[-1] ^ 1])):
        with pytest.raises(DamagedImage, match=KEY):
            patch_files.decode(wrong, KEY)

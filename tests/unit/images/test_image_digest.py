"""The image digest: the same whether taken from a whole image or followed from change to change."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import SchemaMismatch
from shared.images.image_digest import RunningDigest, digest_of, updated
from shared.images.pages import changed_pages, page_size_of
from tests.unit.storage.images import an_image

PAGE = 512
pages = st.lists(st.binary(min_size=1, max_size=4).map(lambda seed: (seed * PAGE)[:PAGE]), max_size=150)


@given(pages, pages)
def test_the_digest_followed_over_a_change_is_the_digest_of_the_new_image(old: list[bytes], new: list[bytes]) -> None:
    before, after = b"".join(old), b"".join(new)
    changed = changed_pages(before, after, PAGE)
    assert updated(digest_of(before, PAGE), changed) == digest_of(after, PAGE)


@given(pages, st.lists(pages, min_size=1, max_size=4))
def test_the_running_digest_is_at_every_change_that_of_the_image(first: list[bytes], later: list[list[bytes]]) -> None:
    running = RunningDigest(b"".join(first), PAGE)
    assert running.digest == digest_of(b"".join(first), PAGE)
    for image in map(b"".join, later):
        assert running.follow(image) == running.digest == digest_of(image, PAGE)


@given(pages, pages)
def test_exactly_the_pages_that_differ_are_found(old: list[bytes], new: list[bytes]) -> None:
    longest = max(len(old), len(new))
    before = [*old, *[None] * (longest - len(old))]
    after = [*new, *[None] * (longest - len(new))]
    expected = {
        number: pair for number, pair in enumerate(zip(before, after, strict=True), start=1) if pair[0] != pair[1]
    }
    assert changed_pages(b"".join(old), b"".join(new), PAGE) == expected


def test_the_digest_is_the_number_of_pages_and_the_sum_of_their_numbered_hashes() -> None:
    one, two = b"a" * PAGE, b"b" * PAGE
    total = sum(
        int.from_bytes(sha256(number + page).digest(), "big")
        for number, page in ((b"\x00\x00\x00\x01", one), (b"\x00\x00\x00\x02", two))
    )
    assert digest_of(one + two, PAGE) == f"{2:08x}{total % 2**256:064x}"


def test_two_pages_that_change_places_change_the_digest() -> None:
    one, two = b"a" * PAGE, b"b" * PAGE
    assert digest_of(one + two, PAGE) != digest_of(two + one, PAGE)


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 32768, 65536])
def test_the_page_size_is_read_from_the_image(page_size: int) -> None:
    assert page_size_of(an_image(page_size=page_size)) == page_size


@pytest.mark.parametrize("image", [b"", b"not a database" * 100, an_image()[:-1], an_image()[:99]])
def test_bytes_that_are_no_whole_database_are_refused(image: bytes) -> None:
    with pytest.raises(SchemaMismatch):
        page_size_of(image)

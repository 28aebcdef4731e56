"""The LTX codec: what goes in comes out, Litestream's own file is read, and no damage passes."""

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import DamagedImage, ImageTooLarge
from shared.images.pages import changed_pages, lock_page
from shared.storage import ltx
from tests.unit.storage.images import NOON, an_image

# Written by Litestream 0.5.17 (`replicate -once`) from a database with 512-byte pages, a table t(a) and the row 'x'.
BY_LITESTREAM = base64.b64decode(
    "TFRYMQAAAAIAAAIAAAAABAAAAAAAAAABAAAAAAAAAAEAAAGh/WvADAAAAAAAAAAAAAAAAAAAACAAAAAAAAAIYNdI0aGlPcrkAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAAQAAAOP2ElNRTGl0ZSBmb3JtYXQgMwACAAICAEAgIAAAAAMAAAAEAAEADBAA"
    "FQEaAA8CAAf/BAMALpXIDQAAAAMBGAAB3wFwARgtAAcPAgB5/A5WAwYXLS0BYXRhYmxlX2xpdGVzdHJlYW1fbG9jaxAA7ARDUkVB"
    "VEUgVEFCTEUgHgD9ByAoaWQgSU5URUdFUiltAgcXKysBgRFZADhzZXFoAE9zZXEDVwAGOHNlcVYA9QIgUFJJTUFSWSBLRVksIHNl"
    "cW8A8AEfAQYXDw8BL3RhYmxldHQCUgDQVEUgVEFCTEUgdChhKQAAAAIAAQAAACHPDQAAAAEB+wAB+wAAAgD/0gACAMAAAAAAAAAA"
    "AwECD3gAAAADAAEAAAAgjw0AAAAAAgAAAgD/0gACAAACAMAAAAAAAAAAAAAAAAAAAAAEAAEAAAAgjw0AAAAAAgAAAgD/0gACAAAC"
    "AMAAAAAAAAAAAAAAAAAAAAAAAAABZO0BAtECKwP8AioEpgMqAAAAAAAAAAARAAAAAAAAAADzYdtS2p6MUQ=="
)

page_sizes = st.sampled_from([512, 1024, 4096])


@st.composite
def two_images(draw: st.DrawFn) -> tuple[int, bytes, bytes]:
    """A page size and two images of it, of which the second keeps some pages of the first."""
    page_size = draw(page_sizes)
    a_page = st.binary(min_size=1, max_size=8).map(lambda seed: (seed * page_size)[:page_size])
    old = draw(st.lists(a_page, min_size=1, max_size=12))
    new = [draw(st.one_of(st.just(page), a_page)) for page in old]
    new = new[: draw(st.integers(1, len(new)))] + draw(st.lists(a_page, max_size=4))
    return page_size, b"".join(old), b"".join(new)


@given(two_images())
def test_a_snapshot_gives_back_the_image_and_a_delta_the_next_one(images: tuple[int, bytes, bytes]) -> None:
    page_size, old, new = images
    snapshot = ltx.decode(ltx.encode_snapshot(old, page_size=page_size, txid=7, at=NOON), "a snapshot")
    assert ltx.image_of(snapshot) == old
    assert snapshot.header == ltx.LtxHeader(page_size, len(old) // page_size, 1, 7, 1_768_046_400_000)

    changed = {number: after for number, (_, after) in changed_pages(old, new, page_size).items() if after}
    pages = len(new) // page_size
    blob = ltx.encode_delta(changed, page_size=page_size, pages=pages, min_txid=8, max_txid=9, at=NOON)
    delta = ltx.decode(blob, "a delta")
    assert delta.header == ltx.LtxHeader(page_size, pages, 8, 9, 1_768_046_400_000)
    assert ltx.applied(old, delta) == new


def test_pages_that_do_not_compress_are_kept_too() -> None:
    noise = b"".join(bytes((i * i * 31 + i // 7) % 256 for i in range(start, start + 4096)) for start in (1, 2, 3))
    blob = ltx.encode_snapshot(noise, page_size=4096, txid=1, at=NOON)
    assert ltx.image_of(ltx.decode(blob, "noise")) == noise


def test_reads_a_file_that_litestream_wrote() -> None:
    file = ltx.decode(BY_LITESTREAM, "litestream's file")
    assert file.header == ltx.LtxHeader(page_size=512, pages=4, min_txid=1, max_txid=1, time_ms=1_795_253_059_596)
    assert ltx.image_of(file).startswith(b"SQLite format 3\x00")
    assert b"CREATE TABLE t(a)" in ltx.image_of(file)


def test_the_lock_page_is_never_stored_and_comes_back_as_zeros() -> None:
    """At 64 KiB a page, page 16,385 is SQLite's own; a snapshot goes from 16,384 to 16,386."""
    page_size = 65536
    skipped = lock_page(page_size)
    assert skipped == 16_385
    page = b"\x01" * page_size
    changed = {skipped - 1: page, skipped: page, skipped + 1: page}
    blob = ltx.encode_delta(changed, page_size=page_size, pages=skipped + 1, min_txid=2, max_txid=2, at=NOON)
    assert list(ltx.decode(blob, "a delta over the lock page", largest=1 << 31).pages) == [skipped - 1, skipped + 1]

    whole = ltx.LtxFile(
        ltx.LtxHeader(page_size, 3, 1, 1, 0),
        {1: page, 2: page, 3: page},
    )
    assert ltx.image_of(whole) == 3 * page


def test_every_flipped_bit_is_refused_or_changes_nothing() -> None:
    """LTX sums pages as they were before compression, so another way to compress the same page is no damage to it."""
    blob = ltx.encode_snapshot(an_image(["a", "b"]), page_size=512, txid=3, at=NOON)
    whole = ltx.decode(blob, "whole")
    end_of_pages = len(blob) - 24 - int.from_bytes(blob[-24:-16], "big") - 6
    for bit in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        may_pass = 110 <= bit // 8 < end_of_pages
        with suppress(DamagedImage) if may_pass else pytest.raises((DamagedImage, ImageTooLarge)):
            assert ltx.decode(bytes(flipped), "flipped") == whole


@pytest.mark.parametrize("pages", [[1], [2], [1, 3], [1, 2, 3, 4]])
def test_a_snapshot_that_does_not_hold_each_page_once_is_refused(pages: list[int]) -> None:
    blob = ltx._encode(ltx.LtxHeader(512, 3, 1, 5, 0), [(number, bytes(512)) for number in pages])
    with pytest.raises(DamagedImage):
        ltx.decode(blob, "a snapshot of three pages")


def test_a_file_that_holds_the_lock_page_is_refused() -> None:
    skipped = lock_page(65536)
    blob = ltx._encode(ltx.LtxHeader(65536, skipped + 1, 2, 2, 0), [(skipped, bytes(65536))])
    with pytest.raises(DamagedImage, match=f"page {skipped} of"):
        ltx.decode(blob, "a delta", largest=1 << 31)


def test_a_snapshot_over_the_lock_page_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ltx, "lock_page", lambda _: 3)
    image = b"".join(bytes([number]) * 512 for number in (1, 2, 0, 4, 5))
    blob = ltx.encode_snapshot(image, page_size=512, txid=1, at=NOON)
    snapshot = ltx.decode(blob, "a snapshot over the lock page")
    assert list(snapshot.pages) == [1, 2, 4, 5]
    assert ltx.image_of(snapshot) == image


def test_a_refusal_names_the_object_and_says_what_to_do() -> None:
    with pytest.raises(DamagedImage, match=r"^towns/demo/head is damaged: ") as refused:
        ltx.decode(b"LTX0" + bytes(200), "towns/demo/head")
    assert "restore" in refused.value.hint


@pytest.mark.parametrize(
    ("offset", "problem"),
    [(7, "has flags 3; only 2 is supported"), (47, "has checksum 1 of the database before it; only 0 is supported")],
)
def test_a_header_that_is_not_supported_is_refused_with_the_one_field_that_is_wrong(offset: int, problem: str) -> None:
    blob = bytearray(ltx.encode_snapshot(an_image(["a"]), page_size=512, txid=3, at=NOON))
    blob[offset] ^= 1
    with pytest.raises(DamagedImage, match=rf"its LTX header {problem}"):
        ltx.read_header(bytes(blob), "a snapshot")


def test_every_truncation_and_every_appended_byte_is_refused() -> None:
    blob = ltx.encode_snapshot(an_image(["a"]), page_size=512, txid=3, at=NOON)
    for length in range(len(blob)):
        with pytest.raises(DamagedImage):
            ltx.decode(blob[:length], "short")
    with pytest.raises(DamagedImage):
        ltx.decode(blob + b"\x00", "long")


def test_a_delta_is_refused_if_its_pages_are_out_of_order() -> None:
    pages = {2: b"a" * 512, 3: b"b" * 512}
    blob = ltx.encode_delta(pages, page_size=512, pages=3, min_txid=2, max_txid=2, at=NOON)
    first, second = blob.index(b"\x00\x00\x00\x02\x00\x01"), blob.index(b"\x00\x00\x00\x03\x00\x01")
    swapped = blob[:first] + blob[second : 2 * second - first] + blob[first:second] + blob[2 * second - first :]
    with pytest.raises(DamagedImage, match="page 2 of 3 comes where page 4 is expected"):
        ltx.decode(swapped, "swapped")


def test_a_delta_cannot_start_at_transaction_1() -> None:
    with pytest.raises(ValueError, match="snapshot"):
        ltx.encode_delta({}, page_size=512, pages=1, min_txid=1, max_txid=1, at=NOON)

"""The head object: read back whole, refused damaged, foreign, from another version or too large."""

import json
import random
from hashlib import sha256
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import DamagedImage, ImageTooLarge, SchemaMismatch, WrongTown
from shared.images import image_digest
from shared.ports.steps import drive
from shared.storage import head, layer_reading, ltx
from tests.unit.storage.images import NOON, an_image

KEY = "towns/demo/head"
IMAGE = an_image(["a", "b", "c"])
TAIL = ltx.encode_snapshot(IMAGE, page_size=512, txid=4, at=NOON)
MANIFEST = head.Manifest(
    town="demo",
    txid=4,
    commit_id="4-worker",
    time=NOON,
    page_size=512,
    pages=len(IMAGE) // 512,
    image_digest=image_digest.digest_of(IMAGE, 512),
    schema_version=3,
    next_due=None,
    tick_no=3,
)
BODY = head.encode(MANIFEST, TAIL)


def sealed(manifest: Any, tail: bytes = TAIL) -> bytes:
    """A head whose seal is right, whatever its manifest says."""
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    unsealed = len(text).to_bytes(4, "big") + text + tail
    return unsealed + sha256(unsealed).digest()


def fields(**changes: Any) -> dict[str, Any]:
    return {**MANIFEST.model_dump(mode="json"), **changes}


def image_in(body: bytes) -> bytes:
    image, _ = drive(layer_reading.read_layers(MemoryObjects(), head.decode(body, key=KEY, town_id="demo"), key=KEY))
    return image


def test_a_head_gives_back_its_manifest_and_its_image() -> None:
    read = head.decode(BODY, key=KEY, town_id="demo")
    assert read == head.Head(MANIFEST, TAIL)
    assert drive(layer_reading.read_layers(MemoryObjects(), read, key=KEY))[0] == IMAGE


def test_the_manifest_is_json_with_sorted_keys_and_stored_times() -> None:
    length = int.from_bytes(BODY[:4], "big")
    manifest = json.loads(BODY[4 : 4 + length])
    assert list(manifest) == sorted(manifest)
    assert manifest == {
        "format": 1,
        "town": "demo",
        "txid": 4,
        "commit_id": "4-worker",
        "time": "2026-01-10T12:00:00.000Z",
        "page_size": 512,
        "pages": len(IMAGE) // 512,
        "image_digest": image_digest.digest_of(IMAGE, 512),
        "snapshot": None,
        "base": None,
        "spills": [],
        "tail_start": 1,
        "schema_version": 3,
        "next_due": None,
        "tick_no": 3,
    }


def test_the_nonce_of_a_drain_stands_in_the_manifest_only_while_the_town_drains() -> None:
    draining = head.encode(MANIFEST.model_copy(update={"drain_nonce": "n-1"}), TAIL)
    assert head.decode(draining, key=KEY, town_id="demo").manifest.drain_nonce == "n-1"
    assert head.decode(BODY, key=KEY, town_id="demo").manifest.drain_nonce is None
    assert b"drain_nonce" not in BODY


def test_the_epoch_stands_in_the_manifest_only_after_a_restore_and_makes_a_head_that_older_releases_refuse() -> None:
    """An older release would drop an epoch that it does not know, and later take a discarded future for the past."""
    restored = head.encode(MANIFEST.model_copy(update={"epoch": 2, "format": head.format_of(2)}), TAIL)
    assert head.decode(restored, key=KEY, town_id="demo").manifest.epoch == 2
    assert (b"epoch" in BODY, MANIFEST.format, head.format_of(2)) == (False, 1, 2)
    for fault in (fields(format=2), fields(epoch=1), fields(format=2, epoch=0), fields(format=2, epoch=-1)):
        with pytest.raises(DamagedImage, match="its manifest is not valid"):
            head.decode(sealed(fault), key=KEY, town_id="demo")


def test_the_start_of_a_head_is_enough_for_its_manifest() -> None:
    end = head.end_of_manifest(BODY[:4], key=KEY)
    assert head.manifest_in(BODY[:end], key=KEY, town_id="demo") == MANIFEST


def test_a_start_without_a_whole_manifest_of_this_town_is_refused() -> None:
    end = head.end_of_manifest(BODY, key=KEY)
    for start in (b"", BODY[:3], BODY[: end - 1], b"\xff" * 40, BODY[:4] + b"x" * end):
        with pytest.raises(DamagedImage, match=KEY):
            head.manifest_in(start, key=KEY, town_id="demo")
    with pytest.raises(WrongTown):
        head.manifest_in(BODY, key=KEY, town_id="other")
    with pytest.raises(SchemaMismatch):
        head.manifest_in(sealed(fields(format=3)), key=KEY, town_id="demo")


def test_none_of_400_flipped_bits_is_opened() -> None:
    choose = random.Random(20260110)
    manifest_bits = (4 + int.from_bytes(BODY[:4], "big")) * 8
    bits = [*choose.sample(range(manifest_bits), 150), *choose.sample(range(manifest_bits, len(BODY) * 8), 250)]
    for bit in bits:
        flipped = bytearray(BODY)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedImage) as refused:
            image_in(bytes(flipped))
        assert refused.value.message.startswith(f"{KEY} is damaged: ")
        assert "restore" in refused.value.hint


def test_no_truncated_or_lengthened_head_is_opened() -> None:
    for length in range(len(BODY)):
        with pytest.raises(DamagedImage):
            image_in(BODY[:length])
    with pytest.raises(DamagedImage):
        image_in(BODY + b"\x00")


def test_the_head_of_another_town_is_refused() -> None:
    with pytest.raises(WrongTown, match="holds the town 'demo', not 'other'"):
        head.decode(BODY, key="towns/other/head", town_id="other")


@pytest.mark.parametrize("version", [0, 3, 99, None, "1"])
def test_a_head_of_another_format_is_told_from_a_damaged_one(version: object) -> None:
    manifest = fields(format=version, something_new=[1])
    with pytest.raises(SchemaMismatch, match="this version reads formats 1, 2 and 4"):
        image_in(sealed(manifest))


def test_an_image_over_1_gib_is_refused_before_it_is_unpacked() -> None:
    manifest = fields(page_size=65536, pages=16_385)
    with pytest.raises(ImageTooLarge):
        head.decode(sealed(manifest, b"never looked at"), key=KEY, town_id="demo")
    within = head.decode(sealed(fields(page_size=65536, pages=16_384), b""), key=KEY, town_id="demo")
    assert within.manifest.image_bytes == 1 << 30


@pytest.mark.parametrize(
    "manifest",
    [
        b"{", b"[]", b"\xff", b"{}" * 2, b"[" * 100_000,
        fields(txid=0), fields(txid="4"), fields(time="2026-01-10"), fields(time=5), fields(next_due="soon"),
        fields(unknown=1), fields(spills=[[1]]), fields(commit_id=""), fields(town=None),
    ],
)  # fmt: skip
def test_a_sealed_manifest_that_is_not_in_order_is_refused(manifest: Any) -> None:
    with pytest.raises(DamagedImage):
        head.decode(sealed(manifest), key=KEY, town_id="demo")


@pytest.mark.parametrize("change", [{"txid": 5}, {"pages": 1}, {"page_size": 1024}])
def test_a_manifest_with_the_pages_of_another_commit_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(DamagedImage, match="belong to different commits"):
        image_in(sealed(fields(**change)))


def test_pages_that_do_not_give_the_digest_are_refused() -> None:
    with pytest.raises(DamagedImage, match="image digest"):
        image_in(sealed(fields(image_digest=image_digest.digest_of(IMAGE[:512], 512))))


def test_a_head_whose_snapshot_is_missing_is_refused_by_the_name_of_the_snapshot() -> None:
    below = {"txid": 2, "size": 100, "time": "2026-01-10T12:00:00.000Z"}
    with pytest.raises(
        DamagedImage, match=r"ltx/0009/0000000000000001-0000000000000002\.ltx is damaged: it is missing"
    ):
        image_in(sealed(fields(tail_start=3, snapshot=below)))


@pytest.mark.parametrize(
    "gap",
    [
        {"tail_start": 3},
        {"snapshot": 2, "tail_start": 4},
        {"snapshot": 2, "spills": [(4, 4)], "tail_start": 5},
        {"snapshot": 1, "spills": [(2, 3)], "tail_start": 3},
        {"spills": [(1, 3)], "tail_start": 4},
    ],
)
def test_a_head_whose_layers_leave_a_gap_is_refused(gap: dict[str, Any]) -> None:
    changes = dict(gap)
    if "snapshot" in gap:
        changes["snapshot"] = {"txid": gap["snapshot"], "size": 1, "time": "2026-01-10T12:00:00.000Z"}
    if "spills" in gap:
        changes["spills"] = [{"min_txid": low, "max_txid": high, "size": 1} for low, high in gap["spills"]]
    with pytest.raises(DamagedImage, match="manifest is not valid"):
        image_in(sealed(fields(**changes)))

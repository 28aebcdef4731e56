"""A journal object whose bytes were changed is refused by name: a replay of wrong inputs would prove nothing."""

import json
import random

import pytest

from shared.domain.errors import DamagedImage
from shared.storage import keys, publish

KEY = keys.journal("demo", 3, 40)
ROWS = [
    {
        "tick_no": number,
        "tick_id": f"{number}-worker",
        "now": "2026-01-11T10:00:00.000Z",
        "code_version": "c0de",
        "sqlite_version": "3.45.1",
        "config_digest": "conf",
        "prev_image_digest": "digest",
        "inputs": {"text": f"event {number * 7919}"},
        "outputs": {},
    }
    for number in range(3, 41)
]
BODY = publish.compressed(json.dumps({"format": 1, "ticks": ROWS}).encode())


def test_an_object_gives_back_its_rows() -> None:
    assert publish.rows_of(BODY, KEY) == ROWS


def test_none_of_400_flipped_bits_changes_a_row_unseen() -> None:
    """A few bits of an LZ4 frame say nothing about its content; then the rows are whole."""
    refused = []
    for bit in random.Random(20260111).sample(range(len(BODY) * 8), 400):
        flipped = bytearray(BODY)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert publish.rows_of(bytes(flipped), KEY) == ROWS
        except DamagedImage as refusal:
            refused.append(refusal.message)
    assert len(refused) > 396
    assert all(message.startswith(f"{KEY} is damaged: ") for message in refused)


def test_no_truncated_or_lengthened_object_is_read() -> None:
    for length in range(len(BODY)):
        with pytest.raises(DamagedImage, match=KEY):
            publish.rows_of(BODY[:length], KEY)
    with pytest.raises(DamagedImage, match=KEY):
        publish.rows_of(BODY + b"\x00", KEY)


@pytest.mark.parametrize(
    "content",
    [
        {"format": 1, "ticks": ROWS[1:]},
        {"format": 1, "ticks": ROWS[:-1]},
        {"format": 1, "ticks": [ROWS[0], ROWS[2], ROWS[1], *ROWS[3:]]},
        {"format": 1, "ticks": []},
        {"format": 1, "ticks": [None]},
        {"format": 1, "ticks": [{key: value for key, value in row.items() if key != "now"} for row in ROWS]},
        {"format": 1},
        ["ticks"],
    ],
)
def test_rows_that_the_name_does_not_promise_are_refused(content: object) -> None:
    with pytest.raises(DamagedImage, match=KEY):
        publish.rows_of(publish.compressed(json.dumps(content).encode()), KEY)


def test_an_object_of_a_later_format_says_so_whatever_its_rows_look_like() -> None:
    later = publish.compressed(json.dumps({"format": 3, "ticks": [{"number": 3}]}).encode())
    with pytest.raises(DamagedImage, match="it has format 3, this version reads formats 1 and 2"):
        publish.rows_of(later, KEY)

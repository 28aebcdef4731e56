"""A recording that was damaged or changed says so, and where; it is never taken for the past."""

import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.townctl.recordings import replay_file
from shared.domain.errors import DamagedImage, Refused
from shared.history.differences import ABSENT, Difference
from shared.replay.recordings import file_format
from shared.replay.recordings.file_format import Recording
from shared.replay.recordings.verifying import verify
from tests.recordings import golden
from tests.recordings.slices import slices, with_row

NAME = "poison"
PAGE = 4096


def first_difference(one: Recording) -> Difference:
    """The first thing that is named."""
    verified = verify(one)
    assert verified.divergence is not None
    return verified.divergence.differences[0]


def replayed(folder: Path, body: bytes) -> Any:
    """What `townctl replay FILE` answers."""
    path = folder / "x.recording"
    path.write_bytes(body)
    return replay_file(path)


@pytest.mark.parametrize("page", [1, 2, 7, 30, 50])
def test_a_byte_changed_in_the_image_names_its_page(page: int, tmp_path: Path) -> None:
    genuine = golden.read(NAME)
    image = bytearray(genuine.image)
    image[(page - 1) * PAGE + 200] ^= 1
    forged = replace(genuine, image=bytes(image))
    difference = first_difference(forged)
    assert (difference.table, difference.key, difference.column) == ("image", f"page {page}", "bytes")
    answer = replayed(tmp_path, file_format.to_bytes(forged))
    assert (answer.code, answer.document["verified"]["exact"], answer.document["verified"]["ticks"]) == (1, False, [])


def test_an_image_that_is_no_database_or_another_town_is_named() -> None:
    genuine = golden.read(NAME)
    torn = first_difference(replace(genuine, image=genuine.image[:-1]))
    assert "does not consist of whole pages" in torn.got
    strange = first_difference(replace(genuine, town_id="another-town"))
    assert "belongs to" in strange.got


def test_a_digest_that_was_changed_is_named() -> None:
    genuine = golden.read(NAME)
    of_base = first_difference(replace(genuine, image_digest="0" * 72))
    assert (of_base.column, of_base.expected) == ("image digest", "0" * 72)
    one = slices(NAME)[5]
    for column, forged in (
        ("image digest", replace(one.ticks[0], image_digest="0" * 72)),
        ("logical digest", replace(one.ticks[0], logical_digest="0" * 64)),
    ):
        difference = first_difference(replace(one, ticks=(forged,)))
        assert (difference.key, difference.column) == (f"after tick {one.last_tick}", column)


def test_a_row_that_was_changed_among_what_a_tick_wrote_is_named() -> None:
    one = slices("drain")[6]
    tick = one.ticks[0]
    forged = {**tick.changes, ("town", "next_seq", ""): {"value": "99"}}
    difference = first_difference(replace(one, ticks=(replace(tick, changes=forged),)))
    assert (difference.table, difference.key, difference.column) == ("town", "next_seq", "value")
    assert difference.expected == "99"


@pytest.mark.parametrize("position", [0, 6, -1])
def test_a_tick_that_is_missing_is_named(position: int) -> None:
    genuine = golden.read(NAME)
    ticks = list(genuine.ticks)
    number = ticks.pop(position).row["tick_no"]
    verified = verify(replace(genuine, ticks=tuple(ticks)))
    assert verified.divergence is not None
    assert verified.divergence.tick == number
    assert verified.divergence.differences == (Difference("ticks", str(number), "*", "a row in the journal", ABSENT),)


@pytest.mark.parametrize("name", ["new_events", "due_at", "observations", "settings"])
def test_an_input_that_is_missing_is_named(name: str) -> None:
    one = slices(NAME)[3]
    inputs = {key: value for key, value in one.ticks[0].row["inputs"].items() if key != name}
    difference = first_difference(with_row(one, {"inputs": inputs}))
    number = str(one.last_tick)
    assert (difference.table, difference.key, difference.column, difference.got) == (
        "ticks",
        number,
        f"inputs.{name}",
        ABSENT,
    )


def test_a_file_with_a_changed_or_lost_byte_is_damaged_wherever_it_is(tmp_path: Path) -> None:
    body = golden.path_of(NAME).read_bytes()
    for at in range(12, len(body), len(body) // 40):
        changed = bytearray(body)
        changed[at] ^= 0x10
        with pytest.raises(DamagedImage):
            file_format.from_bytes(bytes(changed), NAME)
    for at in (20, len(body) // 2, len(body) - 1):
        with pytest.raises(DamagedImage):
            file_format.from_bytes(body[:at], NAME)
    with pytest.raises(DamagedImage):
        file_format.from_bytes(body + b"more", NAME)
    answer = replayed(tmp_path, body[:-40])
    assert (answer.code, answer.document["verified"]) == (1, None)
    assert "damaged" in answer.document["damage"]


def test_lines_that_are_none_name_their_number() -> None:
    lines = lzma.decompress(golden.path_of(NAME).read_bytes()).decode().splitlines()
    for number, line in (
        (1, "{"),
        (3, "no JSON"),
        (4, "{}"),
        (5, lines[4].replace('"town_events"', '"no_such_table"')),
    ):
        torn = "\n".join([*lines[: number - 1], line, *lines[number:]])
        with pytest.raises(DamagedImage, match=f"line {number}|first line"):
            file_format.from_bytes(lzma.compress(torn.encode()), NAME)


def test_what_is_no_recording_or_of_a_later_format_is_refused(tmp_path: Path) -> None:
    for body in (b"", b"SQLite format 3\0", lzma.compress(b'{"format":"something else"}\n'), lzma.compress(b"[]\n")):
        with pytest.raises(Refused, match="is not a recording"):
            replayed(tmp_path, body)
    text = lzma.decompress(golden.path_of(NAME).read_bytes()).replace(b'"version":1', b'"version":2', 1)
    with pytest.raises(Refused, match="format 2"):
        replayed(tmp_path, lzma.compress(text))
    with pytest.raises(Refused, match="cannot read"):
        replay_file(tmp_path / "nothing.recording")

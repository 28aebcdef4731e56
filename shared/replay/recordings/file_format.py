"""A recording: ticks of one town in one file, complete enough to be run again and judged anywhere.

The file is xz-compressed lines of canonical JSON: a head with the image before the first tick, then one line per tick with
its journal row, what it wrote, and the digests after it. Equal recordings give equal bytes.
"""

import lzma
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any, Final, TypeVar

from shared.domain import canonical, strict_json
from shared.domain.errors import DamagedImage, Refused
from shared.domain.times import from_text, to_text
from shared.images import image_digest
from shared.images.pages import page_size_of
from shared.ports.town_past import JournalRow, PastImage, journal_row
from shared.replay.recordings import changes
from shared.replay.recordings.changes import Changes

_T = TypeVar("_T")
FORMAT: Final = "town recording"
VERSION: Final = 1
SUFFIX: Final = ".recording"
LARGEST: Final = 64 << 20
"""The largest size of an unpacked recording, in bytes, unless the reader says otherwise."""
_BYTES_PER_TICK: Final = 1024
"""A line has more; so there are at most as many ticks as the largest size has KiB, however short a forger makes the lines."""
_AT_ONCE: Final = 1 << 20
_LARGEST_WIDE: Final = 16 << 20
_DICTIONARY: Final = 32 << 20
"""Bytes that unpacking may use beside its output. `to_bytes` needs 9 MiB; a file may ask for 4 GiB."""
_XZ: Final = b"\xfd7zXZ\x00"
_PAGE_MARK: Final = 8
_PLAIN: Final = ("tick_no", "tick_id", "now", "code_version", "sqlite_version", "config_digest", "prev_image_digest")


@dataclass(frozen=True, slots=True)
class RecordedTick:
    """One tick: its input and outputs (`row`), what it wrote, and the digests of the image after it."""

    row: JournalRow
    image_digest: str
    logical_digest: str
    changes: Changes


@dataclass(frozen=True, slots=True)
class Recording:
    """Consecutive ticks, and the image before the first of them. `base_tick` is the last tick in that image.

    `masked` counts the texts that were replaced by placeholders. `page_marks` show which page of the image was changed if
    the file was tampered with.
    """

    town_id: str
    image: bytes
    image_digest: str
    page_marks: tuple[str, ...]
    base_tick: int
    base_at: datetime
    last_tick: int
    sqlite_version: str
    code_version: str
    masked: int
    ticks: tuple[RecordedTick, ...]

    @property
    def base(self) -> PastImage:
        """The image before the first tick, from which a rerun can start."""
        return PastImage(
            town_id=self.town_id,
            image=self.image,
            txid=self.base_tick,
            tick_no=self.base_tick,
            tick_at=self.base_at,
            committed_at=self.base_at,
        )


def page_marks(image: bytes) -> tuple[str, ...]:
    """The first digits of the SHA-256 of each page."""
    size = page_size_of(image)
    return tuple(sha256(image[at : at + size]).hexdigest()[:_PAGE_MARK] for at in range(0, len(image), size))


def to_bytes(recording: Recording) -> bytes:
    """The contents of the file."""
    lines = [canonical.dumps(_head(recording)), *(canonical.dumps(_line(tick)) for tick in recording.ticks)]
    return lzma.compress(("\n".join(lines) + "\n").encode(), preset=lzma.PRESET_EXTREME | 6)


def from_bytes(body: bytes, name: str, *, largest: int = LARGEST) -> Recording:
    """The recording in a file that has at most `largest` bytes when it is unpacked.

    Raises Refused if it is not a recording, is larger or has a newer format, DamagedImage if it is damaged.
    """
    if not body.startswith(_XZ):
        hint = "name a file that `townctl record` wrote"
        raise Refused(f"{name} is not a recording", status=400, path="file", hint=hint)
    lines = _lines(body, name, largest)
    try:
        head = strict_json.foreign(next(lines, b""), limit=largest)
    except ValueError as error:
        raise _damaged(name, f"its first line cannot be read: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        hint = "name a file that `townctl record` wrote"
        raise Refused(f"{name} is not a recording", status=400, path="file", hint=hint)
    if head.get("version") != VERSION:
        hint = "use the release that wrote it, or a newer one"
        raise Refused(
            f"{name} has format {str(head.get('version'))[:20]}; this code reads format {VERSION}",
            status=400,
            hint=hint,
        )
    return _read(head, lines, name, largest)


def _head(recording: Recording) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "town": recording.town_id,
        "image": recording.image.hex(),
        "image_digest": recording.image_digest,
        "page_marks": "".join(recording.page_marks),
        "base_tick": recording.base_tick,
        "base_at": to_text(recording.base_at),
        "last_tick": recording.last_tick,
        "sqlite_version": recording.sqlite_version,
        "code_version": recording.code_version,
        "masked": recording.masked,
    }


def _line(tick: RecordedTick) -> dict[str, Any]:
    return {
        "row": {
            **{name: tick.row[name] for name in _PLAIN},
            "inputs": canonical.dumps(tick.row["inputs"]),
            "outputs": canonical.dumps(tick.row["outputs"]),
        },
        "image_digest": tick.image_digest,
        "logical_digest": tick.logical_digest,
        "changes": changes.as_json(tick.changes),
    }


def _read(head: dict[str, Any], lines: Iterator[bytes], name: str, largest: int) -> Recording:
    recording = _understood(lambda: _without_ticks(head), "its head", name)
    ticks: list[RecordedTick] = []
    for number, text in enumerate(lines, start=2):
        if len(ticks) * _BYTES_PER_TICK >= largest:
            raise _too_large(name, f"more than {len(ticks)} ticks")
        ticks.append(_understood(partial(_tick, text, largest), f"line {number}", name))
    return replace(recording, ticks=tuple(ticks))


def _understood(read: Callable[[], _T], place: str, name: str) -> _T:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, DamagedImage) as error:
        raise _damaged(name, f"{place} cannot be read ({type(error).__name__}: {error})"[:200]) from error


def _without_ticks(head: dict[str, Any]) -> Recording:
    _require(head, str, "town", "image", "image_digest", "page_marks", "base_at", "sqlite_version", "code_version")
    _require(head, int, "base_tick", "last_tick", "masked")
    marks = head["page_marks"]
    return Recording(
        town_id=head["town"],
        image=bytes.fromhex(head.pop("image")),
        image_digest=head["image_digest"],
        page_marks=tuple(marks[at : at + _PAGE_MARK] for at in range(0, len(marks), _PAGE_MARK)),
        base_tick=head["base_tick"],
        base_at=from_text(head["base_at"]),
        last_tick=head["last_tick"],
        sqlite_version=head["sqlite_version"],
        code_version=head["code_version"],
        masked=head["masked"],
        ticks=(),
    )


def _tick(text: bytes, largest: int) -> RecordedTick:
    line = strict_json.foreign(text, limit=largest)
    row = line["row"]
    _require(row, int, "tick_no")
    _require(row, str, "inputs", "outputs", *(name for name in _PLAIN if name != "tick_no"))
    _require(line, str, "image_digest", "logical_digest")
    documents = {name: strict_json.foreign(row[name], limit=largest) for name in ("inputs", "outputs")}
    _require(documents, dict, "inputs", "outputs")
    return RecordedTick(
        row=journal_row({**row, **documents}),
        image_digest=line["image_digest"],
        logical_digest=line["logical_digest"],
        changes=changes.from_json(line["changes"]),
    )


def _require(given: Mapping[str, Any], kind: type, *names: str) -> None:
    for name in names:
        if type(given[name]) is not kind:
            raise TypeError(f"{name} is not of the type {kind.__name__}")


def _lines(body: bytes, name: str, largest: int) -> Iterator[bytes]:
    """The lines, unpacked piece by piece. Raises DamagedImage, and Refused once they are larger than `largest`."""
    unpacking = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY)
    given, size, begun = body, 0, bytearray()
    try:
        while not unpacking.eof:
            piece = unpacking.decompress(given, _AT_ONCE)
            given, size = b"", size + len(piece)
            if size > largest:
                raise _too_large(name, f"more than {largest >> 20} MiB when it is unpacked")
            if not piece and unpacking.needs_input and not unpacking.eof:
                raise _damaged(name, "it is cut off")
            *whole, rest = piece.split(b"\n")
            for line in whole:
                begun += line
                if len(begun) > _LARGEST_WIDE and not begun.isascii():
                    raise _damaged(name, "a long line is not plain ASCII")  # Python would take four times its size
                yield bytes(begun)
                begun.clear()
            begun += rest
    except lzma.LZMAError as error:
        raise _damaged(name, f"it cannot be unpacked ({error})"[:200]) from error
    if unpacking.unused_data or begun:
        raise _damaged(name, "it is cut off or has extra data at its end")


def _too_large(name: str, what: str) -> Refused:
    return Refused(
        f"the recording {name} has {what}",
        status=413,
        path="file",
        hint="if you trust the file, allow more with --largest MIB",
    )


def _damaged(name: str, problem: str) -> DamagedImage:
    return DamagedImage(
        f"the recording {name} is damaged: {problem}", hint="copy the file again from where it was made"
    )


def base_digest(recording: Recording) -> str:
    """The image digest of the base, computed from its pages."""
    return image_digest.of_image(recording.image)

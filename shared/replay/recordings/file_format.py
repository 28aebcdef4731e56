"""A recording: ticks of one town in one file, complete enough to be run again and judged anywhere.

The file is xz-compressed lines of canonical JSON: a head with the image before the first tick, then one line per tick with
its journal row, what it wrote, and the digests after it. Equal recordings give equal bytes.
"""

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from shared.domain import canonical
from shared.domain.errors import DamagedImage, Refused
from shared.domain.times import from_text, to_text
from shared.images import image_digest
from shared.images.pages import page_size_of
from shared.ports.town_past import JournalRow, PastImage, journal_row
from shared.replay.recordings import changes
from shared.replay.recordings.changes import Changes

FORMAT: Final = "town recording"
VERSION: Final = 1
SUFFIX: Final = ".recording"
LARGEST: Final = 1 << 30
"""The largest size of an unpacked recording, in bytes."""
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


def from_bytes(body: bytes, name: str) -> Recording:
    """The recording in a file. Raises Refused if it is not a recording or has a newer format, DamagedImage if it is damaged."""
    if not body.startswith(_XZ):
        hint = "name a file that `townctl record` wrote"
        raise Refused(f"{name} is not a recording", status=400, path="file", hint=hint)
    lines = _unpacked(body, name).splitlines()
    try:
        head = json.loads(lines[0])
    except (ValueError, IndexError) as error:
        raise _damaged(name, "its first line cannot be read") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        hint = "name a file that `townctl record` wrote"
        raise Refused(f"{name} is not a recording", status=400, path="file", hint=hint)
    if head.get("version") != VERSION:
        hint = "use the release that wrote it, or a newer one"
        raise Refused(
            f"{name} has format {head.get('version')}; this code reads format {VERSION}", status=400, hint=hint
        )
    return _read(head, lines[1:], name)


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


def _read(head: Mapping[str, Any], lines: list[str], name: str) -> Recording:
    ticks: list[RecordedTick] = []
    place = "its head"
    try:
        marks = head["page_marks"]
        recording = Recording(
            town_id=head["town"],
            image=bytes.fromhex(head["image"]),
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
        for number, text in enumerate(lines, start=2):
            place = f"line {number}"
            ticks.append(_tick(json.loads(text)))
    except (KeyError, TypeError, ValueError, AttributeError, DamagedImage) as error:
        raise _damaged(name, f"{place} cannot be read ({type(error).__name__}: {error})"[:200]) from error
    return replace(recording, ticks=tuple(ticks))


def _tick(line: Mapping[str, Any]) -> RecordedTick:
    row = line["row"]
    return RecordedTick(
        row=journal_row({**row, "inputs": json.loads(row["inputs"]), "outputs": json.loads(row["outputs"])}),
        image_digest=line["image_digest"],
        logical_digest=line["logical_digest"],
        changes=changes.from_json(line["changes"]),
    )


def _unpacked(body: bytes, name: str) -> str:
    unpacking = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    try:
        text = unpacking.decompress(body, LARGEST)
        if not unpacking.eof or unpacking.unused_data:
            raise _damaged(name, "it is cut off or has extra data at its end")
        return text.decode()
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise _damaged(name, f"it cannot be unpacked ({error})"[:200]) from error


def _damaged(name: str, problem: str) -> DamagedImage:
    return DamagedImage(
        f"the recording {name} is damaged: {problem}", hint="copy the file again from where it was made"
    )


def base_digest(recording: Recording) -> str:
    """The image digest of the base, computed from its pages."""
    return image_digest.of_image(recording.image)

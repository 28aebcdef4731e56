"""The head object: a manifest that describes a town's newest commit, and the pages changed since the last spill or snapshot.

    length of the manifest   u32, big-endian
    manifest                 JSON in UTF-8, keys sorted
    tail                     one LTX file; if its first TXID is 1, it holds the whole image
    seal                     SHA-256 of everything before it

The seal covers manifest and pages, so a changed bit is always detected; a damaged head is refused and never opened. Every
later format must keep the length, the manifest's key `format` and the seal, so that a head of another format is recognised
and not reported as damaged.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from shared.domain import strict_json
from shared.domain.errors import DamagedImage, ImageTooLarge, SchemaMismatch, WrongTown
from shared.domain.field_errors import all_errors
from shared.domain.times import from_text, to_text
from shared.images.pages import LARGEST_IMAGE

FORMAT: Final = 1
MAX_IMAGE_BYTES: Final = LARGEST_IMAGE

_LARGEST_MANIFEST: Final = 4 << 20
_LENGTH_BYTES: Final = 4
_SEAL_BYTES: Final = 32


def _from_stored_text(value: object) -> object:
    return from_text(value) if isinstance(value, str) else value


StoredTime = Annotated[datetime, BeforeValidator(_from_stored_text), PlainSerializer(to_text)]
Txid = Annotated[int, Field(ge=1)]


class _Ref(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SnapshotRef(_Ref):
    """A snapshot object: the whole image as it was after commit `txid`, made at `time`."""

    txid: Txid
    size: int
    time: StoredTime


class SpillRef(_Ref):
    """A spill object: every page that the commits `min_txid` to `max_txid` changed."""

    min_txid: Txid
    max_txid: Txid
    size: int


class Manifest(BaseModel):
    """What a head says about its commit. Times are in whole milliseconds; `image_digest` covers the whole image.

    The image is the pages of `snapshot`, overlaid with those of `spills`, which follow it without a gap, and with those of
    the tail, whose first TXID is `tail_start`. A head that carries the whole image has no snapshot, no spills and a
    `tail_start` of 1. `base` is the newest published snapshot, even if the image does not need it. `drain_nonce` is a copy of
    the image's, so that a heartbeat is answered without opening an image; it is left out while the town does not drain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int = FORMAT
    town: str
    txid: int = Field(ge=1)
    commit_id: str = Field(min_length=1)
    time: StoredTime
    page_size: int
    pages: int = Field(ge=1)
    image_digest: str
    snapshot: SnapshotRef | None = None
    base: SnapshotRef | None = None
    spills: tuple[SpillRef, ...] = ()
    tail_start: int = Field(default=1, ge=1)
    schema_version: int
    next_due: StoredTime | None
    tick_no: int = Field(ge=0)
    drain_nonce: str | None = None

    @model_validator(mode="after")
    def _gapless(self) -> "Manifest":
        if self.snapshot is None and (self.spills or self.tail_start != 1):
            raise ValueError("spills and a tail that starts after commit 1 need a snapshot")
        end = 0 if self.snapshot is None else self.snapshot.txid
        for spill in self.spills:
            if spill.min_txid != end + 1 or spill.max_txid < spill.min_txid:
                raise ValueError("the spills leave a gap")
            end = spill.max_txid
        if self.tail_start != end + 1 or self.txid < self.tail_start:
            raise ValueError("the tail does not follow the snapshot and the spills")
        return self

    @property
    def image_bytes(self) -> int:
        """The size of the whole image."""
        return self.page_size * self.pages


@dataclass(frozen=True, slots=True)
class Head:
    """A decoded head object: its seal and its manifest are checked, its tail is not decoded yet."""

    manifest: Manifest
    tail: bytes


def encode(manifest: Manifest, tail: bytes) -> bytes:
    """The head object of a commit."""
    fields = manifest.model_dump(mode="json", exclude={"drain_nonce"} if manifest.drain_nonce is None else None)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    unsealed = b"".join((len(text).to_bytes(_LENGTH_BYTES, "big"), text, tail))
    return unsealed + sha256(unsealed).digest()


def decode(body: bytes, *, key: str, town_id: str) -> Head:
    """Decode a head object and check everything but its pages.

    Raises DamagedImage, which names `key`; SchemaMismatch if the head has another format; WrongTown if it is not the head of
    `town_id`; ImageTooLarge before anything is decompressed.
    """
    sealed = memoryview(body)[:-_SEAL_BYTES]
    if len(body) < _LENGTH_BYTES + _SEAL_BYTES or sha256(sealed).digest() != body[-_SEAL_BYTES:]:
        raise _damaged(key, "its seal does not match its content")
    end = _LENGTH_BYTES + int.from_bytes(sealed[:_LENGTH_BYTES], "big")
    if end > len(sealed):
        raise _damaged(key, "its manifest is longer than the object")
    manifest = _manifest(bytes(sealed[_LENGTH_BYTES:end]), key, town_id)
    guard_size(manifest.image_bytes, what=key)
    return Head(manifest, bytes(sealed[end:]))


def end_of_manifest(start: bytes, *, key: str) -> int:
    """How many bytes of a head object, of which this is the start, come before its tail. Raises DamagedImage."""
    end = _LENGTH_BYTES + int.from_bytes(start[:_LENGTH_BYTES], "big")
    if len(start) < _LENGTH_BYTES or end > _LENGTH_BYTES + _LARGEST_MANIFEST:
        raise _damaged(key, "it does not begin with a manifest")
    return end


def manifest_in(start: bytes, *, key: str, town_id: str) -> Manifest:
    """The manifest in the start of a head object, which holds all of it. Without the tail, the seal cannot be checked.

    Raises DamagedImage, which names `key`; SchemaMismatch if the head has another format; WrongTown if it is not the head of
    `town_id`.
    """
    end = end_of_manifest(start, key=key)
    if end > len(start):
        raise _damaged(key, "its manifest is longer than the object")
    return _manifest(start[_LENGTH_BYTES:end], key, town_id)


def guard_size(image_bytes: int, *, what: str) -> None:
    """Raise ImageTooLarge for an image that is too large for a tick."""
    if image_bytes > MAX_IMAGE_BYTES:
        raise ImageTooLarge(
            f"{what}: the image has {image_bytes} bytes, more than {MAX_IMAGE_BYTES}",
            hint="delete rows that the town no longer needs, or split the town",
        )


def _manifest(text: bytes, key: str, town_id: str) -> Manifest:
    try:
        fields: object = strict_json.foreign(text, limit=_LARGEST_MANIFEST)
    except ValueError as error:
        raise _damaged(key, "its manifest is not JSON") from error
    if not isinstance(fields, Mapping):
        raise _damaged(key, "its manifest is not a JSON object")
    if fields.get("format") != FORMAT:
        raise SchemaMismatch(
            f"{key} has format {fields.get('format')!r}, this version reads format {FORMAT}",
            hint="use the version of the reconciler that wrote it, or a newer one",
        )
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        where = ", ".join(problem.place for problem in all_errors(error))
        raise _damaged(key, f"its manifest is not valid: {where}") from error
    if manifest.town != town_id:
        raise WrongTown(
            f"{key} holds the town {manifest.town!r}, not {town_id!r}",
            hint="the object was copied or restored to the wrong key; restore this town's own head",
        )
    return manifest


def _damaged(key: str, problem: str) -> DamagedImage:
    return DamagedImage(
        f"{key} is damaged: {problem}",
        hint="the object was not changed; restore the town to an earlier commit",
    )

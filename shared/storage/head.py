"""The head object: a manifest that describes a town's newest commit, and the pages changed since the layers below it.

    length of the manifest   u32, big-endian
    manifest                 JSON in UTF-8, keys sorted
    tail                     the whole image as one LTX file (formats 1, 2), or patches of the pages of the layers below (format 4)
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
from shared.domain.errors import ImageTooLarge, SchemaMismatch, WrongTown
from shared.domain.field_errors import all_errors
from shared.domain.times import from_text, to_text
from shared.images.pages import LARGEST_IMAGE
from shared.storage.mending import damaged

FORMAT: Final = 1
FORMAT_OF_EPOCHS: Final = 2
"""The format of a head after a restore in place. A release that knows no epochs refuses it, because it would lose the epoch."""
FORMAT_OF_PATCHES: Final = 4
"""The format of a head whose tail is patches. In the others a tail that is not the whole image is an LTX file of its pages."""
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


class PatchFileRef(_Ref):
    """A patch file: what was the tail of commit `max_txid`, the patches of all commits from `min_txid` on."""

    min_txid: Txid
    max_txid: Txid
    size: int


class Manifest(BaseModel):
    """What a head says about its commit. Times are in whole milliseconds; `image_digest` covers the whole image.

    The image is the pages of `snapshot`, overlaid with those of `spills`, patched by `patch_files` and by the tail, whose first
    TXID is `tail_start`; each follows the one before it without a gap. A head that carries the whole image has no layers below
    and a `tail_start` of 1. `base` is the newest published snapshot, even if the image does not need it. `drain_nonce` is a copy of
    the image's, so that a heartbeat is answered without opening an image; it is left out while the town does not drain.

    `epoch` counts the restores in place before this commit. Times increase only within an epoch, so commits are ordered by
    (epoch, time) and by `txid`. It is left out while it is 0, and later heads have another format (FORMAT_OF_EPOCHS).
    `patched` says that the tail is patches, in heads of FORMAT_OF_PATCHES; it is left out while it is false, and `patch_files`
    while there are none.
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
    epoch: int = Field(default=0, ge=0)
    patched: bool = False
    patch_files: tuple[PatchFileRef, ...] = ()

    @model_validator(mode="after")
    def _format_fits(self) -> "Manifest":
        if self.format != (FORMAT_OF_PATCHES if self.patched else format_of(self.epoch)):
            raise ValueError("the format does not fit the epoch or the tail")
        return self

    @model_validator(mode="after")
    def _gapless(self) -> "Manifest":
        layers: tuple[SpillRef | PatchFileRef, ...] = (*self.spills, *self.patch_files)
        if self.snapshot is None and (layers or self.tail_start != 1):
            raise ValueError("layers below, or a tail that starts after commit 1, need a snapshot")
        if self.patch_files and not self.patched:
            raise ValueError("a tail of whole pages has no patch files below it")
        end = 0 if self.snapshot is None else self.snapshot.txid
        for layer in layers:
            if layer.min_txid != end + 1 or layer.max_txid < layer.min_txid:
                raise ValueError("the layers leave a gap")
            end = layer.max_txid
        if self.tail_start != end + 1 or self.txid < self.tail_start:
            raise ValueError("the tail does not follow the layers below it")
        return self

    @property
    def image_bytes(self) -> int:
        """The size of the whole image."""
        return self.page_size * self.pages


def format_of(epoch: int) -> int:
    """The format of a head of this epoch."""
    return FORMAT_OF_EPOCHS if epoch else FORMAT


@dataclass(frozen=True, slots=True)
class Head:
    """A decoded head object: its seal and its manifest are checked, its tail is not decoded yet."""

    manifest: Manifest
    tail: bytes


def encode(manifest: Manifest, tail: bytes) -> bytes:
    """The head object of a commit."""
    left_out = {name for name in ("drain_nonce", "epoch", "patched", "patch_files") if not getattr(manifest, name)}
    fields = manifest.model_dump(mode="json", exclude=left_out)
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
        raise damaged(key, "its seal does not match its content")
    end = _LENGTH_BYTES + int.from_bytes(sealed[:_LENGTH_BYTES], "big")
    if end > len(sealed):
        raise damaged(key, "its manifest is longer than the object")
    manifest = _manifest(bytes(sealed[_LENGTH_BYTES:end]), key, town_id)
    guard_size(manifest.image_bytes, what=key)
    return Head(manifest, bytes(sealed[end:]))


def end_of_manifest(start: bytes, *, key: str) -> int:
    """How many bytes of a head object, of which this is the start, come before its tail. Raises DamagedImage."""
    end = _LENGTH_BYTES + int.from_bytes(start[:_LENGTH_BYTES], "big")
    if len(start) < _LENGTH_BYTES or end > _LENGTH_BYTES + _LARGEST_MANIFEST:
        raise damaged(key, "it does not begin with a manifest")
    return end


def manifest_in(start: bytes, *, key: str, town_id: str) -> Manifest:
    """The manifest in the start of a head object, which holds all of it. Without the tail, the seal cannot be checked.

    Raises DamagedImage, which names `key`; SchemaMismatch if the head has another format; WrongTown if it is not the head of
    `town_id`.
    """
    end = end_of_manifest(start, key=key)
    if end > len(start):
        raise damaged(key, "its manifest is longer than the object")
    return _manifest(start[_LENGTH_BYTES:end], key, town_id)


def guard_size(image_bytes: int, *, what: str) -> None:
    """Raise ImageTooLarge for an image that is too large for a tick."""
    if image_bytes > MAX_IMAGE_BYTES:
        raise ImageTooLarge(
            f"{what}: the image has {image_bytes} bytes, more than {MAX_IMAGE_BYTES}",
            hint="nothing was changed; docs/runbook/image-large.md says how to make the town smaller",
        )


def guard_room(image_bytes: int, *, largest: int, what: str) -> None:
    """Raise ImageTooLarge for an image that is too large for this process, although a larger one could hold it."""
    if image_bytes > largest:
        raise ImageTooLarge(
            f"{what}: the image has {image_bytes >> 20} MiB; there is room for {largest >> 20} MiB here",
            hint="nothing was changed; make the town smaller as docs/runbook/image-large.md says, or use more memory and /tmp",
        )


def _manifest(text: bytes, key: str, town_id: str) -> Manifest:
    try:
        fields: object = strict_json.foreign(text, limit=_LARGEST_MANIFEST)
    except ValueError as error:
        raise damaged(key, "its manifest is not JSON") from error
    if not isinstance(fields, Mapping):
        raise damaged(key, "its manifest is not a JSON object")
    if fields.get("format") not in (FORMAT, FORMAT_OF_EPOCHS, FORMAT_OF_PATCHES):
        known = f"formats {FORMAT}, {FORMAT_OF_EPOCHS} and {FORMAT_OF_PATCHES}"
        raise SchemaMismatch(
            f"{key} has format {fields.get('format')!r}, this version reads {known}",
            hint="use the version of the reconciler that wrote it, or a newer one",
        )
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        where = ", ".join(problem.place for problem in all_errors(error))
        raise damaged(key, f"its manifest is not valid: {where}") from error
    if manifest.town != town_id:
        raise WrongTown(
            f"{key} holds the town {manifest.town!r}, not {town_id!r}",
            hint="the object was copied or restored to the wrong key; restore this town's own head",
        )
    return manifest

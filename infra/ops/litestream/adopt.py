"""Import a town database that Litestream replicated: read its LTX files and return an image that can be our first commit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.adapters import outside_files
from shared.domain.errors import DamagedImage, Refused
from shared.images import restoring
from shared.storage import ltx
from shared.town import database

LARGEST: Final = 64 << 20
"""Bytes of an image, unless the reader says otherwise."""
_MORE_THAN_PAGES: Final = 4 << 20
"""Bytes of headers, indexes and incompressible blocks that a file may have beside its pages."""
_WAL = b"\x02\x02"
_ROLLBACK = b"\x01\x01"
_MODE_BYTES = slice(18, 20)


@dataclass(frozen=True, slots=True)
class Replica:
    """The newest state of a replica: the image and the last transaction that it contains."""

    image: bytes
    txid: int


def read_replica(folder: Path, *, largest: int = LARGEST) -> Replica:
    """The newest state in a folder of LTX files in Litestream's layout (`<folder>/ltx/<level>/...` or `<folder>/<level>/...`).

    The image has at most `largest` bytes; only the files that it is made of are unpacked, one after another. Raises Refused if
    the folder contains no snapshot or several replicas, or a file cannot be read; DamagedImage if a file is damaged; ImageTooLarge.
    """
    paths = sorted(folder.rglob("*.ltx"))
    replicas = sorted({str(path.parent.parent) for path in paths})
    if len(replicas) > 1:
        raise Refused(
            f"importing a Litestream replica: {folder} contains {len(replicas)} replicas: {', '.join(replicas[:5])}",
            status=400,
            path="replica",
            hint="name the folder of one of them",
        )
    headers = {path: _header(path, largest) for path in paths}
    snapshots = [path for path, header in headers.items() if header.is_snapshot]
    if not snapshots:
        raise Refused(
            f"importing a Litestream replica: {folder} contains no snapshot",
            status=400,
            path="replica",
            hint="name the replica's own folder: the one that contains ltx/0009, or 0009 itself",
        )
    newest = max(snapshots, key=lambda path: headers[path].max_txid)
    image, txid = ltx.image_of(_file(newest, largest)), headers[newest].max_txid
    while (following := _following(headers, txid)) is not None:
        image, txid = ltx.applied(image, _file(following, largest)), headers[following].max_txid
    return Replica(image, txid)


def as_town(replica: Replica, town_id: str) -> bytes:
    """The image in the form that the reconciler requires: with a rollback journal instead of WAL, and with the given town id.

    Raises SchemaMismatch if it is not a town database or does not have the schema of a release, DamagedImage.
    """
    image = bytearray(replica.image)
    if image[_MODE_BYTES] == _WAL:
        image[_MODE_BYTES] = _ROLLBACK
    database.require_sound(bytes(image))
    return restoring.renamed(bytes(image), town_id)


def schema_version_of(image: bytes) -> int:
    """The schema version of an image."""
    with database.opened(image) as sql:
        return database.schema_version(sql)


def tick_no_of(image: bytes) -> int:
    """The number of the last tick of an image."""
    with database.opened(image) as sql:
        return restoring.tick_no(sql)


def _header(path: Path, largest: int) -> ltx.LtxHeader:
    return ltx.read_header(_content(path, ltx.HEADER_BYTES), path.name, largest=largest)


def _file(path: Path, largest: int) -> ltx.LtxFile:
    try:
        return ltx.decode(_content(path, largest + _MORE_THAN_PAGES), path.name, largest=largest)
    except DamagedImage as error:
        raise DamagedImage(error.message, hint="nothing was imported; copy the replica again") from error


def _content(path: Path, length: int) -> bytes:
    try:
        return outside_files.start_of(path, length)
    except OSError as error:
        raise Refused(
            f"importing a Litestream replica: cannot read {path.name}: {error.strerror or error}",
            status=400,
            path="replica",
            hint="copy the replica to a folder that you can read",
        ) from error


def _following(headers: Mapping[Path, ltx.LtxHeader], txid: int) -> Path | None:
    """Of the files that continue after a transaction without a gap, the one that reaches furthest; None if there is none."""
    fitting = [
        path
        for path, header in headers.items()
        if not header.is_snapshot and header.min_txid <= txid + 1 and header.max_txid > txid
    ]
    return max(fitting, key=lambda path: headers[path].max_txid, default=None)

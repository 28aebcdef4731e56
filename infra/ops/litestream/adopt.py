"""Import a town database that Litestream replicated: read its LTX files and return an image that can be our first commit."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.domain.errors import DamagedImage, Refused
from shared.images import restoring
from shared.storage import ltx
from shared.town import database

_WAL = b"\x02\x02"
_ROLLBACK = b"\x01\x01"
_MODE_BYTES = slice(18, 20)


@dataclass(frozen=True, slots=True)
class Replica:
    """The newest state of a replica: the image and the last transaction that it contains."""

    image: bytes
    txid: int


def read_replica(folder: Path) -> Replica:
    """The newest state in a folder of LTX files in Litestream's layout (`<folder>/ltx/<level>/...` or `<folder>/<level>/...`).

    Raises Refused if the folder contains no snapshot or several replicas, or a file cannot be read; DamagedImage if a file is
    damaged.
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
    files = [_file(path) for path in paths]
    snapshots = [file for file in files if file.header.is_snapshot]
    if not snapshots:
        raise Refused(
            f"importing a Litestream replica: {folder} contains no snapshot",
            status=400,
            path="replica",
            hint="name the replica's own folder: the one that contains ltx/0009, or 0009 itself",
        )
    newest = max(snapshots, key=lambda file: file.header.max_txid)
    image, txid = ltx.image_of(newest), newest.header.max_txid
    while (following := _following(files, txid)) is not None:
        image, txid = ltx.applied(image, following), following.header.max_txid
    return Replica(image, txid)


def as_town(replica: Replica, town_id: str) -> bytes:
    """The image in the form that the reconciler requires: with a rollback journal instead of WAL, and with the given town id.

    Raises SchemaMismatch if it is not a town database or has another schema version.
    """
    image = bytearray(replica.image)
    if image[_MODE_BYTES] == _WAL:
        image[_MODE_BYTES] = _ROLLBACK
    return restoring.renamed(bytes(image), town_id)


def schema_version_of(image: bytes) -> int:
    """The schema version of an image."""
    with database.opened(image) as sql:
        return database.schema_version(sql)


def tick_no_of(image: bytes) -> int:
    """The number of the last tick of an image."""
    with database.opened(image) as sql:
        return restoring.tick_no(sql)


def _file(path: Path) -> ltx.LtxFile:
    try:
        return ltx.decode(path.read_bytes(), path.name)
    except OSError as error:
        raise Refused(
            f"importing a Litestream replica: cannot read {path.name}: {error.strerror}",
            status=400,
            path="replica",
            hint="copy the replica to a folder that you can read",
        ) from error
    except DamagedImage as error:
        raise DamagedImage(error.message, hint="nothing was imported; copy the replica again") from error


def _following(files: Iterable[ltx.LtxFile], txid: int) -> ltx.LtxFile | None:
    """Of the files that continue after a transaction without a gap, the one that reaches furthest; None if there is none."""
    fitting = [
        file
        for file in files
        if not file.header.is_snapshot and file.header.min_txid <= txid + 1 and file.header.max_txid > txid
    ]
    return max(fitting, key=lambda file: file.header.max_txid, default=None)

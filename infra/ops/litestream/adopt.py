"""Adopt a town database that Litestream replicated: read its LTX files, check that it is a town, make it our first commit."""

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
    """The newest state of a replica: the image and the last transaction that is in it."""

    image: bytes
    txid: int


def read_replica(folder: Path) -> Replica:
    """The newest state in a folder of LTX files in Litestream's layout (`<folder>/ltx/<level>/...` or the levels alone).

    Raises Refused if there is no snapshot or the files leave a gap, DamagedImage naming the file that does not fit.
    """
    paths = sorted(folder.rglob("*.ltx"))
    replicas = sorted({str(path.parent.parent) for path in paths})
    if len(replicas) > 1:
        raise Refused(
            f"{folder} contains {len(replicas)} replicas: {', '.join(replicas[:5])}",
            status=400,
            path="replica",
            hint="name one of them",
        )
    files = [read for path in paths if (read := _file(path)) is not None]
    snapshots = [file for file in files if file.header.is_snapshot]
    if not snapshots:
        raise Refused(
            f"{folder} holds no snapshot of a Litestream replica",
            status=400,
            path="replica",
            hint="name the replica's own folder: the one that has ltx/0009 in it, or 0009 itself",
        )
    newest = max(snapshots, key=lambda file: file.header.max_txid)
    image, txid = ltx.image_of(newest), newest.header.max_txid
    while (following := _following(files, txid)) is not None:
        image, txid = ltx.applied(image, following), following.header.max_txid
    return Replica(image, txid)


def as_town(replica: Replica, town_id: str) -> bytes:
    """The image under our rules: rollback journal instead of WAL, the id that it is to have.

    Raises SchemaMismatch if it is no town, or one of another schema.
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


def _file(path: Path) -> ltx.LtxFile | None:
    try:
        return ltx.decode(path.read_bytes(), path.name)
    except OSError as error:
        raise Refused(
            f"cannot read {path.name} of the replica: {error.strerror}",
            status=400,
            path="replica",
            hint="copy the replica to a folder that can be read",
        ) from error
    except DamagedImage as error:
        raise DamagedImage(error.message, hint="copy the replica again; nothing was imported") from error


def _following(files: Iterable[ltx.LtxFile], txid: int) -> ltx.LtxFile | None:
    """The file that reaches furthest from a transaction without a gap."""
    fitting = [
        file
        for file in files
        if not file.header.is_snapshot and file.header.min_txid <= txid + 1 and file.header.max_txid > txid
    ]
    return max(fitting, key=lambda file: file.header.max_txid, default=None)

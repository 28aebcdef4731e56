"""Import a town database that Litestream replicated: read its LTX files and return an image that can be our first commit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from infra.buckets import Bucket
from shared.adapters import outside_files
from shared.domain.errors import DamagedImage, Refused
from shared.domain.secret_texts import masked
from shared.images import restoring, summary
from shared.moving import fencing
from shared.ports.object_store import ObjectStore
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts
from shared.storage import ltx
from shared.storage.listing import all_keys
from shared.town import database

LARGEST: Final = 64 << 20
"""Bytes of an image, unless the reader says otherwise."""
_MORE_THAN_PAGES: Final = 4 << 20
"""Bytes of headers, indexes and incompressible blocks that a file may have beside its pages."""
_WAL = b"\x02\x02"
_ROLLBACK = b"\x01\x01"
_MODE_BYTES = slice(18, 20)
_NO_TRANSACTION: Final = 1 << 64
_SPAN: Final = re.compile(r"(?:^|/)([0-9a-f]{16})-([0-9a-f]{16})\.ltx\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Replica:
    """The newest state of a replica: the image and the last transaction that it contains."""

    image: bytes
    txid: int


class Files(Protocol):
    """The LTX files of one replica."""

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        ...

    def names(self) -> list[str]:
        """The path of each file that may be needed, relative to the place, with slashes."""
        ...

    def start_of(self, name: str, length: int) -> bytes:
        """The first bytes of a file. Raises Refused if it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A replica in a folder of this machine."""

    root: Path

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.root)

    def names(self) -> list[str]:
        """The path of each LTX file in it."""
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.ltx"))

    def start_of(self, name: str, length: int) -> bytes:
        """The first bytes of a file. Raises Refused."""
        try:
            return outside_files.start_of(self.root / name, length)
        except OSError as error:
            hint = "copy the replica to a folder that you can read"
            raise _unreadable(name, str(error.strerror or error), hint) from error


@dataclass(frozen=True, slots=True)
class InBucket:
    """A replica below a prefix of a bucket."""

    objects: ObjectStore
    prefix: str
    place: str

    def names(self) -> list[str]:
        """The newest snapshot by its name, and the files that reach beyond it: a long past takes no requests."""
        keys = drive(all_keys(self.objects, self.prefix))
        spans = {key.removeprefix(self.prefix): _span(key) for key in keys if key.endswith(".ltx")}
        newest: dict[str, int] = {}
        for name, (first, last) in spans.items():
            if first == 1:
                newest[_home(name)] = max(newest.get(_home(name), 0), last)
        return [name for name, (_, last) in spans.items() if last >= newest.get(_home(name), 0)]

    def start_of(self, name: str, length: int) -> bytes:
        """The first bytes of an object. Raises Refused, and the errors of the store."""
        found = self.objects.start_of(self.prefix + name, length)
        if found is None:
            raise _unreadable(name, "it is gone", "the replica changes: import it again")
        return found


def in_bucket(url: str, *, endpoint: str | None, region: str | None) -> InBucket:
    """The replica at an s3:// URL as Litestream writes it, with `?endpoint=` and `?region=` if not given. Raises Refused."""
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not parts.netloc or set(asked) - {"endpoint", "region"}:
        hint = "write s3://BUCKET/PATH, and name another store than AWS with --replica-endpoint URL"
        raise Refused(f"not the URL of a replica: {masked(url)}", status=400, path="replica", hint=hint)
    given = endpoint or asked.get("endpoint")
    at = given if given is None or "://" in given else f"https://{given}"
    prefix = parts.path.strip("/")
    bucket = Bucket(parts.netloc, at, region or asked.get("region"))
    return InBucket(bucket.objects(), f"{prefix}/" if prefix else "", f"s3://{parts.netloc}/{prefix}")


def read_replica(files: Files | Path, *, largest: int = LARGEST) -> Replica:
    """The newest state of LTX files in Litestream's layout (`<place>/ltx/<level>/...` or `<place>/<level>/...`).

    The image has at most `largest` bytes; only the files that it is made of are unpacked, one after another. Raises Refused if
    the place contains no snapshot or several replicas, or a file cannot be read; DamagedImage if a file is damaged; ImageTooLarge.
    """
    files = Folder(files) if isinstance(files, Path) else files
    names = files.names()
    replicas = sorted({_home(name) for name in names})
    if len(replicas) > 1:
        raise Refused(
            f"importing a Litestream replica: {files.place} contains {len(replicas)} replicas: {', '.join(replicas[:5])}",
            status=400,
            path="replica",
            hint="name the folder of one of them",
        )
    headers = {name: _header(files, name, largest) for name in names}
    snapshots = [name for name, header in headers.items() if header.is_snapshot]
    if not snapshots:
        raise Refused(
            f"importing a Litestream replica: {files.place} contains no snapshot",
            status=400,
            path="replica",
            hint="name the replica's own folder: the one that contains ltx/0009, or 0009 itself",
        )
    newest = max(snapshots, key=lambda name: headers[name].max_txid)
    image, txid = ltx.image_of(_file(files, newest, largest)), headers[newest].max_txid
    while (following := _following(headers, txid)) is not None:
        image, txid = ltx.applied(image, _file(files, following, largest)), headers[following].max_txid
    return Replica(image, txid)


def as_town(replica: Replica, town_id: str, *, now: datetime) -> bytes:
    """The image of a new, paused town under this id, which is cut off from the old installation (`shared.moving.fencing`).

    Raises SchemaMismatch if it is not a town database or does not have the schema of a release, DamagedImage.
    """
    image = bytearray(replica.image)
    if image[_MODE_BYTES] == _WAL:
        image[_MODE_BYTES] = _ROLLBACK
    database.require_sound(bytes(image))
    return fencing.taken_over(restoring.renamed(bytes(image), town_id), town_id, now=now)


def facts_of(image: bytes, *, worker_id: str, now: datetime) -> CommitFacts:
    """The facts of the commit that creates a town from such an image."""
    with database.opened(image) as sql:
        about = summary.before_tick(sql)
        tick_no = restoring.tick_no(sql)
    return CommitFacts(
        commit_id=f"import-{worker_id}",
        tick_no=tick_no,
        time=now if about.last_tick_at is None else max(now, about.last_tick_at),
        next_due=now,
        schema_version=database.SCHEMA_VERSION,
    )


def _home(name: str) -> str:
    """The folder of the replica that a file belongs to: above that of its level."""
    return str(PurePosixPath(name).parent.parent)


def _span(name: str) -> tuple[int, int]:
    """The first and the last transaction that the name of a file says; one that says none counts as the newest."""
    found = _SPAN.search(name)
    return (int(found[1], 16), int(found[2], 16)) if found else (0, _NO_TRANSACTION)


def _header(files: Files, name: str, largest: int) -> ltx.LtxHeader:
    return ltx.read_header(files.start_of(name, ltx.HEADER_BYTES), PurePosixPath(name).name, largest=largest)


def _file(files: Files, name: str, largest: int) -> ltx.LtxFile:
    content = files.start_of(name, largest + _MORE_THAN_PAGES)
    try:
        return ltx.decode(content, PurePosixPath(name).name, largest=largest)
    except DamagedImage as error:
        raise DamagedImage(error.message, hint="nothing was imported; copy the replica again") from error


def _unreadable(name: str, why: str, hint: str) -> Refused:
    what = PurePosixPath(name).name
    return Refused(f"importing a Litestream replica: cannot read {what}: {why}", status=400, path="replica", hint=hint)


def _following(headers: Mapping[str, ltx.LtxHeader], txid: int) -> str | None:
    """Of the files that continue after a transaction without a gap, the one that reaches furthest; None if there is none."""
    fitting = [
        name
        for name, header in headers.items()
        if not header.is_snapshot and header.min_txid <= txid + 1 and header.max_txid > txid
    ]
    return max(fitting, key=lambda name: headers[name].max_txid, default=None)

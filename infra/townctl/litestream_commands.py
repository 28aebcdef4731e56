"""`townctl litestream`: a configuration to read towns with Litestream, and the import of a replica."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from infra.ops.litestream import adopt
from infra.ops.litestream import config as litestream
from infra.townctl.arguments import LARGEST_MIB, Largest, TownName, bytes_of_largest
from infra.townctl.context import TheContext
from infra.townctl.output import Answer
from shared.adapters import ids
from shared.domain.shapes import answer
from shared.ports.steps import drive


@answer
class Configuration:
    """A litestream.yml for these towns."""

    towns: tuple[str, ...]
    config: str


@answer
class Adopted:
    """A town that was created from transaction `from_txid` of a replica, and its first commit."""

    town_id: str
    from_txid: int
    txid: int
    image_digest: str


def config(
    *towns: TownName,
    files: Annotated[Path, Parameter(help="The directory for restored databases.")] = Path("restored"),
    context: TheContext,
) -> Answer:
    """Print a litestream.yml for these towns, default: all. Use it only to restore and inspect, never to replicate."""
    known = context.require_towns(context.store(), *towns)
    chosen = towns or known
    text = litestream.for_place(context.bucket, context.data.resolve(), list(chosen), files=files.resolve())
    return Answer(Configuration(chosen, text), (text.rstrip(),))


def import_(
    replica: Annotated[
        str, Parameter(help="The folder of the replica, which contains ltx/0009, or its URL: s3://BUCKET/PATH.")
    ],
    town_id: TownName,
    /,
    *,
    replica_endpoint: Annotated[
        str | None, Parameter(help="The S3 endpoint of the replica's bucket, if it is not in AWS.")
    ] = None,
    replica_region: Annotated[str | None, Parameter(help="The region of the replica's bucket.")] = None,
    largest: Largest = LARGEST_MIB,
    context: TheContext,
) -> Answer:
    """Create a new town from the newest state of a replica that Litestream wrote. It is paused until `townctl start`.

    Its agents of the old installation are cut off, as in `townctl import`: what they report does not count.
    """
    files: adopt.Files = adopt.Folder(Path(replica))
    if replica.startswith("s3:"):
        files = adopt.in_bucket(replica, endpoint=replica_endpoint, region=replica_region)
    read = adopt.read_replica(files, largest=bytes_of_largest(largest))
    store = context.founding_store()
    now = context.checked_time(store)
    image = adopt.as_town(read, town_id, now=now)
    facts = adopt.facts_of(image, worker_id=ids.worker_id(), now=now)
    created = drive(store.create(town_id, image, facts))
    adopted = Adopted(town_id, read.txid, created.txid, created.image_digest)
    shown = (
        f"created town {town_id}, paused, from transaction {read.txid} of {files.place}",
        f"to see what starting it will do: townctl dry-run {town_id}; to start it: townctl start {town_id}",
    )
    return Answer(adopted, shown)

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
from shared.ports.town_store import CommitFacts


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
    replica: Annotated[Path, Parameter(help="The folder of the replica, which contains ltx/0009.")],
    town_id: TownName,
    /,
    *,
    largest: Largest = LARGEST_MIB,
    context: TheContext,
) -> Answer:
    """Create a town from the newest state of a replica that Litestream wrote."""
    read = adopt.read_replica(replica, largest=bytes_of_largest(largest))
    image = adopt.as_town(read, town_id)
    now = context.clock.now()
    facts = CommitFacts(
        commit_id=f"import-{ids.worker_id()}",
        tick_no=adopt.tick_no_of(image),
        time=now,
        next_due=now,
        schema_version=adopt.schema_version_of(image),
    )
    created = drive(context.founding_store().create(town_id, image, facts))
    adopted = Adopted(town_id, read.txid, created.txid, created.image_digest)
    return Answer(adopted, (f"created town {town_id} from transaction {read.txid} of {replica}",))

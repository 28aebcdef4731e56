"""`townctl litestream`: configuration for reading towns with Litestream, and adopting a database that it replicated."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from infra.ops.litestream import adopt
from infra.ops.litestream import config as litestream
from infra.townctl.answers import Answer
from infra.townctl.desk import TheDesk, TownName
from shared.adapters import ids
from shared.domain.errors import UnknownTown
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts

app = App(name="litestream", help="Read towns with Litestream, and adopt databases that it replicated.")


@app.command
def config(
    *towns: TownName,
    files: Annotated[Path, Parameter(help="Where restored databases shall go.")] = Path("restored"),
    desk: TheDesk,
) -> Answer:
    """Print a litestream.yml for all or some towns: for restore and inspection only."""
    known = list(drive(desk.store().towns()))
    for town_id in towns:
        if town_id not in known:
            raise UnknownTown(f"there is no town {town_id} here", hint="see which there are: townctl town list")
    chosen = list(towns) or known
    text = litestream.for_place(desk.bucket, desk.data.resolve(), chosen, files=files.resolve())
    return Answer({"towns": chosen, "config": text}, (text.rstrip(),))


@app.command(name="import")
def import_(
    replica: Annotated[Path, Parameter(help="The replica's folder: the one with ltx/0009 in it.")],
    town_id: TownName,
    /,
    *,
    desk: TheDesk,
) -> Answer:
    """Make a town of the newest state of a replica that Litestream wrote."""
    read = adopt.read_replica(replica)
    image = adopt.as_town(read, town_id)
    now = desk.clock.now()
    facts = CommitFacts(
        commit_id=f"import-{ids.worker_id()}",
        tick_no=adopt.tick_no_of(image),
        time=now,
        next_due=now,
        schema_version=adopt.schema_version_of(image),
    )
    created = drive(desk.founding_store().create(town_id, image, facts))
    document = {"townId": town_id, "fromTxid": read.txid, "txid": created.txid, "imageDigest": created.image_digest}
    return Answer(document, (f"town {town_id} was made of transaction {read.txid} of {replica}",))

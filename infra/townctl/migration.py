"""`townctl export` and `townctl import`: a town as a file, and a new, paused town of such a file.

What an export of the system that is being shut down looks like is not known: none was available. `import` reads our own
export, and any SQLite file with the tables and columns of spec/data-model.md; another format is turned into one of these.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType

from infra.townctl.answers import FOUND, OK, Answer, table
from infra.townctl.desk import TheDesk, TownName, content_of
from infra.townctl.past import write_whole
from shared.adapters import ids
from shared.domain.errors import Refused
from shared.moving import transfer
from shared.moving.transfer import Imported
from shared.ports.steps import drive

_SHOWN: Final = 50
_LARGEST_FILE: Final = 1 << 30


def export(
    town_id: TownName,
    file: Annotated[Path, Parameter(help="The file to write; one that is there is replaced.")],
    /,
    *,
    desk: TheDesk,
) -> Answer:
    """Write a town into a file of JSON lines: a header, then one object for each row. The town stays as it is.

    It holds everything that people wrote. The journal is not in it, nor are events that wait in the inbox.
    Exit code 1 if such events wait.
    """
    exported = drive(transfer.export_town(town_id, desk.around(desk.store())))
    write_whole(file, exported.body, path="file")
    rows = exported.body.count(b"\n") - 1
    document = {
        "townId": town_id,
        "file": str(file),
        "tick": exported.base.facts.tick_no,
        "txid": exported.base.txid,
        "rows": rows,
        "bytes": len(exported.body),
        "waitingBatches": exported.waiting_batches,
    }
    shown = [f"town {town_id} as of tick {exported.base.facts.tick_no}: {rows} rows are in {file}"]
    if exported.waiting_batches:
        shown.append(
            f"{exported.waiting_batches} batches of events wait in its inbox and are not in the file: "
            f"townctl tick {town_id}, then export again"
        )
    return Answer(document, tuple(shown), FOUND if exported.waiting_batches else OK)


def import_(
    file: Annotated[Path, Parameter(help="What `townctl export` wrote, or a SQLite file with a town's tables.")],
    town_id: TownName,
    /,
    *,
    desk: TheDesk,
) -> Answer:
    """Make a new town of an export or of a SQLite file with a town's tables; it is paused until `townctl town start`.

    What cannot be read is told row by row, and everything else comes along. Exit code 1 if something could not be read.
    An export of the system that is being shut down must be turned into these lines first: its format was not available.
    """
    log = Path(f"{file}-wal")
    if log.is_file() and log.stat().st_size:
        hint = f'fold it in first: sqlite3 {file} "PRAGMA wal_checkpoint(TRUNCATE)"'
        raise Refused(f"beside {file} lies a log with newer rows, {log.name}", status=400, path="file", hint=hint)
    content = content_of(str(file), what="file", at_most=_LARGEST_FILE)
    around = desk.around(desk.founding_store())
    made = drive(transfer.import_town(town_id, content, around, worker_id=ids.worker_id()))
    document = {
        "townId": town_id,
        "data": desk.place,
        "kind": made.kind,
        "txid": made.created.txid,
        "imageDigest": made.created.image_digest,
        "tick": made.content.tick_no,
        "rows": dict(made.content.rows),
        "journalRowsLeftOut": made.content.journal_rows,
        "notRead": [each.as_json() for each in made.content.not_read],
    }
    return Answer(document, tuple(_view(made, document)), FOUND if made.content.not_read else OK)


def _view(made: Imported, document: dict[str, Any]) -> Iterator[RenderableType]:
    rows = ", ".join(f"{count} {name}" for name, count in document["rows"].items() if count)
    yield f"town {document['townId']} was made in {document['data']}, paused: {rows}"
    missed = document["notRead"]
    if missed:
        lines = [(each["table"], each["key"], each["column"], each["why"], each["outcome"]) for each in missed[:_SHOWN]]
        yield table("table", "key", "column", "why", "outcome", rows=lines, title=f"{len(missed)} could not be read")
        if len(missed) > _SHOWN:
            yield f"and {len(missed) - _SHOWN} more: --json shows all"
        yield "to correct them: mend the file and import it as another town"
    town_id = made.created.town_id
    yield f"what starting will do: townctl dry-run {town_id}; to start it: townctl town start {town_id}"

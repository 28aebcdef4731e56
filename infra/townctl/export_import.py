"""`townctl export` and `townctl import`: write a town to a file, and create a new, paused town from such a file.

`import` reads the files that `export` writes, and any SQLite file with the tables and columns of spec/data-model.md. No export
of the system that this project replaces was available, so its format is unknown: convert it to one of these.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType

from infra.townctl.arguments import (
    LARGEST_MIB,
    Force,
    Largest,
    TownName,
    bytes_of_largest,
    content_of,
    require_new,
    writing_whole,
)
from infra.townctl.context import TheContext
from infra.townctl.output import FOUND, OK, Answer, table
from infra.townctl.wording import quantity
from shared.adapters import ids
from shared.domain.errors import Refused
from shared.domain.shapes import answer
from shared.moving import transfer
from shared.moving.foreign_rows import NotRead
from shared.ports.steps import drive

_SHOWN: Final = 50


@answer
class ExportedTown:
    """A town that was written to a file, as of a commit. `waiting_batches` of events in its inbox are not in the file."""

    town_id: str
    file: str
    tick: int
    txid: int
    rows: int
    bytes: int
    waiting_batches: int


@answer
class ImportedTown:
    """A town that was created from a file: its first commit, the number of rows by table, and what could not be read."""

    town_id: str
    data: str
    kind: str
    txid: int
    image_digest: str
    tick: int
    rows: Mapping[str, int]
    journal_rows_left_out: int
    not_read: tuple[NotRead, ...]


def export(
    town_id: TownName,
    file: Annotated[Path, Parameter(help="The file to write.")],
    /,
    *,
    force: Force = False,
    context: TheContext,
) -> Answer:
    """Write a town to a file of JSON lines: a header, then one object for each row. The town does not change.

    The file contains everything that people wrote. It does not contain the journal or the events in the inbox.
    Exit code 1 if there are events in the inbox.
    """
    require_new(file, force=force, what="file")
    with writing_whole(file, what="file") as opened:
        exported = drive(transfer.export_town(town_id, context.around(context.store()), opened))
    written = ExportedTown(
        town_id=town_id,
        file=str(file),
        tick=exported.base.facts.tick_no,
        txid=exported.base.txid,
        rows=exported.rows,
        bytes=exported.size,
        waiting_batches=exported.waiting_batches,
    )
    shown = [
        f"wrote town {town_id} as of tick {exported.base.facts.tick_no} to {file}: {quantity(exported.rows, 'row')}"
    ]
    if exported.waiting_batches:
        shown.append(
            f"the file lacks {quantity(exported.waiting_batches, 'batch of events', 'batches of events')} in the inbox; "
            f"to include them, run `townctl tick {town_id}` and export again"
        )
    return Answer(written, tuple(shown), FOUND if exported.waiting_batches else OK)


def import_(
    file: Annotated[Path, Parameter(help="A file that `townctl export` wrote, or a SQLite file with a town's tables.")],
    town_id: TownName,
    /,
    *,
    largest: Largest = LARGEST_MIB,
    context: TheContext,
) -> Answer:
    """Create a new town from an export or from a SQLite file with a town's tables. It is paused until `townctl start`.

    Values that cannot be read are reported row by row; everything else is imported. Exit code 1 if a value cannot be read.
    Convert an export of the system that this project replaces first: its format is unknown.
    """
    log = Path(f"{file}-wal")
    if log.is_file() and log.stat().st_size:
        hint = f'checkpoint it first: sqlite3 {file} "PRAGMA wal_checkpoint(TRUNCATE)"'
        problem = f"{file} has a write-ahead log with newer rows, {log.name}"
        raise Refused(problem, status=400, path="file", hint=hint)
    at_most = bytes_of_largest(largest)
    content = content_of(str(file), what="file", at_most=at_most, raised_by="largest")
    around = context.around(context.founding_store())
    made = drive(transfer.import_town(town_id, content, around, worker_id=ids.worker_id(), largest=at_most))
    imported = ImportedTown(
        town_id=town_id,
        data=context.place,
        kind=made.kind,
        txid=made.created.txid,
        image_digest=made.created.image_digest,
        tick=made.content.tick_no,
        rows=made.content.rows,
        journal_rows_left_out=made.content.journal_rows,
        not_read=made.content.not_read,
    )
    return Answer(imported, tuple(_view(imported)), FOUND if imported.not_read else OK)


def _view(imported: ImportedTown) -> Iterator[RenderableType]:
    rows = ", ".join(f"{count} {name}" for name, count in imported.rows.items() if count)
    yield f"created town {imported.town_id} in {imported.data}, paused: {rows}"
    missed = imported.not_read
    if missed:
        lines = [(each.table, each.key, each.column, each.why, each.outcome) for each in missed[:_SHOWN]]
        title = f"{quantity(len(missed), 'value')} could not be read"
        yield table("table", "key", "column", "why", "outcome", rows=lines, title=title)
        if len(missed) > _SHOWN:
            yield f"and {len(missed) - _SHOWN} more; --json shows all of them"
        yield "to correct them, edit the file and import it as another town"
    town_id = imported.town_id
    yield f"to see what starting it will do: townctl dry-run {town_id}; to start it: townctl start {town_id}"

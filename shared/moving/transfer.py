"""Exports a town to a file, and makes a new town from such a file (spec/tick.md section 14).

The file is an export as `shared.moving.export` writes it, or a SQLite file with the tables of a town. The export format of
the system that this one replaces is unknown, because no such export was available. Such an export must first be converted to
these JSON lines.
"""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from shared.domain import canonical, strict_json
from shared.domain.errors import Refused
from shared.history.archived import put_everything_into
from shared.images import summary
from shared.images.pages import page_size_in
from shared.moving import export, foreign_rows, importing
from shared.moving.foreign_rows import NO_TOWN_HINT, GivenRow, NotRead
from shared.moving.importing import ImportedImage
from shared.ports.steps import Steps
from shared.ports.town_store import CommitFacts, TownImage
from shared.runner.surroundings import Surroundings
from shared.storage.scratch import ScratchDirectory
from shared.town import database
from shared.town.large_images import large_image

LONGEST_LINE: Final = 16 << 20
_DEPTH: Final = 64
_MOST_VALUES: Final = 50_000
"""Values of one row, with those in its JSON columns."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A town that was exported: its commit, the rows and bytes of the file, and the number of batches in its inbox, which are not
    in it.
    """

    base: TownImage
    rows: int
    size: int
    waiting_batches: int


@dataclass(frozen=True, slots=True)
class Imported:
    """The commit that created the town, the kind of file, and what was imported."""

    created: TownImage
    kind: str
    content: ImportedImage


def export_town(town_id: str, around: Surroundings, file: BinaryIO) -> Steps[Exported]:
    """Write the newest image of a town and all of its archive to a file; the town does not change.

    An archive may be larger than the memory: it is put together in a temporary file, block by block, and written row by row.
    Raises UnknownTown, DamagedImage.
    """
    base: TownImage = yield from around.store.load(town_id)
    waiting = yield from around.store.read_inbox(town_id, limit=1000)
    copy = large_image(base.image, ScratchDirectory(), page_size=page_size_in(base.image))
    lines = size = 0
    with database.opened(copy) as sql:
        yield from put_everything_into(sql, around.store, town_id)
        for line in export.lines(sql):
            size += file.write(f"{line}\n".encode())
            lines += 1
    return Exported(base, lines - 1, size, len(waiting.objects))


def import_town(
    town_id: str, content: bytes, around: Surroundings, *, worker_id: str, largest: int = foreign_rows.LARGEST
) -> Steps[Imported]:
    """Make a new, paused town from a file of at most `largest` bytes.

    Raises TownExists, Refused (not an export, newer than this code, too large, invalid town id).
    """
    now = yield from around.time()
    is_database = content.startswith(foreign_rows.MAGIC)
    given = foreign_rows.of_database(content, largest=largest) if is_database else of_lines(content, largest=largest)
    read = importing.imported(town_id, given, now=now)
    facts = CommitFacts(
        commit_id=f"import-{worker_id}",
        tick_no=read.tick_no,
        time=now if read.last_tick_at is None else max(now, read.last_tick_at),
        next_due=now,
        schema_version=database.SCHEMA_VERSION,
        drain_nonce=summary.drain_nonce_in(read.image),
    )
    created = yield from around.store.create(town_id, read.image, facts)
    return Imported(created, "sqlite" if is_database else "json lines", read)


def of_lines(content: bytes, *, largest: int = foreign_rows.LARGEST) -> Iterator[GivenRow | NotRead]:
    """The rows of an export. Raises Refused if its first line is not a header that this code can read, or for too many rows."""
    numbered = ((number, line) for number, line in enumerate(io.BytesIO(content), start=1) if line.strip())
    promised = _promised(next(numbered, (1, b""))[1])
    found: Counter[str] = Counter()
    amount = foreign_rows.Amount(rows=max(largest, len(content)) // foreign_rows.BYTES_PER_ROW, size=len(content))
    for number, line in numbered:
        row = _row(line, f"line {number}")
        if isinstance(row, NotRead):
            amount.take(size=0, strange=0)
        else:
            amount.take(size=0, strange=foreign_rows.strange_names(row.table, row.values))
            found[row.table] += row.table in promised
        yield row
    for table, count in promised.items():
        if isinstance(count, int) and found[table] < count:
            why = f"rows announced by the header: {count}; rows that can be read: {found[table]}. The file was cut off or changed"
            yield NotRead(table[:100], "", "", why)


def _promised(line: bytes) -> dict[str, object]:
    """The number of rows of each table according to the header; empty if the header omits it."""
    try:
        header = strict_json.parse(line, limit=LONGEST_LINE, depth=_DEPTH, values=_MOST_VALUES)
    except Refused as problem:
        message = f"line 1 is not the header of an export: {problem.message}"
        raise Refused(message, status=400, path="file", hint=NO_TOWN_HINT) from None
    if not isinstance(header, dict) or header.get("format") != export.FORMAT:
        message = f'line 1 is not the header of an export: it lacks "format":"{export.FORMAT}"'
        raise Refused(message, status=400, path="file", hint=NO_TOWN_HINT)
    if header.get("version") != export.VERSION or isinstance(header["version"], bool):
        message = f"the version of the export is unknown; this code knows version {export.VERSION}"
        raise Refused(message, status=400, path="file", hint="run a newer release; nothing was created")
    rows = header.get("rows", {})
    return rows if isinstance(rows, dict) else {}


def _row(line: bytes, place: str) -> GivenRow | NotRead:
    try:
        value = strict_json.parse(line, limit=LONGEST_LINE, depth=_DEPTH, values=_MOST_VALUES)
    except Refused as problem:
        return NotRead("", place, problem.path, problem.message)
    if not isinstance(value, dict) or set(value) != {"table", "row"}:
        return NotRead("", place, "", 'a line must be {"table": ..., "row": {...}} and nothing else')
    table, row = value["table"], value["row"]
    if not isinstance(table, str) or not isinstance(row, dict):
        return NotRead("", place, "", "table must be a text and row an object")
    return GivenRow(table, place, {name: _packed(name, value) for name, value in row.items()})


def _packed(name: str, value: object) -> object:
    """A value as it is kept until its row is stored: lists and objects as JSON, which takes a fraction of their memory."""
    if not isinstance(value, dict | list):
        return value
    return canonical.dumps(value) if name in importing.JSON_COLUMNS else type(value)()

"""A town as JSON lines: one header, then one object for each row, tables and columns as in spec/data-model.md.

    {"format":"town-export","rows":{"beads":3,...},"schema":1,"tick":7,"time":"2026-...Z","town":"alpha","version":1}
    {"table":"rigs","row":{"config":"{}","created_at":"...","default_branch":"main",...}}

Values are exported as the database stores them, JSON columns as text too, so that nothing is lost. Two things are not
exported: the journal (table `ticks`), which is the history of another installation, and the unread events in the inbox.
"""

from collections.abc import Iterator
from typing import Final

from shared.domain import canonical
from shared.domain.times import text_or_none
from shared.images import dump
from shared.town import database
from shared.town.town_keys import TownKeys

FORMAT: Final = "town-export"
VERSION: Final = 1
TABLES: Final = (
    "rigs",
    "beads",
    "agent_metadata",
    "review_metadata",
    "convoy_metadata",
    "escalation_metadata",
    "bead_dependencies",
    "agent_nudges",
    "agent_usage",
    "usage_sums",
    "bead_events",
    "town_events",
    "known_events",
    "outbox",
    "open_violations",
    "town",
)
"""All tables of an export. A table comes after those that it refers to."""


def lines(sql: database.Database) -> Iterator[str]:
    """The lines for an open town, without line ends. Equal rows give equal lines."""
    keys = TownKeys(sql)
    counts = {
        table: sql.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - constants
        for table in TABLES
        if dump.columns_in(sql, table)
    }
    header: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "schema": database.schema_version(sql),
        "town": keys.id,
        "tick": keys.tick_no,
        "time": text_or_none(keys.last_tick_at),
        "rows": counts,
    }
    yield canonical.dumps(header)
    for table in TABLES:
        columns = dump.columns_in(sql, table)
        for row in dump.rows(sql, table):
            yield f'{{"table":"{table}","row":{canonical.dumps(dict(zip(columns, row, strict=True)))}}}'

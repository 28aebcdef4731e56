"""Towns as the first release wrote them."""

import json
import sqlite3
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain import canonical
from shared.images import dump
from shared.images.pages import page_size_of
from shared.ports.steps import drive
from shared.storage.towns import ObjectTownStore
from shared.town import database, packed_rows, schemas
from shared.town.columns import TABLES

DEMO: Final = Path(__file__).with_name("demo-town.tar.gz")
DEMO_TOWN: Final = "demo"


def unpacked(folder: Path) -> DirectoryObjects:
    """The demo's town of the first release, in a folder."""
    with tarfile.open(DEMO) as packed:
        packed.extractall(folder, filter="data")
    return DirectoryObjects(folder)


@cache
def demo_image() -> bytes:
    """Its newest image."""
    with tempfile.TemporaryDirectory() as folder:
        return drive(ObjectTownStore(unpacked(Path(folder))).load(DEMO_TOWN)).image


def as_of_the_first_release(image: bytes) -> bytes:
    """The same rows in the first schema. What later schemas added is lost."""
    given, made = database.open_image(image), sqlite3.connect(":memory:", isolation_level=None)
    with database.opened(demo_image()) as old:
        made.execute(f"PRAGMA page_size = {page_size_of(demo_image())}")
        for pragma in ("application_id", "user_version"):
            made.execute(f"PRAGMA {pragma} = {int(old.execute(f'PRAGMA {pragma}').fetchone()[0])}")
        for (statement,) in old.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"):
            made.execute(statement)
    made.execute("PRAGMA ignore_check_constraints = ON")
    for table in (*TABLES, "ticks"):
        columns = dump.columns_in(made, table)
        if not columns:
            continue  # a later schema added the table
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        rows = dump.by_key(given, table, columns)
        if table == "ticks":
            rows = {key: tuple(_in_full(dict(zip(columns, row, strict=True))).values()) for key, row in rows.items()}
        if table == "town_events":
            at, told = columns.index("payload"), _payloads(given)
            rows = {key: (*row[:at], row[at] or told.get(key, "{}"), *row[at + 1 :]) for key, row in rows.items()}
        made.executemany(insert, rows.values())
    database.set_schema_version(made, schemas.OLDEST)
    older = made.serialize()
    made.close()
    database.close(given)
    return older


def _payloads(sql: sqlite3.Connection) -> dict[str, str]:
    """The payloads of the events in the journal, by id: schema 5 took them from the rows of processed events."""
    names = ("inputs", "outputs")
    rows = [
        dict(zip(names, row, strict=True)) for row in sql.execute("SELECT inputs, outputs FROM ticks ORDER BY tick_no")
    ]
    read = [json.loads(_in_full(row)["inputs"]) for row in rows]
    return {
        each["event_id"]: each["payload"] for row in read if isinstance(row, dict) for each in row.get("new_events", ())
    }


def _in_full(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the journal as releases wrote it that did not pack it; as it is if it is no document."""
    inputs, outputs = json.loads(row["inputs"]), json.loads(row["outputs"])
    if not isinstance(inputs, dict) or not isinstance(outputs, dict):
        return row
    whole = packed_rows.unpacked(inputs, outputs)
    return {**row, "inputs": canonical.dumps(whole[0]), "outputs": canonical.dumps(whole[1])}

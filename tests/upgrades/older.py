"""Towns as the first release wrote them."""

import sqlite3
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from shared.adapters.directory_objects import DirectoryObjects
from shared.images import dump
from shared.images.pages import page_size_of
from shared.ports.steps import drive
from shared.storage.towns import ObjectTownStore
from shared.town import database, schemas

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
    for table in (*dump.TABLES, "ticks"):
        columns = dump.columns_in(made, table)
        if not columns:
            continue  # a later schema added the table
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        made.executemany(insert, dump.by_key(given, table, columns).values())
    database.set_schema_version(made, schemas.OLDEST)
    older = made.serialize()
    made.close()
    database.close(given)
    return older

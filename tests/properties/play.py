"""Play recorded histories and print the digest of the image after every tick.

    python -m tests.properties.play HISTORIES.json memory|file|dry-run

`file`: the town is a database file. `dry-run`: before every tick the same tick runs on a copy, and must say the same.
"""

import hashlib
import json
import sqlite3
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from shared.domain.report import TickReport
from shared.domain.tick import TickInput
from shared.engine import tick
from shared.town import database
from tests.properties.life import Life, Ticked
from tests.properties.starts import begin
from tests.properties.steps import from_json
from tests.towns import TOWN, TownBuilder

How = Literal["memory", "file", "dry-run"]


@dataclass
class _InFile(TownBuilder):
    """A town whose image is what lies on the disk."""

    path: Path = field(default_factory=Path)

    def image(self) -> bytes:
        return self.path.read_bytes()


class _Foreseen(Life):
    """A life in which every tick is tried on a copy first."""

    def run(self, sql: database.Database, given: TickInput) -> TickReport:
        copy = database.open_image(database.image_of(sql))
        foreseen = tick.run(copy, given, town_id=TOWN)
        image = database.image_of(copy)
        database.close(copy)
        report = super().run(sql, given)
        assert foreseen == report, f"the dry run of tick {given.tick_no} said something else"
        assert image == database.image_of(sql), f"the dry run of tick {given.tick_no} gave another image"
        return report


def digests(path: Path, how: How) -> list[str]:
    """The sha256 of the image after every tick of every history in the file."""
    found: list[str] = []
    for history in json.loads(path.read_text(encoding="utf-8")):
        found += _of_one(history["start"], [from_json(step) for step in history["steps"]], how)
    return found


def _of_one(start: str, steps: list, how: How) -> list[str]:
    found: list[str] = []

    def note(life: Life, ticked: Ticked) -> None:
        found.append(hashlib.sha256(ticked.after).hexdigest())

    with tempfile.TemporaryDirectory() as folder:
        life = begin(start)
        if how == "dry-run":
            life.__class__ = _Foreseen
        elif how == "file":
            life = _moved_to(Path(folder) / "town.sqlite", life)
        life.checks = (note,)
        life.play(*steps)
        life.close()
    return found


def _moved_to(path: Path, life: Life) -> Life:
    path.write_bytes(life.town.image())
    life.close()
    sql = sqlite3.connect(path, isolation_level=None)
    sql.execute("PRAGMA foreign_keys = ON")
    database.restrict(sql)
    return replace(life, town=_InFile(sql=sql, path=path))


if __name__ == "__main__":
    for digest in digests(Path(sys.argv[1]), sys.argv[2]):  # type: ignore[arg-type] # whoever calls it knows the three
        print(digest)

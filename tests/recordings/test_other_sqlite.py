"""A recording made with another SQLite is judged by its rows, and says why.

No second SQLite is at hand where the tests run, so the other version is stood in for: the same town in pages of another
size, as another version could have laid it out, with digests of pages that this one never comes to.
"""

import sqlite3
from contextlib import closing
from dataclasses import replace

from shared.images import image_digest
from shared.replay.recordings import verifying
from shared.replay.recordings.file_format import Recording, page_marks
from shared.town import database
from tests.recordings import golden
from tests.recordings.slices import with_row

OTHER = "3.99.0"


def laid_out_otherwise(image: bytes) -> bytes:
    """The same rows in larger pages."""
    with closing(sqlite3.connect(":memory:")) as sql:
        sql.deserialize(image)
        sql.execute("PRAGMA page_size = 8192")
        sql.execute("VACUUM")
        return sql.serialize()


def by_another_sqlite(genuine: Recording) -> Recording:
    """The recording as another SQLite would have made it."""
    image = laid_out_otherwise(genuine.image)
    return replace(
        genuine,
        image=image,
        image_digest=image_digest.of_image(image),
        page_marks=page_marks(image),
        sqlite_version=OTHER,
        ticks=tuple(replace(tick, image_digest="0" * 72) for tick in genuine.ticks),
    )


def test_other_bytes_with_the_same_rows_are_the_same_past_and_the_report_says_why() -> None:
    other = by_another_sqlite(golden.read("drain"))
    assert other.image_digest != golden.read("drain").image_digest
    verified = verifying.verify(other)
    assert verified.exact
    assert verified.compared_by == "rows"
    assert verified.notes[0] == (
        f"only rows are compared, not bytes: the recording was made with SQLite {OTHER}, and this is "
        f"SQLite {database.SQLITE_VERSION}, which may lay out pages differently"
    )


def test_the_same_bytes_are_due_where_the_sqlite_is_the_same() -> None:
    claimed = replace(by_another_sqlite(golden.read("drain")), sqlite_version=database.SQLITE_VERSION)
    verified = verifying.verify(claimed)
    assert verified.divergence is not None
    assert verified.divergence.differences[0].column == "image digest"


def test_another_sqlite_excuses_no_other_row() -> None:
    other = by_another_sqlite(golden.read("drain"))
    row = other.ticks[4].row
    changed = with_row(other, {"inputs": {**row["inputs"], "more_waiting": True}}, 4)
    verified = verifying.verify(changed)
    assert verified.divergence is not None
    assert verified.divergence.tick == row["tick_no"]
    ticks = list(other.ticks)
    ticks[4] = replace(ticks[4], logical_digest="0" * 64)
    forged = verifying.verify(replace(other, ticks=tuple(ticks)))
    assert forged.divergence is not None
    assert forged.divergence.differences[0].column == "logical digest"

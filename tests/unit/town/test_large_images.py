"""A large image in its file: the pages that a transaction changed are those that a comparison finds, and no others."""

import gc
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from shared.domain.images import PageChange
from shared.images.pages import changed_pages
from shared.storage.scratch import ScratchDirectory
from shared.town import database, schemas
from shared.town.large_images import LargeImage, large_image

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out

PAGE = 512


@dataclass
class Folder:
    """A scratch place that remembers."""

    path: Path
    removed: list[Path] = field(default_factory=list)
    made: int = 0

    def new(self) -> Path:
        self.made += 1
        return self.path / f"{self.made}.sqlite"

    def remove(self, path: Path) -> None:
        path.unlink()
        self.removed.append(path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def _an_image(rng: Random, *, rows: int = 300) -> bytes:
    sql = sqlite3.connect(":memory:", isolation_level=None)
    sql.execute(f"PRAGMA page_size = {PAGE}")
    schemas.create(sql)
    _insert(sql, rng, rows)
    image = sql.serialize()
    sql.close()
    return image


def _insert(sql: sqlite3.Connection, rng: Random, rows: int) -> None:
    sql.executemany(
        "INSERT INTO ticks (tick_id, now, code_version, sqlite_version, config_digest, prev_image_digest, inputs, outputs) "
        "VALUES (?, '', '', '', '', '', ?, '')",
        [(rng.randbytes(12).hex(), rng.randbytes(rng.choice((5, 80, 700))).hex()) for _ in range(rows)],
    )


def _write_at_random(sql: sqlite3.Connection, rng: Random) -> None:
    """Rows come, change, grow beyond their page and go; sometimes nearly all go, so that free pages come and are used again."""
    database.begin(sql)
    for _ in range(rng.randrange(6)):
        kind = rng.randrange(6)
        share = rng.choice((2, 9, 50))
        if kind == 0:
            _insert(sql, rng, rng.choice((1, 20, 300)))
        elif kind == 1:
            sql.execute(
                "UPDATE ticks SET inputs = ? WHERE tick_no % ? = 0", (rng.randbytes(rng.choice((9, 900))).hex(), share)
            )
        elif kind == 2:
            sql.execute("DELETE FROM ticks WHERE tick_no % ? = 0", (share,))
        elif kind == 3:
            sql.execute("SAVEPOINT step")
            _insert(sql, rng, 40)
            sql.execute("DELETE FROM ticks WHERE tick_no % 3 = 1")
            sql.execute(rng.choice(("RELEASE step", "ROLLBACK TO step")))
        elif kind == 4 and rng.random() < 0.3:
            sql.execute("DELETE FROM ticks WHERE tick_no % 20 <> 0")
        elif kind == 5:
            sql.execute("UPDATE ticks SET inputs = inputs WHERE tick_no % ? = 0", (share,))


def _in_memory(image: bytes, seed: str) -> bytes:
    sql = database.open_image(image)
    _write_at_random(sql, Random(seed))
    database.commit(sql)
    after = database.image_of(sql)
    database.close(sql)
    return after


def _in_its_file(image: LargeImage, seed: str) -> LargeImage:
    sql = database.open_image(image)
    _write_at_random(sql, Random(seed))
    database.commit(sql)
    after = database.content_of(sql)
    database.close(sql)
    assert isinstance(after, LargeImage)
    return after


def _free_pages(image: bytes) -> int:
    return int.from_bytes(image[36:40], "big")


@pytest.mark.parametrize("seed", range(12))
def test_the_changed_pages_are_those_that_differ_and_the_bytes_are_those_of_a_database_in_memory(
    folder: Folder, seed: int
) -> None:
    plain = _an_image(Random(seed))
    town = large_image(plain, folder, page_size=PAGE)
    free: list[int] = []
    for step in range(40):
        after, wanted = _in_its_file(town, f"{seed}-{step}"), _in_memory(plain, f"{seed}-{step}")
        assert after.whole() == wanted
        if after is not town:
            assert _as_dict(after.changed_since(town)) == dict(changed_pages(plain, wanted, PAGE))
            assert after.pages == len(wanted) // PAGE
        free.append(_free_pages(wanted) - _free_pages(plain))
        town, plain = after, wanted
    assert min(free) < 0 < max(free), "free pages came and were used again"


@pytest.mark.parametrize("seed", range(6))
def test_after_a_lost_race_the_base_is_unharmed_and_can_be_worked_on_again(folder: Folder, seed: int) -> None:
    plain = _an_image(Random(seed))
    town = large_image(plain, folder, page_size=PAGE)
    for step in range(15):
        _in_its_file(town, f"lost-{seed}-{step}")
        assert town.whole() == plain
        _in_its_file(town, f"lost again-{seed}-{step}")
        after, wanted = _in_its_file(town, f"{seed}-{step}"), _in_memory(plain, f"{seed}-{step}")
        if after is not town:
            assert _as_dict(after.changed_since(town)) == dict(changed_pages(plain, wanted, PAGE))
        assert (town.whole(), after.whole(), town.whole()) == (plain, wanted, plain)
        town, plain = after, wanted


def test_a_transaction_of_which_nobody_took_the_outcome_leaves_no_trace(folder: Folder) -> None:
    plain = _an_image(Random(1))
    town = large_image(plain, folder, page_size=PAGE)
    for end in (database.commit, database.rollback):
        sql = database.open_image(town)
        database.begin(sql)
        _insert(sql, Random(2), 100)
        end(sql)
        database.close(sql)
        assert town.whole() == plain
    assert _in_its_file(town, "next").whole() == _in_memory(plain, "next")


def test_base_and_outcome_may_both_be_read_before_the_connection_is_closed(folder: Folder) -> None:
    """As the self-check does, which runs a committed tick again on its base."""
    plain = _an_image(Random(2))
    town = large_image(plain, folder, page_size=PAGE)
    sql = database.open_image(town)
    _write_at_random(sql, Random("self-check"))
    database.commit(sql)
    after = database.content_of(sql)
    assert isinstance(after, LargeImage)
    images = (after.whole(), town.whole())
    database.close(sql)
    assert images == (_in_memory(plain, "self-check"), plain)
    assert (after.whole(), _in_its_file(after, "next").whole()) == (images[0], _in_memory(images[0], "next"))


def test_two_transactions_of_one_connection_are_one_change(folder: Folder) -> None:
    plain = _an_image(Random(3))
    town = large_image(plain, folder, page_size=PAGE)
    sql = database.open_image(town)
    for rows in (50, 400):
        database.begin(sql)
        sql.execute("DELETE FROM ticks WHERE tick_no % 4 = 0")
        _insert(sql, Random(rows), rows)
        database.commit(sql)
    after = database.content_of(sql)
    database.close(sql)
    assert isinstance(after, LargeImage)
    assert _as_dict(after.changed_since(town)) == dict(changed_pages(plain, after.whole(), PAGE))


def test_an_image_that_two_others_have_followed_is_gone_and_says_so(folder: Folder) -> None:
    first = large_image(_an_image(Random(4)), folder, page_size=PAGE)
    second = _in_its_file(first, "c")
    third = _in_its_file(second, "b")
    with pytest.raises(RuntimeError, match="can no longer be read"):
        first.whole()
    assert third.changed_since(first) is None
    assert second.whole() != third.whole()


def test_rows_changed_outside_a_followed_transaction_are_refused(folder: Folder) -> None:
    town = large_image(_an_image(Random(5)), folder, page_size=PAGE)
    sql = database.open_image(town)
    sql.execute("DELETE FROM ticks")
    with pytest.raises(RuntimeError, match="outside a followed transaction"):
        database.content_of(sql)
    database.close(sql)
    with pytest.raises(RuntimeError, match="can no longer be read"):
        database.open_image(town)


def test_a_transaction_that_is_rolled_back_leaves_the_image_that_was_opened(folder: Folder) -> None:
    town = large_image(_an_image(Random(5)), folder, page_size=PAGE)
    sql = database.open_image(town)
    database.begin(sql)
    sql.execute("DELETE FROM ticks")
    database.rollback(sql)
    assert database.content_of(sql) is town
    database.close(sql)


def test_a_transaction_larger_than_the_cache_of_sqlite_writes_nothing_early(folder: Folder) -> None:
    plain = _an_image(Random(6), rows=12_000)
    images: list[bytes] = []
    for content in (plain, large_image(plain, folder, page_size=PAGE)):
        sql = database.open_image(content)
        database.begin(sql)
        sql.execute("UPDATE ticks SET inputs = substr(inputs, 2) WHERE length(inputs) > 5")
        sql.execute("DELETE FROM ticks WHERE tick_no % 2 = 0")
        database.commit(sql)
        after = database.content_of(sql)
        database.close(sql)
        if isinstance(after, LargeImage):
            assert _as_dict(after.changed_since(content)) == dict(changed_pages(plain, after.whole(), PAGE))
        images.append(after if isinstance(after, bytes) else after.whole())
    assert images[0] == images[1]


def test_a_small_change_of_a_large_image_is_a_few_pages(folder: Folder) -> None:
    town = large_image(_an_image(Random(6), rows=8_000), folder, page_size=PAGE)
    sql = database.open_image(town)
    database.begin(sql)
    sql.execute("UPDATE ticks SET inputs = '0' WHERE tick_no = 5")
    database.commit(sql)
    after = database.content_of(sql)
    database.close(sql)
    assert isinstance(after, LargeImage)
    changed = after.changed_since(town)
    assert changed is not None
    assert len(changed) < 20
    assert town.pages > 5_000


def test_the_file_appears_when_the_image_is_opened_and_goes_with_the_last_image_of_its_line(folder: Folder) -> None:
    town = large_image(_an_image(Random(7)), folder, page_size=PAGE)
    assert (town.whole()[:6], folder.made) == (b"SQLite", 0)
    after = _in_its_file(town, "a")
    del town
    gc.collect()
    assert (folder.made, folder.removed) == (1, [])
    del after
    gc.collect()
    assert folder.removed == [folder.path / "1.sqlite"]


def test_a_journal_that_cannot_be_read_makes_every_page_be_compared(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.town.large_images._JOURNAL_MAGIC", b"another!")
    plain = _an_image(Random(8))
    town = large_image(plain, folder, page_size=PAGE)
    after = _in_its_file(town, "c")
    assert _as_dict(after.changed_since(town)) == dict(changed_pages(plain, after.whole(), PAGE))


def test_the_directory_of_a_process_that_died_goes_when_the_next_one_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("shared.storage.scratch._homes", {})
    abandoned = tmp_path / "town-images-dead"
    abandoned.mkdir()
    (abandoned / "1.sqlite").write_bytes(b"x")
    path = ScratchDirectory().new()
    path.write_bytes(b"y")
    assert not abandoned.exists()
    monkeypatch.setattr("shared.storage.scratch._homes", {})
    assert ScratchDirectory().new().parent != path.parent
    assert path.exists(), "its process lives"


def _as_dict(changed: Mapping[int, PageChange] | None) -> dict[int, PageChange] | None:
    return None if changed is None else dict(changed)

"""What the processes of a world share makes it faster, and nothing else: it is the same world."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from shared.storage.scratch import ScratchDirectory
from shared.town import database
from shared.town.large_images import large_image
from tests.simulation import simulate
from tests.simulation.ledger import read_only
from tests.simulation.scales import Scale
from tests.simulation.shared_work import OpenImages, thrift
from tests.simulation.simulate import Outcome
from tests.towns import a_town

_SEED = 5
_MINUTES = 3
_IMAGE = a_town().image()


@pytest.fixture
def images() -> Iterator[OpenImages]:
    shared = OpenImages()
    with shared.shared(by_hosts=True):
        yield shared


def _write(sql: database.Database) -> None:
    database.begin(sql)
    sql.execute("UPDATE town SET value = '[' || value || ']' WHERE key = 'id'")
    database.commit(sql)


def test_a_closed_database_serves_the_next_look_at_the_image_that_it_holds(images: OpenImages) -> None:
    with database.opened(_IMAGE) as first:
        _write(first)
        changed = database.image_of(first)
    with database.opened(_IMAGE) as other, database.opened(bytes(bytearray(changed))) as again:
        assert other is not first
        assert again is first
    assert images.found == 1


def test_two_looks_at_the_same_time_have_two_databases(images: OpenImages) -> None:
    with database.opened(_IMAGE) as one, database.opened(_IMAGE) as other:
        assert one is not other
    assert images.found == 0


def test_a_database_in_the_middle_of_a_transaction_is_not_used_again(images: OpenImages) -> None:
    with database.opened(_IMAGE) as sql:
        database.begin(sql)
    with database.opened(_IMAGE) as other:
        assert other is not sql
    assert images.found == 0


def test_a_check_reads_in_the_database_of_the_worker_that_commits_the_image(images: OpenImages) -> None:
    worker = database.open_image(_IMAGE)
    _write(worker)
    committed = database.content_of(worker)
    assert isinstance(committed, bytes)
    with images.reading(committed) as sql:
        assert sql is worker
    _write(worker)
    with images.reading(committed) as sql:
        assert sql is not worker
    database.close(worker)


def test_images_in_files_are_left_to_those_who_open_them(images: OpenImages) -> None:
    large = large_image(_IMAGE, ScratchDirectory(), page_size=database.PAGE_SIZE)
    with database.opened(large) as first:
        pass
    with database.opened(large) as again:
        assert again is not first
    assert images.found == 0


def test_afterwards_every_database_is_opened_for_itself_again() -> None:
    opens, closes, contents = database.open_image, database.close, database.content_of
    with OpenImages().shared(by_hosts=True):
        assert database.open_image is not opens
    assert (database.open_image, database.close, database.content_of) == (opens, closes, contents)


@pytest.mark.slow
def test_a_world_that_shares_its_databases_is_the_world_that_it_is_without() -> None:
    """The same calls, faults, ticks and findings; only the databases differ."""
    shared = OpenImages()
    with shared.shared(by_hosts=True):
        together = _world(shared)
    assert shared.found > 50
    alone = _world(None)
    assert vars(together) == vars(alone)


def _world(images: OpenImages | None) -> Outcome:
    scale = Scale.of(_SEED)
    with ExitStack() as stack:
        stack.enter_context(scale.installed())
        stack.enter_context(thrift())
        return simulate._simulate(_SEED, scale, _MINUTES, read_only if images is None else images.reading)

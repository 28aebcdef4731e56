"""A disk that is full in the middle of a tick: the town waits, says what to do, and no event pays for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.domain.errors import NoRoomLeft
from shared.storage.towns import ObjectTownStore
from shared.town import database
from shared.town.large_images import FollowedConnection
from tests.towns import a_town, event
from tests.worlds import World

MUCH = {"bead": {"bead_id": "b2", "type": "issue", "title": "Much", "body": "x" * 30_000, "labels": ["gt:held"]}}


class LargeTowns(World):
    """A world in which every image is large, and so lies in a file while it is open."""

    @property
    def store(self) -> ObjectTownStore:
        return ObjectTownStore(self.objects, large_above=0)


def no_block(connection: database.Database) -> None:
    """The file cannot grow by a single page: SQLite says that the disk is full."""
    connection.set_authorizer(None)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    database.restrict(connection)


def no_file(connection: database.Database) -> None:
    """There is no room for a journal beside the file."""
    assert isinstance(connection, FollowedConnection)
    journal = Path(f"{connection._path}-journal")
    journal.unlink(missing_ok=True)
    journal.symlink_to("/nowhere/journal")


FULL = {"database or disk is full": no_block, "unable to open database file": no_file}


@contextmanager
def full(take_room: Callable[[database.Database], None]) -> Iterator[None]:
    """Within the block, the disk is full as soon as a tick has begun."""
    begin = database.begin

    def begin_and_lose_room(connection: database.Database) -> None:
        begin(connection)
        take_room(connection)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "begin", begin_and_lose_room)
        yield


@pytest.fixture
def world() -> World:
    made = LargeTowns().put_in(a_town("t1").bead("b1", labels=["gt:held"]))
    made.run()
    return made


@pytest.mark.parametrize("said", FULL)
def test_a_full_disk_ends_the_tick_with_an_error_that_says_what_to_do_and_the_town_is_as_it_was(
    world: World, said: str
) -> None:
    before = world.image()
    world.post(event("bead_created", MUCH))
    problem = f"could not write to the directory for temporary files: {said}"
    with full(FULL[said]), pytest.raises(NoRoomLeft, match=problem) as refused:
        world.run()
    assert "EphemeralStorage" in refused.value.hint
    assert (world.image().txid, world.image().image) == (before.txid, before.image)
    assert world.inbox() != ()


@pytest.mark.parametrize("said", FULL)
def test_no_event_is_poisoned_by_a_disk_that_was_full_for_many_ticks(world: World, said: str) -> None:
    """Each tick counted as a failed attempt of the event, and the third one poisoned it."""
    world.post(event("bead_created", MUCH))
    for _ in range(4):
        with full(FULL[said]), pytest.raises(NoRoomLeft):
            world.run()
        world.clock.move(minutes=1)
    world.run()
    assert world.town().status("b2") == "open"


def test_memory_that_is_used_up_is_no_fault_of_an_event_either(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.events.beads import BeadCreated

    def use_up(*_: object) -> None:
        raise MemoryError

    world.post(event("bead_created", MUCH))
    with monkeypatch.context() as patched:
        patched.setattr(BeadCreated, "apply", use_up)
        with pytest.raises(NoRoomLeft, match="memory of this process is used up"):
            world.run()
    world.run()
    assert world.town().status("b2") == "open"

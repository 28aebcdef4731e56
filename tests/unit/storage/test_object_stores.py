"""What every object store promises, asked of each of them: memory, directory, and three servers that speak S3."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import ConditionRace, PreconditionFailed, Refused
from shared.ports.object_store import Listing, ObjectStore, StoredObject
from shared.ports.steps import drive
from shared.storage.probe import prove_conditional_writes
from tests.stores import Store

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out


@pytest.fixture
def objects(store: Store) -> ObjectStore:
    return store


def test_a_created_object_is_read_back_with_its_etag(objects: ObjectStore) -> None:
    etag = objects.create("towns/a/head", b"one")
    assert objects.get("towns/a/head") == StoredObject(b"one", etag)


def test_what_was_never_stored_is_none(objects: ObjectStore) -> None:
    objects.create("towns/a/head", b"one")
    for key in ("towns/b/head", "towns/a", "towns", "towns/a/head/below"):
        assert objects.get(key) is None
        assert objects.get_if_changed(key, "any") is None


def test_a_second_create_is_refused_and_changes_nothing(objects: ObjectStore) -> None:
    objects.create("towns/a/head", b"one")
    with pytest.raises(PreconditionFailed):
        objects.create("towns/a/head", b"two")
    assert objects.get("towns/a/head") == StoredObject(b"one", _etag(objects, "towns/a/head"))


def test_a_replacement_needs_the_etag_that_is_there(objects: ObjectStore) -> None:
    first = objects.create("towns/a/head", b"one")
    second = objects.replace("towns/a/head", b"two", first)
    with pytest.raises(PreconditionFailed):
        objects.replace("towns/a/head", b"three", first)
    assert objects.get("towns/a/head") == StoredObject(b"two", second)
    assert first != second


def test_an_object_that_is_gone_cannot_be_replaced_but_created_again(objects: ObjectStore) -> None:
    first = objects.create("towns/a/head", b"one")
    objects.delete("towns/a/head")
    with pytest.raises(PreconditionFailed):
        objects.replace("towns/a/head", b"two", first)
    objects.create("towns/a/head", b"three")
    with pytest.raises(PreconditionFailed):
        objects.replace("towns/b/head", b"two", first)


def test_a_reader_that_knows_the_object_gets_no_bytes(objects: ObjectStore) -> None:
    first = objects.create("towns/a/head", b"one")
    assert objects.get_if_changed("towns/a/head", first) == "unchanged"
    second = objects.replace("towns/a/head", b"two", first)
    assert objects.get_if_changed("towns/a/head", first) == StoredObject(b"two", second)


def test_put_stores_over_anything_and_delete_takes_anything(objects: ObjectStore) -> None:
    objects.put("due/20260110T120000Z/a", b"")
    objects.put("due/20260110T120000Z/a", b"again")
    assert objects.get("due/20260110T120000Z/a") == StoredObject(b"again", _etag(objects, "due/20260110T120000Z/a"))
    objects.delete("due/20260110T120000Z/a")
    objects.delete("due/20260110T120000Z/a")
    objects.delete("due/never/was")
    assert objects.get("due/20260110T120000Z/a") is None
    assert objects.list("") == Listing((), more=False)


def test_an_empty_object_is_an_object(objects: ObjectStore) -> None:
    objects.create("due/x", b"")
    found = objects.get("due/x")
    assert found is not None
    assert found.body == b""
    with pytest.raises(PreconditionFailed):
        objects.create("due/x", b"")


def test_the_start_of_an_object_is_read_without_the_rest(objects: ObjectStore) -> None:
    objects.create("towns/a/head", b"header and pages")
    assert objects.start_of("towns/a/head", 6) == b"header"
    assert objects.start_of("towns/a/head", 1000) == b"header and pages"
    assert objects.start_of("towns/b/head", 6) is None
    objects.create("due/x", b"")
    assert objects.start_of("due/x", 6) == b""


def test_a_listing_says_how_large_each_object_is(objects: ObjectStore) -> None:
    for number in range(3):
        objects.put(f"due/{number}/a", b"x" * number)
    assert tuple(objects.list("due/").sizes) == (0, 1, 2)
    assert tuple(objects.list("due/", after="due/0/a", limit=1).sizes) == (1,)


def test_keys_are_listed_in_text_order_not_folder_by_folder(objects: ObjectStore) -> None:
    """A slash sorts after a hyphen and before a digit, so a folder's keys lie between those of its
    neighbours.
    """
    keys = ["towns/a-b/head", "towns/a/head", "towns/a/inbox/1", "towns/a0/head", "towns/b", "u"]
    for key in reversed(keys):
        objects.put(key, b"")
    assert objects.list("").keys == tuple(keys)
    assert objects.list("towns/a").keys == tuple(keys[:4])
    assert objects.list("towns/a/").keys == tuple(keys[1:3])
    assert objects.list("towns/a/head").keys == ("towns/a/head",)
    assert objects.list("nothing/").keys == ()
    assert objects.list("towns/a/head/").keys == ()


def test_a_listing_says_whether_more_keys_follow(objects: ObjectStore) -> None:
    for number in range(5):
        objects.put(f"due/{number}/a", b"")
    assert objects.list("due/", limit=5) == Listing(tuple(f"due/{n}/a" for n in range(5)), more=False)
    assert objects.list("due/", limit=4) == Listing(tuple(f"due/{n}/a" for n in range(4)), more=True)
    assert objects.list("due/", after="due/3/a", limit=4) == Listing(("due/4/a",), more=False)
    assert objects.list("due/", after="due/1/~", limit=1) == Listing(("due/2/a",), more=True)
    assert objects.list("due/", after="e") == Listing((), more=False)


@pytest.mark.parametrize("store", ["memory", "directory", "moto in process"], indirect=True)
def test_a_listing_may_start_at_the_name_of_a_folder(objects: ObjectStore) -> None:
    """SeaweedFS 4.48 passes over the whole folder; therefore keys.py only makes places within one (`towns/a/~`)."""
    for number in range(3):
        objects.put(f"due/{number}/a", b"")
    assert objects.list("due/", after="due/1") == Listing(("due/1/a", "due/2/a"), more=False)


_names = st.text(alphabet="ab-09~", min_size=1, max_size=3)
_keys = st.lists(_names, min_size=1, max_size=3).map("/".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    keys=st.lists(_keys, max_size=12, unique=True),
    prefix=st.one_of(st.just(""), _keys, _keys.map(lambda key: key + "/")),
    after=st.one_of(st.just(""), _keys),
    limit=st.integers(1, 5),
)
def test_both_stores_list_the_same(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], prefix: str, after: str, limit: int
) -> None:
    in_memory, in_directory = MemoryObjects(), DirectoryObjects(tmp_path_factory.mktemp("data"))
    for key in keys:
        if not any(key.startswith(other + "/") or other.startswith(key + "/") for other in keys):
            in_memory.put(key, b"")
            in_directory.put(key, b"")
    expected = in_memory.list(prefix, after=after, limit=limit)
    assert in_directory.list(prefix, after=after, limit=limit) == expected


def test_of_many_that_create_at_once_one_wins(racing_store: Store) -> None:
    def create(number: int) -> int | None:
        try:
            racing_store.create("towns/a/head", b"%d" % number)
        except (PreconditionFailed, ConditionRace):
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(create, range(40)) if number is not None]
    found = racing_store.get("towns/a/head")
    assert found is not None
    assert [found.body] == [b"%d" % number for number in winners]


def test_of_many_that_replace_at_once_none_is_lost(racing_store: Store) -> None:
    racing_store.create("towns/a/head", b"0")

    def increment(_: int) -> None:
        while True:
            found = racing_store.get("towns/a/head")
            assert found is not None
            try:
                racing_store.replace("towns/a/head", b"%d" % (int(found.body) + 1), found.etag)
            except (PreconditionFailed, ConditionRace):
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, range(40)))
    found = racing_store.get("towns/a/head")
    assert found is not None
    assert found.body == b"40"


def test_what_is_replaced_stays_as_a_version_newest_first(store: Store) -> None:
    first = store.create("towns/a/head", b"one")
    second = store.replace("towns/a/head", b"two", first)
    third = store.replace("towns/a/head", b"one", second)
    found = store.versions("towns/a/head")
    assert [(each.etag, each.size, each.current) for each in found] == [
        (third, 3, True),
        (second, 3, False),
        (first, 3, False),
    ]
    assert len({each.version_id for each in found}) == 3
    assert list(found) == sorted(found, key=lambda each: each.at, reverse=True)
    assert all(each.at.tzinfo is not None for each in found)
    bodies = [store.get_version("towns/a/head", each.version_id) for each in found]
    assert bodies == [StoredObject(b"one", third), StoredObject(b"two", second), StoredObject(b"one", first)]


def test_versions_belong_to_one_key(store: Store) -> None:
    store.replace("towns/a/head", b"two", store.create("towns/a/head", b"one"))
    store.create("towns/a/head2", b"other")
    assert store.versions("towns/a/hea") == ()
    assert len(store.versions("towns/a/head")) == 2
    assert len(store.versions("towns/a/head2")) == 1
    assert store.get_version("towns/a/head2", store.versions("towns/a/head")[1].version_id) is None


def test_a_past_version_can_be_forgotten_and_the_current_one_cannot(store: Store) -> None:
    second = store.replace("towns/a/head", b"two", store.create("towns/a/head", b"one"))
    current, past = store.versions("towns/a/head")
    for _ in range(2):
        store.delete_version("towns/a/head", past.version_id)
    with pytest.raises(Refused, match="it is current"):
        store.delete_version("towns/a/head", current.version_id)
    assert store.versions("towns/a/head") == (current,)
    assert store.get_version("towns/a/head", past.version_id) is None
    assert store.get("towns/a/head") == StoredObject(b"two", second)


def test_versions_of_what_never_was_are_none(store: Store) -> None:
    assert store.versions("towns/a/head") == ()
    assert store.get_version("towns/a/head", "1768046400000-00000000000000000000000000000000") is None


def test_versions_are_no_keys(store: Store) -> None:
    store.replace("towns/a/head", b"two", store.create("towns/a/head", b"one"))
    assert store.list("").keys == ("towns/a/head",)


def test_the_probe_accepts_the_store_and_leaves_nothing_behind(objects: ObjectStore) -> None:
    drive(prove_conditional_writes(objects, "probe-1"))
    drive(prove_conditional_writes(objects, "probe-1"))
    assert objects.list("") == Listing((), more=False)


def _etag(objects: ObjectStore, key: str) -> str:
    found = objects.get(key)
    assert found is not None
    return found.etag

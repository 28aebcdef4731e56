"""Keys: each has one form, sorts in time order, and no id reaches outside its place."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import Refused
from shared.storage import keys
from tests.unit.storage.images import NOON

EVERY_TIME = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis wants the bounds without a zone
    max_value=datetime(2286, 11, 20),  # noqa: DTZ001
    timezones=st.just(UTC),
)

HOSTILE_IDS = [
    "", ".", "..", "../demo", "demo/../other", "demo/head", "/demo", "demo/", "de mo", "Demo", "DEMO", "-demo", "_demo",
    "demo\n", "demo\x00", "démo", "d\u0435mo", "a" * 65, "demo\\x", "demo%2fhead", "～demo", ".demo", "demo.", "٣",
]  # fmt: skip


@pytest.mark.parametrize("town_id", HOSTILE_IDS)
def test_an_id_that_is_no_town_id_is_refused_everywhere(town_id: str) -> None:
    for build in (
        lambda: keys.head(town_id),
        lambda: keys.inbox(town_id),
        lambda: keys.inbox_object(town_id, NOON, "b1"),
        lambda: keys.due_marker(town_id, NOON),
    ):
        with pytest.raises(Refused) as refused:
            build()
        assert refused.value.status == 400
        assert refused.value.path == "town_id"
        assert refused.value.hint


@pytest.mark.parametrize("town_id", ["demo", "a", "0", "0b5c7f1e-95cc-4d3b-a1a3-6f7f3ad2b6a5", "a" * 64])
def test_short_names_and_uuids_are_town_ids(town_id: str) -> None:
    assert keys.head(town_id) == f"towns/{town_id}/head"
    assert keys.town_of_head(f"towns/{town_id}/head") == town_id


@pytest.mark.parametrize("batch_id", ["", "..", "a/b", "../x", ".hidden", "-x", "x\n", "ä", "a" * 129])
def test_a_hostile_batch_id_is_refused(batch_id: str) -> None:
    with pytest.raises(Refused):
        keys.inbox_object("demo", NOON, batch_id)
    with pytest.raises(Refused):
        keys.probe(batch_id)


def test_every_key_has_the_form_that_the_design_draws() -> None:
    at = NOON + timedelta(milliseconds=999)
    assert keys.inbox_object("demo", at, "B-1.x_y") == "towns/demo/inbox/1768046400999-B-1.x_y.json"
    assert keys.due_marker("demo", at).key == "due/20260110T120000Z/demo"
    assert keys.due_marker("demo", at).at == NOON


def test_a_marker_is_written_in_utc_whatever_zone_the_time_is_in() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=-7)))
    assert keys.due_marker("demo", there) == keys.due_marker("demo", NOON)


@given(EVERY_TIME)
def test_a_marker_is_read_back_from_its_key_and_is_never_later_than_asked(at: datetime) -> None:
    marker = keys.due_marker("demo", at)
    assert keys.marker_of(marker.key) == marker
    assert timedelta(0) <= at - marker.at < timedelta(seconds=1)
    assert keys.inbox_object("demo", at, "b").startswith("towns/demo/inbox/")


@given(st.lists(EVERY_TIME))
def test_text_order_is_time_order(times: list[datetime]) -> None:
    batches = [keys.inbox_object("demo", at.replace(microsecond=0), "b") for at in sorted(times)]
    markers = [keys.due_marker("demo", at).key for at in sorted(times)]
    assert batches == sorted(batches)
    assert markers == sorted(markers)
    assert all(marker < keys.after_due(at) for marker, at in zip(markers, sorted(times), strict=True))


@pytest.mark.parametrize("milliseconds", [-1, 10_000_000_000_000])
def test_a_time_that_does_not_fit_13_digits_is_refused(milliseconds: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    with pytest.raises(Refused):
        keys.inbox_object("demo", at, "b")


@pytest.mark.parametrize(
    "key",
    [
        "due/", "due/x", "due/20260110T120000Z", "due/20260110T120000Z/", "due/20260110T120000Z/Demo", "due/2026/demo",
        "due/20260231T000000Z/demo", "due/20260110T126000Z/demo", "due/20260110T120000Z/demo/x",
        "xdue/20260110T120000Z/demo",
        "due/20260110T120000Z/demo\n", "due/٢0260110T120000Z/demo",
    ],
)  # fmt: skip
def test_a_malformed_key_is_no_marker(key: str) -> None:
    assert keys.marker_of(key) is None


@pytest.mark.parametrize("key", ["towns/demo/inbox/x", "towns/Demo/head", "towns/demo/head/x", "towns/demo/headless"])
def test_another_key_is_no_head(key: str) -> None:
    assert keys.town_of_head(key) is None


def test_jumping_over_a_town_skips_all_its_keys_and_no_other_towns() -> None:
    """A hyphen sorts before the slash, a digit after it: towns/a-b/ < towns/a/ < towns/a0/."""
    jump = keys.after_town_of("towns/a/head")
    assert all(f"towns/a/{rest}" < jump for rest in ("head", "inbox/9", "journal/x", "ltx/0009/ff-ff.ltx"))
    assert "towns/a-b/ltx/1" < jump < "towns/a0/head"


def test_only_blocks_and_indexes_are_known_below_the_archive_and_all_of_it_comes_before_the_head() -> None:
    written = [keys.archive_block("a", 1 << 60), keys.archive_index("a", 1 << 60), keys.archive_index("a", 7, 127)]
    for key in written:
        assert keys.is_known(key)
        assert keys.archive_prefix("a") < key < keys.before_head("a") < keys.head("a")
    assert not keys.is_known(f"{keys.archive_prefix('a')}notes.txt")

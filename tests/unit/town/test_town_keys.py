"""The town keys that have parts, and what holds where one was never set."""

from datetime import timedelta

import pytest

from shared.domain import limits
from shared.domain.tick import Breaker
from shared.domain.times import to_text
from shared.images import first_image
from shared.town import database
from shared.town.town_keys import KEYS, TownKeys, TriageState, all_stored
from tests.towns import MS, T, TownBuilder, a_town


def without(*names: str) -> TownBuilder:
    town = a_town()
    for name in names:
        town.sql.execute("DELETE FROM town WHERE key = :name", {"name": name})
    return town


def test_a_breaker_that_was_never_stored_is_closed_and_has_no_episode() -> None:
    town = without("breaker")
    assert TownKeys(town.sql).breaker == Breaker()


def test_a_stored_breaker_is_read_again_without_what_is_counted_anew() -> None:
    town = a_town()
    TownKeys(town.sql).breaker = Breaker(open=True, since=T, episode=3, failures=21, turned=True, due=T)
    assert TownKeys(town.sql).breaker == Breaker(open=True, since=T, episode=3)


def test_counters_start_at_zero_and_grow_apart() -> None:
    town = without("counters")
    TownKeys(town.sql).count(poisoned=1)
    TownKeys(town.sql).count(conflicts=4)
    TownKeys(town.sql).count(poisoned=2)
    assert town.value("counters") == {"poisoned": 3, "conflicts": 4}


def test_a_key_with_the_same_value_is_not_written_again() -> None:
    town = a_town().key("paused", True)
    before = town.sql.total_changes
    TownKeys(town.sql).paused = True
    assert town.sql.total_changes == before


def test_a_drain_is_in_force_up_to_its_last_moment_and_ends_a_millisecond_later() -> None:
    town = a_town().key("drain", {"nonce": "n", "started_at": to_text(T)})
    drain = TownKeys(town.sql).drain
    assert drain is not None
    assert (drain.nonce, drain.last_moment) == ("n", T + limits.DRAIN_TIMEOUT)
    assert drain.ends_at == drain.last_moment + MS


@pytest.mark.parametrize("drain", [None, "never set"])
def test_a_town_without_a_drain_has_none(drain: str | None) -> None:
    town = without("drain") if drain else a_town().key("drain", None)
    assert TownKeys(town.sql).drain is None


@pytest.mark.parametrize(("stored", "until"), [(None, None), (to_text(T), T)])
def test_settling_ends_when_the_key_says_so(stored: str | None, until: object) -> None:
    town = a_town().key("settling_until", stored)
    assert TownKeys(town.sql).settling_until == until


def test_triage_that_never_ran_has_no_batch() -> None:
    town = without("triage")
    assert TownKeys(town.sql).triage == TriageState(None, None, 0, escalated=False)


def test_triage_of_an_older_release_lacks_two_parts() -> None:
    town = a_town().key("triage", {"last_batch_at": to_text(T), "fruitless": 2})
    assert TownKeys(town.sql).triage == TriageState(T, None, 2, escalated=False)


@pytest.mark.parametrize("name", sorted(set(KEYS) - {"triage"}))  # which is changed part by part
def test_the_value_of_a_new_town_is_the_value_where_nothing_was_ever_stored(name: str) -> None:
    """And storing the value that was read changes nothing."""
    empty = without(*KEYS)
    with database.opened(first_image.found("t1")) as sql:
        town, bare = TownKeys(sql), TownKeys(empty.sql)
        if name not in ("id", "schema_version", "config"):
            assert getattr(town, name) == getattr(bare, name)
        before = town.stored(name)
        setattr(town, name, getattr(town, name))
        assert town.stored(name) == before


def test_all_stored_keys_are_decoded_and_in_order() -> None:
    town = a_town().key("alerted", {"x": to_text(T - timedelta(hours=1))})
    values = dict(all_stored(town.sql))
    assert list(values) == sorted(values)
    assert values["alerted"] == {"x": to_text(T - timedelta(hours=1))}
    assert TownKeys(town.sql).alerted == {"x": T - timedelta(hours=1)}

"""The town keys that have parts, and what holds where one was never set."""

from datetime import timedelta

import pytest

from shared.domain import limits
from shared.domain.tick import Breaker
from shared.domain.times import to_text
from shared.town import town_keys
from tests.towns import MS, T, TownBuilder, a_town


def without(*names: str) -> TownBuilder:
    town = a_town()
    for name in names:
        town.sql.execute("DELETE FROM town WHERE key = :name", {"name": name})
    return town


def test_a_breaker_that_was_never_stored_is_closed_and_has_no_episode() -> None:
    town = without("breaker")
    assert town_keys.breaker(town.sql) == Breaker()


def test_a_stored_breaker_is_read_again_without_what_is_counted_anew() -> None:
    town = a_town()
    town_keys.put_breaker(town.sql, Breaker(open=True, since=T, episode=3, failures=21, turned=True, due=T))
    assert town_keys.breaker(town.sql) == Breaker(open=True, since=T, episode=3)


def test_counters_start_at_zero_and_grow_apart() -> None:
    town = without("counters")
    town_keys.count(town.sql, "poisoned")
    town_keys.count(town.sql, "conflicts", 4)
    town_keys.count(town.sql, "poisoned", 2)
    assert town.value("counters") == {"poisoned": 3, "conflicts": 4}


def test_a_key_with_the_same_value_is_not_written_again() -> None:
    town = a_town().key("paused", True)
    before = town.sql.total_changes
    town_keys.put(town.sql, "paused", True)
    assert town.sql.total_changes == before


def test_a_drain_is_in_force_up_to_its_last_moment_and_ends_a_millisecond_later() -> None:
    town = a_town().key("drain", {"nonce": "n", "started_at": to_text(T)})
    drain = town_keys.container_drain(town.sql)
    assert drain is not None
    assert (drain.nonce, drain.last_moment) == ("n", T + limits.DRAIN_TIMEOUT)
    assert drain.ends_at == drain.last_moment + MS


@pytest.mark.parametrize("drain", [None, "never set"])
def test_a_town_without_a_drain_has_none(drain: str | None) -> None:
    town = without("drain") if drain else a_town().key("drain", None)
    assert town_keys.container_drain(town.sql) is None


@pytest.mark.parametrize(("stored", "until"), [(None, None), (to_text(T), T)])
def test_settling_ends_when_the_key_says_so(stored: str | None, until: object) -> None:
    town = a_town().key("settling_until", stored)
    assert town_keys.settling_until(town.sql) == until


def test_triage_that_never_ran_has_no_batch_and_the_town_keeps_its_own_copy() -> None:
    town = without("triage")
    town_keys.triage(town.sql)["fruitless"] = 9
    assert town_keys.triage(town.sql) == {
        "last_batch_at": None,
        "last_batch_id": None,
        "fruitless": 0,
        "escalated": False,
    }


def test_all_values_are_decoded_and_in_order() -> None:
    town = a_town().key("alerted", {"x": to_text(T - timedelta(hours=1))})
    values = town_keys.all_values(town.sql)
    assert list(values) == sorted(values)
    assert values["alerted"] == {"x": to_text(T - timedelta(hours=1))}

"""Which towns a loop ticks, and on which clock: a faster one moves only those that it is told."""

from datetime import datetime, timedelta

import pytest

from infra.townctl.own_clocks import LoopTowns, clock_for, towns_of_a_loop
from shared.adapters.clock import ScaledClock, SystemClock
from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Refused
from shared.ports.steps import drive
from shared.runner.founding import found_town
from shared.runner.surroundings import Surroundings
from shared.storage.towns import ObjectTownStore
from tests.fakes import FakeClock

HOUR = timedelta(hours=1)


@pytest.fixture
def store() -> ObjectTownStore:
    return ObjectTownStore(MemoryObjects())


def found(store: ObjectTownStore, *towns: str, own: bool = False, ahead: timedelta = timedelta(0)) -> datetime:
    at = SystemClock().now() + ahead
    for town in towns:
        drive(found_town(town, Surroundings(store, FakeClock(at), own_clock=own), worker_id="founder"))
    return at


def test_real_time_ticks_every_town_that_is_not_ahead_on_its_own_clock(store: ObjectTownStore) -> None:
    found(store, "real")
    found(store, "toy", own=True, ahead=HOUR)
    assert towns_of_a_loop(store, ["real", "toy"]) == LoopTowns(others=("toy",))
    assert isinstance(clock_for(store, ["real"], speed=1), SystemClock)


def test_a_faster_clock_moves_the_towns_that_are_named(store: ObjectTownStore) -> None:
    found(store, "real", "toy")
    assert towns_of_a_loop(store, ["real", "toy"], wanted=["toy"], speed=20000) == LoopTowns(only=("toy",))


def test_a_faster_clock_without_names_moves_those_that_are_on_their_own_clock_already(store: ObjectTownStore) -> None:
    found(store, "real")
    found(store, "toy", own=True)
    assert towns_of_a_loop(store, ["real", "toy"], speed=40) == LoopTowns(only=("toy",))


def test_a_faster_clock_moves_a_town_that_is_alone_and_none_of_several(store: ObjectTownStore) -> None:
    found(store, "real")
    assert towns_of_a_loop(store, ["real"], speed=40) == LoopTowns(only=("real",))
    found(store, "other")
    with pytest.raises(Refused, match="would move 2 towns away from real time: other, real") as refusal:
        towns_of_a_loop(store, ["real", "other"], speed=40)
    assert "--towns TOWN" in refusal.value.hint


def test_a_town_ahead_on_its_own_clock_and_one_on_real_time_cannot_share_a_loop(store: ObjectTownStore) -> None:
    found(store, "real")
    found(store, "toy", own=True, ahead=HOUR)
    with pytest.raises(Refused, match="town toy and town real cannot share a clock"):
        towns_of_a_loop(store, ["real", "toy"], wanted=["real", "toy"])


def test_its_own_clock_goes_on_where_it_was_and_a_mistake_does_not_move_real_time(store: ObjectTownStore) -> None:
    at = found(store, "toy", own=True, ahead=HOUR)
    found(store, "mistake", ahead=HOUR)
    clock = clock_for(store, ["toy"], speed=1)
    assert isinstance(clock, ScaledClock)
    assert clock.epoch == at
    assert isinstance(clock_for(store, ["mistake"], speed=1), SystemClock)

"""The actions of the last hour: counted by slots of two minutes, of which thirty stay."""

from datetime import timedelta

from shared.domain import acted
from tests.towns import T


def test_actions_of_the_same_two_minutes_are_one_slot_and_its_edges_are_exact() -> None:
    slot = acted.slot_of(T)
    assert acted.start_of(slot) == T
    last = T + acted.SLOT - timedelta(milliseconds=1)
    known = acted.with_more(acted.with_more({}, T, 2), last, 3)
    assert known == {slot: 5}
    assert acted.with_more(known, T + acted.SLOT, 1) == {slot: 5, slot + 1: 1}


def test_a_slot_is_forgotten_when_thirty_newer_ones_have_begun() -> None:
    known = acted.with_more({}, T, 2)
    slot, hour = acted.slot_of(T), acted.SLOT * acted.SLOTS
    assert slot in acted.with_more(known, T + hour - timedelta(milliseconds=1), 1)
    assert slot not in acted.with_more(known, T + hour, 1)


def test_after_time_was_brought_back_the_slots_of_the_future_are_forgotten() -> None:
    known = acted.with_more({}, T + timedelta(days=1), 2)
    assert acted.with_more(known, T, 1) == {acted.slot_of(T): 1}

"""What a process has seen of an inbox: it counts for a while, with what the process stores itself."""

from shared.domain.senders import Sender
from shared.intake.crowding import Share
from shared.intake.looks import Looks

TOAST, NUX = (Share(Sender("agent", name, 1), 2) for name in ("toast", "nux"))


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def key(number: int, share: Share) -> str:
    return f"towns/t1/inbox/176804640700{number}-{number:032}{share.mark}.json"


def test_a_look_counts_until_its_time_is_over_and_each_sender_has_its_own() -> None:
    looks = Looks(clock := Clock(), seconds=1)
    assert looks.recent("t1", TOAST) is None
    looks.looked("t1", [key(1, TOAST), key(2, NUX)], at=0)
    clock.at = 0.999
    assert looks.recent("t1", TOAST) == {key(1, TOAST): 2}
    assert looks.recent("t2", TOAST) is None
    clock.at = 1
    assert looks.recent("t1", TOAST) is None


def test_while_one_looks_again_the_others_go_on_with_what_was_seen() -> None:
    looks = Looks(clock := Clock(), seconds=1)
    looks.looked("t1", [key(1, TOAST)], at=0)
    clock.at = 1
    assert looks.recent("t1", TOAST) is None
    assert looks.recent("t1", TOAST) == {key(1, TOAST): 2}


def test_what_is_stored_here_is_seen_at_once_and_survives_a_look_that_began_before_it() -> None:
    looks = Looks(clock := Clock(), seconds=10)
    looks.looked("t1", [], at=0)
    clock.at, began = 2, 1
    looks.stored("t1", key(3, TOAST), TOAST)
    looks.stored("t1", key(3, TOAST), TOAST)  # two batches in one object
    assert looks.recent("t1", TOAST) == {key(3, TOAST): 4}
    looks.looked("t1", [key(1, TOAST)], at=began)
    assert looks.recent("t1", TOAST) == {key(1, TOAST): 2, key(3, TOAST): 4}
    looks.looked("t1", [key(1, TOAST)], at=3)
    assert looks.recent("t1", TOAST) == {key(1, TOAST): 2}


def test_an_older_look_that_ends_later_changes_nothing() -> None:
    looks = Looks(Clock(), seconds=10)
    looks.looked("t1", [key(1, TOAST)], at=5)
    looks.looked("t1", [], at=4)
    assert looks.recent("t1", TOAST) == {key(1, TOAST): 2}


def test_of_two_looks_that_began_at_the_same_time_the_one_that_ends_later_counts() -> None:
    looks = Looks(Clock(), seconds=10)
    looks.looked("t1", [], at=5)
    looks.looked("t1", [key(1, TOAST)], at=5)
    assert looks.recent("t1", TOAST) == {key(1, TOAST): 2}


def test_without_seconds_nothing_is_kept() -> None:
    looks = Looks()
    looks.looked("t1", [key(1, TOAST)], at=0)
    assert looks.recent("t1", TOAST) is None


def test_what_is_stored_at_the_moment_in_which_a_look_begins_is_kept() -> None:
    """The listing may have been made before it."""
    looks = Looks(Clock(), seconds=10)
    looks.looked("t1", [], at=0)
    looks.stored("t1", key(3, TOAST), TOAST)
    looks.looked("t1", [], at=0)
    assert looks.recent("t1", TOAST) == {key(3, TOAST): 2}


def test_of_a_thousand_towns_the_looks_are_kept_and_then_the_oldest_is_forgotten() -> None:
    looks = Looks(Clock(), seconds=10)
    for number in range(1_000):
        looks.looked(f"t{number}", [], at=0)
    assert looks.recent("t0", TOAST) == {}
    looks.looked("t1000", [], at=0)
    assert [looks.recent(town, TOAST) for town in ("t0", "t1")] == [None, {}]

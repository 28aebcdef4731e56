"""Calls that threads ask for at the same time: each sees what was done before it was asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.adapters.clock import wait_for
from shared.adapters.shared_calls import SharedCalls

SECONDS = 20


class Place:
    """A place with a state, and a look at it that can be held up."""

    def __init__(self) -> None:
        self.state = 0
        self.looks = 0
        self.goes_on = threading.Event()

    def look(self) -> int:
        self.looks += 1
        seen = self.state
        assert self.goes_on.wait(SECONDS)
        return seen


def test_all_who_ask_while_a_call_runs_share_the_next_one_which_sees_what_they_did() -> None:
    place, calls = Place(), SharedCalls()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(calls.answer, "look", place.look)
        assert wait_for(lambda: place.looks == 1, seconds=SECONDS)
        place.state = 1
        others = [pool.submit(calls.answer, "look", place.look) for _ in range(4)]
        assert wait_for(lambda: calls.asked("look") == len(others), seconds=SECONDS)
        place.goes_on.set()
        assert first.result(SECONDS) == 0
        assert [other.result(SECONDS) for other in others] == [1] * 4
    assert place.looks == 2


def test_a_failure_is_raised_for_everybody_who_shared_the_call_and_for_nobody_after_them() -> None:
    place, calls = Place(), SharedCalls()

    def broken() -> int:
        place.look()
        raise OSError("no disk")

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(calls.answer, "look", broken) for _ in range(3)]
        assert wait_for(lambda: place.looks == 1 and calls.asked("look") == 2, seconds=SECONDS)
        place.goes_on.set()
        for each in asked:
            with pytest.raises(OSError, match="no disk"):
                each.result(SECONDS)
    assert calls.answer("look", place.look) == 0


def test_different_calls_share_nothing() -> None:
    calls = SharedCalls()
    assert [calls.answer(name, name.upper) for name in ("a", "b")] == ["A", "B"]

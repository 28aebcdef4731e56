"""Calls that are made together: at once, in order of their answers, and not longer than they may take."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from shared.ports.steps import Await, Begin, Call, Ended, NotBegun, Several, Steps, Together, drive, drive_all
from tests.patience import PATIENCE_SECONDS

LIMIT = 2.0
"""Long enough for a busy machine to begin what can begin at once."""


class Panic(BaseException):
    """What a library written in Rust raises when it fails: not an Exception."""


def asked(*calls: Call) -> Steps[list[Any]]:
    return (yield Together(calls))


def test_answers_come_back_in_order_and_an_error_is_an_answer() -> None:
    def broken() -> None:
        raise ValueError("no")

    first, second, third = drive(asked(Call("a", lambda: 1), Call("b", broken), Call("c", lambda: 3)))
    assert (first, str(second), third) == (1, "no", 3)


def test_a_call_without_an_answer_in_its_time_is_a_time_out_and_the_others_are_not_kept_waiting() -> None:
    release = threading.Event()
    try:
        quick, slow, alone = drive(
            asked(
                Call("quick", lambda: "here", LIMIT),
                Call("slow", release.wait, LIMIT),
                Call("without a limit", lambda: "too"),
            )
        )
    finally:
        release.set()
    assert (quick, alone) == ("here", "too")
    assert isinstance(slow, TimeoutError)
    assert str(slow) == f"slow: no answer within {LIMIT} s"


def test_a_time_out_names_the_time_that_was_waited_which_is_the_longest_of_all_limits() -> None:
    release = threading.Event()
    try:
        answers = drive(asked(Call("short", release.wait, LIMIT / 2), Call("long", release.wait, LIMIT)))
    finally:
        release.set()
    assert [str(answer) for answer in answers] == [
        f"short: no answer within {LIMIT} s",
        f"long: no answer within {LIMIT} s",
    ]


@pytest.mark.parametrize("seconds", [None, 20])
def test_a_process_that_ends_waits_for_no_call_whose_answer_nobody_awaits_any_more(seconds: float | None) -> None:
    """The second Ctrl-C once ended `townctl run` only after the call to a runtime that did not answer."""
    answers = drive(
        asked(*(Call(f"{number}", lambda: threading.current_thread().daemon, seconds) for number in range(20)))
    )
    assert answers == [True] * 20


def test_a_panic_in_a_call_is_raised_to_whoever_waits_for_the_answers() -> None:
    def panic() -> None:
        raise Panic("in a thread")

    with pytest.raises(Panic):
        drive(asked(Call("panic", panic), Call("other", lambda: 1)))


def test_a_single_call_keeps_to_its_time_too() -> None:
    release = threading.Event()
    try:
        (answer,) = drive(asked(Call("slow", release.wait, 0.1)))
    finally:
        release.set()
    assert isinstance(answer, TimeoutError)


def test_a_call_that_found_no_room_in_its_time_was_certainly_not_made() -> None:
    release = threading.Event()
    made: list[str] = []
    try:
        *waited, last = drive(
            asked(
                *(Call(f"{number}", release.wait, LIMIT) for number in range(16)),
                Call("last", lambda: made.append("x"), LIMIT),
            )
        )
    finally:
        release.set()
    assert {type(each) for each in waited} == {TimeoutError}
    assert isinstance(last, NotBegun)
    assert made == []


def test_a_task_goes_on_beside_the_steps_that_began_it_and_whoever_awaits_it_learns_how_it_ended() -> None:
    go_on = threading.Event()

    def slow() -> Steps[str]:
        yield Call("wait", lambda: go_on.wait(PATIENCE_SECONDS))
        return "done"

    def broken() -> Steps[None]:
        yield Call("break", lambda: 1 // 0)

    def steps() -> Steps[list[Ended | None]]:
        task = yield Begin("slow", slow())
        other = yield Begin("broken", broken())
        [before] = yield Await((task,), 0)
        assert before is None
        yield Call("let it go on", go_on.set)
        endings: list[Ended | None] = yield Await((task, other))
        assert (yield Await((task, other), 0)) == endings  # a task may be awaited again
        return endings

    first, second = drive(steps())
    assert first == Ended(result="done")
    assert second is not None
    assert isinstance(second.error, ZeroDivisionError)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whoever_awaits_a_task_that_ended_with_no_exception_of_the_usual_kind_is_told_too() -> None:
    """The loop once waited for ever for a thread that had died."""

    def panicking() -> Steps[None]:
        def panic() -> None:
            raise Panic("secret")

        yield Call("panic", panic)

    def steps() -> Steps[Ended | None]:
        task = yield Begin("town t1", panicking())
        task.join()
        [ended] = yield Await((task,), 0)
        return ended

    ended = drive(steps())
    assert ended is not None
    assert isinstance(ended.error, RuntimeError)
    assert str(ended.error) == "town t1 ended with Panic"


def test_whoever_awaits_no_task_goes_on_at_once() -> None:
    def steps() -> Steps[Any]:
        return (yield Await(()))

    assert drive(steps()) == []


def test_threads_that_made_calls_are_used_again() -> None:
    def who() -> int:
        return threading.get_ident()

    def ask() -> Steps[list[Any]]:
        return (yield Together(tuple(Call("who", who) for _ in range(4))))

    several = {ident for _ in range(50) for ident in drive(ask())}
    assert len(several) < 100  # of 200 calls


def test_steps_that_are_driven_together_make_their_common_call_once_and_each_gets_its_own_answer() -> None:
    stored: list[list[str]] = []

    def store(names: Sequence[str]) -> list[object]:
        stored.append(list(names))
        return [ValueError(name) if name == "bad" else f"key of {name}" for name in names]

    def posting(name: str) -> Steps[str]:
        judged: str = yield Call(f"judge {name}", lambda: f"judged {name}")
        if name == "refused":
            raise PermissionError(name)
        key: str = yield Call(f"store {name}", lambda: "alone", several=Several(store, name))
        return f"{judged}, {key}"

    ends = drive_all([posting(name) for name in ("a", "refused", "bad", "b")])
    assert stored == [["a", "bad", "b"]]
    assert [str(end) for end in ends] == ["judged a, key of a", "refused", "bad", "judged b, key of b"]
    assert [type(end) for end in ends] == [str, PermissionError, ValueError, str]
    assert drive(posting("c")) == "judged c, alone"


def test_if_a_common_call_fails_each_of_its_steps_is_told() -> None:
    def broken(_: Sequence[str]) -> list[object]:
        raise OSError("no disk")

    def posting() -> Steps[str]:
        try:
            yield Call("store", lambda: "alone", several=Several(broken, ""))
        except OSError as error:
            return f"told: {error}"
        return "stored"

    assert drive_all([posting(), posting()]) == ["told: no disk"] * 2

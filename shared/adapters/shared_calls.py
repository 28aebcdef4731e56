"""Calls that threads ask for at the same time, made once for all of them."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from threading import Lock
from typing import Any, Final, TypeVar

T = TypeVar("T")


class _Turn:
    """One call, and those who wait for its answer. Who asks before it has begun may join them."""

    def __init__(self, after: "_Turn | None") -> None:
        self.after = after
        self.has_begun = False
        self.asked = 1
        self.answer: Future[Any] = Future()


class SharedCalls:
    """Makes equal calls one after the other. Each serves everybody who asked before it began, so it sees what they have done.

    For example 1 is being served when 2, 3 and 4 ask: 2 makes the next call, when that of 1 has ended, for all three.
    """

    def __init__(self) -> None:
        self._lock: Final = Lock()
        self._latest: dict[Hashable, _Turn] = {}

    def answer(self, what: Hashable, make: Callable[[], T]) -> T:
        """The answer of a call that begins now or later. Equal `what` means equal calls. Raises what the call raises."""
        with self._lock:
            latest = self._latest.get(what)
            joins = latest is not None and not latest.has_begun
            turn = latest if joins and latest is not None else _Turn(latest)
            turn.asked += joins
            self._latest[what] = turn
        if not joins:
            self._make(what, turn, make)
        found: T = turn.answer.result()
        return found

    def asked(self, what: Hashable) -> int:
        """How many share the call that has not begun yet; 0 if there is none."""
        with self._lock:
            latest = self._latest.get(what)
            return 0 if latest is None or latest.has_begun else latest.asked

    def _make(self, what: Hashable, turn: _Turn, make: Callable[[], object]) -> None:
        if turn.after is not None:
            wait((turn.after.answer,))
        with self._lock:
            turn.has_begun, turn.after = True, None
        try:
            turn.answer.set_result(make())
        except BaseException as raised:  # noqa: BLE001 - raised again in each thread that asked
            turn.answer.set_exception(raised)
        with self._lock:
            if self._latest[what] is turn:
                del self._latest[what]

"""The clock guard: nothing is done by a clock that disagrees with the store's (spec/tick.md section 17).

A single tick by a clock that is a day ahead would silence its town for a day: every later time would be in the past. So a
worker compares its clock with that of the store before a tick, before retention, and before it stamps an event.
One comparison holds for a minute, as long as the clock goes on as the monotonic clock does. A clock that was set, and a machine
that slept, are compared again at once.

Which of the two clocks is wrong cannot be told from one machine. Where every worker is told the same, it is the store's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.domain import limits
from shared.domain.alert import Alert
from shared.domain.errors import ClocksDisagree, FromTheFuture
from shared.domain.times import long_span_text, to_text
from shared.ports.alerts import Alerts
from shared.ports.clock import Clock
from shared.ports.steps import Call, Steps

_STEADY: Final = timedelta(seconds=2)
"""How far a clock may drift from the monotonic clock within a minute without having been set."""
_SET_THE_CLOCK: Final = (
    "compare both with a clock that is right (`date -u`) and set the wrong one, best by NTP (`timedatectl set-ntp true`); if "
    "every worker says this, the store's clock is wrong. Nothing was done and nothing is lost: work goes on once they agree"
)


@dataclass(frozen=True, slots=True)
class _Compared:
    """One comparison: what the worker's clock showed before and after the store's answer, and the monotonic clock, in seconds."""

    asked: datetime
    store: datetime
    wall: datetime
    at: float

    @property
    def lead(self) -> timedelta:
        """How far the worker's clock is at least ahead of the store's; negative if it is behind.

        The store may have read its clock at any moment between question and answer, so a slow answer does not count as a lead.
        """
        first, last = min(self.asked, self.wall), max(self.asked, self.wall)
        return first - self.store if self.store < first else min(last - self.store, timedelta(0))

    def holds(self, wall: datetime, at: float) -> bool:
        """Whether it is young, and the clock has gone on since then as the monotonic clock has."""
        passed = timedelta(seconds=at - self.at)
        return timedelta(0) <= passed <= limits.CLOCKS_COMPARED_EVERY and abs(wall - self.wall - passed) <= _STEADY


class ClockGuard:
    """Compares one worker's clock with the store's, and remembers the last comparison. Safe for threads.

    `store_time` is the store's time (`ObjectStore.time`), `monotonic` a clock in seconds that is never set. If the clocks
    disagree, one alert an hour says so.
    """

    def __init__(
        self,
        clock: Clock,
        store_time: Callable[[], datetime],
        monotonic: Callable[[], float],
        *,
        alerts: Alerts | None = None,
    ) -> None:
        self._clock = clock
        self._store_time = store_time
        self._monotonic = monotonic
        self._alerts = alerts
        self._compared: _Compared | None = None
        self._told_at: float | None = None

    def time(self) -> Steps[datetime]:
        """The worker's time, which agrees with the store's. Raises ClocksDisagree, or what the store raises."""
        wall: datetime = yield Call("clock", self._clock.now)
        at: float = yield Call("monotonic clock", self._monotonic)
        compared = self._compared
        if compared is None or not compared.holds(wall, at) or _disagree(compared):
            asked, began = wall, at
            store: datetime = yield Call("store's time", self._store_time)
            wall = yield Call("clock", self._clock.now)
            at = yield Call("monotonic clock", self._monotonic)
            if abs(wall - asked - timedelta(seconds=at - began)) > _STEADY:
                asked = wall  # the clock was set meanwhile, and only what it shows now counts
            self._compared = compared = _Compared(asked, store, wall, at)
        if _disagree(compared):
            yield from self._tell(compared)
            raise ClocksDisagree(_problem(compared), hint=_SET_THE_CLOCK)
        return wall

    def stamp(self) -> Steps[datetime]:
        """The time of what has already happened: the worker's, or the store's if the two disagree. Raises what the store raises.

        What has happened must be told whatever the clock shows, and a wrong time would hide it until that time has come.
        """
        try:
            return (yield from self.time())
        except ClocksDisagree:
            now: datetime = yield Call("store's time", self._store_time)
            return now

    def _tell(self, compared: _Compared) -> Steps[None]:
        repeat = limits.ALERT_REPEAT.total_seconds()
        if self._alerts is None or (self._told_at is not None and 0 <= compared.at - self._told_at < repeat):
            return
        self._told_at = compared.at
        yield Call("alerts", partial(self._alerts.raise_all, (_alert(compared),)))


def lead_of(newest: datetime, *, now: datetime) -> timedelta | None:
    """How far a town's newest commit is ahead of a clock, if that is too far; None if the commit is not from the future."""
    lead = newest - now
    return lead if lead > limits.HEAD_LEAD_AT_MOST else None


def from_the_future(town_id: str, newest: datetime, lead: timedelta, *, own_clock: bool) -> FromTheFuture:
    """The error that says so, and what to do: how time is brought back or, of a town on its own clock, who ticks it."""
    if own_clock:
        return FromTheFuture(
            f"town {town_id} runs on its own clock, which is {long_span_text(lead)} ahead of real time",
            hint=f"`townctl run --towns {town_id}` ticks it on its own clock",
        )
    return FromTheFuture(
        f"the newest commit of town {town_id} is {long_span_text(lead)} from the future ({to_text(newest)}): a clock that was "
        "ahead made it",
        hint=f"`townctl points {town_id}` lists its commits: restore the last one that is not from the future with "
        f"`townctl restore {town_id} --in-place --txid N`. If there is none, as in an imported town, "
        f"`townctl run --speed 2 --towns {town_id}` goes on from that time, on a clock of the town's own. Until then, or until "
        "that time has come, the town does nothing; its events wait",
    )


def _disagree(compared: _Compared) -> bool:
    return abs(compared.lead) > limits.CLOCKS_AGREE_WITHIN


def _problem(compared: _Compared) -> str:
    way = "ahead of" if compared.lead > timedelta(0) else "behind"
    return (
        f"this machine's clock is {long_span_text(abs(compared.lead))} {way} the clock of the store: it shows "
        f"{to_text(compared.wall)}, and the store's shows {to_text(compared.store)}"
    )


def _alert(compared: _Compared) -> Alert:
    way = "ahead" if compared.lead > timedelta(0) else "behind"
    return Alert(
        kind="clocks_disagree",
        message=f"a worker does nothing: {_problem(compared)}",
        fingerprint=("clocks_disagree", way),
        tags={"way": way},
        extra={
            "worker_time": to_text(compared.wall),
            "store_time": to_text(compared.store),
            "hint": _SET_THE_CLOCK,
        },
    )

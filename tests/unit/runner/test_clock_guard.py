"""Nothing is done by a clock that disagrees with the store's, and one alert an hour says so."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared.domain.errors import ClocksDisagree, StoreUnavailable
from shared.ports.steps import drive
from shared.runner.clock_guard import ClockGuard
from tests.fakes import FakeClock, RecordingAlerts
from tests.towns import MS, T

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@dataclass
class Machine:
    """A worker's machine and a store, each with a clock, and real time, which neither need show."""

    wall: FakeClock = field(default_factory=lambda: FakeClock(T))
    store: FakeClock = field(default_factory=lambda: FakeClock(T))
    alerts: RecordingAlerts = field(default_factory=RecordingAlerts)
    monotonic: float = 0
    asked: int = 0
    before_answer: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.guard = ClockGuard(self.wall, self.store_time, lambda: self.monotonic, alerts=self.alerts)

    def store_time(self) -> datetime:
        self.asked += 1
        self.before_answer()
        return self.store.at

    def live(self, span: timedelta) -> None:
        """Time passes, and every clock goes on."""
        self.wall.at += span
        self.store.at += span
        self.monotonic += span.total_seconds()

    def works(self) -> bool:
        try:
            assert drive(self.guard.time()) == self.wall.at
        except ClocksDisagree:
            return False
        return True


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize("lead", [31 * SECOND, 100 * SECOND, DAY, 3653 * DAY], ids=str)
@pytest.mark.parametrize("sign", [1, -1], ids=["ahead", "behind"])
def test_a_clock_that_is_more_than_30_s_off_does_nothing(machine: Machine, lead: timedelta, sign: int) -> None:
    machine.wall.at += sign * lead
    with pytest.raises(ClocksDisagree, match=r"ahead of|behind") as refusal:
        drive(machine.guard.time())
    assert "date -u" in refusal.value.hint
    assert [alert.kind for alert in machine.alerts.raised] == ["clocks_disagree"]


def test_the_words_say_which_clock_is_ahead_of_which(machine: Machine) -> None:
    machine.wall.at += DAY
    with pytest.raises(ClocksDisagree) as refusal:
        drive(machine.guard.time())
    assert refusal.value.message == (
        "this machine's clock is 24 h ahead of the clock of the store: it shows 2026-01-11T12:00:00.000Z, and the store's "
        "shows 2026-01-10T12:00:00.000Z"
    )


@pytest.mark.parametrize("lead", [-30 * SECOND, -20 * SECOND, 0 * SECOND, 20 * SECOND, 30 * SECOND], ids=str)
def test_30_s_are_allowed(machine: Machine, lead: timedelta) -> None:
    machine.wall.at += lead
    assert machine.works()
    assert machine.alerts.raised == []


def test_the_store_is_asked_once_a_minute(machine: Machine) -> None:
    for _ in range(25):
        assert machine.works()
        machine.live(5 * SECOND)
    assert machine.asked == 2


def test_a_clock_that_is_set_is_compared_again_at_once(machine: Machine) -> None:
    assert machine.works()
    machine.live(5 * SECOND)
    machine.wall.at += 100 * SECOND
    assert not machine.works()
    machine.wall.at -= 100 * SECOND
    assert machine.works()


def test_a_step_back_is_compared_again_at_once(machine: Machine) -> None:
    machine.wall.at += 25 * SECOND
    assert machine.works()
    machine.wall.at -= 60 * SECOND
    assert not machine.works()


def test_a_laptop_that_slept_goes_on_if_its_clock_is_right(machine: Machine) -> None:
    """Its monotonic clock stood still, so by that clock the last comparison is seconds old."""
    assert machine.works()
    machine.wall.at += 8 * 60 * MINUTE
    machine.store.at += 8 * 60 * MINUTE
    assert machine.works()
    assert machine.asked == 2
    assert machine.alerts.raised == []


def test_a_laptop_that_slept_and_woke_with_a_wrong_clock_does_nothing(machine: Machine) -> None:
    assert machine.works()
    machine.store.at += 8 * 60 * MINUTE
    machine.live(10 * SECOND)
    machine.wall.at += 2 * MINUTE
    assert not machine.works()


def test_a_slow_answer_does_not_look_like_a_wrong_clock(machine: Machine) -> None:
    def answer_late() -> None:
        machine.wall.at += 40 * SECOND
        machine.monotonic += 40

    machine.before_answer = answer_late
    assert machine.works()


def test_one_alert_an_hour_however_often_the_worker_tries(machine: Machine) -> None:
    machine.wall.at += DAY
    for _ in range(2 * 12 * 60):
        assert not machine.works()
        machine.live(5 * SECOND)
    assert [alert.kind for alert in machine.alerts.raised] == ["clocks_disagree"] * 2


@pytest.mark.parametrize(("after", "told"), [(0 * MS, 1), (60 * MINUTE - MS, 1), (60 * MINUTE, 2)], ids=str)
def test_the_next_alert_is_told_an_hour_after_the_last(machine: Machine, after: timedelta, told: int) -> None:
    machine.wall.at += DAY
    assert not machine.works()
    machine.live(after)
    assert not machine.works()
    assert len(machine.alerts.raised) == told


def test_a_clock_that_is_wrong_in_every_second_pass_never_works_in_those(machine: Machine) -> None:
    for number in range(60):
        lead = 100 * SECOND if number % 2 else 0 * SECOND
        machine.wall.at += lead
        assert machine.works() == (number % 2 == 0)
        machine.wall.at -= lead
        machine.live(5 * SECOND)


def test_a_store_that_does_not_answer_is_no_leave_to_work(machine: Machine) -> None:
    def fail() -> None:
        raise StoreUnavailable("ask for the time: no answer")

    machine.before_answer = fail
    with pytest.raises(StoreUnavailable):
        drive(machine.guard.time())


@pytest.mark.parametrize("lead", [DAY, 364 * DAY, -DAY], ids=str)
def test_a_clock_that_is_set_while_the_store_is_asked_does_nothing(machine: Machine, lead: timedelta) -> None:
    """Seen in a simulation: the readings before and after the answer lay around the store's time, and a tick was a year ahead."""

    def set_it() -> None:
        machine.wall.at += lead

    machine.before_answer = set_it
    with pytest.raises(ClocksDisagree):
        drive(machine.guard.time())

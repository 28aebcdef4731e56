"""Clocks: what they show, and that they come out of a line of text as they went in."""

import time
from datetime import UTC, datetime

import pytest

from shared.adapters.clock import Budget, ScaledClock, SystemClock, from_text, wait_for

EPOCH = datetime(2026, 1, 10, 12, tzinfo=UTC)


def test_the_system_clock_shows_utc_in_whole_milliseconds() -> None:
    """Aware, UTC, no microseconds below a millisecond."""
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0


@pytest.mark.parametrize(("speed", "minutes"), [(1.0, 1), (40.0, 40), (0.5, 0.5)])
def test_a_scaled_clock_runs_at_its_speed(monkeypatch: pytest.MonkeyPatch, speed: float, minutes: float) -> None:
    """After one minute of the wall it shows `speed` minutes more."""
    clock = ScaledClock(epoch=EPOCH, wall_epoch=1_000_000.0, speed=speed)
    monkeypatch.setattr(time, "time", lambda: 1_000_060.0)
    assert (clock.now() - EPOCH).total_seconds() == minutes * 60


def test_a_scaled_clock_shows_whole_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Microseconds are cut off, as everywhere in a town."""
    clock = ScaledClock(epoch=EPOCH, wall_epoch=1_000_000.0, speed=40)
    monkeypatch.setattr(time, "time", lambda: 1_000_000.000_049)
    assert clock.now() == datetime(2026, 1, 10, 12, 0, 0, 1_000, tzinfo=UTC)


def test_a_scaled_clock_sleeps_its_own_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty of its seconds at speed 40 are three quarters of a real one; a wait that is over takes none."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    clock = ScaledClock(epoch=EPOCH, wall_epoch=0.0, speed=40)
    clock.sleep(30)
    clock.sleep(-1)
    assert slept == [0.75, 0.0]


def test_a_clock_that_starts_now_shows_the_right_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves real time at its speed."""
    monkeypatch.setattr(time, "time", lambda: 1_768_046_400.0)
    assert ScaledClock.starting_now(speed=40).now() == EPOCH


def test_a_clock_survives_its_line_of_text() -> None:
    """The other process has the same clock, to the last digit."""
    clock = ScaledClock(epoch=EPOCH.replace(microsecond=123_456), wall_epoch=1_768_046_400.123_456_7, speed=0.1)
    assert from_text(clock.to_text()) == clock
    assert from_text(SystemClock().to_text()) == SystemClock()
    assert from_text("") == SystemClock()


@pytest.mark.parametrize("text", ["sundial", "scaled", "scaled now 1 1", "scaled 2026-01-10T12:00:00+00:00 0 0"])
def test_another_text_is_no_clock(text: str) -> None:
    """Refused with what to write instead."""
    with pytest.raises(ValueError, match=r"clock|isoformat"):
        from_text(text)


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_a_clock_cannot_stand_or_run_backwards(speed: float) -> None:
    """A speed is a number greater than 0."""
    with pytest.raises(ValueError, match="greater than 0"):
        ScaledClock(epoch=EPOCH, wall_epoch=0.0, speed=speed)


def test_an_epoch_needs_a_zone() -> None:
    """A naive time is nobody's time."""
    with pytest.raises(ValueError, match="zone"):
        ScaledClock(epoch=EPOCH.replace(tzinfo=None), wall_epoch=0.0, speed=1)


def test_waiting_looks_at_least_once() -> None:
    """With no time left it still sees what holds already."""
    assert wait_for(lambda: True, seconds=0)
    assert not wait_for(lambda: False, seconds=0)
    assert Budget(-1).left() == 0

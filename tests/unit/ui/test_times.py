"""Times and spans as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from infra.ui import times


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (13_560, "3 h 46 min"),
        (100_800, "1 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_a_span_has_at_most_two_units(seconds: float, said: str) -> None:
    assert times.span(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(("seconds", "said"), [(41, "41 s"), (423, "7 min 03 s"), (7800, "2 h 10 min")])
def test_an_exact_span_has_seconds_below_an_hour(seconds: float, said: str) -> None:
    assert times.exact(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(18, "0:18"), (17.2, "0:18"), (760, "12:40"), (0, "due"), (-3, "due"), (7200, "2 h")]
)
def test_what_is_left_counts_down(seconds: float, said: str) -> None:
    assert times.left(timedelta(seconds=seconds)) == said


def test_an_absolute_time_has_milliseconds_and_its_zone() -> None:
    assert times.absolute(datetime(2026, 1, 10, 12, 0, 0, 42_000, UTC)) == "2026-01-10 12:00:00.042 UTC"

"""The field of the time machine in which somebody types a time."""

from datetime import datetime, timedelta

import pytest

from infra.ui.go_to import time_typed
from shared.domain.errors import Refused
from tests.towns import T

NOW = T.replace(hour=14, minute=30, second=10)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("14:10", NOW.replace(minute=10, second=0)),
        (" 14:10:05 ", NOW.replace(minute=10, second=5)),
        ("today 9:05", NOW.replace(hour=9, minute=5, second=0)),
        ("yesterday 14:10", NOW.replace(minute=10, second=0) - timedelta(days=1)),
        ("20 min ago", NOW - timedelta(minutes=20)),
        ("1h", NOW - timedelta(hours=1)),
        ("2026-01-10T12:00:00Z", datetime.fromisoformat("2026-01-10T12:00:00+00:00")),
    ],
)
def test_a_time_is_typed_as_people_say_it(typed: str, meant: datetime) -> None:
    assert time_typed(typed, NOW) == meant


def test_a_time_of_day_that_is_still_to_come_today_is_that_of_yesterday() -> None:
    assert time_typed("23:50", NOW) == NOW.replace(hour=23, minute=50, second=0) - timedelta(days=1)


@pytest.mark.parametrize("typed", ["yesterday", "soon", "25:00", "14:99", "tick 80"])
def test_what_is_no_time_is_refused_with_forms_that_work(typed: str) -> None:
    with pytest.raises(Refused) as refused:
        time_typed(typed, NOW)
    assert f"“{typed}” is not a time, so nothing was changed." in refused.value.message
    assert "14:10, 20 min ago" in refused.value.hint

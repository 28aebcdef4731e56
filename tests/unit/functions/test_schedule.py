"""What the schedules send, as the functions read it."""

from typing import Any

import pytest

from functions.schedule import ScheduledCall
from shared.domain.errors import Refused
from tests.towns import T


@pytest.mark.parametrize(
    "event_",
    [{}, {"scheduled_time": "soon"}, {"scheduled_time": "2026-01-10T12:00:00"}, [], "x", {"scheduled_time": None}],
)
def test_an_event_that_is_no_scheduled_tick_is_refused(event_: Any) -> None:
    with pytest.raises(Refused):
        ScheduledCall.read(event_)


def test_the_event_of_the_schedule_is_read_as_the_template_writes_it() -> None:
    call = ScheduledCall.read({"scheduled_time": "2026-01-10T12:00:00Z", "execution_id": "e-1", "attempt": "1"})
    assert (call.minute, call.attempt) == (T, 1)

"""A time in a request is read, or the refusal says what is wrong with it and what to write instead."""

from datetime import UTC, datetime

import pytest

from shared.domain.errors import Refused
from shared.intake.asked_time import time_in


@pytest.mark.parametrize("text", ["2026-01-10T12:00:00Z", "2026-01-10T13:00:00+01:00", "2026-01-10 12:00:00.000999Z"])
def test_a_time_with_an_offset_is_read_in_whole_milliseconds(text: str) -> None:
    assert time_in(text, "from") == datetime(2026, 1, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        ("2026-11-28", "from is a date without a time: '2026-11-28'", "write 2026-11-28T00:00:00Z for midnight UTC"),
        ("20261128", "from is a date without a time: '20261128'", "write 2026-11-28T00:00:00Z for midnight UTC"),
        ("2026-11-28T00:00", "from is a time without an offset", "write 2026-11-28T00:00:00Z for UTC, or"),
        ("2026-11-28T10:30:00.5", "from is a time without an offset", "write 2026-11-28T10:30:00.500000Z for UTC, or"),
        ("yesterday", "from is not an ISO 8601 time: 'yesterday'", "as in 2026-01-10T12:00:00Z"),
        ("", "from is not an ISO 8601 time: ''", "as in 2026-01-10T12:00:00Z"),
        ("x" * 100, f"from is not an ISO 8601 time: '{'x' * 40}'", "as in 2026-01-10T12:00:00Z"),
        ("0001-01-01T00:00:00+23:59", "from is not a time between the years 1 and 9999 in UTC", "as in 2026"),
        (1_768_046_400, "from must be a text with a time, as in 2026-01-10T12:00:00Z", "in quotation marks"),
        (None, "from must be a text with a time, as in 2026-01-10T12:00:00Z", "in quotation marks"),
    ],
)
def test_any_other_value_is_refused_with_the_form_that_is_right(given: object, problem: str, hint: str) -> None:
    with pytest.raises(Refused) as refused:
        time_in(given, "from")
    assert (refused.value.status, refused.value.path) == (400, "from")
    assert refused.value.message.startswith(problem)
    assert hint in refused.value.hint


def test_the_command_line_names_its_option() -> None:
    with pytest.raises(Refused, match="--to is a date without a time"):
        time_in("2026-11-28", "to", name="--to")

"""Stored times that may be missing, or stand where anything may stand."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.limits import just_after, stale
from shared.domain.times import readable_time, text_or_none, time_or_none

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
STORED = "2026-01-10T12:00:00.000Z"


def test_a_missing_time_is_none_in_both_directions() -> None:
    assert (time_or_none(None), text_or_none(None)) == (None, None)
    assert (time_or_none(STORED), text_or_none(NOON)) == (NOON, STORED)


def test_a_time_that_is_there_and_not_in_the_stored_form_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a stored time"):
        time_or_none("2026-01-10")


@pytest.mark.parametrize("value", [None, 7, True, "", "yesterday", "2026-01-10T12:00:00Z", [STORED], {"at": STORED}])
def test_whatever_is_not_a_stored_time_is_no_readable_one(value: object) -> None:
    assert readable_time(value) is None


def test_a_stored_time_is_a_readable_one() -> None:
    assert readable_time(STORED) == NOON


def test_the_first_time_after_a_limit_is_the_first_at_which_it_is_stale() -> None:
    span = timedelta(seconds=90)
    first = just_after(NOON + span)
    assert stale(NOON, span, now=first)
    assert not stale(NOON, span, now=first - timedelta(milliseconds=1))

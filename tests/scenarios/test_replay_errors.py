"""Windows that no replay can tell (181): each is refused with the text of the specification."""

import pytest

from shared.domain.errors import Refused
from tests.replayed import a_busy_world, asked
from tests.scenarios.table import scenario
from tests.worlds import World


@pytest.fixture(scope="module")
def busy() -> World:
    return a_busy_world()


@scenario(181)
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (None, (400, "from", "from is required: a time as in 2026-01-10T12:00:00Z")),
        ({}, (400, "from", "from is required: a time as in 2026-01-10T12:00:00Z")),
        ({"to": "2026-01-10T12:10:00Z"}, (400, "from", "from is required: a time as in 2026-01-10T12:00:00Z")),
        ({"from": "2026-01-10T12:10:00Z"}, (400, "to", "to is required: a time as in 2026-01-10T12:00:00Z")),
        (
            {"from": "", "to": "2026-01-10T12:10:00Z"},
            (400, "from", "from is required: a time as in 2026-01-10T12:00:00Z"),
        ),
        (
            {"from": "yesterday", "to": "2026-01-10T12:10:00Z"},
            (400, "from", "from is not an ISO 8601 time: 'yesterday'"),
        ),
        (
            {"from": "2026-01-10T12:00:00Z", "to": "2026-01-10"},
            (400, "to", "to is a date without a time: '2026-01-10'"),
        ),
        (
            {"from": "2026-01-10T12:00:00", "to": "2026-01-10T12:10:00Z"},
            (400, "from", "from is a time without an offset: '2026-01-10T12:00:00'"),
        ),
        (
            {"from": 1768046400, "to": "2026-01-10T12:10:00Z"},
            (400, "from", "from must be a text with a time, as in 2026-01-10T12:00:00Z"),
        ),
        (
            {"from": "2026-01-10T12:10:00Z", "to": "2026-01-10T12:00:00Z"},
            (400, "from", "from is later than to"),
        ),
        (
            {"from": "2026-01-10T12:00:00Z", "to": "2036-01-10T12:00:00Z"},
            (400, "to", "to is in the future: 2036-01-10T12:00:00.000Z; the present time is 2026-01-10T12:33:53.000Z"),
        ),
        (
            {"from": "2026-01-01T12:00:00Z", "to": "2026-01-10T12:10:00Z"},
            (
                400,
                "from",
                "from is too early: the history of this town is kept from 2026-01-10T12:00:00.000Z on",
            ),
        ),
        (
            {"from": "2026-01-10T11:00:00Z", "to": "2026-01-10T12:10:00Z"},
            (
                400,
                "from",
                "from is too early: the history of this town is kept from 2026-01-10T12:00:00.000Z on",
            ),
        ),
    ],
)
def test_a_window_that_cannot_be_told_is_refused_with_the_text_of_the_specification(
    busy: World, body: object, problem: tuple[int, str, str]
) -> None:
    with pytest.raises(Refused) as refused:
        asked(busy, body)
    assert (refused.value.status, refused.value.path, refused.value.message) == problem

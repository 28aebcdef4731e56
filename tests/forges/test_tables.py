"""docs/forges.md says what the scenarios say and what polls cost, and no wait costs more than is allowed."""

import pytest

from tests.forges import tables
from tests.forges.calls import COUNTED, MOST_IN_A_LATER_HOUR, MOST_IN_THE_FIRST_HOUR, WAITING, Waiting, cost
from tests.forges.grounds import ForgeName


def test_the_page_about_forges_has_the_tables_of_the_scenarios() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.with_tables(page) == page


@pytest.mark.parametrize("forge", COUNTED)
@pytest.mark.parametrize("waiting", WAITING, ids=lambda each: each.reason)
def test_no_wait_costs_more_than_is_allowed(waiting: Waiting, forge: ForgeName) -> None:
    found = cost(waiting, forge)
    assert found.of_a_poll == 1
    assert found.first_hour <= MOST_IN_THE_FIRST_HOUR
    assert found.later_hour <= MOST_IN_A_LATER_HOUR

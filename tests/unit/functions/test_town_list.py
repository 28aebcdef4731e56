"""The list of towns: whose they are decides what is told, where a page ends too."""

import pytest

from functions.access import Access, SignedRequest
from functions.events import town_list
from functions.settings import AccessRule
from tests.towns import a_town
from tests.worlds import a_world

OPERATOR = "arn:aws:sts::1:assumed-role/Operator/ann"
TOWNS = ("a", "a-b", "a0", "mine", "mine-2", "mine-3", "minute", "secret-merger", "zebra")


def pages(*patterns: str, limit: int) -> list[list[str]]:
    """Every page that the caller of these patterns is shown."""
    store = a_world(*(a_town(town) for town in TOWNS)).store
    access = Access((AccessRule(callers=("*",), towns=patterns, verbs=("read",)),), lambda _: None)
    found: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        page = town_list.page(store, access, SignedRequest(OPERATOR, "GET /api/towns", "1"), after=after, limit=limit)
        found.append([town.town_id for town in page.towns])
        after = page.next
        assert after is None or after == page.towns[-1].town_id
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (("*",), TOWNS),
        (("mine*", "zebra"), ("mine", "mine-2", "mine-3", "zebra")),
        (("mine",), ("mine",)),
        (("*-2", "a-*"), ("a-b", "mine-2")),
        (("nobody", "../*", "A*"), ()),
    ],
)
def test_a_caller_sees_its_towns_once_each_whatever_the_size_of_a_page(
    patterns: tuple[str, ...], wanted: tuple[str, ...], limit: int
) -> None:
    found = pages(*patterns, limit=limit)
    assert sorted(town for page in found for town in page) == sorted(wanted)
    assert all(len(page) == limit for page in found[:-1])


def test_where_a_page_ends_tells_nothing_of_towns_that_the_caller_may_not_see() -> None:
    """`next` was the last town that had been looked at, a foreign one: page by page a caller could read all ids."""
    assert pages("mine", limit=1) == [["mine"]]

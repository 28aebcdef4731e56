"""Which pull request it is: repositories by id, branches by name, and nothing is compared that is not known."""

from dataclasses import replace

import pytest

from shared.domain.identities import differences, is_complete
from shared.domain.orders import ExpectedIdentity
from shared.ports.forge import Identity, RepositoryAt

OURS = RepositoryAt("1", "acme/main-rig")
SEEN = Identity(OURS, "topic", OURS, "main")
EXPECTED = ExpectedIdentity(head_repository="1", head_branch="topic", base_repository="1", base_branch="main")


def test_the_same_pull_request_differs_in_nothing_even_under_another_name() -> None:
    renamed = RepositoryAt("1", "acme/renamed")
    assert differences(EXPECTED, replace(SEEN, head_repository=renamed, base_repository=renamed)) == ()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"head_repository": RepositoryAt("2", "acme/main-rig")}, "head repository: expected 1, found 2"),
        ({"head_repository": None}, "head repository: expected 1, found none"),
        ({"base_repository": RepositoryAt("2")}, "base repository: expected 1, found 2"),
        ({"head_branch": "Topic"}, "head branch: expected topic, found Topic"),
        ({"base_branch": "release"}, "base branch: expected main, found release"),
    ],
)
def test_every_field_is_compared(changed: dict[str, object], says: str) -> None:
    assert [each.says for each in differences(EXPECTED, replace(SEEN, **changed))] == [says]  # type: ignore[arg-type]


def test_what_is_not_known_yet_is_not_compared_and_makes_the_expectation_incomplete() -> None:
    without = ExpectedIdentity(head_branch="topic")
    assert differences(without, SEEN) == ()
    assert [is_complete(each) for each in (EXPECTED, without, None)] == [True, False, False]

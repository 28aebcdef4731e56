"""The one-line texts of townctl."""

import pytest

from infra.townctl.wording import quantity


@pytest.mark.parametrize(
    ("count", "noun", "plural", "text"),
    [
        (0, "effect", "", "0 effects"),
        (1, "effect", "", "1 effect"),
        (2, "effect", "", "2 effects"),
        (1, "pass", "passes", "1 pass"),
        (3, "pass", "passes", "3 passes"),
    ],
)
def test_a_count_agrees_with_its_noun(count: int, noun: str, plural: str, text: str) -> None:
    assert quantity(count, noun, plural) == text

"""No scenario is forgotten."""

import importlib
import importlib.util
from pathlib import Path
from typing import Final

from tests.scenarios.table import LATER, LISTED, NUMBERS, TABLE

_TESTS: Final = Path(__file__).parents[1]


def _load_all() -> None:
    """Every module with a test of a scenario: those here, and those that need an API, a person's command or drawn histories."""
    for path in sorted(_TESTS.rglob("test_*.py")):
        if path.parent == Path(__file__).parent or "from tests.scenarios.table import scenario" in path.read_text(
            "utf-8"
        ):
            importlib.import_module(".".join(path.relative_to(_TESTS.parent).with_suffix("").parts))


def test_every_scenario_has_a_test_or_a_later_issue() -> None:
    _load_all()
    assert sorted(NUMBERS - TABLE.keys() - LATER.keys()) == []


def test_no_test_claims_a_scenario_that_does_not_exist() -> None:
    _load_all()
    assert sorted(TABLE.keys() - NUMBERS) == []


def test_an_excuse_ends_when_the_later_issue_has_built_its_package() -> None:
    _load_all()
    due = [
        (number, package)
        for number, (_, package) in LATER.items()
        if number not in TABLE and importlib.util.find_spec(package) is not None
    ]
    assert due == []


def test_every_scenario_has_a_number_of_its_own() -> None:
    assert [number for number in NUMBERS if LISTED.count(number) > 1] == []

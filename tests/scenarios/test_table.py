"""No scenario is forgotten."""

import importlib
import importlib.util
from pathlib import Path

from tests.scenarios.table import LATER, LISTED, NUMBERS, TABLE


def _load_all() -> None:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.scenarios.{path.stem}")


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

"""docs/costs.md says what a month costs today: its totals follow from requests that are counted here again."""

import re
from typing import Final

from tests.benchmarks.month.table import costs, fleets, total
from tests.conventions.sources import ROOT

ALLOWED: Final = 0.05
"""The share by which a total may differ: a town of today may commit a little more or less often, and a head have other bytes."""


def test_the_page_of_costs_says_what_the_counted_requests_cost() -> None:
    page = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
    row = re.search(r"^\| \*\*together\*\* \|(.*)\| \|$", page, re.MULTILINE)
    assert row is not None
    said = [float(text.strip(" *").replace(",", "")) for text in row[1].split("|")]
    counted = [total(costs(fleet)) for fleet in fleets()]

    apart = [abs(one - other) / other for one, other in zip(said, counted, strict=True)]

    assert max(apart) <= ALLOWED, f"the page says {said}, counted are {counted}; run: make costs-accept"

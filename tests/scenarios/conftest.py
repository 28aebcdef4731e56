"""Scenario 185 for all the others: what a scenario builds and what comes of it is legal, so nothing is ever captured."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.domain.report import TickReport
from shared.engine import tick


@pytest.fixture(autouse=True)
def nothing_legal_is_captured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look at every tick of every scenario, unless it is marked `illegal_state`: such a one injects a broken row."""
    captured: list[Any] = []
    run = tick.run

    def run_and_look(*arguments: Any, **named: Any) -> TickReport:
        report = run(*arguments, **named)
        captured.extend(violation for violation in report.violations if violation.captured)
        return report

    monkeypatch.setattr(tick, "run", run_and_look)
    yield
    if request.node.get_closest_marker("illegal_state") is None:
        assert captured == []

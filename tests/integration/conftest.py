"""Limits that are meant for a machine that only runs a town do not decide a test on a machine that runs many."""

import pytest

from infra.agents.control_server import eviction
from shared.adapters import local_processes
from tests.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _starts_stops_and_saves_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_processes, "CALL_BUDGET_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(eviction, "_SAVE_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(eviction, "_REPORT_SECONDS", PATIENCE_SECONDS)

"""Limits that are meant for a machine that only runs a town do not decide a test on a machine that runs many."""

import pytest

from infra.agents.control_server import eviction
from shared.adapters import forge_http, local_processes, s3_objects
from shared.adapters.github.pulls import GitHubPullRequests
from shared.adapters.gitlab.pulls import GitLabMergeRequests
from tests.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _starts_stops_saves_and_answers_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_processes, "CALL_BUDGET_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(eviction, "_SAVE_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(eviction, "_REPORT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(s3_objects, "_READ_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(forge_http, "TOGETHER_SECONDS", PATIENCE_SECONDS)
    for forge in (GitHubPullRequests, GitLabMergeRequests):
        monkeypatch.setattr(forge.__init__, "__kwdefaults__", {"timeout_seconds": PATIENCE_SECONDS})

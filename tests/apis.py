"""Both APIs over a world in memory, behind a gateway that lets everybody in."""

from typing import Any

import pytest

from functions.access import Access
from functions.debug import app as debug
from functions.events import app as events
from functions.events.ingestion import Ingestion
from functions.settings import AccessRule, DebugSettings
from shared.telemetry.emf import EmfMetrics
from tests.cloud import Cloud
from tests.http_events import OPERATOR, Answer, Context, request
from tests.unit.functions.test_debug import Here


def deploy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both functions stand before these towns."""
    rules = (AccessRule(callers=("*",), towns=("*",), verbs=("read", "debug", "write")),)
    access = Access(rules, lambda _: None)
    metrics = EmfMetrics(lambda _: None, stage="test")
    there = events.EventsDeployment(Ingestion(cloud.dispatcher.around, cloud.queue, metrics, lambda _: None), access)
    here = Here(DebugSettings(stage="test", town_bucket="bucket"), cloud.world.around, access, cloud.world)
    monkeypatch.setattr(events, "deployment", lambda: there)
    monkeypatch.setattr(debug, "deployment", lambda: here)


def ask(function: Any, method: str, path: str, body: Any = None, *, town: str = "one") -> Answer:
    """What `debug` or `events` answers an operator who also shows a token for everything in that town."""
    claims = {"town": town, "scope": "operator", "expires": "99999999999"}
    asked = request(method, path, body, caller=OPERATOR, claims=claims)
    return Answer.of(function.lambda_handler(asked, Context()))

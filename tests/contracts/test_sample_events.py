"""The sample events: each belongs to a function, the documentation calls each of them, and the code answers each."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from functions.settings import (
    AuthorizerSettings,
    DebugSettings,
    EventsSettings,
    FunctionSettings,
    RetentionSettings,
    TickSettings,
    WorkerSettings,
)
from tests.contracts.transformed import resources
from tests.conventions.sources import ROOT

PAGE = ROOT / "README.md"
EVENTS = ROOT / "tests/events"
CALL = re.compile(r"^sam local invoke (\w+) --event (\S+) --env-vars (\S+)$", re.MULTILINE)
SETTINGS: dict[str, type[FunctionSettings]] = {
    "TickFunction": TickSettings,
    "WorkerFunction": WorkerSettings,
    "EventsFunction": EventsSettings,
    "AuthorizerFunction": AuthorizerSettings,
    "DebugFunction": DebugSettings,
    "RetentionFunction": RetentionSettings,
}


def calls() -> list[tuple[str, str, str]]:
    return CALL.findall(PAGE.read_text(encoding="utf-8"))


def test_every_sample_event_is_called_and_every_call_has_its_function_its_event_and_its_environment() -> None:
    assert {event for _, event, _ in calls()} == {
        path.relative_to(ROOT).as_posix() for path in EVENTS.glob("*.json") if path.name != "env.json"
    }
    for function, event, environment in calls():
        assert function in resources("AWS::Lambda::Function")
        json.loads((ROOT / event).read_text(encoding="utf-8"))
        told: dict[str, Any] = json.loads((ROOT / environment).read_text(encoding="utf-8"))
        assert SETTINGS[function].from_environment(told[function]).stage == "local"


def test_the_page_says_that_this_step_needs_docker_and_was_not_run() -> None:
    assert "need Docker, and no test runs them" in " ".join(PAGE.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("call", calls(), ids=lambda call: Path(call[1]).stem)
def test_the_events_of_the_apis_name_a_route_of_the_gateway(call: tuple[str, str, str]) -> None:
    from infra.devstack.gateway import routes_of
    from tests.contracts.transformed import template

    function, path, _ = call
    event = json.loads((ROOT / path).read_text(encoding="utf-8"))
    if "rawPath" not in event:
        assert function in ("TickFunction", "WorkerFunction", "RetentionFunction")
        return
    method = event["requestContext"]["http"]["method"]
    [route] = [route for route in routes_of(template()) if route.match(method, event["rawPath"]) is not None]
    assert function in (route.function, "AuthorizerFunction")

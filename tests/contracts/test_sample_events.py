"""The sample events: each belongs to a function, the documentation calls each of them, and the code answers each."""

import json
from pathlib import Path

import pytest

from infra.devstack.sam_local import Call, calls
from tests.contracts.transformed import resources
from tests.conventions.sources import ROOT

EVENTS = ROOT / "tests/events"


def test_every_sample_event_is_called_and_every_call_has_its_function_and_its_event() -> None:
    assert {call.event for call in calls()} == {path.relative_to(ROOT).as_posix() for path in EVENTS.glob("*.json")}
    for call in calls():
        assert call.function in resources("AWS::Lambda::Function")
        json.loads((ROOT / call.event).read_text(encoding="utf-8"))
        assert call.env == "build/sam-local/env.json"


@pytest.mark.parametrize("call", calls(), ids=lambda call: Path(call.event).stem)
def test_the_events_of_the_apis_name_a_route_of_the_gateway(call: Call) -> None:
    from infra.devstack.gateway import routes_of
    from tests.contracts.transformed import template

    event = json.loads((ROOT / call.event).read_text(encoding="utf-8"))
    if "rawPath" not in event:
        assert call.function in ("TickFunction", "WorkerFunction", "RetentionFunction")
        return
    method = event["requestContext"]["http"]["method"]
    route = next(route for route in routes_of(template()) if route.match(method, event["rawPath"]) is not None)
    assert call.function in (route.function, "AuthorizerFunction")

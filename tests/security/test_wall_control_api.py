"""The routes of the control server under generated requests, one by one and in sequences that use what earlier answers named."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from pydantic import BaseModel
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from infra.agents.control_server import requests
from infra.devstack import git_seed
from tests.control_servers import TestServer, a_control_server

KEY: Final = "a-long-secret"
CHECKS: Final = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
NAMED: Final = ["a1", "Toast-polecat-rig-1@t1", "../a", "a/b", "%2e%2e", "ä 🐝", "-", "." * 64]
_ANSWER: Final = {"application/json": {"schema": {"type": "object", "minProperties": 1}}}
_AGENT: Final = {"name": "agentId", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_GENERATION: Final = {
    "name": "Town-Generation",
    "in": "header",
    "schema": {"type": "integer", "minimum": 0, "maximum": 3},
}


def _operation(
    body: type[BaseModel] | None, *statuses: int, parameters: list[Any] | None = None, links: Any = None
) -> dict[str, Any]:
    responses: dict[str, Any] = {str(each): {"description": "an answer", "content": _ANSWER} for each in statuses}
    for each in (400, 401, 403, 405, 408, 413, 415, 431, 503):
        responses.setdefault(str(each), {"description": "a refusal", "content": _ANSWER})
    if links:
        responses["200"]["links"] = links
    key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "pattern": "^[a-z0-9]{1,64}$"}}
    found: dict[str, Any] = {"responses": responses, "parameters": [key, *(parameters or [])]}
    if body is not None:
        schema = body.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        for name, values in (("agentId", NAMED), ("townId", ["t1"]), ("gitUrl", [""])):
            if name in schema["properties"]:
                schema["properties"][name] = {"enum": values}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found


def document() -> dict[str, Any]:
    """The API of the control server, from the models that read its requests."""
    link = {"parameters": {"agentId": "$response.body#/agentId"}}
    links = {name: {"operationId": name, **link} for name in ("stop", "status", "message", "model")}
    of_agent = [_AGENT]
    paths = {
        "/health": {"get": _operation(None, 200)},
        "/agents/start": {"post": _operation(requests.StartAgentRequest, 200, 202, 409, links=links)},
        "/refresh-token": {"post": _operation(requests.RefreshToken, 200)},
        "/sync-config": {"post": _operation(requests.SyncConfig, 200)},
        "/merge-proof": {"post": _operation(requests.LookForMerge, 200)},
        "/agents/{agentId}/stop": {
            "post": _operation(requests.StopAgentRequest, 200, 404, parameters=[*of_agent, _GENERATION])
        },
        "/agents/{agentId}/status": {"get": _operation(None, 200, 404, parameters=of_agent)},
        "/agents/{agentId}/message": {"post": _operation(requests.SendMessage, 200, 404, 409, parameters=of_agent)},
        "/agents/{agentId}/model": {"patch": _operation(requests.SetModel, 200, 404, parameters=of_agent)},
    }
    for path, operations in paths.items():
        for operation in operations.values():
            operation["operationId"] = path.rsplit("/", 1)[-1]
    shapes = {
        each.__name__: each.model_json_schema(by_alias=True) for each in (requests.AgentToken, requests.SyncedRig)
    }
    about = {"title": "A control server", "version": "1"}
    return {"openapi": "3.1.0", "info": about, "paths": paths, "components": {"schemas": shapes}}


schema = schemathesis.openapi.from_dict(document())
schema.config.phases.coverage.enabled = (
    False  # thousands of requests, each of which tests what the models' own tests do
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    root: Path = tmp_path_factory.mktemp("control")
    with a_control_server(root, key=KEY, command=("true",), environment=git_seed.OFFLINE) as running:
        yield running


def given_to(server: TestServer) -> dict[str, Any]:
    return {"base_url": server.address, "headers": {"Authorization": f"Bearer {KEY}"}}


def is_sound(server: TestServer) -> bool:
    """Whether the server answers, and has written nothing outside its directories."""
    outside = {each.name for each in server.settings.root.parent.iterdir()} - {"control"}
    return not outside and schema["/health"]["GET"].Case().call(**given_to(server)).status_code == 200


def test_the_document_is_valid() -> None:
    validate(document())


@schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_generated_request_is_answered_as_described(case: Any, server: TestServer) -> None:
    answered = case.call(**given_to(server))
    case.validate_response(answered, checks=CHECKS)


def test_agents_that_were_started_are_asked_told_and_stopped_in_every_order(server: TestServer) -> None:
    machine: Any = schema.as_state_machine()

    class Life(machine):  # type: ignore[misc] # schemathesis makes the class
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return given_to(server)

        def validate_response(self, response: Any, case: Any, *args: Any, **kwargs: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Life.run(
        settings=settings(max_examples=8, stateful_step_count=5, deadline=None, suppress_health_check=list(HealthCheck))
    )
    assert is_sound(server)


def test_the_server_is_sound_after_all_that(server: TestServer) -> None:
    assert is_sound(server)


@pytest.mark.parametrize("path", sorted(document()["paths"]))
def test_no_route_answers_without_the_key(server: TestServer, path: str) -> None:
    [method] = document()["paths"][path]
    case = schema[path][method.upper()].Case(path_parameters={"agentId": "a1"} if "{" in path else {})
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY}):
        assert case.call(base_url=server.address, headers=headers).status_code == 401

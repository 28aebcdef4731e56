"""The OpenAPI document: up to date, valid, and consistent with the template and with the code under generated requests."""

import io
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import settings
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from functions.api import BESIDES
from functions.debug import agents
from infra.ops import openapi
from tests import apis
from tests.cloud import a_fleet
from tests.contracts.transformed import routes
from tests.documented import misfits

OPEN = ("Action", "Counts", "JsonObject", "Titles")
DOCUMENT = json.loads(openapi.TARGET.read_text(encoding="utf-8"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


def test_the_document_is_up_to_date() -> None:
    assert openapi.TARGET.read_text(encoding="utf-8") == openapi.text(), "run: make openapi"


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)


def test_every_answer_has_a_named_closed_schema_and_a_description() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status == "304":
                    continue
                [content] = response["content"].values()
                if set(response["content"]) == {"text/html"}:
                    continue  # a page for people
                for shape in content["schema"].get("anyOf", [content["schema"]]):
                    assert set(shape) == {"$ref"}
    unclear = [name for name, each in schemas.items() if "description" not in each]
    shapes = {name: each for name, each in schemas.items() if each.get("type") == "object" and name not in OPEN}
    left_open = [name for name, each in shapes.items() if each["additionalProperties"] is not False]
    assert (unclear, left_open) == ([], [])


def test_every_question_of_an_agent_may_be_one_too_many() -> None:
    asked = {path: each["get"] for path, each in DOCUMENT["paths"].items() if path.startswith(f"{agents.TOWN}/")}
    assert len(asked) == len(agents.AgentReads(lambda: pytest.fail("nothing is asked")).routes)
    assert [path for path, operation in asked.items() if "429" not in operation["responses"]] == []


def test_every_parameter_and_body_has_an_example_that_it_allows() -> None:
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            for each in [*operation["parameters"], *bodies]:
                assert misfits(each["schema"], each["example"]) == []
            assert all(each["description"] for each in operation["parameters"])


def test_the_bounds_of_every_number_in_a_query_are_told() -> None:
    each_of = (operation["parameters"] for path in DOCUMENT["paths"].values() for operation in path.values())
    numbers = [each for found in each_of for each in found if each["schema"].get("type") == "integer"]
    assert numbers
    assert [
        each["name"] for each in numbers if not misfits(each["schema"], -1) or not misfits(each["schema"], 2**60)
    ] == []


def test_the_document_has_the_routes_and_authorizers_of_the_template() -> None:
    guards = {"townToken": "TownToken", "sigv4": "AWS_IAM", "link": None, None: None}
    documented = {
        (method.upper(), path): guards[guard_of(operation)]
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    }
    besides = {(method, path): guards[guard] for method, path, _, guard in BESIDES}
    assert documented | besides == {route: guard_of(operation) for route, operation in routes().items()}


def guard_of(operation: Any) -> str | None:
    """Who verifies the caller; None if the route itself does."""
    return next((guard for each in operation.get("security", ()) for guard in each), None)


with pytest.MonkeyPatch.context() as deployment:
    apis.deploy(a_fleet("one"), deployment)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", apis.application)


@pytest.fixture(autouse=True)
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = a_fleet("one")
    cloud.world.run(town_id="one")
    apis.deploy(cloud, monkeypatch)


@schema.include(operation_id="postEvents").parametrize()
@settings(max_examples=8, deadline=None)
def test_generated_events_are_answered_as_documented(case: Any) -> None:
    """Fewer than of other requests: each is one of 36 types in one of three forms, and is looked for in all of them."""
    answered_as_documented(case)


@schema.exclude(operation_id="postEvents").parametrize()
@settings(max_examples=25, deadline=None)
def test_every_generated_request_is_answered_as_documented(case: Any) -> None:
    answered_as_documented(case)


def answered_as_documented(case: Any) -> None:
    """Send a request and compare its answer with the document."""
    if "townId" in (case.path_parameters or {}) and len(json.dumps(case.path_parameters)) % 2:
        case.path_parameters["townId"] = "one"  # half of the requests are about a town that is there
    answered = case.call()
    case.validate_response(answered, checks=CHECKS)


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_method_of_every_path_is_answered(path: str) -> None:
    """Those that the document has not: HEAD as GET, OPTIONS with what is allowed, any other with a problem document."""
    known = {method.upper() for method in DOCUMENT["paths"][path]}
    asked = path.format(townId="one", beadId="b1", agentId="mayor", eventId="event-001", tick="1", txid="1", link="x")
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"} - known:
        status, headers, body = ask(method, asked)
        assert headers["X-Request-Id"]
        if method == "HEAD" and "GET" in known:
            assert (status, body) == (ask("GET", asked)[0], "")
            continue
        assert status == (204 if method == "OPTIONS" else 405)
        assert (body == "") is (method in ("HEAD", "OPTIONS"))
        assert set(headers["Allow"].split(", ")) >= known


def ask(method: str, path: str) -> tuple[int, dict[str, str], str]:
    """The status, headers and body that the application answers."""
    said: list[Any] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(), "QUERY_STRING": ""}
    body = b"".join(apis.application(environ, lambda *given: said.extend(given)))
    return int(said[0].split()[0]), dict(said[1]), body.decode()


def test_an_undocumented_answer_is_detected() -> None:
    case = schema["/api/health"]["GET"].Case()
    case.validate_response(case.call(), checks=CHECKS)
    answered = case.call()
    answered.content = answered.content.replace(b"release", b"version")
    with pytest.raises(FailureGroup):
        case.validate_response(answered, checks=CHECKS)

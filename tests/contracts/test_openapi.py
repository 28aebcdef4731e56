"""The OpenAPI document: up to date, valid, and consistent with the template and with the code under generated requests."""

import json
from collections.abc import Callable, Iterable
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
)

from functions.api import BESIDES
from functions.debug import app as debug
from functions.events import app as events
from infra.devstack.gateway import Route
from infra.ops import openapi
from tests import apis
from tests.cloud import a_fleet
from tests.contracts.transformed import routes
from tests.http_events import OPERATOR, Context, request

DOCUMENT = json.loads(openapi.TARGET.read_text(encoding="utf-8"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CLAIMS = {"town": "one", "scope": "operator", "expires": "99999999999"}


def test_the_document_is_up_to_date() -> None:
    assert openapi.TARGET.read_text(encoding="utf-8") == openapi.text(), "run: make openapi"


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)


def test_every_answer_has_a_named_closed_schema_and_a_description() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status == "304" or (path, status) == ("/openapi.json", "200"):
                    continue
                [content] = response["content"].values()
                for shape in content["schema"].get("anyOf", [content["schema"]]):
                    assert set(shape) == {"$ref"}
    unclear = [name for name, each in schemas.items() if "description" not in each and name != "Event"]
    left_open = [name for name, each in schemas.items() if each["additionalProperties"] is not False]
    assert (unclear, left_open) == ([], ["AnyAction"])


def test_the_document_has_the_routes_and_authorizers_of_the_template() -> None:
    guards = {"townToken": "TownToken", "sigv4": "AWS_IAM"}
    documented = {
        (method.upper(), path): guards[next(iter(operation["security"][0]))]
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    }
    besides = {(method, path): "AWS_IAM" for method, path, _ in BESIDES}
    assert documented | besides == {
        route: next(iter(operation["security"][0])) for route, operation in routes().items()
    }


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Both functions behind a gateway that authorizes every request, as a WSGI application."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
    if path == "/openapi.json":
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(DOCUMENT).encode()]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    pairs = [pair.partition("=") for pair in environ.get("QUERY_STRING", "").split("&") if pair]
    from urllib.parse import unquote_plus

    query = {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
    event = request(method, path, body or None, caller=OPERATOR, claims=CLAIMS, query=query, encoded=True)
    known = [
        Route(known_method.upper(), known_path, operation["operationId"], None)
        for known_path, operations in DOCUMENT["paths"].items()
        for known_method, operation in operations.items()
    ]
    of_debug = any(
        route.match(method, path) is not None and "debug" in DOCUMENT["paths"][route.path][route.method.lower()]["tags"]
        for route in known
    )
    answered = (debug if of_debug else events).lambda_handler(event, Context())
    start(f"{answered['statusCode']} X", list((answered.get("headers") or {}).items()))
    return [str(answered.get("body") or "").encode()]


schema = schemathesis.openapi.from_wsgi("/openapi.json", application)


@pytest.fixture(autouse=True)
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = a_fleet("one")
    cloud.world.run(town_id="one")
    apis.deploy(cloud, monkeypatch)


@schema.parametrize()
@settings(max_examples=25, deadline=None)
def test_every_generated_request_is_answered_as_documented(case: Any) -> None:
    if "townId" in (case.path_parameters or {}) and len(json.dumps(case.path_parameters)) % 2:
        case.path_parameters["townId"] = "one"  # half of the requests are about a town that is there
    answered = case.call()
    case.validate_response(answered, checks=CHECKS)


def test_an_undocumented_answer_is_detected() -> None:
    case = schema["/api/health"]["GET"].Case()
    case.validate_response(case.call(), checks=CHECKS)
    answered = case.call()
    answered.content = answered.content.replace(b"release", b"version")
    with pytest.raises(FailureGroup):
        case.validate_response(answered, checks=CHECKS)

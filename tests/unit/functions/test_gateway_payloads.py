"""What an API Gateway makes of a request before a function sees it: encoded bodies, header names, cookies, stages, limits."""

import base64
import json
from typing import Any

import pytest

from functions.api import BODY_SIZE, Route
from functions.archive import app as archive
from functions.authorizer import app as authorizer
from functions.credentials import app as credentials
from functions.debug import app as debug
from functions.events import app as events
from functions.redrive import app as redrive
from infra.devstack.gateway import LARGEST_BODY
from infra.townctl.api_client import ANSWER_SECONDS
from shared.ports.logged_texts import MOST_SENT
from tests import apis
from tests.apis import claims_for
from tests.cloud import Cloud, a_cloud
from tests.contracts.transformed import resources, routes
from tests.http_events import OPERATOR, Answer, Context, request
from tests.towns import a_town
from tests.worlds import a_world

ROUTES = [(route, each) for each in (events, redrive, archive, debug, credentials) for route in each.ROUTES]
WITHOUT_A_BODY = ("/redrive", "/resume", "/bring-back", "/reconcile-dry-run", "/refresh-token", "/{link}")
WRITES = [(each, at) for each, at in ROUTES if each.method != "GET" and not each.path.endswith(WITHOUT_A_BODY)]
each_write_with_a_body = pytest.mark.parametrize(
    ("route", "function"), WRITES, ids=[f"{route.method} {route.path}" for route, _ in WRITES]
)
KNOWN = {"townId": "one", "beadId": "b1", "agentId": "toast", "eventId": "event-001", "tick": "2", "txid": "1"}
LARGEST_PAYLOAD = 6 << 20
"""The most bytes of an event with which a Lambda is called. The gateway answers 413 to what would be more."""


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    town = a_town("one").bead("b1", status="in_progress").agent("toast", hook="b1", generation=1, status="working")
    made = a_cloud(a_world(town))
    apis.deploy(made, monkeypatch)
    return made


def event_for(method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
    return request(method, path, body, caller=OPERATOR, claims=claims_for(path, "one"), **more)


def answered(function: Any, event: dict[str, Any]) -> Answer:
    return Answer.of(function.lambda_handler(event, Context()))


def a_fact(event_id: str) -> dict[str, Any]:
    return {"event_id": event_id, "event_type": "town_started"}


def test_a_body_in_base64_is_the_same_body(cloud: Cloud) -> None:
    path = "/api/towns/one/events"
    plain = answered(events, event_for("POST", path, a_fact("plain-0001")))
    encoded = answered(events, event_for("POST", path, a_fact("encoded-1"), encoded=True))
    assert (plain.status, encoded.status) == (202, 202)
    assert encoded.document["accepted"] == ["encoded-1"]


@each_write_with_a_body
@pytest.mark.parametrize("body", ["a", "====", "ä", "e30", "e30=\n"])
def test_a_body_that_only_claims_to_be_base64_is_refused(route: Route[Any], function: Any, body: str) -> None:
    event = event_for(route.method, route.path.format(**KNOWN)) | {"body": body, "isBase64Encoded": True}
    answer = answered(function, event)
    assert (answer.status, answer.document["detail"]) == (400, "the body is not valid base64")


@each_write_with_a_body
@pytest.mark.parametrize("encoded", [False, True])
def test_the_largest_body_that_the_gateway_hands_on_is_refused_with_a_hint_and_stores_nothing(
    route: Route[Any], function: Any, encoded: bool, cloud: Cloud
) -> None:
    size = LARGEST_PAYLOAD * 3 // 4 if encoded else LARGEST_PAYLOAD
    before = set(cloud.world.objects.list("").keys)
    headers = {"content-type": "text/plain"} if route.path.endswith("/log") else {}
    event = event_for(
        route.method, route.path.format(**KNOWN), b'"' + b"x" * size + b'"', encoded=encoded, headers=headers
    )
    answer = answered(function, event)
    assert (answer.status // 100, answer.is_problem) == (4, True)
    assert set(cloud.world.objects.list("").keys) == before


def test_no_route_takes_more_than_the_gateway_and_lambda_hand_on() -> None:
    assert max(BODY_SIZE, MOST_SENT) * 4 // 3 < LARGEST_PAYLOAD < LARGEST_BODY


@pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE"])
def test_the_name_of_a_header_may_be_written_in_any_case(name: str) -> None:
    """In another case, a form of a web page passed as JSON."""
    event = event_for("POST", "/api/towns/one/events", a_fact("a-form-01"))
    event["headers"] = {name: "application/x-www-form-urlencoded"}
    assert answered(events, event).status == 415


@pytest.mark.parametrize("name", ["if-none-match", "If-None-Match"])
def test_a_read_that_is_known_is_not_sent_again_whatever_the_case_of_its_header(name: str) -> None:
    known = answered(debug, event_for("GET", "/api/towns/one/status")).headers["etag"]
    assert answered(debug, event_for("GET", "/api/towns/one/status", headers={name: known})).status == 304


def test_a_request_without_headers_is_answered() -> None:
    event = event_for("GET", "/api/towns/one/status")
    assert answered(debug, event | {"headers": {}}).status == 200
    assert answered(debug, event | {"headers": None}).status == 200


@pytest.mark.parametrize("name", ["authorization", "Authorization"])
def test_the_authorizer_reads_its_header_in_any_case(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused = authorizer.lambda_handler({"headers": {name: "Basic x"}}, Context())
    assert refused == {"isAuthorized": False}
    assert "the request has no town token" in capsys.readouterr().out


def test_cookies_change_no_answer_and_are_in_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An HTTP API moves cookies out of the headers into a list of their own."""
    event = event_for("GET", "/api/towns/one/status")
    without = answered(debug, event)
    capsys.readouterr()
    assert answered(debug, event | {"cookies": ["session=canary-of-a-cookie", "a=b"]}) == without
    assert "canary-of-a-cookie" not in capsys.readouterr().out


def behind(event: dict[str, Any], stage: str) -> dict[str, Any]:
    """The event as a stage with a name hands it on: the name stands before each path, but not in the route."""
    context = event["requestContext"]
    path = f"/{stage}{event['rawPath']}"
    return event | {
        "rawPath": path,
        "requestContext": {**context, "stage": stage, "http": {**context["http"], "path": path}},
    }


@pytest.mark.parametrize("stage", ["prod", "api", "v1"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/towns/one/status", 200),
        ("HEAD", "/api/towns/one/status", 200),
        ("OPTIONS", "/api/towns/one/status", 204),
        ("GET", "/api/towns/one/beads/b1", 200),
        ("DELETE", "/api/towns/one/status", 405),
        ("GET", "/api/nowhere", 404),
        ("GET", "/api/health", 200),
    ],
)
def test_a_stage_with_a_name_changes_no_answer(stage: str, method: str, path: str, status: int) -> None:
    event = event_for(method, path, route="/{proxy+}", parameters={"proxy": path.removeprefix("/")})
    plain, staged = answered(debug, event), answered(debug, behind(event, stage))
    assert plain.status == staged.status == status
    assert staged.document == plain.document


def test_a_function_ends_before_the_gateway_gives_up_and_its_callers_wait_longer() -> None:
    """The gateway waits 30 s. A caller that gave up before would never see the answer that says what to do."""
    functions = resources("AWS::Lambda::Function")
    called = {json.dumps(each["x-amazon-apigateway-integration"]["uri"]) for each in routes().values()}
    behind_it = [name for name in functions if any(name in uri for uri in called)]
    assert sorted(behind_it) == [
        "ArchiveFunction",
        "CredentialsFunction",
        "DebugFunction",
        "EventsFunction",
        "RedriveFunction",
    ]
    assert {functions[name]["Timeout"] for name in behind_it} == {29}
    assert ANSWER_SECONDS > 30


def test_a_body_of_ten_mebibytes_is_what_the_local_gateway_refuses_too() -> None:
    assert LARGEST_BODY == 10 << 20
    assert len(base64.b64encode(b"x" * LARGEST_PAYLOAD)) < LARGEST_BODY

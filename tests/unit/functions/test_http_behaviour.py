"""What every route has in common: a request id, ETags, HEAD, OPTIONS, 405, known parameters, and a hint for each refusal."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from functions import api, paths
from functions.api import Route
from functions.archive import app as archive
from functions.credentials import app as credentials
from functions.debug import app as debug
from functions.events import app as events
from functions.redrive import app as redrive
from shared.adapters import path_ids
from shared.domain.times import to_text
from shared.ports.agent_logs import LogName
from shared.ports.steps import drive
from shared.storage.agent_logs import StoredLogs
from tests import apis
from tests.apis import claims_for
from tests.cloud import Cloud, a_cloud
from tests.http_events import OPERATOR, Answer, Context, request
from tests.towns import T, a_town, event
from tests.worlds import a_world

ODD = [
    "a/b",
    "?",
    "#",
    '"',
    "🐝",
    "a b",
    "%2F",
    "~",
    "~YQ",
    "..",
    ".",
    "ä/ö?#",
    "a+b",
    "a&b=c",
    "\\",
    "x" * 64,
    "/",
    "//",
    "ö",
]
EVERY = [(route, each) for each in (events, redrive, archive, debug, credentials) for route in each.ROUTES]
ROUTES = [(route, each) for route, each in EVERY if route.guard != "link"]
"""Without the pages that people open by a link (`test_acknowledging`)."""

NAMES = [f"{route.method} {route.path}" for route, _ in ROUTES]
KNOWN = {
    "townId": "one",
    "beadId": "b1",
    "agentId": "mayor",
    "eventId": "event-001",
    "tick": "2",
    "txid": "1",
    "link": "x",
}
ASKED = {"/api/towns/one/timeline": {"start": to_text(T), "end": to_text(T + timedelta(hours=1))}}
"""What a path must be asked for."""


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    town = a_town("one").bead("b1", status="in_progress").agent("toast", hook="b1", generation=1, status="working")
    for odd in ODD:
        town = town.bead(odd, title=f"odd {odd}")
    made = a_cloud(a_world(town))
    apis.deploy(made, monkeypatch)
    made.world.post(event("bead_updated", {"priority": "high"}, bead="b1", event_id=KNOWN["eventId"]), town_id="one")
    made.world.run(town_id="one")
    for agent_id in ("mayor", "toast"):
        log = LogName(agent_id, 1, "log", "container")
        drive(StoredLogs(made.world.objects).keep("one", log, "12 tests passed\n", at=made.world.clock.now()))
    return made


def ask(function: Any, method: str, path: str, **more: Any) -> Answer:
    more = {"query": ASKED.get(path), **more}
    asked = request(method, path, caller=OPERATOR, claims=claims_for(path, "one"), **more)
    return Answer.of(function.lambda_handler(asked, Context()))


def path_of(route: Route[Any]) -> str:
    return route.path.format(**KNOWN)


READS = [(route, function) for route, function in ROUTES if route.method == "GET"]
each_read = pytest.mark.parametrize(("route", "function"), READS, ids=[route.path for route, _ in READS])
each_route = pytest.mark.parametrize(("route", "function"), ROUTES, ids=NAMES)


@each_route
def test_every_answer_has_the_id_of_its_request(route: Route[Any], function: Any) -> None:
    for method in (route.method, "OPTIONS", "TRACE"):
        assert ask(function, method, path_of(route)).headers["x-request-id"] == "request-1"
    assert ask(function, "GET", "/nowhere").headers["x-request-id"] == "request-1"


@each_read
def test_a_read_has_an_etag_and_is_not_sent_again(route: Route[Any], function: Any) -> None:
    first = ask(function, "GET", path_of(route))
    assert (first.status, first.headers["cache-control"]) == (200, "private, no-cache")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = ask(function, "GET", path_of(route), headers={"if-none-match": known})
        assert (again.status, again.document, again.headers["etag"]) == (304, None, tag)
    assert ask(function, "GET", path_of(route), headers={"if-none-match": '"other"'}) == first


def test_an_etag_changes_with_the_town(cloud: Cloud) -> None:
    before = ask(debug, "GET", "/api/towns/one/ticks").headers["etag"]
    cloud.world.run(town_id="one")
    assert ask(debug, "GET", "/api/towns/one/ticks").headers["etag"] != before


@each_read
def test_head_is_get_without_its_body(route: Route[Any], function: Any) -> None:
    got, headed = ask(function, "GET", path_of(route)), ask(function, "HEAD", path_of(route))
    assert (headed.status, headed.document, headed.headers) == (200, None, got.headers)


def test_head_of_what_is_refused_is_refused_without_a_body() -> None:
    headed = ask(debug, "HEAD", "/api/towns/nowhere/status")
    assert (headed.status, headed.document) == (404, None)


@each_route
def test_options_names_the_methods_of_a_path(route: Route[Any], function: Any) -> None:
    answer = ask(function, "OPTIONS", path_of(route))
    assert (answer.status, answer.document) == (204, None)
    allowed = answer.headers["allow"].split(", ")
    assert {route.method, "OPTIONS"} <= set(allowed)
    assert ("HEAD" in allowed) is ("GET" in allowed)


@each_route
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get", ""])
def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(
    route: Route[Any], function: Any, method: str
) -> None:
    if any((method, route.path) == (each.method, each.path) for each, _ in ROUTES):
        return
    answer = ask(function, method, path_of(route))
    assert (answer.status, answer.is_problem) == (405, True)
    assert route.method in answer.headers["allow"].split(", ")
    assert answer.headers["allow"] in answer.document["hint"]


@pytest.mark.parametrize(("path", "methods"), paths.OTHER_PATHS.items())
def test_the_debug_function_answers_for_the_paths_of_the_events_function_too(
    path: str, methods: tuple[str, ...]
) -> None:
    answer = ask(debug, "DELETE", path.format(**KNOWN), route="/{proxy+}", parameters={"proxy": "x"})
    assert answer.status == 405
    assert set(methods) <= set(answer.headers["allow"].split(", "))


@each_route
def test_nobody_learns_anything_without_a_signature(route: Route[Any], function: Any) -> None:
    for method in ("OPTIONS", "TRACE", "DELETE"):
        answer = Answer.of(function.lambda_handler(request(method, path_of(route)), Context()))
        assert (answer.status, answer.is_problem) == (401, True)
    unknown = Answer.of(function.lambda_handler(request("GET", "/api/unknown"), Context()))
    assert (unknown.status, unknown.is_problem) == (401, True)


# query parameters


@each_route
def test_an_unknown_parameter_is_refused_with_the_known_ones(route: Route[Any], function: Any) -> None:
    answer = ask(function, route.method, path_of(route), query={"surprise": "1"})
    assert (answer.status, answer.is_problem, answer.document["path"]) == (422, True, "surprise")
    for name in route.query.model_fields:
        assert name in answer.document["hint"]


@pytest.mark.parametrize(
    ("name", "meant"), [("limt", "limit"), ("Limit", "limit"), ("states", "state"), ("curser", "cursor")]
)
def test_a_misspelt_parameter_is_answered_with_the_one_that_was_meant(name: str, meant: str) -> None:
    answer = ask(debug, "GET", "/api/towns/one/events", query={name: "1"})
    assert (answer.status, answer.document["hint"].partition("?")[0]) == (422, f"did you mean `{meant}`")


def test_a_parameter_is_given_once() -> None:
    event = request("GET", "/api/towns/one/ticks", caller=OPERATOR) | {"rawQueryString": "limit=1&limit=2"}
    answer = Answer.of(debug.lambda_handler(event, Context()))
    assert (answer.status, answer.document["path"], answer.is_problem) == (422, "limit", True)


@pytest.mark.parametrize("raw", ["limit=%ff", "&".join(f"limit={n}" for n in range(60)), "limit", "limit=", "%F0=1"])
def test_a_query_that_cannot_be_read_is_refused(raw: str) -> None:
    event = request("GET", "/api/towns/one/ticks", caller=OPERATOR) | {"rawQueryString": raw}
    answer = Answer.of(debug.lambda_handler(event, Context()))
    assert (answer.status, answer.is_problem) == (422, True)


WRONG = [
    ("/ticks", "limit", ["abc", "0", "129", "-1", "1.5", "1e2", " 1", "١", ""]),
    ("/ticks", "after", ["x", "-1", "9" * 30]),
    ("/ticks", "before", ["x", "-1", "9007199254740992"]),
    ("/beads", "status", ["alive", ""]),
    ("/beads", "type", ["task"]),
    ("/beads", "cursor", ["x", "", "a" * 2000]),
    ("/beads", "text", ["", "x" * 257]),
    ("/beads", "convoy", ["x" * 65]),
    ("/events", "state", ["lost"]),
    ("/events", "cursor", ["WzFd"]),
    ("/convoys", "limit", ["501"]),
    ("/points", "limit", ["0", "201"]),
    ("/explain/beads/b1", "at", ["yesterday", "2026-01-10T12:00:00", "2026-13-01T00:00:00Z"]),
]


@pytest.mark.parametrize(("below", "name", "value"), [(b, n, value) for b, n, values in WRONG for value in values])
def test_a_wrong_value_is_refused_with_what_is_accepted(below: str, name: str, value: str) -> None:
    answer = ask(debug, "GET", f"/api/towns/one{below}", query={name: value})
    assert (answer.status, answer.document["path"], answer.is_problem) == (422, name, True)


def test_forwards_and_backwards_exclude_each_other() -> None:
    answer = ask(debug, "GET", "/api/towns/one/ticks", query={"after": "1", "before": "2"})
    assert (answer.status, answer.is_problem) == (422, True)


# odd ids


def as_the_gateway_decodes(path: str) -> dict[str, Any]:
    """A gateway whose route did not fit, because it took a decoded slash for the end of a segment."""
    return {"path": path, "route": "/{proxy+}", "parameters": {"proxy": path.removeprefix("/")}}


FORMS: dict[str, Callable[[str], dict[str, Any]]] = {
    "path parameters": lambda odd: {
        "path": "/cut",
        "route": "/api/towns/{townId}/beads/{beadId}",
        "parameters": {"townId": "one", "beadId": odd},
    },
    "decoded path": lambda odd: as_the_gateway_decodes(f"/api/towns/one/beads/{odd}"),
    "base64url": lambda odd: as_the_gateway_decodes(f"/api/towns/one/beads/{path_ids.written(odd)}"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("form", FORMS)
def test_a_bead_is_found_under_every_id_that_ingest_accepts(odd: str, form: str) -> None:
    if odd == "~YQ" and form != "base64url":
        return  # it is the written form of another id; the runbook says so
    asked = FORMS[form](odd)
    answer = ask(debug, "GET", asked.pop("path"), **asked)
    assert (answer.status, answer.document["bead"]["title"]) == (200, f"odd {odd}")


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_bead_is_explained(odd: str) -> None:
    answer = ask(debug, "GET", f"/api/towns/one/explain/beads/{path_ids.written(odd)}")
    assert (answer.status, answer.document["id"]) == (200, odd)


@pytest.mark.parametrize("an_id", [*ODD, "b1", "event-001:r2", "~~"])
def test_an_id_is_read_as_it_was_written(an_id: str) -> None:
    segment = path_ids.written(an_id)
    assert quote(segment, safe="~:") == segment
    assert "/" not in segment
    assert path_ids.read(segment) == an_id


@pytest.mark.parametrize("segment", ["~", "~!", "~YQ==", "~YR", "~_w", "~ä"])
def test_a_segment_that_only_looks_encoded_is_the_id_itself(segment: str) -> None:
    assert path_ids.read(segment) == segment


def test_an_unexpected_error_is_told_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise KeyError("a secret")

    monkeypatch.setattr(debug, "deployment", broken)
    told: list[BaseException] = []
    answered = api.run(debug.ROUTES, request("GET", "/api/health", caller=OPERATOR), told.append)
    answer = Answer.of(answered)
    assert (answer.status, answer.is_problem, len(told)) == (500, True, 1)
    assert "secret" not in json.dumps(answered)


def test_the_document_of_the_api_is_served() -> None:
    answer = ask(debug, "GET", "/openapi.json")
    assert (answer.status, answer.document["openapi"]) == (200, "3.1.0")

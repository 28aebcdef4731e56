"""The wall of the audit: from one event of a stolen token the logs alone lead to everything that the token did, and say no secret.

The logs are those of a deployment: what the authorizer and the events function write, and the access log of the gateway in the
format of the template.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.access import Access
from functions.authorizer import app as authorizer
from functions.debug import app as debug
from functions.events import app as events
from functions.ingestion import Ingestion
from functions.redrive import app as redrive
from functions.redrive.acknowledging import Links
from functions.settings import AccessRule, DebugSettings
from shared.adapters.town_tokens import Claims, issue, key_id, read
from shared.domain.errors import StoreUnavailable
from shared.domain.ids import is_subject_id
from shared.telemetry.emf import EmfMetrics
from tests.apis import LINK_KEYS
from tests.cloud import Cloud, a_cloud
from tests.conventions.sources import ROOT
from tests.http_events import Context, request
from tests.towns import a_town
from tests.unit.functions.test_debug import Here
from tests.worlds import a_world

KEY, FOREIGN = "k" * 48, "f" * 48
ANN = "arn:aws:sts::123456789012:assumed-role/Operator/ann"
THIEF, HONEST = "203.0.113.66", "192.0.2.7"
PAYLOAD = "the text of the payload"


def access_log_format() -> str:
    """The format of the gateway's log in the template: the folded text below `Format:`."""
    _, _, below = (ROOT / "template.yaml").read_text(encoding="utf-8").partition("        Format: >-\n")
    return " ".join(
        line.strip() for line in itertools.takewhile(lambda line: line.startswith(" " * 10), below.split("\n"))
    )


class Keys:
    """The keys of the authorizer, on the town's clock."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock

    def values(self) -> tuple[str, ...]:
        return (KEY,)

    refreshed = values


@dataclass
class Logs:
    """A deployment, and everything that it writes to its logs."""

    cloud: Cloud
    printed: Callable[[], str]
    lines: list[str] = field(default_factory=list)
    sent: int = 0

    @property
    def now(self) -> Any:
        return self.cloud.world.clock.now()

    def token(self, agent: str = "toast", generation: int | None = 3, *, key: str = KEY, town: str = "one") -> str:
        return issue(Claims(town, "agent", agent, generation), [key], now=self.now)

    def post(self, token: str | None, body: Any, *, source: str = HONEST, town: str = "one", **headers: str) -> int:
        """The status of a request that brings these events, through the authorizer as the gateway does."""
        shown = headers if token is None else {"authorization": f"Bearer {token}", **headers}
        asked = self._asked("POST", f"/api/towns/{town}/events", body, source, shown, {"townId": town})
        judged = authorizer.lambda_handler({**asked, "type": "REQUEST"}, Context())
        if not judged["isAuthorized"]:
            return self._gateway(asked, {}, 403)
        asked["requestContext"]["authorizer"] = {"lambda": judged["context"]}
        return self._gateway(asked, judged["context"], self._status(events, asked))

    def ask(self, method: str, path: str, body: Any = None, *, caller: str | None = ANN) -> int:
        """The status of a request of an operator."""
        asked = self._asked(method, path, body, HONEST, {}, None)
        if caller is not None:
            asked["requestContext"]["authorizer"] = {"iam": {"userArn": caller}}
        function: Any = events if path.endswith("/api/towns") or method == "PUT" else debug
        if path.endswith("/redrive"):
            function = redrive
        return self._status(function, asked)

    def _asked(
        self, method: str, path: str, body: Any, source: str, headers: dict[str, str], parameters: Any
    ) -> dict[str, Any]:
        self.sent += 1
        route = "/{proxy+}" if parameters is None else "/api/towns/{townId}/events"
        asked = request(method, path, body, headers=headers, route=route, parameters=parameters)
        asked["requestContext"]["http"]["sourceIp"] = source
        asked["requestContext"]["requestId"] = f"request-{self.sent}"
        return asked

    def _status(self, function: Any, asked: dict[str, Any]) -> int:
        status: int = function.lambda_handler(asked, Context())["statusCode"]
        return status

    def _gateway(self, asked: dict[str, Any], claims: dict[str, str], status: int) -> int:
        """Write the gateway's line, which replaces variables without escaping anything, and `-` if there is none."""
        context = asked["requestContext"]
        known = {f"authorizer.{name}": value for name, value in claims.items()}
        known |= {"requestId": context["requestId"], "identity.sourceIp": context["http"]["sourceIp"]}
        known |= {"status": str(status), "routeKey": asked["routeKey"]}
        self.lines.append(re.sub(r"\$context\.([\w.]+)", lambda found: known.get(found[1], "-"), access_log_format()))
        return status

    def all(self) -> list[dict[str, Any]]:
        """Every line of the logs, each of which is one JSON object."""
        self.lines += self.printed().splitlines()
        return [json.loads(line) for line in self.lines]

    def audit(self) -> list[dict[str, Any]]:
        return [line for line in self.all() if line["event"].startswith("audit.")]

    def last(self) -> dict[str, Any]:
        return self.audit()[-1]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Logs]:
    cloud = a_cloud(a_world(a_town("one"), a_town("two")))
    made = Logs(cloud, lambda: capfd.readouterr().out)
    metrics = EmfMetrics(made.lines.append, stage="test")
    rules = (AccessRule(callers=(ANN,), towns=("one",), verbs=("read", "debug", "write")),)
    access = Access(rules, made.lines.append)
    ingestion = Ingestion(cloud.dispatcher.around, cloud.queue, metrics, made.lines.append)
    there = events.EventsDeployment(ingestion, access, cloud.world.objects)
    redrives = redrive.RedriveDeployment(ingestion, access, Links(LINK_KEYS.copy, LINK_KEYS.copy))
    here = Here(DebugSettings(stage="test", town_bucket="bucket"), cloud.world.around, access, cloud.world)
    monkeypatch.setattr(events, "deployment", lambda: there)
    monkeypatch.setattr(redrive, "deployment", lambda: redrives)
    monkeypatch.setattr(debug, "deployment", lambda: here)
    monkeypatch.setattr(authorizer, "secret", lambda: Keys(cloud.world.clock))
    yield made
    text = "\n".join(map(json.dumps, made.all()))
    assert PAYLOAD not in text
    assert "eyJ" not in text  # no token, and no part of one


def a_report(event_id: str, agent: str = "toast", **more: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "agent_status",
        "agent_id": agent,
        "payload": {"message": PAYLOAD},
    } | more


def a_completion(event_id: str, agent: str = "toast") -> dict[str, Any]:
    return {"event_id": event_id, "event_type": "agent_done", "agent_id": agent, "payload": {"branch": PAYLOAD}}


def with_event(lines: list[dict[str, Any]], event_id: str) -> dict[str, Any]:
    [line] = [line for line in lines if event_id in line.get("events", ())]
    return line


def test_from_one_event_of_a_stolen_token_the_logs_lead_to_everything_that_it_did(logs: Logs) -> None:
    stolen, other = logs.token(), logs.token("nux", 1)
    assert logs.post(stolen, [a_report("honest-01")]) == 202
    assert logs.post(other, [a_report("other-01", "nux")]) == 202
    assert logs.post(stolen, [a_report("evil-event-1"), a_report("evil-event-2")], source=THIEF) == 202
    assert logs.post(stolen, [a_report("evil-event-3", "nux")], source=THIEF) == 403
    assert logs.post(stolen, [a_report("evil-event-4")], source=THIEF, town="two") == 404

    lines = logs.audit()
    found = with_event(lines, "evil-event-2@toast")
    claims = read(stolen, [KEY], now=logs.now)
    assert (found["scope"], found["agent"], found["generation"]) == ("agent", "toast", "3")
    assert (found["source"], found["town_id"], found["status"]) == (THIEF, "one", 202)
    assert (found["key"], found["token"]) == (key_id(KEY), claims.token)

    of_token = [line for line in lines if line["token"] == found["token"]]
    assert [(line["source"], line["town_id"], line["status"], line.get("events")) for line in of_token] == [
        (HONEST, "one", 202, ["honest-01@toast"]),
        (THIEF, "one", 202, ["evil-event-1@toast", "evil-event-2@toast"]),
        (THIEF, "one", 403, ["evil-event-3@toast"]),
        (THIEF, "two", 404, ["evil-event-4@toast"]),
    ]
    assert {line["token_town"] for line in of_token} == {"one"}
    assert all("batch_id" in line for line in of_token if line["status"] == 202)


def test_what_the_town_stores_of_an_event_leads_to_the_same_line(logs: Logs) -> None:
    """The event in the town, its journal and the logs carry the same ids."""
    logs.post(logs.token(), [a_completion("done-0001")], source=THIEF)
    logs.cloud.queue.pump(logs.cloud.work)
    record, *_ = logs.cloud.world.journal("one")
    [stored] = record["inputs"]["new_events"]
    line = with_event(logs.audit(), stored["event_id"])
    assert stored["sender"]["request"] == line["request_id"]
    assert (stored["sender"]["token"], stored["sender"]["key"]) == (line["token"], line["key"])


def test_the_log_of_the_gateway_says_whose_token_it_was_and_an_agent_cannot_write_into_it(logs: Logs) -> None:
    evil = 'x","token":"of-another","agent":"nux'
    token = logs.token(evil)
    assert logs.post(token, [a_report("evil-event-1", evil)], source=THIEF) == 202
    [line] = [line for line in logs.all() if line["event"] == "gateway.request"]
    claims = read(token, [KEY], now=logs.now)
    assert (line["token"], line["key"], line["scope"], line["generation"]) == (claims.token, claims.key, "agent", "3")
    assert (line["source"], line["request_id"], line["town"]) == (THIEF, "request-1", "one")
    assert line["agent"].startswith("x%22")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[" * 60_000, {}, 400),
        (b'{"events": []}', {}, 400),
        (b" " * 7_000_000, {}, 413),
        ([{"event_id": PAYLOAD, "event_type": PAYLOAD}], {}, 400),
        ([{PAYLOAD: 1}], {}, 400),
        ([a_report("evil-event-1", payload={PAYLOAD: PAYLOAD})], {}, 400),
        ([a_report("evil-event-1")], {"content-type": "text/plain"}, 415),
        ([a_report("evil-event-1")], {"content-type": "application/x-www-form-urlencoded"}, 415),
        ([a_report("evil-event-1")], {"content-type": "application/json, text/plain"}, 415),
    ],
    ids=str,
)
def test_a_refused_body_leaves_a_line_too(logs: Logs, body: Any, headers: dict[str, str], status: int) -> None:
    token = logs.token()
    assert logs.post(token, body, source=THIEF, **headers) == status
    line = logs.last()
    assert (line["status"], line["source"], line["agent"]) == (status, THIEF, "toast")
    assert line["token"] == read(token, [KEY], now=logs.now).token


def test_a_store_that_fails_leaves_the_ids_of_what_it_may_have_stored(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(type(logs.cloud.world.store), "post", unavailable)
    assert logs.post(logs.token(), [a_report("lost-0001")]) == 503
    assert (logs.last()["status"], logs.last()["events"]) == (503, ["lost-0001@toast"])


def test_a_refused_token_leaves_a_line_of_the_authorizer(logs: Logs) -> None:
    expired = logs.token()
    logs.cloud.world.clock.move(hours=9)
    for token, why in ((logs.token(key=FOREIGN), "unknown key"), (expired, "expired"), ("eyJ.x.y", "malformed")):
        assert logs.post(token, [a_report("evil-event-1")], source=THIEF) == 403
        line = logs.last()
        assert line["event"] == "audit.token_refused"
        assert why in line["why"]
        assert (line["source"], line["town_id"], line["request_id"]) == (THIEF, "one", f"request-{logs.sent}")
    assert logs.post(None, [a_report("evil-event-1")], source=THIEF) == 403
    assert "no town token" in logs.last()["why"]


def test_a_token_that_is_refused_after_its_end_still_leads_to_what_it_did_before(logs: Logs) -> None:
    stolen = logs.token()
    logs.post(stolen, [a_report("evil-event-1")], source=THIEF)
    before = with_event(logs.audit(), "evil-event-1@toast")
    logs.cloud.world.clock.move(hours=9)
    logs.post(stolen, [a_report("evil-event-2")], source=THIEF)
    after = logs.last()
    assert (after["claimed_token"], after["claimed_key"]) == (before["token"], before["key"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/towns/one/status", 200),
        ("GET", "/api/towns/two/status", 404),
        ("GET", "/api/towns/one/nothing", 404),
        ("GET", "/wp-admin/.env", 404),
        ("DELETE", "/api/towns/one/status", 405),
        ("OPTIONS", "/api/towns/one/status", 204),
        ("POST", "/api/towns/one/debug/replay-events", 400),
        ("GET", "/api/towns", 200),
        ("PUT", "/api/towns/one", 409),
        ("POST", "/api/towns/one/events/none-0001/redrive", 404),
    ],
)
def test_every_request_of_an_operator_leaves_a_line(logs: Logs, method: str, path: str, status: int) -> None:
    assert logs.ask(method, path) == status
    line = logs.last()
    assert (line["event"], line["status"], line["caller"], line["source"]) == ("audit.request", status, ANN, HONEST)
    assert (line["method"], line["request_id"]) == (method, "request-1")


def test_a_request_that_nobody_signed_leaves_a_line(logs: Logs) -> None:
    assert logs.ask("GET", "/api/towns/one/status", caller=None) == 401
    assert logs.last()["status"] == 401
    assert "caller" not in logs.last()


def test_an_unknown_path_is_shown_without_what_may_be_a_token(logs: Logs) -> None:
    logs.ask("GET", f"/api/{logs.token()}/x\n/ghp_{'a' * 36}/y")
    assert logs.last()["path"] == "/api/*"  # cut at 128 characters
    logs.ask("GET", f"/a/ghp_{'a' * 36}/{'glpat-'}{'b' * 20}/x\n/.env")
    assert logs.last()["path"] == "/a/*/*/*/.env"


def test_an_unexpected_error_leaves_a_line(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(PAYLOAD)

    monkeypatch.setattr(type(logs.cloud.world.store), "post", broken)
    assert logs.post(logs.token(), [a_report("evil-event-1")]) == 500
    assert (logs.last()["status"], logs.last()["events"]) == (500, ["evil-event-1@toast"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(agent=st.text(min_size=1, max_size=64), headers=st.text(max_size=80), body=st.binary(max_size=200))
def test_whatever_is_sent_one_line_is_one_object(logs: Logs, agent: str, headers: str, body: bytes) -> None:
    before = len(logs.audit())
    logs.post(headers, body, source=THIEF)
    token = logs.token(agent if is_subject_id(agent) else "toast")
    logs.post(token, body, source=THIEF)
    assert len(logs.audit()) == before + 2


def test_the_skew_and_life_of_tokens_leave_no_request_without_a_line(logs: Logs) -> None:
    token = logs.token()
    for hours in (1, 6, 2):
        logs.cloud.world.clock.move(hours=hours)
        logs.post(token, [a_report(f"report-{hours}")])
    assert [line.get("status") for line in logs.audit()] == [202, 202, None]
    assert timedelta(hours=8) < timedelta(hours=9)


def test_the_queries_of_the_runbook_ask_for_fields_that_the_lines_have(logs: Logs) -> None:
    stolen = logs.token()
    logs.post(stolen, [a_report("evil-event-1")], source=THIEF)
    logs.post("eyJ.x.y", [a_report("evil-event-1")], source=THIEF)
    logs.cloud.world.clock.move(hours=9)
    logs.post(stolen, [a_report("evil-event-2")], source=THIEF)
    logs.ask("GET", "/api/towns/one/status")
    logs.ask("GET", "/nowhere")
    known = {name for line in logs.audit() for name in line}
    page = (ROOT / "docs/runbook/token-stolen.md").read_text(encoding="utf-8")
    queries = [block for block in re.findall(r"```\n(.*?)```", page, re.DOTALL) if "filter" in block]
    assert len(queries) == 4
    for query in queries:
        asked = {name for line in re.findall(r"^fields (.*)$", query, re.MULTILINE) for name in line.split(", ")}
        asked |= set(re.findall(r"(\w+) = \"", query))
        assert {name for name in asked if not name.startswith("@")} <= known
        assert set(re.findall(r"event = \"([\w.]+)\"", query)) <= {line["event"] for line in logs.audit()}
    table = page.partition("## The lines")[2]
    assert known - {"event"} <= set(re.findall(r"`(\w+)`", table))

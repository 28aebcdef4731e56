"""The events API, in process: what is durable before anybody says yes, and what is refused before the store is asked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from functions.access import Access
from functions.audit import Trail
from functions.claims import Holder
from functions.events import app as events
from functions.ingestion import Ingestion
from functions.redrive import app as redrives
from functions.redrive.acknowledging import Links
from functions.settings import AccessRule
from shared.domain import strict_json
from shared.domain.senders import Sender
from shared.domain.times import to_text
from shared.intake import redrive
from shared.intake.repeats import KnownBatches
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts
from shared.storage.towns import ObjectTownStore
from shared.telemetry.emf import EmfMetrics
from shared.town import schemas
from tests.apis import LINK_KEYS
from tests.cloud import Cloud, a_cloud
from tests.counting import CountingObjects
from tests.documented import complaints
from tests.emf import metrics_of
from tests.http_events import OPERATOR, Answer, Context, request
from tests.scenarios.table import scenario
from tests.towns import T, a_town, event
from tests.upgrades.older import as_of_the_first_release
from tests.worlds import World, a_world

RULES = (AccessRule(callers=("*:assumed-role/Operator/*",), towns=("one", "new-*"), verbs=("read", "write")),)
EXPIRES = str(int((T + timedelta(hours=8)).timestamp()))


@dataclass
class EventsApi:
    cloud: Cloud
    lines: list[str] = field(default_factory=list)

    @property
    def world(self) -> World:
        return self.cloud.world

    def post(
        self, body: Any, town: str = "one", *, claims: dict[str, str] | None = None, encoded: bool = False
    ) -> Answer:
        shown = sender() if claims is None else claims
        return self.ask(request("POST", f"/api/towns/{town}/events", body, claims=shown, encoded=encoded))

    def ask(self, event_: dict[str, Any]) -> Answer:
        function = redrives if event_["rawPath"].endswith("/redrive") else events
        return Answer.of(function.lambda_handler(event_, Context()))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[EventsApi]:
    made = EventsApi(a_cloud(a_world(a_town("one"), a_town("two"))))
    metrics = EmfMetrics(made.lines.append, stage="test")
    ingestion = Ingestion(made.cloud.dispatcher.around, made.cloud.queue, metrics, made.lines.append)
    access = Access(RULES, made.lines.append)
    here, there = (
        events.EventsDeployment(ingestion, access, made.world.objects),
        redrives.RedriveDeployment(ingestion, access, Links(LINK_KEYS.copy, LINK_KEYS.copy)),
    )
    monkeypatch.setattr(events, "deployment", lambda: here)
    monkeypatch.setattr(redrives, "deployment", lambda: there)
    yield made
    for line in made.lines:
        shown = json.loads(line)
        if "_aws" in shown:
            metrics_of(shown)


def sender(scope: str = "container", town: str = "one", **more: str) -> dict[str, str]:
    return {"town": town, "scope": scope, "expires": EXPIRES, **more}


def a_report(
    event_id: str = "report-1", *, agent: str = "toast", message: str = "reading", **more: Any
) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "agent_heartbeat",
        "agent_id": agent,
        "payload": {"last_event_type": message},
    } | more


def a_completion(event_id: str = "done-0001", *, agent: str = "toast", **payload: Any) -> dict[str, Any]:
    fields = {"status": "completed", **payload}
    return {"event_id": event_id, "event_type": "agent_completed", "agent_id": agent, "payload": fields}


def stored(api: EventsApi, town: str = "one") -> list[dict[str, Any]]:
    found = []
    for key in api.world.inbox(town):
        lying = api.world.objects.get(key)
        assert lying is not None
        found += json.loads(lying.body)["events"]
    return found


def test_accepted_events_lie_in_the_inbox_under_a_marker_and_a_worker_is_called(api: EventsApi) -> None:
    api.world.clock.move(seconds=40)
    answer = api.post({"events": [a_completion(), a_completion("done-0002", agent="nux")]})

    assert answer.status == 202
    assert answer.document["accepted"] == ["done-0001", "done-0002"]
    assert [each["event_id"] for each in stored(api)] == ["done-0001", "done-0002"]
    assert T + timedelta(seconds=40) in api.world.markers("one")
    [wake] = api.cloud.queue.sent
    assert (wake.town_id, wake.due) == ("one", (T + timedelta(seconds=40),))
    assert wake.repeat_key == f"one:{answer.document['batchId']}"
    assert answer.headers["cache-control"] == "no-store"


def test_the_tick_that_a_wake_brings_takes_what_was_posted(api: EventsApi) -> None:
    api.post(a_completion())
    api.cloud.queue.pump(api.cloud.work)
    [record] = api.world.journal("one")
    assert [each["event_id"] for each in record["outputs"]["events"]] == ["done-0001~container"]
    assert api.world.inbox("one") == ()


def test_events_ten_seconds_apart_are_two_wakes(api: EventsApi) -> None:
    api.post(a_completion())
    api.world.clock.move(seconds=10)
    api.post(a_completion("done-0002"))
    assert len(api.cloud.queue.messages) == 2


def test_signs_of_life_wake_nobody(api: EventsApi) -> None:
    before = api.world.markers("one")
    assert api.post(a_report()).status == 202
    assert api.cloud.queue.sent == []
    assert api.world.markers("one") == before
    assert len(stored(api)) == 1


def test_a_queue_that_is_away_costs_time_and_nothing_else(api: EventsApi) -> None:
    api.cloud.queue.unavailable = True
    assert api.post(a_completion()).status == 202
    assert any(json.loads(line)["event"] == "wake.lost" for line in api.lines)
    api.world.clock.move(seconds=30)
    api.cloud.minute()
    assert api.world.journal("one")


def test_a_repeated_request_has_the_same_answer_and_changes_nothing(api: EventsApi) -> None:
    first = api.post(a_completion())
    api.world.clock.move(seconds=1)
    second = api.post(a_completion())

    assert first == second
    api.world.run(town_id="one")
    [record] = api.world.journal("one")
    assert len(record["outputs"]["events"]) == 1


def test_a_body_enters_the_strict_decoder_once(api: EventsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    original = strict_json.parse

    def counted(body: bytes, **more: Any) -> Any:
        decoded.append(body)
        return original(body, **more)

    monkeypatch.setattr(strict_json, "parse", counted)
    body = json.dumps([a_completion(generation=3), a_completion("done-0002", generation=3), a_report()]).encode()
    shown = sender("agent", agent="toast", generation="3")
    assert api.post(body, claims=shown).status == 202
    assert decoded == [body]

    [lying] = [api.world.objects.get(key) for key in api.world.inbox("one")]
    assert lying is not None
    events.deployment().ingestion.known = KnownBatches()  # another process
    decoded.clear()
    assert api.post(body, claims=shown).status == 202
    assert decoded == [body, lying.body]


def test_the_same_id_with_other_content_is_refused_within_a_batch_and_beside_what_waits(api: EventsApi) -> None:
    within = api.post([a_report(), a_report(message="writing")])
    assert (within.status, within.document["path"]) == (409, "events[1].event_id")
    assert stored(api) == []

    api.post(a_completion())
    beside = api.post([a_report("report-2"), a_completion(reason="another")])
    assert (beside.status, beside.document["path"]) == (409, "events[1].event_id")
    assert beside.is_problem
    assert len(stored(api)) == 1


def test_a_sign_of_life_costs_the_same_however_much_waits_and_one_listing_in_ten(api: EventsApi) -> None:
    """It listed the inbox and read each batch in it: with 100 agents, 58 requests a POST."""
    counting = CountingObjects(api.world.objects)
    api.cloud.world.objects = counting
    here = events.deployment().ingestion
    here.around = replace(here.around, store=api.world.store)
    for number in range(40):
        assert api.post(a_report(f"report-{number:04}", agent=f"agent-{number}")).status == 202
    assert counting.requests == {
        "start_of": 37 + 40,
        "create": 40,
        "list": 3,
    }  # a heartbeat is also answered with the drain


def test_an_event_that_wakes_is_compared_with_what_waits_of_its_own_sender_only(api: EventsApi) -> None:
    for number in range(30):
        assert api.post(a_report(f"report-{number:04}")).status == 202
        api.post(a_completion(f"done-{number:04}"), claims=sender("agent", agent="toast", generation="1"))
    counting = CountingObjects(api.world.objects)
    api.cloud.world.objects = counting
    here = events.deployment().ingestion
    here.around = replace(here.around, store=api.world.store)
    other = a_completion("done-0001") | {"agent_id": "nux"}
    assert api.post(other, claims=sender("agent", agent="nux", generation="1")).status == 202
    assert counting.requests["start_of"] == 0
    assert counting.requests["list"] == 1


def test_a_batch_that_waits_is_read_once_by_a_process_that_did_not_store_it_and_never_by_the_one_that_did(
    api: EventsApi,
) -> None:
    """Each POST read up to a hundred waiting batches of its sender again: 12 ms of a CPU at 50, and as many requests."""
    sent_by = sender("agent", agent="toast", generation="1")
    for number in range(5):
        assert api.post(a_completion(f"done-{number:04}"), claims=sent_by).status == 202
    counting = CountingObjects(api.world.objects)
    api.cloud.world.objects = counting
    around = replace(events.deployment().ingestion.around, store=api.world.store)
    here = events.deployment().ingestion
    here.around = around
    assert api.post(a_completion("done-0005"), claims=sent_by).status == 202
    assert counting.requests["start_of"] == 0

    here.known = KnownBatches()
    for number in (6, 7):
        assert api.post(a_completion(f"done-{number:04}"), claims=sent_by).status == 202
    assert counting.requests["start_of"] == 6
    conflict = api.post(a_completion("done-0001", reason="other"), claims=sent_by)
    assert conflict.status == 409
    assert counting.requests["start_of"] == 6


def test_what_a_tick_has_taken_is_judged_by_the_tick(api: EventsApi) -> None:
    api.post(a_completion(reason="first"))
    api.world.run(town_id="one")
    assert api.post(a_completion(reason="second")).status == 202
    api.world.clock.move(seconds=10)
    api.world.run(town_id="one")
    assert [each["outcome"] for each in api.world.journal("one")[-1]["outputs"]["events"]] == ["conflict"]


def test_a_call_lists_once(api: EventsApi) -> None:
    for number in range(5):
        api.post(a_report(f"report-{number}"))
    lists: list[str] = []
    original = api.world.objects.list

    def counted(prefix: str, **more: Any) -> Any:
        lists.append(prefix)
        return original(prefix, **more)

    api.world.objects.list = counted  # type: ignore[method-assign]
    api.post(a_completion())
    assert lists == ["towns/one/"]


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 401),
        ({"town": "one", "scope": "container"}, 401),
        (sender(scope="everything"), 401),
        (sender() | {"expires": str(int(T.timestamp()))}, 401),
        (sender() | {"expires": "soon"}, 401),
        (sender(town="two"), 404),
        (sender(town="nowhere"), 404),
        (sender(scope="agent", agent="nux"), 403),
        (sender(scope="coordinator", agent="nux"), 403),
        (sender(scope="agent", agent="toast", generation="2"), 403),
        (sender(scope="agent", agent="toast", generation="3"), 202),
        (sender(scope="agent", agent="toast"), 202),
        (sender(scope="coordinator", agent="toast"), 202),
        (sender(scope="container"), 202),
        (sender(scope="operator"), 202),
    ],
    ids=str,
)
def test_who_may_report_for_an_agent(api: EventsApi, claims: dict[str, str], status: int) -> None:
    answer = api.post(a_completion(generation=3), claims=claims)

    assert answer.status == status
    assert len(stored(api)) == (1 if status == 202 else 0)
    if status != 202:
        assert answer.is_problem
        assert api.cloud.queue.sent == []


@pytest.mark.parametrize(
    ("scope", "event_type", "allowed"),
    [
        ("agent", "agent_completed", True),
        ("agent", "bead_cancelled", False),
        ("agent", "town_started", False),
        ("agent", "container_ready", False),
        ("coordinator", "bead_cancelled", True),
        ("coordinator", "town_started", False),
        ("container", "bead_cancelled", False),
        ("container", "agent_done", False),
        ("container", "agent_status", False),
        ("container", "escalation_raised", False),
        ("container", "mayor_said", False),
        ("agent", "mayor_said", False),
        ("container", "container_ready", True),
        ("container", "town_started", False),
        ("operator", "town_started", True),
        ("operator", "bead_cancelled", True),
    ],
)
def test_what_a_scope_may_say(api: EventsApi, scope: str, event_type: str, *, allowed: bool) -> None:
    payload = {"agent_completed": {"status": "completed"}, "container_ready": {"nonce": "n"}}.get(event_type, {})
    body = {
        "event_id": "event-0001",
        "event_type": event_type,
        "bead_id": "b1",
        "agent_id": "toast",
        "payload": payload,
    }
    who = {"agent": "toast"} if scope in ("agent", "coordinator") else {}
    assert api.post(body, claims=sender(scope, **who)).status == (202 if allowed else 403)


def test_a_container_token_reports_for_every_agent_of_its_town_and_for_no_other_town(api: EventsApi) -> None:
    assert api.post([a_report("report-1", agent="toast"), a_report("report-2", agent="nux")]).status == 202
    assert api.post(a_report(), "two").status == 404
    assert stored(api, "two") == []


def test_a_foreign_town_and_a_missing_one_look_alike_and_store_nothing(api: EventsApi) -> None:
    before = api.world.objects.list("").keys
    foreign = api.post(a_report(), "two")
    missing = api.post(a_report(), "nowhere", claims=sender(town="nowhere"))
    elsewhere = api.post(a_report(), "nowhere")

    assert foreign == missing == elsewhere
    assert foreign.status == 404
    assert api.world.objects.list("").keys == before


LOOK_ALIKES = ["One", "one ", "one.", "ｏｎｅ", "о" + "ne", "..", "one%2Fhead", "-one", "o" * 65, "one\n", "one_"]


@pytest.mark.parametrize("town", LOOK_ALIKES)
@pytest.mark.parametrize(("method", "below"), [("POST", "/events"), ("PUT", ""), ("POST", "/events/e-1/redrive")])
def test_a_town_id_that_only_looks_like_one_is_no_town_and_the_store_is_not_asked(
    api: EventsApi, town: str, method: str, below: str
) -> None:
    asked = silence(api)
    event_ = request(method, f"/api/towns/{town}{below}", a_report(), claims=sender(town=town), caller=OPERATOR)
    assert api.ask(event_).status == (422 if method == "PUT" else 404)
    assert asked == []


HOSTILE: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"null", 400),
    (b"[]", 400),
    (b"{", 400),
    (b"[" * 100_000, 400),
    (b'{"a":' * 50_000, 400),
    (b'{"event_id": "x", "event_id": "y"}', 400),
    (b'\xff\xfe{"a": 1}', 400),
    (b'{"event_id": NaN}', 400),
    (b"9" * 100_000, 400),
    (b'{"events": [' + b"{}," * 101 + b"{}]}", 400),
    (b'"' + b"x" * (7 << 20) + b'"', 413),
    (json.dumps(a_report(payload={"last_event_type": "x" * 70_000})).encode(), 413),
    (json.dumps(a_report(agent="x" * 65)).encode(), 400),
    (json.dumps(a_report(event_type="no_such_event")).encode(), 400),
    (json.dumps(a_report(event_type="dispatch_result")).encode(), 400),
    (json.dumps(a_completion() | {"occurred_at": "2020-01-01T00:00:00Z"}).encode(), 410),
]


@pytest.mark.parametrize(("body", "status"), HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_hostile_body_is_refused_before_the_store_is_asked(
    api: EventsApi, body: bytes, status: int, *, encoded: bool
) -> None:
    encoded = encoded or body.startswith(b"\xff")  # the gateway encodes what is no UTF-8
    asked = silence(api)
    answer = api.post(body, encoded=encoded)

    assert answer.status == status
    assert answer.is_problem
    assert asked == []
    assert metrics_of(json.loads(api.lines[-1])) == {"eventsRefused": 1}


def silence(api: EventsApi) -> list[str]:
    """From now on the store notes who asks it."""
    asked: list[str] = []
    for name in ("get", "get_if_changed", "put", "create", "replace", "delete", "list"):
        setattr(api.world.objects, name, lambda *_, name=name, **__: asked.append(name))
    return asked


def test_a_store_that_does_not_answer_is_503_and_promises_nothing(api: EventsApi) -> None:
    from shared.domain.errors import StoreUnavailable

    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("no answer")

    api.world.objects.create = away  # type: ignore[method-assign]
    answer = api.post(a_completion())
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert api.cloud.queue.sent == []


def test_a_bug_is_500_and_says_nothing(api: EventsApi, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("the secret of another town")

    api.world.objects.list = broken  # type: ignore[method-assign]
    answer = api.post(a_completion())
    assert answer.status == 500
    assert answer.is_problem
    said = capsys.readouterr().out
    assert "request.broken" in said
    assert "secret" not in said + str(answer)


def test_while_a_town_drains_heartbeats_are_answered_with_its_nonce(api: EventsApi) -> None:
    beat = {"event_id": "heart-0001", "event_type": "agent_heartbeat", "agent_id": "toast", "payload": {}}
    assert api.post(beat).document["drainNonce"] is None

    leaving = {"event_id": "evict-0001", "event_type": "container_eviction", "payload": {}}
    nonce = api.post(leaving).document["drainNonce"]
    assert nonce
    api.world.run(town_id="one")
    assert api.post(beat | {"event_id": "heart-0002"}).document["drainNonce"] == nonce


@scenario(547)
def test_a_heartbeat_is_answered_without_the_pages_of_the_town(api: EventsApi) -> None:
    api.post({"event_id": "evict-0001", "event_type": "container_eviction", "payload": {}})
    api.world.run(town_id="one")
    nonce = api.world.town("one").value("drain")["nonce"]
    counted = CountingObjects(api.world.objects)
    around = replace(api.cloud.dispatcher.around, store=ObjectTownStore(counted))
    ingestion = Ingestion(around, api.cloud.queue, EmfMetrics(api.lines.append, stage="test"), api.lines.append)
    beat = json.dumps(a_report("heart-0001")).encode()
    holder = Holder("one", Sender("container"))
    answer = drive(ingestion.take("one", beat, holder, now=api.world.clock.now(), trail=Trail()))
    assert answer.drain_nonce == nonce
    assert counted.requests["get"] == counted.requests["get_if_changed"] == 0


@scenario(547)
def test_the_head_of_an_older_release_has_no_nonce_before_the_next_tick(api: EventsApi) -> None:
    draining = a_town("old").key("drain", {"nonce": "n-1", "started_at": to_text(T)})
    facts = CommitFacts("1-old", 1, T, T, schemas.OLDEST)
    drive(api.world.store.create("old", as_of_the_first_release(draining.image()), facts))
    assert api.post(a_report(), "old", claims=sender(town="old")).document["drainNonce"] is None
    api.world.run(town_id="old")
    answer = api.post(a_report("report-2"), "old", claims=sender(town="old"))
    assert answer.document["drainNonce"] == "n-1"


# --- what operators write -------------------------------------------------------------------------------------------


def put(town: str, body: Any = None, *, caller: str | None = OPERATOR) -> dict[str, Any]:
    return request("PUT", f"/api/towns/{town}", body, caller=caller)


def test_a_town_is_created_once_and_is_due_at_once(api: EventsApi) -> None:
    created = api.ask(put("new-one", {"config": {"merge_strategy": "pr"}, "paused": True}))
    assert (created.status, created.document["townId"], created.document["txid"]) == (201, "new-one", 1)
    assert api.world.markers("new-one") == [T]

    again = api.ask(put("new-one"))
    assert again.status == 409
    assert again.is_problem


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({"config": {"merge_strategy": "guess"}}, 400, None),
        ({"config": []}, 422, "config"),
        ({"paused": "yes"}, 422, "paused"),
        ({"other": 1}, 422, "other"),
        ([], 422, "body"),
        (b"{", 400, None),
        (b'{"config": {}, "config": {}}', 400, None),
        (b"x" * 70_000, 413, None),
    ],
)
def test_a_town_with_wrong_settings_is_not_created(api: EventsApi, body: Any, status: int, path: str | None) -> None:
    answer = api.ask(put("new-one", body))
    assert answer.status == status
    assert answer.is_problem
    assert path is None or answer.document.get("path", "") == path
    assert api.world.objects.get("towns/new-one/head") is None


def listed(page: dict[str, Any]) -> list[str]:
    return [town["townId"] for town in page["towns"]]


def test_the_list_holds_the_callers_towns_and_no_others(api: EventsApi) -> None:
    answer = api.ask(request("GET", "/api/towns", caller=OPERATOR)).document
    assert (listed(answer), answer["next"]) == (["one"], None)
    paged = api.ask(request("GET", "/api/towns", caller=OPERATOR, query={"limit": "1"})).document
    assert (listed(paged), paged["next"]) == (["one"], None)


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "many"}, {"after": "x" * 65}, {"after": "One"}], ids=str
)
def test_a_list_with_wrong_limits_is_unprocessable(api: EventsApi, query: dict[str, str]) -> None:
    answer = api.ask(request("GET", "/api/towns", caller=OPERATOR, query=query))
    assert answer.status == 422
    assert answer.is_problem


def test_a_poisoned_event_is_driven_again_under_a_name_of_its_own(
    api: EventsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.events.town import TownStarted

    def fail(*_: Any) -> Any:
        raise KeyError("not now")

    monkeypatch.setattr(TownStarted, "apply", fail)
    api.world.post(event("town_started", event_id="poisoned-event"), town_id="one")
    for _ in range(3):
        api.world.run(town_id="one")
        api.world.clock.move(seconds=10)

    answer = api.ask(request("POST", "/api/towns/one/events/poisoned-event/redrive", caller=OPERATOR))
    assert (answer.status, answer.document["accepted"]) == (202, ["poisoned-event:r1"])
    assert complaints("POST", "/api/towns/{townId}/events/{eventId}/redrive", 202, answer.document) == []
    [wake] = api.cloud.queue.sent
    assert wake.town_id == "one"
    second = api.ask(request("POST", "/api/towns/one/events/poisoned-event/redrive", caller=OPERATOR))
    assert second.document["accepted"] == ["poisoned-event:r2"]

    monkeypatch.setattr(redrive, "MOST_REDRIVES", 2)
    third = api.ask(request("POST", "/api/towns/one/events/poisoned-event/redrive", caller=OPERATOR))
    assert (third.status, third.document["path"]) == (409, "event_id")
    assert complaints("POST", "/api/towns/{townId}/events/{eventId}/redrive", 409, third.document) == []


def test_what_is_not_poisoned_cannot_be_driven_again(api: EventsApi) -> None:
    answer = api.ask(request("POST", "/api/towns/one/events/no-such-event/redrive", caller=OPERATOR))
    assert answer.status == 404
    assert answer.is_problem


WRITING = [("PUT", "/api/towns/{town}"), ("POST", "/api/towns/{town}/events/e-1/redrive")]


@pytest.mark.parametrize(("method", "path"), [*WRITING, ("GET", "/api/towns")])
@pytest.mark.parametrize("claims", [None, sender(), sender(scope="operator")], ids=["none", "container", "operator"])
def test_without_an_iam_identity_no_operators_route_answers(
    api: EventsApi, method: str, path: str, claims: dict[str, str] | None
) -> None:
    answer = api.ask(request(method, path.format(town="one"), claims=claims))
    assert (answer.status, answer.is_problem) == (401, True)


def test_a_town_that_is_not_the_callers_looks_like_none(api: EventsApi) -> None:
    path = "/api/towns/{town}/events/e-1/redrive"
    answers = {api.ask(request("POST", path.format(town=town), caller=OPERATOR)).status for town in ("two", "nowhere")}
    assert answers == {404}


def test_a_town_is_not_created_under_a_foreign_id_and_nobody_learns_whether_it_exists(api: EventsApi) -> None:
    there, nowhere = (api.ask(request("PUT", f"/api/towns/{town}", caller=OPERATOR)) for town in ("two", "nowhere"))
    assert there == nowhere
    assert (there.status, there.document["detail"]) == (403, "you may not create a town with this id")
    assert api.world.objects.get("towns/nowhere/head") is None


@pytest.mark.parametrize(("method", "path", "status"), [(*WRITING[0], 403), (*WRITING[1], 404)])
@pytest.mark.parametrize("caller", ["arn:aws:sts::123456789012:assumed-role/Reader/x", "arn:aws:iam::1:user/Operator"])
def test_another_caller_sees_no_town_at_all(api: EventsApi, method: str, path: str, status: int, caller: str) -> None:
    assert api.ask(request(method, path.format(town="one"), caller=caller)).status == status


def test_every_decision_leaves_a_line_with_caller_and_town(api: EventsApi) -> None:
    api.ask(put("new-one"))
    api.ask(put("two"))
    audit = [line for line in map(json.loads, api.lines) if line["event"].startswith("access.")]
    assert [(line["event"], line["caller"], line["verb"], line["town_id"]) for line in audit] == [
        ("access.granted", OPERATOR, "write", "new-one"),
        ("access.refused", OPERATOR, "write", "two"),
    ]


@pytest.mark.parametrize("path", ["/", "/api", "/api/towns/", "/api/towns/one/events/extra", "/api/towns/one/../two"])
def test_what_is_no_route_is_a_problem_document_too(api: EventsApi, path: str) -> None:
    answer = api.ask(request("DELETE", path, caller=OPERATOR))
    assert (answer.status, answer.is_problem) == (404, True)

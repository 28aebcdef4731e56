"""The debug API, in process: what operators are shown, and that nothing of it writes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.access import Access
from functions.debug import app as debug
from functions.settings import AccessRule, DebugSettings
from shared.domain.errors import Refused
from shared.domain.shapes import document
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.ports.agent_logs import AgentLogs
from shared.ports.town_past import TownPast
from shared.storage.agent_logs import StoredLogs
from shared.storage.restore import KeptPast
from tests.http_events import OPERATOR, Answer, Context, request
from tests.towns import T, a_town, event
from tests.worlds import World, a_world

GOLDEN = Path(__file__).with_name("status.golden.json")
READER = "arn:aws:sts::123456789012:assumed-role/Reader/somebody"
RULES = (
    AccessRule(callers=("*:assumed-role/Operator/*",), towns=("one",), verbs=("read", "debug")),
    AccessRule(callers=("*:assumed-role/Reader/*",), towns=("one",), verbs=("read",)),
)
READS = [
    ("GET", below)
    for below in (
        "/status",
        "/ticks",
        "/ticks/1",
        "/view",
        "/timeline?start=2026-01-10T00:00:00Z&end=2026-01-11T00:00:00Z",
        "/beads",
        "/beads/b1",
        "/agents",
        "/convoys",
        "/config",
        "/points",
        "/points/1",
        "/events",
        "/explain/beads/b1",
        "/explain/agents/mayor",
    )
]
DEBUGS = [("POST", "/debug/reconcile-dry-run"), ("POST", "/debug/replay-events")]
ROUTES = [*READS, *DEBUGS]


@dataclass(frozen=True)
class Here(debug.DebugDeployment):
    """The deployment over a world in memory."""

    world: World | None = None

    def past(self) -> TownPast:
        assert self.world is not None
        return StoredPast(self.world.objects, self.world.objects)  # type: ignore[arg-type]

    def logs(self) -> AgentLogs:
        assert self.world is not None
        return StoredLogs(self.world.objects)

    def kept_past(self, town_id: str) -> KeptPast:
        assert self.world is not None
        return KeptPast(self.world.objects, self.world.objects, town_id)  # type: ignore[arg-type]


@dataclass
class DebugApi:
    world: World
    lines: list[str] = field(default_factory=list)

    def ask(
        self,
        method: str,
        below: str,
        body: Any = None,
        *,
        town: str = "one",
        caller: str | None = OPERATOR,
        **more: Any,
    ) -> Answer:
        event_ = request(method, f"/api/towns/{town}{below}", body, caller=caller, **more)
        return Answer.of(debug.lambda_handler(event_, Context()))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[DebugApi]:
    world = a_world(a_town("one").bead("b1", rig_id="rig-1", title="Write the lexer"), a_town("two"))
    world.post(event("town_started"), town_id="one")
    world.run(town_id="one")
    made = DebugApi(world)
    settings = DebugSettings(stage="test", town_bucket="bucket")
    here = Here(settings, world.around, Access(RULES, made.lines.append), world)
    monkeypatch.setattr(debug, "deployment", lambda: here)
    before = {key: world.objects.get(key) for key in world.objects.list("").keys}
    yield made
    if "writes" not in made.lines:
        assert {key: world.objects.get(key) for key in world.objects.list("").keys} == before


def test_the_status_is_what_it_was_agreed_to_be(api: DebugApi) -> None:
    answer = api.ask("GET", "/status")
    assert answer.status == 200
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    (large,) = (each for each in answer.document["alarms"] if each["alarm"] == "image-large")
    assert 0 < large.pop("value") < large["threshold"], "the size of an image depends on the release of SQLite"
    large["value"] = 0
    assert answer.document == golden, (
        f"if this is meant, write the answer into {GOLDEN.name}: {json.dumps(answer.document)}"
    )


def test_alarms_are_judged_by_the_town_alone(api: DebugApi) -> None:
    raised = {each["alarm"]: each["raised"] for each in api.ask("GET", "/status").document["alarms"]}
    assert raised == {
        "invariant-violated": False,
        "events-pile-up": False,
        "event-waits-long": False,
        "event-poisoned": False,
        "breaker-open": False,
        "image-large": False,
    }


def test_a_dry_run_is_the_next_tick(api: DebugApi) -> None:
    api.lines.append("writes")
    api.world.clock.move(seconds=30)
    shown = api.ask("POST", "/debug/reconcile-dry-run").document
    done = api.world.run(town_id="one")

    assert done.tick is not None
    assert shown["quiet"] is done.tick.quiet
    assert shown["actions"] == [document(action) for action in done.tick.actions]
    assert [effect["effectId"] for effect in shown["effects"]] == [effect.effect_id for effect in done.tick.effects]
    assert shown["nextDueAt"] == (None if done.next_due is None else to_text(done.next_due))


def test_a_dry_run_shows_what_would_be_if(api: DebugApi) -> None:
    later = to_text(T + timedelta(hours=3))
    cancelled = {"event_id": "what-if-1", "event_type": "bead_cancelled", "bead_id": "b1", "payload": {}}
    shown = api.ask("POST", "/debug/reconcile-dry-run", {"now": later, "events": [cancelled]}).document

    assert shown["input"]["now"] == later
    assert ("what-if-1", "applied") in [(each["eventId"], each["outcome"]) for each in shown["events"]]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"now": "soon"}, 400),
        ({"now": "2026-01-10T12:00:00"}, 400),
        ({"other": 1}, 422),
        ({"events": [{}] * 101}, 422),
        ({"events": [{"event_id": "x"}]}, 400),
        (b"{", 400),
        (b'{"now": null, "now": null}', 400),
        (b"[" * 100_000, 400),
    ],
    ids=[str(number) for number in range(8)],
)
def test_a_wrong_wish_is_refused(api: DebugApi, body: Any, status: int) -> None:
    answer = api.ask("POST", "/debug/reconcile-dry-run", body)
    assert (answer.status, answer.is_problem) == (status, True)


def test_a_replay_runs_the_recorded_ticks_again_and_finds_them_equal(api: DebugApi) -> None:
    api.lines.append("writes")
    for number in range(3):
        api.world.clock.move(seconds=30)
        api.world.post(event("town_started", event_id=f"started-{number}"), town_id="one")
        api.world.run(town_id="one")
    now = api.world.clock.now()
    answer = api.ask("POST", "/debug/replay-events", {"from": to_text(T), "to": to_text(now)})

    assert answer.status == 200
    assert answer.document["exact"] is True
    assert answer.document["eventsReplayed"] >= 3
    assert [tick["tick"] for tick in answer.document["ticks"]] == [row["tick_no"] for row in api.world.journal("one")]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (None, "from is required: a time as in 2026-01-10T12:00:00Z"),
        ({"from": "2026-01-10T12:00:00Z"}, "to is required: a time as in 2026-01-10T12:00:00Z"),
        ({"from": "yesterday", "to": "2026-01-10T12:00:00Z"}, "from is not an ISO 8601 time: 'yesterday'"),
        ({"from": 1, "to": 2}, "from must be a text with a time, as in 2026-01-10T12:00:00Z"),
        ({"from": "2026-01-10T12:00:00Z", "to": "2026-01-10T11:00:00Z"}, "from is later than to"),
    ],
    ids=["nothing", "no end", "a word", "numbers", "backwards"],
)
def test_a_replay_of_no_window_is_refused_and_the_answer_says_why(api: DebugApi, body: Any, detail: str) -> None:
    answer = api.ask("POST", "/debug/replay-events", body)
    assert (answer.status, answer.document["detail"]) == (400, detail)
    assert answer.is_problem


def test_ticks_are_the_journal_and_are_paged_by_number(api: DebugApi) -> None:
    api.lines.append("writes")
    for number in range(4):
        api.world.clock.move(seconds=30)
        api.world.post(event("town_started", event_id=f"started-{number}"), town_id="one")
        api.world.run(town_id="one")
    rows = api.world.journal("one")

    assert [each["row"] for each in api.ask("GET", "/ticks").document["ticks"]] == rows
    newest = api.ask("GET", "/ticks", query={"limit": "2"}).document
    assert [each["row"] for each in newest["ticks"]] == rows[-2:]
    assert (newest["next"], newest["previous"]) == (None, rows[-2]["tick_no"])
    first = api.ask("GET", "/ticks", query={"limit": "2", "after": "0"}).document
    assert [each["tick"] for each in first["ticks"]] == [row["tick_no"] for row in rows[:2]]
    assert (first["next"], first["previous"]) == (rows[1]["tick_no"], None)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "129"}, {"limit": "x"}, {"after": "-1"}], ids=str)
def test_wrong_limits_are_unprocessable(api: DebugApi, query: dict[str, str]) -> None:
    answer = api.ask("GET", "/ticks", query=query)
    assert (answer.status, answer.is_problem) == (422, True)


def test_a_bead_is_shown_with_its_history(api: DebugApi) -> None:
    bead = api.ask("GET", "/beads/b1").document["bead"]
    assert (bead["beadId"], bead["title"], bead["status"]) == ("b1", "Write the lexer", bead["status"])
    assert bead["labels"] == []
    assert api.ask("GET", "/beads/b2").status == 404


@pytest.mark.parametrize(("method", "below"), ROUTES)
def test_nobody_is_refused_on_every_route(api: DebugApi, method: str, below: str) -> None:
    answer = api.ask(method, below, caller=None)
    assert (answer.status, answer.is_problem) == (401, True)


@pytest.mark.parametrize(("method", "below"), ROUTES)
def test_a_town_token_opens_no_route_of_the_debug_api(api: DebugApi, method: str, below: str) -> None:
    claims = {"town": "one", "scope": "operator", "expires": "99999999999"}
    assert api.ask(method, below, caller=None, claims=claims).status == 401


@pytest.mark.parametrize(("method", "below"), ROUTES)
@pytest.mark.parametrize("caller", [OPERATOR, READER])
def test_foreign_and_missing_towns_look_alike_to_everybody(api: DebugApi, method: str, below: str, caller: str) -> None:
    foreign, missing, impossible = (
        api.ask(method, below, town=town, caller=caller) for town in ("two", "nowhere", "...")
    )
    assert foreign == missing == impossible
    assert foreign.status == 404


@pytest.mark.parametrize(("method", "below"), ROUTES)
def test_a_missing_town_that_is_allowed_looks_the_same_too(
    api: DebugApi, method: str, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = api.ask(method, below, {"from": to_text(T), "to": to_text(T)} if "replay" in below else None, town="two")
    here = debug.deployment()
    everything = (AccessRule(callers=("*",), towns=("*",), verbs=("read", "debug")),)
    there = Here(here.settings, here.around, Access(everything, api.lines.append), api.world)
    monkeypatch.setattr(debug, "deployment", lambda: there)
    missing = api.ask(
        method, below, {"from": to_text(T), "to": to_text(T)} if "replay" in below else None, town="nowhere"
    )
    assert missing == foreign


@pytest.mark.parametrize(("method", "below"), ROUTES)
def test_who_may_only_read_may_not_debug(api: DebugApi, method: str, below: str) -> None:
    answer = api.ask(method, below, caller=READER)
    assert (answer.status == 403) is ((method, below) in DEBUGS)


def test_every_answer_leaves_a_line_with_the_callers_arn(api: DebugApi) -> None:
    api.ask("GET", "/status")
    api.ask("GET", "/status", town="two")
    audit = [json.loads(line) for line in api.lines]
    assert [(line["event"], line["caller"], line["town_id"]) for line in audit] == [
        ("access.granted", OPERATOR, "one"),
        ("access.refused", OPERATOR, "two"),
    ]


def test_health_names_the_deployment_and_asks_no_store(api: DebugApi) -> None:
    healthy = Answer.of(debug.lambda_handler(request("GET", "/api/health", caller=READER), Context()))
    assert (healthy.status, healthy.document["stage"]) == (200, "test")
    assert Answer.of(debug.lambda_handler(request("GET", "/api/health"), Context())).status == 401


@pytest.mark.parametrize(
    "town", ["One", "one ", "..", "%6fne", "one\n", "о" + "ne", "one/../two", "o" * 65, "-one", ""], ids=repr
)
@pytest.mark.parametrize(("method", "below"), ROUTES)
def test_a_look_alike_of_a_town_id_never_reaches_the_store(api: DebugApi, town: str, method: str, below: str) -> None:
    for name in ("get", "list", "get_if_changed"):
        setattr(api.world.objects, name, None)
    answer = api.ask(method, below, town=town)
    for name in ("get", "list", "get_if_changed"):
        delattr(api.world.objects, name)
    assert (answer.status, answer.is_problem) == (404, True)


def test_quotation_marks_count_twice_because_a_lambda_returns_the_answer_as_a_text_in_json() -> None:
    from functions import api as shared_api

    with pytest.raises(Refused) as refused:
        shared_api.answer(200, {"text": '"' * (shared_api.ANSWER_SIZE // 3)})
    assert (refused.value.status, "limit" in refused.value.hint) == (413, True)


def test_an_answer_that_a_lambda_could_not_give_is_refused(api: DebugApi, monkeypatch: pytest.MonkeyPatch) -> None:
    from functions import api as shared_api

    monkeypatch.setattr(shared_api, "ANSWER_SIZE", 100)
    answer = api.ask("GET", "/status")
    assert (answer.status, answer.is_problem) == (413, True)

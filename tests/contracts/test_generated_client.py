"""A client that openapi-python-client generates from the OpenAPI document: it reads every answer and gives the same JSON back.

A generator reads the document as strangers do: it needs a name for every shape, and it drops a field that the document does not
have. So a comparison of what was sent with what the client read finds both.
"""

import enum
import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType

from infra.ops import openapi
from shared.ports.agent_logs import LogName
from shared.ports.steps import drive
from shared.questions.agent_log import starts_on
from shared.storage.agent_logs import StoredLogs
from shared.town import migrations
from tests import apis
from tests.cloud import a_cloud
from tests.contracts.standing_towns import (
    LONG,
    MIXED,
    ODD,
    ODD_IDS,
    REASONS,
    REPEATED,
    RESTORED,
    WAITS,
    a_world_that_stands_still,
    a_world_with_a_long_past,
    a_world_with_a_restored_town,
    an_event_comes_again,
)
from tests.documented import below
from tests.replayed import a_busy_world
from tests.towns import T, a_town
from tests.worlds import World, a_world

PACKAGE = "generated_client"
OPERATIONS = {
    operation["operationId"]: operation["tags"][0]
    for operations in json.loads(openapi.TARGET.read_text(encoding="utf-8"))["paths"].values()
    for operation in operations.values()
}
_EVENTS = 5
_POINTS = 3
NEVER_SEEN = {
    # actions are skipped or fail only where rules contradict each other
    "ActionOutcome": {"skipped", "failed"},
    # the mayors of these towns have said nothing, and no town is set aside
    "AttentionKind": {"mayor", "set_aside"},
    # a snapshot lists only effects that are not finished
    "EffectState": {"done", "failed", "expired"},
    # the events of these towns were written without tokens, so they have no senders
    "Scope": {"agent", "coordinator", "container", "operator"},
    # towns of examples have no channel to people
    "EffectKind": {"send_notice"},
    # only a gap in the journal leaves nothing to compare with
    "ComparedBy": {"none"},
    # what lies in a bucket was reported; only townctl reads the logs of its own machine
    "LogWriter": {"machine"},
    # nobody asks for a credential
    "ForgeKind": {"github", "gitlab"},
    # nothing in these towns was moved to another time, or stopped by an event that is left out
    "WhyUnknown": {"reported_before", "stopped"},
    # these waits are the town's; a poll waits for its turn only in a crowd
    "TimeGuard": {"breaker_open", "mayor_idle", "nudge_life", "poll_turn", "token_fresh"},
}
"""Words that no answer about these towns has."""
SHARED = {"Event", "JsonObject", "MergeMode", "Priority", "ProcessState", "Task"}
"""Parts of events that answers have too, or whose names begin other names."""
AS_STORED = ("JournalRow", "Envelope")
"""Rows and events as they are stored, with times as text."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


LISTS = ("listReviews", "listRigs", "listEscalations", "listMail")
NOT_GENERATED = {"putAgentLog"}
"""Its body is plain text, which the generator leaves out."""
OLD, OLDER = "old", "older"
NOT_ASKED = {"refreshToken", "showEscalation", "acknowledgeEscalation"}
"""It needs the token of an agent at work (tests/unit/functions/test_credentials.py asks it), or the pages are for people."""
LOGS = (
    LogName("of-the-container", 1, "log", "container"),
    LogName("of-the-agent", 1, "transcript", "agent"),
)


class InProcess(httpx.BaseTransport):
    """Requests go to the functions of this process."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.decode().partition("?")
        parts = path.removeprefix("/api/agents/towns/").removeprefix("/api/towns/").split("/")
        town = parts[0] or "t1"
        answered = apis.through_the_gateway(
            request.method, path, query, request.read(), headers=dict(request.headers), town=town
        )
        return httpx.Response(answered["statusCode"], headers=answered["headers"], text=answered.get("body") or "")


@dataclass(frozen=True)
class Answered:
    """What the client read from an answer, and the JSON of that answer."""

    status: int
    parsed: Any
    sent: Any


class Client:
    """The generated client, called by the names of the operations."""

    def __init__(self, folder: Path) -> None:
        target = folder / PACKAGE
        config = Config.from_sources(
            ConfigFile(post_hooks=[]),  # without ruff, which would only make it pretty
            MetaType.NONE,
            document_source=openapi.TARGET,
            file_encoding="utf-8",
            overwrite=False,
            output_path=target,
        )
        self.warnings = [f"{each.header} {each.detail}" for each in generate(config=config)]
        self.code = {path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*.py")}
        self.models = importlib.import_module(f"{PACKAGE}.models")
        made = importlib.import_module(f"{PACKAGE}.client").AuthenticatedClient
        self._connection = made("http://towns.example", "token", httpx_args={"transport": InProcess()})

    def ask(self, operation: str, *ids: str, **parameters: Any) -> Answered:
        """The answer of an operation. A body is given as JSON and sent as the client's own model of it."""
        module = importlib.import_module(f"{PACKAGE}.api.{OPERATIONS[operation]}.{in_snake_case(operation)}")
        response = module.sync_detailed(*ids, client=self._connection, **parameters)
        return Answered(int(response.status_code), response.parsed, json.loads(response.content))

    def model(self, name: str, said: Mapping[str, Any]) -> Any:
        """A value of one of its models."""
        return getattr(self.models, name).from_dict(said)


def in_snake_case(operation: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", operation).lower()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("generated")
    sys.path.insert(0, str(folder))
    try:
        yield Client(folder)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]


def complaints(answered: Answered) -> list[str]:
    """Where the client did not understand an answer, or gives another JSON back."""
    if not attrs.has(type(answered.parsed)):
        return [f"{answered.status} is not read: {answered.sent}"]
    return [*unread(answered.parsed), *differences(answered.sent, answered.parsed.to_dict())]


def differences(sent: Any, given: Any, place: str = "$") -> Iterator[str]:
    """Where two documents differ; times are compared as times."""
    if isinstance(sent, dict) and isinstance(given, dict):
        for name in sent.keys() | given.keys():
            yield from differences(sent.get(name, "(nothing)"), given.get(name, "(nothing)"), f"{place}.{name}")
    elif isinstance(sent, list) and isinstance(given, list) and len(sent) == len(given):
        for number, pair in enumerate(zip(sent, given, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif sent != given and (not is_time(sent) or not is_time(given) or at(sent) != at(given)):
        yield f"{place}: {sent!r} became {given!r}"


def is_time(value: object) -> bool:
    return type(value) is str and TIME.match(value) is not None


def at(value: str) -> datetime:
    return datetime.fromisoformat(value)


def unread(model: Any) -> Iterator[str]:
    """The fields of a model in which JSON stands as it was sent, where the model has a type for it."""
    for field in attrs.fields(type(model)):
        if type(model).__name__ in AS_STORED or field.name == "additional_properties" or field.type == "Any":
            continue
        value = getattr(model, field.name)
        for each in value if isinstance(value, list) else [value]:
            name = f"{type(model).__name__}.{field.name}"
            if attrs.has(type(each)):
                yield from unread(each)
            elif isinstance(each, dict) or (type(each) is str and "str" not in field.type):
                yield f"{name} is not read as {field.type}: {each}"
            elif is_time(each):
                yield f"{name} is a time, but read as text: {each}"


def test_a_client_is_generated_without_a_warning_except_for_the_plain_text_that_generators_leave_out(
    client: Client,
) -> None:
    [warning] = client.warnings
    assert "PUT /api/towns/{townId}/agents/{agentId}/log" in warning
    assert "text/plain" in warning


class Questioner:
    """Asks every question about towns, and keeps the answers by operation."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answers: dict[str, list[Answered]] = {name: [] for name in OPERATIONS}

    def ask(self, operation: str, *ids: str, body: tuple[str, Any] | None = None, **parameters: Any) -> Any:
        """The model that an operation answers. A body is the name of its model, and its JSON."""
        if body is not None:
            parameters["body"] = self.client.model(*body)
        answered = self.client.ask(operation, *ids, **parameters)
        self.answers[operation].append(answered)
        return answered.parsed

    def the_whole(self, town: str) -> None:
        """Every list of a town, and every bead and agent."""
        self.ask("getTownStatus", town)
        self.ask("listTicks", town, after=0)
        for point in self.ask("listRestorePoints", town, limit=200).points[:_POINTS]:
            self.ask("getRestorePoint", town, str(point.txid))
        for operation in ("listTicks", "listConvoys", "getTownConfig", "listMayorMessages", *LISTS):
            self.ask(operation, town)
        for state in self.client.models.EventStateFilter:
            for event in self.ask("listEvents", town, state=state, limit=200).events[:_EVENTS]:
                self.ask("getEvent", town, event.event_id)
        self.ask("listSettingChanges", town)
        for bead in self.ask("listBeads", town, limit=200).beads:
            self.ask("getBead", town, bead.bead_id)
            self.ask("explainBead", town, bead.bead_id)
        for agent in self.ask("listAgents", town).agents:
            self.ask("getBead", town, agent.agent_id)
            self.ask("explainAgent", town, agent.agent_id)

    def logs(self, world: World, town: str) -> None:
        """Logs of every kind, and that of the first bead for which an agent was started."""
        shelf = StoredLogs(world.objects)
        for name in LOGS:
            drive(shelf.keep(town, name, "12 tests passed\n", at=T))
            self.ask("getAgentLog", town, name.agent_id, kind=self.client.models.LogKind(name.kind))
        for bead in self.ask("listBeads", town, limit=200).beads:
            with migrations.readable(world.image(town).content) as sql:
                starts = starts_on(sql, bead.bead_id)
            if starts:
                agent_id, generation = starts[0]
                drive(shelf.keep(town, LogName(agent_id, generation, "log", "container"), "12 tests passed\n", at=T))
                self.ask("getBeadLog", town, bead.bead_id)
                return

    def as_the_mayor(self, town: str) -> None:
        """Every question of agents about a town whose mayor has the id `mayor`."""
        for operation in (
            "getTownForAgent",
            "listAgentsForAgent",
            "listConvoysForAgent",
            *(f"{each}ForAgent" for each in LISTS),
        ):
            self.ask(operation, town)
        for bead in self.ask("listBeadsForAgent", town, limit=50).beads:
            self.ask("getBeadForAgent", town, bead.bead_id)
        self.ask("explainBeadForAgent", town, bead.bead_id)
        self.ask("explainAgentForAgent", town, "mayor")

    def what_happened(self, town: str, start: datetime, end: datetime) -> None:
        """The town at both ends of a window, the timeline of the window, and the newest ticks in full."""
        self.ask("getTownView", town)
        self.ask("getTownView", town, at=start)
        self.ask("getTimeline", town, start=start, end=end)
        for each in self.ask("listTicks", town, limit=3).ticks:
            self.ask("getTick", town, str(each.tick))

    def what_would_be(self, town: str, start: datetime, end: datetime) -> None:
        """The dry run, the replay of a window, and that window with a change."""
        self.ask("reconcileDryRun", town, body=("DryRunRequest", {"observe": True}))
        window = {"from": start.isoformat(), "to": end.isoformat()}
        page = self.ask("replayEvents", town, body=("ReplayRequest", window))
        while page.cursor is not None:
            page = self.ask("replayEvents", town, body=("ReplayRequest", {**window, "cursor": page.cursor}))
        self.ask("replayEvents", town, body=("ReplayRequest", {**window, "overrides": {"shiftMs": 1000}}))
        another = {"config": {"default_model": "another", "max_dispatch_attempts": 1}}
        self.ask("replayEvents", town, body=("ReplayRequest", {**window, "overrides": another}))


@contextmanager
def served(world: World) -> Iterator[World]:
    """The functions stand before the towns of a world."""
    with pytest.MonkeyPatch.context() as patched:
        apis.deploy(a_cloud(world), patched)
        yield world


@pytest.fixture
def standing() -> Iterator[World]:
    with served(a_world_that_stands_still()) as world:
        yield world


@pytest.fixture(scope="module")
def answers(client: Client) -> dict[str, list[Answered]]:
    questioner = Questioner(client)
    for world, town, since in (
        (a_busy_world(), "t1", timedelta(hours=1)),
        (a_world_with_a_long_past(), LONG, timedelta(minutes=4)),
    ):
        with served(world):
            questioner.the_whole(town)
            questioner.logs(world, town)
            window = (max(T, world.clock.now() - since), world.clock.now())
            questioner.what_happened(town, *window)
            questioner.what_would_be(town, *window)
    with served(world := a_world_with_a_restored_town()):
        questioner.the_whole(RESTORED)
        questioner.what_happened(RESTORED, T, world.clock.now())
    with served(world := a_world_that_stands_still()):
        about_the_standing(questioner)
        an_event_comes_again(world)
        questioner.the_whole(REPEATED)
        questioner.ask("explainBead", REPEATED, "torn")
        questioner.what_happened(REPEATED, T, world.clock.now())
        questioner.what_would_be(REPEATED, T, world.clock.now())
        written(questioner)
    with served(a_world(*(a_town(town).key("paused", True) for town in (OLD, OLDER)))):
        put_away(questioner)
    return questioner.answers


def about_the_standing(questioner: Questioner) -> None:
    """What the towns are for: all of the mixed one, the reasons and the waits of the others."""
    for operation in ("getHealth", "getOpenapiDocument", "listTowns"):
        questioner.ask(operation)
    questioner.the_whole(MIXED)
    questioner.as_the_mayor(MIXED)
    questioner.ask("reconcileDryRun", MIXED, body=("DryRunRequest", {"observe": True}))
    for town in REASONS:
        questioner.ask("getTownStatus", town)
    for town, (row, _) in WAITS.items():
        is_agent = row in ("p", "f")
        questioner.ask("explainAgent" if is_agent else "explainBead", town, row)


def written(questioner: Questioner) -> None:
    """Everything that is posted, in each of its forms."""
    an_event = {"event_id": "started-01", "event_type": "town_started", "payload": {}}
    questioner.ask("createTown", "new", body=("NewTown", {"config": {"max_polecats_per_rig": 3}}))
    questioner.ask("postEvents", MIXED, body=("TownStartedEvent", an_event))
    questioner.ask("postEvents", MIXED, body=("EventBatch", {"events": [{**an_event, "event_id": "started-02"}]}))
    paused = {"event_id": "paused-01", "event_type": "town_paused", "payload": {"by": "ann"}}
    questioner.ask("postOperatorEvents", MIXED, body=("TownPausedEvent", paused))
    leaving = {"event_id": "eviction-1", "event_type": "container_eviction", "occurred_at": T.isoformat()}
    questioner.ask("postEvents", MIXED, body=("ContainerEvictionEvent", leaving))
    questioner.ask("redriveEvent", MIXED, "event-1")
    questioner.ask("resumeTown", MIXED)
    questioner.ask("sayToMayor", MIXED, body=("Words", {"text": "Plan a parser.", "messageId": "message-001"}))


def put_away(questioner: Questioner) -> None:
    """Two paused towns are archived; one is brought back, one deleted for good."""
    for town in (OLD, OLDER):
        questioner.ask("archiveTown", town, body=("ArchiveTown", {"confirm": town, "reason": "over"}))
    questioner.ask("listArchivedTowns")
    questioner.ask("bringTownBack", OLD)
    questioner.ask("deleteTown", OLDER, body=("DeleteTown", {"confirm": OLDER, "now": True}))


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - NOT_GENERATED - NOT_ASKED))
def test_every_answer_is_read_and_comes_back_as_it_was_sent(answers: dict[str, list[Answered]], operation: str) -> None:
    given = answers[operation]
    assert given
    assert [each.sent for each in given if each.status >= 300] == []
    assert [complaint for each in given for complaint in complaints(each)] == []


def words_in(model: Any) -> Iterator[enum.Enum]:
    """Every word of a closed set in an answer."""
    if attrs.has(type(model)):
        for field in attrs.fields(type(model)):
            yield from words_in(getattr(model, field.name))
    elif isinstance(model, list | dict):
        for each in model.values() if isinstance(model, dict) else model:
            yield from words_in(each)
    elif isinstance(model, enum.Enum):
        yield model


def is_posted(name: str) -> bool:
    """Whether a class belongs to an event: it is named after its component, and after the field that it is the type of."""
    return any(name.startswith(component) for component in below("Event") - SHARED)


def test_every_word_of_every_closed_set_is_answered(client: Client, answers: dict[str, list[Answered]]) -> None:
    seen = {(type(word), word.value) for given in answers.values() for each in given for word in words_in(each.parsed)}
    missing: dict[str, set[str]] = {}
    for name, words in vars(client.models).items():
        if (
            isinstance(words, type)
            and issubclass(words, enum.Enum)
            and not name.endswith("Filter")
            and not is_posted(name)
        ):
            missing[name] = {word.value for word in words if (words, word.value) not in seen}
    assert {name: words for name, words in missing.items() if words} == NEVER_SEEN


def test_the_names_of_the_client_are_those_of_the_document(client: Client) -> None:
    """Another class would stand for a shape without a name, and be called `WaitingReasonType0` or `GetBeadResponse200`."""
    components = json.loads(openapi.TARGET.read_text(encoding="utf-8"))["components"]["schemas"]
    beside = {name for name in set(client.models.__all__) - set(components) if not is_posted(name)}
    assert beside == {"BeadSummaryByStatus", "ObservationsAgents"}
    for name, component in components.items():  # in the code of a class, such a list would have the name of the object
        lists = {field.lower() for field, shape in component.get("properties", {}).items() if "items" in shape}
        assert name.lower() not in lists
    assert {in_snake_case(name) for name in OPERATIONS.keys() - NOT_GENERATED} == {
        Path(path).stem for path in client.code if path.startswith("api/") and path.count("/") == 2
    } - {"__init__"}


def test_a_refusal_is_read_as_a_problem(client: Client, standing: World) -> None:
    window = {"from": "2027-01-01T00:00:00Z", "to": "2027-01-02T00:00:00Z"}
    old = {"event_id": "long-ago-1", "event_type": "town_started", "occurred_at": "2020-01-01T00:00:00Z"}
    refused = {
        "the window is in the future": client.ask("replayEvents", MIXED, body=client.model("ReplayRequest", window)),
        "there is no such town": client.ask("getTownStatus", "nowhere"),
        "there is no such bead": client.ask("explainBead", MIXED, "a/b?"),
        "it exists": client.ask("createTown", MIXED, body=client.model("NewTown", {})),
        "it is too old": client.ask("postEvents", MIXED, body=client.model("TownStartedEvent", old)),
        "it is out of range": client.ask("listTicks", MIXED, limit=100_000),
    }
    assert {why: (each.status, type(each.parsed).__name__) for why, each in refused.items()} == {
        "the window is in the future": (400, "Problem"),
        "there is no such town": (404, "Problem"),
        "there is no such bead": (404, "Problem"),
        "it exists": (409, "Problem"),
        "it is too old": (410, "Problem"),
        "it is out of range": (422, "Problem"),
    }
    assert [complaint for each in refused.values() for complaint in complaints(each)] == []


def test_a_bead_with_any_id_can_be_asked_for(client: Client, standing: World) -> None:
    for bead in ODD_IDS:
        assert client.ask("getBead", ODD, bead).parsed.bead.bead_id == bead
        assert client.ask("explainBead", ODD, bead).parsed.id == bead


def test_an_answer_that_the_document_does_not_have_is_detected(client: Client, standing: World) -> None:
    answered = client.ask("getTownStatus", MIXED)
    sent = answered.sent
    sent["waiting"][0]["surprise"] = 1
    assert complaints(answered) == ["$.waiting[0].surprise: 1 became '(nothing)'"]
    wrong = {**sent, "waiting": [{**sent["waiting"][1], "reason": "no_reason"}], "nextDueAt": "soon"}
    assert len(complaints(Answered(200, client.model("TownStatus", wrong), wrong))) == 2

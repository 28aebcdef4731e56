"""Agents on ECS: what is asked of AWS, and what each of its answers is taken for."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.agents.control_server.requests import StartAgentRequest
from shared.adapters import ecs_tasks
from shared.adapters.control_server import CallSeconds, ControlServerRuntime
from shared.adapters.ecs_runtime import EcsAgents, EcsContainers
from shared.adapters.ecs_tasks import LONGEST_CALL_SECONDS, EcsSettings, EcsTask, EcsTasks, NotSeen
from shared.adapters.s3_objects import S3Objects
from shared.adapters.s3_shelf import S3Shelf
from shared.domain.errors import StoreUnavailable
from shared.domain.orders import ModelOrder, TokenOrder
from shared.domain.processes import ProcessStatus
from shared.ports.runtime import Awake, Done, NotDone, Started, StartRejected, StartUnknown
from tests.control_servers import PATIENT
from tests.fargate import NO_CAPACITY, Fargate, a_fargate, environment_of, key_of
from tests.integration.test_agent_runtimes import order
from tests.patience import PATIENCE_SECONDS

EFFECT = "e" * 64


@pytest.fixture
def fargate(tmp_path: Path) -> Iterator[Fargate]:
    with a_fargate(tmp_path) as fargate:
        yield fargate


def agents(fargate: Fargate, **more: Any) -> EcsAgents:
    return EcsAgents(fargate.tasks, shelf=fargate.keep, address_of=fargate.address_of, key_of=key_of, **more)


def containers(fargate: Fargate) -> EcsContainers:
    return EcsContainers(fargate.tasks, address_of=fargate.address_of, look_every=0.02, wall=lambda: 1_000_000.0)


def _minted(town_id: str, *, scope: str, agent_id: str | None = None, generation: int | None = None) -> str:
    return f"secret-{scope}-{agent_id}"


def test_a_task_is_asked_for_with_token_town_and_several_subnets_and_without_any_secret(fargate: Fargate) -> None:
    long = order(bead={"id": "b1", "title": "t", "body": "x" * 32_000})
    started = agents(fargate, mint=_minted, api="https://api.example.com").start(long, effect_id=EFFECT)
    [request] = fargate.requests
    assert started == Started(fargate.living()[0])
    assert (request["clientToken"], request["startedBy"], request["launchType"]) == (EFFECT, "town/t1", "FARGATE")
    network = request["networkConfiguration"]["awsvpcConfiguration"]
    assert len(network["subnets"]) == 2
    assert network["assignPublicIp"] == "DISABLED"
    assert "secret" not in json.dumps(request)
    assert len(json.dumps(request["overrides"])) < 8192
    body = StartAgentRequest.model_validate_json(fargate.shelf[environment_of(request)["TOWN_START_URL"]])
    assert body.env_vars["TOWN_TOKEN"] == "secret-agent-a1"
    assert body.organization_id == "org-1"


def test_a_provider_of_the_cluster_takes_the_place_of_the_launch_type(fargate: Fargate) -> None:
    """ECS takes one of the two and refuses both."""
    settings = EcsSettings("towns", "agent", ["subnet-1"], ["sg-1"], capacity="FARGATE_SPOT")
    seen: list[dict[str, Any]] = []

    class Client:
        def run_task(self, **request: Any) -> dict[str, Any]:
            seen.append(request)
            return {"tasks": [], "failures": [NO_CAPACITY]}

    EcsTasks(settings, client=Client).run("t1", token=EFFECT, environment={}, tags={})
    assert seen[0]["capacityProviderStrategy"] == [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    assert "launchType" not in seen[0]


@pytest.mark.parametrize("agent_id", ["a1", "Toast, the 2nd", "aws:me", "café", '"quoted"'])
def test_an_agent_is_found_by_its_tag_whatever_its_id_is_made_of(fargate: Fargate, agent_id: str) -> None:
    """An id may hold any printable character; a value of a tag may not."""
    runtime = agents(fargate)
    assert isinstance(runtime.start(order(agent_id=agent_id), effect_id=EFFECT), Started)
    assert runtime.status("t1", agent_id) == ProcessStatus("running", generation=1)
    [request] = fargate.requests
    for tag in request["tags"]:
        assert re.fullmatch(r"(?!aws:)[A-Za-z0-9 +\-=._:/@]{1,256}", tag["value"])


def test_the_server_in_the_task_of_one_agent_has_a_token_of_its_own_from_the_start(fargate: Fargate) -> None:
    """Nobody calls it to hand it one, and without it, it could not say that its agent has ended."""
    agents(fargate, mint=_minted).start(order(), effect_id=EFFECT)
    [server] = fargate.servers.values()
    root = server.settings.root
    assert (root / "token").read_text() == "secret-container-None"
    assert [file.read_text() for file in (root / "tokens").iterdir()] == ["secret-agent-a1"]
    given = [path.read_text() for path in root.rglob("*") if path.is_file() and path != root / "token"]
    assert not any("secret-container" in text for text in given)


FULL = {"reason": "You've reached the limit on the number of vCPUs you can run concurrently"}


@pytest.mark.parametrize("failure", [NO_CAPACITY, {"reason": "RESOURCE:ENI"}, FULL])
def test_a_200_without_capacity_is_a_no_of_its_own_kind(fargate: Fargate, failure: dict[str, str]) -> None:
    fargate.failures.append(failure)
    answer = agents(fargate).start(order(), effect_id=EFFECT)
    assert answer == StartRejected(f"ECS started no task: {failure['reason']}", kind="no_capacity")
    assert isinstance(agents(fargate).start(order(2), effect_id="f" * 64), Started)


def test_a_lost_answer_is_no_second_task(fargate: Fargate) -> None:
    """The task was run, the answer was not heard: it is looked for and found under its effect id."""
    fargate.lost_answers = 1
    runtime = agents(fargate)
    assert runtime.start(order(), effect_id=EFFECT) == Started(fargate.living()[0])
    assert runtime.start(order(), effect_id=EFFECT) == Started(fargate.living()[0])
    assert len(fargate.living()) == 1


def test_a_task_that_cannot_be_found_after_a_lost_answer_is_unknown(
    fargate: Fargate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECS is eventually consistent: it may not show yet what it has started."""
    fargate.lost_answers = 1
    monkeypatch.setattr(Fargate, "list_tasks", lambda self, **_: {"taskArns": []})
    assert isinstance(agents(fargate).start(order(), effect_id=EFFECT), StartUnknown)


def test_a_task_that_is_not_up_yet_is_starting_and_cannot_be_written_to(fargate: Fargate) -> None:
    fargate.boot = False
    runtime = agents(fargate)
    started = runtime.start(order(), effect_id=EFFECT)
    assert isinstance(started, Started)
    assert runtime.status("t1", "a1") == ProcessStatus("starting", generation=1)
    answer = runtime.message("t1", "a1", message_id="m1", text="hi", mode="queue")
    assert answer == NotDone("the agent is not running", passing=True)
    fargate.start_container(started.process_id)
    assert agents(fargate).status("t1", "a1") == ProcessStatus("running", generation=1)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 400, StartRejected("", "no_capacity")),
        ("ClientException", 400, StartRejected("", "bad_configuration")),
        ("AccessDeniedException", 400, StartRejected("", "bad_configuration")),
        ("ClusterNotFoundException", 400, StartRejected("", "bad_configuration")),
        ("ServerException", 500, StartUnknown("")),
    ],
)
def test_every_error_of_the_api_is_an_answer(
    fargate: Fargate, monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: Any
) -> None:
    error: Any = {"Error": {"Code": code, "Message": "so it is"}, "ResponseMetadata": {"HTTPStatusCode": status}}

    def fails(self: Fargate, **_: Any) -> Any:
        raise ClientError(error, "Call")

    monkeypatch.setattr(Fargate, "run_task", fails)
    runtime = agents(fargate)
    answer = runtime.start(order(), effect_id=EFFECT)
    assert type(answer) is type(kind)
    assert getattr(answer, "kind", None) == getattr(kind, "kind", None)
    monkeypatch.setattr(Fargate, "list_tasks", fails)
    assert isinstance(runtime.start(order(), effect_id=EFFECT), StartRejected)
    assert agents(fargate).status("t1", "a1") == ProcessStatus("unknown", f"{code}: so it is")
    for refused in (
        runtime.stop("t1", "a1", generation=1, effect_id="s" * 64),
        runtime.update_model(ModelOrder(town_id="t1", agent_id="a1", model="m"), effect_id="u" * 64),
        runtime.message("t1", "a1", message_id="m1", text="hi", mode="queue"),
    ):
        assert isinstance(refused, NotDone)
        assert refused.passing
    assert containers(fargate).state("t1") == "unknown"


def test_without_network_nothing_was_sent() -> None:
    """A client that reaches nobody: a no for a start, unknown for a status; no exception."""

    def client() -> Any:
        return boto3.client(
            "ecs",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            endpoint_url="http://127.0.0.1:1",
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
        )

    tasks = EcsTasks(EcsSettings("c", "d", ["s"], ["g"]), client=client)
    runtime = EcsAgents(tasks, shelf=lambda name, body: "https://shelf.example.com")
    assert isinstance(runtime.start(order(), effect_id=EFFECT), StartRejected)
    answer = tasks.run("t1", token=EFFECT, environment={}, tags={})
    assert isinstance(answer, StartRejected)
    assert answer.reason.startswith("ECS refused the start: EndpointConnectionError")
    assert runtime.status("t1", "a1").status == "unknown"


def test_a_start_that_could_not_be_heard_any_more_is_not_made(fargate: Fargate) -> None:
    """What was asked before the start took the time that the start would need: better none than one of which nobody knows."""
    runtime = agents(fargate, seconds=CallSeconds(start=LONGEST_CALL_SECONDS))
    answer = runtime.start(order(), effect_id=EFFECT)
    assert answer == StartRejected("ECS answers too slowly; nothing was started", kind="no_capacity")
    assert fargate.requests == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ClientException", "the quota of tasks in the PROVISIONING state of the cluster has been reached"),
        ("InvalidParameterException", "Error retrieving subnet information: Request limit exceeded."),
        ("InvalidParameterException", "Error retrieving security group information: Rate exceeded"),
        ("ClientException", "The request to CreateNetworkInterface was throttled."),
    ],
)
def test_an_error_that_tells_of_a_full_cluster_or_a_throttled_network_passes(
    fargate: Fargate, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    def fails(self: Fargate, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": said}}, "RunTask")

    monkeypatch.setattr(Fargate, "run_task", fails)
    answer = agents(fargate).start(order(), effect_id=EFFECT)
    assert isinstance(answer, StartRejected)
    assert answer.kind == "no_capacity"


def test_an_order_that_cannot_be_handed_over_starts_nothing(fargate: Fargate) -> None:
    def full(name: str, body: bytes) -> str:
        raise StoreUnavailable("the bucket is gone")

    runtime = EcsAgents(fargate.tasks, shelf=full)
    answer = runtime.start(order(), effect_id=EFFECT)
    assert answer == StartRejected("the order cannot be handed over: the bucket is gone", kind="bad_configuration")
    assert fargate.requests == []


def test_tokens_reach_the_task_of_each_agent(fargate: Fargate) -> None:
    runtime = agents(fargate, mint=_minted)
    for number, agent_id in enumerate(("a1", "a2")):
        runtime.start(order(agent_id=agent_id), effect_id=str(number) * 64)
    for server in fargate.servers.values():
        for file in (server.settings.root / "tokens").iterdir():
            file.write_text("old")
    assert runtime.refresh_token(TokenOrder(town_id="t1"), effect_id="r1") == Done()
    kept = [file.read_text() for s in fargate.servers.values() for file in (s.settings.root / "tokens").iterdir()]
    assert sorted(kept) == ["secret-agent-a1", "secret-agent-a2"]


def test_a_shelf_in_a_bucket_gives_an_address_that_ends(fargate: Fargate) -> None:
    """The fixture has moto running: the bucket is moto's."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="towns")
    url = S3Shelf(lambda: S3Objects("towns").client, "towns")("name", b"{}")
    assert s3.get_object(Bucket="towns", Key="orders/name.json")["Body"].read() == b"{}"
    with pytest.raises(StoreUnavailable):
        S3Shelf(lambda: s3, "no-such-bucket")("name", b"{}")
    given = parse_qs(urlsplit(url).query)
    assert given["X-Amz-Expires"] == ["900"]
    assert given["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]  # a bucket made since 2020 refuses an older signature


# one container for each town ------------------------------------------------------------------------


def test_twenty_agents_at_once_wake_one_container(fargate: Fargate) -> None:
    runtime = ControlServerRuntime(containers(fargate), key_of=key_of, seconds=PATIENT)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: runtime.start(order(agent_id=f"a{n}"), effect_id=f"{n:064}"), range(20)))
    assert [type(answer) for answer in answers] == [Started] * 20
    assert len(fargate.living()) == 1


def test_two_processes_that_wake_a_town_at_once_run_one_container(fargate: Fargate) -> None:
    """They share no lock: the token, which follows from what was there before, makes their calls the same."""
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda c: c.wake("t1", effect_id="x", seconds=PATIENCE_SECONDS),
                [containers(fargate), containers(fargate)],
            )
        )
    assert len(fargate.living()) == 1


def test_a_town_that_slept_for_hours_gets_a_container_and_not_the_memory_of_one(fargate: Fargate) -> None:
    """ECS had forgotten the ended task and still remembered its token: the token followed from the tasks that were there,
    which were none again, so every start of that day was answered with the task of the morning.
    """
    wall = [1_000_000.0]
    woken = EcsContainers(fargate.tasks, address_of=fargate.address_of, look_every=0.02, wall=lambda: wall[0])
    assert isinstance(woken.wake("t1", effect_id="x", seconds=PATIENCE_SECONDS), Awake)
    woken.stop("t1", effect_id="y")
    fargate.forget_the_ended()
    wall[0] += 5 * 3600
    assert isinstance(woken.wake("t1", effect_id="z", seconds=PATIENCE_SECONDS), Awake)
    assert len(fargate.living()) == 1


def test_of_two_containers_the_oldest_stays(fargate: Fargate) -> None:
    """If a town has two all the same, its agents must not be spread over both."""
    for token in ("1" * 64, "2" * 64):
        fargate.tasks.run("t1", token=token, environment={"TOWN_ID": "t1"}, tags={"town-role": "town"})
    first, _ = fargate.living()
    containers(fargate).wake("t1", effect_id="x", seconds=PATIENCE_SECONDS)
    assert fargate.living() == [first]


def test_a_container_that_takes_too_long_is_a_no_and_the_next_attempt_finds_it(fargate: Fargate) -> None:
    fargate.boot = False
    runtime = ControlServerRuntime(containers(fargate), key_of=key_of, seconds=CallSeconds(start=0.2))
    answer = runtime.start(order(), effect_id=EFFECT)
    assert answer == StartRejected("the town's container is starting; the next attempt finds it", kind="no_capacity")
    assert runtime.container_state("t1") == "starting"
    [arn] = fargate.living()
    fargate.start_container(arn)
    patient = ControlServerRuntime(containers(fargate), key_of=key_of, seconds=PATIENT)
    assert isinstance(patient.start(order(2), effect_id="f" * 64), Started)
    assert patient.container_state("t1") == "healthy"


def test_a_fresh_container_is_given_its_token_before_its_first_agent(fargate: Fargate) -> None:
    runtime = ControlServerRuntime(containers(fargate), key_of=key_of, mint=_minted)
    runtime.start(order(), effect_id=EFFECT)
    [server] = fargate.servers.values()
    assert [path for _, path in server.faults.seen if path != "/health"] == ["/refresh-token", "/agents/start"]
    assert (server.settings.root / "token").read_text() == "secret-container-None"


def test_a_container_that_was_up_only_after_its_first_start_had_been_given_up_gets_its_token_too(
    fargate: Fargate,
) -> None:
    """Without it, it can tell the town nothing: its agents would be taken for lost."""
    fargate.boot = False
    ControlServerRuntime(containers(fargate), key_of=key_of, mint=_minted, seconds=CallSeconds(start=0.1)).start(
        order(), effect_id=EFFECT
    )
    [arn] = fargate.living()
    fargate.start_container(arn)
    ControlServerRuntime(containers(fargate), key_of=key_of, mint=_minted).start(order(2), effect_id="f" * 64)
    assert (fargate.servers[arn].settings.root / "token").read_text() == "secret-container-None"


def test_while_ecs_does_not_answer_nobody_is_taken_for_gone(fargate: Fargate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A throttled look was taken for a town without a container: a stop was done, and agents were not found."""
    runtime = ControlServerRuntime(containers(fargate), key_of=key_of, mint=_minted)
    runtime.start(order(), effect_id=EFFECT)
    throttled: Any = {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}

    def fails(self: Fargate, **_: Any) -> Any:
        raise ClientError(throttled, "ListTasks")

    monkeypatch.setattr(Fargate, "list_tasks", fails)
    deaf = ControlServerRuntime(containers(fargate), key_of=key_of, mint=_minted)
    assert deaf.status("t1", "a1").status == "unknown"
    assert deaf.container_state("t1") == "unknown"
    for answer in (
        deaf.stop("t1", "a1", generation=1, effect_id="s"),
        deaf.refresh_token(TokenOrder(town_id="t1"), effect_id="r"),
        deaf.message("t1", "a1", message_id="m", text="hi", mode="queue"),
    ):
        assert isinstance(answer, NotDone)
        assert answer.passing


def test_a_tick_that_asks_for_twenty_agents_asks_ecs_once(fargate: Fargate, monkeypatch: pytest.MonkeyPatch) -> None:
    """ECS answers some twenty such questions a second, for all towns together."""
    looks: list[str] = []
    original = Fargate.list_tasks

    def counted(self: Fargate, **request: Any) -> dict[str, Any]:
        looks.append(request["desiredStatus"])
        return original(self, **request)

    monkeypatch.setattr(Fargate, "list_tasks", counted)
    monkeypatch.setattr(ecs_tasks, "_SEEN_SECONDS", PATIENCE_SECONDS)
    runtime = ControlServerRuntime(containers(fargate), key_of=key_of)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: runtime.status("t1", f"a{number}"), range(20)))
    assert sorted(looks) == ["RUNNING", "STOPPED"]


@pytest.mark.parametrize("code", ["InvalidParameterException", "ClientException"])
def test_where_started_by_may_be_the_only_filter_the_tasks_of_a_town_are_found_without_a_second_one(
    fargate: Fargate, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """The reference of ListTasks calls `startedBy` the only filter, and other towns have tasks in the same cluster."""
    asked: list[set[str]] = []
    original = Fargate.list_tasks

    def strict(self: Fargate, **request: Any) -> dict[str, Any]:
        asked.append(set(request) & {"startedBy", "desiredStatus"})
        if len(asked[-1]) > 1:
            raise ClientError({"Error": {"Code": code, "Message": "only one filter"}}, "ListTasks")
        return original(self, **request)

    monkeypatch.setattr(Fargate, "list_tasks", strict)
    tasks = fargate.tasks
    made = {}
    for town in ("t1", "t2"):
        for number in range(2):
            found = tasks.run(town, token=f"{town}-{number}", environment={"TOWN_ID": town}, tags={})
            assert isinstance(found, EcsTask)
            made[town, number] = found.arn
        tasks.stop(made[town, 0], reason="over")
    assert {each.arn for each in _seen(tasks.find("t1", ended=True))} == {made["t1", 0], made["t1", 1]}
    assert {each.arn for each in _seen(tasks.find("t1", ended=False))} == {made["t1", 1]}
    assert asked.count({"startedBy", "desiredStatus"}) == 1  # it is told once


def _seen(found: tuple[EcsTask, ...] | NotSeen) -> tuple[EcsTask, ...]:
    assert not isinstance(found, NotSeen)
    return found


def test_an_idle_container_is_stopped_and_another_one_is_run_when_it_is_wanted(fargate: Fargate) -> None:
    runtime = ControlServerRuntime(containers(fargate), key_of=key_of)
    runtime.start(order(), effect_id=EFFECT)
    [first] = fargate.living()
    assert runtime.stop_container("t1", effect_id="c1") == Done()
    assert runtime.container_state("t1") == "stopped"
    assert runtime.status("t1", "a1") == ProcessStatus("not_found")
    assert runtime.stop("t1", "a1", generation=1, effect_id="s") == Done()
    assert isinstance(runtime.start(order(2), effect_id="f" * 64), Started)
    assert fargate.living() != [first]


def test_a_town_without_capacity_is_told_so(fargate: Fargate) -> None:
    fargate.failures.append(NO_CAPACITY)
    answer = ControlServerRuntime(containers(fargate), key_of=key_of).start(order(), effect_id=EFFECT)
    assert isinstance(answer, StartRejected)
    assert answer.kind == "no_capacity"

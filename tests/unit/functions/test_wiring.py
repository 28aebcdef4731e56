"""Settings become adapters: what is named is there, what is not is not, and wrong settings say which."""

import json
from collections.abc import Callable
from datetime import timedelta
from types import NoneType
from typing import Any

import pytest

from functions import wiring
from functions.settings import DebugSettings, EventsSettings, TickSettings, WorkerSettings
from shared.adapters import control_keys, town_tokens
from shared.adapters.control_keys import ControlKeys
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.ecs_runtime import EcsAgents
from shared.adapters.forges import Forges
from shared.adapters.table_objects import TableObjects
from shared.domain.errors import Terminal
from shared.ports.forge import Asker, ForgeError
from shared.runner.perform import Outside
from tests.fakes import FakeClock, FakeSecrets
from tests.s3_stub import Answer, Request, stub_s3
from tests.towns import T

LEAST = {"STAGE": "test", "TOWN_BUCKET": "towns", "QUEUE_URL": "https://q.example"}
TASKS: dict[str, Any] = {
    "one_task_per": "agent",
    "cluster": "agents",
    "task_definition": "town-agent",
    "subnets": "subnet-1,subnet-2",
    "security_groups": "sg-1",
}


def on_ecs(**other: Any) -> dict[str, str]:
    return LEAST | {"ECS": json.dumps(TASKS | other)}


def test_a_worker_without_a_runtime_or_a_forge_calls_nobody() -> None:
    assert wiring.outside(WorkerSettings.from_environment(LEAST)) == Outside()


def test_a_worker_with_both_calls_them() -> None:
    more = {"CONTROL_SERVER": "https://{town}.agents.example", "TOKEN_SECRET": "key", "SECRETS_PREFIX": "prefix"}
    outside = wiring.outside(WorkerSettings.from_environment(LEAST | more))
    assert isinstance(outside.runtime, ControlServerRuntime)
    assert isinstance(outside.forge, Forges)


@pytest.mark.parametrize(
    ("environment", "runtime"),
    [
        (LEAST, NoneType),
        (LEAST | {"ECS": "", "CONTROL_SERVER": ""}, NoneType),
        (LEAST | {"CONTROL_SERVER": "https://{town}.agents.example"}, ControlServerRuntime),
        (on_ecs(), EcsAgents),
        (on_ecs(one_task_per="town"), ControlServerRuntime),
    ],
    ids=["none", "empty", "control server", "ECS, a task for each agent", "ECS, a task for each town"],
)
def test_agents_run_where_the_deployment_says(environment: dict[str, str], runtime: type) -> None:
    assert isinstance(wiring.outside(WorkerSettings.from_environment(environment)).runtime, runtime)


def test_what_waits_is_in_the_bucket_or_in_the_table_that_the_deployment_names() -> None:
    in_bucket = wiring.objects_of(DebugSettings.from_environment(LEAST))
    assert in_bucket.waiting is in_bucket
    named = LEAST | {"WAITING_TABLE": "waiting"}
    in_table = wiring.objects_of(DebugSettings.from_environment(named))
    assert isinstance(in_table.waiting, TableObjects)
    assert wiring.objects_of(EventsSettings.from_environment(named)) is in_table


def test_lists_come_with_commas_as_parameters_of_a_template_do() -> None:
    ecs = WorkerSettings.from_environment(on_ecs(public_ip=True, port=9000)).ecs
    assert ecs is not None
    assert (ecs.subnets, ecs.security_groups) == (("subnet-1", "subnet-2"), ("sg-1",))
    assert (ecs.capacity, ecs.container, ecs.port, ecs.public_ip) == ("FARGATE", "agent", 9000, True)


def test_a_control_server_is_called_with_its_towns_key_or_one_derived_for_it() -> None:
    secrets = FakeSecrets({"platform/control-key": "the platform's", "towns/one/control-key": "one's"})
    key_of = ControlKeys(secrets)
    assert (key_of("one"), key_of("two")) == ("one's", control_keys.derived("the platform's", "two"))
    assert ControlKeys(FakeSecrets({}))("one") is None


def test_a_self_hosted_forge_is_known_and_a_host_that_nobody_named_is_not() -> None:
    """Nobody answers for secrets here: whose token was looked for has been taken for a forge."""
    nobody = {"SECRETS_PREFIX": "p", "SECRETS_ENDPOINT": "http://127.0.0.1:1"}
    forge = wiring.outside(
        WorkerSettings.from_environment(LEAST | nobody | {"FORGE_HOSTS": "gitlab=git.example.com,github=ghe.example"})
    ).forge
    assert forge is not None
    found = {
        url: forge.pull_request(Asker("t1"), f"https://{url}", want_feedback=False)
        for url in (
            "git.example.com/a/b/-/merge_requests/1",
            "ghe.example/a/b/pull/1",
            "github.com/a/b/pull/1",
            "other.example/a/b/pull/1",
        )
    }
    kinds = {url.split("/")[0]: error.kind for url, error in found.items() if isinstance(error, ForgeError)}
    assert kinds == {
        "git.example.com": "transient",
        "ghe.example": "transient",
        "github.com": "transient",
        "other.example": "unrecognized_url",
    }


def test_who_performs_no_effects_has_nobody_to_call() -> None:
    settings = DebugSettings.from_environment(LEAST)
    assert wiring.surroundings(settings, wiring.store(settings)).outside == Outside()


def test_the_dispatcher_performs_effects_too() -> None:
    more = {"QUEUE_URL": "https://queue.example/q", "CONTROL_SERVER": "https://agents.example"}
    settings = TickSettings.from_environment(LEAST | more)
    assert wiring.surroundings(settings, wiring.store(settings)).outside.runtime is not None


@pytest.mark.parametrize(("percent", "share"), [("", 0.01), (" ", 0.01), ("0", 0), (" 25 ", 0.25), ("100", 1)])
def test_a_share_of_the_ticks_is_run_again_as_the_deployment_says(percent: str, share: float) -> None:
    settings = WorkerSettings.from_environment(LEAST | {"SELF_CHECK_PERCENT": percent})
    assert wiring.surroundings(settings, wiring.store(settings)).self_check_share == share


@pytest.mark.parametrize("percent", ["-", "none", "101", "-1", "1%", "nan"])
def test_an_invalid_share_of_self_checks_is_a_line_in_the_log_and_stops_nothing(
    percent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = WorkerSettings.from_environment(LEAST | {"SELF_CHECK_PERCENT": percent})
    assert settings.self_check_percent == 1
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["event"], line["setting"]) == ("setting.ignored", "SELF_CHECK_PERCENT")


def test_the_restore_window_is_the_deployments() -> None:
    settings = EventsSettings.from_environment(LEAST | {"RESTORE_WINDOW_DAYS": "3"})
    assert wiring.surroundings(settings, wiring.store(settings)).restore_window == timedelta(days=3)


def test_what_a_function_puts_into_an_inbox_carries_the_tag_of_the_buckets_lifecycle(as_owner: None) -> None:
    asked: list[Request] = []

    def note(request: Request, ordinary: Callable[[Request], Answer]) -> Answer:
        asked.append(request)
        return ordinary(request)

    with stub_s3() as stub:
        stub.faults += [note, note]
        objects = wiring.objects_of(DebugSettings.from_environment(LEAST | {"STORE_ENDPOINT": stub.url}))
        objects.create("towns/one/inbox/1768046400000-b.json", b"{}")
        objects.create("towns/one/head", b"head")
    assert [request.headers.get("x-amz-tagging") for request in asked] == ["kind=inbox", None]


def test_tokens_for_agents_are_those_that_the_authorizer_believes() -> None:
    key = "k" * 40
    mint = town_tokens.Mint(lambda: (key,), FakeClock(T))
    assert town_tokens.read(mint("one", scope="container"), [key], now=T).scope == "container"
    claims = town_tokens.read(mint("one", scope="agent", agent_id="toast", generation=3), [key], now=T)
    assert (claims.town, claims.agent, claims.generation) == ("one", "toast", 3)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, ["STAGE", "TOWN_BUCKET"]),
        (LEAST | {"STAGE": "Prod!"}, ["STAGE"]),
        (LEAST | {"RESTORE_WINDOW_DAYS": "0"}, ["RESTORE_WINDOW_DAYS"]),
        (LEAST | {"STORE_ENDPOINT": "not a url"}, ["STORE_ENDPOINT"]),
        (LEAST | {"ECS": "not a url"}, ["ECS"]),
        (on_ecs(one_task_per="not a url"), ["ECS.one_task_per"]),
        (on_ecs(cluster=""), ["ECS.cluster"]),
        (on_ecs(task_definition="", subnets=""), ["ECS.subnets", "ECS.task_definition"]),
        (on_ecs(security_groups="sg-1,"), ["ECS.security_groups.1"]),
        (on_ecs(port=0), ["ECS.port"]),
        (on_ecs(zone="not a url"), ["ECS.zone"]),
        (on_ecs() | {"CONTROL_SERVER": "https://agents.example"}, ["ECS (CONTROL_SERVER is set as well"]),
        (LEAST | {"FORGE_HOSTS": "not a url"}, ["FORGE_HOSTS (expected: gitlab=git.example.com"]),
        (LEAST | {"FORGE_HOSTS": "gitlab=git.example.com,svn=h"}, ["FORGE_HOSTS"]),
        (LEAST | {"FORGE_HOSTS": "github=h=http://not a url"}, ["FORGE_HOSTS"]),
    ],
    ids=str,
)
def test_wrong_settings_name_the_variable_and_show_no_value(environment: dict[str, str], named: list[str]) -> None:
    with pytest.raises(Terminal) as error:
        WorkerSettings.from_environment(environment)
    assert all(name in error.value.message for name in named)
    assert "not a url" not in error.value.message


@pytest.mark.parametrize(
    "rules", ["{", "{}", '[{"callers": []}]', '[{"callers": ["a"], "towns": ["t"], "verbs": ["destroy"]}]']
)
def test_access_rules_that_cannot_be_read_let_nobody_in_and_stop_the_function(rules: Any) -> None:
    with pytest.raises(Terminal, match="ACCESS_RULES"):
        EventsSettings.from_environment(LEAST | {"ACCESS_RULES": rules})

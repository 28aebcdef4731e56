"""Settings become adapters: what is named is there, what is not is not, and wrong settings say which."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from functions import wiring
from functions.settings import DebugSettings, EventsSettings, TickSettings, WorkerSettings
from shared.adapters import town_tokens
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.forges import Forges
from shared.domain.errors import Terminal
from shared.engine.perform import Outside
from tests.fakes import FakeClock
from tests.s3_stub import Answer, Request, stub_s3
from tests.towns import T

LEAST = {"STAGE": "test", "TOWN_BUCKET": "towns"}


def test_a_worker_without_a_runtime_or_a_forge_calls_nobody() -> None:
    assert wiring.outside(WorkerSettings.from_environment(LEAST)) == Outside()


def test_a_worker_with_both_calls_them() -> None:
    more = {"CONTROL_SERVER": "https://{town}.agents.example", "TOKEN_SECRET": "key", "SECRETS_PREFIX": "prefix"}
    outside = wiring.outside(WorkerSettings.from_environment(LEAST | more))
    assert isinstance(outside.runtime, ControlServerRuntime)
    assert isinstance(outside.forge, Forges)


def test_who_performs_no_effects_has_nobody_to_call() -> None:
    settings = DebugSettings.from_environment(LEAST)
    assert wiring.surroundings(settings, wiring.store(settings)).outside == Outside()


def test_the_dispatcher_performs_effects_too() -> None:
    more = {"QUEUE_URL": "https://queue.example/q", "CONTROL_SERVER": "https://agents.example"}
    settings = TickSettings.from_environment(LEAST | more)
    assert wiring.surroundings(settings, wiring.store(settings)).outside.runtime is not None


@pytest.mark.parametrize(("percent", "share"), [("", 0.01), ("0", 0), ("25", 0.25), ("100", 1)])
def test_a_share_of_the_ticks_is_run_again_as_the_deployment_says(percent: str, share: float) -> None:
    settings = WorkerSettings.from_environment(LEAST | {"SELF_CHECK_PERCENT": percent})
    assert wiring.surroundings(settings, wiring.store(settings)).self_check_share == share


def test_the_restore_window_is_the_deployments() -> None:
    settings = EventsSettings.from_environment(LEAST | {"QUEUE_URL": "https://q.example", "RESTORE_WINDOW_DAYS": "3"})
    assert wiring.surroundings(settings, wiring.store(settings)).restore_window == timedelta(days=3)


def test_what_a_function_puts_into_an_inbox_carries_the_tag_of_the_buckets_lifecycle(as_owner: None) -> None:
    asked: list[Request] = []

    def note(request: Request, ordinary: Callable[[Request], Answer]) -> Answer:
        asked.append(request)
        return ordinary(request)

    with stub_s3() as stub:
        stub.faults += [note, note]
        objects = wiring.objects_of("towns", stub.url)
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
        (LEAST | {"SELF_CHECK_PERCENT": "101"}, ["SELF_CHECK_PERCENT"]),
    ],
    ids=str,
)
def test_wrong_settings_name_the_variable_and_show_no_value(environment: dict[str, str], named: list[str]) -> None:
    with pytest.raises(Terminal) as error:
        WorkerSettings.from_environment(environment)
    assert all(name in error.value.message for name in named)
    assert "not a url" not in error.value.message


@pytest.mark.parametrize(
    "rules", ["{", "{}", '[{"callers": []}]', '[{"callers": ["a"], "towns": ["t"], "verbs": ["delete"]}]']
)
def test_access_rules_that_cannot_be_read_let_nobody_in_and_stop_the_function(rules: Any) -> None:
    with pytest.raises(Terminal, match="ACCESS_RULES"):
        EventsSettings.from_environment(LEAST | {"QUEUE_URL": "https://q.example", "ACCESS_RULES": rules})

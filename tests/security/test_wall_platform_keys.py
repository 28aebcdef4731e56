"""The wall between towns that share a deployment: what one container, or one task, learns opens no other town's control server."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.devstack.gateway import serving
from infra.townctl import agent_programs, main
from shared.adapters import control_keys
from shared.adapters.control_keys import ControlKeys, derived
from shared.adapters.ecs_runtime import EcsAgents, EcsContainers
from shared.adapters.secret_files import SecretFiles
from shared.domain.errors import SecretsUnavailable
from shared.domain.orders import StartOrder, TokenOrder
from shared.domain.states import Role
from shared.ports.runtime import Done, Started, StartRejected
from shared.ports.secrets import Secret
from tests.fakes import FakeSecrets
from tests.fargate import Fargate, a_fargate, environment_of

PLATFORM = "the-secret-of-the-platform"
KEYS = ControlKeys(FakeSecrets({control_keys.PLATFORM: PLATFORM}))
OWN = "towns/one/control-key"


@pytest.fixture
def fargate(tmp_path: Path) -> Iterator[Fargate]:
    with a_fargate(tmp_path) as made:
        yield made


def an_order(town: str = "one", agent: str = "toast", generation: int = 1) -> StartOrder:
    return StartOrder(town_id=town, agent_id=agent, role=Role.POLECAT, generation=generation)


@given(st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True), min_size=2, max_size=6, unique=True))
def test_no_town_gets_the_key_of_another_or_the_secret_itself(towns: list[str]) -> None:
    keys = [KEYS(town) for town in towns]
    assert len(set(keys)) == len(towns)
    assert PLATFORM not in keys
    assert all(key is not None and len(key) == 64 for key in keys)


def test_the_key_of_a_town_is_the_same_in_every_release() -> None:
    """Control servers are told it once: another derivation would lock the town out of them."""
    assert derived("s", "one") == "83505ee8abdc3ec60ff732a31393cfa864ad954f02495a7ac05faab2cfb0ee23"


def test_a_task_of_a_town_gets_the_key_of_that_town_alone(fargate: Fargate) -> None:
    """Seen: every container got the platform's key from the task definition, and could call every other town's server."""
    fargate.boot = False
    runtime = EcsAgents(fargate.tasks, shelf=fargate.keep, address_of=fargate.address_of, key_of=KEYS)
    for town in ("one", "two"):
        assert isinstance(runtime.start(an_order(town), effect_id=town * 20), Started)
    containers = EcsContainers(fargate.tasks, address_of=fargate.address_of, key_of=KEYS, look_every=0.01)
    containers.wake("three", effect_id="e", seconds=0.01)
    given_keys = [environment_of(request)["TOWN_CONTROL_KEY"] for request in fargate.requests]
    assert given_keys == [derived(PLATFORM, town) for town in ("one", "two", "three")]
    assert not any(PLATFORM in body.decode() for body in fargate.shelf.values())


def test_without_its_key_no_container_is_started(fargate: Fargate) -> None:
    """A server that anybody may call is worse than none."""

    def away(_: str) -> str | None:
        raise SecretsUnavailable("away")

    containers = EcsContainers(fargate.tasks, address_of=fargate.address_of, key_of=away, look_every=0.01)
    answer = containers.wake("one", effect_id="e", seconds=1)
    agents = EcsAgents(fargate.tasks, shelf=fargate.keep, key_of=away)
    for refused in (answer, agents.start(an_order(), effect_id="e" * 64)):
        assert isinstance(refused, StartRejected)
        assert "away" in refused.reason
    assert fargate.requests == []


def test_a_task_cannot_ask_for_the_tokens_of_other_agents(fargate: Fargate) -> None:
    """Its /health says which agents it hosts. The town gives a task only the token of the one agent that it was started for."""
    minted: list[tuple[str, str | None, int | None]] = []

    def mint(town_id: str, *, scope: str, agent_id: str | None = None, generation: int | None = None) -> str:
        minted.append((scope, agent_id, generation))
        return "a-token"

    class Liar:
        """A control server that claims to host everybody."""

        def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
            claimed = [("toast", 1), ("mayor", 1), ("toast", 2), ("toast", True), ("nux", 1)]
            agents = [{"agentId": agent, "generation": generation} for agent, generation in claimed]
            said = {"status": "ok", "agents": agents} if target == "/health" else {}
            return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(said)}

    fargate.boot = False
    with serving(Liar()) as url:
        runtime = EcsAgents(fargate.tasks, shelf=fargate.keep, address_of=lambda _: url, mint=mint)
        assert isinstance(runtime.start(an_order(), effect_id="e" * 64), Started)
        minted.clear()
        assert runtime.refresh_token(TokenOrder(town_id="one"), effect_id="r") == Done()
    assert minted == [("container", None, None), ("agent", "toast", 1)]


def test_a_runner_on_one_machine_tells_each_of_several_servers_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWN_CONTROL_KEY", PLATFORM)
    of_many = agent_programs.behind_a_control_server("https://{town}.agents.example.com")
    of_one = agent_programs.behind_a_control_server("http://127.0.0.1:8080")
    assert [of_many._key_of(town) for town in ("one", "two")] == [derived(PLATFORM, town) for town in ("one", "two")]
    assert of_one._key_of("one") == PLATFORM


def test_townctl_prints_the_key_of_one_town_and_makes_the_secret_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOWNCTL_SECRETS_PREFIX", raising=False)

    def printed(town: str) -> str:
        assert main.run(["--data", str(tmp_path), "secret", "control-key", town]) == 0
        return capsys.readouterr().out.strip()

    one, two, again = printed("one"), printed("two"), printed("one")
    files = SecretFiles(tmp_path / ".secrets")
    made = files.get(control_keys.PLATFORM)
    assert made is not None
    assert (one, two, again) == (derived(made.reveal(), "one"), derived(made.reveal(), "two"), one)
    files.put(OWN, Secret("its-own"))
    assert (printed("one"), printed("two")) == ("its-own", two)

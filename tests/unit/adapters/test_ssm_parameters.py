"""Secrets as SSM parameters: one request for many, a town's secrets in one parameter, and an age that is bounded."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.townctl.stack_secrets import MOST_OF_A_PARAMETER, StackParameters, StackSecrets, secrets_of_stack
from shared.adapters.aws_secrets import KEPT_FOR
from shared.adapters.ssm_parameters import AT_ONCE, LISTED, SsmParameters, name_of, parameter_of
from shared.domain.errors import AccessDenied, Refused, SecretsUnavailable
from shared.ports.secrets import Secret
from tests.fakes import FakeClock
from tests.towns import T

PREFIX = "/town-reconciler/dev"
REGION = "eu-west-1"
TOKEN = "towns/t1/forges/github.com"


class Counting:
    """A client of SSM that keeps the names of each request."""

    def __init__(self, behind: Any) -> None:
        self.behind = behind
        self.asked: list[list[str]] = []
        self.listed: list[str] = []
        self.refuses = ""
        self.lists = True

    def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> Any:  # noqa: N803 - the names of boto3
        self.asked.append(Names)
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses, "Message": "a telling text"}}, "GetParameters")
        return self.behind.get_parameters(Names=Names, WithDecryption=WithDecryption)

    def get_parameters_by_path(self, **given: Any) -> Any:
        self.listed.append(given["Path"])
        if self.refuses or not self.lists:
            code = self.refuses or "AccessDeniedException"
            raise ClientError({"Error": {"Code": code, "Message": "a telling text"}}, "GetParametersByPath")
        return self.behind.get_parameters_by_path(**given)


@pytest.fixture
def client(as_owner: None) -> Iterator[Counting]:
    with mock_aws():
        yield Counting(boto3.client("ssm", region_name=REGION))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(T)


@pytest.fixture
def secrets(client: Counting, clock: FakeClock) -> SsmParameters:
    return SsmParameters(PREFIX, clock, client=client)


@pytest.fixture
def stored(client: Counting) -> StackParameters:
    return StackParameters(PREFIX, region=REGION)


def text(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def test_what_townctl_stores_is_what_the_functions_read(secrets: SsmParameters, stored: StackParameters) -> None:
    name = "towns/t1/rigs/a_rig:1/forges/git.example.com"
    stored.put(name, Secret("a-token"))
    assert text(secrets.get(name)) == text(stored.get(name)) == "a-token"
    assert stored.names() == (name,)
    assert boto3.client("ssm", region_name=REGION).describe_parameters()["Parameters"][0]["Type"] == "SecureString"
    stored.put(name, Secret("another"))
    assert stored.remove(name)
    assert not stored.remove(name)
    assert stored.get(name) is None


def test_one_parameter_may_hold_all_secrets_of_a_town_and_one_of_its_own_comes_first(
    secrets: SsmParameters, stored: StackParameters, client: Counting
) -> None:
    stored.put("towns/t1", Secret(json.dumps({"forges/github.com": "of-the-town", "control-key": "a-key"})))
    stored.put("towns/t3", Secret(json.dumps({"control-key": "of-the-town"})))
    stored.put("towns/t3/control-key", Secret("its-own"))
    assert text(secrets.get(TOKEN)) == "of-the-town"
    assert text(secrets.get("towns/t1/control-key")) == "a-key"
    assert secrets.get("towns/t1/forges/gitlab.com") is None
    assert secrets.get("towns/t2/control-key") is None
    assert text(secrets.get("towns/t3/control-key")) == "its-own"


def test_a_secret_is_at_most_five_minutes_old_and_a_missing_one_is_remembered_too(
    secrets: SsmParameters, stored: StackParameters, client: Counting, clock: FakeClock
) -> None:
    assert secrets.get(TOKEN) is None
    stored.put(TOKEN, Secret("a-token"))
    clock.move(seconds=(KEPT_FOR - timedelta(seconds=1)).total_seconds())
    assert secrets.get(TOKEN) is None
    clock.move(seconds=1)
    assert text(secrets.get(TOKEN)) == "a-token"
    stored.put(TOKEN, Secret("another"))
    clock.move(seconds=(KEPT_FOR - timedelta(seconds=1)).total_seconds())
    assert text(secrets.get(TOKEN)) == "a-token"
    clock.move(seconds=1)
    assert text(secrets.get(TOKEN)) == "another"


def test_a_thousand_towns_without_secrets_of_their_own_cost_one_request(
    secrets: SsmParameters, stored: StackParameters, client: Counting
) -> None:
    stored.put("towns/t7/control-key", Secret("its-own"))
    stored.put("agents/towns/t7/forges/github.com", Secret("of-its-agents"))
    keys = {number: text(secrets.get(f"towns/t{number}/control-key")) for number in range(1_000)}
    assert {number: key for number, key in keys.items() if key is not None} == {7: "its-own"}
    assert (client.listed, client.asked) == (["/town-reconciler/dev/towns"], [])
    assert text(secrets.get("agents/towns/t7/forges/github.com")) == "of-its-agents"
    assert client.listed[1:] == ["/town-reconciler/dev/agents/towns"]


@pytest.mark.parametrize("more", [-1, 1], ids=["listed", "too many"])
def test_each_secret_is_found_however_many_towns_have_some(
    secrets: SsmParameters, stored: StackParameters, client: Counting, more: int
) -> None:
    towns = LISTED * AT_ONCE + more
    for number in range(towns):
        stored.put(f"towns/t{number}/control-key", Secret(f"key-{number}"))
    found = [text(secrets.get(f"towns/t{number}/control-key")) for number in range(towns)]
    assert found == [f"key-{number}" for number in range(towns)]
    assert secrets.get("towns/another/control-key") is None
    assert len(client.listed) == LISTED
    assert bool(client.asked) is (more > 0)


def test_a_role_that_may_not_list_asks_for_each_secret(
    secrets: SsmParameters, stored: StackParameters, client: Counting
) -> None:
    stored.put(TOKEN, Secret("a-token"))
    client.lists = False
    assert text(secrets.get(TOKEN)) == "a-token"
    assert secrets.get("towns/t2/forges/github.com") is None
    assert len(client.listed) == 1


def test_one_request_reads_again_what_is_old(secrets: SsmParameters, client: Counting, clock: FakeClock) -> None:
    client.lists = False
    names = [
        "platform/control-key",
        "platform/forges/github.com",
        *(f"towns/t{number}/control-key" for number in range(3)),
    ]
    for name in names:
        secrets.get(name)
    before = len(client.asked)
    clock.move(minutes=6)
    for name in names:
        secrets.get(name)
    assert len(client.asked) - before == 1
    assert all(len(asked) <= AT_ONCE for asked in client.asked)


def test_what_nobody_asks_for_any_more_is_read_once_more_at_most(
    secrets: SsmParameters, client: Counting, clock: FakeClock
) -> None:
    secrets.get("platform/a")
    for _ in range(3):
        clock.move(minutes=6)
        secrets.get("platform/b")
    assert parameter_of(PREFIX, "platform/a") not in client.asked[-1]


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExpiredTokenException"])
def test_a_refusal_says_what_to_allow(secrets: SsmParameters, client: Counting, code: str) -> None:
    client.refuses = code
    with pytest.raises(AccessDenied, match=code) as refused:
        secrets.get(TOKEN)
    assert "ssm:GetParameters on parameter/town-reconciler/dev/*" in refused.value.hint
    assert "telling" not in str(refused.value)


def test_a_store_that_does_not_answer_is_not_a_missing_secret(secrets: SsmParameters, client: Counting) -> None:
    client.refuses = "ThrottlingException"
    with pytest.raises(SecretsUnavailable, match="ThrottlingException"):
        secrets.get(TOKEN)


@pytest.mark.parametrize("held", ["[]", "{", '{"forges/github.com": 1}', "a token"])
def test_a_town_whose_parameter_is_no_object_of_texts_is_told_so_and_no_text_is_shown(
    secrets: SsmParameters, stored: StackParameters, held: str
) -> None:
    stored.put("towns/t1", Secret(held))
    with pytest.raises(SecretsUnavailable, match="the parameter towns/t1 holds no JSON object") as refused:
        secrets.get(TOKEN)
    assert held not in str(refused.value)


def test_a_secret_that_is_too_long_for_a_standard_parameter_is_refused(stored: StackParameters) -> None:
    with pytest.raises(Refused, match="longer than 4096 bytes"):
        stored.put(TOKEN, Secret("x" * (MOST_OF_A_PARAMETER + 1)))
    assert stored.names() == ()


@pytest.mark.parametrize("name", ["towns/t1/control-key", "a_b", "_5f_", "git.example.com:8443", "rigs/ö/x y"])
def test_every_name_is_a_name_of_ssm_and_can_be_read_back(name: str) -> None:
    assert name_of(PREFIX, parameter_of(PREFIX, name)) == name


def test_a_slash_in_front_of_the_prefix_means_parameters() -> None:
    assert isinstance(secrets_of_stack(PREFIX), StackParameters)
    assert isinstance(secrets_of_stack(PREFIX.strip("/")), StackSecrets)

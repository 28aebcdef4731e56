"""The wall of the emergency: after one command no token of the old key is accepted, on a stack and on one machine."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from functions.authorizer import app as authorizer
from infra.townctl import main, serve, token_keys
from infra.townctl.token_keys import LONGEST, SINCE_VARIABLE, StackOfKeys, keys_in, rotate_stack
from infra.townctl.town_token import KEY_NAME
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.secret_files import SecretFiles
from shared.adapters.town_tokens import Claims, issue, read
from shared.domain.errors import Refused
from shared.ports.secrets import Secret
from tests.conventions.sources import ROOT
from tests.fakes import FakeClock
from tests.http_events import Context, request
from tests.towns import T

OLD, OLDER = "o" * 48, "p" * 48
DSN = "canary-of-the-dsn"
OUTPUTS = {
    "TownTokenKeyArn": "town-tokens",
    "ApiUrl": "https://abc123.execute-api.eu-west-1.amazonaws.com",
    "AuthorizerFunctionArn": "authorizer",
    "WorkerFunctionArn": "worker",
    "RedriveFunctionArn": "redrive",
    "TickFunctionArn": "tick",
}


@dataclass
class Cloud:
    """Lambda and API Gateway with what a rotation changes there. `refuses` are operations that the caller may not use."""

    secrets: Any
    refuses: tuple[str, ...] = ()
    done: list[str] = field(default_factory=list)
    variables: dict[str, dict[str, str]] = field(default_factory=lambda: {"authorizer": {"SENTRY_DSN": DSN}})
    slow: int = 1
    _pending: dict[str, int] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        return self.secrets if service == "secretsmanager" else self

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        self._may("GetFunctionConfiguration")
        left = self._pending.get(FunctionName, 0)
        self._pending[FunctionName] = max(0, left - 1)
        known = self.variables.get(FunctionName, {})
        status = "InProgress" if left else "Successful"
        return {"Environment": {"Variables": known}, "RevisionId": f"r-{FunctionName}", "LastUpdateStatus": status}

    def update_function_configuration(self, *, FunctionName: str, Environment: Any, RevisionId: str) -> None:  # noqa: N803 - as above
        self._may("UpdateFunctionConfiguration")
        assert RevisionId == f"r-{FunctionName}"
        self.variables[FunctionName] = Environment["Variables"]
        self._pending[FunctionName] = self.slow
        self.done.append(FunctionName)

    def reset_authorizers_cache(self, *, ApiId: str, StageName: str) -> None:  # noqa: N803 - as above
        self._may("ResetAuthorizersCache")
        assert not any(self._pending.values()), "an old environment could fill the cache again"
        self.done.append(f"{ApiId}/{StageName}")

    def _may(self, operation: str) -> None:
        if operation in self.refuses:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": DSN}}, operation)


@pytest.fixture
def cloud(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name="town-tokens", SecretString=OLDER)
        client.put_secret_value(SecretId="town-tokens", SecretString=OLD)
        yield Cloud(client)


def stack_of(cloud: Cloud) -> StackOfKeys:
    return StackOfKeys(OUTPUTS, cloud.client, seconds=5)


def is_accepted(key: str, secret: RotatedSecret, monkeypatch: pytest.MonkeyPatch) -> bool:
    token = issue(Claims("one", "agent", "toast", 3), [key], now=secret.clock.now())
    monkeypatch.setattr(authorizer, "secret", lambda: secret)
    asked = request("POST", "/api/towns/one/events", headers={"authorization": f"Bearer {token}"})
    return bool(authorizer.lambda_handler(asked, Context())["isAuthorized"])


def test_an_emergency_ends_both_old_keys_and_empties_every_cache(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    before = RotatedSecret("town-tokens", FakeClock(T))
    assert is_accepted(OLD, before, monkeypatch)
    assert is_accepted(OLDER, before, monkeypatch)

    assert rotate_stack(stack_of(cloud), at_once=True, at="now") == ()

    renewed = RotatedSecret("town-tokens", FakeClock(T))  # what a new environment reads
    assert not is_accepted(OLD, renewed, monkeypatch)
    assert not is_accepted(OLDER, renewed, monkeypatch)
    assert is_accepted(renewed.values()[0], renewed, monkeypatch)
    assert cloud.done == ["authorizer", "worker", "tick", "redrive", "abc123/$default"]
    assert cloud.variables["authorizer"] == {"SENTRY_DSN": DSN, SINCE_VARIABLE: "now"}


def test_an_environment_that_nobody_renews_learns_of_it_within_the_time_that_is_promised(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(T)
    warm = RotatedSecret("town-tokens", clock, life=authorizer.KEY_LIFE)
    assert is_accepted(OLD, warm, monkeypatch)
    rotate_stack(stack_of(cloud), at_once=True, at="now")
    clock.move(seconds=authorizer.KEY_LIFE.total_seconds())
    assert not is_accepted(OLD, warm, monkeypatch)
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    assert "ReauthorizeEvery: 60 }" in template
    assert authorizer.KEY_LIFE + timedelta(seconds=60) == LONGEST


def test_the_authorizer_is_built_with_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_SECRET", "town-tokens")
    monkeypatch.setenv("STAGE", "test")
    authorizer.secret.cache_clear()
    try:
        assert authorizer.secret().life == authorizer.KEY_LIFE
    finally:
        authorizer.secret.cache_clear()


def test_the_usual_rotation_lets_the_tokens_in_use_go_on(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rotate_stack(stack_of(cloud), at_once=False, at="now") == ()
    secret = RotatedSecret("town-tokens", FakeClock(T))
    assert is_accepted(OLD, secret, monkeypatch)
    assert not is_accepted(OLDER, secret, monkeypatch)
    assert cloud.done == []


@pytest.mark.parametrize(
    ("refused", "undone"),
    [
        ("ResetAuthorizersCache", ["ApiUrl"]),
        (
            "GetFunctionConfiguration",
            ["AuthorizerFunctionArn", "WorkerFunctionArn", "TickFunctionArn", "RedriveFunctionArn"],
        ),
        (
            "UpdateFunctionConfiguration",
            ["AuthorizerFunctionArn", "WorkerFunctionArn", "TickFunctionArn", "RedriveFunctionArn"],
        ),
    ],
)
def test_what_is_not_permitted_is_said_and_stops_nothing_else(
    cloud: Cloud, refused: str, undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.refuses = (refused,)
    found = rotate_stack(stack_of(cloud), at_once=True, at="now")
    assert [each.partition(":")[0] for each in found] == undone
    assert all("AccessDeniedException" in each and DSN not in each for each in found)
    assert not is_accepted(OLD, RotatedSecret("town-tokens", FakeClock(T)), monkeypatch)


def test_a_rotation_that_was_not_made_is_refused_and_touches_nothing(cloud: Cloud) -> None:
    stack = StackOfKeys({**OUTPUTS, "TownTokenKeyArn": "another"}, cloud.client)
    with pytest.raises(Refused, match="not rotated"):
        rotate_stack(stack, at_once=True, at="now")
    assert cloud.done == []


# --- one machine -------------------------------------------------------------------------------------------------


def rotated(data: Path, *words: str) -> int:
    return main.run(["--json", "--data", str(data), "secret", "rotate-town-tokens", *words])


def test_on_one_machine_a_rotation_counts_for_the_next_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = SecretFiles(tmp_path / ".secrets")
    files.put(KEY_NAME, Secret(OLD))
    running = serve.Served(
        (), token_keys.KeysOfDirectory(files), FakeClock(T), lambda _: None
    )  # a server that is running all the time
    headers = {"authorization": f"Bearer {issue(Claims('one', 'operator'), [OLD], now=T)}"}

    assert running._claims(headers).town == "one"
    assert rotated(tmp_path) == 0
    assert running._claims(headers).town == "one"
    assert len(keys_in(files)) == 2
    assert OLD not in "".join(capsys.readouterr())
    assert rotated(tmp_path, "--now") == 0
    assert len(keys_in(files)) == 1
    with pytest.raises(Refused, match="unknown key"):
        running._claims(headers)
    fresh = issue(Claims("one", "operator"), keys_in(files), now=T)
    assert running._claims({"authorization": f"Bearer {fresh}"}).town == "one"
    said = capsys.readouterr()
    assert json.loads(said.out)["previousEnded"] is True
    assert not any(key in said.out + said.err for key in (OLD, *keys_in(files)))


def test_an_emergency_ends_the_key_that_signs_and_the_one_before(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path)
    files.put(KEY_NAME, Secret(OLD))
    token_keys.rotate_files(files, at_once=False)
    second = keys_in(files)[0]
    token_keys.rotate_files(files, at_once=True)
    for key in (OLD, second):
        with pytest.raises(Refused):
            read(issue(Claims("one", "operator"), [key], now=T), keys_in(files), now=T)


def test_a_directory_without_a_key_says_what_makes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rotated(tmp_path, "--now") == 2
    assert "townctl serve" in capsys.readouterr().err
    assert not (tmp_path / ".secrets").exists()

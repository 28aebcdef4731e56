"""The keys of town tokens in Secrets Manager, over a rotation."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.authorizer import app as authorizer
from shared.adapters import town_tokens
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.town_tokens import Claims
from shared.domain.errors import AccessDenied, Refused, Retryable
from tests.fakes import FakeClock
from tests.http_events import Context, request
from tests.towns import T

FIRST, SECOND, THIRD = "1" * 40, "2" * 40, "3" * 40


@pytest.fixture
def manager(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name="tokens", SecretString=FIRST)
        yield client


def test_before_the_first_rotation_there_is_one_value(manager: Any) -> None:
    assert RotatedSecret("tokens", FakeClock(T)).values() == (FIRST,)


def test_after_a_rotation_both_values_are_valid_and_the_new_one_comes_first(manager: Any) -> None:
    manager.put_secret_value(SecretId="tokens", SecretString=SECOND)
    assert RotatedSecret("tokens", FakeClock(T)).values() == (SECOND, FIRST)
    manager.put_secret_value(SecretId="tokens", SecretString=THIRD)
    assert RotatedSecret("tokens", FakeClock(T)).values() == (THIRD, SECOND)


def test_values_are_remembered_and_a_refresh_has_patience(manager: Any) -> None:
    clock = FakeClock(T)
    secret = RotatedSecret("tokens", clock)
    assert secret.values() == (FIRST,)
    manager.put_secret_value(SecretId="tokens", SecretString=SECOND)

    assert secret.values() == (FIRST,)
    clock.move(seconds=9)
    assert secret.refreshed() == (FIRST,)
    clock.move(seconds=1)
    assert secret.refreshed() == (SECOND, FIRST)
    manager.put_secret_value(SecretId="tokens", SecretString=THIRD)
    clock.move(minutes=5)
    assert secret.values() == (THIRD, SECOND)


def test_while_nobody_answers_the_last_values_are_believed_for_an_hour(
    manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes after an outage of Secrets Manager began, no town could report anything any more."""
    clock = FakeClock(T)
    secret = RotatedSecret("tokens", clock)
    assert secret.values() == (FIRST,)
    answering, secret._client = secret._client, boto3.client("secretsmanager", endpoint_url="http://127.0.0.1:9")
    clock.move(minutes=59)
    assert secret.values() == (FIRST,)
    clock.move(seconds=30)
    assert secret.refreshed() == (FIRST,)
    clock.move(seconds=30)
    with pytest.raises(Retryable):
        secret.refreshed()
    secret._client = answering
    assert secret.refreshed() == (FIRST,)


def test_a_secret_that_is_not_there_says_what_the_role_needs(manager: Any) -> None:
    with pytest.raises(AccessDenied) as error:
        RotatedSecret("others", FakeClock(T)).values()
    assert "GetSecretValue" in error.value.hint


def authorized(
    token: str | None, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, secret: RotatedSecret
) -> dict[str, Any]:
    monkeypatch.setattr(authorizer, "secret", lambda: secret)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return authorizer.lambda_handler(request("POST", "/api/towns/one/events", headers=headers), Context())


def test_the_authorizer_hands_the_claims_of_a_valid_token_on(manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(T)
    token = town_tokens.issue(Claims("one", "agent", "toast", 3), [FIRST], now=T)
    assert authorized(token, clock, monkeypatch, RotatedSecret("tokens", clock)) == {
        "isAuthorized": True,
        "context": {
            "town": "one",
            "scope": "agent",
            "agent": "toast",
            "agentInLog": "toast",
            "generation": "3",
            "key": town_tokens.key_id(FIRST),
            "token": town_tokens.read(token, [FIRST], now=T).token,
            "expires": str(int((T + town_tokens.LIFE).timestamp())),
        },
    }


def test_a_token_of_a_key_that_came_since_is_known_after_one_more_look(
    manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(T)
    secret = RotatedSecret("tokens", clock)
    assert secret.values() == (FIRST,)
    manager.put_secret_value(SecretId="tokens", SecretString=SECOND)
    clock.move(seconds=30)
    token = town_tokens.issue(Claims("one", "container"), [SECOND], now=clock.now())

    assert authorized(token, clock, monkeypatch, secret)["isAuthorized"] is True


@pytest.mark.parametrize("token", [None, "", "x", town_tokens.issue(Claims("one", "container"), [THIRD], now=T)])
def test_no_token_and_a_wrong_one_are_not_authorized(
    token: str | None, manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(T)
    assert authorized(token, clock, monkeypatch, RotatedSecret("tokens", clock)) == {"isAuthorized": False}


def test_another_scheme_is_not_authorized(manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorizer, "secret", lambda: RotatedSecret("tokens", FakeClock(T)))
    event = request("POST", "/api/towns/one/events", headers={"authorization": "Basic eDp4"})
    assert authorizer.lambda_handler(event, Context()) == {"isAuthorized": False}
    with pytest.raises(Refused):
        town_tokens.read("Basic eDp4", [FIRST], now=T)


@pytest.mark.parametrize("scheme", ["Basic", "", "Bearer:"])
def test_a_token_under_another_scheme_is_none(manager: Any, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(authorizer, "secret", lambda: RotatedSecret("tokens", FakeClock(T)))
    token = town_tokens.issue(Claims("one", "operator"), [FIRST], now=T)
    event = request("POST", "/api/towns/one/events", headers={"authorization": f"{scheme:7}{token}"})
    assert authorizer.lambda_handler(event, Context()) == {"isAuthorized": False}


@pytest.mark.parametrize("value", [{"SecretBinary": b"1" * 40}, {"SecretString": " "}])
def test_a_value_without_text_is_no_key_and_the_error_says_what_to_store(manager: Any, value: dict[str, Any]) -> None:
    manager.put_secret_value(SecretId="tokens", **value)
    with pytest.raises(AccessDenied, match="has no text") as refused:
        RotatedSecret("tokens", FakeClock(T)).values()
    assert "--secret-string" in refused.value.hint

"""Where tokens are kept: files that only their owner reads, and AWS Secrets Manager."""

import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.aws_secrets import KEPT_FOR
from shared.adapters.forge_tokens import NamedToken, secret_name, token_for
from shared.adapters.secret_files import SecretFiles
from shared.adapters.secrets_manager import SecretsManager
from shared.domain.errors import AccessDenied, Refused, SecretsUnavailable
from shared.ports.forge import Asker
from shared.ports.secrets import Secret
from tests.fakes import FakeClock, FakeSecrets
from tests.towns import T

NAME = "towns/t1/forges/github.com"


def revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


# --- names ---------------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    secret = Secret("hunter2")
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"


def test_names_of_rigs_towns_and_the_platform_differ() -> None:
    names = [
        secret_name("github.com", town_id="t1", rig_id="r1"),
        secret_name("github.com", town_id="t1"),
        secret_name("github.com"),
    ]
    assert names == ["towns/t1/rigs/r1/forges/github.com", "towns/t1/forges/github.com", "platform/forges/github.com"]


@pytest.mark.parametrize("rig_id", ["..", ".", "", "a/b", "../../platform", "=2F", "R1", "ri g", "é", "a\\b"])
def test_no_id_leads_to_the_secret_of_another(rig_id: str) -> None:
    name = secret_name("github.com", town_id="t1", rig_id=rig_id)
    parts = name.split("/")
    assert len(parts) == 6
    assert parts[:3] == ["towns", "t1", "rigs"]
    assert parts[3] not in ("", ".", "..", "r1", "rig")
    assert all(character.isalnum() or character in "=_-" for character in parts[3])
    plain = [secret_name("h", town_id="t", rig_id=each) for each in ("a/b", "a=2Fb", "a=2fb", "A", "a", "")]
    assert len(set(plain)) == len(plain)


def test_the_nearest_token_is_taken() -> None:
    secrets = FakeSecrets({"platform/forges/github.com": "p"})
    found = token_for(Asker("t1", "r1"), "github.com", secrets, project="acme/app")
    assert isinstance(found, NamedToken)
    assert (found.name, found.token.reveal(), found.is_platform) == ("platform/forges/github.com", "p", True)
    assert secrets.asked == ["towns/t1/rigs/r1/forges/github.com", NAME, "platform/forges/github.com"]
    assert token_for(Asker("t1"), "gitlab.com", secrets, project="acme/app") is None


# --- files ---------------------------------------------------------------------------------------------------


def test_a_stored_secret_is_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path / "secrets")
    files.put(NAME, Secret("hunter2"))
    files.put(NAME, Secret("hunter3"))
    assert revealed(files.get(NAME)) == "hunter3"
    assert files.names() == (NAME,)
    for path in [tmp_path / "secrets", *(tmp_path / "secrets").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path / "secrets")
    assert files.get(NAME) is None
    assert files.names() == ()
    assert not files.remove(NAME)
    files.put(NAME, Secret("hunter2"))
    assert files.remove(NAME)
    assert files.get(NAME) is None
    assert files.get(f"{NAME}/deeper") is None


def test_an_empty_file_holds_no_token(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path)
    files.put(NAME, Secret(" \n"))
    assert files.get(NAME) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    files = SecretFiles(tmp_path)
    files.put(NAME, Secret("hunter2"))
    (tmp_path / NAME).chmod(mode)
    with pytest.raises(AccessDenied) as refused:
        files.get(NAME)
    assert "hunter2" not in f"{refused.value} {refused.value.hint}"


def test_a_file_that_is_no_text_says_so_without_its_bytes(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path)
    files.put(NAME, Secret("x"))
    (tmp_path / NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(SecretsUnavailable):
        files.get(NAME)


@pytest.mark.parametrize("name", ["", "/", "../x", "a/../b", "a//b", ".hidden", "a/.b", "a\0b", "a\\b", "/etc/passwd"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    for ask in (SecretFiles(tmp_path).get, SecretFiles(tmp_path).remove):
        with pytest.raises(Refused):
            ask(name)


def test_a_directory_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file")
    with pytest.raises(AccessDenied):
        SecretFiles(tmp_path / "secrets").put(NAME, Secret("hunter2"))
    assert [path.name for path in tmp_path.iterdir()] == ["secrets"]


# --- Secrets Manager -----------------------------------------------------------------------------------------


class CountingClient:
    """A client of moto's Secrets Manager that counts what it is asked."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.asked = 0

    def get_secret_value(self, **given: Any) -> Any:
        self.asked += 1
        return self._client.get_secret_value(**given)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("secretsmanager", region_name="us-east-1")


def test_secrets_below_the_prefix_are_found(aws: Any) -> None:
    aws.create_secret(Name=f"towns-of/prod/{NAME}", SecretString="hunter2\n")
    assert revealed(SecretsManager("/towns-of/prod/", FakeClock(T), client=aws).get(NAME)) == "hunter2"
    assert SecretsManager("towns-of/other", FakeClock(T), client=aws).get(NAME) is None


def test_an_answer_is_remembered_for_five_minutes_whatever_it_was(aws: Any) -> None:
    client, clock = CountingClient(aws), FakeClock(T)
    manager = SecretsManager("p", clock, client=client)
    assert manager.get(NAME) is None
    aws.create_secret(Name=f"p/{NAME}", SecretString="hunter2")
    clock.at = T + KEPT_FOR - timedelta(milliseconds=1)
    assert manager.get(NAME) is None
    clock.at = T + KEPT_FOR
    assert revealed(manager.get(NAME)) == "hunter2"
    assert client.asked == 2


def test_a_secret_that_is_marked_for_deletion_is_none(aws: Any) -> None:
    aws.create_secret(Name=f"p/{NAME}", SecretString="hunter2")
    aws.delete_secret(SecretId=f"p/{NAME}")
    assert SecretsManager("p", FakeClock(T), client=aws).get(NAME) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDeniedException", AccessDenied),
        ("ExpiredTokenException", AccessDenied),
        ("ThrottlingException", SecretsUnavailable),
        ("InternalServiceError", SecretsUnavailable),
    ],
)
def test_a_refusal_and_a_failure_are_told_apart_and_not_remembered(code: str, expected: type[Exception]) -> None:
    from botocore.exceptions import ClientError

    class Failing:
        asked = 0

        def get_secret_value(self, **_: Any) -> Any:
            self.asked += 1
            raise ClientError({"Error": {"Code": code, "Message": "hunter2"}}, "GetSecretValue")

    client = Failing()
    manager = SecretsManager("p", FakeClock(T), client=client)
    for _ in range(2):
        with pytest.raises(expected) as raised:
            manager.get(NAME)
        assert "hunter2" not in str(raised.value)
    assert client.asked == 2


def test_no_way_to_aws_is_passing_trouble() -> None:
    from botocore.exceptions import EndpointConnectionError

    class Nowhere:
        def get_secret_value(self, **_: Any) -> Any:
            raise EndpointConnectionError(endpoint_url="nowhere")

    with pytest.raises(SecretsUnavailable):
        SecretsManager("p", FakeClock(T), client=Nowhere()).get(NAME)

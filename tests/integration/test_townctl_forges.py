"""Tokens and self-hosted forges on one machine, as a person sets them up with townctl."""

import io
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ParamValidationError
from moto import mock_aws

from infra.devstack.fake_forge import TOKEN
from infra.devstack.fake_github import FakeGitHub
from infra.townctl import api, forges, main
from shared.adapters.clock import SystemClock
from shared.adapters.control_keys import ControlKeys
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.forge_tokens import NamedToken, token_for
from shared.adapters.secrets_manager import SecretsManager
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.ports.forge import Asker
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts
from shared.storage.towns import ObjectTownStore
from shared.town import database
from tests.integration.townctl_calls import Townctl
from tests.towns import a_town

CANARY = "canary-0451"


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    ctl = Townctl(tmp_path / "data", capsys)
    ctl.document("town", "create", "alpha")
    return ctl


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_token_comes_by_standard_input_and_is_never_shown(
    townctl: Townctl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for words in (["set", "alpha", "github"], ["set", "alpha", "--rig", "r1", "github"], ["set-platform", "gitlab"]):
        given(monkeypatch, f"{CANARY}\n")
        assert CANARY not in str(townctl.document("secret", *words))
    names = ["platform/forges/gitlab.com", "towns/alpha/forges/github.com", "towns/alpha/rigs/r1/forges/github.com"]
    assert townctl.document("secret", "list")["secrets"] == names
    for name in names:
        path = tmp_path / "data" / ".secrets" / name
        assert path.read_text() == CANARY
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert townctl.document("secret", "remove", "alpha", "github")["removed"]
    assert townctl.document("secret", "list")["secrets"] == [names[0], names[2]]
    everything = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and ".secrets" not in path.parts]
    assert not any(CANARY.encode() in path.read_bytes() for path in everything)


@pytest.mark.parametrize("text", ["", " \n", f"{CANARY} {CANARY}", f"{CANARY}\n{CANARY}", f"{CANARY}é", CANARY * 1000])
def test_what_is_no_token_is_refused_and_not_repeated(
    townctl: Townctl, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    given(monkeypatch, text)
    called = townctl("secret", "set", "alpha", "github")
    assert (called.code, called.out) == (2, "")
    assert "standard input" in called.err
    assert CANARY not in called.err


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["set", "nowhere", "github"], "there is no town nowhere"),
        (["set", "alpha", "bitbucket"], "bitbucket"),
        (["set", "alpha", "github", "--host", "a/b"], "is not a host name"),
    ],
)
def test_a_secret_for_nobody_is_refused(
    townctl: Townctl, monkeypatch: pytest.MonkeyPatch, words: list[str], about: str
) -> None:
    given(monkeypatch, CANARY)
    called = townctl("secret", *words)
    assert called.code == 2
    assert about in called.err


def test_a_self_hosted_forge_is_named_once_and_remembered(tmp_path: Path) -> None:
    named = forges.hosts_of(tmp_path, ["gitlab=git.example.com", "github=ghe.example=https://api.ghe.example"])
    assert [(each.kind, each.host, each.api_url) for each in named] == [
        ("gitlab", "git.example.com", "https://git.example.com/api/v4"),
        ("github", "ghe.example", "https://api.ghe.example"),
    ]
    assert forges.hosts_of(tmp_path, []) == named


@pytest.mark.parametrize("text", ["git.example.com", "svn=git.example.com", "github=", "github=h=http://h/api"])
def test_a_forge_host_that_cannot_be_meant_is_refused(townctl: Townctl, text: str) -> None:
    called = townctl("run", "--once", "--forge-host", text)
    assert called.code == 2
    assert "forge-host" in called.err
    assert townctl("run", "--once").code == 0


def test_a_pull_request_is_polled_with_the_stored_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    github = FakeGitHub()
    github.host = "ghe.example"
    with github.serving():
        url = github.url_of(github.site.opens("acme/main-rig"))
        data = tmp_path / "data"
        _found(data, url)
        townctl = Townctl(data, capsys)
        given(monkeypatch, TOKEN)
        townctl.document("secret", "set", "t1", "--rig", "rig-1", "github", "--host", "ghe.example")
        townctl.document("run", "--once", "--forge-host", f"github=ghe.example={github.api_url}")
        assert [request.path for request in github.requests] == ["/api/graphql"]
        assert (
            github.requests[0].body["variables"] | {"owner": "acme", "name": "main-rig", "number": 1}
            == (github.requests[0].body["variables"])
        )
        townctl.document("tick", "t1", "--force")
        journal = [tick["row"] for tick in townctl.document("ticks", "t1")["ticks"]]
        seen = [event for row in journal for event in row["inputs"]["new_events"]]
        [polled] = [event["payload"] for event in seen if event["event_type"] == "pr_polled"]
        assert '"head_sha":"0000000000000000000000000000000000000001"' in polled


def _found(data: Path, url: str) -> None:
    """A town whose only review is polled, as of now."""
    now = datetime.now(UTC) - timedelta(seconds=30)
    town = a_town().config(refinery={}).key("next_due_at", to_text(now))
    town.update("rigs", "rig-1", git_url="https://ghe.example/acme/main-rig.git")
    town.bead("b", "issue", "in_review").review("m", "in_progress", of="b", pr_url=url, updated_at=now)
    facts = CommitFacts("1-built-t1", 1, now, now, database.SCHEMA_VERSION)
    data.mkdir()
    drive(ObjectTownStore(DirectoryObjects(data)).create("t1", town.image(), facts))


# --- a deployed stack: Secrets Manager ---------------------------------------------------------------------------

PREFIX = "town-reconciler/prod"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Moto's Secrets Manager, for whoever makes a client in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield boto3.client("secretsmanager")


def asked_of_forges(host: str, rig_id: str | None = None) -> str | None:
    """The token with which a function of the stack would ask that host for a rig of alpha."""
    found = token_for(Asker("alpha", rig_id), host, SecretsManager(PREFIX, SystemClock()), project="acme/app")
    return found.token.reveal() if isinstance(found, NamedToken) else None


def test_a_token_of_a_stack_lies_where_its_functions_look_for_it(
    townctl: Townctl, aws: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at = ("--secrets-prefix", PREFIX)
    for words, token in (
        (("set-platform", "github", *at), "token-of-everybodys"),
        (("set", "alpha", "github", *at), "token-of-alphas"),
        (("set", "alpha", "--rig", "R 1", "github", "--host", "ghe.example:8443", *at), "token-of-rigs"),
    ):
        given(monkeypatch, f"{token}\n")
        called = townctl("secret", *words)
        assert (called.code, token in called.out + called.err) == (0, False)
    assert asked_of_forges("github.com") == asked_of_forges("github.com", "R 1") == "token-of-alphas"
    assert asked_of_forges("ghe.example:8443", "R 1") == "token-of-rigs"
    names = townctl.document("secret", "list", *at)["secrets"]
    assert names == [
        "platform/forges/github.com",
        "towns/alpha/forges/github.com",
        "towns/alpha/rigs/=52=201/forges/ghe.example=3A8443",
    ]
    assert not (tmp_path / "data/.secrets").exists()

    assert townctl.document("secret", "remove", "alpha", "github", *at)["removed"]
    assert asked_of_forges("github.com") == "token-of-everybodys"
    assert townctl("secret", "remove", "alpha", "github", *at).code == 1
    assert townctl.document("secret", "list", *at)["secrets"] == [names[0], names[2]]


def test_a_stored_token_is_replaced_and_a_removed_one_can_be_stored_again(
    townctl: Townctl, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed secret can be recovered for a week, and until then its name is taken."""
    monkeypatch.setenv("TOWNCTL_SECRETS_PREFIX", PREFIX)
    for token in ("first", "second"):
        given(monkeypatch, token)
        townctl.document("secret", "set", "alpha", "gitlab")
        assert asked_of_forges("gitlab.com") == token
    townctl.document("secret", "remove", "alpha", "gitlab")
    assert asked_of_forges("gitlab.com") is None
    given(monkeypatch, "third")
    townctl.document("secret", "set", "alpha", "gitlab")
    assert asked_of_forges("gitlab.com") == "third"


def test_a_hundred_tokens_are_all_named(townctl: Townctl, aws: Any) -> None:
    names = [f"towns/t{number:03}/forges/github.com" for number in range(101)]
    for name in names:
        aws.create_secret(Name=f"{PREFIX}/{name}", SecretString="x")
    aws.create_secret(Name=f"{PREFIX}-of-others/{names[0]}", SecretString="x")
    assert townctl.document("secret", "list", "--secrets-prefix", PREFIX)["secrets"] == names


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ClientError({"Error": {"Code": "AccessDeniedException", "Message": CANARY}}, "CreateSecret"), "need secrets"),
        (ClientError({"Error": {"Code": "InternalServiceError", "Message": CANARY}}, "CreateSecret"), "try again"),
        (ParamValidationError(report=f"Invalid type for parameter SecretString, value: {CANARY}"), "sign in"),
    ],
    ids=["refused", "failed", "not sent"],
)
def test_what_the_sdk_says_of_a_token_is_not_repeated(
    townctl: Townctl, aws: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """Its sentences may quote what was sent."""

    def fails(self: BaseClient, *_: object) -> None:
        raise error

    monkeypatch.setattr(BaseClient, "_make_api_call", fails)
    given(monkeypatch, CANARY)
    called = townctl("secret", "set-platform", "github", "--secrets-prefix", PREFIX)
    assert (called.code, called.out) == (2, "")
    assert said in called.err
    assert CANARY not in called.err


def test_over_an_api_the_town_is_looked_for_there_and_the_token_goes_to_its_region(
    townctl: Townctl, aws: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, str]] = []

    def ask(self: api.Api, method: str, path: str, body: Any = None) -> Any:
        seen.append((method, path))
        if "nowhere" in path:
            raise Refused("no such town", status=404, path="townId", hint="check the id")
        return {}

    monkeypatch.setattr(api.Api, "ask", ask)
    given_api = ("--api", "https://abc.execute-api.eu-west-1.amazonaws.com")
    for words, code in (
        (("set", "nowhere", "github", "--secrets-prefix", PREFIX), 2),
        (("set", "alpha", "github"), 2),
        (("set", "alpha", "github", "--secrets-prefix", PREFIX), 0),
    ):
        given(monkeypatch, CANARY)
        assert main.run([*given_api, "secret", *words]) == code
    assert seen == [("GET", "/api/towns/nowhere/status"), ("GET", "/api/towns/alpha/status")]
    [kept] = boto3.client("secretsmanager", region_name="eu-west-1").list_secrets()["SecretList"]
    assert kept["Name"] == f"{PREFIX}/towns/alpha/forges/github.com"
    assert CANARY not in "".join(capsys.readouterr())


def test_a_town_that_is_not_in_the_stacks_bucket_gets_no_token(
    aws: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("s3").create_bucket(Bucket="towns")
    given(monkeypatch, CANARY)
    assert main.run(["--bucket", "towns", "secret", "set", "nowhere", "github", "--secrets-prefix", PREFIX]) == 2
    assert "there is no town nowhere" in capsys.readouterr().err
    assert aws.list_secrets()["SecretList"] == []


def test_the_towns_of_a_platforms_token_of_a_stack_are_changed_without_the_token(
    townctl: Townctl, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("github", "--secrets-prefix", PREFIX)
    assert townctl("secret", "set-platform", *at, "--serves", "alpha=acme", "--keep-token").code == 2
    given(monkeypatch, "token-of-everybodys\n")
    townctl.document("secret", "set-platform", *at, "--serves", "beta=acme")
    assert asked_of_forges("github.com") is None
    townctl.document("secret", "set-platform", *at, "--serves", "alpha=ACME/App", "--keep-token")
    assert asked_of_forges("github.com") == "token-of-everybodys"


def test_the_control_key_of_a_town_of_a_stack_is_the_one_that_its_functions_send(townctl: Townctl, aws: Any) -> None:
    key = townctl.document("secret", "control-key", "alpha", "--secrets-prefix", PREFIX)["key"]
    assert key == ControlKeys(SecretsManager(PREFIX, SystemClock()))("alpha")
    assert townctl.document("secret", "control-key", "alpha", "--secrets-prefix", PREFIX)["key"] == key

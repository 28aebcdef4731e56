"""Tokens and self-hosted forges on one machine, as a person sets them up with townctl."""

import io
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.local.fake_forge import TOKEN
from infra.local.fake_github import FakeGitHub
from infra.townctl import forges
from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.steps import drive
from shared.domain.times import to_text
from shared.domain.town_store import CommitFacts
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
        (["set", "alpha", "github", "--host", "a/b"], "is no host"),
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
        assert [request.path for request in github.requests] == ["/api/v3/repos/acme/main-rig/pulls/1"]
        townctl.document("tick", "t1", "--force")
        journal = townctl.document("ticks", "t1")["ticks"]
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

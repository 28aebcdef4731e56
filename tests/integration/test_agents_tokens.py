"""`townctl secret set --for-agents`: the token that agents get is stored, listed and removed apart from the town's own."""

import io
from pathlib import Path

import pytest

from infra.townctl import main
from shared.adapters.secret_files import SecretFiles
from shared.ports.secrets import Secret

TOKEN = "ghp_forAgents0123456789"


def townctl(*words: str) -> int:
    return main.run(words)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert townctl("town", "create", "t1", "--data", str(tmp_path)) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(TOKEN))
    return tmp_path


def stored(data: Path, name: str) -> str | None:
    found = SecretFiles(data / ".secrets").get(name)
    return None if found is None else found.reveal()


def test_a_token_for_agents_does_not_replace_the_towns_own(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SecretFiles(data / ".secrets").put("towns/t1/forges/github.com", Secret("merges"))
    assert townctl("secret", "set", "t1", "github", "--for-agents", "--rig", "r1", "--data", str(data)) == 0
    assert stored(data, "agents/towns/t1/rigs/r1/forges/github.com") == TOKEN
    assert stored(data, "towns/t1/forges/github.com") == "merges"
    assert townctl("secret", "list", "--data", str(data)) == 0
    shown = capsys.readouterr()
    assert "agents/towns/t1/rigs/r1/forges/github.com" in shown.out
    assert TOKEN not in shown.out + shown.err
    assert townctl("secret", "remove", "t1", "github", "--for-agents", "--rig", "r1", "--data", str(data)) == 0
    assert stored(data, "agents/towns/t1/rigs/r1/forges/github.com") is None
    assert stored(data, "towns/t1/forges/github.com") == "merges"


def test_a_platforms_token_for_agents_must_name_its_towns(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert townctl("secret", "set-platform", "github", "--for-agents", "--data", str(data)) == 2
    assert "--serves" in capsys.readouterr().err
    words = ("secret", "set-platform", "github", "--for-agents", "--serves", "t1=acme", "--data", str(data))
    assert townctl(*words) == 0
    assert stored(data, "agents/platform/forges/github.com") == f'{{"token": "{TOKEN}", "towns": {{"t1": ["acme"]}}}}'

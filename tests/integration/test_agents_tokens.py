"""`townctl secret set --for-agents` and `set-app`: what agents get is stored apart from the town's own token."""

import io
import json
from pathlib import Path

import pytest

from infra.townctl import main
from shared.adapters.github.app import AppSecret
from shared.adapters.secret_files import SecretFiles
from shared.ports.secrets import Secret
from tests.key_pairs import key_pair

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


def test_an_app_is_stored_with_its_towns_and_neither_its_key_nor_a_part_of_it_is_shown(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    private = key_pair()[0]
    monkeypatch.setattr("sys.stdin", io.StringIO(private))
    assert townctl("secret", "set-app", "12345", "--serves", "t1=acme", "--data", str(data)) == 0
    app = AppSecret.read(Secret(stored(data, "apps/github.com") or ""))
    assert (app.app_id, app.key.token.reveal(), app.key.towns) == ("12345", private, {"t1": ("acme",)})
    assert townctl("secret", "set-app", "12345", "--serves", "t1=other/app", "--keep-key", "--data", str(data)) == 0
    assert AppSecret.read(Secret(stored(data, "apps/github.com") or "")).key.towns == {"t1": ("other/app",)}
    assert townctl("secret", "list", "--data", str(data)) == 0
    assert townctl("doctor", "--data", str(data)) == 0
    shown = capsys.readouterr()
    assert "apps/github.com" in shown.out
    assert not any(line in shown.out + shown.err for line in private.splitlines()[1:-1])


@pytest.mark.parametrize(
    "text", ["no key CANARY", "-----BEGIN RSA PRIVATE KEY-----\nCANARY\n-----END RSA PRIVATE KEY-----\n", ""]
)
def test_what_is_no_key_is_not_stored_and_not_shown(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert townctl("secret", "set-app", "12345", "--serves", "t1=acme", "--data", str(data)) == 2
    shown = capsys.readouterr()
    assert "CANARY" not in shown.out + shown.err
    assert stored(data, "apps/github.com") is None


def test_the_doctor_finds_an_app_that_cannot_be_used(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = SecretFiles(data / ".secrets")
    kept.put("apps/github.com", Secret('{"app_id": "1", "private_key": "PEM-CANARY", "towns": {"t1": ["acme"]}}'))
    kept.put("apps/git.example.com", Secret("PEM-CANARY"))
    assert townctl("doctor", "--json", "--data", str(data)) == 1
    found = {each["subject"]: each["problem"] for each in json.loads(capsys.readouterr().out)["findings"]}
    assert "not an RSA key" in found["apps/github.com"]
    assert "not strict JSON" in found["apps/git.example.com"]
    assert "CANARY" not in str(found)

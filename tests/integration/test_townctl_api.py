"""`townctl token`, and the requests of `townctl --api`; tests/e2e runs them against the emulated stack."""

import importlib
import re
from inspect import signature
from pathlib import Path
from typing import Any, Final

import pytest

from infra.townctl import main
from infra.townctl.commands import COMMANDS, ON_FILES, Command
from infra.townctl.output import OK, REFUSED
from shared.adapters import town_tokens
from shared.adapters.clock import SystemClock
from tests.conventions.sources import ROOT

PAGE = ROOT / "docs/runbook/townctl.md"
ROW = re.compile(r"^\| `([^`]+)` \| (yes|no) \| (yes|no) \| (yes|no) \|$", re.MULTILINE)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("k" * 48 + "\n")
    return path


def call(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main.run(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_token_is_one_that_the_api_believes(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("token", "demo", "--scope", "agent", "--agent", "toast", "--generation", "3", "--key-file", str(key))
    code, out, _ = call(*words, capsys=capsys)
    claims = town_tokens.read(out.strip(), ["k" * 48], now=SystemClock().now())
    assert code == OK
    assert (claims.town, claims.scope, claims.agent, claims.generation) == ("demo", "agent", "toast", 3)


@pytest.mark.parametrize(
    "words",
    [
        ("token", "demo"),
        ("token", "Demo", "--key-file", "KEY"),
        ("token", "demo", "--scope", "agent", "--key-file", "KEY"),
        ("token", "demo", "--agent", "x", "--key-file", "KEY"),
        ("token", "demo", "--hours", "9", "--key-file", "KEY"),
        ("token", "demo", "--hours", "nan", "--key-file", "KEY"),
        ("token", "demo", "--hours", "1e300", "--key-file", "KEY"),
        ("--api", "nonsense", "town", "list"),
        ("--api", "ftp://127.0.0.1", "town", "list"),
        ("--api", "http://", "town", "list"),
        ("--api", "http://127.0.0.1:1/?x", "town", "list"),
        ("token", "demo", "--key-file", "/nowhere/key"),
        ("--api", "http://127.0.0.1:9", "run", "--once"),
        ("--api", "http://127.0.0.1:9", "restore", "demo", "--txid", "1", "--in-place"),
        ("--api", "http://127.0.0.1:9", "--data", "here", "town", "list"),
        ("--api", "http://127.0.0.1:9", "event", "post", "demo", "--type", "town_started"),
        ("--api", "http://127.0.0.1:9", "event", "post", "demo", "--file", "KEY"),
        ("--api", "http://127.0.0.1:9", "town", "list"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_with_what_to_do(
    words: tuple[str, ...],
    key: Path,
    capsys: pytest.CaptureFixture[str],
    as_owner: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TOWNCTL_TOKEN", raising=False)
    code, out, err = call(*(str(key) if word == "KEY" else word for word in words), capsys=capsys)
    assert (code, out) == (REFUSED, "")
    assert "hint:" in err
    assert "kkkk" not in err


def test_the_hint_about_an_unreadable_key_is_for_the_user_of_townctl(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a region the hint was the general one, and for a wrong ARN it was about the role of a Lambda function."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "nothing"))
    code, _, err = call("token", "alpha", "--secret", "arn:of:nothing", capsys=capsys)
    assert code == REFUSED
    assert "NoRegionError" in err
    assert "set AWS_DEFAULT_REGION, and check that you may read the output TownTokenKeyArn" in err


OF_NO_TOWN: Final = {"event types", "explain rule", "explain setting"}
"""What they say is the same for all towns, so they ask no place."""


def function_of(command: Command) -> Any:
    module, _, name = command.path.partition(":")
    return getattr(importlib.import_module(f"infra.{module}"), name)


def test_the_table_of_places_names_every_command_and_says_the_truth_about_the_api() -> None:
    listed = {
        name: (data == "yes", api == "yes") for name, data, _, api in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }
    assert set(listed) == {command.name for command in COMMANDS}
    asked = {command.name: set(signature(function_of(command)).parameters) for command in COMMANDS}
    at_a_place = {name for name, takes in asked.items() if "place" in takes}
    assert {name for name, (_, api) in listed.items() if api} == at_a_place | OF_NO_TOWN
    assert set(ON_FILES) == set(asked) - at_a_place - OF_NO_TOWN - {"token"}


def test_the_doctor_of_a_stack_does_not_mind_that_an_api_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TOWNCTL_API set, `doctor --stack` was refused as a command that does not work with --api."""
    from infra.townctl import stack_doctor
    from infra.townctl.output import Answer

    asked: list[str] = []
    monkeypatch.setenv("TOWNCTL_API", "http://127.0.0.1:9")
    monkeypatch.setattr(stack_doctor, "deployed", asked.append)
    monkeypatch.setattr(stack_doctor, "examine", lambda _: Answer({}, ("well",)))
    assert call("doctor", "--stack", "town-reconciler-dev", capsys=capsys)[:2] == (OK, "well\n")
    assert asked == ["town-reconciler-dev"]

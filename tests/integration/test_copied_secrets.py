"""`townctl secret copy`: a stack changes the service that keeps its secrets, and its functions find every one of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from infra.townctl import main
from infra.townctl.stack_secrets import StackParameters, StackSecrets
from shared.adapters.ssm_parameters import SsmParameters
from shared.ports.secrets import Secret
from tests.fakes import FakeClock
from tests.towns import T

PREFIX = "town-reconciler/prod"
REGION = "eu-west-1"
NAMES = ("platform/control-key", "platform/forges/github.com", "towns/t1/rigs/a_rig:1/forges/git.example.com")


@pytest.fixture
def old(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[StackSecrets]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        kept = StackSecrets(PREFIX, region=REGION)
        for name in (*NAMES, "platform/sentry-dsn"):
            kept.put(name, Secret(f"text of {name}"))
        yield kept


def copied(tmp_path: Path, *, to: str | None = f"/{PREFIX}", source: str = PREFIX) -> int:
    given = () if to is None else ("--secrets-prefix", to)
    return main.run(("secret", "copy", source, *given, "--data", str(tmp_path)))


def test_after_a_copy_the_functions_find_every_secret_among_the_parameters(
    old: StackSecrets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copied(tmp_path) == 0
    parameters = SsmParameters(f"/{PREFIX}", FakeClock(T))
    assert [found.reveal() for name in NAMES if (found := parameters.get(name))] == [
        f"text of {name}" for name in NAMES
    ]
    assert StackParameters(f"/{PREFIX}", region=REGION).names() == tuple(sorted(NAMES))
    assert {*old.names()} == {*NAMES, "platform/sentry-dsn"}
    shown = capsys.readouterr()
    assert "platform/control-key: copied" in shown.out
    assert "text of" not in shown.out + shown.err


def test_a_second_copy_changes_nothing_and_a_newer_secret_is_kept(
    old: StackSecrets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copied(tmp_path) == 0
    assert copied(tmp_path) == 0
    parameters = StackParameters(f"/{PREFIX}", region=REGION)
    parameters.put(NAMES[0], Secret("a newer one"))
    capsys.readouterr()
    assert copied(tmp_path) == 1
    kept = parameters.get(NAMES[0])
    assert kept is not None
    assert kept.reveal() == "a newer one"
    assert f"{NAMES[0]}: another text is there, which was kept" in capsys.readouterr().out


def test_and_back_again(old: StackSecrets, tmp_path: Path) -> None:
    assert copied(tmp_path) == 0
    old.remove(NAMES[1])
    assert copied(tmp_path, to=PREFIX, source=f"/{PREFIX}") == 0
    back = old.get(NAMES[1])
    assert back is not None
    assert back.reveal() == f"text of {NAMES[1]}"


@pytest.mark.parametrize("to", [None, PREFIX], ids=["none", "the same"])
def test_a_copy_needs_another_prefix(
    old: StackSecrets, tmp_path: Path, to: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copied(tmp_path, to=to) == 2
    assert "--secrets-prefix" in capsys.readouterr().err


def test_a_prefix_without_secrets_is_said(
    old: StackSecrets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copied(tmp_path, source="town-reconciler/none") == 0
    assert "there is no secret below town-reconciler/none" in capsys.readouterr().out

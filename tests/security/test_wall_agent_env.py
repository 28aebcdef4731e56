"""Which variables of an operator's environment local agents get: those that were named, and their values are not stored."""

from pathlib import Path

import pytest

from infra.townctl import agent_programs
from shared.adapters.clock import SystemClock
from shared.domain.errors import Refused


def test_a_named_variable_is_passed_on_and_remembered_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_KEY", "sesame")
    monkeypatch.setenv("OTHER", "sesame")
    agent_programs.program(tmp_path, "true", ["MODEL_KEY"])
    later = agent_programs.program(tmp_path, None)
    assert later.named == {"MODEL_KEY"}
    environment = agent_programs.local_runtime(tmp_path, later, SystemClock())._environment
    assert environment["MODEL_KEY"] == "sesame"
    assert "OTHER" not in environment
    assert b"sesame" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_another_program_keeps_the_names_and_other_names_keep_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A", "a")
    monkeypatch.setenv("B", "b")
    agent_programs.program(tmp_path, "true", ["A"])
    assert agent_programs.program(tmp_path, "false").named == {"A"}
    found = agent_programs.program(tmp_path, None, ["B"])
    assert found.command == ("false",)
    assert found.named == {"B"}


@pytest.mark.parametrize("name", ["TOWN_CONTROL_KEY", "A=B", "NOT_SET_ANYWHERE"])
def test_a_name_that_cannot_be_passed_on_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="--agent-env"):
        agent_programs.program(tmp_path, "true", [name])

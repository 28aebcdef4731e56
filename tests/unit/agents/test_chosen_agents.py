"""A coding agent is chosen by its name: with --agent of townctl, or TOWN_AGENT of a control server."""

import sys
import tomllib
from pathlib import Path

import pytest

from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.drivers.claude import Claude
from infra.agents.drivers.codex import Codex
from infra.agents.drivers.contract import Models, Setting
from infra.agents.drivers.known import ALL
from infra.agents.drivers.opencode import Opencode
from infra.townctl import agent_programs
from shared.domain import strict_json
from shared.domain.errors import Refused
from shared.domain.orders import StartOrder
from shared.domain.states import Role

NAMES = [driver.name for driver in ALL]
KEY = "a-key-of-a-model"
ORDER = StartOrder(town_id="t", agent_id="p", generation=1, role=Role.POLECAT, system_prompt='You are \x7f "quoted"')


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which all three programs are."""
    for name in NAMES:
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("programs")
def test_an_agent_is_remembered_like_any_program(tmp_path: Path, name: str) -> None:
    agent_programs.program(tmp_path, None, agent=name)
    later = agent_programs.program(tmp_path, None)
    assert (later.command, later.agent) == ((sys.executable, "-m", "infra.agents.drivers", name), name)


@pytest.mark.usefixtures("programs")
def test_an_agent_and_a_command_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--agent and --agent-command both choose"):
        agent_programs.program(tmp_path, "true", agent="codex")


@pytest.mark.usefixtures("programs")
def test_an_unknown_agent_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="choose one of opencode, claude, codex"):
        agent_programs.program(tmp_path, None, agent="cursor")


def test_an_agent_whose_program_is_missing_is_refused_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="no program codex on PATH") as refused:
        agent_programs.program(tmp_path, None, agent="codex")
    assert "npm install" in str(refused.value.hint)


@pytest.mark.parametrize("name", NAMES)
def test_a_control_server_takes_an_agent_by_name(name: str) -> None:
    settings = ControlServerSettings.from_environment({"TOWN_ID": "t", "TOWN_AGENT": name})
    assert settings.command == (sys.executable, "-m", "infra.agents.drivers", name)


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ({"TOWN_AGENT": "codex", "TOWN_AGENT_COMMAND": "true"}, "both choose the program"),
        ({"TOWN_AGENT": "cursor"}, "choose one of opencode, claude, codex"),
        ({}, "set TOWN_ID"),
    ],
)
def test_a_control_server_says_what_is_wrong_with_the_choice(chosen: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ControlServerSettings.from_environment({"TOWN_ID": "t", **chosen})


@pytest.mark.parametrize("driver", [Opencode(), Claude(), Codex()], ids=NAMES)
def test_no_key_and_no_prompt_stands_in_a_command_or_a_file_of_the_configuration(
    tmp_path: Path, driver: Opencode | Claude | Codex
) -> None:
    environment = dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_API_KEY"), KEY)
    setting = Setting(ORDER, tmp_path, environment, Models("m", "s"), "http://127.0.0.1:1", ("town-agent", "mcp"))
    start = driver.start("/bin/program", "x" * 200_000, setting, session_id="s1")
    assert "s1" in start.command
    assert all(len(word) < 1000 for word in start.command)
    assert start.stdin == "x" * 200_000
    written = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert any("town-agent" in text for text in written)
    for text in (*written, *start.command, *start.environment.values()):
        assert KEY not in text


def test_the_configuration_of_codex_is_toml_whatever_the_system_prompt_says(tmp_path: Path) -> None:
    Codex().start("codex", "", Setting(ORDER, tmp_path, {}, tools=("town-agent", "mcp")), session_id=None)
    found = tomllib.loads((tmp_path / "config.toml").read_text(encoding="utf-8"))
    assert found["developer_instructions"] == ORDER.system_prompt
    assert found["mcp_servers"]["town"]["command"] == "town-agent"


def test_codex_writes_no_snapshot_of_its_environment(tmp_path: Path) -> None:
    """A file of its home held the key of the model, and stayed if the program was killed at the wrong moment."""
    Codex().start("codex", "", Setting(ORDER, tmp_path, {}), session_id=None)
    assert not tomllib.loads((tmp_path / "config.toml").read_text(encoding="utf-8"))["features"]["shell_snapshot"]


def test_a_model_server_of_ones_own_is_addressed_as_each_program_expects_it(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:1/v1/"):
        setting = Setting(ORDER, tmp_path, {}, Models("m"), url)
        Opencode().start("opencode", "", setting, session_id=None)
        config = strict_json.foreign((tmp_path / "opencode.json").read_text(encoding="utf-8"), limit=1 << 16)
        assert config["provider"]["town"]["options"]["baseURL"] == "http://127.0.0.1:1/v1"
        assert config["model"] == "town/m"
        started = Claude().start("claude", "", setting, session_id=None)
        assert started.environment["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1"
        Codex().start("codex", "", setting, session_id=None)
        assert 'base_url = "http://127.0.0.1:1/v1"' in (tmp_path / "config.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("driver", [Opencode(), Claude(), Codex()], ids=NAMES)
def test_a_missing_key_is_named_with_the_option_that_hands_it_on(
    tmp_path: Path, driver: Opencode | Claude | Codex
) -> None:
    missing = driver.missing_key(Setting(ORDER, tmp_path, {}))
    assert missing is not None
    assert "--agent-env" in missing

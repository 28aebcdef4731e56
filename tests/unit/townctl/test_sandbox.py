"""What townctl says about the user of local agents, and the sandbox that it offers."""

from pathlib import Path

import pytest

from infra.townctl import sandbox
from shared.adapters.local_state import GenerationFiles
from shared.domain.errors import Refused


@pytest.fixture
def bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program of the name `bwrap`, and nothing else, on PATH."""
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return str(program)


def said(data: Path, environment: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for _ in range(2):
        sandbox.tell_once(data / ".agents", environment, lines.append)
    return lines


def test_the_user_is_told_once_and_offered_what_is_installed(tmp_path: Path, bubblewrap: str) -> None:
    assert bubblewrap
    [line] = said(tmp_path, {})
    assert line == (
        "agents run as your user, so they can read what you can read; TOWN_AGENT_SANDBOX=bwrap runs each in a sandbox"
    )


def test_where_it_is_not_installed_it_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [line] = said(tmp_path, {})
    assert line.endswith("a control server run as root gives each its own user")


def test_whoever_asks_for_the_sandbox_is_told_nothing(tmp_path: Path) -> None:
    assert said(tmp_path, {"TOWN_AGENT_SANDBOX": "bwrap"}) == []


def test_a_sandbox_hides_secrets_and_other_agents_and_leaves_the_agent_its_own(tmp_path: Path, bubblewrap: str) -> None:
    agents = tmp_path / ".agents"
    wrap = sandbox.sandbox_of({"TOWN_AGENT_SANDBOX": "bwrap"}, data=tmp_path, agents=agents)
    assert wrap is not None
    files = GenerationFiles(agents / "t1" / "a1" / "00000001", 1)
    words = list(wrap(files, ["agent", "--fast"]))
    assert words[0] == bubblewrap
    assert words[-3:] == ["--", "agent", "--fast"]
    assert {"--unshare-pid", "--unshare-ipc"} <= set(words)
    steps = [
        words[at : at + 2] for at, word in enumerate(words) if word in ("--ro-bind", "--tmpfs", "--bind", "--proc")
    ]
    assert [[verb, place] for verb, place in steps] == [
        ["--ro-bind", "/"],
        ["--proc", "/proc"],
        ["--tmpfs", "/tmp"],
        ["--bind", str(tmp_path)],
        ["--tmpfs", str(tmp_path / ".secrets")],
        ["--tmpfs", str(agents)],
        ["--bind", str(agents / "t1/a1/work")],
        ["--bind", str(agents / "t1/a1/00000001/agent")],
    ]


@pytest.mark.parametrize(
    ("wanted", "said"), [("bwrap", "is not installed"), ("docker", "there is no sandbox 'docker'")]
)
def test_a_sandbox_that_is_not_to_be_had_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, said: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match=said):
        sandbox.sandbox_of({"TOWN_AGENT_SANDBOX": wanted}, data=tmp_path, agents=tmp_path)


def test_without_a_wish_there_is_no_sandbox(tmp_path: Path) -> None:
    assert sandbox.sandbox_of({}, data=tmp_path, agents=tmp_path) is None

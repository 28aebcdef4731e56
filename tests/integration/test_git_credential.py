"""`town-agent git-credential`, called by the real git, against private repositories that ask for a token."""

import io
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.agents import git_settings
from infra.agents.credentials import FILE, read
from infra.agents.town_agent import git_credential
from infra.devstack.fake_git_http import Gate
from shared.adapters.clock import CLOCK_VARIABLE, ScaledClock
from tests.forge_credentials import HOST, Now, PrivateForge, private_forge, url_of

ROOT = Path(__file__).parents[2]


@dataclass
class Agent:
    """An agent with a desk, which calls git."""

    forge: PrivateForge
    desk: Path
    environment: dict[str, str]

    def git(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@town.invalid", *words],
            check=False,
            cwd=self.desk,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def asks(self, capsys: pytest.CaptureFixture[str], word: str = "get", **question: str) -> str:
        """What the helper answers; nothing of a credential is ever in what it complains about."""
        text = "".join(f"{name}={value}\n" for name, value in question.items())
        git_credential.run([word], self.environment, asked=io.StringIO(f"{text}\n"))
        said = capsys.readouterr()
        assert not any(token in said.err for token in self.forge.town.issued)
        self.complaint = said.err
        return said.out


@pytest.fixture
def now() -> Now:
    return Now(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def agent(tmp_path: Path, now: Now) -> Iterator[Agent]:
    with private_forge(tmp_path, "acme/app", "acme/other", gate=Gate(now)) as forge:
        forge.town.projects["a1"] = "acme/app"
        yield an_agent(tmp_path, forge)


def an_agent(place: Path, forge: PrivateForge) -> Agent:
    desk = place / "desk"
    desk.mkdir()
    (desk / "context.json").write_text(
        json.dumps({"town_id": "t1", "agent_id": "a1", "generation": 1, "role": "polecat"})
    )
    around = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(desk),
        "TOWN_AGENT_CONTEXT": str(desk / "context.json"),
        "TOWN_API": forge.api,
        "TOWN_TOKEN": "town-token",
        **forge.variables,
    }
    answer = {"host": HOST, "kind": "github", "project": "acme/app", "username": "u", "token": "unused"}
    credential = read({"forge": answer}).forge
    assert credential is not None
    return Agent(forge, desk, around | git_settings.of_agent(credential, around))


def test_git_clones_and_pushes_with_the_credential_that_the_town_issued(agent: Agent) -> None:
    assert agent.git("clone", "--quiet", url_of("acme/app"), "tree").stderr == ""
    assert agent.git("-C", "tree", "commit", "--quiet", "--allow-empty", "-m", "x").returncode == 0
    assert agent.git("-C", "tree", "push", "--quiet", "origin", "HEAD:refs/heads/work").stderr == ""
    assert agent.forge.has_branch("acme/app", "work")
    assert agent.forge.town.asked == [("a1", "town-token")], "the second call finds the credential on the desk"
    assert stat.S_IMODE((agent.desk / FILE).stat().st_mode) == 0o600


def test_a_credential_that_ends_while_the_agent_works_is_replaced_before_its_end(agent: Agent, now: Now) -> None:
    agent.forge.town.lives = timedelta(minutes=4)  # less than the margin, so the next call fetches a new one
    assert agent.git("clone", "--quiet", url_of("acme/app"), "tree").returncode == 0
    now.at += timedelta(minutes=5)
    assert agent.git("-C", "tree", "fetch", "--quiet").stderr == ""
    assert len(agent.forge.town.issued) == 2
    assert agent.forge.gate.refused == []


def test_a_credential_is_kept_where_the_clock_of_the_town_runs_ahead_of_the_forge(agent: Agent) -> None:
    tomorrow = ScaledClock(datetime.now(UTC) + timedelta(days=1), time.time(), speed=20)
    agent.environment[CLOCK_VARIABLE] = tomorrow.to_text()
    assert agent.git("clone", "--quiet", url_of("acme/app"), "tree").returncode == 0
    assert agent.git("-C", "tree", "fetch", "--quiet").stderr == ""
    assert len(agent.forge.town.issued) == 1


def test_a_credential_that_the_forge_refuses_is_forgotten_so_that_the_next_call_works(agent: Agent) -> None:
    assert agent.git("clone", "--quiet", url_of("acme/app"), "tree").returncode == 0
    agent.forge.gate.end(agent.forge.town.issued[0])
    assert "Authentication failed" in agent.git("-C", "tree", "fetch").stderr
    assert not (agent.desk / FILE).exists()
    assert agent.git("-C", "tree", "fetch", "--quiet").stderr == ""
    assert len(agent.forge.town.issued) == 2


def test_another_repository_of_the_host_gets_no_credential(agent: Agent) -> None:
    refused = agent.git("clone", url_of("acme/other"), "tree")
    assert refused.returncode != 0
    assert "could not read Username" in refused.stderr
    assert not any(token in refused.stderr for token in agent.forge.town.issued)


@pytest.mark.parametrize("way", ["..", "%2e%2e", "info/lfs/../../.."])
def test_a_submodule_whose_address_leads_out_of_the_repository_gets_no_credential(agent: Agent, way: str) -> None:
    refused = agent.git("ls-remote", url_of("acme/app") + f"/{way}/other.git")
    assert refused.returncode != 0
    assert "could not read Username" in refused.stderr
    assert agent.forge.town.issued == [] or agent.forge.gate.refused == []


@pytest.mark.parametrize(
    "question",
    [
        {"protocol": "https", "host": "evil.example.com", "path": "acme/app.git"},
        {"protocol": "https", "host": f"{HOST}.evil.com", "path": "acme/app.git"},
        {"protocol": "https", "host": f"{HOST}:8443", "path": "acme/app.git"},
        {"protocol": "http", "host": HOST, "path": "acme/app.git"},
        {"protocol": "https", "host": HOST, "path": "acme/other.git"},
        {"protocol": "https", "host": HOST, "path": "acme/app/evil.git"},
        {"protocol": "https", "host": HOST, "path": "acme/app2"},
        {"protocol": "https", "host": HOST, "path": "acme/app.git/../other.git"},
        {"protocol": "https", "host": HOST, "path": "acme/app.git/info/lfs/../../../other.git"},
        {"protocol": "https", "host": HOST, "path": "acme/app.git/info/lfs/%2e%2e/%2e%2e/%2e%2e/other.git"},
        {"protocol": "https", "host": HOST, "path": "acme/app.git/info/lfs/..\\..\\..\\other.git"},
        {"protocol": "https", "host": HOST, "path": "acme/./app.git"},
        {"protocol": "https", "host": HOST, "path": "acme/app.git/hooks"},
        {"protocol": "https", "host": f"{HOST}.", "path": "acme/app.git"},
        {"protocol": "https", "host": f"me@{HOST}", "path": "acme/app.git"},
        {"protocol": "https", "host": HOST.replace("e", "\u0435"), "path": "acme/app.git"},
        {"protocol": "https", "host": f"{HOST}:443", "path": "acme/app.git"},
        {"protocol": "cert", "host": HOST},
        {"host": HOST},
        {},
    ],
)
def test_what_is_not_the_agents_own_repository_gets_no_answer(
    agent: Agent, capsys: pytest.CaptureFixture[str], question: dict[str, str]
) -> None:
    assert agent.asks(capsys, **question) == ""


@pytest.mark.parametrize("path", ["acme/app.git", "Acme/App", "acme/app.git/info/lfs", ""])
def test_the_agents_own_repository_gets_the_credential(
    agent: Agent, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    answer = agent.asks(capsys, protocol="https", host=HOST, path=path)
    assert answer == f"username=x-access-token\npassword={agent.forge.town.issued[0]}\n"


def test_a_redirect_of_the_operator_to_another_machine_gets_no_credential(
    agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.environment["GIT_CONFIG_KEY_0"] = "url.https://mirror.example.com/.insteadOf"
    assert agent.asks(capsys, protocol="https", host="mirror.example.com", path="acme/app.git") == ""


def test_a_town_that_is_down_for_a_moment_costs_nothing_as_long_as_the_credential_lives(
    agent: Agent, capsys: pytest.CaptureFixture[str], now: Now
) -> None:
    agent.forge.town.lives = timedelta(minutes=4)
    first = agent.asks(capsys, protocol="https", host=HOST)
    agent.forge.town.down = 1
    assert agent.asks(capsys, protocol="https", host=HOST) == first != ""
    agent.forge.town.down = 1
    now.at = datetime.now(UTC)
    kept = json.loads((agent.desk / FILE).read_text())
    kept["forge"]["expiresAt"] = "2026-01-10T12:00:00.000Z"
    (agent.desk / FILE).write_text(json.dumps(kept))
    assert agent.asks(capsys, protocol="https", host=HOST) == ""
    assert "HTTP 503: try again" in agent.complaint


def test_a_credential_that_is_about_to_end_is_not_given_once_the_town_refuses_another(
    agent: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.forge.town.lives = timedelta(minutes=4)
    assert agent.asks(capsys, protocol="https", host=HOST) != ""
    agent.forge.town.refuses = True
    assert agent.asks(capsys, protocol="https", host=HOST) == ""
    assert "this generation is over" in agent.complaint


def test_why_there_is_no_credential_is_told_once(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.forge.town.projects.clear()
    assert agent.asks(capsys, protocol="https", host=HOST) == ""
    assert "agent_forge_access is none: an operator sets it to app or stored" in agent.complaint
    assert agent.asks(capsys, protocol="https", host=HOST) == ""
    assert agent.complaint == ""


@pytest.mark.parametrize("word", ["store", "erase"])
def test_git_may_store_and_erase_what_is_not_ours(agent: Agent, capsys: pytest.CaptureFixture[str], word: str) -> None:
    first = agent.asks(capsys, protocol="https", host=HOST)
    agent.asks(capsys, word, protocol="https", host=HOST, username="u", password="another")
    assert agent.asks(capsys, protocol="https", host=HOST) == first


def test_the_settings_of_the_operator_still_count(agent: Agent) -> None:
    agent.environment["GIT_CONFIG_KEY_0"] = "user.operator"  # the first pair is the operator's
    agent.environment["GIT_CONFIG_VALUE_0"] = "kept"
    assert agent.git("config", "user.operator").stdout.strip() == "kept"


def test_the_helper_of_the_user_is_not_asked_for_the_forge_and_is_asked_for_other_hosts(agent: Agent) -> None:
    (agent.desk / ".gitconfig").write_text(
        '[credential]\n\thelper = "!echo password=of-the-user; echo username=me; :"\n'
    )

    def fill(host: str) -> str:
        asked = f"protocol=https\nhost={host}\npath=acme/app.git\n\n"
        return subprocess.run(
            ["git", "credential", "fill"],
            check=False,
            env=agent.environment,
            input=asked,
            capture_output=True,
            text=True,
            cwd=agent.desk,
        ).stdout

    assert "password=of-the-user" not in fill(HOST)
    assert agent.forge.town.issued[0] in fill(HOST)
    assert "password=of-the-user" in fill("pypi.example.com")


def test_without_a_start_file_the_helper_says_so_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "infra.agents.town_agent.main", "git-credential", "get"],
        check=False,
        env={"PYTHONPATH": str(ROOT)},
        input="protocol=https\nhost=x\n\n",
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
    assert "TOWN_AGENT_CONTEXT is not set" in done.stderr

"""Private repositories: each agent reaches the one of its rig, with a credential that nobody else sees.

The control server and its agents are real, and so are their users, git and the repositories over http, which ask for a token.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.agents.control_server.requests import StartAgentRequest, StopAgentRequest
from infra.devstack.fake_git_http import Level, Verdict
from shared.adapters.start_request import start_request
from shared.domain import wire
from shared.domain.orders import StartOrder
from tests.command_lines import command_lines
from tests.control_servers import TestServer, a_control_server
from tests.forge_credentials import PrivateForge, private_forge, url_of
from tests.walled_agents import OBEDIENT, OWN_USERS, Walled, own_users, passable_directory

PROJECTS = {"a1": "acme/app", "a2": "acme/secret"}
needs_users = pytest.mark.skipif(not OWN_USERS, reason="needs the rights of root, as a container has them")


class World:
    """A container with a private forge."""

    def __init__(self, place: Path, server: TestServer, forge: PrivateForge) -> None:
        self.forge = forge
        self.town = Walled(place, server, forge.repositories["acme/app"])

    def starts(
        self, agent_id: str, generation: int = 1, *, project: str | None = None, url: str | None = None
    ) -> tuple[int, dict[str, object]]:
        body = start_request(
            order(agent_id, generation, url or url_of(project or PROJECTS[agent_id])),
            model="m",
            small_model=None,
            environment={"TOWN_TOKEN": f"town-token-of-{agent_id}"},
        )
        sessions = self.town.server.running.sessions
        answer: tuple[int, dict[str, object]] = sessions.start(
            StartAgentRequest.model_validate(body), effect_id=f"{agent_id}-{generation}"
        )
        return answer

    def runs(self, agent_id: str, generation: int = 1) -> None:
        status, answer = self.starts(agent_id, generation)
        assert (status, answer.get("status")) == (200, "running"), answer


def order(agent_id: str, generation: int, url: str) -> StartOrder:
    found = {
        "town_id": "t1",
        "agent_id": agent_id,
        "role": "polecat",
        "generation": generation,
        "rig": {"id": f"rig-of-{agent_id}", "name": "work", "git_url": url, "default_branch": "main"},
        "bead": {"id": "b1", "title": "Do it"},
        "branch": f"gt/{agent_id}",
        "prompt_kind": "work",
    }
    return wire.read(StartOrder, found)


@pytest.fixture
def world() -> Iterator[World]:
    """Each agent has a user of its own, where the tests run as root."""
    with a_world(own_users() if OWN_USERS else None) as found:
        yield found


@pytest.fixture
def one_user() -> Iterator[World]:
    """All agents run as our user, who alone can run the Python of these tests: their git calls `town-agent`."""
    with a_world(None) as found:
        yield found


@contextmanager
def a_world(users: range | None) -> Iterator[World]:
    with passable_directory() as place, private_forge(place, *PROJECTS.values()) as forge:
        forge.town.projects |= PROJECTS
        environment = {**forge.variables, "TOWN_API": forge.api, "PYTHONPATH": str(Path(__file__).parents[2])}
        with a_control_server(place, command=OBEDIENT, environment=environment, users=users) as server:
            server.running.watch._ended.set()
            yield World(place, server, forge)


def test_an_agent_works_in_a_private_repository_and_its_work_is_saved(one_user: World) -> None:
    world = one_user
    world.runs("a1")
    said = world.town.does(
        "cd tree && git -c user.name=a -c user.email=a@b commit --quiet --allow-empty -m x && git push origin HEAD:refs/heads/mine"
    )
    assert world.forge.has_branch("acme/app", "mine"), said
    world.town.does("echo unsaved > tree/file")
    sessions = world.town.server.running.sessions
    world.town.server.runtime.stop("t1", "a1", generation=1, effect_id="s")
    saved = sessions.save(world.town.work("a1"), order("a1", 1, url_of("acme/app")), lambda: False)
    assert saved == "saved on gt/a1"
    assert world.forge.has_branch("acme/app", "gt/a1")
    assert {token for _, token in world.forge.town.asked} == {"town-token-of-a1"}


def test_a_credential_that_was_revoked_is_fetched_again_when_the_work_is_saved(world: World) -> None:
    world.runs("a1")
    world.town.does("echo unsaved > tree/file")
    for token in world.forge.town.issued:
        world.forge.gate.end(token)
    world.town.server.runtime.stop("t1", "a1", generation=1, effect_id="s")
    sessions = world.town.server.running.sessions
    assert sessions.save(world.town.work("a1"), order("a1", 1, url_of("acme/app")), lambda: False) == "saved on gt/a1"


@needs_users
def test_an_agent_of_another_rig_reads_neither_the_repository_nor_the_credential(world: World) -> None:
    world.runs("a1")
    world.runs("a2")
    root = world.town.root
    tokens = [each.encode() for each in (*world.forge.town.issued, "town-token-of-a2")]
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.is_relative_to(world.town.home("a2") / "lent.git") for path in files)
    reads = (f"cat '{file}' > /dev/null 2>&1 && echo '{file}'" for file in files)
    reached = world.town.does("\n".join(reads)).splitlines()
    own = str(world.town.home("a1"))
    assert reached
    assert [path for path in reached if not path.startswith((own, f"{root}/tokens/a1."))] == []
    for path in map(Path, reached):
        assert not any(token in path.read_bytes() for token in tokens[1:]), path
    refused = world.town.does(f"git clone {url_of('acme/secret')} stolen; ls stolen")
    assert "README" not in refused


@needs_users
def test_a_cache_is_lent_only_to_whom_the_forge_lets_in(world: World) -> None:
    """The cache of the secret repository is there; an agent whose rig names it without a credential for it gets nothing of it."""
    world.runs("a2")
    status, answer = world.starts("a1", project="acme/secret")
    assert status != 200
    assert "not found" in str(answer["error"])
    assert not (world.town.home("a1") / "lent.git").exists()


def test_what_is_lent_to_an_agent_ends_with_its_next_start_in_another_rig(world: World) -> None:
    world.runs("a2")
    assert list((world.town.home("a2") / "lent.git").rglob("*.pack"))
    world.forge.town.projects["a2"] = "acme/app"
    status, _ = world.starts("a2", 2, project="acme/secret")
    assert status != 200
    assert not (world.town.home("a2") / "lent.git").exists()


def test_while_git_runs_the_credential_stands_in_no_argument_and_afterwards_in_no_file_but_the_agents(
    one_user: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every question to the forge is a moment at which git runs: then all arguments of all processes are read."""
    world = one_user
    seen: list[bytes] = []
    judge = world.forge.gate.verdict
    lock = threading.Lock()

    def looks(token: str, project: str, level: Level) -> Verdict:
        with lock:
            seen.append(b"".join(command_lines()))
        return judge(token, project, level)

    monkeypatch.setattr(world.forge, "judge", looks)
    world.runs("a1")
    world.town.does("cd tree && git fetch origin && git push origin HEAD:refs/heads/mine")
    assert len(seen) > 3
    for token in world.forge.town.issued:
        assert not any(token.encode() in each for each in seen)
        kept = [path for path in world.town.root.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
        assert all(path == world.town.home("a1") / "00000001" / "agent" / "forge-credential.json" for path in kept)
    assert world.town.server.running.sessions.stop("a1", StopAgentRequest(), effect_id="s", generation=1)[0] == 200
    assert not list(world.town.root.rglob("forge-credential.json"))


@needs_users
def test_a_deploy_key_is_the_agents_while_its_generation_runs_and_nobody_elses(world: World) -> None:
    """A program named ssh notes what it is called with, and opens the repository of this machine."""
    log = world.town.place / "ssh-calls"
    log.touch(mode=0o666)
    log.chmod(0o666)
    program = world.town.place / "bin" / "ssh"
    program.parent.mkdir(mode=0o755)
    repository = world.forge.repositories["acme/app"]
    for path in (repository, *repository.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    program.write_text(
        f'#!/bin/sh\nwhile [ "$1" != -i ]; do shift; done\nstat -c "%u %a" "$2" >> {log}; cat "$2" >> {log}\n'
        f'export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="*"\nexec git-upload-pack {repository}\n'
    )
    program.chmod(0o755)
    world.forge.town.ssh_key = "THE-DEPLOY-KEY"
    world.forge.town.projects.clear()
    workspaces = world.town.server.running.sessions.workspaces
    workspaces._environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    workspaces._environment["GIT_ALLOW_PROTOCOL"] = "ssh"
    status, answer = world.starts("a1", url="git@git.example.com:acme/app.git")
    assert status == 200, answer
    user, keeper = world.town.user("a1"), world.town.server.settings.keeper
    assert log.read_text().splitlines() == [f"{keeper} 400", "THE-DEPLOY-KEY", f"{user} 400", "THE-DEPLOY-KEY"]
    assert [path.name for path in (world.town.root / "keys").iterdir()] == ["a1.1"]
    world.forge.town.ssh_key = None
    world.forge.town.projects |= PROJECTS
    workspaces._environment["GIT_ALLOW_PROTOCOL"] = "http:https"
    world.runs("a2")
    assert world.town.does(f"cat '{world.town.root}/keys/a1.1' || echo closed", "a2").strip().endswith("closed")
    assert "THE-DEPLOY-KEY" in world.town.does(f"cat '{world.town.root}/keys/a1.1'", "a1")
    assert "accept-new" in world.town.does('echo "$GIT_SSH_COMMAND"', "a1")
    world.town.server.running.sessions.stop("a1", StopAgentRequest(), effect_id="s", generation=1)
    assert list((world.town.root / "keys").iterdir()) == []

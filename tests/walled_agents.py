"""A control server whose agents are strangers: what a test lets them do, they do as real processes, as a real container runs them.

Where the tests run as root, each agent has a user of its own. Elsewhere all run as one user; `OWN_USERS` says which it is.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.devstack import git_seed
from shared.adapters.clock import wait_for
from shared.domain import wire
from shared.domain.orders import StartOrder
from tests.control_servers import TestServer, a_control_server
from tests.patience import PATIENCE_SECONDS

OWN_USERS: Final = os.geteuid() == 0
URL: Final = "https://git.example.com/acme/work.git"
OBEDIENT: Final = (
    "/bin/sh",
    "-c",
    'exec 3>&1; cd "$TOWN_AGENT_HOME"; while :; do if [ -e job ]; then sh ./job > said 2>&1; mv -f job done; fi; sleep 0.02; done',
)
"""An agent that runs every script that it finds in its directory."""


def own_users(count: int = 8) -> range:
    """Users that no other process of these tests uses: what belongs to a user is killed by its number."""
    first = 100_000 + (os.getpid() % 40_000) * 32
    return range(first, first + count)


@contextmanager
def passable_directory() -> Iterator[Path]:
    """A directory into which other users can pass, which pytest's own are not."""
    place = Path(tempfile.mkdtemp(prefix="walls-"))
    place.chmod(0o711)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@dataclass
class Walled:
    """One server with its agents. `place` is a directory of the test that agents may pass."""

    place: Path
    server: TestServer
    repository: Path

    @property
    def root(self) -> Path:
        return self.server.settings.root

    def home(self, agent_id: str = "a1") -> Path:
        return self.root / "agents" / "t1" / agent_id

    def work(self, agent_id: str = "a1") -> Path:
        return self.home(agent_id) / "work"

    def tree(self, agent_id: str = "a1") -> Path:
        return self.work(agent_id) / "tree"

    def user(self, agent_id: str = "a1") -> int:
        found: int = self.server.runtime.user_of("t1", agent_id)
        return found

    def starts(self, agent_id: str = "a1", generation: int = 1, *, token: str | None = None, rig: bool = True) -> Any:
        """Start an agent through the sessions behind the door; the answer's status and body."""
        from infra.agents.control_server.requests import StartAgentRequest
        from shared.adapters.start_request import start_request

        environment = {} if token is None else {"TOWN_TOKEN": token}
        body = start_request(order(agent_id, generation, rig=rig), model="m", small_model=None, environment=environment)
        request = StartAgentRequest.model_validate(body)
        return self.server.running.sessions.start(request, effect_id=f"{agent_id}-{generation}")

    def runs(self, agent_id: str = "a1", generation: int = 1, **more: Any) -> "Walled":
        """Start an agent, and expect that it runs."""
        status, answer = self.starts(agent_id, generation, **more)
        assert (status, answer.get("status")) == (200, "running"), answer
        return self

    def does(self, script: str, agent_id: str = "a1") -> str:
        """Let an agent run a script; what it printed."""
        work = self.work(agent_id)
        (work / "done").unlink(missing_ok=True)
        draft = work / "job.draft"
        draft.write_text(script)
        draft.chmod(0o644)
        draft.rename(work / "job")
        assert wait_for((work / "done").exists, seconds=PATIENCE_SECONDS)
        return (work / "said").read_text(errors="replace")

    def saves(self, agent_id: str = "a1", generation: int = 1) -> str:
        """Stop an agent and save its work, as an eviction does."""
        from shared.ports.runtime import Done

        stopped = self.server.runtime.stop("t1", agent_id, generation=generation, effect_id="s")
        assert stopped == Done()
        said: str = self.server.running.sessions.save(self.work(agent_id), order(agent_id, generation), lambda: False)
        return said


def order(agent_id: str = "a1", generation: int = 1, *, rig: bool = True) -> StartOrder:
    """An order to work on the repository."""
    found: Mapping[str, Any] = {
        "town_id": "t1",
        "agent_id": agent_id,
        "role": "polecat",
        "identity": f"{agent_id}-polecat-rig-1@t1",
        "generation": generation,
        "rig": {"id": "rig-1", "name": "work", "git_url": URL, "default_branch": "main"} if rig else None,
        "bead": {"id": "b1", "title": "Do it"},
        "branch": f"gt/{agent_id}",
        "prompt_kind": "work",
    }
    return wire.read(StartOrder, found)


@contextmanager
def walled(*, users: range | None = None, command: tuple[str, ...] = OBEDIENT, **more: Any) -> Iterator[Walled]:
    """A control server, and a repository on disk that every agent may fetch from and push to."""
    with passable_directory() as place:
        repository = git_seed.create_repository(place / "work.git")
        with (repository / "config").open("a") as config:
            config.write("[core]\n\tsharedRepository = 0666\n")
        for path in (repository, *repository.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        system = place / "gitconfig"
        system.write_text(f'[url "{repository}"]\n\tinsteadOf = {URL}\n[safe]\n\tdirectory = *\n')
        environment = {"GIT_CONFIG_SYSTEM": str(system), "GIT_ALLOW_PROTOCOL": "file", "GIT_TERMINAL_PROMPT": "0"}
        with a_control_server(place, command=command, environment=environment, users=users, **more) as server:
            server.running.watch._ended.set()
            yield Walled(place, server, repository)

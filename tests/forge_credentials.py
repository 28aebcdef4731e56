"""A town that issues credentials for a private repository, for tests: the route /refresh-token, and the gate of the repository."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from starlette.responses import Response

from infra.devstack import fake_git_http, git_seed
from infra.devstack.fake_git_http import Gate, Judge
from infra.listening.door import opened
from infra.listening.guard import Guard, Head, Request, json_answer
from shared.domain import times

HOST: Final = "git.example.com"


def url_of(project: str) -> str:
    return f"https://{HOST}/{project}.git"


@dataclass
class IssuingTown:
    """Answers /refresh-token as the events API does. `projects` are those of the agents' rigs; who has none gets a reason."""

    gate: Gate
    projects: dict[str, str] = field(default_factory=dict)
    lives: timedelta = timedelta(hours=1)
    api_url: str | None = None
    kind: Literal["github", "gitlab"] = "github"
    ssh_key: str | None = None
    known_hosts: str | None = None
    down: int = 0
    refuses: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Who asked, and with which town token."""
    issued: list[str] = field(default_factory=list)
    listener: Callable[[str], None] = lambda _token: None
    """Is told each new token: a fake API that shall accept it."""

    def admit(self, head: Head) -> Response | None:
        return None

    def answer(self, request: Request) -> Response:
        at = urlsplit(request.head.target)
        parts = at.path.split("/")
        if request.head.method != "POST" or parts[-1] != "refresh-token":
            return json_answer(404, {"error": "no such route"})
        agent_id = unquote(parts[-2])
        self.asked.append((agent_id, request.head.headers.get("authorization", "").removeprefix("Bearer ")))
        if self.down:
            self.down -= 1
            return json_answer(503, {"error": "try again"})
        if self.refuses:
            return json_answer(403, {"error": "this generation is over"})
        return Response(json.dumps(self._issue(agent_id)), 200, media_type="application/json")

    def _issue(self, agent_id: str) -> dict[str, Any]:
        project = self.projects.get(agent_id)
        keys = {"sshKey": self.ssh_key, "knownHosts": self.known_hosts}
        if project is None:
            reason = None if self.ssh_key else "agent_forge_access is none: an operator sets it to app or stored"
            return {"forge": None, "reason": reason, **keys}
        ends_at = self.gate.now() + self.lives
        self.issued.append(self.gate.issue(project, ends_at=ends_at))
        self.listener(self.issued[-1])
        forge = {
            "host": HOST,
            "kind": self.kind,
            "project": project,
            "username": "x-access-token" if self.kind == "github" else "oauth2",
            "token": self.issued[-1],
            "expiresAt": times.to_text(ends_at),
            "apiUrl": self.api_url,
        }
        return {"forge": forge, "reason": None, **keys}


@dataclass
class PrivateForge:
    """Private repositories, the town that issues their credentials, and the variables with which git and agents find both."""

    town: IssuingTown
    gate: Gate
    repositories: dict[str, Path]
    variables: dict[str, str]
    api: str
    judge: Judge

    def has_branch(self, project: str, branch: str) -> bool:
        return (self.repositories[project] / "refs" / "heads" / branch).exists()


class Now:
    """A time that a test sets."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


@contextmanager
def private_forge(place: Path, *projects: str, gate: Gate | None = None) -> Iterator[PrivateForge]:
    """Serve these repositories, and a town that issues their credentials."""
    gate = gate or Gate()
    repositories = {each: git_seed.create_repository(place / f"{each.replace('/', '-')}.git") for each in projects}
    town = IssuingTown(gate)
    forge = PrivateForge(town, gate, repositories, {}, "", gate.verdict)
    judged = fake_git_http.serving(repositories, lambda token, project, level: forge.judge(token, project, level))  # noqa: PLW0108 - a test may replace it
    with judged as git, opened(Guard(town)) as api:
        forge.variables, forge.api = fake_git_http.leading_to(git.url, HOST), api.url
        yield forge
